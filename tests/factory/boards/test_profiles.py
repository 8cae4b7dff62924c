"""What each kind of board has, against the tables of its maker."""

from __future__ import annotations

import pytest

from factory.boards import PROFILES, BoardError, Mode, UnknownPinError
from factory.boards.profiles import find_profile


def able(kind: str, mode: Mode) -> list[int]:
    return [spec.number for spec in PROFILES[kind].pins if mode in spec.modes]


@pytest.mark.parametrize(
    ("kind", "count", "analog", "pwm"),
    [
        ("uno", 20, list(range(14, 20)), [3, 5, 6, 9, 10, 11]),
        ("nano", 22, list(range(14, 22)), [3, 5, 6, 9, 10, 11]),
        ("mega", 70, list(range(54, 70)), [*range(2, 14), 44, 45, 46]),
        ("leonardo", 24, [18, 19, 20, 21, 22, 23, 4, 6, 8, 9, 10, 12], [3, 5, 6, 9, 10, 11, 13]),
    ],
)
def test_pins_and_what_they_can_do(kind: str, count: int, analog: list[int], pwm: list[int]) -> None:
    profile = PROFILES[kind]
    assert [spec.number for spec in profile.pins] == list(range(count))
    assert [spec.number for spec in profile.analog_pins] == analog
    assert [spec.analog for spec in profile.analog_pins] == list(range(len(analog)))
    assert able(kind, Mode.ANALOG) == sorted(analog)
    assert able(kind, Mode.PWM) == pwm


def test_two_pins_of_a_nano_have_no_digital_side() -> None:
    assert [spec.name for spec in PROFILES["nano"].pins if not spec.is_digital] == ["A6", "A7"]


@pytest.mark.parametrize(
    ("kind", "ref", "number"),
    [
        ("uno", 13, 13),
        ("uno", "13", 13),
        ("uno", "d13", 13),
        ("uno", "LED", 13),
        ("uno", "A0", 14),
        ("uno", "a5", 19),
        ("uno", "SDA", 18),
        ("uno", "MOSI", 11),
        ("mega", "A15", 69),
        ("mega", "sda", 20),
        ("mega", "TX3", 14),
        ("leonardo", "A6", 4),
        ("leonardo", "SDA", 2),
        ("nano", "A7", 21),
    ],
)
def test_a_pin_has_several_names(kind: str, ref: int | str, number: int) -> None:
    assert PROFILES[kind].number(ref) == number


def test_the_name_that_is_printed() -> None:
    names = [spec.name for spec in PROFILES["leonardo"].pins]
    assert (names[4], names[13], names[18]) == ("4", "13", "A0")


@pytest.mark.parametrize("ref", [20, "-1", "1.5", "", "A6", "x" * 1000, "\x1b[2J"])
def test_a_pin_that_is_not_there(ref: int | str) -> None:
    with pytest.raises(UnknownPinError, match=r"desk has no pin .*pins 0 to 19.*A0 to A5") as caught:
        PROFILES["uno"].number(ref, "desk")
    assert len(str(caught.value)) < 200
    assert "\x1b" not in str(caught.value)


def test_a_slip_is_guessed() -> None:
    with pytest.raises(UnknownPinError, match=r"did you mean 'MOSI'"):
        PROFILES["uno"].number("MOSSI")
    with pytest.raises(BoardError, match=r"did you mean 'leonardo'.*choose uno, mega, nano or leonardo"):
        find_profile("leonarda")
