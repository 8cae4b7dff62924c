"""The lines in the books of who publishes and of who subscribes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from mesh.protocol.link.ledger import OTHERS

if TYPE_CHECKING:
    from mesh.protocol.fanout.cursor import Cursor

L = TypeVar("L")


def book(lines: dict[str, L], channel: str, new: Callable[[], L], most: int) -> L:
    """Return the line of a channel; beyond so many, further channels share one."""
    if channel not in lines and len(lines) >= most:
        channel = OTHERS
    return lines.setdefault(channel, new())


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
