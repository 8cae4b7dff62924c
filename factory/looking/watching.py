"""Streams of what goes through nodes: messages, rates, and the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

from factory.looking.errors import NotReachedError, SilentNodeError
from factory.looking.places import Place, asking, silence
from mesh.errors import NackedError

REACH = 2.0
"""Seconds in which a node is to be reached."""

GUARD = 0.5
"""Seconds that a node which was reached has besides, to begin its answer."""

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
                # After the patience, which knows better why nobody was reached.
                async with asyncio.timeout(REACH + GUARD):
                    first = await anext(ask)
                began(found.name)
                part(found.name, first)
                async for one in ask:
                    part(found.name, one)
    except TimeoutError as exc:
        raise SilentNodeError(f"{found.name} {silence(found, REACH)}") from exc
    except NackedError as exc:
        raise NotReachedError(f"{found.name} does not show it: {exc.reason}") from exc
    raise NotReachedError(f"{found.name} has stopped")


class Looking:
    """Streams of several nodes, side by side.

    Args:
        targets: The nodes, and what is asked of each.
        channel: ``$tap`` or ``$wire``.
        began: Called with a node's name once it looks.
        part: Called with a node's name and each part.

    Attributes:
        all_there: Set once all of them look.

    """

    def __init__(
        self,
        targets: Sequence[Target],
        channel: str,
        began: Callable[[str], object],
        part: Callable[[str, dict[str, Any]], object],
    ) -> None:
        self.all_there = asyncio.Event()
        self._targets = targets
        self._channel = channel
        self._began = began
        self._part = part
        self._waited_for = {found.name: found for found, _ in targets}

    async def run(self, *beside: Coroutine[Any, Any, None]) -> None:
        """Look until one node ends, or what is done beside it; raise its error."""
        looks = [watch(found, self._channel, wish, self._note, self._part) for found, wish in self._targets]
        await _first_of([asyncio.create_task(each) for each in (*looks, *beside)])

    def check(self, timeout: float) -> None:
        """Tell who has not begun to look although the time that was given is over.

        Raises:
            NotReachedError: If there is somebody, of whom is not known that he runs.
            SilentNodeError: If there is somebody who runs.

        """
        for name, found in self._waited_for.items():
            if found.record is None:
                raise NotReachedError(f"{name} was not reached within {timeout:g} s")
            raise SilentNodeError(f"{name} {silence(found, timeout)}")

    def _note(self, name: str) -> None:
        self._began(name)
        self._waited_for.pop(name, None)
        if not self._waited_for:
            self.all_there.set()


async def _first_of(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until one task ends, end the others, and raise what it raised."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
