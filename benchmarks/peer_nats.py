"""Peers ``nats``, ``nats-request`` and ``nats-batched``: nats-py, through a nats-server.

``nats`` is the inbox pattern: one subscription of the sender's gets all replies, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.api import HOST, At, Job, handle
from benchmarks.flow import Acks, hold, send_batches, send_each

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[bytes]).decode

SUBJECT = "bench"
REQUESTS = 256
"""Tasks that call ``request()`` side by side when the window allows it."""


async def _connect(port: int) -> Client:
    return await nats.connect(f"nats://{HOST}:{port}", allow_reconnect=False)


async def receive(job: Job) -> None:
    """Subscribe until the process is ended."""
    client = await _connect(job.broker)

    async def answer(msg: Msg) -> None:
        await client.publish(msg.reply, await handle(msg.data))

    async def answer_batch(msg: Msg) -> None:
        await client.publish(msg.reply, encode([await handle(message) for message in decode(msg.data)]))

    await client.subscribe(SUBJECT, cb=answer_batch if job.batched else answer)
    await client.flush()
    job.ready(job.broker)
    await asyncio.Event().wait()


@asynccontextmanager
async def sender(at: At) -> AsyncIterator[_Inbox | _Requests]:
    """Connect to the broker."""
    client = await _connect(at.port)
    try:
        if at.variant.endswith("request"):
            yield _Requests(client)
        else:
            inbox = _Inbox(client, batched=at.batched)
            await inbox.subscribe()
            yield inbox
    finally:
        await client.close()


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[None]:
    """Hold one connection."""
    client = await _connect(port)
    try:
        yield
    finally:
        await client.close()


def idle(at: At, count: int) -> AbstractAsyncContextManager[None]:
    """Hold idle connections to the broker."""
    return hold(lambda: _connected(at.port), count)


class _Inbox:
    """A sender whose acks all come by one subscription, which keeps their order."""

    def __init__(self, client: Client, batched: bool) -> None:
        self._client = client
        self._batched = batched
        self._reply = client.new_inbox()
        self._acks = Acks()

    async def subscribe(self) -> None:
        await self._client.subscribe(self._reply, cb=self._take_batch if self._batched else self._take)

    async def _take(self, msg: Msg) -> None:
        self._acks.put(msg.data)

    async def _take_batch(self, msg: Msg) -> None:
        self._acks.put_all(decode(msg.data))

    async def _send(self, message: bytes) -> None:
        await self._client.publish(SUBJECT, message, reply=self._reply)

    async def _send_batch(self, batch: Sequence[bytes]) -> None:
        await self._client.publish(SUBJECT, encode(batch), reply=self._reply)

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        if self._batched:
            return await send_batches(self._acks, self._send_batch, messages, window)
        return await send_each(self._acks, self._send, messages, window)


class _Requests:
    """A sender that calls ``request()``, so that each ack finds its own caller."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        acks: list[Any] = [None] * len(messages)
        work = iter(enumerate(messages))

        async def one_after_the_other() -> None:
            for at, message in work:
                acks[at] = (await self._client.request(SUBJECT, message, timeout=30)).data

        async with asyncio.TaskGroup() as group:
            for _ in range(min(window, REQUESTS, len(messages))):
                group.create_task(one_after_the_other())
        return acks
