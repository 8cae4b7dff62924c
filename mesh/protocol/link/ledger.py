"""The ledger: what became of every message, per peer and channel; always on.

Counted per batch, so it costs nothing per message. The number in flight is not
derived from the other numbers but counted from the messages that are really there:
that is what makes a balance mean something.
"""

from __future__ import annotations

import re
from collections.abc import Container
from itertools import islice
from typing import Any, Final

from mesh.protocol.link.events import Reason

OTHERS: Final = "(others)"
"""The line that holds the sums of channels whose own line was folded away."""

PARTS: Final = "$part"
"""The line of all channels ``$part/ID``: each is for one ask alone, so there are very many."""

_READER: Final = re.compile(r"\$pub\.[0-9]+/")

_KEPT: Final = (OTHERS, PARTS)

_LOOKS: Final = 8
"""Old lines that are looked at for one to fold, when a new one is made."""


def line_of(channel: str) -> str:
    """Return the name of a channel's line."""
    if channel.startswith("$p"):
        if channel.startswith("$part/"):
            return PARTS
        # All subscriptions of one peer to one channel.
        return _READER.sub("$pub/", channel, count=1)
    return channel


class Sent:
    """The sender's line of one channel."""

    __slots__ = (
        "acked",
        "cancelled",
        "failed",
        "late_acked",
        "late_refused",
        "late_skipped",
        "refused",
        "sent",
        "unknown",
    )

    def __init__(self) -> None:
        self.sent = 0
        self.acked = 0
        self.refused = 0
        self.cancelled = 0
        self.failed: dict[str, int] | None = None
        self.late_acked = 0
        self.late_refused = 0
        self.late_skipped = 0
        self.unknown = 0

    def fail(self, count: int, reason: str) -> None:
        """Count messages that were given up, for a ``Reason`` or another one of few."""
        if reason == Reason.CANCELLED:
            self.cancelled += count
            return
        if self.failed is None:
            self.failed = {}
        reason = str(reason)  # plain text, and no member of an enum
        self.failed[reason] = self.failed.get(reason, 0) + count

    def snapshot(self, in_flight: int) -> dict[str, object]:
        """Return the line as a plain dict."""
        failed = dict(self.failed or {})
        settled = self.acked + self.refused + sum(failed.values()) + self.cancelled
        return {
            "sent": self.sent,
            "acked": self.acked,
            "refused": self.refused,
            "failed": failed,
            "cancelled": self.cancelled,
            "in_flight": in_flight,
            "late_acked": self.late_acked,
            "late_refused": self.late_refused,
            "late_skipped": self.late_skipped,
            "unknown": self.unknown,
            "balanced": self.sent == settled + in_flight,
        }

    def add(self, other: Sent) -> None:
        """Take over the numbers of another line."""
        for field in Sent.__slots__:  # not those that a kind of line adds
            if field == "failed":
                continue
            setattr(self, field, getattr(self, field) + getattr(other, field))
        for reason, count in (other.failed or {}).items():
            self.fail(count, reason)


class Taken:
    """The receiver's line of one channel."""

    __slots__ = ("abandoned", "duplicates", "handled", "received", "refused", "turned_away")

    def __init__(self) -> None:
        self.received = 0
        self.handled = 0
        self.refused = 0
        self.duplicates = 0
        self.abandoned = 0
        self.turned_away = 0

    def snapshot(self, in_hand: int) -> dict[str, object]:
        """Return the line as a plain dict."""
        done = self.handled + self.refused + self.duplicates + self.abandoned
        return {
            "received": self.received,
            "handled": self.handled,
            "refused": self.refused,
            "duplicates": self.duplicates,
            "in_hand": in_hand,
            "abandoned": self.abandoned,
            "turned_away": self.turned_away,
            "balanced": self.received == done + in_hand,
        }

    def add(self, other: Taken) -> None:
        """Take over the numbers of another line."""
        for field in Taken.__slots__:  # not those that a kind of line adds
            setattr(self, field, getattr(self, field) + getattr(other, field))


class Ledger:
    """Every line of one link. It outlives sessions, connections and channels.

    Args:
        most: Lines kept per direction; beyond it the line of a channel that is
            not in use is folded into ``(others)``.

    """

    __slots__ = ("_most", "sent", "taken")

    def __init__(self, most: int) -> None:
        self._most = most
        self.sent: dict[str, Sent] = {}
        self.taken: dict[str, Taken] = {}

    def sender(self, channel: str, busy: Container[str]) -> Sent:
        """Return the sender's line of a channel; lines of ``busy`` channels are never folded."""
        channel = line_of(channel)
        line = self.sent.get(channel)
        if line is None:
            if len(self.sent) >= self._most:
                idle = _oldest_idle(self.sent, busy)
                if idle is not None:
                    self.sent.setdefault(OTHERS, Sent()).add(self.sent.pop(idle))
            # A channel may really have that name, and the line have been made just now.
            line = self.sent.setdefault(channel, Sent())
        return line

    def receiver(self, channel: str, busy: Container[str]) -> Taken:
        """Return the receiver's line of a channel; lines of ``busy`` channels are never folded."""
        channel = line_of(channel)
        line = self.taken.get(channel)
        if line is None:
            if len(self.taken) >= self._most:
                idle = _oldest_idle(self.taken, busy)
                if idle is not None:
                    self.taken.setdefault(OTHERS, Taken()).add(self.taken.pop(idle))
            line = self.taken.setdefault(channel, Taken())
        return line


def _oldest_idle(lines: dict[str, Any], busy: Container[str]) -> str | None:
    """Return the oldest line that may be folded; the first few, if they may not, become the youngest."""
    for name in list(islice(lines, _LOOKS)):
        if name not in busy and name not in _KEPT:
            return name
        lines[name] = lines.pop(name)
    return None
