"""One socket, three who may want that nothing is read: the library, the wire and fairness."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from mesh.protocol.link import SUBPROTOCOL
from mesh.transport.websocket import PIECE, LinkConnection
from tests.helpers.proc import DEADLINE

pytestmark = pytest.mark.integration


class Accepted(LinkConnection, ServerConnection):
    """A connection as the door makes it."""


@asynccontextmanager
async def connected(*, link: bool = False) -> AsyncIterator[tuple[ClientConnection, Accepted]]:
    """Yield a client, and the connection that it has at the server."""
    accepted: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def accept(connection: ServerConnection) -> None:
        accepted.set_result(connection)
        await done.wait()

    options = {"ping_interval": None, "compression": None, "close_timeout": 0.2}
    async with serve(
        accept,
        "127.0.0.1",
        0,
        create_connection=Accepted,
        max_queue=4,
        select_subprotocol=lambda _connection, offered: offered[0] if offered else None,
        **options,  # type: ignore[arg-type]
    ) as server:
        port = server.sockets[0].getsockname()[1]
        offers = {"subprotocols": [SUBPROTOCOL]} if link else {}
        async with connect(f"ws://127.0.0.1:{port}", **offers, **options) as client:  # type: ignore[arg-type]
            connection = await accepted
            assert isinstance(connection, Accepted)
            yield client, connection
            connection.transport.abort()
        done.set()


def text(number: int, size: int = 1000) -> bytes:
    """Return a masked text message that begins with its number."""
    payload = b"%05d" % number + b"x" * (size - 5)
    return struct.pack(">BBH", 0x81, 0x80 | 126, size) + bytes(4) + payload


async def test_what_comes_while_a_rest_waits_does_not_overtake_it() -> None:
    async with connected() as (_, connection):
        first = b"".join(text(number) for number in range(50))
        assert len(first) > 2 * PIECE
        connection.data_received(first[:-3])
        # Before the rest had its turn, in pieces that are no whole messages.
        connection.data_received(first[-3:] + text(50)[:7])
        connection.data_received(text(50)[7:])
        got = [await connection.recv() for _ in range(51)]
        assert [int(str(message)[:5]) for message in got] == list(range(51))


async def test_pings_of_a_link_that_wait_do_not_hold_up_its_messages_nor_get_lost() -> None:
    async with connected(link=True) as (client, connection):
        wire = connection.as_transport("client")
        ping = b"\x89\x80" + bytes(4)
        message = b"\x82\x81" + bytes(4) + b"m"
        for _ in range(3):
            connection.data_received(ping * 10 + message)
        assert [await wire.recv() for _ in range(3)] == [b"m"] * 3
        wire.write(b"answer")
        assert await client.recv() == b"answer"


async def test_the_library_stops_reading_when_its_queue_is_full_and_goes_on() -> None:
    async with connected() as (client, connection):
        for number in range(10):
            await client.send(str(number))
        await asyncio.wait_for(not_reading(connection), DEADLINE)
        # A turn that ends meanwhile does not open what the library has shut.
        connection.read_on()
        assert not connection.transport.is_reading()
        assert [await connection.recv() for _ in range(10)] == [str(number) for number in range(10)]
        assert connection.transport.is_reading()


async def not_reading(connection: LinkConnection) -> None:
    while connection.transport.is_reading():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)


async def test_a_link_that_is_held_back_is_not_read_whatever_the_others_want() -> None:
    async with connected(link=True) as (client, connection):
        wire = connection.as_transport("client")
        wire.pause_reading()
        connection.read_on()
        assert not connection.transport.is_reading()
        await client.send(b"later")
        wire.resume_reading()
        assert connection.transport.is_reading()
        assert await wire.recv() == b"later"


async def test_the_library_may_ask_to_read_on_after_the_end() -> None:
    async with connected() as (_, connection):
        connection.transport.abort()
        await connection.wait_closed()
        # Nothing refers to the connection in a circle: thousands must not wait for the collector.
        assert connection._gate._connection is None
        connection._gate.resume_reading()
