"""What only byte streams do: chunks, ends in good order, an input that ends before the output."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from mesh.transport import stream
from mesh.transport.base import MOST_EARLY, EndOfInputError, Transport, TransportClosedError
from mesh.transport.endpoints import Options, dial, listen
from mesh.transport.listener import Listener
from mesh.transport.stream import StreamTransport, address_words
from tests.helpers.proc import DEADLINE

pytestmark = pytest.mark.integration


@asynccontextmanager
async def serving(
    accept: Callable[[Transport], object], options: Options | None = None
) -> AsyncIterator[Listener]:
    async with await listen("tcp://127.0.0.1:0", accept, options=options) as listener:  # type: ignore[arg-type]
        yield listener


async def opened(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = listener.address.removeprefix("tcp://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def echo(transport: Transport) -> None:
    """Answer chunk by chunk until there are no more."""
    try:
        while True:
            await transport.send(await transport.recv())
    except EndOfInputError:
        await transport.send(b"<end>")


@pytest.mark.source("D2")
async def test_bytes_arrive_in_order_however_they_are_cut() -> None:
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def accept(transport: Transport) -> None:
        data = b""
        while len(data) < 6:
            data += await transport.recv()
        got.set_result(data)

    async with serving(accept) as listener:
        _, writer = await opened(listener)
        for byte in (b"a", b"b", b"c"):
            writer.write(byte)
            await asyncio.sleep(0)
        writer.write(b"def")
        assert await got == b"abcdef"
        await closed(writer)


async def test_who_sends_all_and_then_only_reads_gets_the_answers() -> None:
    async with serving(echo, Options(half_open=True)) as listener:
        reader, writer = await opened(listener)
        writer.write(b"hello")
        writer.write_eof()
        async with asyncio.timeout(DEADLINE):
            assert await reader.read() == b"hello<end>"
        await closed(writer)


async def test_without_that_an_end_of_input_is_the_end_of_the_connection() -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def accept(transport: Transport) -> None:
        with pytest.raises(TransportClosedError) as caught:
            await transport.recv()
        ended.set_result(caught.value.reason)

    async with serving(accept) as listener:
        reader, writer = await opened(listener)
        writer.write_eof()
        assert await ended == "the peer closed it"
        assert await reader.read() == b""
        await closed(writer)


class Pushed:
    """A user that is told when the input has ended."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.has_all = asyncio.Event()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def messages_came(self, messages: list[bytes]) -> None:
        self.transport.write(b"".join(messages).upper())

    def writing_resumed(self) -> None:
        pass

    def input_ended(self, reason: str) -> None:
        self.transport.write(b" " + reason.encode())
        self.has_all.set()

    def connection_ended(self, reason: str) -> None:
        self.ended.set_result(reason)


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_user_that_is_pushed_may_answer_after_the_end_of_input(is_late: bool) -> None:
    async def accept(transport: Transport) -> None:
        user = Pushed(transport)
        if is_late:
            transport.write((await transport.recv()).upper())
            with pytest.raises(EndOfInputError):
                await transport.recv()
        transport.start(user)
        await user.has_all.wait()
        await transport.close()
        assert await user.ended == "closed from here"

    async with serving(accept, Options(half_open=True)) as listener:
        reader, writer = await opened(listener)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"HELLO the peer has sent all it had to send"
        await closed(writer)


@pytest.mark.source("C17")
async def test_the_last_words_reach_a_peer_that_is_still_sending() -> None:
    """A socket that is closed with something unread takes back what it has sent last."""

    async def accept(transport: Transport) -> None:
        await transport.recv()
        transport.write(b"no more, please")
        await transport.close()

    async with serving(accept) as listener:
        reader, writer = await opened(listener)
        for _ in range(50):
            writer.write(b"x" * 10_000)
            await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE):
            assert await reader.read() == b"no more, please"
        await closed(writer)


async def test_a_close_sends_what_is_buffered_to_who_reads_slowly() -> None:
    async def accept(transport: Transport) -> None:
        for _ in range(20):
            transport.write(b"x" * 100_000)
        await transport.close()

    async with serving(accept) as listener:
        reader, writer = await opened(listener)
        assert len(await reader.read()) == 2_000_000
        await closed(writer)


async def test_a_close_does_not_wait_for_ever_for_who_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CLOSE_LIMIT", 0.1)
    done: asyncio.Future[Transport] = asyncio.get_running_loop().create_future()

    async def accept(transport: Transport) -> None:
        while transport.writable:
            transport.write(b"x" * 1_000_000)
        await asyncio.gather(transport.close(), transport.close("again"))
        done.set_result(transport)

    async with serving(accept) as listener:
        _, writer = await opened(listener)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(DEADLINE):
            assert (await done).ended == "closed from here"
        await closed(writer)


async def test_what_nobody_reads_is_bounded() -> None:
    held: asyncio.Future[Transport] = asyncio.get_running_loop().create_future()
    enough = asyncio.Event()

    async def accept(transport: Transport) -> None:
        held.set_result(transport)
        await enough.wait()

    async with serving(accept) as listener:
        _, writer = await opened(listener)
        transport = await held
        sending = asyncio.create_task(flood(writer))
        assert isinstance(transport, StreamTransport)
        async with asyncio.timeout(DEADLINE):
            while transport.wire.is_reading():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        taken = transport.stats.bytes_in
        done, _ = await asyncio.wait([sending], timeout=0.1)
        assert not done
        assert transport.stats.bytes_in == taken < MOST_EARLY + 2 * 256 * 1024
        enough.set()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await closed(writer)


async def flood(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


@pytest.mark.source("D14", "D15")
async def test_a_thousand_clients_at_once() -> None:
    async with serving(echo, Options(half_open=True)) as listener:
        clients = [await dial(listener.address) for _ in range(1000)]
        assert listener.connections == 1000
        for number, client in enumerate(clients):
            client.write(b"%d" % number)
        assert [await client.recv() for client in clients] == [b"%d" % number for number in range(1000)]
        for client in clients:
            client.abort()
    assert listener.connections == 0


async def test_one_more_than_the_limit_is_closed_at_once() -> None:
    async with serving(echo, Options(limit=2)) as listener:
        clients = [await dial(listener.address) for _ in range(3)]
        with pytest.raises(TransportClosedError):
            await clients[2].recv()
        assert listener.turned_away == 1
        await clients[0].send(b"x")
        assert await clients[0].recv() == b"x"
        for client in clients:
            await client.close()


async def test_the_address_is_given_up_and_connections_stay_until_the_close() -> None:
    async with serving(echo) as listener:
        client = await dial(listener.address)
        listener.stop()
        listener.stop()
        with pytest.raises(ConnectionError):
            await dial(listener.address)
        await client.send(b"still there")
        assert await client.recv() == b"still there"
        await listener.close()
        with pytest.raises(TransportClosedError):
            await client.recv()


async def test_an_accept_that_raises_ends_its_connection_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def accept(transport: Transport) -> None:
        raise ValueError("a mistake\n")

    async with serving(accept) as listener:
        client = await dial(listener.address)
        with pytest.raises(TransportClosedError):
            await client.recv()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "mesh.transport"]
    assert line.endswith(r"failed: ValueError: a mistake\x0a")


def test_addresses_are_written_for_people() -> None:
    assert address_words(("127.0.0.1", 80)) == "127.0.0.1:80"
    assert address_words(("::1", 80, 0, 0)) == "[::1]:80"
    assert address_words(b"\x00abstract") == "\x00abstract"
    assert address_words("") == address_words(None) == "a process of this machine"
