"""Moves a bench by the clock of the event loop: real time for what is simulated."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Protocol

from factory.boards.bench import Bench


class Timed(Protocol):
    """Something besides the bench that wants to be called at times, such as a Firmata session."""

    def next_deadline(self) -> float | None:
        """Return when."""

    def handle_timer(self, now: float) -> None:
        """Do what is due."""


class BenchClock:
    """Drives a bench and whatever else has deadlines; to be made on the event loop.

    What changes something does so inside ``with clock as now:``. The bench is then at that very
    moment, and when the block is left the clock is set anew.

    Args:
        bench: The world.

    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._loop = asyncio.get_running_loop()
        self._timed: list[Timed] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def add(self, timed: Timed) -> None:
        """Drive this, too."""
        self._timed.append(timed)

    def remove(self, timed: Timed) -> None:
        """Drive it no longer."""
        self._timed.remove(timed)

    def close(self) -> None:
        """Stop the time."""
        self._closed = True
        self._stop()

    def now(self) -> float:
        """Return what time it is for the bench."""
        # Not the loop's own time, which may be a millisecond old or count in milliseconds.
        return monotonic()

    def _delay(self, due: float) -> float | None:
        """Return the seconds of the loop until a time of the bench; ``None`` if nobody can tell."""
        return max(due - self.now(), 0)

    def __enter__(self) -> float:
        now = self.now()
        self._bench.advance(now)
        return now

    def __exit__(self, *exc: object) -> None:
        self._stop()
        deadlines = [self._bench.next_deadline(), *(timed.next_deadline() for timed in self._timed)]
        due = min((deadline for deadline in deadlines if deadline is not None), default=None)
        delay = self._delay(due) if due is not None and not self._closed else None
        if delay is not None:
            self._timer = self._loop.call_later(delay, self._tick)

    def _tick(self) -> None:
        with self as now:
            for timed in list(self._timed):
                timed.handle_timer(now)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
