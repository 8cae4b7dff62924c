"""One outgoing channel: numbers, credit, settling, giving up, sending again.

Theory of operation. Messages wait in ``queue`` and move to ``flight`` when they are put
in a frame; that is when they get their numbers. Numbers are answered in order, so all
that is known of the peer's state are two of them: ``base``, the lowest unanswered, and
``next``. When the connection is lost, ``flight`` goes back to the front of ``queue``
with its numbers kept.

A run that is given up after it was transmitted stays in its place without its bytes: its
number will still be answered and holds credit until then, because the peer may hold the
message. On a new connection SKIP is sent in its place. When nothing else holds credit, those
that wait for some are *stuck*: they may never be sent, so their ``ack_timeout`` counts already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from math import inf
from typing import Any, Final

from mesh.errors import FrameTooLargeError, RemoteProtocolError
from mesh.protocol.link.events import Acked, Event, Failed, Reason, Refused, RoomOpened
from mesh.protocol.link.ledger import Sent
from mesh.protocol.link.packing import CHUNK, pack, pack_one
from mesh.protocol.link.records import (
    FRAME_TARGET,
    SKIPPED,
    TURNED_AWAY,
    Frame,
    array_head,
    encode,
    pieces,
)
from mesh.protocol.link.run import Delivery, Run

MAX_FRUITLESS: Final = 10
"""Connections that may be lost in a row without one answer on a channel."""


class Grant:
    """What may be sent to the peer: the smaller of its window and our own.

    Attributes:
        messages: Most unanswered messages in a channel.
        bytes: Most unanswered bytes in a channel.
        largest: Most bytes of one message.

    """

    __slots__ = ("bytes", "largest", "messages")

    def __init__(self, messages: int, bytes: int, largest: int) -> None:
        self.messages = messages
        self.bytes = bytes
        self.largest = largest


class Outbound:
    """The sending end of one channel.

    Args:
        name: Name of the channel.
        first: The number to give first.
        grant: The peer's window, shared by all channels.
        line: The channel's line in the ledger.
        events: Where to put what happened.

    """

    __slots__ = (
        "_events",
        "_grant",
        "_head",
        "armed",
        "base",
        "earliest",
        "flight",
        "flight_bytes",
        "fruitless",
        "given_up",
        "given_up_bytes",
        "line",
        "moved_at",
        "name",
        "next",
        "opened_at",
        "oversized",
        "owed_bytes",
        "queue",
        "queued",
        "queued_bytes",
        "ready",
        "retired",
        "returned",
        "shortest",
        "told",
        "wanting",
    )

    def __init__(self, name: str, first: int, grant: Grant, line: Sent, events: deque[Event]) -> None:
        self.name = name
        self.line = line
        self.base = self.next = self.told = first
        self.flight: deque[Run] = deque()
        self.flight_bytes = 0  # of everything that has a number, wherever it waits
        self.queue: deque[Run] = deque()
        self.returned: deque[Run] = deque()  # turned away by a peer that leaves; for its successor
        self.queued = 0  # messages in the queue without a number
        self.queued_bytes = 0
        self.given_up = 0  # messages that have a number and no bytes any more, for they were given up
        self.given_up_bytes = 0  # what they had, and still hold of the window
        self.moved_at = -inf  # when those that wait for credit last had reason to hope
        self.shortest = inf  # no ack timeout that anybody here wants is shorter
        self.oversized = False  # whether a message too large for the peer waits to be failed in its turn
        self.opened_at = 0  # how many bases the link had told by then
        self.owed_bytes = 0  # of answers since the peer was last told our base
        self.fruitless = 0
        self.earliest = inf  # no deadline of a run here is earlier
        self.armed = inf  # when the link's timer looks at this channel
        self.ready = False  # whether the link has this channel in its list of those that want to send
        self.wanting = False
        self.retired = False  # whether nothing will ever be sent here again
        self._grant = grant
        self._head = encode(name)
        self._events = events

    @property
    def idle(self) -> bool:
        """Whether nothing is left to send or to be answered."""
        return not self.queue and self.base == self.next and not self.returned

    def live(self) -> int:
        """Return how many messages are not settled, counted one run at a time."""
        return sum(run.count for run in self._all() if run.body is not None)

    def _all(self) -> list[Run]:
        # What was turned away had lower numbers than what is still in flight.
        return [*self.returned, *self.flight, *self.queue]

    def room(self) -> int:
        """Return how many messages may be given to ``send()``; after 0, ``RoomOpened`` will come."""
        grant = self._grant
        # What was given up holds credit, but no bytes here: others may wait in its place, and time out.
        free = grant.messages - (self.next - self.base) + self.given_up - self.queued
        if free <= 0 or self.flight_bytes - self.given_up_bytes + self.queued_bytes >= grant.bytes:
            self.wanting = True
            return 0
        return free

    def send(self, items: Sequence[object], now: float, owner: object, delivery: Delivery) -> int:
        """Queue as many items as there is room for, from the front, and return how many.

        Raises:
            PayloadError: If the first item cannot be encoded.
            FrameTooLargeError: If the first item is larger than the peer takes.

        """
        free = self.room()
        if free == 0 or not items:
            return 0
        grant = self._grant
        due = inf
        if delivery.from_start:
            due = delivery.due(now)
            self.earliest = min(self.earliest, due)
        if len(items) == 1 and (body := pack_one(items[0], grant.largest)) is not None:
            self.queue.append(Run(owner, delivery, now, 1, body, len(body), due))
            self.queued += 1
            self.queued_bytes += len(body)
            self.line.sent += 1
            self.wanting = False
            return 1
        packed = pack(
            items if len(items) <= free else items[:free],
            largest=grant.largest,
            room=grant.bytes - self.flight_bytes + self.given_up_bytes - self.queued_bytes,
            # Credit for bytes comes back run by run, so there should be a few in a window.
            chunk=min(CHUNK, max(grant.bytes // 4, 256)),
        )
        if packed.error is not None and not packed.taken:
            raise packed.error
        append = self.queue.append
        for count, body in packed.chunks:
            append(Run(owner, delivery, now, count, body, len(body), due))
        self.queued += packed.taken
        self.queued_bytes += packed.size
        self.line.sent += packed.taken
        self.wanting = packed.taken < len(items)
        return packed.taken

    def send_encoded(self, count: int, body: bytes, now: float, owner: object, delivery: Delivery) -> bool:
        """Queue items that are encoded already, if there is room; return whether there was.

        Raises:
            FrameTooLargeError: If it is a single item that is larger than the peer takes.

        """
        size = len(body)
        if count == 1 and size > self._grant.largest:
            raise FrameTooLargeError(size, self._grant.largest)
        if self.room() == 0:
            return False
        self.queue.append(Run(owner, delivery, now, count, body, size))
        self.queued += count
        self.queued_bytes += size
        self.line.sent += count
        self.wanting = False
        return True

    # -- towards the wire

    def fill(self, frame: Frame, now: float) -> bool:
        """Put what may be sent into a frame.

        Returns:
            Whether that was all; if not, more goes into the next frame.

        """
        while self.queue:
            run = self.queue[0]
            if run.first == 0 and (self._is_oversized(run) or not self._fits(run)):
                return True
            run = self.queue[0]
            if frame.count and (frame.closed or frame.size + run.size > FRAME_TARGET or run.large):
                return False
            self._put_record(frame, now)
        return True

    def only_frame(self, now: float) -> bytes | None:
        """Return a frame with everything there is to send; ``None`` if that takes more than a plain one.

        What ``fill()`` would give, by a shorter way, which is the way of most frames.
        """
        queue = self.queue
        if len(queue) != 1:
            return None
        run = queue[0]
        body, size = run.body, run.size
        if body is None or size > FRAME_TARGET or (run.first == 0 and not self._fits(run, cut=False)):
            return None
        if run.first == 0:
            self._number(run, now)
        queue.popleft()
        self.flight.append(run)
        self.told = self.base
        self.owed_bytes = 0
        return b"".join(
            (b"\x91\x95\x03", self._head, encode(run.first), encode(self.base), array_head(run.count), body)
        )

    def _put_record(self, frame: Frame, now: float) -> None:
        """Move the first run, and those that may share a record with it, to the frame."""
        queue = self.queue
        head = queue[0]
        first = head.first or self.next
        if head.body is None:
            count = 0
            while queue and queue[0].body is None:
                run = queue.popleft()
                self.flight.append(run)
                count += run.count
            frame.add(b"\x95\x08", self._head, encode(first), encode(self.base), encode(count))
        else:
            bodies: list[bytes] = []
            count = 0
            # A large message goes alone: no other joins its record or its frame.
            space = 1 if head.large else max(FRAME_TARGET - frame.size, 1)
            while space > 0 and queue:
                run = queue[0]
                body = run.body
                if body is None or (count and (run.size > space or run.large)):
                    break
                if run.first == 0:
                    if count and not self._fits(run, cut=False):
                        break
                    self._number(run, now)
                queue.popleft()
                self.flight.append(run)
                bodies.append(body)
                count += run.count
                space -= run.size
            frame.add(b"\x95\x03", self._head, encode(first), encode(self.base), array_head(count), *bodies)
            if head.large:
                frame.closed = True
        self.told = self.base
        self.owed_bytes = 0

    def _number(self, run: Run, now: float) -> None:
        run.first = self.next
        self.next += run.count
        self.queued -= run.count
        self.queued_bytes -= run.size
        self.flight_bytes += run.size
        timeout = run.delivery.ack_timeout
        if timeout is not None and run.due == inf:
            run.due = now + timeout
            self.earliest = min(self.earliest, run.due)

    def _fits(self, run: Run, *, cut: bool = True) -> bool:
        """Say whether the first run of the queue has credit; cut it if only a part has."""
        grant = self._grant
        free = grant.messages - (self.next - self.base)
        space = grant.bytes - self.flight_bytes
        if run.count <= free and run.size <= space:
            return True
        if free <= 0 or not cut:
            return False
        if run.count == 1:
            return self.base == self.next
        if run.count <= free and self.base != self.next:
            # Only the bytes are lacking: all of the run will fit later, if not it is cut then.
            return False
        self.queue.popleft()
        parts = run.split(free, grant.bytes)
        self.queued_bytes += sum(part.size for part in parts) - run.size
        self.queue.extendleft(reversed(parts))
        return parts[0].size <= space or (parts[0].count == 1 and self.base == self.next)

    # -- answers

    def acked(self, first: int, values: list[Any], size: int) -> None:
        """Take an ACK.

        Raises:
            RemoteProtocolError: If it answers anything but the lowest unanswered messages.

        """
        total = len(values)
        self._check(first, total)
        flight = self.flight
        if flight and flight[0].count == total and flight[0].body is not None:
            run = flight.popleft()
            self.flight_bytes -= run.size
            self.base += total
            self.line.acked += total
            self._events.append(Acked(run.owner, values))
            self._after_answers(size)
            return
        at = 0
        for run, count in self._take(total):
            if run.body is None:
                self.line.late_acked += count
                self.line.unknown -= count
            else:
                self.line.acked += count
                self._events.append(Acked(run.owner, values if count == total else values[at : at + count]))
            at += count
        self._after_answers(size)

    def nacked(self, first: int, total: int, type: str, message: str, size: int) -> None:
        """Take a NACK.

        Raises:
            RemoteProtocolError: If it answers anything but the lowest unanswered messages.

        """
        self._check(first, total)
        for run, count in self._take(total):
            if run.body is not None and type == TURNED_AWAY:
                self._take_back(run, count)
            elif run.body is not None:
                self.line.refused += count
                self._events.append(Refused(run.owner, count, type, message))
            else:
                self.line.unknown -= count
                if type in (SKIPPED, TURNED_AWAY):
                    self.line.late_skipped += count
                else:
                    self.line.late_refused += count
        self._after_answers(size)

    def _take_back(self, run: Run, count: int) -> None:
        """The peer leaves and did not want these messages: they wait for its successor."""
        body = run.body or b""
        if run.skip or count < run.count:
            body = b"".join(pieces(run.skip + run.count, body)[run.skip : run.skip + count])
        back = Run(run.owner, run.delivery, run.since, count, body, len(body), sent_before=run.sent_before)
        self.returned.append(back)
        self.queued += count
        self.queued_bytes += back.size

    def reclaim(self) -> None:
        """Queue again what was turned away, if the peer that left goes on with the session after all."""
        while self.returned:
            at = next((at for at, run in enumerate(self.queue) if not run.first), len(self.queue))
            self.queue.insert(at, self.returned.pop())

    def _check(self, first: int, count: int) -> None:
        if first != self.base or first + count > self.next:
            raise RemoteProtocolError(
                f"channel {self.name!r}: an answer to messages {first} to {first + count - 1}; "
                f"unanswered are {self.base} to {self.next - 1}"
            )

    def _take(self, total: int) -> Iterator[tuple[Run, int]]:
        """Yield the runs that the next ``total`` answers are for, and how many each; then pass them."""
        while total:
            runs = self.flight or self.queue
            run = runs[0]
            count = min(run.count, total)
            yield run, count
            if run.body is None:
                self.given_up -= count
                if count == run.count:
                    self.given_up_bytes -= run.size
            if count == run.count:
                runs.popleft()
                self.flight_bytes -= run.size
            else:
                run.count -= count
                run.first += count
                run.skip += count
                if runs is self.queue:
                    # It waits to be sent again, so its bytes have to be right.
                    run.trim()
            self.base += count
            total -= count

    def _after_answers(self, size: int) -> None:
        self.owed_bytes += size
        self.fruitless = 0
        if self.wanting:
            self.notice_room()

    def notice_room(self) -> None:
        """Tell who was refused room that there is some."""
        if self.wanting:
            self.wanting = False
            if self.room():
                self._events.append(RoomOpened(self.name))

    # -- giving up

    def soonest(self, lost_at: float | None) -> float:
        """Return the earliest deadline of all runs."""
        due = min((run.deadline(lost_at) for run in self._all()), default=inf)
        if self.given_up and self._is_stuck(lost_at):
            return min(due, min(map(self._stuck_until, self.queue), default=inf))
        return due

    def expire(self, now: float, lost_at: float | None) -> None:
        """Give up what is past its deadline."""
        late = [run for run in self._all() if run.deadline(lost_at) <= now]
        for run in late:
            if run.due <= now:
                self._give_up(run, Reason.ACK_TIMEOUT, now - run.due + (run.delivery.ack_timeout or 0.0))
            else:
                self._give_up(run, Reason.PEER_DOWN, now - max(run.since, lost_at or run.since))
        if late:
            self.moved_at = now
            self._drop_withdrawn()
        elif self.given_up and self._is_stuck(lost_at):
            stuck = [run for run in self.queue if self._stuck_until(run) <= now]
            for run in stuck:
                self._give_up(run, Reason.ACK_TIMEOUT, now - max(run.since, self.moved_at))
            if stuck:
                self._drop_withdrawn()

    def _is_stuck(self, lost_at: float | None) -> bool:
        """Say whether what is queued has no credit, and only messages that were given up hold any."""
        if lost_at is not None or self.given_up < self.next - self.base or not self.queue:
            return False
        run = self.queue[0]
        free = self._grant.messages - self.given_up
        return run.first == 0 and not run.count > free > 0 and not self._fits(run, cut=False)

    def _stuck_until(self, run: Run) -> float:
        timeout = run.delivery.ack_timeout
        return inf if timeout is None or run.body is None else max(run.since, self.moved_at) + timeout

    def cancel(self, owner: object, now: float) -> None:
        """Give up every message of an owner."""
        for run in self._all():
            if run.owner is owner and run.body is not None:
                self._give_up(run, Reason.CANCELLED)
        self.moved_at = now
        self._drop_withdrawn()

    def fail_all(self, reason: Reason) -> None:
        """Give up everything."""
        for run in self._all():
            if run.body is not None:
                self._give_up(run, reason)
        self._drop_withdrawn()

    def fail_too_large(self) -> None:
        """Give up what the peer, now that its terms are known, would not take.

        Each in its turn: not before what the same owner sent earlier is settled.
        """
        self.oversized = False
        unsettled: set[int] = set()
        for run in self._all():
            if run.body is not None and self._is_oversized(run) and id(run.owner) not in unsettled:
                self._give_up(run, Reason.TOO_LARGE)
            elif run.body is not None:
                unsettled.add(id(run.owner))
                self.oversized = self.oversized or self._is_oversized(run)
        self._drop_withdrawn()

    def _is_oversized(self, run: Run) -> bool:
        return run.size > self._grant.largest and run.count == 1 and run.first == 0

    def _give_up(self, run: Run, reason: Reason, waited: float = 0.0) -> None:
        transmitted = run.first > 0 or run.sent_before
        self._events.append(Failed(run.owner, run.count, reason, transmitted, waited))
        self.line.fail(run.count, reason)
        if transmitted:
            self.line.unknown += run.count
        if run.first:
            self.given_up += run.count
            self.given_up_bytes += run.size
        run.body = run.owner = None
        run.skip = 0

    def _drop_withdrawn(self) -> None:
        """Forget runs that were given up before they ever had a number, and tell who wants room."""
        gone = [run for run in (*self.returned, *self.queue) if run.body is None and run.first == 0]
        if gone:
            self.returned = deque(run for run in self.returned if run.body is not None)
            self.queue = deque(run for run in self.queue if run.body is not None or run.first)
            self.queued -= sum(run.count for run in gone)
            self.queued_bytes -= sum(run.size for run in gone)
        self.notice_room()

    # -- connections and sessions

    def rewind(self, now: float) -> None:
        """Prepare to send everything unanswered again: the connection was lost."""
        self._requeue()
        if self.base != self.next:
            self.fruitless += 1
        if self.fruitless > MAX_FRUITLESS:
            for run in self.queue:
                if run.first and run.body is not None:
                    self._give_up(run, Reason.PEER_DOWN, max(now - run.since, 0.0))

    def _requeue(self) -> None:
        self.queue.extendleft(reversed(self.flight))
        self.flight.clear()
        if self.queue:
            self.queue[0].trim()

    def restart(self, reason: Reason, *, again: bool) -> None:
        """Begin a new session: numbers start over.

        Args:
            reason: Why those transmitted fail that are not sent again.
            again: Whether transmitted messages are sent again if their owner allows it.

        """
        self._requeue()
        kept: deque[Run] = deque()
        for run in (*self.returned, *self.queue):
            if run.first and run.body is not None and (not again or run.delivery.at_most_once):
                self._give_up(run, reason)
            if run.body is not None:
                run.sent_before = run.sent_before or run.first > 0
                run.first = 0
                run.size = len(run.body)
                kept.append(run)
        self.returned.clear()
        self.queue = kept
        self.queued = sum(run.count for run in kept)
        self.queued_bytes = sum(run.size for run in kept)
        self.base = self.next = self.told = 1
        self.flight_bytes = self.owed_bytes = self.fruitless = self.given_up = self.given_up_bytes = 0
        self.notice_room()
