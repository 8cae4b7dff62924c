"""Workers of other grids that have the names of nodes of this one."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.cli.looking import _code
from factory.cli.shared import NOT_REACHED
from factory.looking import places as here
from factory.looking.errors import NotReachedError
from factory.looking.pinging import Pong, ping_all
from factory.looking.places import Place, chosen, own, places
from factory.looking.survey import Seen, State, _linked
from mesh.gridfile import Grid
from mesh.node import Node
from mesh.runtime import WorkerRecord

MINE, OTHER = Path("/mine/grid.yaml"), Path("/other/grid.yaml")


def worker(name: str, pid: int, grid: Path | None) -> WorkerRecord:
    return WorkerRecord(pid=pid, start=str(pid), name=name, grid=str(grid) if grid else None)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """Return what there is: two clocks, a guest of this grid, and one of no grid."""
    records = [
        worker("clock", 1, OTHER),
        worker("clock", 2, MINE),
        worker("guest", 3, MINE),
        worker("stray", 4, None),
    ]
    monkeypatch.setattr(here, "workers", lambda: records)
    return places(Grid([Node("clock"), Node("spare")], path=MINE))


def pids(some: list[Place]) -> list[int | None]:
    return [place.record.pid if place.record else None for place in some]


def test_only_the_workers_of_this_grid_are_looked_at_where_nobody_is_named(found: list[Place]) -> None:
    assert pids(found) == [2, None, 1, 3, 4]
    assert pids(own(found)) == pids(chosen([], found)) == [2, None, 3]
    assert pids(chosen(["stray", "clock"], found)) == [4, 2]


def test_a_link_of_a_namesake_says_nothing_of_a_node_of_this_grid(found: list[Place]) -> None:
    clock, spare, namesake, *_ = found
    link = {"name": "spare", "peer": "spare", "state": "up"}
    seen = [
        Seen(clock, State.UP, "", {"links": []}),
        Seen(spare, State.DOWN, "", {}),
        Seen(namesake, State.UP, "", {"links": [link, {**link, "name": "far", "peer": "far"}]}),
    ]
    assert _linked(seen) == []
    assert seen[1].state is State.DOWN


async def test_two_of_one_name_are_judged_each_for_itself() -> None:
    down = Place("clock", None, None)
    pongs = await ping_all([down, down], 2, 0.0, 1.0, lambda _: None)
    assert [len(mine) for mine in pongs] == [2, 2]
    gone = [Pong("clock", 1, error=NotReachedError("clock is down"))]
    assert _code([[Pong("clock", 1, 0.001)], gone]) == NOT_REACHED
