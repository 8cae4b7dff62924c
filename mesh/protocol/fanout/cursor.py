"""One subscriber's place in a topic: the half of the fan-out that each subscriber has for itself.

A topic and its cursors are two halves of one thing, and each reads what the other keeps.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from mesh.protocol.fanout.lines import Published
from mesh.protocol.fanout.policy import LAZY, Policy
from mesh.protocol.link.packing import CHUNK
from mesh.protocol.link.records import encode

if TYPE_CHECKING:
    from mesh.protocol.fanout.topic import Topic

BATCH: Final = 256
"""Most values in a batch; a batch ends where a number can be divided by it, so that others take the same."""

IN_FLIGHT: Final = 512
"""Most values on their way to a subscriber."""

PENDING_BYTES: Final = 4 * 1024 * 1024
"""Bytes from which on a subscriber that is not lazy has no room."""

_NEVER: Final = 2**63


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
        self.is_lazy = policy in LAZY
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
        if free <= 0 or (self._flight_bytes >= self._topic.share and self._window != _NEVER):
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
