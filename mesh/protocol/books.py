"""The books of one process: the ledgers of its links, its plain conversations and those that are gone.

Rules:

- *One shape.* By peer, then ``sent`` or ``received``, then by channel, one line each, whichever way
  the messages went. Every line says whether it balances.
- *Plain conversations are counted as links are*, by the same words. What is in flight or in hand is
  counted apart from what became of the rest, so that a message that got lost in between shows.
- *Everything is bounded, and nothing is dropped.* What is too much is added up; a sum never shrinks.
- *What does not balance comes first*, and stays whole for as long as there is room.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from itertools import islice
from typing import Any, Final, TypeVar

from mesh.protocol.link.events import Reason
from mesh.protocol.link.ledger import OTHERS, Sent, Taken

Line = dict[str, Any]
"""One line, as plain values."""

Lines = dict[str, dict[str, Line]]
"""What concerns one peer: ``sent`` and ``received``, by channel."""

Books = dict[str, Lines]
"""The whole, by peer."""

CLIENTS: Final = "(plain clients)"
"""Who sends to a door and speaks no link: all of them together, for there is no end of them."""

FORGOTTEN: Final = "(forgotten peers)"
"""Peers that are gone for good, all of them together."""

ALL: Final = "(all channels)"
"""The line of all channels of forgotten peers."""

PLAIN: Final = "plain"
"""What marks the name of a peer that is sent to without a link."""

MOST_LINES: Final = 1000
"""Lines that are shown to who asks."""

MOST_CHANNELS: Final = 1024
"""Lines for plain conversations with one peer, and for those of all plain clients."""

MOST_PEERS: Final = 256
"""Plain peers with lines of their own."""

MOST_ODD: Final = 64
"""Forgotten peers whose books do not balance and are kept whole."""

_LOOKED_AT: Final = 64

_UNDER_WAY: Final = ("in_flight", "in_hand", "pending")

MAX_NAME: Final = 255
"""Characters of a channel's name; a link takes no more, but the path of a websocket may be longer."""


# -- outgoing, without a link --------------------------------------------------------------


class Given(enum.StrEnum):
    """Why a message of a plain conversation was given up; where it fits, the word is the link's."""

    CANCELLED = Reason.CANCELLED.value
    """Whoever sent it was cancelled."""
    PEER_DOWN = Reason.PEER_DOWN.value
    """No connection, or no answer, for as long as its sender was patient."""
    CLOSED = Reason.CLOSED.value
    """This process ended."""
    ACK_TIMEOUT = Reason.ACK_TIMEOUT.value
    """No answer in time after the first transmission."""
    LOST = "connection lost"
    """Sent at most once, and the connection was lost before the answer."""
    REFUSED = "refused for good"
    """The peer takes no such connection or no such message, or answers with what cannot be read."""
    MISTAKE = "mistake"
    """Something raised that should not."""


class PlainSent(Sent):
    """The sender's line of one channel of a plain conversation.

    Attributes:
        in_flight: Messages without an outcome.
        resent: Transmissions after the first of a message.
        awaited: Given up, but their answers may come; the line must stay.

    """

    __slots__ = ("awaited", "in_flight", "resent")

    def __init__(self) -> None:
        super().__init__()
        self.in_flight = 0
        self.resent = 0
        self.awaited = 0

    @property
    def busy(self) -> bool:
        """Whether a message still has to be counted here."""
        return self.in_flight > 0 or self.awaited > 0

    def add(self, other: Sent) -> None:
        """Take over the numbers of another line."""
        super().add(other)
        if isinstance(other, PlainSent):
            self.resent += other.resent

    def snapshot(self, in_flight: int) -> Line:
        """Return the line as a plain dict."""
        line = super().snapshot(in_flight)
        balanced = line.pop("balanced")
        return {**line, "resent": self.resent, "balanced": balanced}


class Dispatch:
    """One message on its way over a plain conversation.

    It is in flight until ``close()``, and before that one of ``answered()`` and ``give_up()``
    says what became of it. After it was given up its answer may still come.

    Args:
        line: Where it is counted.

    """

    __slots__ = ("_line", "_transmitted")

    def __init__(self, line: PlainSent) -> None:
        self._line = line
        self._transmitted = False
        line.sent += 1
        line.in_flight += 1

    def transmit(self) -> None:
        """Count that it is put on the wire, perhaps once more."""
        if self._transmitted:
            self._line.resent += 1
        self._transmitted = True

    def answered(self, *, refused: bool) -> None:
        """Count its answer."""
        if refused:
            self._line.refused += 1
        else:
            self._line.acked += 1

    def give_up(self, reason: Given) -> None:
        """Count that its sender got an error."""
        self._line.fail(1, reason)
        if self._transmitted:
            self._line.unknown += 1

    def close(self) -> None:
        """Count that it is not in flight any more."""
        self._line.in_flight -= 1

    # -- late

    def await_late(self) -> None:
        """Keep the line for an answer that may come after the message was given up."""
        self._line.awaited += 1

    def late(self, *, refused: bool) -> None:
        """Count an answer that came after the message was given up."""
        self._line.unknown -= 1
        if refused:
            self._line.late_refused += 1
        else:
            self._line.late_acked += 1

    def await_no_more(self) -> None:
        """Count that no answer will be taken any more."""
        self._line.awaited -= 1


class SentBooks:
    """What one process sends over plain conversations.

    Args:
        most_peers: Peers with lines of their own; beyond it those that were used first and are
            idle are added up.
        most_channels: Lines of one peer; what is more is counted in ``(others)``.

    """

    def __init__(self, most_peers: int = MOST_PEERS, most_channels: int = MOST_CHANNELS) -> None:
        self._most_peers = most_peers
        self._most_channels = most_channels
        self._peers: dict[str, dict[str, PlainSent]] = {}
        self._forgotten = Forgotten()

    def dispatch(self, peer: str, channel: str) -> Dispatch:
        """Count one message that is to be sent."""
        lines = self._peers.get(peer)
        if lines is None:
            if len(self._peers) >= self._most_peers:
                self._forget_one()
            lines = self._peers[peer] = {}
        return Dispatch(_line(lines, channel.removeprefix("/"), self._most_channels, PlainSent))

    def _forget_one(self) -> None:
        for peer, lines in self._peers.items():
            if not any(line.busy for line in lines.values()):
                self._forgotten.add(peer, _sent(lines))
                del self._peers[peer]
                return

    def books(self) -> Books:
        """Return every line; the names are marked, for there may be a link to a peer of that name."""
        mine = {peer: _sent(lines) for peer, lines in self._peers.items()}
        whole = joined(mine, self._forgotten.books(), mark="forgotten")
        return {f"{peer} ({PLAIN})": lines for peer, lines in whole.items()}


def _sent(lines: dict[str, PlainSent]) -> Lines:
    return {"sent": {name: line.snapshot(line.in_flight) for name, line in lines.items()}, "received": {}}


# -- incoming, without a link ----------------------------------------------------------------


class PlainTaken(Taken):
    """The receiver's line of one channel, for all plain clients together.

    Attributes:
        in_hand: Messages that are being handled.

    """

    __slots__ = ("in_hand",)

    def __init__(self) -> None:
        super().__init__()
        self.in_hand = 0

    @property
    def busy(self) -> bool:
        """Whether a message still has to be counted here."""
        return self.in_hand > 0


class TakenBooks:
    """What plain clients send to one process.

    Args:
        most: Lines; what is more is counted in ``(others)``.

    """

    def __init__(self, most: int = MOST_CHANNELS) -> None:
        self._most = most
        self._lines: dict[str, PlainTaken] = {}

    def take(self, channel: str) -> PlainTaken:
        """Count one message that came, and return the line for its outcome.

        The line is kept for as long as the message is counted there as in hand.
        """
        line = _line(self._lines, channel, self._most, PlainTaken)
        line.received += 1
        line.in_hand += 1
        return line

    def turn_away(self, channel: str) -> None:
        """Count one message that came too late to be handled."""
        _line(self._lines, channel, self._most, PlainTaken).turned_away += 1

    def books(self) -> Books:
        """Return every line."""
        if not self._lines:
            return {}
        lines: dict[str, Line] = {name: line.snapshot(line.in_hand) for name, line in self._lines.items()}
        return {CLIENTS: {"sent": {}, "received": lines}}


L = TypeVar("L", PlainSent, PlainTaken)


def _line(lines: dict[str, L], channel: str, most: int, new: Callable[[], L]) -> L:
    """Return the line that a message on a channel is to be counted in.

    There are never more than ``most`` lines and ``(others)``: that one takes over the line of an
    idle channel to make room, or the message itself.
    """
    channel = clipped(channel)
    line = lines.get(channel)
    if line is not None:
        return line
    if len(lines) >= most:
        # A few only are looked at: strangers choose the channels, and how long they stay busy.
        few = islice(lines.items(), _LOOKED_AT)
        idle = next((name for name, line in few if name != OTHERS and not line.busy), None)
        others = lines.get(OTHERS)
        if others is None:
            others = lines[OTHERS] = new()
        if idle is None or channel == OTHERS:
            return others
        others.add(lines.pop(idle))
    line = lines[channel] = new()
    return line


# -- peers that are gone -----------------------------------------------------------------------


MOST_LINES_EACH: Final = 64
"""Lines of a peer that went lately and whose books are still kept apart."""


class Forgotten:
    """The books of peers that are gone for good: added up, so that no total ever shrinks.

    Those that do not balance are kept as they are for as long as there is room, for
    somebody will want to know which they were. So are the last few to go: whoever asks for
    the books does so after the work is done, and then its senders have left.

    Args:
        most_odd: Peers whose books do not balance that are kept apart.
        most_recent: Peers that went last and are kept apart, if they have few lines.

    """

    def __init__(self, most_odd: int = MOST_ODD, most_recent: int = 0) -> None:
        self._most_odd = most_odd
        self._most_recent = most_recent
        self._odd: Books = {}
        self._recent: list[tuple[str, Lines]] = []
        self._sums: dict[str, Line] = {}

    def add(self, peer: str, lines: Lines) -> None:
        """Take over the last books of a peer."""
        if len(self._odd) < self._most_odd and not is_balanced({peer: lines}):
            self._odd = joined(self._odd, {peer: lines}, mark="again")
        elif sum(map(len, lines.values())) <= MOST_LINES_EACH:
            self._recent.append((peer, lines))
            if len(self._recent) > self._most_recent:
                self._fold(self._recent.pop(0)[1])
        else:
            self._fold(lines)

    def _fold(self, lines: Lines) -> None:
        for way, channels in lines.items():
            for line in channels.values():
                self._sums[way] = added(self._sums[way], line) if way in self._sums else line

    def books(self) -> Books:
        """Return what is kept."""
        kept = dict(self._odd)
        for peer, lines in self._recent:
            kept = joined(kept, {peer: lines}, mark="again")
        if not self._sums:
            return kept
        ways = dict.fromkeys(("sent", "received", *self._sums))
        sums: Lines = {way: {ALL: self._sums[way]} if way in self._sums else {} for way in ways}
        return joined(kept, {FORGOTTEN: sums}, mark="all")

    def is_balanced(self) -> bool:
        """Say whether every line of it balances, or did when it was added."""
        return not self._odd and all(line["balanced"] for line in self._sums.values())


# -- the whole ---------------------------------------------------------------------------------


def added(one: Line, other: Line) -> Line:
    """Return the sum of two lines; it balances if both do."""
    whole = dict(one)
    for key, value in other.items():
        if key == "balanced":
            whole[key] = one[key] and value
        elif isinstance(value, dict):
            parts = one.get(key, {})
            whole[key] = {**parts, **{name: parts.get(name, 0) + count for name, count in value.items()}}
        else:
            whole[key] = one.get(key, 0) + value
    return whole


def joined(first: Books, other: Books, *, mark: str) -> Books:
    """Return the books of both; who is in the first already gets the mark to its name in the second."""
    whole = dict(first)
    for peer, lines in other.items():
        name = peer
        number = 1
        while name in whole:
            # Names are the peers' own choice, so the marked one may be taken as well.
            name = f"{peer} ({mark})" if number == 1 else f"{peer} ({mark} {number})"
            number += 1
        whole[name] = lines
    return whole


def merged(first: Books, other: Books) -> Books:
    """Return the books of both, for what is counted of the same peers in two places."""
    whole = dict(first)
    for peer, lines in other.items():
        whole[peer] = {"sent": {}, "received": {}, **whole.get(peer, {}), **lines}
    return whole


def bounded(books: Books, most: int = MOST_LINES) -> tuple[Books, int]:
    """Return at most so many lines of the books, and how many were left out.

    Those that do not balance go first, then those with messages under way, and then the
    order of the books decides. A peer without lines takes the place of one.
    """
    entries: list[tuple[str, str, str]] = []
    for peer, lines in books.items():
        mine = [(peer, way, channel) for way, channels in lines.items() for channel in channels]
        entries += mine or [(peer, "", "")]
    if len(entries) <= most:
        return books, 0

    def importance(entry: tuple[str, str, str]) -> int:
        peer, way, channel = entry
        line = books[peer][way][channel] if way else {"balanced": True}
        if not line["balanced"]:
            return 0
        return 1 if any(line.get(key) for key in _UNDER_WAY) else 2

    kept = set(sorted(entries, key=importance)[:most])
    shown: Books = {}
    for peer, lines in books.items():
        mine_kept = {
            way: {name: line for name, line in channels.items() if (peer, way, name) in kept}
            for way, channels in lines.items()
        }
        if any(mine_kept.values()) or (peer, "", "") in kept:
            shown[peer] = mine_kept
    return shown, len(entries) - most


def is_balanced(books: Books) -> bool:
    """Say whether every line balances."""
    return all(
        line["balanced"]
        for lines in books.values()
        for channels in lines.values()
        for line in channels.values()
    )


def clipped(channel: str) -> str:
    """Return the name under which a channel is in the books; very long ones share a line."""
    return channel if len(channel) <= MAX_NAME else f"{channel[: MAX_NAME - 1]}…"
