"""Peers ``websockets`` and ``websockets-batched``: the library below the product, by its public API.

``websockets-broadcast`` is what the library has for a fan-out. As it never waits for a client, one
client tells what all of them have had.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from benchmarks.api import HOST, At, Job, handle
from benchmarks.fanout import Audience, Handler
from benchmarks.flow import Acks, Bound, hold, send_batches

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[str]).decode

MOST_AHEAD, TELL = 1024, 256
"""Messages of a fan-out on their way, at most, and after how many a client tells that all have had them."""


async def receive(job: Job) -> None:
    """Serve until the process is ended."""
    answer = _answer_batches if job.batched else _answer_each
    async with serve(answer, HOST, 0, compression=None, max_size=2**24) as server:
        job.ready(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


async def _answer_each(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(await handle(message))


async def _answer_batches(connection: ServerConnection) -> None:
    async for frame in connection:
        assert isinstance(frame, bytes)
        await connection.send(encode([await handle(message) for message in decode(frame)]))


def _connect(port: int) -> connect:
    return connect(f"ws://{HOST}:{port}/bench", compression=None, proxy=None, max_size=2**24)


@asynccontextmanager
async def sender(at: At) -> AsyncIterator[_Each | _Batches]:
    """Connect to the receiver."""
    async with _connect(at.port) as connection:
        if not at.batched:
            yield _Each(connection)
            return
        batches = _Batches(connection)
        reader = asyncio.create_task(batches.read())
        try:
            yield batches
        finally:
            reader.cancel()


def idle(at: At, count: int) -> AbstractAsyncContextManager[None]:
    """Hold idle connections."""
    return hold(lambda: _connect(at.port), count)


class _Each:
    """A sender of one message in each frame, which keeps the window by reading an ack before it sends on."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send each message by itself and return the acks in order."""
        send, recv = self._connection.send, self._connection.recv
        if window >= len(messages) > 1:
            sending = asyncio.create_task(self._send_all(messages))
            acks = [await recv() for _ in messages]
            await sending
            return acks
        for message in messages[:window]:
            await send(message)
        acks = []
        for message in messages[window:]:
            acks.append(await recv())
            await send(message)
        while len(acks) < len(messages):
            acks.append(await recv())
        return acks

    async def _send_all(self, messages: Sequence[Any]) -> None:
        send = self._connection.send
        for message in messages:
            await send(message)


class _Batches:
    """A sender of what the window has room for in one frame."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._acks = Acks()

    async def read(self) -> None:
        """Take the acks out of their frames, for as long as the connection holds."""
        async for frame in self._connection:
            assert isinstance(frame, bytes)
            self._acks.put_all(decode(frame))

    async def _send(self, batch: Sequence[Any]) -> None:
        await self._connection.send(encode(batch))

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send messages in batches and return the acks in order."""
        return await send_batches(self._acks, self._send, messages, window)


@asynccontextmanager
async def publisher(_: At) -> AsyncIterator[_Broadcast]:
    """Serve those that only listen."""
    bound = Bound(MOST_AHEAD)

    async def listen(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):  # subscribers are ended without a goodbye
            async for number in connection:
                bound.reached(int(number))

    async with serve(listen, HOST, 0, compression=None) as server:
        yield _Broadcast(server, bound)


@asynccontextmanager
async def subscribe(at: At, audience: Audience) -> AsyncIterator[None]:
    """Hold connections, each with a task that reads it."""
    telling: set[asyncio.Task[None]] = set()

    def tell(number: int) -> None:
        task = asyncio.create_task(connections[0].send(str(number)))
        telling.add(task)
        task.add_done_callback(telling.discard)

    async with AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(_connect(at.port)) for _ in range(audience.count)]
        handlers = audience.handlers(TELL, tell)
        async with asyncio.TaskGroup() as group:
            for connection, handler in zip(connections, handlers, strict=True):
                group.create_task(_listen(connection, handler))
            yield


async def _listen(connection: ClientConnection, handler: Handler) -> None:
    async for message in connection:
        await handler(message)


class _Broadcast:
    """A publisher that calls ``broadcast()`` for each message."""

    def __init__(self, server: Server, bound: Bound) -> None:
        self.port: int = next(iter(server.sockets)).getsockname()[1]
        self._server = server
        self._bound = bound

    def _send(self, message: str) -> None:
        broadcast(self._server.connections, message)

    async def publish(self, messages: Iterator[Any]) -> None:
        """Publish messages and keep to the bound."""
        await self._bound.publish(self._send, messages)
