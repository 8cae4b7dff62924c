"""What the live screen of ``mesh top`` shows of many nodes, and on narrow terminals."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from factory.cli.topscreen import View, keys_of
from factory.looking.topping import Row

DOWN, PAGE_UP, PAGE_DOWN, UP = "\x1b[B", "\x1b[5~", "\x1b[6~", "\x1b[A"
HOME, END = "\x1b[H", "\x1b[F"


def rows(count: int) -> list[Row]:
    return [Row(f"n{i}", "up", 1000 + i, 1.0, 40_000_000, 0, 1.0, 1.0, 0, 60.0) for i in range(1, count + 1)]


def lines(view: View, found: list[Row], width: int = 80, height: int = 24) -> list[str]:
    """Return the screen."""
    console = Console(file=io.StringIO(), width=width, height=height)
    with console.capture() as capture:
        console.print(view.drawn(found, width, height))
    return [line.rstrip() for line in capture.get().splitlines()]


def names(screen: list[str]) -> list[str]:
    return [line.split()[0] for line in screen[2:-1]]


def test_fifty_nodes_are_reached_by_scrolling() -> None:
    view, found = View("name"), rows(50)
    pages = [names(lines(view, found))]
    for _ in range(3):
        view.key(PAGE_DOWN)
        pages.append(names(lines(view, found)))
    assert [(page[0], page[-1]) for page in pages] == [
        ("n1", "n20"),
        ("n21", "n40"),
        ("n31", "n50"),
        ("n31", "n50"),
    ]


@pytest.mark.parametrize(
    ("keys", "first", "title"),
    [
        ((), "n1", "30 more below"),
        ((UP, PAGE_UP, HOME), "n1", "30 more below"),
        ((DOWN,), "n2", "1 more above · 29 more below"),
        ((DOWN, DOWN, UP), "n2", "1 more above · 29 more below"),
        ((END,), "n31", "30 more above"),
        ((END, DOWN, UP), "n30", "29 more above · 1 more below"),
        ((END, PAGE_UP), "n11", "10 more above · 20 more below"),
        ((END, HOME), "n1", "30 more below"),
    ],
)
def test_each_key_scrolls_and_none_beyond_the_ends(keys: tuple[str, ...], first: str, title: str) -> None:
    view, found = View("name"), rows(50)
    lines(view, found)
    for key in keys:
        view.key(key)
    screen = lines(view, found)
    assert names(screen)[0] == first
    assert screen[0] == f"mesh top · 50 of 50 up · by name · {title}"


def test_nodes_that_go_leave_no_empty_screen() -> None:
    view = View("name")
    lines(view, rows(50))
    view.key(END)
    assert names(lines(view, rows(3))) == ["n1", "n2", "n3"]


def test_an_arrow_is_one_key_and_letters_are_one_each() -> None:
    assert keys_of(f"n{DOWN}{PAGE_DOWN}\x1bOAq ") == ["n", DOWN, PAGE_DOWN, "\x1bOA", "q", " "]


def test_a_narrow_terminal_does_without_columns_and_keeps_the_words() -> None:
    screen = lines(View("name"), rows(3), width=40)
    assert screen[1].split() == ["NODE", "STATE", "CPU%", "MEM", "IN/s", "OUT/s"]
    assert all("…" not in line for line in screen[1:-1])
    assert len(screen) == 6


def test_at_eighty_columns_there_are_all_columns_and_the_whole_foot() -> None:
    screen = lines(View("name"), rows(3))
    assert len(screen[1].split()) == 10
    assert "…" not in "".join(screen)
