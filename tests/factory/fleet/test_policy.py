"""Whether, when and how often a node is started again."""

from __future__ import annotations

import pytest

from factory.fleet.policy import Again, GiveUp, Rest, Tries
from mesh.node import Restart


@pytest.mark.parametrize(
    ("policy", "failed", "expected"),
    [
        ("never", True, GiveUp),
        ("never", False, Rest),
        ("on-failure", True, Again),
        ("on-failure", False, Rest),
        ("always", True, Again),
        ("always", False, Again),
    ],
)
def test_which_ends_are_followed_by_a_start(policy: str, failed: bool, expected: type) -> None:
    assert isinstance(Tries(Restart(policy)).ended(0.0, failed=failed), expected)


def test_the_delay_doubles_up_to_half_a_minute() -> None:
    tries = Tries(Restart(most=100, window=1000.0))
    delays = [tries.ended(float(now), failed=True) for now in range(9)]
    assert delays == [Again(delay) for delay in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0)]


def test_too_many_ends_within_the_window_are_a_crash_loop() -> None:
    tries = Tries(Restart(most=3, window=10.0))
    assert tries.ended(0.0, failed=True) == Again(0.5)
    assert tries.ended(5.0, failed=True) == Again(1.0)
    assert tries.ended(9.0, failed=True) == GiveUp("it has ended 3 times within 10 s")


def test_who_ran_for_long_enough_begins_anew() -> None:
    tries = Tries(Restart(most=2, window=10.0))
    for now in (0.0, 10.0, 20.0, 30.0):
        assert tries.ended(now, failed=True) == Again(0.5)


def test_one_try_is_no_try_again() -> None:
    assert Tries(Restart(most=1)).ended(0.0, failed=True) == GiveUp("it has ended once within 60 s")


def test_who_is_started_by_hand_begins_anew() -> None:
    tries = Tries(Restart(most=2))
    tries.ended(0.0, failed=True)
    tries.forget()
    assert tries.ended(1.0, failed=True) == Again(0.5)
