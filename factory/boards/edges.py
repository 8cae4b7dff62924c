"""The edge log: every change of every pin of a board, numbered without gaps.

A ring of fixed size. Numbers go on for ever, so a reader that comes too late learns how
many edges it has missed, instead of taking what is left for the whole. Two flat arrays
hold the entries, 16 bytes each: a hundred thousand edges a second must not become a
hundred thousand objects that live on.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

from factory.boards.modes import Signal

DEFAULT_LIMIT = 65_536
"""Edges that a log keeps: 1 MiB."""

_SIGNALS = tuple(Signal)
# value, pin and signal in one integer; a pin is at most 127, as in Firmata.
_VALUE_SHIFT = 16
_PIN_SHIFT = 8


class Edge(NamedTuple):
    """One change of one pin.

    Attributes:
        number: Counted from 1 over the whole board.
        time: Seconds, on the clock of the board.
        pin: Number of the pin.
        signal: What changed.
        value: What it changed to.

    """

    number: int
    time: float
    pin: int
    signal: Signal
    value: int


class EdgeLog:
    """The latest edges of one board.

    Args:
        limit: Most edges that are kept; older ones are dropped, and counted.

    Attributes:
        made: Edges there ever were; the number of the latest one.

    Raises:
        ValueError: If the limit is below 1.

    """

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        if limit < 1:
            raise ValueError(f"an edge log keeps at least 1 edge, got limit {limit}")
        self.limit = limit
        self.made = 0
        self._times = array("d")
        self._packed = array("q")

    def add(self, time: float, pin: int, signal: Signal, value: int) -> Edge:
        """Enter an edge and return it."""
        packed = value << _VALUE_SHIFT | pin << _PIN_SHIFT | signal.value
        place = self.made % self.limit
        if place == len(self._times):
            self._times.append(time)
            self._packed.append(packed)
        else:
            self._times[place] = time
            self._packed[place] = packed
        self.made += 1
        return Edge(self.made, time, pin, signal, value)

    @property
    def dropped(self) -> int:
        """Edges that are no longer kept."""
        return self.made - len(self._times)

    def since(self, number: int, most: int | None = None) -> tuple[list[Edge], int]:
        """Return the edges after a number, the oldest first, and how many before them are gone.

        Args:
            number: Number of the last edge that the reader has; 0 for none.
            most: Most edges to return; ``None`` for all.

        """
        first = max(number, self.dropped)
        last = self.made if most is None else min(self.made, first + most)
        return [self._edge(place) for place in range(first, last)], max(first - number, 0)

    def _edge(self, before: int) -> Edge:
        place = before % self.limit
        packed = self._packed[place]
        pin = packed >> _PIN_SHIFT & 0xFF
        return Edge(before + 1, self._times[place], pin, _SIGNALS[packed & 0xFF], packed >> _VALUE_SHIFT)
