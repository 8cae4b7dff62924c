"""Packing: every value once, in order, in chunks of the right size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import FrameTooLargeError, PayloadError
from mesh.protocol.link.packing import CHUNK, MOST_CONTAINERS, pack, pack_one
from mesh.protocol.link.records import pieces

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def values_of(chunks: list[tuple[int, bytes]]) -> list[Any]:
    return [value for count, body in chunks for value in map(msgspec.msgpack.decode, pieces(count, body))]


@given(st.lists(VALUES, max_size=60), st.sampled_from([1, 20, 100, 5000]))
def test_what_goes_in_comes_out(values: list[Any], chunk: int) -> None:
    packed = pack(values, largest=10**9, chunk=chunk)
    assert values_of(packed.chunks) == values
    assert packed.taken == len(values)
    assert packed.size == sum(len(body) for _, body in packed.chunks)
    assert packed.error is None
    assert all(len(body) <= chunk or count == 1 for count, body in packed.chunks)


@pytest.mark.parametrize(
    "values",
    [
        ["x" * 64] * 4096,
        ["é" * 5000] * 100,
        [b"x" * 100_000] * 3,
        [0] * 200_000,
        [1] * 15,
        [1] * 16,
        [1] * 65_535,
        [1] * 65_536,
        ["s"] * 700 + ["L" * 1_000_000] + ["s"] * 700,
        [{"a": 1, "b": [1, 2]}] * 5000,
        ["", "x" * 60_000] * 50,
    ],
    ids=lambda values: f"{len(values)}x{str(values[0])[:5]}",
)
def test_sizes(values: list[Any]) -> None:
    packed = pack(values, largest=10**9)
    assert values_of(packed.chunks) == values
    assert all(len(body) <= CHUNK or count == 1 for count, body in packed.chunks)
    # No dust: chunks are as full as a guess allows.
    assert len(packed.chunks) <= 8 + 4 * packed.size // CHUNK + sum(len(str(v)) > 20_000 for v in values)


def test_room_ends_it() -> None:
    packed = pack(["x" * 1000] * 1000, largest=10**9, room=100_000)
    assert 100_000 <= packed.size <= 100_000 + CHUNK
    assert packed.taken == values_of(packed.chunks).count("x" * 1000)
    assert pack(["x" * 1000] * 10, largest=10**9, room=1).taken >= 1


@pytest.mark.parametrize("bad", [object(), 2**64, -(2**63) - 1, "\ud800", 1j, lambda: None, {1: object()}])
@pytest.mark.parametrize("at", [0, 1, 37, 99])
def test_the_first_value_that_cannot_travel_ends_it(bad: object, at: int) -> None:
    values: list[Any] = ["x"] * 100
    values[at] = bad
    packed = pack(values, largest=10**9)
    assert packed.taken == at
    assert isinstance(packed.error, PayloadError)
    assert type(bad).__name__ in str(packed.error)


def test_a_value_that_holds_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "nested too deeply" in str(pack([loop], largest=10**9).error)


def test_too_large() -> None:
    packed = pack(["a", "x" * 100, "b"], largest=50)
    assert packed.taken == 1
    assert isinstance(packed.error, FrameTooLargeError)
    assert (packed.error.size, packed.error.limit) == (102, 50)


def test_dataclasses_and_numbers() -> None:
    @dataclass
    class Point:
        x: int
        y: float

    assert values_of(pack([Point(1, 2.5), 7, None], largest=1000).chunks) == [{"x": 1, "y": 2.5}, 7, None]


def test_a_value_of_very_many_containers_cannot_travel() -> None:
    most: list[Any] = [[]] * (MOST_CONTAINERS - 1)
    assert pack_one(most, 2**24) is not None
    assert pack([most], largest=2**24).error is None
    more: list[Any] = [[]] * MOST_CONTAINERS
    assert pack_one(more, 2**24) is None
    packed = pack(["fine", more], largest=2**24)
    assert packed.taken == 1
    assert "more than 1048568 lists and dicts" in str(packed.error)
