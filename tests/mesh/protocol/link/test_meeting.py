"""Who may attach: the table of the documentation, line by line, and both ends at once."""

from __future__ import annotations

from itertools import permutations

import pytest

from mesh.protocol.link import ConnectionRefused, State
from mesh.protocol.link.meeting import Answer, No, Standing, choose_version, judge
from mesh.protocol.link.records import HelloTerms
from tests.helpers.link_pair import LinkPair
from tests.helpers.raw_peer import TERMS


def hello(**terms: object) -> HelloTerms:
    return HelloTerms(**{**TERMS, **terms})


UNKNOWN = Standing()
DETACHED = Standing(State.DETACHED, "r1", "s1", 2)
ATTACHED_BY_US = Standing(State.ATTACHED, "r1", "s1", 2, dialled=True)
ATTACHED_BY_THEM = Standing(State.ATTACHED, "r1", "s1", 2)
GREETING = Standing(State.GREETING, "r1", "s1", 2, dialled=True)


@pytest.mark.parametrize(
    ("terms", "known", "expected"),
    [
        ({"v": [2, 3]}, UNKNOWN, "version"),
        ({"v": [3, 1]}, UNKNOWN, Answer.NEW),
        ({"name": "m"}, UNKNOWN, "name-taken"),
        ({}, Standing(State.ATTACHED, "r1", "s1", leaving=True), "closing"),
        ({}, UNKNOWN, Answer.NEW),
        ({"session": "s9"}, UNKNOWN, Answer.NEW),
        ({"incarnation": "r2"}, ATTACHED_BY_US, "name-taken"),
        ({"incarnation": "r2"}, ATTACHED_BY_THEM, "name-taken"),
        ({"incarnation": "r2"}, Standing(State.ATTACHED, "r1", "s1", 2, going=True), "unsure"),
        ({"incarnation": "r2"}, DETACHED, Answer.REPLACE),
        ({"incarnation": "r2", "session": "s1", "connections": 2}, DETACHED, Answer.REPLACE),
        ({"incarnation": "r2", "name": "z"}, GREETING, Answer.REPLACE),
        ({"name": "z"}, GREETING, "duplicate"),
        ({"name": "a"}, GREETING, Answer.NEW),
        ({"name": "a", "session": "s1"}, GREETING, Answer.RESUME),
        ({"name": "z"}, Standing(State.GREETING, dialled=True), "duplicate"),
        ({}, ATTACHED_BY_US, "duplicate"),
        ({"session": "s0", "connections": 9}, ATTACHED_BY_US, "duplicate"),
        ({"session": "s1", "connections": 1}, ATTACHED_BY_US, "duplicate"),
        ({"session": "s1", "connections": 2}, ATTACHED_BY_US, Answer.RESUME),
        ({"session": "s1", "connections": 2}, DETACHED, Answer.RESUME),
        ({"session": "s1", "connections": 1}, ATTACHED_BY_THEM, Answer.RESUME),
        ({"session": "s1", "connections": 1}, DETACHED, Answer.RESUME),
        ({"session": ""}, ATTACHED_BY_THEM, "duplicate"),
        ({"session": "s0", "connections": 9}, ATTACHED_BY_THEM, "duplicate"),
        ({"session": ""}, Standing(State.ATTACHED, "r1", "s1", 2, going=True), Answer.NEW),
        ({"session": ""}, Standing(State.DETACHED, "r1", "", 0), Answer.NEW),
        ({"session": "s0"}, DETACHED, Answer.NEW),
    ],
)
def test_table(terms: dict[str, object], known: Standing, expected: Answer | str) -> None:
    verdict = judge(hello(**terms), "m", known)
    if isinstance(expected, str):
        assert isinstance(verdict, No)
        assert verdict.code == expected
    else:
        assert verdict is expected


def test_a_version_refusal_names_both() -> None:
    verdict = judge(hello(v=[7, 2]), "m", UNKNOWN)
    assert isinstance(verdict, No)
    assert "[1]" in verdict.reason
    assert "[2, 7]" in verdict.reason
    assert choose_version([1, 2]) == 1
    assert choose_version([2]) is None


@pytest.mark.parametrize("session", [False, True], ids=["first", "resumed"])
@pytest.mark.parametrize("order", set(permutations("aabb")))
def test_both_dial_at_once(order: tuple[str, ...], session: bool) -> None:
    """Whatever arrives first: one connection stays, and it is the smaller name's."""
    pair = LinkPair()
    if session:
        pair.attach("b")
        pair.cut()
    ours, theirs = pair.a.dial(), pair.b.dial()
    for shell in pair.shells.values():
        shell.transfer()
    for name in order:
        pair.deliver(theirs if name == "a" else ours, name)
        pair.shells[name].transfer()
    pair.exchange()
    assert pair.a.connection is pair.b.connection is ours
    assert pair.a.link.state is pair.b.link.state is State.ATTACHED
    assert pair.a.link.session == pair.b.link.session
    assert not [e for e in pair.a.log if isinstance(e, ConnectionRefused)]
    pair.b.send("x", ["1:"])
    pair.calm()


def test_a_late_hello_of_both_dialling_does_no_harm() -> None:
    pair = LinkPair()
    pair.attach()
    pair.cut()
    ours, theirs = pair.a.dial(), pair.b.dial()
    pair.b.transfer()
    pair.a.transfer()
    # The winner is complete before the loser's HELLO arrives.
    for _ in range(4):
        pair.deliver(ours, "b")
        pair.b.transfer()
        pair.deliver(ours, "a")
        pair.a.transfer()
    assert pair.a.link.state is State.ATTACHED
    pair.exchange()
    assert pair.a.connection is pair.b.connection is ours
    assert theirs.closed


def test_a_peer_that_noticed_first_takes_over() -> None:
    pair = LinkPair()
    pair.attach("a")
    owner = pair.a.send("x", ["1:", "2:"])
    pair.a.transfer()
    assert pair.b.connection is not None
    pair.b.connection.pipes["a"].clear()
    pair.b.drop()
    pair.connections.clear()  # a never hears of it
    pair.b.dial()
    pair.exchange(handle=True)
    assert pair.a.connection is pair.b.connection
    assert pair.resumes == 2
    assert owner.settled


def test_a_second_process_of_a_live_name_is_refused_and_of_a_lost_one_replaces_it() -> None:
    pair = LinkPair()
    pair.attach("b")
    other = pair.b
    old = other.connection
    other.connection = None
    other.boot()
    connection = other.dial()
    other.transfer()
    pair.deliver(connection, "a")
    pair.deliver(connection, "b")
    (refused,) = [event for event in other.log if isinstance(event, ConnectionRefused)]
    assert refused.code == "name-taken"
    assert pair.a.connection is old
    pair.a.drop()
    other.dial()
    pair.exchange()
    assert pair.a.link.peer_incarnation == "boot-2"


def test_a_lost_welcome_leaves_no_doubt() -> None:
    """The acceptor says nothing before the dialler has shown that it knows the session."""
    pair = LinkPair()
    pair.b.send("x", ["1:"])
    first = pair.a.dial()
    pair.a.transfer()
    pair.deliver(first, "b")
    assert pair.b.transfer() == 1
    pair.cut()
    owner = pair.b.owners[0]
    assert not owner.outcomes
    pair.attach("a")
    pair.exchange(handle=True)
    assert owner.outcomes[0][0] == "acked"
    assert pair.b.link.books()["sent"]["x"]["failed"] == {}
