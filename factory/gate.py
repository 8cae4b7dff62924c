"""Who may run now: many handlers together, or one alone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """A lock with a shared and an exclusive side, fair in the order of arrival.

    Once somebody waits to be alone, those who come later wait behind it, so that a
    busy worker cannot starve its exclusive handler.
    """

    def __init__(self) -> None:
        self._inside = 0
        self._alone = False
        self._waiting: deque[tuple[asyncio.Future[None], bool]] = deque()

    @asynccontextmanager
    async def enter(self, *, exclusive: bool) -> AsyncIterator[None]:
        """Be inside, alone if ``exclusive``."""
        if self._waiting or not self._admits(exclusive):
            await self._queue(exclusive)
        else:
            self._take(exclusive)
        try:
            yield
        finally:
            self._inside -= 1
            self._alone = False
            self._wake()

    def _admits(self, exclusive: bool) -> bool:
        return not self._alone and (self._inside == 0 or not exclusive)

    def _take(self, exclusive: bool) -> None:
        self._inside += 1
        self._alone = exclusive

    async def _queue(self, exclusive: bool) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, exclusive))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting = deque(entry for entry in self._waiting if entry[0] is not turn)
            else:
                # The place was given in the same turn of the loop: hand it on.
                self._inside -= 1
                self._alone = False
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self._admits(self._waiting[0][1]):
            turn, exclusive = self._waiting.popleft()
            if not turn.cancelled():
                self._take(exclusive)
                turn.set_result(None)
