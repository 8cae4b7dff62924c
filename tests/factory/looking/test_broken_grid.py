"""Listings of a grid that has mistakes: what runs is shown nevertheless."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from factory.cli.fleet import main
from factory.fleet import asking
from factory.looking import places as here
from mesh.gridfile import Grid
from mesh.node import Node
from mesh.runtime import WorkerRecord, start_of


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a grid with a mistake, while a clock runs that has read it before."""
    path = tmp_path / "grid.yaml"
    path.write_text("nodes:\n  clock: {sketch: clock, prot: 1}\n", encoding="utf-8")
    pid = os.getpid()
    record = WorkerRecord(pid=pid, start=start_of(pid) or "", name="clock", grid=str(path))
    monkeypatch.setattr(here, "workers", lambda: [record])
    monkeypatch.setenv("SKETCHMESH_RUNTIME", str(tmp_path / "run"))
    (tmp_path / "run").mkdir(mode=0o700)
    return path


def mesh(*words: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


@pytest.mark.parametrize("words", ["list", "graph", "ledger"])
def test_what_runs_is_shown_and_the_mistake_is_told(grid: Path, words: str) -> None:
    ended = mesh(words, "--grid", grid)
    assert ended.exit_code == 0
    assert "clock" in ended.output.replace(str(grid), "")
    assert f"{grid}:2:26: unknown field 'prot'" in ended.output
    assert "the grid has mistakes; this is what runs here" in ended.output


def test_it_is_a_node_of_that_grid(grid: Path) -> None:
    (found,) = here.places_without(grid)
    assert (found.name, found.foreign, found.node is not None) == ("clock", False, True)


def test_with_a_fleet_it_is_the_last_good_grid(grid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = Grid([Node("clock"), Node("lamp")], path=grid)
    monkeypatch.setattr(asking, "last_good", lambda _: good)
    ended = mesh("list", "--grid", grid)
    assert ended.exit_code == 0
    assert "\nlamp " in ended.output
    assert "this is the last good grid, which its fleet runs" in ended.output


def test_a_grid_that_is_not_there_is_no_grid(tmp_path: Path) -> None:
    assert mesh("list", "--grid", tmp_path / "none.yaml").exit_code == 2


def test_a_verb_for_one_node_wants_a_grid_without_mistakes(grid: Path) -> None:
    assert mesh("request", "clock", "--grid", grid).exit_code == 2
