"""Tables on terminals that are wide enough, and on those that are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console

from factory.cli import tables

Show = Callable[..., list[str]]

COLUMNS = ("NODE", "#PID", "SKETCH", "NOTE")
ROWS = [
    ("a", 12345, "a/long/path/to/sketch.py:Sketch", "is stopped by a signal"),
    ("b", None, "short", ""),
]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    def show(width: int, *, aside: bool = False) -> list[str]:
        def console(**_: object) -> Console:
            return Console(width=width, highlight=False, color_system=None)

        monkeypatch.setattr(tables, "Console", console)
        tables.show(COLUMNS, ROWS, aside=aside)
        return capsys.readouterr().out.splitlines()

    return show


def test_all_is_there_where_there_is_room(shown: Show) -> None:
    assert shown(80) == [
        "NODE    PID  SKETCH                           NOTE",
        "a     12345  a/long/path/to/sketch.py:Sketch  is stopped by a signal",
        "b         -  short",
    ]


def test_the_longest_words_are_cut_and_numbers_never(shown: Show) -> None:
    assert shown(50) == [
        "NODE    PID  SKETCH             NOTE",
        "a     12345  a/long/path/to/s…  is stopped by a s…",
        "b         -  short",
    ]


def test_notes_stand_beneath_if_that_is_wanted(shown: Show) -> None:
    assert shown(50, aside=True) == [
        "NODE    PID  SKETCH",
        "a     12345  a/long/path/to/sketch.py:Sketch",
        "b         -  short",
        "a is stopped by a signal",
    ]
    assert shown(80, aside=True)[0].endswith("NOTE")


def test_a_table_without_rows_has_its_headings(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=40, color_system=None)
    with console.capture() as capture:
        console.print(tables.table(COLUMNS, [], 40))
    assert capture.get().split() == ["NODE", "PID", "SKETCH", "NOTE"]
