"""The benchmark of layers and taps: it measures what it says, and its table is in the README."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.layers import README, ROWS, SIZES, measure, table
from mesh.transport.layers import layer_names, registry
from mesh.transport.tapping import tap_of_process


@pytest.mark.source("D18")
def test_every_layer_and_the_tap_has_its_row_in_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_own", {})  # the examples of the documents have layers of their own
    text = README.read_text("utf-8").partition("<!-- layers: begin -->")[2]
    for row in ROWS:
        assert f"| {row.name} | " in text
    shipped = {name for row in ROWS for name in row.layers if isinstance(name, str)}
    assert shipped == set(layer_names())
    assert [row.tapped for row in ROWS].count(True) == 1


@pytest.mark.integration
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_row_is_measured(row: object, tmp_path: Path) -> None:
    found = next(one for one in ROWS if one is row)
    assert await measure(found, 64, 20, tmp_path, tmp_path / "lines") > 0
    told = (tmp_path / "lines").read_text("utf-8")
    assert ("Sending data" in told) == (found.tapped or "logging" in found.layers)
    assert tap_of_process() is None


def test_the_table_says_how_much_more_each_row_costs() -> None:
    figures = {(row.name, size): [10.0 + number, 20.0] for number, row in enumerate(ROWS) for size in SIZES}
    lines = table(figures).splitlines()
    assert lines[2] == f"| {ROWS[0].name} | 15.0 |  | 15.0 |  |"
    assert lines[3] == f"| {ROWS[1].name} | 15.5 | +0.5 | 15.5 | +0.5 |"
