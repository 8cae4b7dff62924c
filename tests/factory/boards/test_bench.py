"""Time and nets: what is due happens in order, and every pin of a net sees the same voltage."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.boards import PROFILES, Bench, BoardError, Edge, Mode, SimBoard, wire
from factory.boards.bench import Source, mixed
from factory.boards.faults import Noise
from tests.helpers.boards import board, shown


def test_what_is_due_happens_in_order_and_at_its_own_time() -> None:
    bench = Bench(time=100.0)
    seen: list[tuple[str, float]] = []
    bench.after(2, lambda: seen.append(("b", bench.time)))

    def first() -> None:
        seen.append(("a", bench.time))
        bench.after(0.5, lambda: seen.append(("c", bench.time)))

    bench.after(1, first)
    gone = bench.after(1, lambda: seen.append(("gone", bench.time)))
    gone.cancel()
    bench.at(7, lambda: seen.append(("late", bench.time)))
    assert bench.next_deadline() == 100.0
    bench.advance(101.8)
    assert seen == [("late", 100.0), ("a", 101.0), ("c", 101.5)]
    assert (bench.time, bench.next_deadline()) == (101.8, 102.0)
    bench.advance(50.0)
    assert bench.time == 101.8
    bench.advance(110.0)
    assert (seen[-1], bench.next_deadline()) == (("b", 102.0), None)


SOURCES = st.builds(Source, st.floats(0, 5), st.floats(0.1, 1e6))


@given(st.lists(SOURCES, min_size=1, max_size=8), st.randoms())
def test_a_node_lies_between_its_sources_in_any_order(sources: list[Source], random: Random) -> None:
    volts = mixed(sources)
    assert volts is not None
    assert min(s.volts for s in sources) - 1e-9 <= volts <= max(s.volts for s in sources) + 1e-9
    random.shuffle(sources)
    assert mixed(sources) == pytest.approx(volts, abs=1e-9)
    assert mixed([]) is None


def test_a_driven_pin_is_seen_by_every_pin_on_its_net() -> None:
    bench = Bench()
    one, two = (SimBoard(name, PROFILES["uno"], bench) for name in ("one", "two"))
    for pin in (one.pin(2), two.pin(3), two.pin(4)):
        pin.set_mode(Mode.INPUT)
    wire(one.pin(13), two.pin(3))
    wire(two.pin(4), one.pin(2))
    wire(two.pin(3), two.pin(4))
    one.pin(13).digital_write(1)
    assert [pin.digital_read() for pin in (one.pin(2), two.pin(3), two.pin(4))] == [1, 1, 1]
    one.pin(13).digital_write(0)
    assert [pin.digital_read() for pin in (one.pin(2), two.pin(3), two.pin(4))] == [0, 0, 0]


WIRES = st.lists(st.tuples(st.integers(2, 6), st.integers(2, 6)), max_size=5)
WRITES = st.lists(st.tuples(st.integers(2, 6), st.sampled_from(["in", "up", "0", "1"])), max_size=20)


@given(WIRES, WRITES, st.integers(0, 9))
def test_all_pins_of_a_net_agree(
    wires: list[tuple[int, int]], writes: list[tuple[int, str]], seed: int
) -> None:
    uno = board(bench=Bench(seed=seed))
    for a, b in wires:
        wire(uno.pin(a), uno.pin(b))
    for number, what in writes:
        pin = uno.pin(number)
        if what in ("in", "up"):
            pin.set_mode(Mode.INPUT if what == "in" else Mode.INPUT_PULLUP)
        else:
            pin.set_mode(Mode.OUTPUT)
            pin.digital_write(int(what))
    for net in {uno.pin(number).net for number in range(2, 7)}:
        pins = [uno.pin(n) for n in range(2, 7) if uno.pin(n).net is net]
        assert len(pins) == len(net.terminals)
        outputs = {pin.written for pin in pins if pin.mode is Mode.OUTPUT}
        seeing = [pin for pin in pins if pin.mode is not Mode.UNSET]
        assert (net in uno.bench.shorts) == (len(outputs) == 2)
        if len(outputs) == 1:
            assert {pin.digital_read() for pin in seeing} == outputs
        elif not outputs and any(pin.mode is Mode.INPUT_PULLUP for pin in seeing):
            assert {pin.digital_read() for pin in seeing} == {1}


def test_a_short_between_two_outputs_is_told_once_and_its_end_too() -> None:
    uno = board()
    said: list[str] = []
    uno.bench.trouble = said.append
    wire(uno.pin(3), uno.pin(4))
    uno.pin(3).digital_write(0)
    assert said == []  # the other one is no output yet
    uno.pin(4).digital_write(0)
    uno.pin(4).digital_write(1)
    uno.pin(3).digital_write(0)
    assert said == ["short between uno.3 and uno.4: 100 mA, more than a pin may carry"]
    uno.pin(3).set_mode(Mode.INPUT)
    assert said[1:] == ["the short on the net of uno.3, uno.4 is over"]
    assert (uno.bench.shorts, uno.pin(3).digital_read()) == ({}, 1)


def test_a_pull_up_gives_way_and_comes_back() -> None:
    pin = board().pin(2)
    pin.set_mode(Mode.INPUT_PULLUP)
    assert pin.digital_read() == 1
    pin.drive(0)
    assert pin.digital_read() == 0
    pin.drive(None)
    assert pin.digital_read() == 1


def flutter(seed: int) -> list[Edge]:
    uno = board(bench=Bench(seed=seed))
    uno.pin(2).set_mode(Mode.INPUT)
    uno.bench.advance(1.0)
    return uno.log.since(0)[0]


def test_a_floating_input_floats_in_the_same_way_each_time() -> None:
    edges = flutter(1)
    assert 20 < len(edges) < 80
    assert edges == flutter(1) != flutter(2)
    assert all(edge.time == pytest.approx(round(edge.time * 100) / 100) for edge in edges)


def test_a_floating_input_rests_when_something_drives_it() -> None:
    uno = board()
    uno.pin(2).set_mode(Mode.INPUT)
    uno.bench.advance(0.5)
    uno.pin(2).drive(1)
    made = uno.log.made
    uno.bench.advance(5.0)
    assert (uno.log.made, uno.bench.next_deadline()) == (made, None)
    assert uno.pin(2).digital_read() == 1


def test_a_pin_that_nobody_looks_at_does_not_flutter() -> None:
    uno = board()
    uno.pin(2).digital_write(1)
    uno.pin("A0").set_mode(Mode.ANALOG)
    assert uno.bench.next_deadline() is None


def test_pwm_is_seen_as_its_average() -> None:
    uno = board()
    uno.pin("A0").set_mode(Mode.ANALOG)
    wire(uno.pin(9), uno.pin("A0"))
    uno.pin(9).analog_write(51)
    assert uno.pin("A0").analog_read() == pytest.approx(1023 * 0.2, abs=1)


def test_a_level_between_0_and_1_stays_what_it_was() -> None:
    uno = board()
    uno.pin(2).set_mode(Mode.INPUT)
    wire(uno.pin(9), uno.pin(2))
    for duty, level in ((0, 0), (128, 0), (160, 1), (128, 1), (70, 0), (128, 0)):
        uno.pin(9).analog_write(duty)
        assert uno.pin(2).digital_read() == level, duty


def test_boards_of_two_benches_cannot_be_wired() -> None:
    with pytest.raises(BoardError, match=r"one\.2, two\.2 are on several"):
        wire(board(name="one").pin(2), board(name="two").pin(2))


def test_an_oscillation_is_ended_and_told() -> None:
    uno = board()
    said: list[str] = []
    uno.bench.trouble = said.append
    uno.pin(2).set_mode(Mode.INPUT)
    wire(uno.pin(3), uno.pin(2))
    # An inverter without a delay.
    uno.pin(2).watch(lambda edge: uno.pin(3).digital_write(1 - edge.value))
    uno.pin(3).digital_write(1)
    assert said == ["the net of uno.3, uno.2 oscillates; it is left as it is"]
    uno.pin(13).digital_write(1)
    assert uno.pin(13).digital_read() == 1


# -- faults ----------------------------------------------------------------------------------


def test_a_stuck_pin() -> None:
    uno = board()
    said: list[str] = []
    uno.bench.trouble = said.append
    uno.pin(3).digital_write(1)
    uno.stick(3, 0)
    assert uno.pin(3).digital_read() == 0
    assert said == ["short between the solder bridge at uno.3 and uno.3: 199 mA, more than a pin may carry"]
    uno.stick(3, None)
    assert uno.pin(3).digital_read() == 1
    uno.pin(2).set_mode(Mode.INPUT_PULLUP)
    uno.stick(2, 0)
    uno.pin(2).drive(1)
    assert uno.pin(2).digital_read() == 0


def test_noise_makes_spikes_that_are_the_same_each_time() -> None:
    def spikes() -> list[Edge]:
        uno = board(bench=Bench(seed=5))
        uno.pin(2).set_mode(Mode.INPUT_PULLUP)
        noise = Noise(uno.pin(2), gap=0.1, width=0.0005)
        uno.bench.advance(10.0)
        noise.stop()
        assert uno.bench.next_deadline() is None
        assert 2 * noise.spikes - 1 <= uno.log.made - 1 <= 2 * noise.spikes
        return uno.log.since(1)[0]

    edges = spikes()
    assert 60 < len(edges) / 2 < 200
    assert [value for _, _, value in shown(edges)[:4]] == [0, 1, 0, 1]
    assert edges[1].time - edges[0].time == pytest.approx(0.0005)
    assert edges == spikes()
    with pytest.raises(BoardError, match=r"noise at uno\.2"):
        Noise(board().pin(2), gap=1, width=1)


def test_the_other_end_of_an_unplugged_board_floats() -> None:
    bench = Bench()
    one, two = (SimBoard(name, PROFILES["uno"], bench) for name in ("one", "two"))
    two.pin(2).set_mode(Mode.INPUT_PULLUP)
    wire(one.pin(13), two.pin(2))
    one.pin(13).digital_write(0)
    assert two.pin(2).digital_read() == 0
    one.unplug()
    assert two.pin(2).digital_read() == 1
    one.plug()
    assert two.pin(2).digital_read() == 0
