"""Streams of what goes through nodes: messages, rates, and the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

from factory.looking.errors import NotReachedError, SilentNodeError
from factory.looking.places import Place, asking, silence
from mesh.errors import NackedError, PeerDownError

REACH = 2.0
"""Seconds in which a node is to be reached."""

Target = tuple[Place, object]
"""A node, and what is asked of it."""


async def watch(
    found: Place,
    channel: str,
    wish: object,
    began: Callable[[str], object],
    part: Callable[[str, dict[str, Any]], object],
) -> None:
    """Ask a node for a stream, and hand on each part, until it ends.

    Args:
        found: The node.
        channel: ``$tap`` or ``$wire``.
        wish: What is asked for.
        began: Called with the node's name once it looks.
        part: Called with the node's name and each part.

    Raises:
        NotReachedError: If the node is down, goes away or refuses.
        SilentNodeError: If it runs, and does not answer.

    """
    try:
        async with asking(found, REACH, once=True) as node:
            ask = node.ask(channel, wish, patience=REACH)
            async with aclosing(ask):
                async with asyncio.timeout(REACH):
                    first = await anext(ask)
                began(found.name)
                part(found.name, first)
                async for one in ask:
                    part(found.name, one)
    except TimeoutError as exc:
        raise SilentNodeError(f"{found.name} {silence(found, REACH)}") from exc
    except NackedError as exc:
        raise NotReachedError(f"{found.name} does not show it: {exc.reason}") from exc
    except PeerDownError as exc:
        raise NotReachedError(f"{found.name} has gone away: {exc.why}") from exc
    raise NotReachedError(f"{found.name} has stopped")


async def watch_all(
    targets: Sequence[Target],
    channel: str,
    began: Callable[[str], object],
    part: Callable[[str, dict[str, Any]], object],
) -> None:
    """Watch several nodes side by side; ends when one of them does, with its error."""
    tasks = [asyncio.create_task(watch(found, channel, wish, began, part)) for found, wish in targets]
    await first_of(tasks)


async def first_of(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until one task ends, end the others, and raise what it raised."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
