"""A real process under test: its lines with their times, awaited with a deadline; nothing survives it."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from tests.conftest import OUR_VARIABLES

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "arduino.py"

SCALE = float(os.environ.get("TEST_TIME_SCALE") or 1)
"""Stretches every deadline, for a machine that is slow."""

DEADLINE = 60.0 * SCALE
"""Seconds that anything may take which nothing is said of; only a failing test takes them."""

LOOP: dict[str, str | None] = {"SKETCHMESH_UVLOOP": "0"}
"""Which event loop workers run in: the one that everybody has, unless a test asks for ``each_loop``."""

# Marks a process and all that it starts, so that also those are found who left its group.
_TAG = "SKETCHMESH_TEST_PROCESS"


@dataclass(frozen=True, slots=True)
class Line:
    """One line that a process printed.

    Attributes:
        at: When it came, on the monotonic clock.
        stream: ``out`` or ``err``.
        text: The line without its end.

    """

    at: float
    stream: str
    text: str


class Proc:
    """A running program whose output is collected.

    Use as a context manager: at its end the program is killed, with its process group
    and whatever else it has started.

    Args:
        command: Program and arguments.
        cwd: Where it runs.
        env: Variables besides those of the tests; ``None`` as a value removes one.
        interactive: Whether it can be typed to; else its input is empty.

    Attributes:
        lines: What it has printed so far, in the order of arrival.

    """

    def __init__(
        self,
        *command: str | Path,
        cwd: Path = ROOT,
        env: Mapping[str, str | None] | None = None,
        interactive: bool = False,
    ) -> None:
        self.command = [str(part) for part in command]
        self.tag = uuid.uuid4().hex
        clean = {name: value for name, value in os.environ.items() if name not in OUR_VARIABLES}
        given = {**clean, **LOOP, **(env or {}), _TAG: self.tag}
        self.lines: list[Line] = []
        self._news = threading.Condition()
        self._open = {"out", "err"}
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=cwd,
            env={name: value for name, value in given.items() if value is not None},
            stdin=subprocess.PIPE if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(stream, pipe), daemon=True)
            for stream, pipe in (("out", self.process.stdout), ("err", self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: str, pipe: IO[bytes]) -> None:
        with pipe:
            for raw in pipe:
                line = Line(time.monotonic(), stream, raw.decode(errors="replace").rstrip("\r\n"))
                with self._news:
                    self.lines.append(line)
                    self._news.notify_all()
        with self._news:
            self._open.discard(stream)
            self._news.notify_all()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def mark(self) -> int:
        """How many lines there are, to be given to ``wait_for`` as ``since``."""
        return len(self.lines)

    @property
    def stdout(self) -> list[str]:
        return [line.text for line in self.lines if line.stream == "out"]

    @property
    def stderr(self) -> list[str]:
        return [line.text for line in self.lines if line.stream == "err"]

    def __repr__(self) -> str:
        code = self.process.poll()
        state = "still runs" if code is None else f"ended with {code}"
        shown = [f"  {line.at - self.started:6.2f} {line.stream} {line.text}" for line in self.lines]
        return "\n".join([f"{' '.join(self.command)} ({state}) printed:", *(shown or ["  nothing"])])

    def wait_for(self, pattern: str, *, since: int = 0, within: float = DEADLINE) -> re.Match[str]:
        """Return the match in the first line that the pattern is found in.

        Args:
            pattern: A regular expression.
            since: How many lines to leave out, as ``mark`` said earlier.
            within: Seconds to wait.

        """
        end = time.monotonic() + within
        with self._news:
            while True:
                while since < len(self.lines):
                    found = re.search(pattern, self.lines[since].text)
                    if found:
                        return found
                    since += 1
                left = end - time.monotonic()
                if not self._open or left <= 0:
                    how = f"within {within:g} s" if self._open else "before its output ended"
                    raise AssertionError(f"no line has {pattern!r} {how}\n{self}")
                self._news.wait(left)

    def until(self, so: Callable[[], object], *, within: float = DEADLINE) -> None:
        """Wait until something is so, which is looked at with each line that comes."""
        end = time.monotonic() + within
        with self._news:
            while not so():
                left = end - time.monotonic()
                if not self._open or left <= 0:
                    how = f"within {within:g} s" if self._open else "before its output ended"
                    raise AssertionError(f"it did not come to that {how}\n{self}")
                self._news.wait(left)

    def type(self, text: str) -> None:
        """Write to the program's input."""
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end_input(self) -> None:
        """Close the program's input, as Ctrl-D does."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def count(self, pattern: str) -> int:
        """Return in how many lines the pattern is found."""
        return sum(1 for line in list(self.lines) if re.search(pattern, line.text))

    def send_signal(self, number: int) -> None:
        """Signal the process alone."""
        self.process.send_signal(number)

    def send_signal_to_group(self, number: int) -> None:
        """Signal the process and its children, as a terminal does on Ctrl-C."""
        os.killpg(self.pid, number)

    def wait(self, *, within: float = DEADLINE) -> int:
        """Return the exit code once the process has ended and all its output is read."""
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end within {within:g} s\n{self}") from None
        for reader in self._readers:
            reader.join(within)
        return code

    def stop(self, number: int = signal.SIGINT, *, within: float = DEADLINE) -> int:
        """Signal the process and return its exit code."""
        self.send_signal(number)
        return self.wait(within=within)

    def family(self) -> list[int]:
        """Return the ids of all living processes that stem from this one, itself included."""
        wanted = f"{_TAG}={self.tag}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:  # gone, or not ours
                continue
        return sorted(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        # A child may start another while we look, so look until nobody is left.
        while left := self.family():
            for pid in left:
                _kill(pid)
        if self.process.poll() is None:  # where there is no /proc to find a family in
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()
        for reader in self._readers:
            reader.join(DEADLINE)


def _kill(pid: int) -> None:
    """Kill a process, child of ours or not, and return when it is gone with all that it held."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        # A process that dies loses its environment before its sockets: without this
        # wait, its port could still be taken when the next test begins.
        select.select([handle], [], [], DEADLINE)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def arduino(
    *arguments: str | Path,
    cwd: Path = ROOT,
    env: Mapping[str, str | None] | None = None,
    interactive: bool = False,
) -> Proc:
    """Launch a sketch with the Python of the tests."""
    return Proc(sys.executable, LAUNCHER, *arguments, cwd=cwd, env=env, interactive=interactive)


def read_two_lines_only(*arguments: str | Path, folder: Path) -> tuple[int, str]:
    """Launch a sketch that is fed without end, and close its output as ``head -2`` does.

    Returns:
        The exit code, and what it said on standard error.

    """
    endless = folder / "endless"
    endless.write_bytes(b"1\n" * 1_000_000)
    with endless.open("rb") as fed:
        process = subprocess.Popen(
            [sys.executable, str(LAUNCHER), *arguments],
            stdin=fed,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "SKETCHMESH_UVLOOP": "1"},
        )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(2):
            process.stdout.readline()
        process.stdout.close()
        try:
            code = process.wait(DEADLINE)
        finally:
            process.kill()
        return code, process.stderr.read().decode()


def verbatim(
    line: str, *, cwd: Path = ROOT, env: Mapping[str, str | None] | None = None, activated: bool = True
) -> Proc:
    """Run a command line as it stands in the docs.

    Args:
        line: The command line; ``./arduino.py`` is the launcher, wherever it runs.
        cwd: Where it runs.
        env: Variables besides those of the tests.
        activated: Whether the environment of the tests comes first in ``$PATH``.

    """
    own = str(Path(sys.executable).parent)
    rest = [part for part in os.environ["PATH"].split(os.pathsep) if part != own]
    path = os.pathsep.join([own, *rest] if activated else rest)
    words = [str(LAUNCHER) if word == "./arduino.py" and cwd != ROOT else word for word in line.split()]
    return Proc(*words, cwd=cwd, env={"PATH": path, "VIRTUAL_ENV": None, **(env or {})})


def finished(proc: Proc, *, within: float = DEADLINE) -> Proc:
    """Return a process that has ended by itself, with nothing of it left."""
    with proc:
        proc.wait(within=within)
    return proc
