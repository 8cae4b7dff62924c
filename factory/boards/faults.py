"""Faults on request: contacts that bounce, lines that pick up noise.

Solder bridges and pulled plugs are with the board: ``SimBoard.stick`` and ``unplug``. All is
scheduled on the bench and depends on its seed alone, so a fault can be had again.
"""

from __future__ import annotations

from collections.abc import Callable

from factory.boards.bench import Bench, Source, Timer
from factory.boards.errors import BoardError
from factory.boards.simulated import BRIDGE_OHMS, SimPin


def bounce(bench: Bench, settled: bool, seconds: float, number: int, close: Callable[[bool], None]) -> None:
    """Have a contact bounce before it settles.

    Args:
        bench: The world.
        settled: Whether it is closed in the end.
        seconds: After that time it is at rest; 0 does not bounce at all.
        number: Tells this bounce from others, for the chance.
        close: Closes the contact or opens it.

    """
    close(settled)
    if seconds <= 0:
        return
    # Two to five times off and on again, each time a little later: odd ones are off.
    turns = 2 * (2 + int(4 * bench.chance(number, 0)))
    moments = sorted(seconds * bench.chance(number, turn) for turn in range(1, turns + 1))
    for turn, moment in enumerate(moments):
        bench.after(moment, lambda closed=bool(turn % 2) == settled: close(closed))  # type: ignore[misc]


class Noise:
    """Spikes on a line: now and then it is pulled to the other side for a moment.

    Args:
        pin: A pin of the line.
        gap: Seconds between spikes, on the average.
        width: Seconds that a spike lasts.

    Attributes:
        spikes: How many there were.

    Raises:
        BoardError: If gap or width make no sense.

    """

    def __init__(self, pin: SimPin, *, gap: float = 0.1, width: float = 0.0001) -> None:
        if not 0 < width < gap / 2:
            raise BoardError(
                f"noise at {pin}: a spike of {width!r} s has to be shorter than half the gap of {gap!r} s"
            )
        self.spikes = 0
        self._pin = pin
        self._gap = gap
        self._width = width
        self._key = f"the noise at {pin}"
        self._timer: Timer
        self._wait()

    def stop(self) -> None:
        """End it."""
        self._timer.cancel()
        self._calm()

    def _wait(self) -> None:
        bench = self._pin.board.bench
        chance = bench.chance(self._pin.net.number, self.spikes)
        self._timer = bench.after(self._gap * (0.5 + chance), self._spike)

    def _spike(self) -> None:
        pin = self._pin
        supply = pin.board.profile.volts
        other = 0.0 if (pin.net.volts or 0.0) > supply / 2 else supply
        self.spikes += 1
        # More than a pull-up and the outside world can hold against, less than an output does.
        pin.net.sources[self._key] = Source(other, 200.0)
        pin.board.bench.changed(pin.net)
        self._timer = pin.board.bench.after(self._width, self._over)

    def _over(self) -> None:
        self._calm()
        self._wait()

    def _calm(self) -> None:
        if self._pin.net.sources.pop(self._key, None) is not None:
            self._pin.board.bench.changed(self._pin.net)


GROUND = Source(0.0, BRIDGE_OHMS)
"""A contact that is closed to ground."""
