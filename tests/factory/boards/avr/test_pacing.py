"""When an engine runs, and how far: time moved by hand."""

from __future__ import annotations

import pytest

from factory.boards import BoardError
from factory.boards.avr.pacing import AHEAD, MOST_BEHIND, MOST_EVENTS, SLICE, Pacer, speed_of

HERTZ = 16_000_000
CYCLES = round(SLICE * HERTZ)


def test_it_runs_a_slice_at_a_time_and_a_little_ahead() -> None:
    pacer = Pacer(HERTZ, 100.0)
    assert pacer.wait(100.0) == 0
    assert pacer.until(None) == CYCLES
    assert pacer.ran(CYCLES, 0, 100.0) is None
    assert pacer.wait(100.0) == pytest.approx(SLICE - AHEAD)
    assert pacer.wait(100.0 + SLICE - AHEAD / 2) == 0
    assert pacer.until(None) == 2 * CYCLES


def test_what_is_known_to_happen_ends_a_slice_and_is_waited_for() -> None:
    pacer = Pacer(HERTZ, 100.0)
    until = pacer.until(100.0005)
    assert until == 8000
    pacer.ran(until, 0, 100.0)
    assert pacer.wait(100.0) == pytest.approx(0.0005)
    # What is past, or further away than a slice, ends none.
    assert pacer.until(99.0) == pacer.until(101.0) == pacer.until(None) == until + CYCLES
    assert pacer.wait(100.0) == 0


def test_a_slice_is_never_empty() -> None:
    pacer = Pacer(HERTZ, 100.0)
    assert pacer.until(100.0 + 1e-12) == 1


def test_a_crowded_slice_makes_the_next_one_shorter() -> None:
    pacer = Pacer(HERTZ, 0.0)
    reached = 0
    lengths = []
    for events in (MOST_EVENTS + 1, MOST_EVENTS + 1, 0, 0, 0):
        until = pacer.until(None)
        lengths.append(until - reached)
        pacer.ran(until, events, 0.0)
        reached = until
    assert lengths == [CYCLES, CYCLES // 2, CYCLES // 4, CYCLES // 2, CYCLES]


def test_lag_is_said_once_in_a_while_and_so_is_its_end() -> None:
    pacer = Pacer(HERTZ, 0.0)
    said = []
    cycle = 0
    for step in range(1, 4000):
        cycle += CYCLES // 2  # half as fast as it should be, for a while
        said.append(pacer.ran(cycle, 0, step * SLICE if step < 400 else 0.4 + step * SLICE / 2))
    words = [word for word in said if word]
    assert words[0].startswith("simulated time is 0.1 s behind: this machine is too busy")
    assert len(words) == 1
    pacer.ran(cycle, 0, pacer.due(cycle) + 0.2)
    assert pacer.behind == pytest.approx(0.2)
    assert pacer.ran(cycle + CYCLES, 0, 0.0) == "simulated time has caught up"
    assert pacer.ran(cycle + CYCLES, 0, 0.0) is None


def test_more_than_can_be_made_up_for_is_given_up_and_stamps_know_nothing_of_it() -> None:
    pacer = Pacer(HERTZ, 0.0)
    # An hour with the lid closed.
    said = pacer.ran(CYCLES, 0, 3600.0)
    assert said is not None
    assert "simulated time is 3600.0 s behind; 3599.0 s of it are given up" in said
    assert pacer.stamp(CYCLES) == SLICE
    assert pacer.due(CYCLES) == pytest.approx(3600.0 - MOST_BEHIND)
    assert pacer.ran(CYCLES, 0, 0.0) == "simulated time has caught up, but for 3599.0 s that are given up"
    assert pacer.behind == pytest.approx(3599.0, abs=0.1)
    pacer.resume(5000.0)
    assert (pacer.given_up, pacer.due(CYCLES)) == (0.0, 5000.0)


@pytest.mark.parametrize(("word", "speed"), [("max", None), (1.0, 1.0), ("10", 10.0), (0.001, 0.001)])
def test_speeds(word: float | str, speed: float | None) -> None:
    assert speed_of(word) == speed


@pytest.mark.parametrize("word", ["fast", 0, -1.0, "nan", 1e9, ""])
def test_what_is_no_speed(word: float | str) -> None:
    with pytest.raises(BoardError, match=r"write a number from 0.001 to 1000, 1 for real time, or max"):
        speed_of(word)
