"""Ask boards of the mesh for what they have logged, for as long as there is somebody who reads it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from factory.boards.following import Follower, News
from mesh.client import Peer
from mesh.errors import MeshError, NackedError, OutcomeUnknownError, PeerDownError

POLL = 0.05
"""Seconds between two looks at what a board has logged."""

_TRIES = 5


def words_of(exc: MeshError) -> str:
    """Return what an error says, for people; of a refusal, what the board said."""
    if not isinstance(exc, NackedError):
        return str(exc)
    return f"{exc.peer} is no board: {exc.reason}" if exc.type == "UnknownChannelError" else exc.reason


async def look(peer: Peer, value: object, channel: str) -> Any:
    """Return a board's answer to a question, which is put again if the link breaks before it comes.

    Raises:
        MeshError: If there is no answer.

    """
    for _ in range(_TRIES - 1):
        # To look once more changes nothing, so whether the first question got there is all the same.
        with suppress(OutcomeUnknownError):
            return await peer.request(value, channel)
    return await peer.request(value, channel)


async def read(peer: Peer, follower: Follower) -> AsyncIterator[News]:
    """Give all that a board has logged by now.

    Raises:
        MeshError: If it does not answer.

    """
    more = True
    while more:
        news = follower.take(await look(peer, follower.since, "edges"))
        more = news.more
        yield news


async def follow(
    peer: Peer, follower: Follower, stop: asyncio.Event, say: Callable[[str], object]
) -> AsyncIterator[News]:
    """Give what a board logs, until ``stop`` is set; a board that is away is waited for.

    Args:
        peer: The board.
        follower: Where to begin.
        stop: Ends it, with what is logged by then.
        say: Told when the board is away, and when it is back.

    Raises:
        MeshError: If it does not answer though it is there, or what is there is no board.

    """
    away = ""
    while True:
        over = stop.is_set()
        try:
            async for news in read(peer, follower):
                if away:
                    say(f"{away} is back")
                    away = ""
                yield news
        except PeerDownError as exc:
            if over:
                return
            if not away:
                say(f"{exc.peer} is away ({exc.why}); waiting for it")
            away = exc.peer
        if over:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await stop.wait()
