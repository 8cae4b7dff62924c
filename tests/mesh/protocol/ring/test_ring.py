"""A ring over the network in memory: what the rows of section A ask for, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf

import pytest
from msgspec import Raw

from mesh.errors import FrameTooLargeError, LocalProtocolError, RemoteProtocolError
from mesh.protocol.ring import Dial, Event, Lost, Reason, RingSettings
from mesh.protocol.ring.connection import Connection
from mesh.protocol.ring.records import MAX_ITEM, MAX_NUMBER, Hello, Roll, Run, Terms, encode, frames
from mesh.protocol.ring.traffic import MOST_INCARNATIONS
from tests.helpers.ring_sim import Process, Sim, names


def started(count: int, seed: int = 1, **more: object) -> Sim:
    sim = Sim(names(count), seed, **more)  # type: ignore[arg-type]
    sim.start_all()
    return sim


def circulate(sim: Sim, name: str, patience: float | None = None) -> int:
    number = sim.processes[name].circulate(patience)
    assert number is not None
    return number


def settled(process: Process, number: int) -> Callable[[], bool]:
    return lambda: number not in process.pending


# -- messages --------------------------------------------------------------------------


@pytest.mark.source("A1", "A3", "A4")
def test_a_message_goes_round_in_order_and_comes_back() -> None:
    sim = started(5)
    number = circulate(sim, "n2")
    sender = sim.processes["n2"]
    assert sim.run(1.0, settled(sender, number))
    assert sender.receipts[number] == ("n3", "n4", "n0", "n1"), "from predecessor to successor"
    for one in sim.living:
        assert one.delivered[sender.incarnation] == ([] if one is sender else [number])
        assert len(one.pipes) == 2, "each has links to its two neighbours and to nobody else"


@pytest.mark.source("A18")
def test_a_ring_of_one_has_its_receipts_at_once() -> None:
    sim = Sim(["ann"], 1)
    ann = sim.start("ann")
    number = circulate(sim, "ann")
    assert ann.receipts[number] == ()
    assert ann.ring.is_lone


@pytest.mark.source("A18")
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
def test_members_start_in_any_order(order: tuple[int, ...]) -> None:
    sim = Sim(names(3), 1)
    for at in order:
        sim.start(f"n{at}")
        sim.run(3.0)
        assert sim.is_ring()


def test_what_is_sent_while_nobody_is_found_yet_waits() -> None:
    sim = Sim(names(2), 1)
    sim.start("n1")
    sim.run(1.0)
    sender = sim.start("n0")
    number = circulate(sim, "n0")
    assert number in sender.pending
    assert sim.run(1.0, settled(sender, number))
    assert sender.receipts[number] == ("n1",)


@pytest.mark.source("A20")
def test_order_is_kept_for_each_sender() -> None:
    sim = started(4)
    for _ in range(50):
        for one in sim.living:
            one.circulate()
    assert sim.run(5.0, sim.is_calm)
    sim.check_always()
    assert {len(numbers) for one in sim.living for numbers in one.delivered.values()} == {50}


@pytest.mark.source("A9")
def test_a_slow_member_holds_up_the_sender_and_little_is_kept() -> None:
    settings = RingSettings(window=100, room=10)
    sim = Sim(names(4), 1, settings=settings, handling=1e9)
    sim.start_all()
    sender, slow = sim.processes["n0"], sim.processes["n1"]
    sent = 0
    while sender.circulate() is not None:
        sent += 1
    sim.run(1.0)
    assert sent == 100
    let_through = slow.ring.traffic.in_hand
    assert 1 <= let_through <= 10
    assert len(sender.receipts) <= let_through, "nothing more is back than the slow one has let through"
    assert len(sim.processes["n2"].delivered[sender.incarnation]) <= let_through


def test_a_slow_member_does_not_hold_up_other_senders_for_ever() -> None:
    sim = started(3, handling=0.05)
    for _ in range(200):
        circulate(sim, "n0")
    number = circulate(sim, "n1")
    assert sim.run(1.0, settled(sim.processes["n1"], number))


def test_what_has_no_receipt_in_time_fails_by_name_and_the_next_goes_on() -> None:
    sim = Sim(names(3), 1, settings=RingSettings(room=1), handling=1e9)
    sim.start_all()
    sender = sim.processes["n0"]
    circulate(sim, "n0")
    number = circulate(sim, "n0", patience=0.5)
    sim.run(1.0)
    assert sender.failed[number].reason is Reason.NO_RECEIPT
    assert sender.failed[number].waited == pytest.approx(0.5, abs=0.01)
    sim.check_always()


def test_a_cancelled_message_is_settled_once() -> None:
    sim = started(3)
    sender = sim.processes["n0"]
    number = circulate(sim, "n0")
    sender.call(lambda now: sender.ring.cancel(number, now))
    assert sender.failed[number].reason is Reason.CANCELLED
    sim.run(1.0)
    assert number not in sender.receipts
    assert sim.processes["n1"].delivered[sender.incarnation] == [number], "it was on its way"
    sim.check_calm()


def test_what_is_too_large_is_refused_at_once() -> None:
    sim = started(2)
    with pytest.raises(FrameTooLargeError):
        sim.processes["n0"].ring.circulate(0, bytes(MAX_ITEM + 1), sim.now, None)
    counts = sim.processes["n0"].ring.traffic.counts
    assert counts["circulated"] == counts["too large"] == 1


# -- deaths ----------------------------------------------------------------------------


@pytest.mark.source("A5", "A8")
@pytest.mark.parametrize("size", [2, 3, 4, 8])
@pytest.mark.parametrize("deaths", [1, 2, 3])
def test_any_neighbours_die_and_nothing_of_the_living_is_lost(size: int, deaths: int) -> None:
    for at in range(size):
        sim = started(size, seed=at, handling=0.0)
        for one in sim.living:
            one.circulate()
        sim.run(0.0005 * (at + 1))
        for step in range(min(deaths, size - 1)):
            sim.kill(sim.members[(at + step) % size])
        killed = sim.now
        assert sim.run(1.0, sim.is_ring), sim.picture()
        assert sim.now - killed < 0.05
        for one in sim.living:
            one.circulate()
        sim.check_calm()


@pytest.mark.source("A8")
def test_who_lost_its_predecessor_is_found_by_the_member_whose_successor_link_is_down() -> None:
    sim = started(60)
    gone = sim.members[10:50]
    sim.cut(gone)
    left = [name for name in sim.members if name not in gone]
    cut = sim.now
    assert sim.run(3.0, lambda: sim.is_ring(left)), sim.picture()
    assert sim.now - cut < 0.75, "forty members that do not answer were not dialled one by one"


@pytest.mark.source("A11", "A12")
def test_the_end_of_a_connection_is_one_loss_however_it_is_noticed() -> None:
    sim = started(4)
    sim.losses.clear()
    sim.kill("n2")
    sim.run(0.02)
    one = sim.processes["n1"]

    def lose(number: int, now: float) -> None:
        one.ring.connection_lost(number, now, "again")

    for number in range(20):
        if number not in one.pipes:
            one.call(partial(lose, number))
    assert sorted((name, lost.name, lost.was) for _, name, lost in sim.losses) == [
        ("n1", "n2", "successor"),
        ("n3", "n2", "predecessor"),
    ]


@pytest.mark.source("A5")
@pytest.mark.parametrize("size", [8, 32])
def test_two_frozen_neighbours_are_noticed_and_gone_round(size: int) -> None:
    for seed in range(5):
        sim = started(size, seed)
        sim.losses.clear()
        gone = sim.members[3:5]
        for name in gone:
            sim.freeze(name)
        left = [name for name in sim.members if name not in gone]
        begun = sim.now
        assert sim.run(3.0, lambda: sim.is_ring(left)), sim.picture()  # noqa: B023
        assert sim.now - begun < 1.2
        assert max(at for at, _, _ in sim.losses) - begun < 0.7
        for name in gone:
            sim.thaw(name)
        assert sim.run(3.0, sim.is_ring), "they are let in again"


def test_who_was_asleep_itself_accuses_nobody() -> None:
    sim = started(5)
    sim.losses.clear()
    for one in sim.living:
        sim.freeze(one.name)
    sim.run(5.0)
    for one in sim.living:
        sim.thaw(one.name)
    sim.run(5.0)
    assert sim.losses == []


def test_what_a_process_was_late_by_is_nobodys_silence() -> None:
    connection = Connection(1, "n1", inf, outward=True)
    connection.open(heartbeat=0.14, timeout=0.55, now=10.0)
    connection.slept(0.3, 10.5)
    assert connection.why_dead(10.84) is None
    assert connection.why_dead(10.86) == "nothing was heard for 0.56 s"


def test_who_opens_a_connection_lives() -> None:
    ring = started(3).processes["n0"].ring
    begun, events = ring.next_deadline(), list[Event]()

    def silence(until: float) -> None:
        while (due := ring.next_deadline()) <= until:
            ring.handle_timer(due)
            ring.data_to_send(due)
            while (event := ring.next_event()) is not None:
                events.append(event)

    silence(begun + 0.4)
    again = next(event for event in events if isinstance(event, Dial) and event.name == "n1")
    ring.connected(again.id, begun + 0.4)
    silence(begun + 0.6)
    assert [event.name for event in events if isinstance(event, Lost)] == ["n2"]


@pytest.mark.slow
def test_lost_packets_are_no_deaths() -> None:
    sim = started(8)
    sim.loss = 0.05
    sim.losses.clear()
    for _ in range(600):
        sim.processes["n0"].circulate()
        sim.run(1.0)
    assert sim.losses == []


# -- partitions --------------------------------------------------------------------------


@pytest.mark.source("A20")
@pytest.mark.parametrize("way", ["halves", "scattered", "one alone"])
def test_each_part_goes_on_as_a_ring_and_all_become_one_again(way: str) -> None:
    for seed in range(5):
        sim = started(16, seed)
        apart = {
            "halves": sim.members[:8],
            "scattered": sim.random.sample(sim.members, 8),
            "one alone": sim.members[5:6],
        }[way]
        rest = [name for name in sim.members if name not in apart]
        sim.cut(apart)
        assert sim.run(4.0, lambda: sim.is_ring(apart) and sim.is_ring(rest)), sim.picture()  # noqa: B023
        sim.run(0.2)
        number = circulate(sim, rest[0])
        sender = sim.processes[rest[0]]
        assert sim.run(1.0, settled(sender, number))
        assert set(sender.receipts[number]) == set(rest[1:]), "the receipt names this part only"
        sim.heal()
        begun = sim.now
        assert sim.run(10.0, sim.is_ring), sim.picture()
        assert sim.now - begun < 5.0
        sim.check_calm()
        assert not any(number in sim.processes[name].delivered[sender.incarnation] for name in apart)


# -- coming and going ----------------------------------------------------------------------


@pytest.mark.source("A20")
def test_a_member_that_leaves_leaves_no_break() -> None:
    sim = started(5, handling=0.05)
    sim.losses.clear()
    for one in sim.living:
        one.circulate()
    leaver = sim.processes["n2"]
    sim.leave("n2")
    with pytest.raises(LocalProtocolError):
        leaver.ring.circulate(0, b"\xc0", sim.now, None)
    assert sim.run(3.0, lambda: not leaver.alive)
    assert not leaver.pending, "it has waited for its receipts"
    assert not leaver.failed
    assert sim.is_ring()
    assert sim.losses == [], "nobody took it for dead"
    sim.check_calm()


def test_a_member_that_leaves_lets_a_new_predecessor_bring_its_receipts() -> None:
    sim = started(3)
    number = circulate(sim, "n1")
    leaver = sim.processes["n1"]
    sim.leave("n1")
    sim.kill("n0")
    assert sim.run(3.0, lambda: not leaver.alive), sim.picture()
    assert leaver.receipts[number] == ("n2",)


def test_a_member_leaves_while_others_go_on_sending_and_its_handlers_are_slow() -> None:
    sim = Sim(names(3), 1, settings=RingSettings(room=8), handling=1.0)
    sim.start_all()
    sim.losses.clear()
    leaver, begun, gone_round = sim.processes["n1"], sim.now, 0.0
    while leaver.alive and sim.now < begun + 5:
        sim.processes["n0"].circulate()
        sim.run(0.002)
        if not leaver.ring.is_leaving and leaver.ring.traffic.kept:
            sim.leave("n1")
        if not gone_round and sim.processes["n0"].ring.successor == "n2":
            gone_round = sim.now
            assert leaver.ring.traffic.in_hand, "it says goodbye before all is handled"
    assert gone_round
    assert not leaver.alive
    counts = leaver.ring.traffic.counts
    assert counts["taken"] == counts["handled"] == len(leaver.delivered["n0.0"])
    assert counts["left alone"]
    assert sim.losses == [], "nobody took it for dead"
    sim.handling = 0.0
    sim.check_calm()


def test_who_has_no_time_to_leave_says_goodbye_nevertheless() -> None:
    sim = started(3, handling=1e9)
    sim.losses.clear()
    circulate(sim, "n0")
    sim.run(0.1)
    sim.processes["n1"].call(sim.processes["n1"].ring.close)
    assert sim.run(1.0, sim.is_ring), sim.picture()
    assert sim.losses == []


def test_neighbours_leave_at_once() -> None:
    sim = started(6)
    for name in ("n2", "n3", "n4"):
        sim.leave(name)
    assert sim.run(3.0, lambda: len(sim.living) == 3)
    assert sim.run(1.0, sim.is_ring)
    sim.check_calm()


def test_all_leave() -> None:
    sim = started(4)
    for one in sim.living:
        sim.leave(one.name)
    assert sim.run(5.0, lambda: not sim.living)


def test_a_member_comes_back_as_another_process() -> None:
    sim = started(3)
    for _ in range(3):
        circulate(sim, "n0")
        sim.run(0.1)
        sim.kill("n0")
        sim.start("n0")
        assert sim.run(2.0, sim.is_ring)
    circulate(sim, "n0")
    sim.check_calm()


def test_everybody_is_called_by_a_roll() -> None:
    sim = started(4)
    one = sim.processes["n3"]
    number = one.ring.roll()
    assert number is not None
    one.pump()
    assert sim.run(1.0, lambda: number in one.rolled)
    assert one.rolled[number] == ("n0", "n1", "n2")


# -- what it costs ---------------------------------------------------------------------------


def idle_traffic(size: int) -> float:
    sim = started(size)
    sim.run(3.0)
    before = [one.bytes_sent for one in sim.living]
    sim.run(10.0)
    return max((one.bytes_sent - sent) / 10 for one, sent in zip(sim.living, before, strict=True))


def test_an_idle_member_sends_under_2_kilobytes_a_second_whatever_the_size() -> None:
    small, large = idle_traffic(8), idle_traffic(64)
    assert small < 2000
    assert large == pytest.approx(small, rel=0.05)


# -- strangers ---------------------------------------------------------------------------------


def hello(**changes: object) -> bytes:
    terms = {"v": 1, "group": "chat", "name": "n1", "incarnation": "x", "members": "", "successor": ""}
    return frames([encode(Hello(Terms(**{**terms, **changes})))])[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change", [{"v": 2}, {"group": "other"}, {"members": "3:0"}, {"name": "n0"}, {"name": "stranger"}]
)
def test_who_does_not_belong_is_refused_and_nothing_changes(change: dict[str, object]) -> None:
    sim = started(2)
    ring = sim.processes["n0"].ring
    digest = ring.order.digest
    id = ring.accepted(sim.now)
    ring.receive(id, hello(**{"members": digest, **change}), sim.now)
    said = [frame for to, frame in ring.data_to_send(sim.now) if to == id]
    assert len(said) == 1
    assert said[0][:3] == b"\x91\x93\x02", "REFUSED"
    assert id not in ring.connections
    assert sim.is_ring()


@pytest.mark.parametrize("name", ["n1", "n2"])
def test_two_processes_of_one_name_do_not_both_get_in(name: str) -> None:
    sim = started(3)
    ring = sim.processes["n0"].ring
    id = ring.accepted(sim.now)
    ring.receive(id, hello(name=name, members=ring.order.digest), sim.now)
    assert id not in ring.connections
    assert (ring.predecessor, ring.successor) == ("n2", "n1")


def test_a_second_process_of_a_name_is_told_so_once() -> None:
    sim = started(3)
    second = Process(sim, "n1", 99)
    second.call(second.ring.start)
    sim.run(10.0)
    assert second.ring.is_lone
    assert sim.is_ring()
    said = "refuses this member (name: another process of the name n1 is in the ring chat)"
    assert sorted(second.told) == [f"ring chat: {name} {said}" for name in ("n0", "n2")], "each once"
    sim.kill("n1")
    sim.processes["n1"] = second
    assert sim.run(3.0, sim.is_ring), sim.picture()


def test_who_is_started_again_at_once_is_told_nothing() -> None:
    sim = started(3)
    sim.latency = 0.1
    sim.kill("n1")
    sim.latency = 0.001
    again = sim.start("n1")  # the others learn of the end of the first one later
    sim.run(0.05)
    assert again.ring.is_lone, "it was refused"
    assert sim.run(3.0, sim.is_ring), sim.picture()
    assert again.told == []


def from_predecessor(sim: Sim, *records: Run | Roll) -> None:
    """Let n0 of three get records as if its predecessor n2 had sent them."""
    ring = sim.processes["n0"].ring
    id = ring.accepted(sim.now)
    ring.receive(
        id,
        hello(name="n2", incarnation=sim.processes["n2"].incarnation, members=ring.order.digest),
        sim.now,
    )
    for record in records:
        ring.receive(id, frames([encode(record)])[0], sim.now)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (Run("ghost", "x", 1, 1, [], [Raw(b"\x01")]), "RUN of ghost, which is no member"),
        (Roll("ghost", "x", 1, False, []), "ROLL of ghost, which is no member"),
        (
            Run("n2", "x", MAX_NUMBER - 1, MAX_NUMBER - 1, [], [Raw(b"\x01")] * 3),
            "the limit is 9223372036854775807",
        ),
    ],
)
def test_who_sends_what_cannot_be_is_blamed_and_it_goes_no_further(record: Run | Roll, why: str) -> None:
    sim = started(3)
    sim.losses.clear()
    with pytest.raises(RemoteProtocolError, match=why):
        from_predecessor(sim, record)
    assert sim.processes["n0"].ring.traffic.passing == 0
    sim.processes["n0"].pump()
    sim.run(3.0)
    assert [(name, lost.name) for _, name, lost in sim.losses if name != "n0"] == []
    assert not any(one.delivered for one in sim.living)


def test_what_an_earlier_process_of_the_name_has_sent_is_no_receipt() -> None:
    sim = started(3)
    sender = sim.processes["n0"]
    sim.freeze("n1")
    number = circulate(sim, "n0")
    from_predecessor(sim, Run("n0", "earlier", 1, 1, ["n1", "n2"], [Raw(b"\x01")]))
    sender.pump()
    assert number in sender.pending
    assert sender.ring.traffic.counts["late"] == 1
    from_predecessor(sim, Run("n0", sender.incarnation, 1, 1, ["n1", "n2"], [Raw(b"\x01")]))
    sender.pump()
    assert sender.receipts == {number: ("n1", "n2")}


def test_the_highest_number_is_taken() -> None:
    sim = started(3)
    from_predecessor(sim, Run("n2", "x", MAX_NUMBER, MAX_NUMBER, [], [Raw(b"\x01")]))
    sim.processes["n0"].pump()
    sim.run(1.0)
    assert sim.processes["n1"].delivered["x"] == [1]


def test_made_up_incarnations_take_no_more_room_than_a_few() -> None:
    sim = Sim(names(3), 1, handling=1e9)
    sim.start_all()
    runs = [Run("n2", f"x{number}", 1, 1, [], [Raw(b"\x01")]) for number in range(100)]
    from_predecessor(sim, *runs)
    traffic = sim.processes["n0"].ring.traffic
    assert traffic.passing == traffic.in_hand == MOST_INCARNATIONS
    assert traffic.counts["out of order"] == 100 - MOST_INCARNATIONS


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x92\x03\x01", b"\x91" * 5000, b"\x91\x92\x05\xa1a"])
def test_nonsense_ends_the_connection_and_nothing_else(data: bytes) -> None:
    sim = started(3)
    ring = sim.processes["n0"].ring
    id = ring.accepted(sim.now)
    with pytest.raises(RemoteProtocolError):
        ring.receive(id, data, sim.now)
    assert id not in ring.connections
    assert sim.is_ring()


def test_who_says_nothing_is_hung_up_on() -> None:
    sim = started(2)
    one = sim.processes["n0"]
    id = one.ring.accepted(sim.now)
    one.pump()
    sim.run(6.0)
    assert id not in one.ring.connections
