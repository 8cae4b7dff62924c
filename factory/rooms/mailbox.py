"""What waits for one client: bounded, and what it has no room for is counted by room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from factory.rooms.vocabulary import event


class Mailbox:
    """Messages for one client, in order.

    A message of a room that is full makes room by dropping the oldest messages of rooms; of these the
    client is told how many it has missed, before it gets what is left. Answers are never dropped: who
    does not read them is not asked for more, see ``is_full``.

    Args:
        most: Messages that may wait.
        most_bytes: Their bytes.
        wake: Called when something waits and nothing did before.

    Attributes:
        dropped: Messages that were dropped so far.
        taken: Messages of rooms that were handed over so far.

    """

    __slots__ = ("_bytes", "_chats", "_most", "_most_bytes", "_queue", "_wake", "dropped", "missed", "taken")

    def __init__(self, most: int, most_bytes: int, wake: Callable[[], object]) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._wake = wake
        self._queue: deque[tuple[str | None, bytes]] = deque()
        self._bytes = 0
        self._chats = 0
        self.missed: dict[str, int] = {}
        self.dropped = 0
        self.taken = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def pending(self) -> int:
        """Messages of rooms that wait."""
        return self._chats

    @property
    def is_full(self) -> bool:
        """Whether the client is to read before it may say more."""
        return len(self._queue) - self._chats >= self._most or self._bytes >= 2 * self._most_bytes

    def answer(self, data: bytes) -> None:
        """Add what the client alone is told."""
        self._put(None, data)

    def put(self, room: str, data: bytes) -> None:
        """Add a message of a room."""
        self._put(room, data)
        self._chats += 1
        if self._chats > self._most or self._bytes > self._most_bytes:
            self._make_room()

    def _put(self, room: str | None, data: bytes) -> None:
        queue = self._queue
        queue.append((room, data))
        self._bytes += len(data)
        if len(queue) == 1:
            self._wake()

    def _make_room(self) -> None:
        answers: list[tuple[str | None, bytes]] = []
        queue = self._queue
        # The newest stays, however large it is.
        while self._chats > 1 and (self._chats > self._most or self._bytes > self._most_bytes):
            room, data = queue.popleft()
            if room is None:
                answers.append((room, data))
                continue
            self._bytes -= len(data)
            self._chats -= 1
            self.dropped += 1
            self.missed[room] = self.missed.get(room, 0) + 1
        queue.extendleft(reversed(answers))

    def take(self, most_bytes: int) -> list[bytes]:
        """Return what goes to the client next, at least one message if there is one.

        Args:
            most_bytes: Bytes from which on nothing more is added.

        """
        out: list[bytes] = []
        size = 0
        if self.missed:
            out = [event("missed", room=room, count=count) for room, count in self.missed.items()]
            self.missed.clear()
        queue = self._queue
        while queue and size < most_bytes:
            room, data = queue.popleft()
            size += len(data)
            if room is not None:
                self._chats -= 1
                self.taken += 1
            out.append(data)
        self._bytes -= size
        return out

    def close(self) -> int:
        """Drop what waits, and return how many messages of rooms that were."""
        left = self._chats
        self._queue.clear()
        self._bytes = self._chats = 0
        return left
