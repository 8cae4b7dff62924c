"""Responders for a door: they record, and answer as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager

from mesh.conversation import Client
from mesh.door import MAX_CLIENTS, Door
from mesh.protocol.values import Wire
from tests.helpers.log import Log


class RecordingResponder:
    """Answers each message with itself, or by a function, and records all it is told."""

    def __init__(self, answer: Callable[[Client, Wire], object] | None = None) -> None:
        self._answer = answer or (lambda _, message: message)
        self.opened: Log[Client] = Log()
        self.messages: Log[Wire] = Log()
        self.closed: Log[tuple[Client, str]] = Log()

    def client_opened(self, client: Client) -> None:
        self.opened.add(client)

    def client_closed(self, client: Client, reason: str) -> None:
        self.closed.add((client, reason))

    async def answer(self, client: Client, message: Wire) -> object:
        self.messages.add(message)
        answer = self._answer(client, message)
        return await answer if isinstance(answer, Awaitable) else answer


class GatedResponder(RecordingResponder):
    """Keeps every message in hand until its gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.cancelled: Log[Wire] = Log()

    async def answer(self, client: Client, message: Wire) -> object:
        self.messages.add(message)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.add(message)
            raise
        return f"done {message!r}"


@asynccontextmanager
async def open_door(
    responder: RecordingResponder,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    own_hosts: Collection[str] = (),
    allowed_origins: Collection[str] = (),
    max_clients: int = MAX_CLIENTS,
) -> AsyncIterator[Door]:
    """Serve for as long as the block lasts."""
    door = Door(responder, own_hosts=own_hosts, allowed_origins=allowed_origins, max_clients=max_clients)
    await door.open(host, port)
    try:
        yield door
    finally:
        await door.close()
