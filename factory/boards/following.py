"""Read an edge log from another process: where one is in it, and what has to be said of it.

Sans-I/O: whoever asks a board for the edges after ``since`` hands over each answer. A board in a
new process numbers its edges from 1 again, so a number alone does not tell where one is; its
run does.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from factory.boards.edges import Row

END = 2**53
"""A number that no edge has: asking for what comes after it tells only how many there are."""


@dataclass(frozen=True, slots=True)
class News:
    """What one answer has brought.

    Attributes:
        edges: The edges, in order.
        missed: Edges before them that the board does not keep any more.
        anew: Whether the board has started anew before them; what was not read until then is lost.
        more: Whether there is more to ask for at once.

    """

    edges: list[Row]
    missed: int
    anew: bool
    more: bool


class Follower:
    """One reader of the edge log of one board.

    Args:
        answer: An answer of the board that names its run, and the number of its latest edge.
        since: Number of the last edge that is not wanted; the latest one unless given.

    Attributes:
        since: Number of the last edge that was read: what to ask for next.

    """

    def __init__(self, answer: Mapping[str, Any], since: int | None = None) -> None:
        self.since: int = answer["made"] if since is None else since
        self._run = answer["run"]

    def copy(self) -> Follower:
        """Return another reader that begins where this one is."""
        return copy(self)

    def take(self, answer: Mapping[str, Any]) -> News:
        """Take the board's answer to ``since``."""
        if answer["run"] != self._run:
            # What it gave is after a number of the run before, and means nothing in this one.
            self._run = answer["run"]
            self.since = 0
            return News([], 0, anew=True, more=True)
        self.since += answer["missed"] + len(answer["edges"])
        return News(answer["edges"], answer["missed"], anew=False, more=self.since < answer["made"])
