"""Firmata clients for tests: one on a socket, one on a terminal, both by the codec alone."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from factory.boards import SimBoard
from factory.boards.firmata.codec import Parser, encode
from factory.boards.firmata.messages import Message, Trouble
from factory.boards.io.clock import BenchClock
from factory.boards.io.pty import PtyDoor
from factory.boards.io.tcp import TcpDoor
from tests.helpers.boards import board
from tests.helpers.proc import DEADLINE


class Talk:
    """What a client says and hears; bytes come and go by two functions."""

    def __init__(self, read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], object]) -> None:
        self._read = read
        self._write = write
        self._parser = Parser(to_board=False)
        self.heard: list[Message | Trouble] = []

    def say(self, *messages: Message) -> None:
        self._write(b"".join(map(encode, messages)))

    def raw(self, data: bytes) -> None:
        self._write(data)

    async def hear(self, wanted: Message | type[Message]) -> Message:
        """Read on until a message comes, and return it; those before it are dropped."""
        async with asyncio.timeout(DEADLINE):
            while True:
                while self.heard:
                    message = self.heard.pop(0)
                    if message == wanted or (isinstance(wanted, type) and isinstance(message, wanted)):
                        return message
                data = await self._read()
                if not data:
                    raise EOFError
                self.heard += self._parser.feed(data)

    async def ended(self) -> bool:
        """Read on until the board hangs up."""
        with suppress(EOFError, OSError):
            while True:
                await self.hear(Trouble)  # type: ignore[arg-type]
        return True


@asynccontextmanager
async def tcp_door() -> AsyncIterator[tuple[SimBoard, TcpDoor]]:
    """Serve a board on a free port."""
    uno = board()
    clock = BenchClock(uno.bench)
    door = TcpDoor(uno, clock)
    await door.open("127.0.0.1", 0)
    try:
        yield uno, door
    finally:
        await door.close()
        clock.close()


@asynccontextmanager
async def tcp_client(port: int) -> AsyncIterator[Talk]:
    """Connect to a door."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Talk(lambda: reader.read(4096), writer.write)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def pty_door(path: Path) -> AsyncIterator[tuple[SimBoard, PtyDoor]]:
    """Serve a board on a terminal."""
    uno = board()
    clock = BenchClock(uno.bench)
    door = PtyDoor(uno, clock, path)
    try:
        yield uno, door
    finally:
        door.close()
        clock.close()


@asynccontextmanager
async def pty_client(path: Path) -> AsyncIterator[Talk]:
    """Open a terminal as serial programs do."""
    terminal = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    tty.setraw(terminal)
    loop = asyncio.get_running_loop()

    async def read() -> bytes:
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(terminal, _settle, ready)
        try:
            await ready
        finally:
            loop.remove_reader(terminal)
        return os.read(terminal, 4096)

    try:
        yield Talk(read, lambda data: os.write(terminal, data))
    finally:
        os.close(terminal)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
