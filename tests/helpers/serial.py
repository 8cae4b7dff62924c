"""Programs at a serial port, for tests: bytes in, bytes out, on a socket or a terminal."""

from __future__ import annotations

import asyncio
import os
import socket
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class Wire:
    """One open port.

    Attributes:
        heard: Everything that came.
        is_over: Whether the other end has hung up.

    """

    def __init__(self, file: int) -> None:
        self.heard = b""
        self.is_over = False
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._listening = False
        os.set_blocking(file, False)
        self.listen(True)

    def listen(self, on: bool) -> None:
        """Read what comes, or leave it where it is."""
        if on and not self._listening:
            self._loop.add_reader(self._file, self._read)
        elif self._listening and not on:
            self._loop.remove_reader(self._file)
        self._listening = on

    def write(self, data: bytes) -> None:
        """Send bytes, as many as fit in one piece."""
        assert os.write(self._file, data) == len(data)

    async def drain(self, data: bytes) -> None:
        """Send bytes, however long that takes."""
        while data:
            with suppress(BlockingIOError):
                data = data[os.write(self._file, data[:1024]) :]
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Close it; once more does no harm."""
        if self._file >= 0:
            self.listen(False)
            os.close(self._file)
            self._file = -1

    def _read(self) -> None:
        data = b""
        with suppress(OSError):
            data = os.read(self._file, 65_536)
        self.heard += data
        if not data:
            self.is_over = True
            self.listen(False)


@asynccontextmanager
async def tcp_wire(port: int) -> AsyncIterator[Wire]:
    """Connect to a serial port on TCP."""
    dialled = socket.socket()
    dialled.setblocking(False)
    await asyncio.get_running_loop().sock_connect(dialled, ("127.0.0.1", port))
    wire = Wire(dialled.detach())
    try:
        yield wire
    finally:
        await wire.close()


@asynccontextmanager
async def pty_wire(path: Path) -> AsyncIterator[Wire]:
    """Open a terminal as serial programs do."""
    terminal = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(terminal)
    wire = Wire(terminal)
    try:
        yield wire
    finally:
        await wire.close()
