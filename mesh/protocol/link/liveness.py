"""Liveness: when to give a sign of life, and when silence means death. Pure.

Rules:

- Any bytes from the peer prove that it lives, whether or not a frame is complete.
- Whoever was asleep must not accuse. When a verdict comes much later than it was due, this
  process itself was stopped (SIGSTOP, a blocking handler): what the peer sent meanwhile may
  still wait in the socket. So the peer gets two more heartbeats, once.
"""

from __future__ import annotations

from math import inf


class Liveness:
    """The signs of life of one connection.

    Args:
        heartbeat: Seconds without sending after which an empty frame is due.
        timeout: Seconds without hearing anything after which the peer is judged silent.
        now: When the connection began.

    """

    __slots__ = ("_beat_at", "_forgiven", "_judge_at", "heard_at", "heartbeat", "timeout")

    def __init__(self, heartbeat: float, timeout: float, now: float) -> None:
        self.heartbeat = heartbeat
        self.timeout = timeout
        self.heard_at = now
        self._beat_at = now + heartbeat
        self._judge_at = now + timeout
        self._forgiven = False

    def heard(self, now: float) -> None:
        """Note that bytes arrived."""
        self.heard_at = now
        self._forgiven = False
        if self._judge_at == inf:
            # The verdict was overruled: bytes of an unfinished frame came. Judge again.
            self._judge_at = now + self.timeout

    def sent(self, now: float) -> None:
        """Note that a frame was sent."""
        self._beat_at = now + self.heartbeat

    def next_deadline(self) -> float:
        """Return when to look again."""
        return min(self._beat_at, self._judge_at)

    def beat_due(self, now: float) -> bool:
        """Say whether a sign of life is due; it is then not due again for a while."""
        if now < self._beat_at:
            return False
        self._beat_at = now + self.heartbeat
        return True

    def silence(self, now: float) -> float | None:
        """Return for how long the peer was silent, once, when it was too long."""
        if now < self._judge_at:
            return None
        due = self.heard_at + self.timeout
        if now < due:
            # It was heard since: the judge's alarm is moved lazily, so that hearing costs nothing.
            self._judge_at = due
            return None
        if not self._forgiven and now - self._judge_at > self.heartbeat:
            self._forgiven = True
            self._judge_at = now + 2 * self.heartbeat
            return None
        self._judge_at = inf
        return now - self.heard_at


def agree(mine: tuple[float, float], theirs: tuple[float, float]) -> tuple[float, float]:
    """Return heartbeat and timeout that two ends use who proposed these."""
    heartbeat = min(max(min(mine[0], theirs[0]), 0.05), 30.0)
    timeout = min(max(min(mine[1], theirs[1]), 0.1), 120.0)
    return heartbeat, max(timeout, 2 * heartbeat)
