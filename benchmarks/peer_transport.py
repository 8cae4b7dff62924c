"""Layer ``transport``: the websocket that links use, with nothing above it; for ``benchmarks.where``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from benchmarks.api import HOST, ID_LENGTH, At, Job
from benchmarks.flow import Acks, hold, send_each
from mesh.dialling import dial_link
from mesh.node import Node
from mesh.protocol.link import SUBPROTOCOL
from mesh.transport.base import Transport
from mesh.transport.websocket import LinkConnection


class _Connection(LinkConnection, ServerConnection):
    """One that may be a link's, at the end that was dialled."""


class _End:
    """The user of a transport; at the receiving end it answers in the very call that brings a message."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        transport.start(self)

    def messages_came(self, messages: list[bytes]) -> None:
        """Send each number back."""
        for message in messages:
            self.transport.write(message[:ID_LENGTH])

    def writing_resumed(self) -> None:
        """Nothing here ever waits for room: a window bounds what is in flight."""

    def connection_ended(self, reason: str) -> None:
        """Let whoever serves this connection be done with it."""
        if not self.ended.done():
            self.ended.set_result(reason)


class _Sender(_End):
    """The sending end; counts what comes back."""

    def __init__(self, transport: Transport) -> None:
        self._acks = Acks()
        super().__init__(transport)

    def messages_came(self, messages: list[bytes]) -> None:
        """Count what comes back."""
        self._acks.put_all(messages)

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send each message by itself and return the acks in order."""
        return await send_each(self._acks, self.transport.write, messages, window)


async def _serve(connection: ServerConnection) -> None:
    assert isinstance(connection, LinkConnection)
    await _End(connection.as_transport("sender")).ended


async def receive(job: Job) -> None:
    """Serve until the process is ended."""
    async with serve(
        _serve,
        HOST,
        0,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        ping_interval=None,
        create_connection=_Connection,
    ) as server:
        job.ready(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


@asynccontextmanager
async def sender(at: At) -> AsyncIterator[_Sender]:
    """Connect to the receiver."""
    transport = await dial_link(Node("receiver", HOST, at.port))
    try:
        yield _Sender(transport)
    finally:
        await transport.close("done")


def idle(at: At, count: int) -> AbstractAsyncContextManager[None]:
    """Hold idle connections."""
    return hold(lambda: sender(at), count)
