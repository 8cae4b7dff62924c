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

TURN = 32
"""Messages that are handled before others get their turn."""

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
        told = 0
        try:
            while self._waiting:
                incarnation, raw = self._waiting.popleft()
                try:
                    item = _decode(raw)
                except (msgspec.MsgspecError, RecursionError, ValueError):
                    taken = False  # its sender's mistake, and every member says so in its books
                else:
                    taken = await self._handle(self._sender, item)
                self._handled(self._sender, incarnation, 1, not taken)
                told += 1
                if told >= TURN:
                    told = 0
                    await asyncio.sleep(0)  # who handles quickly must not keep others waiting
        finally:
            self.task = None
