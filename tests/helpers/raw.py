"""Peers made of bare sockets: they send what no library would, or say nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from tests.helpers.log import Log
from tests.helpers.proc import DEADLINE


def handshake(path: str = "/", *headers: str, host: str | None = "localhost") -> bytes:
    """Return a websocket handshake, with one ``Host`` (or none) and more headers."""
    lines = [
        f"GET {path} HTTP/1.1",
        *([f"Host: {host}"] if host is not None else []),
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class RawClient:
    """One TCP connection to a server under test."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._host, self._port = host, port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def abort(self) -> None:
        """Leave without a goodbye."""
        self._writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def end(self) -> None:
        """Say that nothing more is coming, and still listen."""
        self._writer.write_eof()

    async def read(self, end: bytes = b"\r\n\r\n") -> bytes:
        """Return what comes, up to and with ``end``."""
        async with asyncio.timeout(DEADLINE):
            return await self._reader.readuntil(end)

    async def read_all(self) -> bytes:
        """Return what comes until the server closes; a reset ends it as well."""
        received = b""
        async with asyncio.timeout(DEADLINE):
            try:
                while data := await self._reader.read(65536):
                    received += data
            except ConnectionResetError:
                pass
        return received

    async def request(self, data: bytes) -> tuple[int, str]:
        """Send a request and return status and body of the response."""
        await self.send(data)
        head, _, body = (await self.read_all()).partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), body.decode()


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(*scripts: Script) -> AsyncIterator[tuple[int, Log[int]]]:
    """Serve one script after the other to those who connect; the last one for good.

    Yields:
        The port, and the numbers of the connections so far.

    """
    count: Log[int] = Log()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        tasks.add(me)
        number = len(count)
        count.add(number)
        try:
            await _pick(scripts, number)(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(me)
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], count
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def _pick(scripts: Sequence[Script], number: int) -> Script:
    return scripts[min(number, len(scripts) - 1)]


def says(data: bytes) -> Script:
    """Read one request, send these bytes and close."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    return script


def http(status: str, body: str = "") -> Script:
    """Answer one request with that status and body."""
    return says(
        f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
    )


async def is_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take all and say nothing."""
    while await reader.read(65536):
        pass


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close at once."""
