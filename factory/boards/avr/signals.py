"""What the edges of a pin mean: pulses for a servo, a tone, or just edges.

Firmware has no word for either: its libraries turn a pin to and fro. So the words are found
again in the edges, by their shape:

- a **servo** is told an angle by a pulse of 544 to 2400 µs, about every 20 ms, as the Servo
  library makes it. An angle counts when two pulses in a row say the same: interrupts delay the
  end of one now and then.
- a **tone** is four periods or more of the same length, high for about half of it. It ends when
  the pin stays as it is for three periods, or after four periods that do not fit.
"""

from __future__ import annotations

from factory.boards.modes import Signal

SHORTEST_PULSE = 544e-6
LONGEST_PULSE = 2400e-6
"""Seconds that stand for 0 and for 180 degrees, to the Servo library."""

LOWEST_TONE = 30.0
"""Hz. What is slower blinks; ``tone()`` itself begins at 31."""

# Pulses of a servo come so many seconds apart; the library's rhythm is 20 ms.
_PULSES_APART = (0.010, 0.030)
# A pulse is as long as the library made it, give or take an interrupt.
_SLACK = 12e-6
_SAME = 0.02
_PERIODS = 4

Change = tuple[Signal, int]


class PinReader:
    """Reads the edges of one pin.

    Attributes:
        hertz: The tone that it gives out; 0 for none.
        degrees: What a servo was last told; ``None`` for nothing yet.

    """

    __slots__ = (
        "_begun",
        "_fallen",
        "_period",
        "_regular",
        "_risen",
        "_said",
        "_strange",
        "degrees",
        "hertz",
    )

    def __init__(self) -> None:
        self.hertz = 0
        self.degrees: int | None = None
        self.forget()

    def forget(self) -> None:
        """Take note that the pin is no output any more, or was taken by a timer: what came is over."""
        self._risen: float | None = None
        self._fallen: float | None = None
        self._begun = 0.0
        self._period = 0.0
        self._regular = 0
        self._strange = 0
        self._said: int | None = None

    def edge(self, level: int, time: float) -> Change | None:
        """Take an edge, and return what it tells: a new angle, or a new tone.

        Args:
            level: What the pin turned to.
            time: When, in seconds.

        """
        if not level:
            change = self._pulse(time)
            self._fallen = time
            return change
        risen, self._risen = self._risen, time
        return self._rise(risen, time) if risen is not None else None

    def deadline(self) -> float | None:
        """Return when the tone is over if no edge comes; ``None`` if there is no tone."""
        if not self.hertz or self._risen is None:
            return None
        return max(self._risen, self._fallen or 0.0) + 3 / self.hertz

    def expire(self, now: float) -> Change | None:
        """Return that the tone is over, if it is."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return None
        self._regular = 0
        return self._tone(0)

    def _pulse(self, time: float) -> Change | None:
        if self._risen is None or not _PULSES_APART[0] <= self._period <= _PULSES_APART[1]:
            return None
        width = time - self._risen
        if not SHORTEST_PULSE - _SLACK <= width <= LONGEST_PULSE + _SLACK:
            self._said = None
            return None
        share = (width - SHORTEST_PULSE) / (LONGEST_PULSE - SHORTEST_PULSE)
        said, self._said = self._said, min(max(round(share * 180), 0), 180)
        if said != self._said or said == self.degrees:
            return None
        self.degrees = said
        return Signal.ANGLE, said

    def _rise(self, risen: float, time: float) -> Change | None:
        before, self._period = self._period, time - risen
        period = self._period
        high = (self._fallen or 0.0) - risen
        fits = (
            period < 1 / LOWEST_TONE
            and abs(period - before) <= _SAME * period + _SLACK
            and 0.4 * period - _SLACK <= high <= 0.6 * period + _SLACK
        )
        if not fits:
            self._regular = 0
            self._strange += 1
            return self._tone(0) if self._strange >= _PERIODS else None
        if not self._regular:
            self._begun = risen
        self._regular += 1
        if self._regular < _PERIODS:
            return None
        self._strange = 0
        hertz = min(round(self._regular / (time - self._begun)), Signal.TONE.highest)
        # A tone is measured ever better; that is no other tone.
        return self._tone(hertz) if abs(hertz - self.hertz) > _SAME * hertz else None

    def _tone(self, hertz: int) -> Change | None:
        if hertz == self.hertz:
            return None
        self.hertz = hertz
        return Signal.TONE, hertz
