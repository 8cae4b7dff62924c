"""The life of a link: meeting, losing, resuming, ending, leaving; and a peer that speaks garbage."""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

import msgspec
import pytest

import mesh.protocol.link as package
from mesh.errors import LocalProtocolError, RemoteProtocolError
from mesh.protocol.link import (
    Acked,
    Attached,
    Closed,
    ConnectionRefused,
    Delivery,
    Detached,
    Failed,
    HelloTerms,
    Link,
    LinkSettings,
    PeerLeaving,
    Reason,
    Received,
    RoomOpened,
    SessionEnded,
    State,
    WorkAbandoned,
    read_hello,
    read_refusal,
    refusal,
    traffic,
)
from tests.helpers.link_pair import LinkPair
from tests.helpers.raw_peer import TERMS, RawPeer

pack = msgspec.msgpack.encode


def events(pair: LinkPair, name: str, *kinds: type) -> list[Any]:
    return [event for event in pair.shells[name].log if isinstance(event, kinds)]


def test_what_is_public() -> None:
    assert sorted(package.__all__, key=lambda name: (not name.isupper(), name)) == package.__all__
    assert all(hasattr(package, name) for name in package.__all__)


def test_both_ends_are_told_who_is_there() -> None:
    pair = LinkPair()
    pair.attach()
    (a,), (b,) = events(pair, "a", Attached), events(pair, "b", Attached)
    assert a == Attached("b", "boot-1", "session-1", False, False)
    assert b == Attached("a", "boot-1", "session-1", False, False)
    assert pair.a.link.peer == "b"


def test_messages_before_the_first_connection_wait() -> None:
    pair = LinkPair()
    owner = pair.a.send("x", ["1:", "2:"])
    back = pair.b.send("x", ["3:"])
    pair.attach()
    pair.exchange(handle=True)
    assert owner.settled
    assert back.settled


def test_a_session_survives_its_connection() -> None:
    pair = LinkPair()
    pair.attach()
    owner = pair.a.send("x", [f"{n}:" for n in range(1000)])
    for _ in range(5):
        pair.a.transfer(1)
        pair.exchange()
        pair.b.handle("x", 150)
        pair.cut()
        pair.b.handle("x", 50)
        pair.advance(3)
        pair.attach("b")
    pair.calm()
    assert [what for what, _ in owner.outcomes] == ["acked"] * 1000
    assert not pair.sessions_ended
    assert pair.b.link.books()["received"]["x"]["handled"] == 1000


def test_a_session_expires() -> None:
    pair = LinkPair()
    pair.attach()
    owner = pair.a.send("x", ["1:"], Delivery(patience=None))
    pair.exchange()
    pair.cut()
    fresh = pair.a.send("x", ["2:"], Delivery(patience=None))
    pair.advance(59.9)
    assert not owner.outcomes
    pair.advance(0.2)
    assert owner.outcomes == [("failed", (Reason.SESSION_OVER, True))]
    assert events(pair, "b", WorkAbandoned)
    assert events(pair, "a", SessionEnded)
    assert pair.a.link.next_deadline() == inf
    pair.attach()
    pair.exchange(handle=True)
    assert fresh.outcomes[0][0] == "acked"


def test_a_session_does_not_expire_while_a_dial_asks_for_it() -> None:
    pair = LinkPair()
    pair.attach()
    owner = pair.a.send("x", ["1:"], Delivery(patience=None))
    pair.exchange()
    pair.cut()
    pair.advance(59)
    pair.b.dial()
    pair.advance(1.5)
    pair.exchange(handle=True)
    assert pair.resumes == 0, "a's expired meanwhile, and says so"
    assert owner.outcomes[0][0] == "failed"


def test_a_restarted_receiver_gets_what_was_not_answered() -> None:
    pair = LinkPair()
    pair.attach()
    owner = pair.a.send("x", ["1:", "2:", "3:"])
    once = pair.a.send("y", ["4:"], Delivery(at_most_once=True))
    pair.exchange()
    pair.b.handle("x", 1)
    pair.exchange()
    pair.b.boot()
    pair.cut()
    pair.attach()
    pair.calm()
    assert [what for what, _ in owner.outcomes] == ["acked"] * 3
    assert once.outcomes == [("failed", (Reason.PEER_RESTARTED, True))]
    (_, again) = events(pair, "a", Attached)
    assert again.restarted
    assert not again.resumed


def test_a_restarted_sender_leaves_work_abandoned() -> None:
    pair = LinkPair()
    pair.attach()
    pair.a.send("x", ["1:", "2:"])
    pair.exchange()
    pair.a.boot()
    pair.cut()
    pair.attach()
    (abandoned,) = events(pair, "b", WorkAbandoned)
    assert abandoned.count == 2
    assert pair.b.link.balanced()


def test_leaving_finishes_what_there_is() -> None:
    pair = LinkPair()
    pair.attach()
    out = pair.a.send("x", ["1:"])
    into = pair.b.send("x", ["2:"])
    pair.exchange()
    pair.a.leave()
    assert pair.a.link.room("x") == 0
    with pytest.raises(LocalProtocolError, match="closing"):
        pair.a.link.send("x", ["no"], pair.now)
    pair.exchange()
    late = pair.b.send("x", ["3:"])
    assert [event.reason for event in events(pair, "b", PeerLeaving)] == ["leaving"]
    pair.exchange()
    assert not events(pair, "a", Closed)
    pair.exchange(handle=True)
    assert events(pair, "a", Closed)
    assert out.outcomes[0][0] == into.outcomes[0][0] == "acked"
    assert not late.outcomes
    pair.calm()  # a has booted again
    assert late.outcomes[0][0] == "acked"


def test_what_crosses_a_bye_is_not_lost_and_not_in_doubt() -> None:
    pair = LinkPair()
    pair.attach()
    work = pair.b.send("x", ["1:"])
    pair.exchange()
    pair.a.leave()
    crossing = pair.b.send("x", ["2:", "3:"], Delivery(at_most_once=True))
    pair.b.transfer()
    pair.exchange(handle=True)
    assert work.outcomes[0][0] == "acked"
    assert not crossing.outcomes
    pair.calm()
    assert [what for what, _ in crossing.outcomes] == ["acked", "acked"]


def test_both_leave_at_once() -> None:
    pair = LinkPair()
    pair.attach()
    owners = [shell.send("x", ["1:", "2:"]) for shell in pair.shells.values()]
    for shell in pair.shells.values():
        shell.leave()
    pair.exchange(handle=True)
    pair.advance(1)
    pair.exchange(handle=True)
    assert events(pair, "a", Closed)
    assert events(pair, "b", Closed)
    assert all(owner.settled for owner in owners)


def test_leaving_without_a_connection_is_immediate() -> None:
    link = Link("a", "1", 0.0, peer="b")
    link.send("x", ["a"], 0.0, owner="me")
    link.close(1.0)
    link.close(1.0)
    assert link.events() == [Failed("me", 1, Reason.CLOSED, False), Closed()]
    assert link.state is State.CLOSED
    assert link.balanced()
    with pytest.raises(LocalProtocolError):
        link.dial(2.0)
    no = link.accept(read_hello(pack([[0, {**TERMS, "name": "b"}]])), 2.0, session="s")
    assert no is not None
    assert msgspec.msgpack.decode(no)[0][1] == "closing"
    link.connection_lost(3.0)
    link.handle_timer(4.0)
    assert link.events() == []


def test_leaving_ends_when_the_connection_does() -> None:
    pair = LinkPair()
    pair.attach()
    owner = pair.a.send("x", ["1:"])
    pair.exchange()
    pair.a.leave()
    pair.cut()
    assert owner.outcomes == [("failed", (Reason.CLOSED, True))]
    assert events(pair, "a", Closed)


def test_wrong_use_is_a_local_error() -> None:
    pair = LinkPair()
    pair.attach()
    with pytest.raises(LocalProtocolError, match="attached"):
        pair.a.link.dial(pair.now)
    with pytest.raises(LocalProtocolError, match="HELLO of raw"):
        pair.a.link.accept(read_hello(pack([[0, TERMS]])), pair.now, session="s")


@pytest.mark.parametrize(
    "change",
    [
        {"window_messages": 0},
        {"window_bytes": 10},
        {"max_message": 100},
        {"heartbeat": 0},
        {"timeout": -1.0},
    ],
)
def test_settings_have_limits(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be from"):
        LinkSettings(**change)


def greeting() -> Link:
    link = Link("a", "1", 0.0, peer="b")
    link.dial(0.0)
    assert len(link.data_to_send(0.0)) == 1
    return link


WELCOME = {**TERMS, "name": "b", "v": 1, "session": "s", "connections": 1, "resumed": False}


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        ([[3, "x", 1, 1, [1]]], "WELCOME or REFUSED"),
        ([[1, WELCOME], [3, "x", 1, 1, [1]]], "WELCOME or REFUSED"),
        ([[1, {**WELCOME, "name": "c"}]], "dialled b, but c answers"),
        ([[1, {**WELCOME, "v": 2}]], "version 2"),
        ([[1, {**WELCOME, "resumed": True}]], "not asked for"),
        ([[1, {**WELCOME, "session": ""}]], "not a valid frame"),
    ],
)
def test_wrong_greetings(frame: Any, match: str) -> None:
    link = greeting()
    with pytest.raises(RemoteProtocolError, match=match):
        link.receive(pack(frame), 0.1)
    assert link.state is State.REFUSING
    assert msgspec.msgpack.decode(link.data_to_send(0.1)[0])[0][:2] == [2, "protocol"]
    assert link.data_to_send(0.1) == []
    link.connection_lost(0.2)
    link.dial(0.3)


def test_the_terms_may_hold_more_than_we_know() -> None:
    link = greeting()
    link.receive(b"\x90", 0.1)
    link.receive(pack([[1, {**WELCOME, "colour": "red"}]]), 0.1)
    assert link.state is State.ATTACHED
    assert link.data_to_send(0.1) == [b"\x90"], "the proof that we know the session"


def test_a_refused_dial_says_why() -> None:
    link = greeting()
    link.receive(refusal("name-taken", "there is another a"), 0.1)
    assert link.events() == [ConnectionRefused("name-taken", "there is another a")]
    link.connection_lost(0.2)
    assert link.events() == []
    assert link.state is State.DETACHED


@pytest.mark.parametrize("code", ["name-taken", "version", "too-many", "unsure", "news"])
def test_a_refusal_for_good_fails_what_waits(code: str) -> None:
    link = greeting()
    link.send("x", ["a", "b"], 0.0, owner="me")
    link.receive(refusal(code, "because"), 0.1)
    events = link.events()
    assert events.pop(0) == ConnectionRefused(code, "because")
    if code in ("name-taken", "version"):
        assert events == [Failed("me", 2, Reason.TURNED_AWAY, False)]
        assert link.books()["sent"]["x"]["failed"] == {"turned away": 2}
        assert link.idle
    else:
        assert events == []
        assert link.books()["sent"]["x"]["in_flight"] == 2
    assert link.balanced()


def test_who_may_be_gone_keeps_its_name_for_a_while_but_not_for_good() -> None:
    peer = RawPeer()
    other = HelloTerms(**{**TERMS, "name": peer.link.peer, "incarnation": "another"})
    for silence, code in ((0.0, "name-taken"), (0.9, "name-taken"), (1.2, "unsure")):
        no = peer.link.accept(other, peer.now + silence, session="s2")
        assert no is not None
        assert read_refusal(no)[0] == code
    peer.say([7, "stopping"])
    no = peer.link.accept(other, peer.now, session="s2")
    assert no is not None
    assert read_refusal(no)[0] == "unsure"


def test_a_protocol_error_that_the_peer_found_ends_the_session() -> None:
    peer = RawPeer()
    peer.link.send("x", ["a"], peer.now, owner="me")
    peer.heard()
    peer.say([2, "protocol", "I cannot read this"])
    assert peer.take(ConnectionRefused)
    assert peer.take(SessionEnded)
    assert peer.take(Detached)
    assert peer.take(Failed) == [Failed("me", 1, Reason.SESSION_OVER, True)]


def test_other_refusals_leave_the_session() -> None:
    peer = RawPeer()
    peer.say([2, "too-many", "later"])
    assert not peer.take(SessionEnded)
    peer.resume()


def test_a_hello_may_come_before_the_loss_of_a_refused_connection() -> None:
    peer = RawPeer()
    peer.link.send("x", ["a"], peer.now, owner="me")
    peer.heard()
    peer.say([2, "too-many", "later"])
    peer.attach(session=peer.welcome["session"], connections=1)
    assert peer.greeting == [[3, "x", 1, 1, ["a"]]]


@pytest.mark.parametrize(
    "frame", [b"", b"\x90", pack([[3, "x", 1, 1, [1]]]), pack([[0, TERMS], [6, "x", 1]])]
)
def test_read_hello_wants_a_hello(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_hello(frame)


def test_the_first_frame_is_small() -> None:
    with pytest.raises(RemoteProtocolError, match="limit is 8192"):
        read_hello(pack([[0, {**TERMS, "more": "x" * 10_000}]]))


def test_nothing_is_said_without_a_connection() -> None:
    link = Link("a", "1", 0.0)
    link.send("x", ["a"], 0.0)
    assert link.data_to_send(0.0) == []
    link.receive(b"garbage of a connection that is gone", 0.0)
    assert not link.happened


def fuzz(frames: int, seed: int) -> None:
    """Mutated and random frames: nothing but RemoteProtocolError, and the books balance."""
    randomness = random.Random(seed)

    def number() -> int:
        return randomness.choice((0, 1, 1, 2, 3, 4, 5, 2**31, 2**63, -1))

    def some_items() -> list[Any]:
        return [randomness.choice((None, "a", b"b", 1.5, [1], {"k": []}))] * randomness.choice(
            (0, 1, 1, 3, 9)
        )

    def channel() -> Any:
        return randomness.choice(("x", "x", "x", "y", "", 3, "\N{SNOWMAN}"))

    makers: list[Callable[[], list[Any]]] = [
        lambda: [3, channel(), number(), number(), some_items()],
        lambda: [4, channel(), number(), some_items()],
        lambda: [5, channel(), number(), number(), "T", "m"],
        lambda: [6, channel(), number()],
        lambda: [7, "bye"],
        lambda: [8, channel(), number(), number(), number()],
        lambda: [2, randomness.choice(("protocol", "other")), "no"],
        lambda: [40, "later"],
        lambda: [0, TERMS],
        list,
    ]
    peer = RawPeer(LinkSettings(window_messages=8, window_bytes=1024))
    attached = 0
    for n in range(frames):
        frame = bytearray(
            pack([randomness.choice(makers)() for _ in range(randomness.choice((0, 1, 1, 2, 4)))])
        )
        if n % 5 == 0:
            frame[randomness.randrange(len(frame))] = randomness.randrange(256)
        if n % 7 == 0:
            frame = bytearray(randomness.randbytes(randomness.randrange(40)))
        if peer.link.room("x") and n % 3 == 0:
            peer.link.send("x", ["hello"] * 2, peer.now, owner=n)
        with suppress(RemoteProtocolError):
            peer.link.receive(bytes(frame), peer.now)
        peer.heard()
        for event in peer.take(Received):
            peer.link.ack(event.work, event.items, peer.now)
        peer.heard()
        peer.events.clear()
        if peer.link.state is not State.ATTACHED:
            assert peer.link.balanced()
            peer.link.connection_lost(peer.now)
            if peer.link.state is State.CLOSED:
                peer.link = Link("here", "h1", peer.now)
            peer.attach(incarnation=f"r{n}")
            attached += 1
    assert attached > frames // 50
    assert peer.link.balanced()


def test_garbage() -> None:
    fuzz(2_000, seed=0)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        fuzz(4_000, seed=1)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200_000


def test_an_idle_link_is_small() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        pairs = []
        for n in range(50):
            a, b = Link("a", "1", 0.0, peer="b"), Link("b", "1", 0.0)
            a.dial(0.0)
            b.accept(read_hello(a.data_to_send(0.0)[0]), 0.0, session=f"s{n}")
            a.receive(b.data_to_send(0.0)[0], 0.0)
            b.receive(a.data_to_send(0.0)[0], 0.0)
            a.events()
            b.events()
            pairs.append((a, b))
        each = (tracemalloc.get_traced_memory()[0] - before) / 100
    finally:
        tracemalloc.stop()
    assert each < 8 * 1024, f"{each:.0f} bytes"


def test_idle_channels_are_cheap() -> None:
    pair = LinkPair()
    pair.attach()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(2_000):
            pair.a.link.send(f"channel-{n}", [f"{n}:"], pair.now)
        pair.exchange(handle=True)
        for shell in pair.shells.values():
            shell.log.clear()
            shell.delivered.clear()
            shell.handled.clear()
        pair.advance(0.6)
        pair.exchange()
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert not pair.a.link._traffic._outbound
    assert not pair.b.link._traffic._inbound
    assert used / 2_000 < 1024, f"{used / 2_000:.0f} bytes for both ends together"


def test_no_forbidden_module_is_imported_by_the_core() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("mesh.protocol.link"):
            names = set(vars(module))
            assert not names & {"asyncio", "socket", "time", "random", "logging", "os"}, name


def test_acks_carry_values_with_their_type() -> None:
    pair = LinkPair()
    pair.attach()
    values: list[Any] = [None, True, 3, 2.5, "text", b"bytes", [1, [2]], {"k": {"v": None}}]
    pair.a.link.send("x", values, pair.now, owner="me")
    pair.a.transfer()
    (connection,) = pair.connections
    frame = connection.pipes["b"].popleft()
    link = pair.b.link
    link.receive(frame, pair.now)
    (received,) = [event for event in link.events() if isinstance(event, Received)]
    assert received.items == values
    link.ack(received.work, received.items, pair.now)
    (answer,) = link.data_to_send(pair.now)
    pair.a.link.receive(answer, pair.now)
    assert pair.a.link.events() == [Acked("me", values)]


@pytest.mark.parametrize("cut", [False, True])
def test_retired_channels_are_forgotten_at_both_ends_in_time(cut: bool) -> None:
    pair = LinkPair(LinkSettings(heartbeat=20.0, timeout=60.0), LinkSettings(heartbeat=20.0, timeout=60.0))
    pair.attach()
    for number in range(300):
        channel = f"$part/{number}"
        pair.a.send(channel, [f"{number}"])
        if number % 2:
            pair.a.link.retire(channel)  # before its answer comes, or after it
        pair.exchange(handle=True)
        pair.a.link.retire(channel)
        if cut and number % 50 == 10:
            pair.cut()
            pair.attach()
    assert pair.a.link.open_senders < 150
    assert len(pair.b.link._traffic._inbound) < 150
    pair.advance(25.0)
    pair.exchange()
    assert pair.a.link.open_senders == 0
    assert not pair.b.link._traffic._inbound
    assert not pair.a.link._traffic._idle, "nobody will ask for their numbers again"
    # One that comes later begins above all of them, and one that is used again goes on.
    owner = pair.a.send("$part/7", ["x"])
    pair.exchange(handle=True)
    assert owner.settled
    assert set(pair.a.link.books()["sent"]) == {"$part"}
    pair.advance(25.0)
    pair.exchange()
    pair.calm()


def test_who_has_said_goodbye_leaves_no_session() -> None:
    pair = LinkPair()
    pair.attach()
    pair.a.send("x", ["1:", "2:"])
    pair.exchange(handle=True)
    pair.a.leave()
    pair.exchange(handle=True)
    pair.cut()
    assert [event.reason for event in events(pair, "b", SessionEnded)] == ["the peer has left"]
    assert [type(event) for event in pair.b.log[-2:]] == [Detached, SessionEnded]
    assert not pair.b.link.session
    assert pair.b.link.next_deadline() == inf


@pytest.mark.parametrize("owing", ["in hand", "in flight", "queued"])
def test_who_leaves_while_something_is_owed_leaves_a_session(owing: str) -> None:
    peer = RawPeer()
    if owing == "in hand":
        peer.say([3, "x", 1, 1, ["a"]])
    elif owing == "in flight":
        peer.link.send("x", ["a"], peer.now)
        peer.heard()
    peer.say([7, "going"])
    if owing == "queued":
        peer.link.send("x", ["a"], peer.now)
    peer.link.connection_lost(peer.now)
    assert peer.link.session
    peer.now += 61
    peer.link.handle_timer(peer.now)
    assert not peer.link.session


def wide(channels: int, name: str) -> list[str]:
    return [f"{name}{n}" for n in range(channels)]


def test_a_lost_settled_is_repeated_however_many_there_are() -> None:
    pair = LinkPair()
    pair.attach()
    for turn in range(4):
        for channel in wide(6000, f"r{turn}c"):
            pair.a.link.send(channel, [1], pair.now)
        pair.exchange(handle=True)
        pair.a.link.handle_timer(pair.now + 0.6)
        assert pair.a.link.data_to_send(pair.now), "SETTLED, which is lost"
        for shell in pair.shells.values():
            shell.delivered.clear()
        pair.cut()
        pair.attach()
        assert not pair.b.link._traffic._inbound
    assert not pair.sessions_ended


def test_settled_is_told_again_until_it_is_known_to_have_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MAX_CHANNELS", 8)
    pair = LinkPair()
    pair.attach()
    for n in range(200):
        pair.a.send(f"c{n}", [f"{n}:"])
        pair.exchange(handle=True)
        pair.advance(0.6)
        if n % 3:
            pair.exchange()
        else:
            pair.a.transfer()
            pair.cut()
            pair.attach()
    assert len(pair.a.link._traffic._unsure) <= 8
    pair.calm()


def test_what_was_told_before_a_cancelled_message_is_told_again() -> None:
    peer = RawPeer(window_messages=4)
    peer.link.send("x", ["a", "b"], peer.now, owner="me")
    peer.heard()
    peer.say([4, "x", 1, [0, 0]])
    assert peer.link.send("x", ["c"], peer.now, owner="me") == 1
    peer.link.cancel("x", "me", peer.now)
    assert peer.resume() == [[6, "x", 3]]


def test_more_channels_than_may_be_open_wait_for_a_place() -> None:
    pair = LinkPair()
    pair.attach()
    link, opened = pair.a.link, 0
    for channel in wide(17_000, "c"):
        assert link.room(channel) == 4096
        opened += link.send(channel, [1], pair.now)
        if opened % 4000 == 0:
            pair.exchange(handle=True)
            pair.b.delivered.clear()
    assert opened == 17_000
    assert not pair.sessions_ended


def test_channels_wait_while_all_places_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "MAX_CHANNELS", 4)
    pair = LinkPair()
    pair.attach()
    owners = [pair.a.send(f"c{n}", [f"{n}:"]) for n in range(4)]
    waiting = wide(6, "w")
    for channel in waiting:
        assert pair.a.link.room(channel) == 0
        assert pair.a.link.send(channel, ["no"], pair.now) == 0
    assert not events(pair, "a", RoomOpened)
    pair.exchange()
    pair.b.handle("c1")
    pair.exchange()
    assert [event.channel for event in events(pair, "a", RoomOpened)] == ["w0"], "one place, one is told"
    assert pair.a.link.room("w0")
    # It has changed its mind; so the next one gets the place.
    pair.advance(0.6)
    assert [event.channel for event in events(pair, "a", RoomOpened)] == ["w0", "w1"]
    more = pair.a.send("w1", ["5:"])
    assert pair.a.link.room("w2") == 0
    pair.exchange(handle=True)
    assert {event.channel for event in events(pair, "a", RoomOpened)} == set(waiting)
    assert more.settled
    assert all(owner.settled for owner in owners)
