"""Looks for a successor, and for members of the gap when there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING

from mesh.protocol.ring.order import Order
from mesh.protocol.ring.search import Search
from mesh.protocol.ring.settings import RingSettings

if TYPE_CHECKING:
    from random import Random


class Seeker:
    """Says whom to dial, and when.

    Args:
        order: The members.
        settings: The pauses.
        random: Where the jitter of the probes comes from.
        dial: Dials a member at a time, unless it is being dialled.
        is_wanted: Says whether a member would be a better successor than the one there is.

    A search may go on while there is a successor: one that has said goodbye, or is farther than some
    that have not answered yet.

    """

    def __init__(
        self,
        order: Order,
        settings: RingSettings,
        random: Random,
        dial: Callable[[str, float], object],
        is_wanted: Callable[[str], bool],
    ) -> None:
        self._order = order
        self._settings = settings
        self._random = random
        self._dial = dial
        self._is_wanted = is_wanted
        self._search: Search | None = None
        self._rolled: dict[str, float] = {}
        self._probe_at = inf
        self._probed = 0

    @property
    def is_seeking(self) -> bool:
        """Whether a search is under way."""
        return self._search is not None

    def saw_roll(self, sender: str, now: float) -> None:
        """Take note of a roll: who has just lost its predecessor is most likely the one behind the gap."""
        self._rolled[sender] = now

    def begin(self, now: float, known: Sequence[str], *, first: str, lost: str, may_live: bool) -> None:
        """Begin a search; ``go_on()`` is to follow.

        Args:
            now: The time.
            known: Those that were told to be alive.
            first: Who is to be dialled first, or ``""``.
            lost: Who was the successor, or ``""``.
            may_live: Whether that one is to be dialled again, if only after all others.

        """
        recent = [name for name, at in self._rolled.items() if now - at < self._settings.recent]
        recent.sort(key=self._rolled.__getitem__, reverse=True)
        alive = [name for name in (*recent, *known) if name != lost]
        others = [name for name in self._order.others if name != lost]
        if lost and may_live:
            others.append(lost)
        if first:
            alive.insert(0, first)
        self._search = Search(alive, others, self._settings.stagger, self._settings.spread, now)
        self._probe_at = inf

    def go_on(self, now: float) -> None:
        """Dial those whose turn it is."""
        search = self._search
        while search is not None and (name := search.due(now)) is not None:
            if self._is_wanted(name):
                self._dial(name, now)
            else:
                search.failed(name, now)

    def dialled(self, name: str, now: float) -> None:
        """Take note that nothing more is to be expected of a dial."""
        if self._search is not None:
            self._search.failed(name, now)

    def is_over(self) -> bool:
        """Say, once, whether everybody was dialled and nothing is to be expected any more."""
        if self._search is None or not self._search.is_over:
            return False
        self._search = None
        return True

    def watch(self, now: float) -> None:
        """Look at the gap from now on, the nearest of it first."""
        self._probed = 0
        self._probe_at = now + self._pause()

    def probe(self, now: float, gap: Sequence[str]) -> None:
        """Dial one of the gap, if it is time."""
        if now < self._probe_at:
            return
        self._probe_at = now + self._pause()
        if gap:
            self._dial(gap[self._probed % len(gap)], now)
            self._probed += 1

    def _pause(self) -> float:
        return self._settings.probe * self._random.uniform(0.8, 1.2)

    def next_deadline(self) -> float:
        """Return when ``go_on()`` or ``probe()`` is due."""
        if self._search is not None and self._search.has_more:
            return min(self._probe_at, self._search.next_at)
        return self._probe_at
