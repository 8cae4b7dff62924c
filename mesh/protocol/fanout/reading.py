"""The subscribing end: what the numbers of the values tell."""

from __future__ import annotations

from typing import Any

from mesh.protocol.fanout.lines import Subscribed


class Reading:
    """What a subscriber knows of the numbers of one channel.

    Attributes:
        next: The number that comes next if nothing is left out; 0 if that is not known.
        line: Where it is counted, with others of the same channel.
        missed: Values that were left out here.
        restarts: How often the publisher's numbers began anew.

    """

    __slots__ = ("_again", "_incarnation", "_latched", "_seen", "line", "missed", "next", "restarts")

    def __init__(self, line: Subscribed) -> None:
        self.next = 0
        self.line = line
        self.missed = 0
        self.restarts = 0
        self._incarnation = ""
        self._latched = self._again = False
        self._seen = 0

    def begin(self, incarnation: str, number: int, *, latched: bool) -> int:
        """Take note of a new subscription; return how many values were missed since the last one.

        Args:
            incarnation: Which process of the publisher it is.
            number: What the next published value will have.
            latched: Whether a kept value comes before it.

        """
        self._again = bool(self._incarnation)
        self._latched = latched
        self._seen = self.next - 1
        missed = 0
        if self._again:
            # A publisher that goes on may have forgotten a channel that nobody subscribed to.
            if self._incarnation != incarnation or number <= self._seen:
                self.restarts += 1
                self.line.restarts += 1
                self._seen = 0
            missed = max(number - 1 - self._seen, 0)
            self._miss(missed)
        self.next = number
        self._incarnation = incarnation
        return missed

    def _miss(self, count: int) -> None:
        self.missed += count
        self.line.missed += count

    def read(self, items: list[Any]) -> list[Any]:
        """Return the values of items; one fewer if the first came already.

        Raises:
            ValueError: If they are no items; or ``TypeError`` or ``IndexError``.

        """
        first, last = items[0][0], items[-1][0]
        before: list[Any] = []
        if self._latched:
            self._latched = False
            if first < self.next:
                if first > self._seen:
                    before = [items[0][1]]
                    self.line.values += 1
                    self._miss(-self._again)
                items = items[1:]
                if not items:
                    return before
                first = items[0][0]
        values = [value for _, value in items]
        count = len(values)
        self.line.values += count
        missed = last - (self.next or first) - count + 1
        if missed > 0:
            self._miss(missed)
        self.next = last + 1
        return before + values if before else values
