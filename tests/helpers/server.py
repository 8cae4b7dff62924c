"""A websocket server that behaves as told, connection by connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from mesh.node import Node
from mesh.protocol.values import Wire
from tests.helpers.log import Log

Behaviour = Callable[[ServerConnection, Wire], Awaitable[None]]


@dataclass
class Record:
    """What a server has seen.

    Attributes:
        node: The server, as its peers know it.
        server: The server itself.
        paths: The path of every connection, in order.
        messages: Number of the connection and message, in order.
        closed: Numbers of the connections that have ended.

    """

    node: Node
    server: Server
    paths: Log[str] = field(default_factory=Log)
    messages: Log[tuple[int, Wire]] = field(default_factory=Log)
    closed: Log[int] = field(default_factory=Log)


async def echoes(connection: ServerConnection, message: Wire) -> None:
    """Send the message back."""
    await connection.send(message)


async def drops(connection: ServerConnection, message: Wire) -> None:
    """Vanish without a goodbye, as a process killed does."""
    connection.transport.abort()


async def keeps_still(connection: ServerConnection, message: Wire) -> None:
    """Never answer."""


def closes(code: int, reason: str = "") -> Behaviour:
    """Close instead of answering."""

    async def behave(connection: ServerConnection, message: Wire) -> None:
        await connection.close(code, reason)

    return behave


def held(gate: asyncio.Event, *messages: Wire) -> Behaviour:
    """Send messages back once a gate is open; if some are named, only those wait for it."""

    async def behave(connection: ServerConnection, message: Wire) -> None:
        if not messages or message in messages:
            await gate.wait()
        await connection.send(message)

    return behave


@asynccontextmanager
async def server(
    *behaviours: Behaviour, port: int = 0, name: str = "buzzer", max_size: int = 2**20
) -> AsyncIterator[Record]:
    """Serve one behaviour to each connection, in turn; the last one for good."""
    records: list[Record] = []

    async def converse(connection: ServerConnection) -> None:
        record = records[0]
        number = len(record.paths)
        assert connection.request is not None
        record.paths.add(connection.request.path)
        behave = behaviours[min(number, len(behaviours) - 1)]
        try:
            async for message in connection:
                record.messages.add((number, message))
                await behave(connection, message)
        except ConnectionClosed:
            pass
        finally:
            record.closed.add(number)

    async with serve(converse, "127.0.0.1", port, close_timeout=0.5, max_size=max_size) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        records.append(Record(Node(name, "127.0.0.1", port), running))
        yield records[0]
