"""What a new grid changes, and what restarts for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from factory.fleet.plan import Change, difference, restarting
from mesh.node import Node, Restart, Tls, Wire

BLINK = Node("blink", port=8765, sketch="iopin", args={"chance": 0.5})
BUZZER = Node("buzzer", port=8766, sketch="buzzer")
FAR = Node("far", "pi.local", 8767, sketch="buzzer")


def only(before: list[Node], after: list[Node]) -> Change:
    (change,) = difference(before, after)
    return change


def test_nothing_is_different() -> None:
    assert difference([BLINK, FAR], [FAR, replace(BLINK, file="other.yaml", marks={(): (1, 1)})]) == []


def test_a_new_node_starts() -> None:
    assert str(only([], [BLINK])) == "+ blink: iopin on localhost:8765; starts"
    assert only([], [BLINK]).restarts


def test_a_node_of_somebody_else_is_never_started() -> None:
    assert str(only([], [FAR])) == "+ far: buzzer on pi.local:8767; not started here"
    assert (
        str(only([], [Node("raw", port=1)])) == "+ raw: run by somebody else on localhost:1; not started here"
    )
    assert not only([], [FAR]).restarts


def test_a_removed_node_stops() -> None:
    assert str(only([BLINK], [])) == "- blink: drains and stops"
    assert str(only([FAR], [])) == "- far: is not known any more"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"port": 9000}, "port 8765 -> 9000; restarts"),
        ({"sketch": "x.py:X"}, "sketch iopin -> x.py:X; restarts"),
        ({"args": {"chance": 0.6}}, "args; restarts"),
        ({"target": "buzzer"}, "target none -> buzzer; restarts"),
        ({"tls": True, "aliases": ("pin",)}, "tls False -> True, aliases; restarts"),
        ({"tls": Tls("a.crt", "a.key")}, "tls False -> with a.crt; restarts"),
        ({"socket": "pi.local"}, "host localhost -> pi.local; stops"),
        ({"sketch": None}, "sketch iopin -> none; stops"),
        ({"aliases": ("pin",)}, "aliases; without a restart"),
        ({"peers": ()}, "peers; without a restart"),
        ({"subscribes": (Wire("a", "buzzer"),)}, "subscribes; without a restart"),
        ({"restart": Restart("never")}, "restart; without a restart"),
    ],
)
def test_a_changed_node_says_what_is_different(changed: dict[str, object], words: str) -> None:
    change = only([BLINK, BUZZER], [replace(BLINK, **changed), BUZZER])  # type: ignore[arg-type]
    assert str(change) == f"~ blink: {words}"
    assert change.restarts == (not words.endswith("without a restart"))


def test_a_far_node_that_moves_is_dialled_at_its_new_place() -> None:
    assert str(only([FAR], [replace(FAR, port=1)])) == "~ far: port 8767 -> 1; is dialled there"
    assert str(only([FAR], [replace(FAR, socket="localhost")])) == "~ far: host pi.local -> localhost; starts"


def test_fields_are_called_as_in_the_grid() -> None:
    assert restarting(BLINK, replace(BLINK, socket="::1", port=1, args={})) == ["host", "port", "args"]
