"""Peer ``sketchmesh``: the product as its users write it, two ordinary sketches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import factory
import mesh
from benchmarks.api import HOST, ID_LENGTH, At, Job
from benchmarks.flow import hold

CHANNEL = "bench"


class Receiver(factory.FactoryLoop):
    """Acknowledge every message with its number."""

    @factory.reactive
    async def loop(self, channel: str, msg):  # type: ignore[no-untyped-def]
        """Do what ``api.handle()`` does; called from here it would be one await more than the peers have."""
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
    """Hold idle connections of plain clients."""
    target = mesh.Node("receiver", HOST, at.port)
    return hold(lambda: target.connection(CHANNEL), count)


class _Sketch:
    def __init__(self, sketch: Source) -> None:
        self._stream = sketch.stream

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
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

    async def _send(self, data: object) -> list[Any]:
        return await self._stream("receiver", data, CHANNEL, quiet=True)
