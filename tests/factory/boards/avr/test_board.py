"""A board with firmware: what the chip does, what is done to it, and who may do what. No engine runs."""

from __future__ import annotations

import pytest

from factory.boards import (
    Bench,
    BoardLostError,
    Mode,
    PinModeError,
    PinUnsupportedError,
    Signal,
    SimBoard,
    wire,
)
from factory.boards.avr.board import MOST_INPUTS, SetLevel
from factory.boards.avr.engine import HERTZ, DutyEvent, PinEvent, PinState, Restarted, Stopped, UartEvent
from factory.boards.avr.pacing import DELAY
from factory.boards.avr.uart import LONGEST_LINE, MOST_WAITING, Inbox, Lines
from factory.boards.parts import Button, Buzzer, Led, Potentiometer, Servo, Ultrasonic
from factory.boards.profiles import UNO
from tests.helpers.avr import MS, Rig, square
from tests.helpers.boards import shown

HIGH, LOW, INPUT, PULLUP = PinState.HIGH, PinState.LOW, PinState.INPUT, PinState.PULLUP


def blink(pin: int = 13, count: int = 3) -> list[PinEvent]:
    return [PinEvent((n + 1) * MS // 3, pin, HIGH if n % 2 == 0 else LOW) for n in range(count)]


# -- from the chip -----------------------------------------------------------------------------


def test_edges_have_the_time_of_their_cycles() -> None:
    rig = Rig(*blink(count=4), bench=Bench(7.0))
    rig.to(7.1)
    edges, missed = rig.board.log.since(0)
    assert missed == 0
    assert shown(edges) == [(13, "LEVEL", 1), (13, "LEVEL", 0), (13, "LEVEL", 1), (13, "LEVEL", 0)]
    assert [edge.time for edge in edges] == [7.0 + (n + 1) * MS // 3 / HERTZ for n in range(4)]


def test_the_times_are_exact_even_if_another_board_has_moved_the_bench_further() -> None:
    rig = Rig(*blink(count=2))
    rig.bench.advance(0.5)
    rig.to(0.6)
    assert [edge.time for edge in rig.board.log.since(0)[0]] == [MS // 3 / HERTZ, 2 * MS // 3 / HERTZ]


def test_what_happens_on_the_bench_meanwhile_comes_in_order() -> None:
    rig = Rig(*blink(count=4))
    rig.bench.at(0.0005, lambda: rig.board.pin(2).drive(1))
    rig.to(0.01)
    edges = rig.board.log.since(0)[0]
    assert [edge.pin for edge in edges] == [13, 2, 13, 13, 13]
    assert edges == sorted(edges, key=lambda edge: edge.time)
    # The chip sees it later, but to the cycle.
    assert (round((0.0005 + DELAY) * HERTZ), "level", 2, 1) in rig.engine.told


@pytest.mark.parametrize(
    ("state", "mode"),
    [(INPUT, Mode.INPUT), (PULLUP, Mode.INPUT_PULLUP), (LOW, Mode.OUTPUT), (HIGH, Mode.OUTPUT)],
)
def test_modes_are_those_of_the_registers(state: PinState, mode: Mode) -> None:
    rig = Rig(PinEvent(10, 5, state))
    assert rig.board.pin(5).mode is Mode.INPUT
    rig.to(0.001)
    pin = rig.board.pin(5)
    assert (pin.mode, pin.owner) == (mode, "firmware test.hex" if mode is Mode.OUTPUT else None)


def test_parts_see_what_the_firmware_does() -> None:
    events = [
        PinEvent(10, 13, HIGH),
        DutyEvent(20, 9, 51),
        *square(3, 440, 0.01, 0.2),
        *square(10, 50, 0, 0.2, high=0.0736),
    ]
    rig = Rig(*events)
    lamp, dim = Led("lamp", rig.board.pin(13)), Led("dim", rig.board.pin(9))
    buzzer, arm = Buzzer("buzzer", rig.board.pin(3)), Servo("arm", rig.board.pin(10))
    rig.to(0.15)
    assert (lamp.state, dim.state, buzzer.state, arm.state) == ("on", "20 %", "440 Hz", "90°")
    assert rig.board.pin(10).values[Signal.ANGLE] == 90
    rig.to(0.3)
    assert buzzer.state == "silent"
    assert rig.board.log.since(0)[0][-1].time == pytest.approx(0.2 + 2.5 / 440, abs=1e-3)


def test_the_end_of_pwm_is_an_edge_and_so_is_what_follows() -> None:
    rig = Rig(DutyEvent(10, 9, 128), DutyEvent(20, 9, 200), DutyEvent(30, 9, None), PinEvent(30, 9, LOW))
    rig.to(0.001)
    assert shown(rig.board.log.since(0)[0]) == [(9, "DUTY", 128), (9, "DUTY", 200), (9, "DUTY", 0)]
    assert rig.board.pin(9).mode is Mode.OUTPUT


def test_a_tone_ends_when_the_pin_becomes_something_else() -> None:
    rig = Rig(*square(3, 1000, 0, 0.02), PinEvent(round(0.0201 * HERTZ), 3, INPUT))
    rig.to(0.02)
    assert rig.board.pin(3).values[Signal.TONE] == 1000
    rig.to(0.0202)
    assert rig.board.pin(3).values[Signal.TONE] == 0


def test_what_is_sent_goes_to_whoever_listens() -> None:
    rig = Rig(UartEvent(MS, b"he"), UartEvent(2 * MS, b"llo"))
    heard: list[tuple[float, bytes]] = []
    rig.board.sent = lambda data: heard.append((rig.bench.time, data))
    rig.to(0.01)
    assert heard == [(0.001, b"he"), (0.002, b"llo")]


def test_firmware_that_stands_still_is_reported_drives_its_pins_and_comes_back() -> None:
    rig = Rig(PinEvent(10, 13, HIGH), Stopped(20, "endless loop"))
    told: list[str | None] = []
    rig.board.watch_state(told.append)
    rig.to(0.01)
    assert told == ["the firmware stands still: endless loop; a reset brings it back"]
    assert (rig.board.lost, rig.board.stopped, rig.board.pin(13).digital_read()) == (None, "endless loop", 1)
    rig.board.reset()
    rig.to(0.02)
    assert (rig.board.stopped, told[1:], rig.told("reset")) == (None, [None], [()])


def test_a_watchdog_is_told() -> None:
    rig = Rig(Restarted(10, "watchdog"), Restarted(20, "watchdog"))
    told: list[str] = []
    rig.board.restarted = told.append
    rig.to(0.01)
    assert (told, rig.board.restarts) == (["watchdog"] * 2, 2)


# -- to the chip -------------------------------------------------------------------------------


def test_inputs_and_voltages_reach_the_chip_before_the_next_slice() -> None:
    rig = Rig(PinEvent(10, 2, PULLUP))
    key = Button("key", rig.board.pin(2), bounce=0)
    Potentiometer("knob", rig.board.pin("A0"), position=0.25)
    rig.to(0.01)
    assert rig.told("level")[-1] == (2, 1)
    [(channel, volts)] = rig.told("volts")
    assert (channel, volts) == (0, pytest.approx(1.25))
    assert rig.board.pin("A0").analog_read() == 256
    key.press()
    rig.to(0.02)
    assert rig.told("level")[-1] == (2, 0)
    key.release()
    rig.to(0.03)
    assert rig.told("level")[-1] == (2, 1)
    assert rig.board.pin(2).values[Signal.LEVEL] == 1


def test_every_bounce_of_a_button_is_told() -> None:
    rig = Rig(PinEvent(10, 2, PULLUP))
    key = Button("key", rig.board.pin(2), bounce=0.005)
    rig.to(0.01)
    before = rig.board.log.made
    key.press()
    rig.to(0.05)
    levels = [level for pin, level in rig.told("level")[1:] if pin == 2]
    edges = [edge.value for edge in rig.board.log.since(before)[0]]
    assert levels == edges
    assert len(edges) > 2


def test_how_long_an_echo_takes_is_exact_to_the_cycle() -> None:
    # 58 microseconds a centimetre: to the firmware, a delay of some cycles would be another distance.
    rig = Rig(PinEvent(10, 7, LOW), PinEvent(5 * MS, 7, HIGH), PinEvent(5 * MS + 200, 7, LOW))
    Ultrasonic("eye", rig.board.pin(7), rig.board.pin(8), centimetres=30)
    rig.to(0.1)
    echo = [(cycle, level) for cycle, what, pin, level in rig.engine.told if what == "level" and pin == 8]
    (risen, one), (fallen, zero) = echo[-2:]
    assert (one, zero) == (1, 0)
    assert abs(fallen - risen - 30 * 58e-6 * HERTZ) <= 1


def test_a_floating_input_stays_as_it_was_and_floods_nobody() -> None:
    rig = Rig(PinEvent(10, 2, INPUT))
    rig.board.pin(2).drive(1)
    rig.to(0.01)
    rig.board.pin(2).drive(None)
    rig.to(1.0)
    assert rig.told("level")[-2:] == [(2, 1), (2, None)]
    assert shown(rig.board.log.since(0)[0]) == [(2, "LEVEL", 1)]


def test_an_analog_input_is_set_by_what_it_reads() -> None:
    rig = Rig(PinEvent(10, 16, HIGH))
    rig.to(0.001)
    rig.board.pin("A1").sample(511)
    rig.to(0.01)
    assert rig.board.pin("A1").analog_read() == 511
    assert rig.told("volts")[-1] == (1, pytest.approx(511 / 1023 * 5))
    with pytest.raises(PinModeError, match=r"pin uno\.A2 is set by the firmware test\.hex alone"):
        rig.board.pin("A2").sample(511)
    with pytest.raises(PinUnsupportedError):
        rig.board.pin(2).sample(511)


def test_bytes_reach_rx_no_faster_than_a_line_carries_them() -> None:
    rig = Rig()
    assert rig.board.receive(b"x" * 200) == 200
    rig.to(0.1)
    last = max(cycle for cycle, what, *_ in rig.engine.told if what == "feed")
    assert sum(len(data) for (data,) in rig.told("feed")) == 200
    assert last / HERTZ == pytest.approx(200 / 12_000, rel=0.2)


def test_too_many_bytes_for_rx_are_refused_or_counted() -> None:
    rig = Rig()
    with pytest.raises(
        BoardLostError, match=rf"RX of uno takes {MOST_WAITING} bytes more right now, not 5000"
    ):
        rig.board.receive(b"x" * 5000)
    assert rig.board.hear(0, b"x" * 5000)  # a wire cannot wait
    assert (len(rig.board.inbox), rig.board.inbox.lost) == (MOST_WAITING, 5000 - MOST_WAITING)


def test_of_too_many_changes_the_latest_of_each_pin_is_kept() -> None:
    rig = Rig()
    for number in range(MOST_INPUTS):
        rig.board.put(SetLevel(number % 2, number % 3 % 2))
    assert len(rig.board.inputs(1)) == 2
    assert rig.board.missed == MOST_INPUTS - 2


def test_a_reset_forgets_what_was_on_the_way() -> None:
    rig = Rig(UartEvent(MS, b"old"), UartEvent(3 * MS, b"new"))
    heard: list[bytes] = []
    rig.board.sent = heard.append
    rig.board.was_reset = lambda: heard.append(b"reset")
    rig.board.receive(b"old")
    # The engine is ahead of the bench: what it has sent there was sent by the firmware before its reset.
    done = rig.engine.run(2 * MS)
    rig.board.pacer.ran(done.cycle, 1, 0.0)
    rig.board.take(done)
    rig.board.reset()
    rig.to(0.01)
    assert (heard, rig.told("feed")) == ([b"reset", b"new"], [])


# -- who may do what ---------------------------------------------------------------------------


@pytest.mark.parametrize("force", [False, True])
def test_nobody_writes_a_pin_of_the_firmware(force: bool) -> None:
    rig = Rig(PinEvent(10, 13, LOW))
    rig.to(0.001)
    pins = rig.board.pin(13), rig.board.pin(9)
    for pin in pins:
        for write, value in ((pin.digital_write, 1), (pin.tone, 440), (pin.set_mode, Mode.OUTPUT)):
            with pytest.raises(PinModeError, match=r"is set by the firmware test\.hex alone, not by force"):
                write(value, by="ann", force=force)  # type: ignore[arg-type]
    rig.board.leave("firmware test.hex")
    assert (pins[0].mode, pins[0].owner, pins[0].digital_read()) == (Mode.OUTPUT, "firmware test.hex", 0)
    with pytest.raises(PinModeError, match=r"drives inputs only"):
        pins[0].drive(1)


def test_a_wire_joins_it_with_a_simulated_board_and_a_short_is_reported() -> None:
    bench = Bench()
    rig = Rig(PinEvent(MS, 13, HIGH), PinEvent(3 * MS, 13, LOW), bench=bench)
    other = SimBoard("other", UNO, bench)
    other.pin(2).set_mode(Mode.INPUT)
    wire(rig.board.pin(13), other.pin(2))
    rig.to(0.002)
    assert other.pin(2).digital_read() == 1
    assert other.log.since(0)[0][-1].time == 0.001
    rig.to(0.004)
    assert other.pin(2).digital_read() == 0
    other.pin(2).set_mode(Mode.OUTPUT)
    other.pin(2).digital_write(1)
    assert "short between other.2 and uno.13" in next(iter(bench.shorts.values()))


def test_without_power_nothing_happens_and_with_it_all_begins_anew() -> None:
    rig = Rig(PinEvent(10, 13, HIGH), PinEvent(3 * MS, 13, LOW), PinEvent(5 * MS, 13, HIGH))
    told: list[str | None] = []
    rig.board.watch_state(told.append)
    rig.to(0.001)
    rig.board.unplug()
    assert rig.board.pin(13).digital_read() == 0
    with pytest.raises(BoardLostError):
        rig.board.reset()
    with pytest.raises(BoardLostError):
        rig.board.receive(b"x")
    rig.to(0.004)
    rig.board.plug()
    assert (rig.board.pin(13).mode, told) == (Mode.INPUT, ["it is unplugged", None])
    rig.to(0.006)
    assert rig.told("reset") == [()]
    assert rig.board.pin(13).digital_read() == 1


# -- what waits for RX, and lines ----------------------------------------------------------------


def test_the_inbox_tells_when_there_is_room() -> None:
    inbox, told = Inbox(), []
    inbox.taken = lambda: told.append(inbox.room)
    inbox.put(b"abc")
    assert (inbox.take(2), inbox.take(2), inbox.take(2)) == (b"ab", b"c", b"")
    assert told == [MOST_WAITING - 1, MOST_WAITING]


def test_lines_of_whatever_comes() -> None:
    lines = Lines()
    assert lines.feed(b"hel") == []
    assert lines.feed(b"lo\r\nw\xff\n\nrest") == ["hello", "w�", ""]
    lines.clear()
    assert lines.feed(b"x" * (LONGEST_LINE + 3) + b"\n") == ["x" * LONGEST_LINE, "xxx"]


def test_a_line_without_end_is_cut() -> None:
    lines = Lines()
    assert lines.feed(b"x" * (2 * LONGEST_LINE + 1)) == ["x" * LONGEST_LINE] * 2
    assert lines.feed(b"\n") == ["x"]


def test_two_firmwares_talk() -> None:
    bench = Bench()
    asks = Rig(UartEvent(MS, b"ping"), bench=bench, name="asks")
    answers = Rig(bench=bench, name="answers", echo=True)
    heard: list[bytes] = []
    asks.board.sent = lambda data: answers.board.hear(0, data)
    answers.board.sent = heard.append
    for step in range(1, 20):
        asks.to(step * 0.001)
        answers.to(step * 0.001)
    assert b"".join(heard) == b"ping"
