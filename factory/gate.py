"""Who may run now: many handlers together, or one alone."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from mesh.text import listing

PATIENCE = 5.0
"""Seconds after which waiting is told of: it may never end."""


class Gate:
    """A lock with a shared and an exclusive side, fair in the order of arrival.

    Once somebody waits to be alone, those who come later wait behind it, so that a
    busy worker cannot starve its exclusive handler. An exclusive handler that waits for
    its own worker waits for ever; that is told of, once.

    Args:
        warn: Logs a warning.
        patience: Seconds that somebody waits before it is told of; by default ``PATIENCE``.

    """

    def __init__(self, warn: Callable[[str], object], patience: float | None = None) -> None:
        self._warn = warn
        self._patience = PATIENCE if patience is None else patience
        self._warned = False
        self._inside: list[str] = []
        self._alone = False
        self._waiting: deque[tuple[asyncio.Future[None], str, bool]] = deque()

    @asynccontextmanager
    async def enter(self, name: str, *, exclusive: bool) -> AsyncIterator[None]:
        """Be inside, alone if ``exclusive``.

        Args:
            name: The handler that comes in, for the warning.
            exclusive: Whether nobody else may be inside.

        """
        if self._waiting or not self._admits(exclusive):
            await self._queue(name, exclusive)
        else:
            self._take(name, exclusive)
        try:
            yield
        finally:
            self._leave(name)
            self._wake()

    def _admits(self, exclusive: bool) -> bool:
        return not self._alone and not (exclusive and self._inside)

    def _take(self, name: str, exclusive: bool) -> None:
        self._inside.append(name)
        self._alone = exclusive

    def _leave(self, name: str) -> None:
        self._inside.remove(name)
        self._alone = False

    async def _queue(self, name: str, exclusive: bool) -> None:
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append((turn, name, exclusive))
        overdue = None if self._warned else loop.call_later(self._patience, self._tell, name)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting = deque(entry for entry in self._waiting if entry[0] is not turn)
            else:
                # The place was given in the same turn of the loop: hand it on.
                self._leave(name)
            self._wake()
            raise
        finally:
            if overdue is not None:
                overdue.cancel()

    def _tell(self, name: str) -> None:
        if not self._warned:
            self._warned = True
            holders = listing(f"{holder}()" for holder in sorted(set(self._inside)))
            self._warn(
                f"handler {name}() has waited for {self._patience:g} s, because {holders} runs and "
                f"an exclusive handler runs alone; does one of them wait for an answer of this worker?"
            )

    def _wake(self) -> None:
        while self._waiting and self._admits(self._waiting[0][2]):
            turn, name, exclusive = self._waiting.popleft()
            if not turn.cancelled():
                self._take(name, exclusive)
                turn.set_result(None)
