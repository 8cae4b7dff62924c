"""Fan-out: one ring of published values, shared by every subscriber of a channel. Sans-I/O.

Theory of operation. A published value is encoded once, as the item that travels, and numbered. The
*topic* keeps the items that somebody may still want; a subscriber is a *cursor*, which knows the
number of the next item that it gets, and how many it may have waiting.

- *Lazy* cursors (``drop_oldest``, ``latest``) are never touched by a publisher. How far they fell
  behind shows when they take something, or are asked; the ring keeps no more than they may have.
- *Touched* cursors (``block``, ``drop_newest``, ``error``) must not lose what they hold, however far
  the others go. The topic knows the number at which the first of them is full. There the items that
  it holds are *set aside*: shared bytes, so it costs a list of references. What comes then is
  dropped, or with ``block`` is *parked* for as long as its publisher waits. When room opens, the
  cursor goes on behind the last item.
- *In flight*: what was taken and is not settled. It is bounded, and so small that a policy
  decides about nearly everything that waits.

What it costs: publishing is O(1) for all lazy cursors together, and O(1) for the others until one
is full; the ring is trimmed no more often than that allows. A batch that is taken by several cursors at the same place is joined once.

The balance of a cursor, at every moment, is that of its ``Line``::

    published = delivered + refused + dropped (by reason) + pending

``published`` is worked out from the numbers of the topic, ``pending`` from what is really there.
"""

from __future__ import annotations

import enum
from bisect import bisect_left, bisect_right
from collections import deque
from itertools import accumulate
from typing import Any, Final

from mesh.protocol.link.packing import CHUNK
from mesh.protocol.link.records import encode

MAX_CHANNEL: Final = 250
"""Most characters of the name of a channel that is published; ``$pub/`` comes before it on a link."""

MOST_LIMIT: Final = 65536
"""Most values that a subscriber may have waiting."""

DEFAULT_LIMIT: Final = 1000
"""Values that a subscriber may have waiting when it does not say."""

BATCH: Final = 256
"""Most values in a batch; a batch ends where a number can be divided by it, so that others take the same."""

IN_FLIGHT: Final = 512
"""Most values on their way to a subscriber."""

IN_FLIGHT_BYTES: Final = 256 * 1024
"""Bytes on their way to a subscriber from which on no more are sent."""

IN_FLIGHT_TOTAL: Final = 24 * 1024 * 1024
"""Bytes on their way to all subscribers of a channel, of which each has an equal share if there are many."""

LEAST_IN_FLIGHT: Final = 16 * 1024
"""Bytes on their way to a subscriber that may be in any case, however many there are."""

PENDING_BYTES: Final = 4 * 1024 * 1024
"""Bytes from which on a subscriber that is not lazy has no room."""

RING_BYTES: Final = 8 * 1024 * 1024
"""Bytes that a topic keeps for lazy subscribers."""

NOT_AWAITED: Final = "not awaited"
"""Why a value was dropped that a ``block`` subscriber had no room for, when nobody waited."""

_MOST_JOINS: Final = 8
_FEWEST_TRIMMED: Final = 256
_NEVER: Final = 2**63


class Policy(enum.StrEnum):
    """What happens when a subscriber has no room for another value."""

    BLOCK = "block"
    """Whoever publishes waits."""
    DROP_OLDEST = "drop_oldest"
    """The value that has waited longest is dropped."""
    DROP_NEWEST = "drop_newest"
    """The new value is dropped."""
    LATEST = "latest"
    """Only the last value waits."""
    ERROR = "error"
    """The subscription ends with ``QueueFullError``."""


_LAZY: Final = frozenset((Policy.DROP_OLDEST, Policy.LATEST))


def settled_policy(policy: object, limit: object) -> tuple[Policy, int]:
    """Return what a subscriber asked for.

    Raises:
        ValueError: If it is no policy, or no limit.

    """
    try:
        found = Policy(policy)  # type: ignore[arg-type]
    except ValueError:
        raise ValueError(f"policy must be {', '.join(Policy)}; got {policy!r}") from None
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_LIMIT:
        raise ValueError(f"limit must be a whole number from 1 to {MOST_LIMIT}, got {limit!r}")
    return found, 1 if found is Policy.LATEST else limit


class Published:
    """The line in the books of what was published for one subscriber, or for several together.

    Attributes:
        cursors: Those whose values are counted here and not all settled.

    """

    __slots__ = ("cursors", "delivered", "dropped", "published", "refused")

    def __init__(self) -> None:
        self.published = 0
        self.delivered = 0
        self.refused = 0
        self.dropped: dict[str, int] = {}
        self.cursors: set[Cursor] = set()

    def drop(self, count: int, reason: str) -> None:
        """Count values that a subscriber does not get."""
        if count:
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def snapshot(self) -> dict[str, Any]:
        """Return the line as a plain dict."""
        for cursor in self.cursors:
            cursor.account()
        pending = sum(cursor.pending for cursor in self.cursors)
        settled = self.delivered + self.refused + sum(self.dropped.values())
        return {
            "published": self.published,
            "delivered": self.delivered,
            "refused": self.refused,
            "dropped": dict(self.dropped),
            "pending": pending,
            "balanced": self.published == settled + pending,
        }


class Subscribed:
    """The line in the books of what a subscriber gets.

    Attributes:
        values: Values that came.
        missed: Numbers that were left out: dropped by the policy, or published without a session.
        restarts: How often the publisher's numbers began anew.

    """

    __slots__ = ("missed", "restarts", "values")

    def __init__(self) -> None:
        self.values = 0
        self.missed = 0
        self.restarts = 0

    def snapshot(self) -> dict[str, Any]:
        """Return the line as a plain dict."""
        return {"values": self.values, "missed": self.missed, "restarts": self.restarts, "balanced": True}


class Reading:
    """What a subscriber knows of the numbers of one channel.

    Attributes:
        next: The number that comes next if nothing is left out; 0 if that is not known.
        line: Where it is counted.

    """

    __slots__ = ("_again", "_incarnation", "_latched", "_seen", "line", "next")

    def __init__(self, line: Subscribed) -> None:
        self.next = 0
        self.line = line
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
            if self._incarnation != incarnation:
                self.line.restarts += 1
                self._seen = 0
            missed = max(number - 1 - self._seen, 0)
            self.line.missed += missed
        self.next = number
        self._incarnation = incarnation
        return missed

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
                    self.line.missed -= self._again
                items = items[1:]
                if not items:
                    return before
                first = items[0][0]
        values = [value for _, value in items]
        count = len(values)
        self.line.values += count
        missed = last - (self.next or first) - count + 1
        if missed > 0:
            self.line.missed += missed
        self.next = last + 1
        return before + values if before else values


class Batch:
    """Some items in a row that are on their way to a subscriber.

    Attributes:
        first: Number of the first.
        count: How many.
        body: The encoded items, without array head.
        last: Whether it ends the subscription; then it holds no value.

    """

    __slots__ = ("body", "count", "first", "last")

    def __init__(self, first: int, count: int, body: bytes, *, last: bool = False) -> None:
        self.first = first
        self.count = count
        self.body = body
        self.last = last


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


class _Run:
    """Items in a row that a cursor has set aside.

    Attributes:
        number: Number of the first that is left.
        items: The items, in a list of its own.

    """

    __slots__ = ("items", "number")

    def __init__(self, number: int, items: list[bytes]) -> None:
        self.number = number
        self.items = items


class Cursor:
    """One subscriber's place in a topic; made by ``Topic.subscribe()``.

    Attributes:
        policy: What happens when it has no room.
        limit: Values that it may have waiting.
        line: Where it is counted.
        owner: For whoever drives it.
        in_flight: Values that were taken and are not settled.
        is_over: Whether it gets no further values.

    """

    __slots__ = (
        "_accounted",
        "_at",
        "_ending",
        "_flight",
        "_flight_bytes",
        "_full",
        "_kept",
        "_kept_bytes",
        "_kept_count",
        "_parked",
        "_topic",
        "_window",
        "in_flight",
        "is_hungry",
        "is_lazy",
        "is_over",
        "limit",
        "line",
        "owner",
        "policy",
    )

    def __init__(self, topic: Topic, policy: Policy, limit: int, line: Published) -> None:
        self.policy = policy
        self.limit = limit
        self.line = line
        self.owner: Any = None
        self.is_lazy = policy in _LAZY
        self.is_hungry = False
        self.is_over = False
        self.in_flight = 0
        self._flight: deque[list[int]] = deque()  # count and bytes of each batch
        self._flight_bytes = 0
        self._window = min(limit, IN_FLIGHT)
        self._topic = topic
        self._at = topic.next  # the next one from the ring; when full, the first that is not accounted for
        self._full = False
        self._kept: deque[_Run] = deque()  # what was set aside
        self._kept_count = self._kept_bytes = 0
        self._parked: dict[int, bytes] = {}
        self._accounted = topic.next
        self._ending: bytes | None = None

    @property
    def waiting(self) -> int:
        """How many values it may still take; what is parked has no room yet and is not counted."""
        if self._full or self.is_over:
            return self._kept_count
        return self._kept_count + self._topic.next - self._at - self._excess()

    @property
    def pending(self) -> int:
        """How many values it may still get: waiting, parked or in flight."""
        return self.waiting + len(self._parked) + self.in_flight

    def account(self) -> None:
        """Bring its line up to date."""
        if self.is_over:
            return
        topic = self._topic
        self.line.published += topic.next - self._accounted
        self._accounted = topic.next
        if self.is_lazy:
            self._fall_back()
        elif self._full and self.policy is Policy.DROP_NEWEST:
            self.line.drop(topic.next - self._at, self.policy.value)
            self._at = topic.next

    def _excess(self) -> int:
        """Return how many of the oldest values a lazy cursor has too many, or the ring has no more."""
        if not self.is_lazy:
            return 0
        topic = self._topic
        excess = self._kept_count + topic.next - self._at - self.limit
        if self._at < topic._start:
            excess = max(excess, self._kept_count + topic._start - self._at)
        return max(excess, 0)

    def _fall_back(self) -> None:
        """Drop what a lazy cursor has too much of."""
        excess = self._excess()
        if excess:
            self.line.drop(excess, self.policy.value)
            while self._kept and excess:
                self._drop_kept(1, len(self._kept[0].items[0]))
                excess -= 1
            self._at += excess

    # -- taking ----------------------------------------------------------------------------

    def take(self) -> Batch | None:
        """Return the next values, which are in flight then, if there are any and some may go.

        If it may take more and there is none, the cursor is ``hungry`` from then on.
        """
        free = self._window - self.in_flight
        if free <= 0 or (self._flight_bytes >= self._topic.share and self._window is not _NEVER):
            return None
        if self.is_lazy and not self.is_over:
            self._fall_back()
        if self._kept:
            batch = self._take_kept(free)
        elif self._ending is not None:
            if self.in_flight:
                return None
            batch = Batch(self._at, 1, self._ending, last=True)
            self._ending = None
            return batch
        elif self._full or self.is_over or self._at == self._topic.next:
            if not self.is_over:
                self._call_for_more()
            return None
        else:
            # The same end for everybody, so that one batch serves all.
            most = BATCH - (self._at - 1) % BATCH
            if free < most:
                if self.in_flight and self._window >= BATCH and free < self._topic.next - self._at:
                    return None  # a whole one soon, rather than a part now
                most = free
            count, body = self._topic._batch(self._at, most)
            batch = Batch(self._at, count, body)
            self._at += count
        self._flight.append([batch.count, len(batch.body)])
        self.in_flight += batch.count
        self._flight_bytes += len(batch.body)
        if self._full and not self.is_over:
            self._make_room()
        return batch

    def _call_for_more(self) -> None:
        if not self.is_hungry:
            self.is_hungry = True
            self._topic.hungry.append(self)

    def _take_kept(self, most: int) -> Batch:
        run = self._kept[0]
        first, items = run.number, run.items
        count = min(most, BATCH, len(items))
        some = items[:count]
        body = b"".join(some) if count > 1 else some[0]
        if count > 1 and len(body) > CHUNK:
            ends = list(accumulate(map(len, some)))
            count = max(1, bisect_right(ends, CHUNK))
            body = b"".join(some[:count])
        self._drop_kept(count, len(body))
        return Batch(first, count, body)

    def _drop_kept(self, count: int, size: int) -> None:
        """Keep the first ones no longer; they are of one run."""
        run = self._kept[0]
        run.number += count
        del run.items[:count]
        if not run.items:
            self._kept.popleft()
        self._kept_count -= count
        self._kept_bytes -= size

    def hurry(self) -> None:
        """Let everything that waits be taken at once: it is the last."""
        self._window = _NEVER

    def settle(self, count: int) -> None:
        """Take note that values are not in flight any more; the caller counts what became of them."""
        self.in_flight -= count
        flight = self._flight
        while count:
            batch = flight[0]
            if batch[0] > count:
                batch[0] -= count
                break
            count -= batch[0]
            self._flight_bytes -= batch[1]
            flight.popleft()
        if self.is_over and not self.in_flight and not self._kept:
            self.line.cursors.discard(self)

    def close(self, reason: str) -> None:
        """End the subscription; what waits is dropped, what is in flight remains to be settled."""
        if not self.is_over:
            self.account()
        self._ending = None
        self.line.drop(self.waiting, reason)
        self._topic.give_up_for(self, reason)
        self._kept.clear()
        self._kept_count = self._kept_bytes = 0
        self.is_over = True
        self._topic._leave(self)
        if not self.in_flight:
            self.line.cursors.discard(self)

    # -- what the topic uses ----------------------------------------------------------------

    def _full_at(self) -> tuple[int, int]:
        """Return the number, and the bytes of the topic, at which it will be full."""
        return (
            self._at + self.limit - self._kept_count,
            self._topic._offset(self._at) + PENDING_BYTES - self._kept_bytes,
        )

    def _fill_up(self) -> None:
        """Set aside what it holds in the ring: it has no room for more."""
        topic = self._topic
        self._set_aside(self._at, topic._slice(self._at, topic.next))
        self._at = topic.next
        self._full = True

    def _set_aside(self, first: int, items: list[bytes]) -> None:
        last = self._kept[-1] if self._kept else None
        if last is not None and last.number + len(last.items) == first:
            last.items += items
        elif items:
            self._kept.append(_Run(first, items))
        self._kept_count += len(items)
        self._kept_bytes += sum(map(len, items))

    def _end(self, number: int) -> None:
        """End it with an error: there is no room for this value."""
        self.account()
        self.line.published += 1
        self.line.drop(1, self.policy.value)
        text = f"the subscriber had no room for value {number}: {self.limit} were waiting"
        self._ending = b"\x94" + encode(number) + b"\xc0" + encode("QueueFullError") + encode(text)
        self._at = number
        self.is_over = True
        self._topic._leave(self)
        self._call_for_more()

    def _make_room(self) -> None:
        """Go on where the ring ends, if what is parked has room now."""
        while self._parked:
            if self._kept_count >= self.limit or (self._kept_count and self._kept_bytes >= PENDING_BYTES):
                return
            number = next(iter(self._parked))
            self._set_aside(number, [self._parked.pop(number)])
            self._topic._admit(number)
        if self._kept_count >= self.limit or (self._kept_count and self._kept_bytes >= PENDING_BYTES):
            return
        self.account()
        self._full = False
        self._at = self._topic.next
        self._topic._blocked.discard(self)
        self._topic._join(self)
