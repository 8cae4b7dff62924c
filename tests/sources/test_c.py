"""Lines, row by row of section C: the protocol, the sketches that speak it, and the tutorial.

How bytes become lines is tested beside the code, in tests/mesh/protocol/test_lines.py.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

import mesh
from mesh import LineProtocol
from tests.helpers.log import Log

pytestmark = pytest.mark.integration


class Echo(LineProtocol):
    """The source's echo server."""

    def line_received(self, line: bytes) -> None:
        if line == b".":
            self.transport.close()
        else:
            self.write_line(b"You sent: " + line)


class Recorder(LineProtocol):
    """Notes what comes."""

    lines: Log[bytes]
    rests: Log[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.lines = Log()
        self.rests = Log()

    def line_received(self, line: bytes) -> None:
        self.lines.add(line)

    def rest_received(self, rest: bytes) -> None:
        self.rests.add(rest)


@asynccontextmanager
async def served(factory: Callable[[], LineProtocol]) -> AsyncIterator[int]:
    """Serve a protocol and give the port."""
    loop = asyncio.get_running_loop()
    # Windows cannot do it, and asyncio refuses what cannot be done.
    reuse_port = hasattr(socket, "SO_REUSEPORT")
    server = await loop.create_server(factory, "127.0.0.1", 0, reuse_port=reuse_port)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def talk(port: int, data: bytes) -> bytes:
    """Send bytes, end the input, and return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.source("C1", "C4", "C5", "C10", "C12")
async def test_c01_the_protocol_takes_a_delimiter_and_a_future() -> None:
    """Also C4, C5, C10 and C12: a client that a factory with arguments makes, with its transport kept."""
    loop = asyncio.get_running_loop()
    on_exit: asyncio.Future[bool] = loop.create_future()
    async with served(lambda: Echo(delimiter=b"\r\n")) as port:
        transport, client = await loop.create_connection(
            lambda: Recorder(delimiter=b"\r\n", on_exit=on_exit), "127.0.0.1", port
        )
        assert client.transport is transport
        client.write_line("grüße")
        client.write_line(b"bytes")
        await client.lines.until(2)
        assert list(client.lines) == ["You sent: grüße".encode(), b"You sent: bytes"]
        client.write_line(".")
        assert await on_exit is True


@pytest.mark.source("C6")
@pytest.mark.parametrize("before", ["done", "cancelled"])
async def test_c06_a_future_that_is_done_already_does_no_harm(before: str) -> None:
    loop = asyncio.get_running_loop()
    on_exit: asyncio.Future[object] = loop.create_future()
    if before == "done":
        on_exit.set_result("earlier")
    else:
        on_exit.cancel()
    troubles: list[object] = []
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    gone = loop.create_future()

    class Client(LineProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            gone.set_result(None)

    async with served(Echo) as port:
        _, client = await loop.create_connection(lambda: Client(on_exit=on_exit), "127.0.0.1", port)
        client.write_line(".")
        await gone
    assert troubles == []


@pytest.mark.source("C6")
async def test_c06_why_the_connection_was_lost_is_kept() -> None:
    loop = asyncio.get_running_loop()
    on_exit: asyncio.Future[bool] = loop.create_future()
    client = LineProtocol(on_exit=on_exit)
    await loop.create_connection(lambda: client, *await _hangs_up_hard())
    client.write_line("hello")
    await on_exit
    assert isinstance(client.exc, ConnectionError)
    with pytest.raises(ConnectionError, match="gone") as caught:
        await client.drain()
    assert caught.value.__cause__ is client.exc


async def _hangs_up_hard() -> tuple[str, int]:
    """Serve one connection that is reset as soon as something was said."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def serve() -> None:
        connection, _ = await loop.sock_accept(listener)
        await loop.sock_recv(connection, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        listener.close()

    task = loop.create_task(serve())
    task.add_done_callback(lambda done: done.result())
    name: tuple[str, int] = listener.getsockname()
    return name


@pytest.mark.source("C7", "C8", "C9")
async def test_c07_the_echo_server_of_the_source() -> None:
    """Also C8 and C9: a server of asyncio's own, for as long as its block lasts."""
    async with served(Echo) as port:
        assert await talk(port, b"one\r\ntwo\r\n.\r\nnever\r\n") == b"You sent: one\r\nYou sent: two\r\n"


@pytest.mark.source("C16")
async def test_c16_it_works_as_it_is() -> None:
    loop = asyncio.get_running_loop()
    on_exit: asyncio.Future[bool] = loop.create_future()
    async with served(lambda: LineProtocol(on_exit=on_exit)) as port:
        assert await talk(port, b"taken, and nothing is made of it\r\n") == b""
        assert await on_exit is True


@pytest.mark.source("C17")
async def test_c17_a_line_that_is_too_long_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    servers: list[LineProtocol] = []

    def serve() -> LineProtocol:
        servers.append(Echo(max_line=10))
        return servers[-1]

    async with served(serve) as port:
        assert await talk(port, b"short\r\n" + b"x" * 20) == b"You sent: short\r\n"
    assert isinstance(servers[0].exc, mesh.LineTooLongError)
    assert "longer than 10 bytes" in caplog.text


@pytest.mark.source("C19")
async def test_c19_who_writes_can_wait_until_it_is_flushed() -> None:
    loop = asyncio.get_running_loop()
    made: Log[LineProtocol] = Log()

    def serve() -> LineProtocol:
        protocol = LineProtocol(write_limit=1000)
        made.add(protocol)
        return protocol

    async with served(serve) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        await made.until(1)
        server = made[0]
        while server.transport.get_write_buffer_size() <= 1000:
            server.write_line(b"x" * 10_000)
        draining = loop.create_task(server.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        while not draining.done():
            await reader.read(100_000)
        await draining
        assert server.transport.get_write_buffer_size() <= 1000
        writer.close()
        await writer.wait_closed()


@pytest.mark.source("C20")
async def test_c20_auto_takes_both_and_answers_with_what_came() -> None:
    async with served(lambda: Echo("auto")) as port:
        assert await talk(port, b"one\ntwo\r\nthree\n") == (
            b"You sent: one\nYou sent: two\r\nYou sent: three\n"
        )


@pytest.mark.source("C22")
async def test_c22_an_unfinished_last_line_is_delivered_where_asked_and_reported_elsewhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made: Log[LineProtocol] = Log()

    def serve() -> LineProtocol:
        made.add(Recorder())
        return made[-1]

    async with served(serve) as port:
        await talk(port, b"whole\r\nhalf")
        recorder = made[0]
        assert isinstance(recorder, Recorder)
        await recorder.rests.until(1)
        assert (list(recorder.lines), list(recorder.rests)) == ([b"whole"], [b"half"])
    with caplog.at_level(logging.WARNING, "mesh.lines"):
        async with served(Echo) as port:
            assert await talk(port, b"whole\r\nhalf\x1b[2J") == b"You sent: whole\r\n"
    assert "ended within a line" in caplog.text
    assert r"half\\x1b[2J" in caplog.text


def test_a_line_cannot_hold_its_own_end() -> None:
    with pytest.raises(ValueError, match="its own delimiter"):
        LineProtocol().write_line("two\r\nlines")
