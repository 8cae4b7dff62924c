"""One ring of published values, and who follows it: the half of the fan-out that all subscribers share."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final

from mesh.protocol.fanout.cursor import Cursor
from mesh.protocol.fanout.lines import Published
from mesh.protocol.fanout.policy import Policy
from mesh.protocol.link.packing import CHUNK
from mesh.protocol.link.records import encode

IN_FLIGHT_BYTES: Final = 256 * 1024
"""Bytes on their way to a subscriber from which on no more are sent."""

IN_FLIGHT_TOTAL: Final = 24 * 1024 * 1024
"""Bytes on their way to all subscribers of a channel, of which each has an equal share if there are many."""

LEAST_IN_FLIGHT: Final = 16 * 1024
"""Bytes on their way to a subscriber that may be in any case, however many there are."""

RING_BYTES: Final = 8 * 1024 * 1024
"""Bytes that a topic keeps for lazy subscribers."""

NOT_AWAITED: Final = "not awaited"
"""Why a value was dropped that a ``block`` subscriber had no room for, when nobody waited."""

_MOST_JOINS: Final = 8
_FEWEST_TRIMMED: Final = 256
_NEVER: Final = 2**63


class Topic:
    """The published values of one channel.

    Args:
        ring_bytes: Bytes kept for lazy subscribers; a single value may be larger.

    Attributes:
        next: The number that the next value gets.
        latched: Number and item of the value that is kept for late joiners.
        hungry: Cursors that took all there was; whoever drives them serves them after a publish.
        admitted: Numbers of parked values that all ``block`` subscribers have room for by now.
        share: Bytes on their way to a subscriber from which on no more are sent.

    """

    __slots__ = (
        "_blocked",
        "_ends",
        "_floor",
        "_items",
        "_joins",
        "_ring_bytes",
        "_scan_at",
        "_start",
        "_total",
        "_touch_at",
        "_touch_bytes",
        "_touched",
        "_trim_at",
        "_waits",
        "admitted",
        "cursors",
        "hungry",
        "latched",
        "next",
        "share",
    )

    def __init__(self, ring_bytes: int = RING_BYTES) -> None:
        self.next = 1
        self.latched: tuple[int, bytes] | None = None
        self.cursors: set[Cursor] = set()
        self.hungry: list[Cursor] = []
        self.admitted: list[int] = []
        self._ring_bytes = ring_bytes
        self._items: list[bytes] = []
        self._ends: list[int] = []  # for each item, the bytes of all items until its end
        self._start = 1  # number of the first item
        self._floor = self._total = 0  # bytes before the first item, and until the end of the last
        self._trim_at = _FEWEST_TRIMMED  # items from which on some may be dropped
        self._scan_at = 0  # number from which on it is looked at what every cursor wants
        self.share = IN_FLIGHT_BYTES
        self._touched: set[Cursor] = set()  # not lazy, and not full
        self._blocked: set[Cursor] = set()  # full, and their publishers wait
        # Number, and bytes, at which the first of the touched cursors may be full.
        self._touch_at = self._touch_bytes = _NEVER
        self._waits: dict[int, int] = {}  # parked values, and for how many cursors
        self._joins: dict[tuple[int, int], bytes] = {}

    @property
    def is_wanted(self) -> bool:
        """Whether anybody gets what is published."""
        return bool(self.cursors)

    @property
    def size(self) -> int:
        """Bytes in the ring; what was set aside for single subscribers is not counted."""
        return self._total - self._floor

    def skip(self) -> int:
        """Number a value that nobody wants and that is not kept, and return the number."""
        if self._items:
            self._drop(self.next)
        self.next += 1
        self._start = self.next
        return self.next - 1

    def publish(self, body: bytes, *, latch: bool = False) -> int:
        """Publish a value for every subscriber.

        Args:
            body: The encoded value.
            latch: Keep it for late joiners.

        Returns:
            Its number. If ``is_parked()`` of it, some subscriber has no room; it is in ``admitted``
            later, or is given up by ``give_up()``.

        """
        number = self.next
        item = b"\x92" + encode(number) + body
        if latch:
            self.latched = (number, item)
        if not self.cursors:
            return self.skip()
        if number >= self._touch_at or self._total >= self._touch_bytes:
            self._touch(number)
        if self._blocked:
            for cursor in self._blocked:
                cursor._parked[number] = item
            self._waits[number] = len(self._blocked)
        self._items.append(item)
        self._total += len(item)
        self._ends.append(self._total)
        self.next = number + 1
        if len(self._items) >= self._trim_at or self._total - self._floor > self._ring_bytes:
            self._trim()
        return number

    def is_parked(self, number: int) -> bool:
        """Say whether a value waits for room at some subscriber."""
        return number in self._waits

    def give_up(self, number: int, reason: str = NOT_AWAITED) -> None:
        """Wait no longer for room for a value: who has none does not get it."""
        if self._waits.pop(number, 0):
            for cursor in self._blocked:
                if cursor._parked.pop(number, None) is not None:
                    cursor.line.drop(1, reason)

    def blocked(self) -> list[Cursor]:
        """Return the subscribers that have no room, and for which publishers wait."""
        return list(self._blocked)

    def give_up_for(self, cursor: Cursor, reason: str) -> None:
        """Wait no longer for one subscriber."""
        cursor.line.drop(len(cursor._parked), reason)
        for number in cursor._parked:
            self._admit(number)
        cursor._parked.clear()

    def subscribe(self, policy: Policy, limit: int, line: Published, *, latch: bool = False) -> Cursor:
        """Return a new subscriber, which gets what is published from now on.

        Args:
            policy: What happens when it has no room.
            limit: Values that it may have waiting.
            line: Where it is counted.
            latch: Whether it gets the value that is kept, if there is one, first.

        """
        cursor = Cursor(self, policy, limit, line)
        if latch and self.latched is not None:
            number, item = self.latched
            line.published += 1
            cursor._set_aside(number, [item])
        self.cursors.add(cursor)
        self._divide()
        line.cursors.add(cursor)
        if not cursor.is_lazy:
            self._join(cursor)
        return cursor

    # -- what cursors use ------------------------------------------------------------------

    def _divide(self) -> None:
        """Give every subscriber its share of what may be in flight."""
        share = IN_FLIGHT_TOTAL // max(len(self.cursors), 1)
        self.share = min(max(share, LEAST_IN_FLIGHT), IN_FLIGHT_BYTES)

    def _join(self, cursor: Cursor) -> None:
        """Take note that a cursor that is not lazy follows the ring."""
        self._touched.add(cursor)
        at, size = cursor._full_at()
        self._touch_at = min(self._touch_at, at)
        self._touch_bytes = min(self._touch_bytes, size)

    def _touch(self, number: int) -> None:
        """Look after the cursors that have no room for the next value."""
        self._touch_at = self._touch_bytes = _NEVER
        for cursor in list(self._touched):
            at, size = cursor._full_at()
            if at > number and size > self._total:
                self._touch_at = min(self._touch_at, at)
                self._touch_bytes = min(self._touch_bytes, size)
                continue
            self._touched.discard(cursor)
            cursor._fill_up()
            if cursor.policy is Policy.BLOCK:
                self._blocked.add(cursor)
            elif cursor.policy is Policy.ERROR:
                cursor._end(number)

    def _admit(self, number: int) -> None:
        left = self._waits[number] - 1
        if left:
            self._waits[number] = left
        else:
            del self._waits[number]
            self.admitted.append(number)

    def _leave(self, cursor: Cursor) -> None:
        """Forget a cursor."""
        self.cursors.discard(cursor)
        self._divide()
        self._touched.discard(cursor)
        self._blocked.discard(cursor)
        if not self.cursors:
            self._drop(self.next)
            self._joins.clear()

    def _offset(self, number: int) -> int:
        """Return how many bytes came before an item that is in the ring, or is the next."""
        at = number - self._start
        return self._ends[at - 1] if at > 0 else self._floor

    def _slice(self, begin: int, end: int) -> list[bytes]:
        return self._items[begin - self._start : end - self._start]

    def _batch(self, begin: int, most: int) -> tuple[int, bytes]:
        """Return how many items from a number on make a batch, at most ``most``, and the batch."""
        at = begin - self._start
        items = self._items
        count = min(most, len(items) - at)
        if count > 1:
            fit = bisect_right(self._ends, self._offset(begin) + min(CHUNK, self.share), at, at + count) - at
            count = max(1, fit)
        if count == 1:
            return 1, items[at]
        key = (begin, count)
        body = self._joins.get(key)
        if body is None:
            if len(self._joins) >= _MOST_JOINS:
                del self._joins[next(iter(self._joins))]
            body = self._joins[key] = b"".join(items[at : at + count])
        return count, body

    def _trim(self) -> None:
        """Drop from the ring what nobody wants, or nobody may still have."""
        low = self._start
        if self.next >= self._scan_at:
            low = max(low, self._wanted())
            # Not before as many values were published as there are cursors to look at.
            self._scan_at = self.next + len(self.cursors)
        if self._total - self._offset(low) > self._ring_bytes:
            held = min((cursor._at for cursor in self._touched), default=self.next)
            # A quarter more than needed, so that it is not done again at once.
            enough = bisect_left(self._ends, self._total - self._ring_bytes * 3 // 4) + self._start
            low = max(low, min(enough + 1, held, self.next - 1))
        self._drop(low)
        self._trim_at = max(_FEWEST_TRIMMED, 2 * len(self._items))

    def _wanted(self) -> int:
        """Return the number of the first value that somebody wants."""
        low = min((cursor._at for cursor in self._touched), default=self.next)
        for cursor in self.cursors:
            if cursor.is_lazy:
                low = min(low, max(cursor._at, self.next - cursor.limit))
        return low

    def _drop(self, low: int) -> None:
        count = low - self._start
        if count > 0:
            self._floor = self._offset(low)
            del self._items[:count]
            del self._ends[:count]
            self._start = low
