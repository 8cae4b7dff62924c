"""Bytes into lines: however they are cut on their way, at a cost that is linear, within a limit."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import LineTooLongError
from mesh.protocol.lines import CRLF, LF, LineSplitter

DELIMITERS = [b"\n", b"\r\n", b"\0", b"aab", b"aa"]

soup = st.lists(st.sampled_from([b"a", b"b", b"\r", b"\n", b"\r\n", b"\0", b"word"]), max_size=40).map(
    b"".join
)
cuts = st.lists(st.integers(0, 200), max_size=12)


def chunks(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in at), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


def fed(splitter: LineSplitter, pieces: list[bytes]) -> list[bytes]:
    lines: list[bytes] = []
    try:
        for piece in pieces:
            lines += splitter.feed(piece)
    except LineTooLongError as exc:
        lines += exc.lines
    return lines


@given(soup, cuts, st.sampled_from(DELIMITERS))
def test_lines_are_what_splitting_the_whole_gives(data: bytes, at: list[int], delimiter: bytes) -> None:
    splitter = LineSplitter(delimiter)
    *lines, rest = data.split(delimiter)
    assert fed(splitter, chunks(data, at)) == lines
    assert splitter.rest == rest
    assert splitter.last_delimiter == delimiter


@pytest.mark.source("C20")
@given(soup, cuts)
def test_c20_both_ends_of_a_line_are_taken(data: bytes, at: list[int]) -> None:
    splitter = LineSplitter()
    runs = [run for piece in chunks(data, at) for run in splitter.runs(piece)]
    *whole, rest = data.split(b"\n")
    assert [(line, end) for end, lines in runs for line in lines] == [
        (line.removesuffix(b"\r"), CRLF if line.endswith(b"\r") else LF) for line in whole
    ]
    assert splitter.rest == rest
    assert splitter.last_delimiter == (runs[-1][0] if runs else LF)


@given(soup, cuts, st.sampled_from([None, *DELIMITERS]), st.integers(1, 6))
def test_the_limit_does_not_depend_on_how_the_bytes_were_cut(
    data: bytes, at: list[int], delimiter: bytes | None, most: int
) -> None:
    at_once, in_pieces = LineSplitter(delimiter, most), LineSplitter(delimiter, most)
    lines = fed(at_once, [data])
    assert fed(in_pieces, chunks(data, at)) == lines
    assert (at_once.error is None) == (in_pieces.error is None)
    assert all(len(line) <= most for line in lines)


@pytest.mark.source("C2")
@pytest.mark.parametrize("delimiter", [b"\r\n", b"<end>", None])
def test_c2_a_delimiter_may_come_in_pieces(delimiter: bytes | None) -> None:
    splitter = LineSplitter(delimiter)
    ending = delimiter or b"\r\n"
    stream = b"one" + ending + ending + b"two" + ending + b"thr"
    assert fed(splitter, [bytes([byte]) for byte in stream]) == [b"one", b"", b"two"]
    assert splitter.rest == b"thr"
    assert splitter.last_delimiter == ending


@pytest.mark.source("C17")
@pytest.mark.parametrize("pieces", [[b"ok\nfine\nlonger\nnever\n"], [b"ok\n", b"fine\nlon", b"ger\nnever\n"]])
def test_c17_a_line_that_is_too_long_is_the_end(pieces: list[bytes]) -> None:
    splitter = LineSplitter(max_line=5)
    assert fed(splitter, pieces) == [b"ok", b"fine"]
    with pytest.raises(LineTooLongError, match="longer than 5 bytes") as caught:
        splitter.feed(b"more\n")
    assert caught.value.limit == 5
    assert caught.value.size == 6
    assert caught.value.lines == []
    assert splitter.rest == b""


@pytest.mark.source("C17")
def test_c17_memory_is_bounded_without_any_delimiter() -> None:
    splitter = LineSplitter(b"\r\n", max_line=1000)
    for _ in range(10):
        splitter.feed(b"x" * 100)
    splitter.feed(b"\r")
    with pytest.raises(LineTooLongError):
        splitter.feed(b"x" * 100)
    for _ in range(10):
        assert splitter.runs(b"x" * 100) == []
    assert splitter.rest == b""


def test_a_line_may_be_as_long_as_the_limit_says() -> None:
    splitter = LineSplitter(b"\r\n", max_line=3)
    assert fed(splitter, [b"abc", b"\r", b"\nabc\r", b"\n"]) == [b"abc", b"abc"]
    assert splitter.error is None


@pytest.mark.parametrize(
    ("delimiter", "most", "words"), [(b"", 5, "at least one byte"), (b"\n", 0, "above zero, not 0")]
)
def test_what_makes_no_sense_is_refused(delimiter: bytes, most: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LineSplitter(delimiter, most)


# -- cost: bytes that were touched, not seconds ----------------------------------------------


class Work:
    """Counts the bytes that a splitter looks at or copies."""

    def __init__(self) -> None:
        self.touched = 0


def counted_rest(work: Work) -> bytearray:
    class Rest(bytearray):
        def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
            work.touched += len(self) - start
            return super().find(what, start)

        def __iadd__(self, other: Any) -> Self:  # type: ignore[misc]
            work.touched += len(other)
            self.extend(other)
            return self

        def __bytes__(self) -> bytes:
            work.touched += len(self)
            return counted_data(work, bytes(memoryview(self)))

    return Rest()


def counted_data(work: Work, content: bytes) -> bytes:
    class Data(bytes):
        def split(self, *args: Any) -> list[bytes]:
            work.touched += len(self)
            return super().split(*args)

        def count(self, *args: Any) -> int:
            work.touched += len(self)
            return super().count(*args)

        def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
            work.touched += len(self) - start
            return super().find(what, start)

        def __getitem__(self, key: Any) -> Any:
            part = super().__getitem__(key)
            work.touched += len(part) if isinstance(part, bytes) else 1
            return part

    return Data(content)


def cost(pieces: list[bytes], delimiter: bytes | None, most: int) -> tuple[int, list[bytes]]:
    work = Work()
    splitter = LineSplitter(delimiter, most)
    splitter._rest = counted_rest(work)
    lines = [line for piece in pieces for line in splitter.feed(counted_data(work, piece))]
    return work.touched, lines


@pytest.mark.source("C2")
@pytest.mark.parametrize("delimiter", [b"\r\n", None])
def test_c2_a_megabyte_byte_by_byte_costs_linear_work(delimiter: bytes | None) -> None:
    size = 1_000_000
    one = b"x"
    touched, lines = cost([one] * size + [b"\r", b"\n"], delimiter, size)
    assert lines == [b"x" * size]
    assert touched < 10 * size


@pytest.mark.source("C3")
@pytest.mark.parametrize(("delimiter", "ending"), [(b"\r\n", b"\r\n"), (None, b"\r\n"), (None, b"\n")])
def test_c3_many_lines_in_one_chunk_do_not_copy_it_for_each(delimiter: bytes | None, ending: bytes) -> None:
    chunk = (b"x" + ending) * 100_000
    touched, lines = cost([chunk], delimiter, 100)
    assert lines == [b"x"] * 100_000
    assert touched < 5 * len(chunk)


def test_a_long_line_in_pieces_with_short_ones_costs_linear_work() -> None:
    pieces = [b"y" * 600] * 100 + [b"\n" + b"x\n" * 50_000]
    touched, lines = cost(pieces, None, 64 * 1024)
    assert len(lines) == 50_001
    assert touched < 10 * sum(map(len, pieces))
