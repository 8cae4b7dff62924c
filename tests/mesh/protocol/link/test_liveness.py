"""Signs of life, and what silence means."""

from __future__ import annotations

from math import inf

import pytest

from mesh.protocol.link import ConnectionSilent, State
from mesh.protocol.link.liveness import Liveness, agree
from tests.helpers.link_pair import LinkPair
from tests.helpers.raw_peer import RawPeer

Pair = tuple[float, float]


def test_a_sign_of_life_is_due_after_each_heartbeat() -> None:
    live = Liveness(0.5, 2.5, 0.0)
    assert live.next_deadline() == 0.5
    assert not live.beat_due(0.4)
    assert live.beat_due(0.5)
    assert not live.beat_due(0.9), "not again before the next one, even if it could not be sent"
    live.sent(0.9)
    assert not live.beat_due(1.3)
    assert live.beat_due(1.4)


def test_silence_is_told_once() -> None:
    live = Liveness(0.5, 2.5, 0.0)
    live.heard(1.0)
    assert live.silence(2.5) is None
    assert live.silence(3.4) is None
    assert live.silence(3.5) == 2.5
    assert live.silence(9.0) is None
    live.beat_due(9.0)
    assert live.next_deadline() < inf


def test_who_slept_does_not_accuse() -> None:
    live = Liveness(0.5, 2.5, 0.0)
    assert live.silence(60.0) is None, "this process was stopped, not the peer"
    assert live.silence(60.9) is None
    assert live.silence(61.0) == 61.0
    live = Liveness(0.5, 2.5, 0.0)
    assert live.silence(60.0) is None
    live.heard(60.1)
    assert live.silence(61.0) is None
    assert live.silence(62.6) == 2.5


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        ((0.5, 2.5), (0.5, 2.5), (0.5, 2.5)),
        ((0.5, 2.5), (5, 60), (0.5, 2.5)),
        ((0.5, 2.5), (0.0001, 0.0001), (0.05, 0.1)),
        ((1000, 1000), (1000, 1000), (30, 120)),
        ((5, 1), (5, 1), (5, 10)),
    ],
)
def test_agreement(
    mine: tuple[float, float], theirs: tuple[float, float], expected: tuple[float, float]
) -> None:
    assert agree(mine, theirs) == expected
    assert agree(theirs, mine) == expected


def test_idle_links_stay_attached() -> None:
    pair = LinkPair()
    pair.attach()
    for _ in range(40):
        pair.advance(0.25)
        pair.exchange()
    assert pair.a.link.state is pair.b.link.state is State.ATTACHED


def test_a_silent_peer_is_noticed_within_the_timeout() -> None:
    peer = RawPeer()
    peer.wait(2.4)
    assert not peer.take(ConnectionSilent)
    peer.wait(0.1)
    (silent,) = peer.take(ConnectionSilent)
    assert silent.silence == pytest.approx(2.5)
    peer.wait(1.0)
    assert not peer.take(ConnectionSilent)


def test_bytes_of_an_unfinished_frame_are_a_sign_of_life() -> None:
    peer = RawPeer()
    for _ in range(10):
        peer.now += 2.0
        peer.link.heard(peer.now)
        peer.wait(0)
    assert not peer.take(ConnectionSilent)


def test_timers_do_not_spin_while_nothing_can_be_sent() -> None:
    """A full write buffer means that nobody calls ``data_to_send()``; the timer goes on regardless."""
    peer = RawPeer()
    link = peer.link
    calls = 0
    while peer.now < 110 and link.next_deadline() < inf:
        peer.now = max(peer.now, link.next_deadline())
        link.heard(peer.now)
        link.handle_timer(peer.now)
        calls += 1
    assert calls < 30


def test_a_dial_that_gets_no_answer_is_given_up() -> None:
    pair = LinkPair()
    pair.a.dial()
    pair.a.transfer()
    pair.advance(2.6)
    assert pair.a.link.state is State.DETACHED
