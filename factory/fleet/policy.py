"""When a node that has ended by itself is started again, and when it is given up.

Numbers of the default, and why: half a second before the first try, for what failed at once will most
likely fail at once again; doubled from try to try up to 30 s, so that a node that waits for a
device costs nothing; given up after 5 ends within 60 s, which is a crash loop to everybody who looks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from mesh.node import Restart

MOST_DELAY = 30.0
"""Seconds that no delay exceeds."""


@dataclass(frozen=True, slots=True)
class Again:
    """It is started again.

    Attributes:
        delay: Seconds until then.

    """

    delay: float


@dataclass(frozen=True, slots=True)
class Rest:
    """It has ended, and that is all right."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It is not started again.

    Attributes:
        why: For people.

    """

    why: str


Decision = Again | Rest | GiveUp


@dataclass(slots=True)
class Tries:
    """The ends of one node.

    Attributes:
        restart: Its policy.

    """

    restart: Restart
    _ends: deque[float] = field(default_factory=deque)
    _delay: float = 0.0

    def ended(self, now: float, *, failed: bool) -> Decision:
        """Return what follows of an end that nobody asked for.

        Args:
            now: The time, in seconds.
            failed: Whether it was a failure: another exit code than 0, a signal, or not ready in time.

        """
        restart = self.restart
        if restart.policy == "never":
            return GiveUp("it is never started again (restart: never)") if failed else Rest()
        if restart.policy == "on-failure" and not failed:
            return Rest()
        while self._ends and self._ends[0] <= now - restart.window:
            self._ends.popleft()
        if not self._ends:
            self._delay = min(restart.delay, MOST_DELAY)
        self._ends.append(now)
        if len(self._ends) >= restart.most:
            times = "once" if restart.most == 1 else f"{restart.most} times"
            return GiveUp(f"it has ended {times} within {restart.window:g} s")
        delay, self._delay = self._delay, min(self._delay * 2, MOST_DELAY)
        return Again(delay)

    def forget(self) -> None:
        """Begin anew, for somebody asked for a start."""
        self._ends.clear()
