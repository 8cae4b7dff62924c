"""Peer ``article``: the source article's way, a connection for each stream, stop and wait.

A stream is ten messages, as many as a burst of one of its sketches.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from websockets.asyncio.client import connect

from benchmarks import peer_websockets
from benchmarks.api import HOST, At, Job

STREAM = 10


async def receive(job: Job) -> None:
    """Serve until the process is ended; the same server as that of ``websockets``."""
    await peer_websockets.receive(job)


@asynccontextmanager
async def sender(at: At) -> AsyncIterator[_Article]:
    """Give a sender; it connects as it sends."""
    yield _Article(at.port)


def idle(at: At, count: int) -> AbstractAsyncContextManager[None]:
    """Hold idle connections."""
    return peer_websockets.idle(at, count)


class _Article:
    """Connects for each stream, and waits for each ack before the next message."""

    def __init__(self, port: int) -> None:
        self._uri = f"ws://{HOST}:{port}/bench"

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send messages one by one, over a new connection after every ``STREAM`` of them."""
        acks = []
        for begin in range(0, len(messages), STREAM):
            async with connect(self._uri, compression=None, proxy=None, max_size=2**24) as connection:
                for message in messages[begin : begin + STREAM]:
                    await connection.send(message)
                    acks.append(await connection.recv())
        return acks
