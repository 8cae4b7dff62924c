"""How much of everything there may be."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

_MAY_BE_NONE: Final = ("away", "kept", "kept_bytes")

TOO_LARGE: Final = 256 * 1024
"""Bytes above which what a client sends is not even taken, and the connection closed."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of a hall; whoever reaches one is told, and nobody else notices.

    Attributes:
        name: Characters of the name of a user or a room.
        message: Characters of one chat message.
        users: Users, those who are away included.
        rooms: Rooms.
        members: Members of a room.
        rooms_each: Rooms that one user is in.
        rate: Commands a second that a user may send for long.
        burst: Commands that a user may send at once after a rest.
        waiting: Messages that wait for a member that does not read.
        waiting_bytes: Their bytes.
        kept: Messages of a room that are kept for members who are away.
        kept_bytes: Their bytes.
        away: Seconds for which a user who lost the connection keeps name and rooms.
        announced: Members up to which a room is told who comes and goes.
        command: Bytes of one command.
        strangers: Connections from one address that have not said who they are.
        silence: Seconds that a connection may take to say so.

    Raises:
        ValueError: If one of them lets nobody do anything.

    """

    name: int = 32
    message: int = 4096
    users: int = 20_000
    rooms: int = 10_000
    members: int = 10_000
    rooms_each: int = 50
    rate: float = 20.0
    burst: int = 60
    waiting: int = 512
    waiting_bytes: int = 512 * 1024
    kept: int = 200
    kept_bytes: int = 256 * 1024
    away: float = 300.0
    announced: int = 100
    command: int = 64 * 1024
    strangers: int = 256
    silence: float = 10.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if not (value > 0 or (value == 0 and name in _MAY_BE_NONE)):
                least = "at least 0" if name in _MAY_BE_NONE else "more than 0"
                raise ValueError(f"{name} is {value:g}; it is {least}")


class Allowance:
    """How much somebody may say: so much at once, and after that so much a second (a token bucket).

    Args:
        rate: Commands a second.
        burst: Commands at once.

    """

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left = float(burst)
        self._since: float | None = None

    def spend(self, now: float) -> float:
        """Use one command up; return 0, or the seconds to wait if there is none left."""
        if self._since is not None:
            self._left = min(self._left + (now - self._since) * self._rate, float(self._burst))
        self._since = now
        if self._left < 1:
            return (1 - self._left) / self._rate
        self._left -= 1
        return 0.0
