"""Servo pulses and tones, found in edges."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.boards.avr.signals import PinReader
from factory.boards.modes import Signal


def wave(reader: PinReader, period: float, high: float, count: int, *, begin: float = 0.0) -> list[object]:
    """Feed a reader a wave, and return what it told."""
    told: list[object] = []
    for number in range(count):
        risen = begin + number * period
        told += [reader.edge(1, risen), reader.edge(0, risen + high)]
    return [change for change in told if change is not None]


@pytest.mark.parametrize(
    ("width", "degrees"), [(544e-6, 0), (1472e-6, 90), (1500e-6, 93), (2400e-6, 180), (540e-6, 0)]
)
def test_a_pulse_every_20_ms_is_an_angle(width: float, degrees: int) -> None:
    reader = PinReader()
    # The first pulse says nothing: nobody knows how far apart they will be.
    assert wave(reader, 0.020, width, 2) == []
    assert wave(reader, 0.020, width, 5, begin=0.040) == [(Signal.ANGLE, degrees)]


@pytest.mark.parametrize(
    ("period", "width"), [(0.020, 300e-6), (0.020, 3e-3), (0.1, 1.5e-3), (0.004, 1.5e-3)]
)
def test_other_pulses_are_none(period: float, width: float) -> None:
    assert wave(PinReader(), period, width, 20) == []


def test_a_pulse_that_an_interrupt_makes_longer_turns_no_servo() -> None:
    reader = PinReader()
    wave(reader, 0.020, 1472e-6, 5)
    assert wave(reader, 0.020, 1480e-6 + 20e-6, 1, begin=0.100) == []
    assert wave(reader, 0.020, 1472e-6, 5, begin=0.120) == []
    assert wave(reader, 0.020, 2000e-6, 5, begin=0.220) == [(Signal.ANGLE, 141)]


@settings(deadline=None)
@given(st.floats(31, 20_000), st.integers(0, 2**32))
def test_a_regular_wave_is_a_tone_even_if_interrupts_delay_its_edges(hertz: float, seed: int) -> None:
    chance = Random(seed)
    reader = PinReader()
    told = []
    for number in range(20):
        late = chance.random() * 3e-6
        told += [reader.edge(1, number / hertz + late), reader.edge(0, (number + 0.5) / hertz + late)]
    changes = [change for change in told if change is not None]
    assert changes[0][0] is Signal.TONE
    assert changes[-1][1] == pytest.approx(hertz, rel=0.03, abs=1)


def test_a_tone_ends_when_the_pin_stays() -> None:
    reader = PinReader()
    assert wave(reader, 1 / 440, 1 / 880, 440) == [(Signal.TONE, 440)]
    deadline = reader.deadline() or 0.0
    assert deadline == pytest.approx(1.0 + 2.5 / 440, abs=1e-4)
    assert reader.expire(deadline - 1e-6) is None
    assert reader.expire(deadline) == (Signal.TONE, 0)
    assert reader.deadline() is None


def test_a_melody_is_one_tone_after_the_other() -> None:
    reader = PinReader()
    told = wave(reader, 1 / 440, 1 / 880, 100)
    told += wave(reader, 1 / 494, 1 / 988, 100, begin=100 / 440)
    assert told == [(Signal.TONE, 440), (Signal.TONE, 494)]


def test_what_blinks_is_no_tone_and_neither_is_noise() -> None:
    assert wave(PinReader(), 0.5, 0.25, 20) == []
    assert wave(PinReader(), 0.002, 0.0004, 50) == []
    chance = Random(1)
    reader, time, told = PinReader(), 0.0, []
    for number in range(2000):
        time += chance.random() * 0.01
        told.append(reader.edge(number % 2, time))
    assert {change for change in told if change} == set()


def test_a_tone_that_turns_into_something_else_ends() -> None:
    reader = PinReader()
    wave(reader, 1 / 440, 1 / 880, 50)
    told = wave(reader, 0.0007, 0.0001, 5, begin=50 / 440)
    assert told == [(Signal.TONE, 0)]
