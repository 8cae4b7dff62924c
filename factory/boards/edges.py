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

Row = tuple[int, float, int, str, int]
"""An edge as it travels: number, time, pin, name of the signal, value."""

_SIGNALS = tuple(Signal)
_NAMES = tuple(signal.name.lower() for signal in Signal)
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
        rows, missed = self.rows(number, most)
        return [Edge(row[0], row[1], row[2], _SIGNALS[_NAMES.index(row[3])], row[4]) for row in rows], missed

    def rows(self, number: int, most: int | None = None) -> tuple[list[Row], int]:
        """Return the same as plain rows, as they travel: number, time, pin, name of the signal, value."""
        first = max(number, self.dropped)
        last = self.made if most is None else min(self.made, first + most)
        times, packed, limit = self._times, self._packed, self.limit
        return [
            (
                before + 1,
                times[before % limit],
                (word := packed[before % limit]) >> _PIN_SHIFT & 0xFF,
                _NAMES[word & 0xFF],
                word >> _VALUE_SHIFT,
            )
            for before in range(first, last)
        ], max(first - number, 0)
