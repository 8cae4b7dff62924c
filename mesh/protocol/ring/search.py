"""Whom to dial next, and when, while there is no successor. Pure."""

from __future__ import annotations

from collections.abc import Iterable


class Search:
    """Goes through the candidates, each once.

    Args:
        alive: Those that were told to be alive, the best first.
        others: All others.
        stagger: Seconds between dials to the former.
        spread: Seconds between dials to the latter.
        now: When it begins.

    Attributes:
        next_at: When the next one is due, if there is one.

    """

    def __init__(
        self, alive: Iterable[str], others: Iterable[str], stagger: float, spread: float, now: float
    ) -> None:
        # A dict keeps the order and each name once.
        pauses = dict.fromkeys(alive, stagger)
        for name in others:
            pauses.setdefault(name, spread)
        self._left = list(pauses.items())[::-1]
        self._waiting: set[str] = set()
        self.next_at = now

    def due(self, now: float) -> str | None:
        """Return who is to be dialled now."""
        if not self._left or now < self.next_at:
            return None
        name, pause = self._left.pop()
        self._waiting.add(name)
        self.next_at = now + pause
        return name

    def failed(self, name: str, now: float) -> None:
        """Take note that nothing is to be expected of somebody; the next one is due at once."""
        if name in self._waiting:
            self._waiting.discard(name)
            self.next_at = now

    @property
    def has_more(self) -> bool:
        """Whether somebody is left to be dialled."""
        return bool(self._left)

    @property
    def is_over(self) -> bool:
        """Whether everybody was dialled and nobody answered."""
        return not self._left and not self._waiting
