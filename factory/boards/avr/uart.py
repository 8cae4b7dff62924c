"""The UART of firmware, seen from outside: what waits for RX, and lines of what TX sends."""

from __future__ import annotations

from collections.abc import Callable

MOST_WAITING = 4096
"""Bytes that wait for RX. Who can wait, waits with more; of others' the rest is dropped, and counted."""

FASTEST = 12_000
"""Bytes a second that RX is handed at most: a little more than 115,200 baud carry.

Firmware that listens more slowly has them wait, and in the end lost, in the line of the engine."""

LONGEST_LINE = 1024
"""Bytes of a line; one that is longer is cut in pieces."""


def room_for(cycles: int, hertz: int) -> int:
    """Return how many bytes RX is handed before a slice of so many cycles."""
    return 1 + cycles * FASTEST // hertz


class Inbox:
    """Bytes that wait for RX, whoever sent them.

    Attributes:
        lost: Bytes that were dropped, for there was no room.
        taken: Called when there is more room.

    """

    def __init__(self) -> None:
        self.lost = 0
        self.taken: Callable[[], object] = lambda: None
        self._waiting = bytearray()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def room(self) -> int:
        """How many bytes more it takes."""
        return MOST_WAITING - len(self._waiting)

    def put(self, data: bytes) -> int:
        """Take bytes, and return how many of them."""
        taken = min(len(data), self.room)
        self.lost += len(data) - taken
        self._waiting += data[:taken]
        return taken

    def take(self, most: int) -> bytes:
        """Return the bytes that are next."""
        data = bytes(self._waiting[:most])
        if data:
            del self._waiting[:most]
            self.taken()
        return data

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self.taken()


class Lines:
    """Makes lines of text of bytes as they come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Take bytes, and return the lines that end in them, without their ends.

        What is no text is replaced: firmware may send anything.
        """
        *lines, rest = (self._rest + data).split(b"\n")
        lines = [piece for line in lines for piece in _pieces(line.removesuffix(b"\r"))]
        if len(rest) > LONGEST_LINE:
            *cut, rest = _pieces(rest)
            lines += cut
        self._rest = rest
        return [line.decode(errors="replace") for line in lines]

    def clear(self) -> None:
        """Forget the line that has begun."""
        self._rest = b""


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + LONGEST_LINE] for at in range(0, max(len(line), 1), LONGEST_LINE)]
