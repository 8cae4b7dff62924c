"""How long to wait before the next try."""

from __future__ import annotations

from random import Random


class Backoff:
    """Delays that double up to a bound, each with a jitter.

    The jitter keeps a fleet whose hub was restarted from knocking in step. The
    first delay is short, for under a runner everything starts at once and the peer
    is usually a few hundredths of a second late.

    Args:
        random: Where the jitter comes from.
        first: Seconds of the first delay, before jitter.
        limit: Seconds that no delay exceeds, before jitter.

    """

    def __init__(self, random: Random, *, first: float = 0.05, limit: float = 1.0) -> None:
        self._random = random
        self._first = min(first, limit)
        self._limit = limit
        self._next = self._first

    def delay(self) -> float:
        """Return the next delay in seconds: half to one and a half times the nominal one."""
        nominal, self._next = self._next, min(self._next * 2, self._limit)
        return nominal * self._random.uniform(0.5, 1.5)

    def reset(self) -> None:
        """Begin again with the first delay."""
        self._next = self._first
