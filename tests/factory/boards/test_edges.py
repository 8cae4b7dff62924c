"""The edge log: numbered without gaps, bounded, and honest about what it dropped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.boards import Edge, EdgeLog, Signal

entries = st.tuples(st.floats(0, 1e9), st.integers(0, 127), st.sampled_from(Signal), st.integers(0, 65_535))


def test_an_entry_comes_out_as_it_went_in() -> None:
    log = EdgeLog()
    assert log.add(1.5, 13, Signal.LEVEL, 1) == Edge(1, 1.5, 13, Signal.LEVEL, 1)
    assert log.add(2.5, 127, Signal.TONE, 65_535) == Edge(2, 2.5, 127, Signal.TONE, 65_535)
    assert log.since(0) == ([(1, 1.5, 13, Signal.LEVEL, 1), (2, 2.5, 127, Signal.TONE, 65_535)], 0)


@given(st.integers(1, 20), st.lists(entries, max_size=60), st.integers(0, 60), st.none() | st.integers(0, 9))
def test_what_is_read_and_what_is_missed_is_all_there_was(
    limit: int, made: list[tuple[float, int, Signal, int]], known: int, most: int | None
) -> None:
    log = EdgeLog(limit)
    whole = [log.add(*entry) for entry in made]
    known = min(known, len(made))
    got, missed = log.since(known, most)
    assert log.made == len(made)
    assert log.dropped == max(len(made) - limit, 0)
    assert got == whole[known + missed :][:most]
    if most is None:
        assert known + missed + len(got) == log.made


def test_a_reader_that_keeps_up_misses_nothing() -> None:
    log = EdgeLog(4)
    numbers: list[int] = []
    for value in range(50):
        log.add(0.0, 1, Signal.DUTY, value)
        edges, missed = log.since(len(numbers))
        assert missed == 0
        numbers += [edge.number for edge in edges]
    assert numbers == list(range(1, 51))


def test_a_log_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1 edge"):
        EdgeLog(0)
