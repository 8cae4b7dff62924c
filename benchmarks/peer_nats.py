"""Peers ``nats``, ``nats-request`` and ``nats-batched``: nats-py, through a nats-server.

``nats`` is the inbox pattern: one subscription of the sender's gets all replies, in order. In the fan-out
it is told by one client what all of them have had, for the server cuts off who is slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.api import HOST, At, Job, handle
from benchmarks.fanout import Audience, Handler
from benchmarks.flow import Acks, Bound, hold, send_batches, send_each

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[bytes]).decode

SUBJECT = "bench"
FANOUT, HAD = "fanout", "had"
MOST_AHEAD, TELL = 4096, 256
"""Messages of a fan-out on their way, at most, and after how many a client tells that all have had them."""

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
        """Take the acks from the subject that the receiver answers to."""
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
        """Send messages, by themselves or in batches, and return the acks in order."""
        if self._batched:
            return await send_batches(self._acks, self._send_batch, messages, window)
        return await send_each(self._acks, self._send, messages, window)


class _Requests:
    """A sender that calls ``request()``, so that each ack finds its own caller."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def request(self, message: bytes) -> bytes:
        """Ask for one answer."""
        answer: bytes = (await self._client.request(SUBJECT, message, timeout=30)).data
        return answer

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Make a request of each message and return the answers in order."""
        acks: list[Any] = [None] * len(messages)
        work = iter(enumerate(messages))

        async def one_after_the_other() -> None:
            for at, message in work:
                acks[at] = (await self._client.request(SUBJECT, message, timeout=30)).data

        async with asyncio.TaskGroup() as group:
            for _ in range(min(window, REQUESTS, len(messages))):
                group.create_task(one_after_the_other())
        return acks


@asynccontextmanager
async def publisher(at: At) -> AsyncIterator[_Publisher]:
    """Connect to the broker and listen to what all have had."""
    client = await _connect(at.port)
    bound = Bound(MOST_AHEAD)

    async def had(msg: Msg) -> None:
        bound.reached(int(msg.data))

    try:
        await client.subscribe(HAD, cb=had)
        yield _Publisher(client, at.port, bound)
    finally:
        await client.close()


@asynccontextmanager
async def subscribe(at: At, audience: Audience) -> AsyncIterator[None]:
    """Hold clients, each with a subscription."""
    clients: list[Client] = []
    telling: set[asyncio.Task[None]] = set()

    def tell(number: int) -> None:
        task = asyncio.create_task(clients[0].publish(HAD, str(number).encode()))
        telling.add(task)
        task.add_done_callback(telling.discard)

    async with AsyncExitStack() as stack:
        for handler in audience.handlers(TELL, tell):
            client = await _connect(at.port)
            stack.push_async_callback(client.close)
            clients.append(client)
            await client.subscribe(FANOUT, cb=_callback(handler))
        yield


def _callback(handler: Handler) -> Any:
    async def callback(msg: Msg) -> None:
        await handler(msg.data)

    return callback


class _Publisher:
    """A client that publishes, and is not too far ahead of those that subscribed."""

    def __init__(self, client: Client, port: int, bound: Bound) -> None:
        self.port = port
        self._client = client
        self._bound = bound

    async def _send(self, message: bytes) -> None:
        await self._client.publish(FANOUT, message)

    async def publish(self, messages: Iterator[Any]) -> None:
        """Publish messages and keep to the bound."""
        await self._bound.publish(self._send, messages)
