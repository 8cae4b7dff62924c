"""Peers ``websockets`` and ``websockets-batched``: the library below the product, by its public API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from benchmarks.api import HOST, At, Job, handle
from benchmarks.flow import Acks, hold, send_batches

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[str]).decode


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
        async for frame in self._connection:
            assert isinstance(frame, bytes)
            self._acks.put_all(decode(frame))

    async def _send(self, batch: Sequence[Any]) -> None:
        await self._connection.send(encode(batch))

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        return await send_batches(self._acks, self._send, messages, window)
