"""The receiving end of a channel, rule by rule, against a peer made of bytes."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.errors import LocalProtocolError, RemoteProtocolError
from mesh.protocol.link import (
    AnswerUnsendable,
    HandlingResumed,
    Inbound,
    LinkSettings,
    Received,
    SessionEnded,
    State,
    WorkAbandoned,
)
from tests.helpers.raw_peer import RawPeer

SMALL = LinkSettings(window_messages=4, window_bytes=1024)


def work_of(peer: RawPeer) -> tuple[Inbound, list[Any]]:
    events = peer.take(Received)
    return events[-1].work, [item for event in events for item in event.items]


def test_messages_come_in_order_and_answers_leave_in_order() -> None:
    peer = RawPeer()
    assert peer.say([3, "x", 1, 1, ["a", "b"]], [3, "x", 3, 1, ["c"]]) == []
    work, items = work_of(peer)
    assert items == ["a", "b", "c"]
    assert work.in_hand == 3
    peer.link.ack(work, [1], peer.now)
    peer.link.nack(work, "ValueError", "no", peer.now)
    peer.link.ack(work, [{"three": 3}], peer.now)
    assert peer.heard() == [[4, "x", 1, [1]], [5, "x", 2, 1, "ValueError", "no"], [4, "x", 3, [{"three": 3}]]]
    assert work.in_hand == 0


def test_acks_that_piled_up_go_as_one_record() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, list(range(100))])
    work, _ = work_of(peer)
    for n in range(100):
        peer.link.ack(work, [n], peer.now)
    assert peer.heard() == [[4, "x", 1, list(range(100))]]


def test_many_can_be_refused_at_once() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, [0] * 50])
    work, _ = work_of(peer)
    peer.link.nack(work, "Draining", "", peer.now, count=50)
    assert peer.heard() == [[5, "x", 1, 50, "Draining", ""]]


@pytest.mark.parametrize(
    "record",
    [
        [3, "x", 4, 1, ["gap"]],
        [3, "x", 5, 5, ["jump with work in hand"]],
        [3, "x", 2, 1, ["again on the same connection"]],
        [3, "x", 3, 4, ["base above first"]],
        [3, "x", 3, 2, ["base above what is answered"]],
        [3, "x", 3, 1, [1, 2, 3]],
        [3, "x", 3, 1, ["x" * 1100]],
        [3, "y", 2, 1, ["a new channel begins at its base"]],
        [6, "x", 2],
        [8, "x", 3, 1, 100],
        [8, "x", 7, 1, 1],
        [4, "x", 1, ["nothing was sent"]],
        [5, "x", 1, 1, "T", "nothing was sent"],
        [1, {}],
    ],
    ids=str,
)
def test_violations_end_the_session(record: list[Any]) -> None:
    peer = RawPeer(SMALL)
    peer.say([3, "x", 1, 1, ["a", "b"]])
    with pytest.raises(RemoteProtocolError):
        peer.say(record)
    ((kind, code, reason),) = peer.heard()
    assert (kind, code) == (2, "protocol")
    assert reason
    assert peer.link.state.value == "refusing"
    assert peer.take(SessionEnded)
    assert [event.count for event in peer.take(WorkAbandoned)] == [2]
    peer.link.receive(b"more garbage", peer.now)
    assert peer.link.balanced()
    peer.link.connection_lost(peer.now)
    assert peer.link.state is State.DETACHED


def test_base_does_not_go_back() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, ["a", "b"]])
    work, _ = work_of(peer)
    peer.link.ack(work, [1, 2], peer.now)
    peer.say([3, "x", 3, 3, ["c"]])
    with pytest.raises(RemoteProtocolError, match="base 2"):
        peer.say([3, "x", 4, 2, ["d"]])


def test_exactly_the_window_is_allowed() -> None:
    peer = RawPeer(SMALL)
    peer.say([3, "x", 1, 1, ["x" * 252] * 4])
    work, items = work_of(peer)
    assert len(items) == 4
    peer.link.ack(work, [0], peer.now)
    peer.say([3, "x", 5, 2, ["y"]])
    with pytest.raises(RemoteProtocolError, match="window"):
        peer.say([3, "x", 6, 2, ["z"]])


def test_one_message_of_any_size_may_come_alone() -> None:
    peer = RawPeer(SMALL)
    peer.say([3, "x", 1, 1, ["x" * 60_000]])
    work, _ = work_of(peer)
    peer.link.ack(work, [0], peer.now)
    peer.say([3, "x", 2, 2, ["x" * 60_000]])
    assert work.in_hand == 1


def test_a_channel_goes_on_above_what_its_sender_settled() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, ["a"]])
    work, _ = work_of(peer)
    peer.link.ack(work, [0], peer.now)
    peer.say([3, "x", 500, 500, ["b"]], [3, "new", 500, 500, ["c"]])
    assert [event.items for event in peer.take(Received)] == [["b"], ["c"]]


def test_an_idle_channel_is_forgotten_and_found_again() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, ["a"]])
    work, _ = work_of(peer)
    peer.link.ack(work, [0], peer.now)
    assert peer.heard() == [[4, "x", 1, [0]]]
    peer.say([6, "x", 2])
    assert not peer.link._traffic._inbound
    peer.say([6, "x", 2], [6, "never seen", 9])
    peer.say([3, "x", 2, 2, ["b"]])
    _, items = work_of(peer)
    assert items == ["b"]


def test_duplicates_are_answered_from_memory_or_left_in_hand() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, ["a", "b", "c"]])
    work, _ = work_of(peer)
    peer.link.ack(work, ["A"], peer.now)
    peer.link.nack(work, "ValueError", "no", peer.now)
    answers = peer.heard()
    peer.resume()
    assert peer.say([3, "x", 1, 1, ["a", "b", "c", "d"]]) == answers
    _, items = work_of(peer)
    assert items == ["d"]
    peer.link.ack(work, ["C", "D"], peer.now)
    assert peer.heard() == [[4, "x", 3, ["C", "D"]]]
    line = peer.link.books()["received"]["x"]
    assert line["received"] == 7
    assert line["duplicates"] == 3
    assert peer.link.balanced()


def test_answers_are_cut_where_the_sender_asks() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, list("abcd")])
    work, _ = work_of(peer)
    peer.link.ack(work, list("ABCD"), peer.now)
    peer.heard()
    peer.resume()
    assert peer.say([3, "x", 3, 3, ["c"]]) == [[4, "x", 3, ["C", "D"]]], "even what was not asked for yet"
    assert peer.say([3, "x", 4, 3, ["d"]]) == []


def test_answers_that_were_not_sent_wait_for_the_question() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, ["a"]])
    work, _ = work_of(peer)
    peer.link.ack(work, ["A"], peer.now)
    assert peer.resume() == []
    assert peer.say([3, "x", 1, 1, ["a"]]) == [[4, "x", 1, ["A"]]]


def test_skips_are_answered_in_turn() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, ["a"]], [8, "x", 2, 1, 2], [8, "x", 4, 1, 1], [3, "x", 5, 1, ["e", "f"]])
    work, items = work_of(peer)
    assert items == ["a", "e", "f"]
    assert work.in_hand == 3
    peer.link.ack(work, ["A", "E"], peer.now)
    assert peer.heard() == [
        [4, "x", 1, ["A"]],
        [5, "x", 2, 3, "!skipped", "given up by its sender"],
        [4, "x", 5, ["E"]],
    ]
    peer.link.nack(work, "T", "m", peer.now)
    assert peer.heard() == [[5, "x", 6, 1, "T", "m"]]
    assert peer.say([8, "x", 7, 7, 1]) == [[5, "x", 7, 1, "!skipped", "given up by its sender"]]
    assert peer.link.balanced()


def test_thousands_of_skips_are_no_recursion() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, ["a"]])
    work, _ = work_of(peer)
    peer.say(*([8, "x", 2 + n, 1, 1] for n in range(4000)))
    peer.link.ack(work, ["A"], peer.now)
    assert peer.heard() == [[4, "x", 1, ["A"]], [5, "x", 2, 4000, "!skipped", "given up by its sender"]]


def test_an_answer_that_cannot_travel_becomes_a_refusal() -> None:
    peer = RawPeer(max_message=65536)
    peer.say([3, "x", 1, 1, list("abcd")])
    work, _ = work_of(peer)
    peer.link.ack(work, ["A", object(), "x" * 70_000, "D"], peer.now)
    first, second, third, fourth = peer.heard()
    assert first == [4, "x", 1, ["A"]]
    assert second[:5] == [5, "x", 2, 1, "PayloadError"]
    assert third[:5] == [5, "x", 3, 1, "FrameTooLargeError"]
    assert fourth == [4, "x", 4, ["D"]]
    assert len(peer.take(AnswerUnsendable)) == 2
    assert peer.link.balanced()


def may(work: Inbound) -> bool:
    return work.may_handle


def test_who_does_not_take_its_answers_waits() -> None:
    peer = RawPeer(LinkSettings(window_bytes=1024))
    peer.say([3, "x", 1, 1, ["a", "b", "c"]])
    work, _ = work_of(peer)
    assert may(work)
    peer.link.ack(work, ["x" * 600], peer.now)
    assert may(work)
    peer.link.ack(work, ["x" * 600], peer.now)
    assert not may(work)
    peer.say([6, "x", 2])
    assert [event.work for event in peer.take(HandlingResumed)] == [work]
    assert may(work)


def test_answers_need_messages() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, ["a"]])
    work, _ = work_of(peer)
    with pytest.raises(LocalProtocolError, match="2 answers"):
        peer.link.ack(work, [1, 2], peer.now)
    with pytest.raises(LocalProtocolError, match="2 answers"):
        peer.link.nack(work, "T", "m", peer.now, count=2)
    with pytest.raises(LocalProtocolError, match="!leaving"):
        peer.link.nack(work, "!leaving", "m", peer.now)


def test_answers_to_a_session_that_is_over_go_nowhere() -> None:
    peer = RawPeer()
    peer.say([3, "x", 1, 1, ["a"]])
    work, _ = work_of(peer)
    peer.link.connection_lost(peer.now)
    peer.attach(incarnation="r2")
    assert peer.take(WorkAbandoned)[0].work is work
    assert work.closed
    peer.say([3, "x", 1, 1, ["new"]])
    peer.link.ack(work, ["old"], peer.now)
    peer.link.nack(work, "T", "m", peer.now)
    assert peer.heard() == []
    line = peer.link.books()["received"]["x"]
    assert (line["abandoned"], line["in_hand"], line["balanced"]) == (1, 1, True)


def test_too_many_open_channels() -> None:
    peer = RawPeer()
    for start in range(0, 16384, 4096):
        peer.say(*([3, f"c{n}", 1, 1, [0]] for n in range(start, start + 4096)))
    with pytest.raises(RemoteProtocolError, match="16384 channels"):
        peer.say([3, "one more", 1, 1, [0]])


def test_a_slow_channel_holds_up_nobody() -> None:
    peer = RawPeer(SMALL)
    peer.say([3, "slow", 1, 1, [0] * 4], [3, "fast", 1, 1, [0]])
    (slow, fast) = peer.take(Received)
    for n in range(2, 50):
        peer.link.ack(fast.work, [n], peer.now)
        assert peer.heard() == [[4, "fast", n - 1, [n]]]
        peer.say([3, "fast", n, n, [0]])
    assert slow.work.in_hand == 4
