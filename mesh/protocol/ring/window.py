"""The messages of this member that have no receipt yet. Pure."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any

from msgspec import Raw, Struct

from mesh.protocol.ring.records import FRAME_TARGET, MAX_WINDOW


class Entry(Struct, eq=False):
    """One message.

    Attributes:
        owner: What ``circulate()`` was given; ``None`` once it was given up.
        item: The message, encoded.
        size: Its bytes.
        since: When it was given to the ring.
        due: When it is given up.

    """

    owner: Any
    item: Raw
    size: int
    since: float
    due: float


class Window:
    """Numbers messages, and remembers them until they were round.

    Args:
        limit: Most messages at once.
        size_limit: Most bytes at once; one message of any size may go alone.

    Attributes:
        base: Number of the first message without a receipt.
        sent: Number of the message to be sent next.

    """

    def __init__(self, limit: int, size_limit: int) -> None:
        if not 1 <= limit <= MAX_WINDOW:
            raise ValueError(f"limit must be from 1 to {MAX_WINDOW}, got {limit}")
        self._limit = limit
        self._size_limit = size_limit
        self._size = 0
        self._entries: deque[Entry] = deque()
        # Not after the first deadline there is; moved lazily, so that a receipt costs nothing.
        self._alarm = inf
        self.base = 1
        self.sent = 1

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def next(self) -> int:
        """The number that the next message gets."""
        return self.base + len(self._entries)

    @property
    def has_room(self) -> bool:
        """Whether one more message may be added."""
        return len(self._entries) < self._limit and self._size < self._size_limit

    def add(self, entry: Entry) -> None:
        """Add a message at the end."""
        self._entries.append(entry)
        self._size += entry.size
        self._alarm = min(self._alarm, entry.due)

    def unsent(self) -> tuple[int, list[Raw]] | None:
        """Return the number and the items of the next messages to send, about one frame; ``None`` of none."""
        items: list[Raw] = []
        first, size = self.sent, 0
        while self.sent < self.next:
            entry = self._entries[self.sent - self.base]
            size += entry.size
            if items and size > FRAME_TARGET:
                break
            items.append(entry.item)
            self.sent += 1
        return (first, items) if items else None

    def rewind(self) -> None:
        """Send everything again."""
        self.sent = self.base

    def returned(self, first: int, last: int) -> list[Any] | None:
        """Take note that these were round; return their owners, or ``None`` if that settles nothing."""
        if first > self.base or last < self.base or last >= self.next:
            return None
        owners = [entry.owner for entry in (self._pop() for _ in range(last - self.base + 1))]
        return [owner for owner in owners if owner is not None]

    def overdue(self, now: float) -> list[Entry]:
        """Return what is to be given up now, once."""
        if now < self._alarm:
            return []
        waiting = self.all()
        self._alarm = min((entry.due for entry in waiting if entry.due > now), default=inf)
        return [entry for entry in waiting if entry.due <= now]

    def give_up(self, entry: Entry) -> None:
        """Settle a message without a receipt; it may still come round."""
        entry.owner = None
        while self._entries and self._entries[0].owner is None:
            self._pop()

    def find(self, owner: Any) -> Entry | None:
        """Return the message of an owner."""
        return next((entry for entry in self._entries if entry.owner is owner), None)

    def all(self) -> list[Entry]:
        """Return everything that is not given up."""
        return [entry for entry in self._entries if entry.owner is not None]

    def next_due(self) -> float:
        """Return when to look for what is overdue."""
        return self._alarm

    def _pop(self) -> Entry:
        entry = self._entries.popleft()
        self._size -= entry.size
        self.base += 1
        self.sent = max(self.sent, self.base)
        return entry
