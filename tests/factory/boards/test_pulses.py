"""Pulses: there and back, and what ends them before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from factory.boards import BoardLostError, Mode, Pin, PinInUseError, PinModeError, Signal, SimBoard
from factory.boards.firmata.client import MOST_WAITING, FirmataBoard
from factory.boards.pulses import pulse
from tests.helpers.boards import board


def levels(uno: SimBoard, number: int) -> list[tuple[float, int]]:
    edges, _ = uno.log.since(0)
    return [(edge.time, edge.value) for edge in edges if edge.pin == number and edge.signal is Signal.LEVEL]


def toggle(pin: Pin, times: int) -> None:
    for turn in range(times):
        pin.digital_write(turn % 2)


def test_there_and_back_by_the_clock_of_the_board() -> None:
    uno = board()
    pulse(uno.pin(8), 0.3, uno.bench.after)
    uno.bench.advance(5.0)
    assert levels(uno, 8) == [(0.0, 1), (0.3, 0)]
    assert uno.pin(8).pulse is None
    uno.pin(2).set_mode(Mode.INPUT_PULLUP)
    pulse(uno.pin(2), 0.5, uno.bench.after)
    uno.bench.advance(9.0)
    assert levels(uno, 2) == [(5.0, 1), (5.0, 0), (5.5, 1)]


def test_pulses_that_overlap_are_one_and_end_with_the_latest() -> None:
    uno = board()
    pin = uno.pin(8)
    pulse(pin, 0.3, uno.bench.after)
    uno.bench.advance(0.1)
    pulse(pin, 0.3, uno.bench.after)
    uno.bench.advance(0.35)
    assert pin.digital_read() == 1
    uno.bench.advance(5.0)
    assert levels(uno, 8) == [(0.0, 1), (0.4, 0)]


@pytest.mark.parametrize("failsafe", [0, 1, None])
def test_the_fail_safe_level_outlasts_a_pulse_of_the_owner_that_left(failsafe: int | None) -> None:
    uno = board()
    pin = uno.pin(12)
    pin.failsafe = failsafe  # type: ignore[assignment]
    pin.digital_write(1, by="p")
    pulse(pin, 5.0, uno.bench.after, by="p")
    uno.bench.advance(1.0)
    assert uno.leave("p") == [pin]
    safe = (pin.mode, pin.digital_read())
    uno.bench.advance(10.0)
    assert (pin.owner, pin.mode, pin.digital_read()) == (None, *safe)
    pin.digital_write(1, by="q")
    assert pin.owner == "q"


@pytest.mark.parametrize(
    "act",
    [
        lambda pin: pin.digital_write(1),
        lambda pin: pin.analog_write(77),
        lambda pin: pin.servo_write(90),
        lambda pin: pin.tone(440),
        lambda pin: pin.set_mode(Mode.INPUT_PULLUP),
    ],
    ids=["level", "pwm", "servo", "tone", "mode"],
)
def test_what_is_written_meanwhile_stays(act: Callable[[object], object]) -> None:
    uno = board()
    pin = uno.pin(9)
    pulse(pin, 1.0, uno.bench.after)
    act(pin)
    made, mode, values = uno.log.made, pin.mode, dict(pin.values)
    uno.bench.advance(5.0)
    assert (uno.log.made, pin.mode, pin.values) == (made, mode, values)


def test_what_drives_an_input_meanwhile_stays() -> None:
    uno = board()
    pin = uno.pin(2)
    pin.set_mode(Mode.INPUT)
    pin.drive(0)
    pulse(pin, 1.0, uno.bench.after)
    pin.drive(1)
    uno.bench.advance(5.0)
    assert pin.digital_read() == 1


def test_a_pulse_ends_with_the_power() -> None:
    uno = board()
    pin = uno.pin(8)
    pin.digital_write(1)
    pin.failsafe = 0
    pulse(pin, 1.0, uno.bench.after)
    uno.unplug()
    uno.plug()
    uno.bench.advance(5.0)
    assert pin.digital_read() == 0


def test_who_is_refused_changes_nothing() -> None:
    uno = board()
    pin = uno.pin(8)
    pin.set_mode(Mode.OUTPUT, by="ann")
    pulse(pin, 1.0, uno.bench.after, by="ann")
    with pytest.raises(PinInUseError, match="belongs to ann"):
        pulse(pin, 9.0, uno.bench.after, by="bob")
    uno.bench.advance(2.0)
    assert levels(uno, 8) == [(0.0, 1), (1.0, 0)]
    pulse(pin, 1.0, uno.bench.after, by="bob", force=True)
    uno.bench.advance(4.0)
    assert (pin.owner, levels(uno, 8)[2:]) == ("ann", [(2.0, 1), (3.0, 0)])


def test_a_pulse_goes_back_whoever_came_to_own_the_pin() -> None:
    uno = board()
    pin = uno.pin(8)
    pulse(pin, 1.0, uno.bench.after)
    pin.set_mode(Mode.OUTPUT, by="ann")
    uno.bench.advance(2.0)
    assert (pin.owner, pin.digital_read()) == ("ann", 0)


def test_an_analog_pin_has_no_other_level() -> None:
    uno = board()
    uno.pin("A0").set_mode(Mode.ANALOG)
    with pytest.raises(PinModeError, match=r"pin uno\.A0 is ANALOG and has no other level"):
        pulse(uno.pin("A0"), 1.0, uno.bench.after)


def test_a_line_that_is_full_delays_the_way_back() -> None:
    uno = board()
    far = FirmataBoard("far", uno.profile, lambda: uno.bench.time, wake=lambda: None, say=print)
    pin = far.pin(8)
    pulse(pin, 1.0, uno.bench.after)
    with pytest.raises(BoardLostError, match="is full"):
        toggle(far.pin(9), MOST_WAITING)
    uno.bench.advance(2.0)
    assert pin.digital_read() == 1
    far.data_to_send()
    uno.bench.advance(3.0)
    assert pin.digital_read() == 0
