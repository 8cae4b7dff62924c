"""The sending end of a channel, rule by rule, against a peer made of bytes."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.errors import FrameTooLargeError, LocalProtocolError, PayloadError, RemoteProtocolError
from mesh.protocol.link import (
    Acked,
    Delivery,
    Failed,
    LinkSettings,
    Reason,
    Refused,
    RoomOpened,
    SessionEnded,
)
from tests.helpers.raw_peer import RawPeer


def about(seconds: float) -> Any:
    return pytest.approx(seconds)


def send(peer: RawPeer, *items: Any, channel: str = "x", owner: Any = "me", **delivery: Any) -> int:
    return peer.link.send(channel, items, peer.now, owner=owner, delivery=Delivery(**delivery))


def test_what_piled_up_goes_as_one_record() -> None:
    peer = RawPeer()
    assert send(peer, "a") == 1
    assert send(peer, "b", 3, None) == 3
    assert send(peer, "c", channel="y") == 1
    assert peer.heard() == [[3, "x", 1, 1, ["a", "b", 3, None]], [3, "y", 1, 1, ["c"]]]
    assert send(peer, "d") == 1
    assert peer.heard() == [[3, "x", 5, 1, ["d"]]]


def test_each_answer_finds_its_owner() -> None:
    peer = RawPeer()
    send(peer, "a", "b", owner="one")
    send(peer, "c", "d", owner="two")
    peer.heard()
    peer.say([4, "x", 1, ["A", "B", "C"]], [5, "x", 4, 1, "T", "m"])
    assert peer.take(Acked) == [Acked("one", ["A", "B"]), Acked("two", ["C"])]
    assert peer.take(Refused) == [Refused("two", 1, "T", "m")]
    assert peer.link.idle


@pytest.mark.parametrize(
    "record",
    [
        [4, "x", 2, [0]],
        [4, "x", 1, [0, 0, 0]],
        [4, "y", 1, [0]],
        [5, "x", 1, 3, "T", "m"],
        [5, "x", 3, 1, "T", "m"],
    ],
    ids=str,
)
def test_wrong_answers_end_the_session(record: list[Any]) -> None:
    peer = RawPeer()
    send(peer, "a", "b")
    peer.heard()
    send(peer, "never sent")
    with pytest.raises(RemoteProtocolError):
        peer.say(record)
    peer.heard()
    assert peer.take(Failed) == [Failed("me", 2, Reason.SESSION_OVER, True)]
    assert peer.link.books()["sent"]["x"]["in_flight"] == 1
    peer.link.connection_lost(peer.now)
    peer.attach()
    assert peer.greeting == [[3, "x", 1, 1, ["never sent"]]]


def test_an_answer_twice_is_wrong() -> None:
    peer = RawPeer()
    send(peer, "a", "b")
    peer.heard()
    peer.say([4, "x", 1, [0]])
    with pytest.raises(RemoteProtocolError, match="unanswered are 2 to 2"):
        peer.say([4, "x", 1, [0]])


def test_credit_in_messages() -> None:
    peer = RawPeer(window_messages=3)
    assert peer.link.room("x") == 3
    assert send(peer, *range(5)) == 3
    assert peer.link.room("x") == 0
    assert send(peer, 9) == 0
    assert peer.heard() == [[3, "x", 1, 1, [0, 1, 2]]]
    assert peer.say([4, "x", 1, [0]]) == [[6, "x", 2]]
    assert peer.take(RoomOpened) == [RoomOpened("x")]
    assert send(peer, 3, 4) == 1
    assert peer.heard() == [[3, "x", 4, 2, [3]]]


def test_the_smaller_window_counts() -> None:
    assert RawPeer(LinkSettings(window_messages=2), window_messages=9).link.room("x") == 2
    assert RawPeer(LinkSettings(window_messages=9), window_messages=2).link.room("x") == 2


def test_credit_in_bytes() -> None:
    peer = RawPeer(window_bytes=1024)
    taken = send(peer, *(["x" * 98] * 100))
    (record,) = peer.heard()
    assert len(record[4]) == 10, "1,000 of 1,024 bytes"
    assert 10 < taken <= 14
    assert peer.link.room("x") == 0
    assert len(peer.say([4, "x", 1, [0] * 10])[0][4]) == taken - 10


def test_a_message_above_the_window_goes_alone() -> None:
    peer = RawPeer(window_bytes=1024)
    send(peer, "a")
    send(peer, "x" * 5000)
    assert peer.heard() == [[3, "x", 1, 1, ["a"]]]
    assert peer.say([4, "x", 1, [0]]) == [[3, "x", 2, 2, ["x" * 5000]]]
    assert peer.link.room("x") == 0
    peer.say([4, "x", 2, [0]])
    assert peer.link.room("x") == 4096


def test_runs_are_cut_for_a_window_that_became_smaller() -> None:
    peer = RawPeer()
    peer.link.connection_lost(peer.now)
    send(peer, *("y" * 90 for _ in range(100)))
    peer.now += 61
    peer.link.handle_timer(peer.now)
    send(peer, *("z" * 90 for _ in range(100)), patience=None)
    peer.attach(incarnation="r2", window_messages=7, window_bytes=1024)
    base = 1
    while not peer.link.idle:
        out = peer.link._traffic._outbound["x"]
        count = out.next - out.base
        assert 0 < count <= 7
        assert out.flight_bytes <= 1024
        peer.say([4, "x", base, [0] * count])
        base += count
    assert sum(len(event.values) for event in peer.take(Acked)) == 100


def test_large_messages_have_frames_of_their_own() -> None:
    peer = RawPeer()
    send(peer, "a")
    send(peer, b"L" * 20_000, b"M" * 20_000)
    send(peer, "b")
    sizes = [len(frame) for frame in peer.link.data_to_send(peer.now)]
    assert len(sizes) == 4
    assert sizes[1] == sizes[2] > 20_000 > sizes[0]


def test_bursts_are_bounded_and_channels_take_turns() -> None:
    peer = RawPeer()
    for channel in "xyz":
        send(peer, *(["x" * 1000] * 300), channel=channel)
    frames = peer.link.data_to_send(peer.now, 200_000)
    assert 200_000 <= sum(map(len, frames)) <= 270_000
    peer.link.data_to_send(peer.now)
    outs = peer.link._traffic._outbound
    assert {name for name, out in outs.items() if out.flight} == set("xyz")


@pytest.mark.parametrize("bad", [object(), 2**64, "\ud800"])
def test_what_cannot_be_sent_is_told_when_it_is_first(bad: object) -> None:
    peer = RawPeer()
    assert send(peer, "a", bad, "b") == 1
    with pytest.raises(PayloadError):
        send(peer, bad, "b")
    assert peer.link.books()["sent"]["x"]["sent"] == 1


def test_too_large() -> None:
    peer = RawPeer(max_message=65536)
    with pytest.raises(FrameTooLargeError) as caught:
        send(peer, "x" * 70_000)
    assert (caught.value.size, caught.value.limit) == (70_005, 65536)
    peer = RawPeer()
    peer.link.connection_lost(peer.now)
    send(peer, "x" * 70_000, "small")
    peer.attach(session=peer.welcome["session"], connections=1, max_message=65536)
    assert peer.take(Failed) == [Failed("me", 1, Reason.TOO_LARGE, False)]


def test_names_of_channels() -> None:
    peer = RawPeer()
    for name in ("x" * 256, "x" * 1000):
        with pytest.raises(LocalProtocolError, match="at most 255"):
            send(peer, 1, channel=name)
    assert send(peer, 1, channel="\N{SNOWMAN}" * 255) == 1
    assert peer.heard() == [[3, "\N{SNOWMAN}" * 255, 1, 1, [1]]]


def test_items_may_change_after_they_were_sent() -> None:
    peer = RawPeer()
    item = {"a": 1}
    send(peer, item)
    item["a"] = 2
    assert peer.heard() == [[3, "x", 1, 1, [{"a": 1}]]]


def test_settled_is_told_when_much_is_owed_or_all_is_quiet() -> None:
    peer = RawPeer(window_messages=8)
    send(peer, *range(8))
    peer.heard()
    assert peer.say([4, "x", 1, [0]]) == []
    assert peer.say([4, "x", 2, [0]]) == [[6, "x", 3]]
    assert peer.say([4, "x", 3, [0]]) == []
    assert [6, "x", 4] in peer.wait(0.5)
    peer.say([4, "x", 4, [0] * 5])
    assert not peer.link._traffic._outbound, "an idle channel is one number"
    send(peer, "more")
    assert peer.heard() == [[3, "x", 9, 9, ["more"]]]


def test_large_answers_are_settled_soon() -> None:
    peer = RawPeer(window_bytes=1024)
    send(peer, "a", "b", "c")
    peer.heard()
    assert peer.say([4, "x", 1, ["x" * 300]]) == [[6, "x", 2]]


def test_settled_is_repeated_after_a_lost_connection() -> None:
    peer = RawPeer()
    send(peer, "a")
    peer.heard()
    peer.say([4, "x", 1, [0]])
    assert [6, "x", 2] in peer.wait(0.5)
    assert peer.resume() == [[6, "x", 2]]


def test_resend_begins_at_base_with_the_old_numbers() -> None:
    peer = RawPeer()
    send(peer, "a", "b", "c")
    send(peer, "d")
    peer.heard()
    send(peer, "e")
    peer.say([4, "x", 1, [0]])
    assert peer.resume() == [[3, "x", 2, 2, ["b", "c", "d", "e"]]]
    peer.say([4, "x", 2, [0]])
    assert peer.resume() == [[3, "x", 3, 3, ["c", "d", "e"]]]


def test_what_was_given_up_is_skipped() -> None:
    peer = RawPeer()
    send(peer, "a", owner="one")
    send(peer, "b", "c", owner="two")
    send(peer, "d", owner="one")
    send(peer, "e", owner="two")
    peer.heard()
    peer.link.cancel("x", "two", peer.now)
    assert peer.link.books()["sent"]["x"]["cancelled"] == 3
    assert peer.resume() == [
        [3, "x", 1, 1, ["a"]],
        [8, "x", 2, 1, 2],
        [3, "x", 4, 1, ["d"]],
        [8, "x", 5, 1, 1],
    ]
    peer.say([4, "x", 1, [0]], [5, "x", 2, 1, "!skipped", ""], [4, "x", 3, [0, 0]], [5, "x", 5, 1, "T", ""])
    line = peer.link.books()["sent"]["x"]
    assert (line["acked"], line["late_acked"], line["late_refused"], line["late_skipped"]) == (2, 1, 1, 1)
    assert line["balanced"]


def test_what_was_not_sent_is_withdrawn() -> None:
    peer = RawPeer()
    send(peer, "a", owner="one")
    send(peer, "b", owner="two")
    peer.link.cancel("x", "one", peer.now)
    assert peer.heard() == [[3, "x", 1, 1, ["b"]]]
    assert peer.take(Failed) == [Failed("one", 1, Reason.CANCELLED, False)]
    peer.link.cancel("x", "nobody", peer.now)
    peer.link.cancel("no channel", "one", peer.now)


def test_a_cancelled_channel_leaves_nothing() -> None:
    peer = RawPeer()
    send(peer, "a", channel="never sent")
    peer.link.cancel("never sent", "me", peer.now)
    peer.heard()
    assert not peer.link._traffic._outbound
    send(peer, "a")
    peer.link.cancel("x", "me", peer.now)
    peer.heard()
    send(peer, "a")
    peer.link.cancel("x", "me", peer.now)
    assert peer.heard() == []
    assert peer.link.idle


def test_ack_timeout_counts_from_transmission() -> None:
    peer = RawPeer()
    send(peer, "a", ack_timeout=1.0)
    peer.now += 5
    peer.heard()
    peer.link.heard(peer.now)
    peer.wait(0.9)
    assert not peer.take(Failed)
    peer.wait(0.1)
    assert peer.take(Failed) == [Failed("me", 1, Reason.ACK_TIMEOUT, True, about(1.0))]
    peer.say([4, "x", 1, ["late"]])
    assert not peer.take(Acked)
    line = peer.link.books()["sent"]["x"]
    assert (line["failed"], line["late_acked"], line["balanced"]) == ({"ack timeout": 1}, 1, True)


def test_one_alarm_for_many_messages() -> None:
    peer = RawPeer()
    for n in range(1000):
        send(peer, n, ack_timeout=5.0)
        peer.heard()
        peer.say([4, "x", n + 1, [0]])
        peer.now += 0.001
    assert len(peer.link._traffic._alarms) <= 2


def test_patience_counts_from_the_loss_or_the_sending() -> None:
    peer = RawPeer()
    send(peer, "old", patience=1.0)
    peer.heard()
    peer.now += 100
    peer.link.connection_lost(peer.now)
    send(peer, "for ever", patience=None, owner="other")
    peer.now += 0.5
    send(peer, "new", patience=1.0)
    peer.wait(0.5)
    assert peer.take(Failed) == [Failed("me", 1, Reason.PEER_DOWN, True, about(1.0))]
    peer.wait(0.7)  # asleep for a while: what was really waited counts
    assert peer.take(Failed) == [Failed("me", 1, Reason.PEER_DOWN, False, about(1.2))]
    peer.wait(50)
    assert not peer.take(Failed)


def test_connections_without_any_answer_are_no_way_out() -> None:
    peer = RawPeer()
    send(peer, "poison", patience=None)
    peer.heard()
    for _ in range(10):
        peer.resume()
        assert not peer.take(Failed)
    peer.now += 7
    peer.resume()
    assert peer.take(Failed) == [Failed("me", 1, Reason.PEER_DOWN, True, about(7.0))]


def test_a_new_incarnation_gets_what_was_never_answered() -> None:
    peer = RawPeer()
    send(peer, "answered", "least")
    send(peer, "most", at_most_once=True, owner="once")
    peer.heard()
    send(peer, "sent as well", at_most_once=True, owner="once")
    peer.say([4, "x", 1, [0]])
    peer.link.connection_lost(peer.now)
    send(peer, "queued too", at_most_once=True, owner="once")
    peer.attach(incarnation="r2")
    assert not peer.welcome["resumed"]
    assert peer.take(Failed) == [Failed("once", 1, Reason.PEER_RESTARTED, True)] * 2
    assert peer.greeting == [[3, "x", 1, 1, ["least", "queued too"]]]
    peer.say([4, "x", 1, ["ok", "too"]])
    assert peer.take(Acked)[1:] == [Acked("me", ["ok"]), Acked("once", ["too"])]


def test_a_peer_that_forgot_the_session_gets_only_what_was_never_sent() -> None:
    peer = RawPeer()
    send(peer, "sent")
    peer.heard()
    peer.link.connection_lost(peer.now)
    send(peer, "queued")
    peer.attach(session="")
    assert peer.greeting == [[3, "x", 1, 1, ["queued"]]]
    assert peer.take(SessionEnded)
    assert peer.take(Failed) == [Failed("me", 1, Reason.SESSION_OVER, True)]
    peer.say([4, "x", 1, ["ok"]])
    assert peer.take(Acked) == [Acked("me", ["ok"])]


def test_what_a_leaving_peer_turned_away_waits_for_its_successor() -> None:
    peer = RawPeer()
    send(peer, "a", "b", "c", at_most_once=True)
    peer.heard()
    peer.say([7, "going"])
    send(peer, "d", at_most_once=True)
    assert peer.heard() == [], "nothing new for who is leaving"
    peer.say([4, "x", 1, [0]], [5, "x", 2, 1, "!leaving", ""], [5, "x", 3, 1, "!leaving", ""])
    assert not peer.take(Refused)
    assert peer.link.books()["sent"]["x"]["in_flight"] == 3
    peer.link.connection_lost(peer.now)
    peer.take(Acked)
    peer.attach(incarnation="r2")
    peer.say([4, "x", 1, [2, 3, 4]])
    assert [value for event in peer.take(Acked) for value in event.values] == [2, 3, 4]


def test_many_names_of_channels_cost_one_number() -> None:
    """More names than are remembered: the sequence goes on above all that were forgotten."""
    peer = RawPeer()
    for name in range(16384 + 10):
        send(peer, 1, channel=f"c{name}")
        ((_, _, first, base, _),) = peer.heard()
        assert first == base
        peer.link._traffic._outbound[f"c{name}"].acked(first, [0], 2)
        peer.link._traffic._moved(peer.link._traffic._outbound[f"c{name}"], peer.now)
        if name % 1000 == 0 or name > 16384:
            peer.link.heard(peer.now)
            peer.wait(0.6)
    peer.link.heard(peer.now)
    peer.wait(0.6)
    traffic = peer.link._traffic
    assert len(traffic._idle) <= 16384
    assert traffic._floor == 2
    send(peer, 1, channel="c0")
    assert peer.heard() == [[3, "c0", 2, 2, [1]]]
    assert peer.link.balanced()


def test_messages_too_large_fail_in_their_turn() -> None:
    peer = RawPeer()
    send(peer, "a", owner="one")
    peer.heard()
    peer.link.connection_lost(peer.now)
    send(peer, "b", "x" * 70_000, "c", owner="one")
    send(peer, "x" * 70_000, "d", owner="two")
    peer.attach(session=peer.welcome["session"], connections=1, max_message=65536)
    # Nothing of "two" is before its own.
    assert peer.take(Failed) == [Failed("two", 1, Reason.TOO_LARGE, False)]
    assert peer.greeting == [[3, "x", 1, 1, ["a", "b"]]]
    peer.say([4, "x", 1, [0]])
    assert peer.take(Failed) == []
    assert peer.say([4, "x", 2, [0]]) == [[3, "x", 3, 3, ["c", "d"]]]
    answers = [event for event in peer.events if isinstance(event, Acked | Failed)]
    assert answers[-2:] == [Acked("one", [0]), Failed("one", 1, Reason.TOO_LARGE, False)]
    assert peer.link.balanced()


def test_a_message_too_large_fails_when_those_before_it_were_given_up() -> None:
    peer = RawPeer()
    send(peer, "a", ack_timeout=1.0)
    peer.heard()
    peer.link.connection_lost(peer.now)
    send(peer, "x" * 70_000, ack_timeout=1.0)
    peer.attach(session=peer.welcome["session"], connections=1, max_message=65536)
    assert peer.take(Failed) == []
    peer.wait(1.0)
    assert [event.reason for event in peer.take(Failed)] == [Reason.ACK_TIMEOUT, Reason.TOO_LARGE]
    peer.say([4, "x", 1, [0]])
    assert peer.link.idle


def test_ack_timeout_ends_the_wait_for_credit_that_given_up_messages_hold() -> None:
    peer = RawPeer(window_messages=3)
    for n in range(3):
        assert send(peer, n, owner=n, ack_timeout=0.2) == 1
    peer.heard()
    assert peer.link.room("x") == 0
    peer.wait(0.2)
    assert len(peer.take(Failed)) == 3
    assert peer.take(RoomOpened) == [RoomOpened("x")]
    # The peer may hold all three, so nothing can be sent; but they must not wait for ever.
    for n in range(20):
        assert peer.link.room("x") == 3
        assert send(peer, n, owner=n, ack_timeout=0.2) == 1
        assert peer.heard() == []
        peer.link.heard(peer.now)
        peer.wait(0.1)
        assert peer.take(Failed) == []
        peer.wait(0.125)
        assert peer.take(Failed) == [Failed(n, 1, Reason.ACK_TIMEOUT, False, about(0.225))]
    line = peer.link.books()["sent"]["x"]
    assert (line["failed"], line["unknown"], line["in_flight"]) == ({"ack timeout": 23}, 3, 0)
    send(peer, "hope", ack_timeout=0.2)
    peer.now += 0.15
    assert peer.say([4, "x", 1, [0]])[-1] == [3, "x", 4, 2, ["hope"]]
    peer.say([4, "x", 2, [0, 0, "yes"]])
    assert peer.take(Acked) == [Acked("me", ["yes"])]
    line = peer.link.books()["sent"]["x"]
    assert (line["late_acked"], line["unknown"], line["balanced"]) == (3, 0, True)
    assert peer.link.idle


def test_stuck_begins_when_the_last_one_in_flight_is_answered_or_given_up() -> None:
    for end in ("answered", "cancelled", "late"):
        peer = RawPeer(LinkSettings(timeout=60.0), window_messages=3, timeout=60.0)
        send(peer, "live", owner="live", ack_timeout=3.0 if end == "late" else None)
        send(peer, "a", "b", ack_timeout=0.5)
        peer.heard()
        peer.wait(0.5)
        assert len(peer.take(Failed)) == 1
        # "c" fits into the window again only if "live" is answered.
        send(peer, "c", "d", owner="later", ack_timeout=1.0)
        peer.wait(2.0)
        assert peer.take(Failed) == []
        if end == "answered":
            assert peer.say([4, "x", 1, [0]])[-1] == [3, "x", 4, 2, ["c"]]
            peer.wait(1.0)
            assert peer.take(Failed) == [Failed("later", 1, Reason.ACK_TIMEOUT, True, about(1.0))]
        elif end == "cancelled":
            peer.link.cancel("x", "live", peer.now)
            peer.take(Failed)
        else:
            peer.wait(0.5)
            assert [event.owner for event in peer.take(Failed)] == ["live"]
        peer.wait(0.9)
        assert peer.take(Failed) == []
        peer.wait(0.1)
        (failed,) = {(event.owner, event.transmitted) for event in peer.take(Failed)}
        assert failed == ("later", False)


def test_credit_in_bytes_that_given_up_messages_hold() -> None:
    peer = RawPeer(window_bytes=1024)
    send(peer, "x" * 1000, ack_timeout=0.2)
    peer.heard()
    peer.wait(0.2)
    send(peer, "y" * 900, ack_timeout=0.2)
    assert peer.heard() == []
    peer.wait(0.2)
    assert [event.transmitted for event in peer.take(Failed)] == [True, False]
    peer.say([4, "x", 1, [0]])
    assert peer.link.idle
    assert peer.link.room("x") == 4096


def test_patience_not_ack_timeout_counts_while_there_is_no_connection() -> None:
    peer = RawPeer(window_messages=1)
    send(peer, "a", ack_timeout=0.2)
    peer.heard()
    peer.wait(0.2)
    peer.link.connection_lost(peer.now)
    send(peer, "b", ack_timeout=0.2)
    peer.take(Failed)
    peer.wait(5)
    assert peer.take(Failed) == []
    peer.attach(session=peer.welcome["session"], connections=1, window_messages=1)
    assert peer.greeting == [[8, "x", 1, 1, 1]]
    peer.wait(0.1)
    assert peer.take(Failed) == []
    peer.wait(0.125)
    assert peer.take(Failed) == [Failed("me", 1, Reason.ACK_TIMEOUT, False, about(0.225))]


def test_what_an_earlier_incarnation_may_have_handled_is_in_doubt() -> None:
    peer = RawPeer()
    send(peer, "sent")
    peer.heard()
    peer.link.connection_lost(peer.now)
    peer.attach(incarnation="r2")
    peer.link.connection_lost(peer.now)
    peer.attach(incarnation="r3", window_messages=1)
    peer.link.cancel("x", "me", peer.now)
    assert peer.take(Failed) == [Failed("me", 1, Reason.CANCELLED, True)]
    peer = RawPeer()
    send(peer, "sent")
    peer.heard()
    peer.say([7, "going"])
    peer.link.connection_lost(peer.now)
    peer.attach(incarnation="r2")
    peer.say([7, "going too"], [5, "x", 1, 1, "!leaving", ""])
    peer.link.cancel("x", "me", peer.now)
    assert peer.take(Failed) == [Failed("me", 1, Reason.CANCELLED, True)]
    assert peer.link.books()["sent"]["x"]["unknown"] == 1


def test_unknown_outcomes_have_a_line() -> None:
    peer = RawPeer()
    for owner in ("a", "b", "c", "d"):
        send(peer, 1, 2, owner=owner)
    peer.heard()
    send(peer, 3, owner="e")
    for owner in ("a", "b", "c", "e"):
        peer.link.cancel("x", owner, peer.now)

    def numbers() -> tuple[Any, ...]:
        line: Any = peer.link.books()["sent"]["x"]
        assert line["balanced"]
        keys = ("cancelled", "unknown", "late_acked", "late_refused", "late_skipped")
        return tuple(line[key] for key in keys)

    assert numbers() == (7, 6, 0, 0, 0)
    peer.say([4, "x", 1, [0]])
    assert numbers() == (7, 5, 1, 0, 0)
    peer.say([5, "x", 2, 1, "T", ""], [5, "x", 3, 2, "!skipped", ""])
    assert numbers() == (7, 2, 1, 1, 2)
    with pytest.raises(RemoteProtocolError):
        peer.say([9])
    assert numbers() == (7, 4, 1, 1, 2), "those of d are lost with the session"


def test_a_channel_whose_first_message_cannot_be_sent_is_not_open() -> None:
    peer = RawPeer(max_message=65536)
    with pytest.raises(FrameTooLargeError):
        send(peer, "x" * 70_000)
    with pytest.raises(PayloadError):
        send(peer, object())
    assert send(peer) == 0
    assert not peer.link._traffic._outbound


def test_a_channel_that_became_idle_without_a_connection_is_closed() -> None:
    peer = RawPeer()
    send(peer, "a")
    peer.heard()
    peer.say([4, "x", 1, [0]])
    peer.link.connection_lost(peer.now)
    send(peer, "b", patience=1.0)
    peer.wait(0.6)
    peer.wait(0.6)
    assert [event.reason for event in peer.take(Failed)] == [Reason.PEER_DOWN]
    peer.attach(session=peer.welcome["session"], connections=1)
    assert peer.greeting == [[6, "x", 2]]
    assert not peer.link._traffic._outbound
