"""Modes, owners and values: what all boards have in common, on a simulated one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from factory.boards import (
    BoardLostError,
    Edge,
    Mode,
    Pin,
    PinError,
    PinInUseError,
    PinModeError,
    PinUnsupportedError,
    PinValueError,
    Signal,
    wire,
)
from tests.helpers.boards import board, shown


def test_blink() -> None:
    uno = board()
    led = uno.pin("LED")
    seen: list[Edge] = []
    led.watch(seen.append)
    led.set_mode(Mode.OUTPUT)
    for turn in range(4):
        uno.bench.advance(turn * 0.5)
        led.digital_write(turn % 2)
    assert [(edge.number, edge.time, edge.value) for edge in seen] == [(1, 0.5, 1), (2, 1.0, 0), (3, 1.5, 1)]
    assert uno.log.since(0) == (seen, 0)


def test_a_write_that_changes_nothing_is_no_edge() -> None:
    uno = board()
    for _ in range(3):
        uno.pin(13).digital_write(0)
        uno.pin(9).analog_write(0)
    assert uno.log.made == 0


def test_an_unset_pin_becomes_an_output_on_its_first_write() -> None:
    uno = board()
    uno.pin(13).digital_write(1)
    uno.pin(9).analog_write(128)
    uno.pin(10).servo_write(90)
    uno.pin(3).tone(440)
    assert [uno.pin(n).mode for n in (13, 9, 10, 3)] == [Mode.OUTPUT, Mode.PWM, Mode.SERVO, Mode.OUTPUT]
    assert shown(uno.log.since(0)[0]) == [
        (13, "LEVEL", 1),
        (9, "DUTY", 128),
        (10, "ANGLE", 90),
        (3, "TONE", 440),
    ]


def test_who_stops_watching_hears_no_more() -> None:
    uno = board()
    seen: list[Edge] = []
    ends = [uno.watch(seen.append), uno.pin(13).watch(seen.append)]
    uno.pin(13).digital_write(1)
    for end in ends:
        end()
    uno.pin(13).digital_write(0)
    assert len(seen) == 2


def test_what_a_pin_gives_out_ends_with_its_mode() -> None:
    uno = board()
    uno.pin(3).tone(440)
    uno.pin(3).analog_write(5)
    uno.pin(3).digital_write(1)
    uno.pin(3).tone(880)
    uno.pin(3).digital_write(0)
    assert shown(uno.log.since(0)[0]) == [
        (3, "TONE", 440),
        (3, "TONE", 0),
        (3, "DUTY", 5),
        (3, "DUTY", 0),
        (3, "LEVEL", 1),
        (3, "TONE", 880),
        (3, "TONE", 0),
        (3, "LEVEL", 0),
    ]


# -- owners --------------------------------------------------------------------------------


def test_who_sets_the_mode_of_an_output_owns_it() -> None:
    pin = board().pin(13)
    pin.set_mode(Mode.OUTPUT, by="blink")
    with pytest.raises(PinInUseError, match=r"pin uno.13 belongs to blink.*by force") as caught:
        pin.digital_write(1, by="clock")
    assert (caught.value.owner, caught.value.pin) == ("blink", "uno.13")
    intruders: list[Callable[[], None]] = [
        lambda: pin.digital_write(1),
        lambda: pin.analog_write(1, by="clock"),
        lambda: pin.tone(1, by="clock"),
        lambda: pin.set_mode(Mode.INPUT, by="clock"),
    ]
    for intrude in intruders:
        with pytest.raises(PinInUseError, match=r"blink"):
            intrude()
    assert (pin.mode, pin.owner, pin.board.log.made) == (Mode.OUTPUT, "blink", 0)
    pin.digital_write(1, by="blink")


def test_the_first_writer_with_a_name_owns_it_too() -> None:
    pin = board().pin(13)
    pin.digital_write(1)
    assert pin.owner is None
    pin.digital_write(0, by="blink")
    with pytest.raises(PinInUseError, match=r"blink"):
        pin.digital_write(1)


def test_force_writes_and_leaves_the_owner_where_it_is() -> None:
    pin = board().pin(13)
    pin.set_mode(Mode.OUTPUT, by="blink")
    pin.digital_write(1, by="shell", force=True)
    assert (pin.digital_read(), pin.owner) == (1, "blink")
    pin.set_mode(Mode.INPUT, by="shell", force=True)
    assert pin.owner is None


def test_an_input_belongs_to_nobody() -> None:
    pin = board().pin(2)
    pin.set_mode(Mode.INPUT_PULLUP, by="blink")
    pin.set_mode(Mode.OUTPUT, by="clock")
    assert pin.owner == "clock"


@pytest.mark.parametrize(
    ("failsafe", "mode", "level"), [(0, Mode.OUTPUT, 0), (1, Mode.OUTPUT, 1), (None, Mode.UNSET, 0)]
)
def test_when_its_owner_leaves_an_output_goes_to_its_fail_safe_level(
    failsafe: int | None, mode: Mode, level: int
) -> None:
    uno = board()
    own, other = uno.pin(13), uno.pin(12)
    own.failsafe = failsafe  # type: ignore[assignment]
    own.digital_write(1 - level, by="blink")
    other.digital_write(1, by="clock")
    assert uno.leave("blink") == [own]
    assert (own.owner, own.mode, own.written) == (None, mode, level if failsafe is not None else 0)
    if failsafe is not None:
        assert own.digital_read() == level
    assert (other.owner, other.digital_read()) == ("clock", 1)
    assert uno.leave("blink") == []


def test_a_tone_and_a_pwm_end_when_their_owner_leaves() -> None:
    uno = board()
    uno.pin(3).tone(440, by="blink")
    uno.pin(9).analog_write(99, by="blink")
    uno.leave("blink")
    assert (uno.pin(3).values[Signal.TONE], uno.pin(9).values[Signal.DUTY]) == (0, 0)
    assert uno.pin(9).mode is Mode.OUTPUT


# -- what cannot be --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-1, 2, 1.0, "1", None, 10**30])
def test_a_level_out_of_range(value: object) -> None:
    pin = board().pin(13)
    with pytest.raises(PinValueError, match=r"out of range for pin uno.13: a level is .* 0 to 1"):
        pin.digital_write(value)  # type: ignore[arg-type]
    assert (pin.mode, pin.owner) == (Mode.UNSET, None)


@pytest.mark.parametrize(
    ("write", "highest"),
    [(Pin.analog_write, 255), (Pin.servo_write, 180), (Pin.tone, 65_535)],
)
def test_other_values_out_of_range(write: Callable[[Pin, int], None], highest: int) -> None:
    pin = board().pin(9)
    write(pin, highest)
    for value in (-1, highest + 1):
        with pytest.raises(PinValueError, match=rf"0 to {highest}"):
            write(pin, value)


def test_a_pin_without_the_hardware_says_which_have_it() -> None:
    with pytest.raises(
        PinUnsupportedError,
        match=r"uno.13 cannot be PWM; of the Arduino Uno, these can: 3, 5, 6, 9, 10 and 11",
    ):
        board().pin(13).analog_write(1)
    with pytest.raises(PinUnsupportedError, match=r"nano.A7 cannot be OUTPUT"):
        board("nano").pin("A7").digital_write(1)
    with pytest.raises(PinUnsupportedError, match=r"uno.2 cannot be ANALOG"):
        board().pin(2).analog_read()


def test_an_input_is_driven_and_not_written() -> None:
    pin = board().pin(2)
    with pytest.raises(PinModeError, match=r"uno.2 is UNSET, and the outside world drives inputs only"):
        pin.drive(1)
    pin.set_mode(Mode.INPUT)
    with pytest.raises(PinModeError, match=r"uno.2 is set to INPUT, which the outside world drives"):
        pin.digital_write(1)
    pin.drive(1)
    assert pin.digital_read() == 1
    with pytest.raises(PinValueError, match=r"0 to 1"):
        pin.drive(2)


def test_analog_read() -> None:
    uno = board()
    pin = uno.pin("A0")
    assert 0 <= pin.analog_read() <= 1023
    for value in (0, 1, 511, 1022, 1023):
        pin.drive(value)
        assert pin.analog_read() == value
    with pytest.raises(PinValueError, match=r"0 to 1023"):
        pin.drive(1024)
    pin.set_mode(Mode.INPUT)
    with pytest.raises(PinModeError, match=r"set its mode to ANALOG"):
        pin.analog_read()


# -- unplugged -------------------------------------------------------------------------------


def test_an_unplugged_board_says_so_and_comes_back_as_it_was() -> None:
    uno = board()
    told: list[str | None] = []
    uno.watch_state(told.append)
    led, alarm, button = uno.pin(13), uno.pin(12), uno.pin(2)
    led.digital_write(1, by="blink")
    alarm.failsafe = 1
    alarm.digital_write(0, by="blink")
    button.set_mode(Mode.INPUT_PULLUP)
    seen: list[Edge] = []
    uno.watch(seen.append)
    uno.unplug()
    uno.unplug()
    assert shown(seen) == [(12, "LEVEL", 1), (13, "LEVEL", 0)]
    with pytest.raises(BoardLostError, match=r"uno is lost: it is unplugged"):
        led.digital_write(1, by="blink")
    assert (led.digital_read(), alarm.digital_read()) == (0, 1)
    uno.plug()
    uno.plug()
    assert told == ["it is unplugged", None]
    assert (led.digital_read(), alarm.digital_read(), button.mode) == (0, 1, Mode.INPUT_PULLUP)
    led.digital_write(1, by="blink")
    button.drive(0)
    assert shown(seen)[2:] == [(13, "LEVEL", 1), (2, "LEVEL", 0)]


def test_who_leaves_an_unplugged_board_leaves_it_without_power() -> None:
    uno = board()
    wire(uno.pin(13), uno.pin(2))
    uno.pin(13).failsafe = 1
    uno.pin(13).digital_write(0, by="blink")
    uno.pin(9).analog_write(99)
    uno.pin(3).tone(440)
    uno.unplug()
    assert (uno.pin(9).values[Signal.DUTY], uno.pin(3).values[Signal.TONE]) == (0, 0)
    uno.leave("blink")
    assert uno.pin(13).net.volts is None
    uno.plug()
    assert uno.pin(13).net.volts == 5.0
    assert (uno.pin(13).digital_read(), uno.pin(13).owner) == (1, None)


# -- any order of anything -------------------------------------------------------------------

PINS = st.sampled_from([2, 3, 9, 13, 14])
WHO = st.sampled_from([None, "ann", "bob"])


class Ownership(RuleBasedStateMachine):
    """Two owners and nobody write what they like; a naive model says who may."""

    def __init__(self) -> None:
        super().__init__()
        self.board = board()
        self.owners: dict[int, str] = {}

    def _try(self, pin: int, who: str | None, force: bool, output: bool, act: Callable[[], None]) -> None:
        owner = self.owners.get(pin)
        allowed = owner is None or owner == who or force
        was_input = self.board.pin(pin).mode.is_input
        made = self.board.log.made
        try:
            act()
        except PinInUseError as exc:
            assert (allowed, self.board.log.made) == (False, made)
            assert exc.owner == owner  # noqa: PT017
        except PinError:
            assert was_input or pin in (2, 13)
        else:
            assert allowed
            if output and owner is None and who is not None:
                self.owners[pin] = who

    @rule(pin=PINS, who=WHO, force=st.booleans(), level=st.integers(0, 1))
    def write(self, pin: int, who: str | None, force: bool, level: int) -> None:
        self._try(
            pin, who, force, True, lambda: self.board.pin(pin).digital_write(level, by=who, force=force)
        )

    @rule(pin=PINS, who=WHO, force=st.booleans())
    def listen(self, pin: int, who: str | None, force: bool) -> None:
        before = self.board.pin(pin).mode
        self._try(
            pin, who, force, False, lambda: self.board.pin(pin).set_mode(Mode.INPUT, by=who, force=force)
        )
        if self.board.pin(pin).mode is Mode.INPUT and before is not Mode.INPUT:
            self.owners.pop(pin, None)

    @rule(who=st.sampled_from(["ann", "bob"]))
    def leave(self, who: str) -> None:
        left = {pin.spec.number for pin in self.board.leave(who)}
        assert left == {pin for pin, owner in self.owners.items() if owner == who}
        self.owners = {pin: owner for pin, owner in self.owners.items() if owner != who}

    @invariant()
    def owners_are_as_the_model_has_them(self) -> None:
        assert {p.spec.number: p.owner for p in self.board.pins if p.owner} == self.owners

    @invariant()
    def only_outputs_are_owned(self) -> None:
        assert all(pin.mode.is_output for pin in self.board.pins if pin.owner)

    @invariant()
    def the_log_has_no_gaps(self) -> None:
        edges, missed = self.board.log.since(0)
        assert [edge.number for edge in edges] == list(range(1, self.board.log.made + 1))
        assert missed == 0
        last: dict[int, int] = {}
        for edge in edges:
            assert last.get(edge.pin, 0) != edge.value
            last[edge.pin] = edge.value


TestOwnership = Ownership.TestCase
TestOwnership.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
