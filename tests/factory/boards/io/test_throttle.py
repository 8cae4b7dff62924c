"""Floods of lines, told a few at a time."""

from __future__ import annotations

from factory.boards import Bench
from factory.boards.io.throttle import Throttle


def throttled() -> tuple[Throttle, Bench, list[str]]:
    bench, said = Bench(), list[str]()
    return Throttle(said.append, bench.after), bench, said


def test_lines_that_come_now_and_then_are_told_at_once() -> None:
    say, bench, said = throttled()
    for now in (0.0, 6.0, 12.0):
        bench.advance(now)
        say(f"at {now:g}")
        assert said[-1] == f"at {now:g}"
    bench.advance(60.0)
    assert said == ["at 0", "at 6", "at 12"]


def test_of_a_flood_one_line_in_five_seconds_is_told_with_the_number_of_them() -> None:
    say, bench, said = throttled()
    for number in range(1001):
        bench.advance(number / 100)
        say(f"line {number}")
    bench.advance(60.0)
    assert said == [
        "line 0",
        "line 499 (the last of 499 lines in 5 s)",
        "line 999 (the last of 500 lines in 5 s)",
        "line 1000",
    ]
    say("later")
    assert said[-1] == "later"


def test_one_line_that_came_too_soon_is_told_late_as_it_is() -> None:
    say, bench, said = throttled()
    say("a")
    say("b")
    assert said == ["a"]
    bench.advance(5.0)
    assert said == ["a", "b"]


def test_at_the_end_nothing_is_kept_back() -> None:
    say, bench, said = throttled()
    for text in ("a", "b", "c"):
        say(text)
    say.close()
    assert said == ["a", "c (the last of 2 lines in 5 s)"]
    assert bench.next_deadline() is None
    say.close()
    assert len(said) == 2
