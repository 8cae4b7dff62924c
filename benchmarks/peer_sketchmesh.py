"""Peer ``sketchmesh``: the product as its users write it, two ordinary sketches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

import factory
import mesh
from benchmarks.api import HOST, ID_LENGTH, At, Job, Lane
from benchmarks.fanout import Audience, Handler
from benchmarks.flow import hold

CHANNEL = "bench"

PATIENCE = 0.005
"""Seconds of messages that the slow handler lets pass before it sleeps."""


class Receiver(factory.FactoryLoop):
    """Acknowledge every message with its number."""

    def setup(self) -> None:
        """Begin with nothing to catch up on."""
        self.due = 0.0

    @factory.reactive
    async def loop(self, channel: str, msg):  # type: ignore[no-untyped-def]
        """Do what ``api.handle()`` does; called from here it would be one await more than the peers have."""
        return msg[:ID_LENGTH]

    @factory.reactive("slow/{nanoseconds:int}")
    async def slowly(self, channel: str, msg, nanoseconds: int):  # type: ignore[no-untyped-def]
        """Do the same, and let each message take so long on the average: timers are coarser than that."""
        now = time.monotonic()
        self.due = max(self.due, now - PATIENCE) + nanoseconds / 1e9
        if self.due > now + PATIENCE:
            await asyncio.sleep(self.due - now)
        return msg[:ID_LENGTH]


class Source(factory.FactoryLoop):
    """Send what it is told to."""

    @factory.on_start
    async def begin(self) -> None:
        """Do nothing: a sketch has to have something that runs."""


async def receive(job: Job) -> None:
    """Serve until the process is ended."""
    me = mesh.Node("receiver", HOST)
    sketch = Receiver.as_node(me, mesh.Grid([me]))
    async with sketch.running(HOST, 0):
        port = sketch.serving.port
        assert port is not None
        job.ready(port)
        await asyncio.Event().wait()


@asynccontextmanager
async def sender(at: At) -> AsyncIterator[_Sketch]:
    """Run a sketch that sends."""
    me, target = mesh.Node("source"), mesh.Node("receiver", HOST, at.port)
    sketch = Source.as_node(me, mesh.Grid([me, target]))
    async with sketch.running():
        yield _Sketch(sketch)


def idle(at: At, count: int) -> AbstractAsyncContextManager[None]:
    """Hold links, each of a script with a name of its own, that have carried a message."""
    return hold(lambda: _used_link(at.port), count)


@asynccontextmanager
async def _used_link(port: int) -> AsyncIterator[mesh.Peer]:
    """Hold a link of a script of its own, over which a message has gone."""
    async with mesh.connect(mesh.Node("receiver", HOST, port)) as peer:
        await peer.stream("00000000, and no more", CHANNEL)
        yield peer


def crowd(at: At, count: int) -> AbstractAsyncContextManager[None]:
    """Hold idle connections of plain clients, who speak no link."""
    target = mesh.Node("receiver", HOST, at.port)
    return hold(lambda: target.connection(CHANNEL), count)


@asynccontextmanager
async def lanes(at: At, kind: str, count: int) -> AsyncIterator[Sequence[Lane]]:
    """Give channels of the one link of a sketch, or scripts with a link each."""
    if kind == "channels":
        async with sender(at) as sketch:
            yield [sketch.lane(f"{CHANNEL}/{number}") for number in range(count)]
        return
    peers: list[mesh.Peer] = []

    @asynccontextmanager
    async def one() -> AsyncIterator[None]:
        async with _used_link(at.port) as peer:
            peers.append(peer)
            yield

    async with hold(one, count):
        yield [partial(peer.stream, channel=CHANNEL) for peer in peers]


@asynccontextmanager
async def endless(at: At, pace: float) -> AsyncIterator[_Sketch]:
    """Run a sketch that sends to the handler that takes so long."""
    async with sender(at) as sketch:
        sketch.channel = f"slow/{round(pace * 1e9)}" if pace else CHANNEL
        yield sketch


class _Sketch:
    """A running sketch that sends."""

    def __init__(self, sketch: Source) -> None:
        self._stream = sketch.stream
        self._request = sketch.request
        self.channel = CHANNEL

    def lane(self, channel: str) -> Lane:
        """Return what streams to one channel."""
        return partial(self._stream, "receiver", channel=channel, quiet=True)

    def acks(self, messages: Iterator[str]) -> AsyncIterator[Any]:
        """Stream for as long as there are messages; see ``api.Endless``."""
        return aiter(self._stream("receiver", messages, self.channel, quiet=True))

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send messages as a user would for such a window: a list if it is all there, else a source."""
        if window == 1:
            return [ack for message in messages for ack in await self._send(message)]
        if window >= len(messages):
            return await self._send(messages)
        room = asyncio.Semaphore(window)

        async def as_there_is_room() -> AsyncIterator[Any]:
            for message in messages:
                await room.acquire()
                yield message

        acks = []
        async for ack in self._stream("receiver", as_there_is_room(), CHANNEL, quiet=True):
            room.release()
            acks.append(ack)
        return acks

    async def request(self, message: Any) -> Any:
        """Ask for one answer."""
        return await self._request("receiver", message, CHANNEL)

    async def _send(self, data: object) -> list[Any]:
        return await self._stream("receiver", data, CHANNEL, quiet=True)


class Tower(factory.FactoryLoop):
    """Publish what it is told to."""

    publishes = (CHANNEL,)

    @factory.on_start
    async def begin(self) -> None:
        """Do nothing: a sketch has to have something that runs."""


@asynccontextmanager
async def publisher(_: At) -> AsyncIterator[_Publisher]:
    """Run a sketch that publishes."""
    me = mesh.Node("tower", HOST)
    sketch = Tower.as_node(me, mesh.Grid([me]))
    async with sketch.running(HOST, 0):
        yield _Publisher(sketch)


@asynccontextmanager
async def subscribe(at: At, audience: Audience) -> AsyncIterator[None]:
    """Hold links, each of a script with a name of its own, that subscribe and lose nothing."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for handler in audience.handlers():
            peer = await stack.enter_async_context(mesh.connect(mesh.Node("tower", HOST, at.port)))
            group.create_task(_listen(peer, handler))
        yield


async def _listen(peer: mesh.Peer, handler: Handler, policy: str = "block") -> None:
    async for message in peer.subscribe(CHANNEL, policy=policy):
        await handler(message)


@asynccontextmanager
async def listen(at: At, handlers: list[Handler]) -> AsyncIterator[None]:
    """Hold subscribers of which half are plain clients; see ``silent.Mixed``."""
    address = f"ws://{HOST}:{at.port}/{CHANNEL}?subscribe"
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for which, handler in enumerate(handlers):
            if which % 2:
                client = await stack.enter_async_context(connect(address, compression=None, proxy=None))
                group.create_task(_read(client, handler))
            else:
                peer = await stack.enter_async_context(mesh.connect(mesh.Node("tower", HOST, at.port)))
                group.create_task(_listen(peer, handler, "drop_oldest"))
        yield


async def _read(client: ClientConnection, handler: Handler) -> None:
    async for message in client:
        await handler(message)


class _Publisher:
    """A running sketch that publishes, and waits for its subscribers."""

    def __init__(self, sketch: Tower) -> None:
        port = sketch.serving.port
        assert port is not None
        self.port = port
        self._publish = sketch.publish

    async def publish(self, messages: Iterator[Any]) -> None:
        """Publish messages as a sketch does that waits for room each time."""
        publish = self._publish
        for message in messages:
            await publish(CHANNEL, message)
