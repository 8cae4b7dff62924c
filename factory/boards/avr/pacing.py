"""Simulated time and ours: when an engine runs, how far, and what its cycles mean on the bench.

Rules:

- The stamp of an edge is its cycle: ``origin + cycle / hertz``, whatever the machine was busy with.
- The engine runs a slice at a time, and a little ahead: so its edges are known before the bench
  comes to them, and happen there in order with everything else.
- What the outside world does, the chip sees ``DELAY`` later, to the cycle: a slice ends there. The
  engine has always come less far than that, so how long an echo or a bounce takes is exact.
- The bench never comes further than the engine. If the machine is too slow, both are behind, and
  what happens between them is as exact as ever. Up to ``MOST_BEHIND`` is made up for when there is
  time; more is given up: the clock of the bench is that much behind ours from then on.
"""

from __future__ import annotations

from factory.boards.errors import BoardError

SLICE = 0.005
"""Seconds of simulated time for which an engine runs at a time, unless too much happens in it."""

AHEAD = 0.001
"""Seconds before the bench gets there that a slice is begun."""

DELAY = SLICE + AHEAD
"""Seconds until the chip sees what the outside world does."""

MOST_CUTS = 8
"""Times that one slice is ended early for an input; those that come then share the next one."""

MOST_BEHIND = 0.25
"""Seconds that are made up for; what is more is given up. No longer slices make up for more: then what
parts do within one would all be seen at its end."""

MOST_EVENTS = 2_000
"""Events of one slice; if there are more, the next slice is shorter, so that nobody waits long."""

_SHORTEST = SLICE / 64
_WORTH_SAYING = 0.3
_QUIET = 5.0


def speed_of(word: float | str) -> float | None:
    """Return how many seconds are simulated in one of ours; ``None`` for as many as can be.

    Args:
        word: A number above 0, or ``max``.

    Raises:
        BoardError: If it is neither.

    """
    if word == "max":
        return None
    try:
        speed = float(word)
    except ValueError:
        speed = 0.0
    if not 0.001 <= speed <= 1000:
        raise BoardError(
            f"speed {str(word)[:20]!r}: write a number from 0.001 to 1000, 1 for real time, or max"
        )
    return speed


class Pacer:
    """Paces one engine.

    Plain bookkeeping: it is handed the time of the bench.

    Args:
        hertz: Cycles a second of the chip.
        origin: Time of the bench at cycle 0.

    Attributes:
        reached: The cycle to which the engine has run.
        runs: Whether the engine runs; while it does not, the bench goes on without it.
        given_up: Seconds that the bench is behind for good.
        behind: Seconds that it is behind right now, with those.

    """

    def __init__(self, hertz: int, origin: float) -> None:
        self.hertz = hertz
        self.origin = origin
        self.reached = 0
        self.runs = False
        self.given_up = 0.0
        self.behind = 0.0
        self._slice = SLICE
        self._cuts = 0
        self._said = 0.0
        self._quiet_until = origin

    def stamp(self, cycle: int) -> float:
        """Return the time of a cycle on the bench."""
        return self.origin + cycle / self.hertz

    def cycle(self, stamp: float) -> int:
        """Return the cycle that has a stamp."""
        return round((stamp - self.origin) * self.hertz)

    def seen(self, stamp: float) -> int:
        """Return the cycle at which the chip sees what the outside world does at a time."""
        # Before it has begun, it is there from the start.
        return self.cycle(stamp + DELAY) if self.reached else 0

    def resume(self, now: float) -> None:
        """Take note that the engine runs from now on; that it has stood still is not made up for."""
        self.origin = now - self.reached / self.hertz
        self.runs = True

    def wait(self, now: float) -> float:
        """Return how long to wait with the next slice; 0 if it is time."""
        return max(self.stamp(self.reached) - AHEAD - now, 0.0)

    def until(self, known: int | None) -> int:
        """Return the cycle to which to run next.

        Args:
            known: The cycle at which the chip will see something; ``None`` if nothing is known.

        """
        until = self.reached + round(self._slice * self.hertz)
        if known is not None and self.reached < known < until and self._cuts < MOST_CUTS:
            self._cuts += 1
            return known
        self._cuts = 0
        return until

    def ran(self, cycle: int, events: int, now: float) -> str | None:
        """Take note that the engine has run; return what there is to say about it.

        Args:
            cycle: How far.
            events: How much has happened.
            now: The time that it should be on the bench.

        """
        self.reached = cycle
        crowded = events > MOST_EVENTS
        self._slice = max(self._slice / 2, _SHORTEST) if crowded else min(self._slice * 2, SLICE)
        late = max(now - self.stamp(cycle), 0.0)
        ours = now + self.given_up
        self.given_up += max(late - MOST_BEHIND, 0.0)
        self.behind = min(late, MOST_BEHIND) + self.given_up
        return self._say(ours)

    def _say(self, now: float) -> str | None:
        if self.behind < self._said + _WORTH_SAYING or now < self._quiet_until:
            return None
        self._said = self.behind
        self._quiet_until = now + _QUIET
        return (
            f"simulated time is {self.behind:.1f} s behind: this machine is too busy, or the firmware "
            f"does more than it can follow; the times of edges are those of the chip"
        )
