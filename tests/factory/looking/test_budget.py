"""How long a command that was just started may wait for nodes."""

from __future__ import annotations

import pytest

from factory.looking.budget import LEAST, SHOWING, WITHIN, left, left_now, patience, slowness


def test_what_the_start_took_comes_out_of_the_same_half_second() -> None:
    assert left(age=0.2, busy=0.2) == pytest.approx(WITHIN - SHOWING - 0.2)


def test_a_slow_start_leaves_nodes_a_little_nevertheless() -> None:
    assert left(age=0.6, busy=0.6) == pytest.approx(LEAST)


def test_on_a_busy_machine_nodes_get_as_much_more_time_as_the_start_took() -> None:
    assert left(age=1.2, busy=0.3) == pytest.approx(LEAST * 4)


def test_a_process_that_has_not_worked_yet_gets_what_is_left() -> None:
    assert left(age=0.0, busy=0.0) == pytest.approx(WITHIN - SHOWING)


def test_a_machine_is_never_faster_than_with_nothing_else_to_do() -> None:
    assert slowness(age=0.1, busy=0.2) == 1.0
    assert slowness(age=1.2, busy=0.3) == pytest.approx(4)


def test_of_this_process_it_is_never_less_than_the_least() -> None:
    assert left_now() >= LEAST
    assert patience(2.0) >= 2.0
