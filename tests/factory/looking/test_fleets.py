"""Nodes that are down, as their supervisor has them."""

from __future__ import annotations

from typing import Any

import pytest

from factory.looking.doctor import findings
from factory.looking.fleets import explain
from factory.looking.places import Place
from factory.looking.survey import Seen, State
from mesh.node import Node
from mesh.runtime import WorkerRecord


def seen(state: State = State.DOWN) -> Seen:
    return Seen(Place("late", Node("late", sketch="clock")), state, "", {})


def fleet(state: str, why: str = "") -> dict[str, Any]:
    nodes = [{"node": "late", "state": state, "why": why}]
    return {"mistakes": None, "rolled_back": None, "nodes": nodes}


@pytest.mark.parametrize(
    ("state", "why", "shown", "note", "finding"),
    [
        ("waiting", "", State.STARTING, "waits for its turn to start", ("M12", "mesh is-ready --wait")),
        ("starting", "", State.STARTING, "", ("M12", "mesh is-ready --wait")),
        ("backing off", "failed; again", State.STARTING, "failed; again", ("M12", "mesh is-ready --wait")),
        ("failed", "given up", State.FAILED, "given up", ("M9", "mesh logs --node late --tail 20")),
        ("done", "has ended", State.DONE, "has ended", None),
        (
            "stopped",
            "",
            State.DOWN,
            "was stopped",
            ("M2", "mesh start late"),
        ),
        ("stopping", "", State.DOWN, "", ("M2", "mesh start late")),
    ],
)
def test_a_node_that_is_down_is_shown_as_its_fleet_has_it(
    state: str, why: str, shown: State, note: str, finding: tuple[str, str] | None
) -> None:
    one, status = seen(), fleet(state, why)
    explain([one], status)
    assert (one.state, one.why) == (shown, note)
    found = [(each.code, each.next) for each in findings([one], [], status)]
    assert found == ([] if finding is None else [finding])


@pytest.mark.parametrize(
    ("state", "pid", "shown"),
    [("starting", 7, State.STARTING), ("ready", 7, State.UP), ("starting", 8, State.UP)],
)
def test_a_node_that_answers_is_up_unless_it_is_the_one_that_its_fleet_starts(
    state: str, pid: int, shown: State
) -> None:
    record = WorkerRecord(pid=7, start="7", name="late")
    one = Seen(Place("late", Node("late"), record), State.UP, "", {"name": "late"})
    status = fleet(state)
    status["nodes"][0]["pid"] = pid
    explain([one], status)
    assert one.state is shown


def test_without_a_fleet_all_stays_as_it_was_seen() -> None:
    one = seen()
    explain([one], None)
    assert (one.state, one.why) == (State.DOWN, "")


def test_a_node_that_runs_elsewhere_is_no_stranger_at_its_own_address() -> None:
    one = seen(State.LINKED)
    one.why = "known by its link with echo"
    assert findings([one], [], None) == []
