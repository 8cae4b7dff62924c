"""One incoming channel: what is expected, what is in hand, what was answered.

Theory of operation. Messages are handled in order, so three numbers hold the state::

    base ... answered ... expected

Answers from ``base`` to ``answered`` are remembered, encoded as they travel, because
the sender may ask for them again on a new connection. ``answered`` to ``expected`` is in
hand. ``asked`` is where the last DATA of this connection ended: 0 until the first.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from msgspec import Struct

from mesh.errors import LocalProtocolError, RemoteProtocolError
from mesh.protocol.link.events import AnswerUnsendable, Event, HandlingResumed
from mesh.protocol.link.ledger import Taken
from mesh.protocol.link.outbound import Grant
from mesh.protocol.link.packing import pack, pack_one
from mesh.protocol.link.records import (
    FRAME_TARGET,
    SKIPPED,
    TURNED_AWAY,
    Frame,
    array_head,
    clip,
    encode,
    pieces,
)

_SKIPPED = encode(SKIPPED) + encode("given up by its sender")
_TURNED_AWAY = encode(TURNED_AWAY) + encode("came after BYE")


class Answer(Struct, frozen=True, gc=False):
    """Answers to consecutive messages, as they travel.

    Attributes:
        first: Number of the first message.
        count: How many.
        body: The values without array head, or type and message of a refusal.
        refusal: Whether it is one.

    """

    first: int
    count: int
    body: bytes
    refusal: bool


class Segment(Struct, gc=False):
    """Messages that came in one record: how many are left, what they weigh, and the answer if it is fixed."""

    count: int
    size: int
    answer: bytes | None = None


class Inbound:
    """The receiving end of one channel in one session. Shells use the four attributes below.

    Attributes:
        channel: Name of the channel.
        in_hand: Messages that arrived and are not answered.
        may_handle: Whether the next message may be handled. ``False`` while the
            sender has not taken the answers there are; ``HandlingResumed`` will come.
        closed: Whether the session is over, so that nobody waits for answers.

    """

    __slots__ = (
        "_events",
        "_head",
        "_paused",
        "_segments",
        "_skips",
        "_waiting",
        "_window",
        "answered",
        "answers",
        "asked",
        "base",
        "channel",
        "closed",
        "expected",
        "line",
        "ready",
        "remembered",
        "unsent",
    )

    def __init__(self, channel: str, first: int, window: Grant, line: Taken, events: deque[Event]) -> None:
        self.channel = channel
        self.line = line
        self.base = self.answered = self.expected = first
        self.asked = 0
        # Lists, though taken from the left: they are short, and an empty deque has 600 bytes.
        self.answers: list[Answer] = []
        self.remembered = 0  # bytes of them
        self.unsent: list[Answer] = []
        self.closed = False
        self.ready = False  # whether the link has this channel in its list of those with answers
        self._segments: list[Segment] = []
        self._skips = 0  # messages that no handler will see
        self._waiting = 0  # bytes of segments of which nothing is answered yet
        self._paused = False
        self._window = window
        self._head = encode(channel)
        self._events = events

    @property
    def in_hand(self) -> int:
        """Messages that arrived and are not answered."""
        return self.expected - self.answered - self._skips

    def live(self) -> int:
        """Return the same, counted one segment at a time."""
        return sum(segment.count for segment in self._segments if segment.answer is None)

    @property
    def may_handle(self) -> bool:
        """Whether the next message may be handled."""
        if self.remembered <= self._window.bytes:
            return True
        self._paused = True
        return False

    @property
    def idle(self) -> bool:
        """Whether nothing is in hand and nothing remembered."""
        return self.base == self.expected

    # -- from the wire

    def data(self, first: int, base: int, items: list[Any], size: int) -> list[Any]:
        """Take DATA and return the items that are new.

        Raises:
            RemoteProtocolError: If it breaks a rule of order or a window.

        """
        count = len(items)
        new = self._place(first, base, count)
        self.line.received += count
        if new < count:
            items = items[count - new :]
            self.line.duplicates += count - new
            size = pack(items, largest=2**63).size
        if new:
            if self._waiting + size > self._window.bytes and (new > 1 or self.expected != self.answered):
                self.line.received -= new
                raise RemoteProtocolError(
                    f"channel {self.channel!r}: {size} bytes beyond the {self._waiting} that wait; "
                    f"the window is {self._window.bytes}"
                )
            self.expected += new
            self._waiting += size
            self._segments.append(Segment(new, size))
        return items

    def skip(self, first: int, base: int, count: int) -> None:
        """Take SKIP: what never arrived never will.

        Raises:
            RemoteProtocolError: If it breaks a rule of order or a window.

        """
        self._answer_in_turn(self._place(first, base, count), _SKIPPED)

    def turn_away(self, first: int, base: int, count: int) -> None:
        """Take DATA after our BYE: what is new goes back to its sender.

        Raises:
            RemoteProtocolError: If it breaks a rule of order or a window.

        """
        new = self._place(first, base, count)
        self.line.received += count - new
        self.line.duplicates += count - new
        self.line.turned_away += new
        self._answer_in_turn(new, _TURNED_AWAY)

    def _answer_in_turn(self, count: int, answer: bytes) -> None:
        """Answer messages that no handler will see, once all before them are answered."""
        if not count:
            return
        self.expected += count
        self._skips += count
        last = self._segments[-1] if self._segments else None
        if last is not None and last.answer is answer:
            last.count += count
        else:
            self._segments.append(Segment(count, 0, answer))
        self._answer_skips()

    def _place(self, first: int, base: int, count: int) -> int:
        """Check where messages begin and end; return how many of them are new."""
        wrong = None
        if base < self.base or base > first:
            wrong = f"base {base}, which was {self.base}"
        elif first not in (self.asked, base):
            wrong = f"they should begin at {self.asked or base} or {base}"
        elif first + count - base > self._window.messages:
            wrong = f"the window is {self._window.messages} from {base} on"
        elif (first > self.expected or base > self.answered) and (
            self.expected != self.answered or first != base
        ):
            wrong = f"{self.answered} to {self.expected - 1} are in hand"
        if wrong:
            raise RemoteProtocolError(
                f"channel {self.channel!r}: messages {first} to {first + count - 1}: {wrong}"
            )
        if first > self.expected:
            # Everything below is settled, though not all of it by us: see "Forgetting channels".
            self.expected = self.answered = first
        self.forget(base)
        if not self.asked:
            self._ask_again(first)
        self.asked = first + count
        return max(0, min(count, first + count - self.expected))

    def settled(self, base: int) -> None:
        """Take SETTLED.

        Raises:
            RemoteProtocolError: If it settles what is not answered.

        """
        if base > self.answered:
            raise RemoteProtocolError(
                f"channel {self.channel!r}: all below {base} settled, but {self.answered} is not answered"
            )
        self.forget(base)

    def forget(self, base: int) -> None:
        """Drop remembered answers below ``base``."""
        if base <= self.base:
            return
        self.base = base
        answers, gone = self.answers, 0
        for answer in answers:
            if answer.first + answer.count > base:
                break
            self.remembered -= len(answer.body)
            gone += 1
        del answers[:gone]
        if self._paused and self.remembered <= self._window.bytes:
            self._paused = False
            self._events.append(HandlingResumed(self))

    def _ask_again(self, first: int) -> None:
        """Send what is remembered from ``first`` on: the sender asks, on a new connection."""
        answers = self.answers
        if answers and answers[0].first < first:
            old = answers[0]
            left = old.first + old.count - first
            body = old.body if old.refusal else b"".join(pieces(old.count, old.body)[-left:])
            self.remembered += len(body) - len(old.body)
            answers[0] = Answer(first, left, body, old.refusal)
        self.unsent = answers.copy()

    # -- from the handler

    def ack(self, values: list[Any], largest: int) -> None:
        """Answer as many messages as there are values.

        Raises:
            LocalProtocolError: If fewer messages are in hand.

        """
        total = len(values)
        if total > self.in_hand:
            raise LocalProtocolError(
                f"channel {self.channel!r}: {total} answers, but {self.in_hand} messages in hand"
            )
        if total == 1 and not self._skips and (body := pack_one(values[0], largest)) is not None:
            self.line.handled += 1
            self._answer(1, body, refusal=False)
            return
        at = 0
        while at < total:
            count = total - at
            if self._skips:
                count = min(count, self._segments[0].count)
            self._ack_run(values if count == total else values[at : at + count], largest)
            self._answer_skips()
            at += count

    def _ack_run(self, values: list[Any], largest: int) -> None:
        at = 0
        while at < len(values):
            packed = pack(values[at:] if at else values, largest=largest)
            for count, body in packed.chunks:
                self.line.handled += count
                self._answer(count, body, refusal=False)
            at += packed.taken
            if packed.error is not None:
                self._events.append(AnswerUnsendable(self, packed.error))
                self.nack(1, type(packed.error).__name__, str(packed.error))
                at += 1

    def nack(self, count: int, type: str, message: str) -> None:
        """Refuse messages.

        Raises:
            LocalProtocolError: If fewer messages are in hand.

        """
        if count > self.in_hand:
            raise LocalProtocolError(
                f"channel {self.channel!r}: {count} answers, but {self.in_hand} messages in hand"
            )
        body = encode(clip(type)) + encode(clip(message))
        self.line.refused += count
        while count:
            part = min(count, self._segments[0].count) if self._skips else count
            self._answer(part, body, refusal=True)
            self._answer_skips()
            count -= part

    def _answer(self, count: int, body: bytes, *, refusal: bool) -> None:
        """Remember an answer, and pass the messages it is for."""
        answer = Answer(self.answered, count, body, refusal)
        self.answers.append(answer)
        self.remembered += len(body)
        if self.asked:
            self.unsent.append(answer)
        self.answered += count
        segments, gone = self._segments, 0
        while count:
            segment = segments[gone]
            # Once a part is answered none of it counts any more: the sender knows the size
            # of each message and we do not, and must not find fault with one that is right.
            self._waiting -= segment.size
            segment.size = 0
            if segment.count > count:
                segment.count -= count
                break
            count -= segment.count
            gone += 1
        del segments[:gone]

    def _answer_skips(self) -> None:
        while self._skips and (answer := self._segments[0].answer) is not None:
            count = self._segments[0].count
            self._skips -= count
            self._answer(count, answer, refusal=True)

    # -- towards the wire

    def only_frame(self) -> bytes | None:
        """Return a frame with all answers there are; ``None`` if that takes more than a plain one."""
        unsent = self.unsent
        if len(unsent) != 1 or unsent[0].refusal or len(unsent[0].body) > FRAME_TARGET:
            return None
        answer = unsent.pop()
        return b"".join(
            (b"\x91\x94\x04", self._head, encode(answer.first), array_head(answer.count), answer.body)
        )

    def fill(self, frame: Frame) -> bool:
        """Put answers into a frame; return whether that was all."""
        unsent, at, end = self.unsent, 0, len(self.unsent)
        while at < end:
            answer = unsent[at]
            if frame.count and (frame.closed or frame.size + len(answer.body) > FRAME_TARGET):
                break
            at += 1
            if answer.refusal:
                frame.add(b"\x96\x05", self._head, encode(answer.first), encode(answer.count), answer.body)
                continue
            count, size = answer.count, len(answer.body)
            bodies = [answer.body]
            while at < end and not unsent[at].refusal:
                more = unsent[at]
                if frame.size + size + len(more.body) > FRAME_TARGET:
                    break
                at += 1
                bodies.append(more.body)
                count += more.count
                size += len(more.body)
            frame.add(b"\x94\x04", self._head, encode(answer.first), array_head(count), *bodies)
        del unsent[:at]
        return not unsent

    # -- connections and sessions

    def lose_connection(self) -> None:
        """Forget what was asked on the lost connection; answers wait to be asked for again."""
        self.asked = 0
        self.unsent.clear()

    def close(self) -> int:
        """End with the session; return how many messages are abandoned."""
        count = self.in_hand
        self.line.abandoned += count
        self.closed = True
        return count
