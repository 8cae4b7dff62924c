"""Delays between tries: bounded, growing, jittered and the same for the same seed."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.backoff import Backoff


class Fixed(Random):
    """Chance that always falls on the same side."""

    def __init__(self, side: str) -> None:
        super().__init__()
        self._side = side

    def uniform(self, a: float, b: float) -> float:
        return {"low": a, "high": b, "middle": (a + b) / 2}[self._side]


def test_delays_double_up_to_the_limit() -> None:
    backoff = Backoff(Fixed("middle"), first=0.1, limit=1.0)
    assert [backoff.delay() for _ in range(6)] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


@pytest.mark.parametrize(("side", "factor"), [("low", 0.5), ("high", 1.5)])
def test_the_jitter_is_half_of_the_delay_either_way(side: str, factor: float) -> None:
    backoff = Backoff(Fixed(side), first=1.0, limit=2.0)
    assert [backoff.delay(), backoff.delay()] == [1.0 * factor, 2.0 * factor]


def test_a_reset_begins_again() -> None:
    backoff = Backoff(Fixed("middle"), first=0.1, limit=1.0)
    first = [backoff.delay() for _ in range(3)]
    backoff.reset()
    assert [backoff.delay() for _ in range(3)] == first


def test_not_even_the_first_delay_exceeds_the_limit() -> None:
    backoff = Backoff(Fixed("middle"), first=5.0, limit=1.0)
    assert backoff.delay() == 1.0
    backoff.reset()
    assert backoff.delay() == 1.0


def test_the_seed_decides_the_delays() -> None:
    def delays(seed: int) -> list[float]:
        backoff = Backoff(Random(seed))
        return [backoff.delay() for _ in range(8)]

    assert delays(1) == delays(1)
    assert delays(1) != delays(2)


@given(
    seed=st.integers(),
    first=st.floats(0.001, 10),
    limit=st.floats(0.001, 10),
    tries=st.integers(1, 40),
)
def test_every_delay_is_between_half_the_first_and_one_and_a_half_times_the_limit(
    seed: int, first: float, limit: float, tries: int
) -> None:
    backoff = Backoff(Random(seed), first=first, limit=limit)
    for _ in range(tries):
        assert min(first, limit) * 0.5 <= backoff.delay() <= limit * 1.5
