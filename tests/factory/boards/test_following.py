"""Who reads an edge log learns of all that it did not get."""

from __future__ import annotations

from typing import Any

from factory.boards.edges import EdgeLog
from factory.boards.following import END, Follower
from factory.boards.modes import Signal


class Told:
    """What a board answers to a number, as one run after the other."""

    def __init__(self, limit: int = 8) -> None:
        self.run = 1
        self.limit = limit
        self.log = EdgeLog(limit)

    def restart(self) -> None:
        self.run += 1
        self.log = EdgeLog(self.limit)

    def toggle(self, times: int) -> None:
        for _ in range(times):
            self.log.add(0.0, 13, Signal.LEVEL, self.log.made % 2)

    def __call__(self, since: int) -> dict[str, Any]:
        edges, missed = self.log.rows(since, 3)
        return {"edges": edges, "missed": missed, "made": self.log.made, "run": self.run}


def read(follower: Follower, told: Told) -> list[int | str]:
    """Return the numbers of the edges that are read until there are no more, and what is said of others."""
    found: list[int | str] = []
    while True:
        news = follower.take(told(follower.since))
        found += ["anew"] * news.anew + [f"{news.missed} missed"] * bool(news.missed)
        found += [edge[0] for edge in news.edges]
        if not news.more:
            return found


def test_every_edge_is_read_once() -> None:
    told = Told()
    told.toggle(5)
    follower = Follower(told(END), 0)
    assert read(follower, told) == [1, 2, 3, 4, 5]
    assert read(follower, told) == []
    told.toggle(1)
    assert read(follower, told) == [6]
    assert read(Follower(told(END)), told) == []


def test_what_is_no_longer_kept_is_counted() -> None:
    told = Told()
    follower = Follower(told(END))
    told.toggle(20)
    assert read(follower, told) == ["12 missed", *range(13, 21)]


def test_a_board_that_starts_anew_is_read_from_its_first_edge() -> None:
    told = Told()
    told.toggle(5)
    follower = Follower(told(END))
    told.restart()
    told.toggle(2)
    assert read(follower, told) == ["anew", 1, 2]
    # Past the old number already: the numbers look as if nothing had happened.
    told.restart()
    told.toggle(7)
    assert read(follower, told) == ["anew", 1, 2, 3, 4, 5, 6, 7]
