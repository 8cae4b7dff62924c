"""Lines that may come in floods, told a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

EVERY = 5.0
"""Seconds between two lines."""


class _Timer(Protocol):
    def cancel(self) -> object: ...


class Throttle:
    """Prints a line at once, and of those that follow soon only the last, with how many there were.

    Args:
        say: Prints a line.
        after: Calls something in so many seconds; that of the event loop unless given.

    """

    def __init__(
        self,
        say: Callable[[str], object],
        after: Callable[[float, Callable[[], object]], _Timer] | None = None,
    ) -> None:
        self._say = say
        self._after = after or asyncio.get_running_loop().call_later
        self._timer: _Timer | None = None
        self._held = 0
        self._last = ""

    def __call__(self, line: str) -> None:
        """Print a line, now or later."""
        if self._timer is not None:
            self._held += 1
            self._last = line
            return
        self._say(line)
        self._timer = self._after(EVERY, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if not self._held:
            return
        held, self._held = self._held, 0
        more = f" (the last of {held} lines in {EVERY:g} s)" if held > 1 else ""
        self(f"{self._last}{more}")

    def close(self) -> None:
        """Print what is held back, and nothing later."""
        if self._timer is not None:
            self._timer.cancel()
        self._tell()
        if self._timer is not None:
            self._timer.cancel()
