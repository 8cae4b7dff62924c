"""What comes round from one sender, handled one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Raw

Handle = Callable[[str, Any], Awaitable[bool]]
"""Handles a message of a sender; returns whether it was taken well. Raises nothing but ``CancelledError``."""

Handled = Callable[[str, str, int, bool], None]
"""Takes note of sender, incarnation, how many were handled, and whether they were refused."""

TURN = 64
"""Messages that are handled before others get their turn."""

SLICE = 0.002
"""Seconds after which they get it in any case; so long what is handled is not told."""

_decode = msgspec.msgpack.Decoder().decode


class Inbox:
    """Messages of one sender, and the task that handles them while there are any.

    It needs no bound of its own: the core of the ring gives no more before some are handled.
    """

    def __init__(self, sender: str, handle: Handle, handled: Handled) -> None:
        self._sender = sender
        self._handle = handle
        self._handled = handled
        self._waiting: deque[tuple[str, Raw]] = deque()
        self.task: asyncio.Task[None] | None = None

    def put(self, incarnation: str, items: list[Raw]) -> None:
        """Take messages."""
        self._waiting.extend((incarnation, item) for item in items)
        if self.task is None:
            loop = asyncio.get_running_loop()
            self.task = loop.create_task(self._run(), name=f"ring messages of {self._sender}")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        told_at = loop.time()
        incarnation, counts = "", [0, 0]
        try:
            while self._waiting:
                whose, raw = self._waiting.popleft()
                if whose != incarnation:
                    self._tell(incarnation, counts)
                    incarnation = whose
                try:
                    item = _decode(raw)
                except (msgspec.MsgspecError, RecursionError, ValueError):
                    counts[0] += 1  # its sender's mistake, and every member says so in its books
                else:
                    counts[await self._handle(self._sender, item)] += 1
                if sum(counts) >= TURN or loop.time() - told_at > SLICE:
                    self._tell(incarnation, counts)
                    await asyncio.sleep(0)  # who handles quickly must not keep others waiting
                    told_at = loop.time()
        finally:
            self._tell(incarnation, counts)
            self.task = None

    def _tell(self, incarnation: str, counts: list[int]) -> None:
        refused, taken = counts
        counts[:] = 0, 0
        if taken:
            self._handled(self._sender, incarnation, taken, False)
        if refused:
            self._handled(self._sender, incarnation, refused, True)
