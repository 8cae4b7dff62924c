"""Runs: messages that were sent together, kept as the bytes they travel in.

A run is the unit of all bookkeeping of a sender. It has one owner and one deadline, is
encoded once, and is cut only in the rare cases that need it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, Final

from msgspec import Struct

from mesh.protocol.link.records import LARGE, pieces


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a sender wants of the delivery of its messages.

    Attributes:
        patience: Seconds to wait for an absent peer before the messages fail;
            ``None`` waits for ever.
        ack_timeout: Seconds to wait for the answer, from the first transmission, or for
            credit that only messages hold that were given up; ``None`` waits for ever.
        at_most_once: Rather fail than send again to a restarted peer.
        from_start: Whether ``ack_timeout`` counts from when a message is given to the link.

    """

    patience: float | None = 10.0
    ack_timeout: float | None = None
    at_most_once: bool = False
    from_start: bool = False

    def due(self, now: float) -> float:
        """Return when the answer to a message that is given now is due, as far as that is known."""
        return now + self.ack_timeout if self.from_start and self.ack_timeout is not None else inf


IN_SESSION: Final = Delivery(patience=None, at_most_once=True)
"""In the session in which it is sent or not at all, however long that is without a connection."""


class Run(Struct, eq=False):
    """Some messages of one owner.

    Attributes:
        owner: Whose they are.
        delivery: What the owner wants.
        since: When they were given to the link.
        due: When their answer is due; ``inf`` if never or not transmitted yet.
        first: Number of the first one that is not answered; 0 if never transmitted.
        count: How many are not answered.
        skip: How many at the front of ``body`` are answered.
        body: The encoded messages without array head; ``None`` once they were given up.
        size: Bytes that count in the window, until all are answered.
        sent_before: Whether an earlier incarnation of the peer may have handled it.

    """

    owner: Any
    delivery: Delivery
    since: float
    count: int
    body: bytes | None
    size: int
    due: float = inf
    first: int = 0
    skip: int = 0
    sent_before: bool = False

    def deadline(self, lost_at: float | None) -> float:
        """Return when the run fails; ``lost_at`` is since when there is no connection."""
        if self.body is None:
            return inf
        patience = self.delivery.patience
        if lost_at is None or patience is None:
            return self.due
        return min(self.due, max(self.since, lost_at) + patience)

    @property
    def large(self) -> bool:
        """Whether it is a single message that should travel in a frame of its own."""
        return self.size > LARGE and self.count + self.skip == 1

    def trim(self) -> None:
        """Drop what is answered from the bytes, so that they can be sent again."""
        if self.skip and self.body is not None:
            self.body = b"".join(pieces(self.skip + self.count, self.body)[self.skip :])
        self.skip = 0

    def split(self, count: int, size: int) -> list[Run]:
        """Cut off what fits into a window of ``count`` messages and ``size`` bytes, and return all parts."""
        if self.body is None or self.count == 1:
            return [self]
        parts: list[list[bytes]] = []
        total = 0
        for n, piece in enumerate(pieces(self.count, self.body)):
            total += len(piece)
            if n in (0, count) or total > size:
                parts.append([])
                total = len(piece)
            parts[-1].append(piece)
        return [
            Run(
                self.owner,
                self.delivery,
                self.since,
                len(part),
                b"".join(part),
                sum(map(len, part)),
                due=self.due,
                sent_before=self.sent_before,
            )
            for part in parts
        ]
