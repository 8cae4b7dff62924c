"""One room: its members, and the messages that are kept for those who are away."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from factory.rooms.hall import User


class Kept(NamedTuple):
    """A message that is kept.

    Attributes:
        number: Its number in the room.
        sender: Who said it.
        data: As members get it.

    """

    number: int
    sender: User
    data: bytes


class Room:
    """A room.

    Args:
        name: Its name.
        most: Messages that are kept.
        most_bytes: Their bytes.

    Attributes:
        members: Who is in it; ``True`` for those who get their own messages, too.
        last: Number of the last message; 0 before the first.

    """

    __slots__ = ("_bytes", "_kept", "_most", "_most_bytes", "last", "members", "name")

    def __init__(self, name: str, most: int, most_bytes: int) -> None:
        self.name = name
        self.members: dict[User, bool] = {}
        self.last = 0
        self._kept: deque[Kept] = deque()
        self._bytes = 0
        self._most = most
        self._most_bytes = most_bytes

    def keep(self, sender: User, data: bytes) -> None:
        """Keep the last message, and forget old ones for it."""
        kept = self._kept
        kept.append(Kept(self.last, sender, data))
        self._bytes += len(data)
        while len(kept) > self._most or self._bytes > self._most_bytes:
            self._bytes -= len(kept.popleft().data)

    def since(self, number: int) -> tuple[int, list[Kept]]:
        """Return how many messages after a number are forgotten, and those that are kept."""
        later = [kept for kept in self._kept if kept.number > number]
        first = later[0].number if later else self.last + 1
        return max(first - number - 1, 0), later
