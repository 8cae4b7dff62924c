"""What the tests of the tools share: a checkout to play with, and a program whose output is awaited."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 60.0


def copy(target: Path, *names: str) -> Path:
    """Copy files of the checkout to the same places below ``target``."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)
    return target


def write(path: Path, text: str, *, executable: bool = False) -> Path:
    """Write a file, and make it executable if so wished."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    if executable:
        path.chmod(0o755)
    return path


def stub(path: Path, script: str) -> Path:
    """Write a shell script that stands in for a program."""
    return write(path, f"#!/bin/sh\n{script}\n", executable=True)


class Program:
    """A program that runs while its lines are awaited, with a deadline, and never by sleeping."""

    def __init__(
        self, command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=os.environ | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._new: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._new.put(line.rstrip("\n"))
        self._new.put(None)

    def _next(self, until: float) -> str | None:
        try:
            line = self._new.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"nothing more came in time; so far: {self.lines}") from None
        if line is not None:
            self.lines.append(line)
        return line

    def wait_for(self, text: str, *, within: float = DEADLINE) -> str:
        """Return the next line that contains the text."""
        until = time.monotonic() + within
        while (line := self._next(until)) is not None:
            if text in line:
                return line
        raise AssertionError(f"the output ended without {text!r}: {self.lines}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program alone."""
        self.process.send_signal(number)

    def end(self, *, within: float = DEADLINE) -> int:
        """Wait for the end of output and program, and return the exit code."""
        until = time.monotonic() + within
        while self._next(until) is not None:
            pass
        return self.process.wait(timeout=max(0.1, until - time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(timeout=1)
        if self.process.stdout is not None and not self._reader.is_alive():
            self.process.stdout.close()


def alive(pid: int) -> bool:
    """Return whether a process still exists and is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
