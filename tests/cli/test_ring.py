"""``mesh ring``: what is drawn of what the members say."""

from __future__ import annotations

from typing import Any

import pytest

from factory.looking.rings import draw, is_closed
from tests.helpers.fleet import write_grid
from tests.helpers.ports import free_ports
from tests.helpers.ring_fleet import mesh_ring


def view(predecessor: str | None, successor: str | None, **more: Any) -> dict[str, Any]:
    basis = {"alone": False, "leaving": False, "in_flight": 0, "in_hand": 0}
    return {**basis, "predecessor": predecessor, "successor": successor, **more}


RING = {"ann": view("cat", "bob"), "bob": view("ann", "cat"), "cat": view("bob", "ann")}


def test_a_ring_is_drawn_as_one_line() -> None:
    assert is_closed(RING)
    assert draw("chat", RING) == ["ring chat: closed, 3 of 3 members", "  ann -> bob -> cat -> ann"]


def test_who_does_not_answer_is_named_with_the_reason() -> None:
    views: dict[str, Any] = {
        **RING,
        "ann": view("bob", "bob"),
        "bob": view("ann", "ann"),
        "cat": "nobody listens there",
    }
    assert draw("chat", views) == [
        "ring chat: closed, 2 of 3 members",
        "  ann -> bob -> ann",
        "  cat is not there: nobody listens there",
    ]


@pytest.mark.parametrize(
    ("views", "lines"),
    [
        ({"ann": view(None, "bob"), "bob": view("ann", None)}, ["  ann -> bob -> ?"]),
        (
            {"ann": view("bob", "bob"), "bob": view("ann", "ann"), "cat": view(None, "ann")},
            ["  cat -> ann -> bob -> ann"],
        ),
        (
            {"ann": view("bob", "bob"), "bob": view("ann", "ann"), "cat": view(None, None)},
            ["  cat, alone", "  ann -> bob -> ann"],
        ),
    ],
)
def test_what_is_no_ring_is_drawn_as_it_is(views: dict[str, Any], lines: list[str]) -> None:
    assert not is_closed(views)
    assert draw("chat", views)[0].startswith("ring chat: open, ")
    assert sorted(draw("chat", views)[1:]) == sorted(lines)


def test_one_alone_is_a_ring() -> None:
    assert is_closed({"ann": view(None, None, alone=True), "bob": "nobody listens there"})


def test_what_is_owed_is_told() -> None:
    picture = draw("chat", {**RING, "bob": view("ann", "cat", in_flight=3, in_hand=2)})
    assert picture[-1] == "  bob waits for 3 receipts, has 2 in hand"


@pytest.mark.fleet
def test_a_ring_of_which_nobody_runs_is_open(tmp_path: Any) -> None:
    (port,) = free_ports(1)
    grid = write_grid(
        tmp_path,
        f"nodes: {{ann: {{sketch: ringchat, port: {port}}}}}\n"
        "groups: {chat: {topology: ring, members: [ann]}}\n",
    )
    done = mesh_ring("--once", "--grid", grid)
    assert done.process.returncode == 1
    assert done.stdout == ["ring chat: open, 0 of 1 members", "  ann is not there: it does not run"]


@pytest.mark.fleet
def test_a_grid_without_a_ring_is_explained(tmp_path: Any) -> None:
    grid = write_grid(tmp_path, "nodes: {ann: {sketch: ringchat, port: 1}}\n")
    done = mesh_ring("--grid", grid)
    assert done.process.returncode == 2
    assert "it has none; give a group `topology: ring`" in done.stderr[-1]
