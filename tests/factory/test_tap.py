"""What is shown to who looks on: some messages of many, and the number of all."""

from __future__ import annotations

from typing import Any

import pytest

from factory.tap import ACKED, BURST, CAME, LARGEST, MOST_TAPS, MOST_WAITING, RATE, Tap, Taps, Wish


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def tap(clock: Clock | None = None, numbers: dict[str, int] | None = None, **wish: Any) -> Tap:
    return Tap(Wish(**wish), numbers or {}, clock or Clock())


def test_of_a_batch_beyond_the_budget_the_first_are_shown_and_all_are_counted() -> None:
    one = tap()
    one.take(CAME, "peer", "x", range(10_000))
    part = one.collect({})
    assert len(part["rows"]) == BURST
    assert part["skipped"] == 10_000 - BURST
    assert part["counts"] == [[CAME, "x", 10_000]]


def test_the_budget_comes_back_with_time() -> None:
    clock = Clock()
    one = tap(clock)
    one.take(CAME, None, "x", range(1000))
    one.collect({})
    one.take(CAME, None, "x", range(1000))
    assert one.collect({})["rows"] == []
    clock.now += 10.5 / RATE
    one.take(CAME, None, "x", range(1000))
    assert len(one.collect({})["rows"]) == 10


def test_what_nobody_collects_has_a_limit() -> None:
    clock = Clock()
    one = tap(clock)
    for _ in range(100):
        clock.now += 60
        one.take(CAME, None, "x", range(1000))
    part = one.collect({})
    assert (len(part["rows"]), part["skipped"]) == (MOST_WAITING, 100_000 - MOST_WAITING)


def test_publications_are_counted_by_their_numbers() -> None:
    one = tap(numbers={"x": 40, "gone": 9})
    one.take_published("x", "a")
    part = one.collect({"x": 45, "gone": 2, "new": 1})
    assert part["counts"] == [[">", "x", 5], [">", "gone", 2], [">", "new", 1]]
    assert (len(part["rows"]), part["skipped"]) == (1, 7)
    assert one.collect({"x": 45, "gone": 2, "new": 1})["counts"] == []


def test_only_what_is_wished_for_is_taken() -> None:
    one = tap(channel="x")
    one.take(CAME, None, "y", [1])
    one.take(ACKED, None, "x", [1])
    one.take_published("y", 1)
    assert one.collect({"y": 3}) == {"rows": [], "skipped": 0, "counts": []}
    rates = tap(rows=False)
    rates.take(CAME, None, "x", [1, 2])
    assert rates.collect({}) == {"rows": [], "skipped": 0, "counts": [[CAME, "x", 2]]}
    assert not rates.has_budget


def test_a_large_message_or_one_that_cannot_travel_is_only_mentioned() -> None:
    one = tap()
    one.take(CAME, None, "x", ["a" * (LARGEST + 1), object()])
    assert [row.get("large") for row in one.collect({})["rows"]] == [True, True]


async def test_publications_are_looked_at_only_while_there_is_budget() -> None:
    armed: list[bool] = []
    taps = Taps(armed.append, dict)
    looking = taps.parts({})
    await anext(looking)
    assert (taps.anybody, armed[-1]) == (True, True)
    for number in range(int(BURST) + 10):
        if armed[-1]:
            taps.published("x", number)
    assert not armed[-1]
    await looking.aclose()
    assert (taps.anybody, armed[-1]) == (False, False)


async def test_there_is_a_limit_to_how_many_may_look_on() -> None:
    taps = Taps(lambda _: None, dict)
    looking = [taps.parts(None) for _ in range(MOST_TAPS)]
    for one in looking:
        await anext(one)
    with pytest.raises(ValueError, match="looking on already"):
        await anext(taps.parts(None))
    for one in looking:
        await one.aclose()
