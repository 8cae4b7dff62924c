"""The processes of a fleet: start one, hear when it is ready, take what it prints, end it for certain."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol, Self

import factory
from factory.fleet import guard
from factory.fleet.lines import LineCutter
from factory.supervised import VARIABLE, Terms
from mesh.node import Node

READ = 64 * 1024
"""Bytes that are read at once of what a node prints."""

LEFTOVERS = 1.0
"""Seconds that what a node has started may go on when the node itself is gone; then it is killed."""

LOOK = 0.05
"""Seconds between two looks at whether it is gone."""

UNKILLABLE = 3.0
"""Seconds after SIGKILL, or more of them, when a process that is still there is waited for no longer."""

MARK = "SKETCHMESH_RUN"
"""The variable that tells of every process which run of which node of which fleet it stems from."""

_MOST_READY = 4096
# Exit codes of who was told to end, and just did.
_ASKED = {-signal.SIGTERM, -signal.SIGKILL, 128 + signal.SIGTERM}


class Told(Protocol):
    """Who is told what becomes of a process."""

    def is_ready(self, name: str, run: int, where: str | None) -> None:
        """It serves at an address, or runs without one."""

    def printed(self, name: str, text: str) -> None:
        """It has printed a line."""

    def has_ended(self, name: str, run: int, *, failed: bool, why: str) -> None:
        """It is gone, with all that it has started."""


class Guard:
    """The process that ends the nodes when this one is gone; there as long as the block lasts.

    Args:
        fleet: What all marks of the fleet begin with.

    """

    def __init__(self, fleet: str) -> None:
        self.fleet = fleet
        self._groups: set[int] = set()
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._start()
        self._task = asyncio.create_task(self._keep(), name="guard")
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(guard.GRACE + guard.LAST + 1):
                    await self._process.wait()

    def add(self, group: int) -> None:
        """Guard a process group."""
        self._groups.add(group)
        self._tell(f"+{group}")

    def remove(self, group: int) -> None:
        """A process group is gone."""
        self._groups.discard(group)
        self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError, RuntimeError):  # it is gone, and another one will know
                self._process.stdin.write(f"{line}\n".encode())

    async def _start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", guard.__file__, f"{MARK}={self.fleet}/"),
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=DEVNULL,
            start_new_session=True,
        )
        for group in self._groups:
            self._tell(f"+{group}")

    async def _keep(self) -> None:
        while True:
            assert self._process is not None
            await self._process.wait()
            await asyncio.sleep(LOOK)
            with contextlib.suppress(OSError):  # no more processes: the next turn tries again
                await self._start()


class NodeProcess:
    """One process of one node, from its start to its end.

    Args:
        node: The node.
        terms: What it is told; the descriptors are filled in.
        told: Who is told what becomes of it.
        guard: Who ends it when this process is gone.

    Attributes:
        number: Of the grid that it knows.
        pid: Its process; ``None`` before there is one.

    """

    def __init__(
        self, node: Node, terms: Callable[[int, int], Terms], told: Told, guard: Guard, folder: Path
    ) -> None:
        self.node = node
        self._terms = terms
        self._told = told
        self._guard = guard
        self._folder = folder
        self._lifeline = -1
        self._ready = -1
        self._reading = False
        self._asked = False
        self._forced = False
        self._over = asyncio.Event()
        self.number = 0
        self.run = 0
        self.pid: int | None = None

    async def live(self) -> None:
        """Start it, and return when it is gone; whoever is told is told all."""
        name = self.node.name
        try:
            process, printed = await self._spawn()
        except OSError as exc:
            self._close()
            why = f"could not be started: {exc.strerror or exc}"
            self._told.has_ended(name, self.run, failed=True, why=why)
            return
        self.pid = process.pid
        self._guard.add(process.pid)
        if self._asked:  # while it was spawned, when there was nobody yet to be signalled
            self._signal(signal.SIGKILL if self._forced else signal.SIGTERM)
        printing = asyncio.create_task(self._take_output(printed), name=f"output of {name}")
        self._reading = True
        asyncio.get_running_loop().add_reader(self._ready, self.hear)
        try:
            code = await self._wait(process)
            failed = code != 0 and not (self._asked and code in _ASKED)
            self.hear()  # who ends at once may have said so just before
            await self._end_leftovers()
            await asyncio.wait([printing], timeout=LEFTOVERS)
        finally:
            if process.returncode is None:
                self._signal(signal.SIGKILL)
            self._guard.remove(process.pid)
            printing.cancel()
            self._close()
        self._told.has_ended(name, self.run, failed=failed, why=_how(code, process.pid))

    def ask_to_end(self) -> None:
        """SIGTERM to its group; and it is woken, if it is frozen, to hear it."""
        self._asked = True
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL to its group, and to all that it leaves behind; ``live()`` returns soon in any case."""
        self._asked = self._forced = True
        self._signal(signal.SIGKILL)
        asyncio.get_running_loop().call_later(UNKILLABLE, self._over.set)

    def tell_grid(self, number: int) -> None:
        """Tell it which grid is settled on."""
        self.number = number
        # A pipe that is full belongs to a process that hears nothing, and is told when it is started anew.
        with contextlib.suppress(OSError):
            os.write(self._lifeline, f"grid {number}\n".encode())

    async def _spawn(self) -> tuple[asyncio.subprocess.Process, IO[bytes]]:
        """Return the process, and what it prints."""
        self._ready, ready = os.pipe()
        lifeline, self._lifeline = os.pipe()
        # Not a pipe of asyncio's: its wait() goes on as long as anybody has the other end, and what
        # the node has started may well have it when the node is gone.
        printed, output = os.pipe()
        os.set_blocking(self._ready, False)
        os.set_blocking(self._lifeline, False)
        stream = os.fdopen(printed, "rb", buffering=0)
        assert self.node.sketch is not None
        command = [sys.executable, "-P", "-m", "factory.cli.launch", self.node.sketch]
        try:
            process = await asyncio.create_subprocess_exec(
                *(*command, "--name", self.node.name),
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                env={**_environment(self._terms(ready, lifeline)), MARK: self._mark},
                pass_fds=(ready, lifeline),
                # So that Ctrl-C is for us to hear, and its group is its own.
                start_new_session=True,
            )
        except BaseException:
            stream.close()
            raise
        finally:
            for descriptor in (ready, lifeline, output):
                os.close(descriptor)
        return process, stream

    async def _wait(self, process: asyncio.subprocess.Process) -> int | None:
        """Return its exit code; ``None`` if it is there still though it was killed."""
        waiting = asyncio.create_task(process.wait(), name=f"end of {self.node.name}")
        waiting.add_done_callback(lambda _: self._over.set())
        await self._over.wait()
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        return None

    def hear(self) -> None:
        """Read whether it has said that it is ready, and tell of it; once."""
        if not self._reading:
            return
        try:
            said = os.read(self._ready, _MOST_READY)
        except BlockingIOError:
            return
        self._stop_reading()
        if said:
            with contextlib.suppress(ValueError):
                where = json.loads(said).get("where")
                self._told.is_ready(self.node.name, self.run, where)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._ready)

    async def _take_output(self, file: IO[bytes]) -> None:
        cutter, name, stream = LineCutter(), self.node.name, asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), file
        )
        try:
            while data := await stream.read(READ):
                for line in cutter.feed(data):
                    self._told.printed(name, line)
                # A node that prints without end must not keep the others waiting.
                await asyncio.sleep(0)
        finally:
            transport.close()
        for line in cutter.finish():
            self._told.printed(name, line)

    @property
    def _mark(self) -> str:
        return f"{self._guard.fleet}/{self.node.name}/{self.run}"

    async def _end_leftovers(self) -> None:
        """End what a process that is gone has left behind, in its group and elsewhere."""
        assert self.pid is not None
        loop, mark = asyncio.get_running_loop(), f"{MARK}={self._mark}\0".encode()
        begun, asked = loop.time(), set[int]()
        while True:
            group, pids = {self.pid}, guard.marked(mark)
            if not guard.signal_all(group, pids, 0):
                return
            passed = loop.time() - begun
            if passed > LEFTOVERS + UNKILLABLE:
                return
            if self._forced or passed > LEFTOVERS:
                guard.signal_all(group, pids, signal.SIGKILL)
            else:
                for number in (signal.SIGTERM, signal.SIGCONT):
                    guard.signal_all(group - asked, pids - asked, number)
                asked |= group | pids
            await asyncio.sleep(LOOK)

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _close(self) -> None:
        self._stop_reading()
        for descriptor in (self._ready, self._lifeline):
            if descriptor >= 0:
                os.close(descriptor)
        self._ready = self._lifeline = -1


def _environment(terms: Terms) -> dict[str, str]:
    environment = {**os.environ, VARIABLE: terms.encode(), "PYTHONUNBUFFERED": "1"}
    # $PORT is for one process alone, and the grid says which ports there are.
    environment.pop("PORT", None)
    root = Path(factory.__file__).resolve().parents[1]
    if "site-packages" not in root.parts:
        # A checkout that is not installed: the node shall find what we have found.
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(root), *([before] if before else [])])
    return environment


def _how(code: int | None, pid: int) -> str:
    if code is None:
        return f"could not be killed: process {pid} is left, and hangs in the system"
    if code == 0:
        return "has ended"
    if code > 0:
        return f"failed with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
