"""Child processes that never outlive the benchmark.

Three nets: each is ended when its ``async with`` block is left; it has a process group of
its own, which is killed as a whole; and on Linux the kernel ends it when this process dies.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import BinaryIO

from benchmarks.api import HOST

START_TIMEOUT = 20.0
STOP_TIMEOUT = 3.0

_PR_SET_PDEATHSIG = 1


class ChildError(Exception):
    """A process ended, or said nothing in time; the text has the end of what it wrote."""


class Child:
    """A running process.

    Attributes:
        pid: Its number.

    """

    def __init__(self, process: asyncio.subprocess.Process, errors: BinaryIO) -> None:
        self._process = process
        self._errors = errors
        self.pid = process.pid

    async def line(self, timeout: float) -> bytes:
        """Return its next line of standard output.

        Raises:
            ChildError: If it gives none in time.

        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise ChildError(f"said nothing for {timeout:g} s{self._last_words()}") from None
        if not line:
            raise ChildError(f"ended without a result{self._last_words()}")
        return line

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.returncode is not None

    async def stop(self) -> None:
        """End it, politely first."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT):
                    await self._process.wait()
                    return


def _die_with(parent: int) -> None:
    """Ask the kernel for a signal at the parent's end; runs in the child, before its program."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[Child]:
    """Run a program for as long as the block lasts."""
    parent = os.getpid()
    with tempfile.TemporaryFile() as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            preexec_fn=lambda: _die_with(parent),
        )
        child = Child(process, errors)
        try:
            yield child
        finally:
            await asyncio.shield(child.stop())


def broker_path(program: str) -> str | None:
    """Return the path of a broker; Debian keeps them where users do not look."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")


@asynccontextmanager
async def broker(program: str) -> AsyncIterator[tuple[Child, int]]:
    """Run a broker on a free port; gives it and its port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    path = broker_path(program)
    assert path is not None
    async with running(path, "-a", HOST, "-p", str(port)) as child:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while not await _listens(port):
                    if child.has_ended:
                        await child.line(1.0)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise ChildError(f"{program} did not listen within {START_TIMEOUT:g} s") from None
        yield child, port


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(HOST, port)
    except OSError:
        return False
    writer.close()
    return True
