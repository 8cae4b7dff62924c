"""What comes from one sender: in order, each message once. Pure.

``seen`` is all that is needed to tell what is new: a run that would leave a gap is not taken,
so everything below was taken before, or was settled before this member came.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Raw

from mesh.protocol.ring.records import FRAME_TARGET, MAX_WINDOW, Run

MOST_KEPT: Final = 2 * MAX_WINDOW
"""Messages of a sender that are kept for slow handlers: a window, and one that the sender gave up."""


class Lane:
    """Messages of one incarnation of one sender, on their way through this member.

    Args:
        room: Most messages that the handlers have in hand.

    Attributes:
        seen: Highest number that was taken.
        in_hand: Messages that were delivered and are not handled yet.

    """

    __slots__ = ("_base", "_delivered", "_queue", "_room", "in_hand", "seen")

    def __init__(self, room: int) -> None:
        self._room = room
        self._queue: deque[Run] = deque()
        self._base = 0
        self._delivered = 0
        self.seen = 0
        self.in_hand = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way here."""
        return not self._queue and not self.in_hand

    @property
    def kept(self) -> int:
        """Messages that were taken, and that the handlers have no room for yet."""
        return sum(max(run.last - max(run.first - 1, self._delivered), 0) for run in self._queue)

    def take(self, run: Run) -> tuple[int, int] | None:
        """Take a run.

        Returns:
            How many messages were new, and how many were not; ``None`` if some are missing
            before it, or too many are here, so that it was not taken.

        """
        self._base = max(self._base, run.base)
        if run.first > self.seen + 1 and run.first != run.base:
            return None
        if self._queue and run.last - self._queue[0].first >= MOST_KEPT:
            return None
        fresh = max(run.first, self.seen + 1)
        old_end = min(fresh, run.last + 1)
        if self._queue:
            # Of what is still here one copy goes on, and that is enough; but as one of this trip, for
            # the members of an earlier one may stand elsewhere now, and would take it for astray.
            if self._queue[0].first < fresh:
                self._renew(run)
            old_end = min(old_end, self._queue[0].first)
        if run.first < old_end:
            self._queue.appendleft(run.part(run.first, old_end))
            # Whether it was delivered, or settled before this member came: it is not to be now.
            self._delivered = max(self._delivered, old_end - 1)
        new = run.last + 1 - fresh
        if new > 0:
            self._queue.append(run if fresh == run.first else run.part(fresh, run.last + 1))
            self.seen = run.last
        return max(new, 0), len(run.items) - max(new, 0)

    def clear(self) -> int:
        """Forget what is on its way; return how many of it were not delivered."""
        kept = self.kept
        self._queue.clear()
        return kept

    def _renew(self, run: Run) -> None:
        """Let what is here of a run that came again have come with it."""
        queue, self._queue = self._queue, deque()
        for old in queue:
            begin, end = max(old.first, run.first), min(old.last, run.last) + 1
            if begin >= end:
                self._queue.append(old)
                continue
            if old.first < begin:
                self._queue.append(old.part(old.first, begin))
            renewed = old.part(begin, end)
            renewed.hops = run.hops
            self._queue.append(renewed)
            if end <= old.last:
                self._queue.append(old.part(end, old.last + 1))

    def deliver(self) -> list[Raw]:
        """Return the messages of the first run that are now to be handled."""
        if not self._queue or self.in_hand > self._room // 2:
            # Not for each place that gets free: what is let through in handfuls travels in handfuls.
            return []
        run = self._queue[0]
        begin = max(run.first, self._delivered + 1)
        count = min(run.last + 1 - begin, self._room - self.in_hand)
        if count <= 0:
            return []
        self.in_hand += count
        self._delivered = begin + count - 1
        return run.items[begin - run.first : begin - run.first + count]

    def forward(self) -> Run | None:
        """Return what may go on to the successor, joined if it was sent in pieces, and forget it."""
        run = self._next()
        if run is None:
            return None
        pieces = [run]
        size = sum(map(len, run.items))
        while self._queue and size < FRAME_TARGET:
            head = self._queue[0]
            if (
                head.first != pieces[-1].last + 1
                or head.hops != run.hops
                or head.last - run.first >= MAX_WINDOW
            ):
                break
            following = self._next()
            if following is None:
                break
            pieces.append(following)
            size += sum(map(len, following.items))
        # The newest base that is known: a copy that waited here is the only one that goes on, and who
        # has missed what was settled meanwhile takes it only if it is told so.
        run.base = max(run.base, min(self._base, run.first))
        if len(pieces) > 1:
            run.items = [item for piece in pieces for item in piece.items]
        return run

    def _next(self) -> Run | None:
        """Take the first run off the queue, as far as it was delivered."""
        if not self._queue or self._queue[0].first > self._delivered:
            return None
        run = self._queue.popleft()
        if run.last > self._delivered:
            self._queue.appendleft(run.part(self._delivered + 1, run.last + 1))
            run = run.part(run.first, self._delivered + 1)
        return run
