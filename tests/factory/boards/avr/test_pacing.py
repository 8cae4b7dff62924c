"""When an engine runs, and how far: time moved by hand."""

from __future__ import annotations

import pytest

from factory.boards import BoardError
from factory.boards.avr.pacing import (
    AHEAD,
    DELAY,
    MOST_BEHIND,
    MOST_CUTS,
    MOST_EVENTS,
    SLICE,
    Pacer,
    speed_of,
)

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


def test_what_the_chip_will_see_ends_a_slice() -> None:
    pacer = Pacer(HERTZ, 100.0)
    assert pacer.until(8000) == 8000
    # What is past, or further away than a slice, ends none.
    assert pacer.until(0) == pacer.until(CYCLES + 1) == pacer.until(None) == CYCLES


def test_a_slice_is_not_cut_to_shreds() -> None:
    pacer = Pacer(HERTZ, 100.0)
    ends = []
    for _ in range(MOST_CUTS + 2):
        ends.append(pacer.until(pacer.reached + 10))
        pacer.ran(ends[-1], 0, 100.0)
    cut = [10 * (n + 1) for n in range(MOST_CUTS)]
    assert ends == [*cut, cut[-1] + CYCLES, cut[-1] + CYCLES + 10]


def test_the_chip_sees_what_is_outside_after_a_time_that_is_always_the_same() -> None:
    pacer = Pacer(HERTZ, 100.0)
    assert pacer.seen(100.0) == 0
    pacer.ran(CYCLES, 0, 100.0)
    assert pacer.seen(100.001) == round((0.001 + DELAY) * HERTZ)
    # However far ahead the engine is, it is not there yet.
    assert pacer.seen(pacer.stamp(CYCLES) - AHEAD) >= CYCLES + CYCLES


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


def test_lag_is_said_once_in_a_while_if_there_is_more_of_it() -> None:
    pacer = Pacer(HERTZ, 0.0)
    said: list[str] = []
    wall = 0.0

    def run(slices: int, seconds: float) -> None:
        """Run slices that take so many seconds each, on the clock on the wall."""
        nonlocal wall
        for _ in range(slices):
            wall += seconds
            word = pacer.ran(pacer.reached + CYCLES, 0, wall - pacer.given_up)
            said.extend([word] if word else [])

    run(800, SLICE)
    assert (said, pacer.behind) == ([], 0.0)
    run(1000, 2 * SLICE)
    assert [word.partition(":")[0] for word in said] == [
        f"simulated time is {seconds} s behind" for seconds in ("0.3", "2.8")
    ]
    assert pacer.behind == pytest.approx(5.0)
    assert pacer.given_up == pytest.approx(5.0 - MOST_BEHIND)
    # A little of that is made up for, and after what was left to be said there is nothing new.
    run(1000, 0.9 * SLICE)
    assert pacer.behind == pacer.given_up
    run(2000, SLICE)
    assert [word.partition(":")[0] for word in said[2:]] == ["simulated time is 4.9 s behind"]


def test_more_than_can_be_made_up_for_is_given_up() -> None:
    pacer = Pacer(HERTZ, 0.0)
    # An hour with the lid closed.
    said = pacer.ran(CYCLES, 0, 3600.0)
    assert said is not None
    assert said.startswith("simulated time is 3600.0 s behind: this machine is too busy")
    # The stamps are those of the chip; the clock of the bench is behind ours.
    assert pacer.stamp(CYCLES) == SLICE
    assert pacer.given_up == pytest.approx(3600.0 - SLICE - MOST_BEHIND)


def test_while_it_stands_still_time_goes_on_without_it() -> None:
    pacer = Pacer(HERTZ, 0.0)
    pacer.ran(CYCLES, 0, 0.0)
    pacer.resume(50.0)
    assert (pacer.runs, pacer.stamp(CYCLES), pacer.wait(50.0)) == (True, 50.0, 0.0)
    assert pacer.ran(2 * CYCLES, 0, 50.0) is None


@pytest.mark.parametrize(("word", "speed"), [("max", None), (1.0, 1.0), ("10", 10.0), (0.001, 0.001)])
def test_speeds(word: float | str, speed: float | None) -> None:
    assert speed_of(word) == speed


@pytest.mark.parametrize("word", ["fast", 0, -1.0, "nan", 1e9, ""])
def test_what_is_no_speed(word: float | str) -> None:
    with pytest.raises(BoardError, match=r"write a number from 0.001 to 1000, 1 for real time, or max"):
        speed_of(word)
