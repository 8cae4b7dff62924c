"""One connection to a neighbour, or to who may become one. Pure bookkeeping."""

from __future__ import annotations

import enum
from math import inf
from typing import Final

from mesh.protocol.link.liveness import Liveness
from mesh.protocol.ring.records import HEARTBEAT_FRAME, frames

MOST_PROBES: Final = 2
"""Dials to a neighbour of which nothing is heard."""


class Stage(enum.Enum):
    """Where a connection stands."""

    DIALLING = "dialling"
    """It is being opened."""
    GREETING = "greeting"
    """HELLO or WELCOME has not come yet."""
    OPEN = "open"
    """Both ends know each other."""


class Connection:
    """What is known of one connection.

    Args:
        id: What it is called.
        name: Who is at the other end; empty until its ``HELLO``.
        outward: Whether this member dialled it.
        due: Until when it has to be open.

    Attributes:
        incarnation: Which process of that name.
        going: Whether the other end said ``BYE``.
        writable: Whether it takes messages.
        sent_at: When something was sent last.
        probes: How often the other end was dialled again since it was heard.

    """

    __slots__ = (
        "_out",
        "due",
        "going",
        "id",
        "incarnation",
        "life",
        "name",
        "outward",
        "probes",
        "sent_at",
        "stage",
        "writable",
    )

    def __init__(self, id: int, name: str, due: float, *, outward: bool) -> None:
        self.id = id
        self.name = name
        self.incarnation = ""
        self.outward = outward
        self.stage = Stage.DIALLING if outward else Stage.GREETING
        self.due = due
        self.life: Liveness | None = None
        self.going = False
        self.writable = True
        self.sent_at = 0.0
        self.probes = 0
        self._out: list[bytes] = []

    def open(self, heartbeat: float, timeout: float, now: float) -> None:
        """Both ends know each other now."""
        self.stage = Stage.OPEN
        self.due = inf
        # Who was dialled answers heartbeats; its own timer is for when none comes.
        self.life = Liveness(heartbeat if self.outward else 1.5 * heartbeat, timeout, now)

    def put(self, record: bytes) -> None:
        """Send a record with the next frame."""
        self._out.append(record)

    def take_frames(self, now: float) -> list[bytes]:
        """Return what is to be sent."""
        if not self._out:
            return []
        out, self._out = self._out, []
        self._sent(now)
        return frames(out)

    def _sent(self, now: float) -> None:
        self.sent_at = now
        if self.life is not None:
            self.life.sent(now)

    def beat(self, now: float) -> list[bytes]:
        """Return a heartbeat if one is due."""
        if self.life is not None and self.life.beat_due(now) and not self._out:
            self._sent(now)
            return [HEARTBEAT_FRAME]
        return []

    def answer(self, now: float, heartbeat: float) -> list[bytes]:
        """Return a heartbeat in answer to one: it takes TCP's acknowledgement with it."""
        if self.outward or self.stage is not Stage.OPEN or self._out or now - self.sent_at < heartbeat / 2:
            return []
        self._sent(now)
        return [HEARTBEAT_FRAME]

    def heard(self, now: float) -> None:
        """Take note of a sign of life."""
        if self.life is not None:
            self.life.heard(now)
            self.probes = 0

    def probe_at(self, suspect: float) -> float:
        """Return when the other end is to be dialled again, because nothing is heard of it."""
        if self.life is None or self.probes >= MOST_PROBES:
            return inf
        return self.life.heard_at + suspect * (1 + self.probes / 3)

    def next_deadline(self) -> float:
        """Return when to look at it again."""
        return min(self.due, self.life.next_deadline()) if self.life is not None else self.due

    def why_dead(self, now: float) -> str | None:
        """Return why it is to be given up, if it is."""
        if now >= self.due:
            what = "no answer" if self.outward else "no HELLO came"
            self.due = inf
            return what
        silence = self.life.silence(now) if self.life is not None else None
        return None if silence is None else f"nothing was heard for {silence:.2f} s"
