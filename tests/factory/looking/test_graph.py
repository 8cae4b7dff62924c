"""The edges of a graph, from what nodes say of their links."""

from __future__ import annotations

from typing import Any

from factory.looking.graph import Edge, edges
from factory.looking.places import Place
from factory.looking.survey import Seen, State
from mesh.node import Node


def link(peer: str, *, dialled: bool, state: str = "up") -> dict[str, Any]:
    return {"name": peer, "peer": peer, "dialled": dialled, "state": state}


def seen(name: str, *links: dict[str, Any], state: State = State.UP) -> Seen:
    return Seen(Place(name, Node(name)), state, "", {"links": list(links)} if links else {})


LINK = Edge("blink", "buzzer", "link", None, "up")


def test_a_link_goes_from_who_dialled() -> None:
    both = [seen("blink", link("buzzer", dialled=True)), seen("buzzer", link("blink", dialled=False))]
    assert edges(both) == edges(both[::-1]) == [LINK]


def test_a_link_of_a_node_that_does_not_answer_is_known_by_its_peer() -> None:
    assert edges([seen("blink", state=State.FROZEN), seen("buzzer", link("blink", dialled=False))]) == [LINK]


def test_links_with_commands_are_none() -> None:
    assert edges([seen("buzzer", link("$asks-1", dialled=False), link("$asks-2", dialled=True))]) == []


def test_two_that_have_dialled_each_other_are_two_edges() -> None:
    found = edges([seen("a", link("b", dialled=True)), seen("b", link("a", dialled=True))])
    assert [(edge.source, edge.to) for edge in found] == [("a", "b"), ("b", "a")]
