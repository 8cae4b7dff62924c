"""Cutting messages from the bytes of a websocket, against frames that ``websockets`` writes."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from mesh.transport.framing import Cutter, Masker, apply_mask, head
from tests.helpers.proc import SCALE

LARGEST = 70_000
"""Most bytes of a message here; a little above where the longest kind of length begins."""

SIZES = (0, 1, 124, 125, 126, 127, 1000, 65_534, 65_535, 65_536, LARGEST)

BOTH = pytest.mark.parametrize("masked", [True, False], ids=["from a client", "from a server"])


class Part(NamedTuple):
    """Some bytes on the wire, and what they are."""

    wire: bytes
    message: bytes | None = None
    is_foreign: bool = False
    control: Opcode | None = None


def payload(size: int, seed: int = 0) -> bytes:
    return bytes((seed + n) % 251 for n in range(min(size, 251))) * (size // 251 + 1)


def serialized(opcode: Opcode, data: bytes, masked: bool, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=masked)


def binary(size: int, seed: int, masked: bool) -> Part:
    data = payload(size, seed)[:size]
    return Part(serialized(Opcode.BINARY, data, masked), data)


def control(opcode: Opcode, size: int, masked: bool) -> Part:
    return Part(serialized(opcode, payload(size)[:size], masked), control=opcode)


FOREIGN: dict[str, Callable[[bool], bytes]] = {
    "first fragment": lambda masked: serialized(Opcode.BINARY, b"begin", masked, fin=False),
    "empty fragment": lambda masked: serialized(Opcode.BINARY, b"", masked, fin=False),
    "continuation": lambda masked: serialized(Opcode.CONT, b"end", masked),
    "text": lambda masked: serialized(Opcode.TEXT, b"text", masked),
    "wrong mask": lambda masked: serialized(Opcode.BINARY, b"masked?", not masked),
    "wrong mask of a ping": lambda masked: serialized(Opcode.PING, b"?", not masked),
    "empty with the wrong mask": lambda masked: serialized(Opcode.BINARY, b"", not masked),
    "oversized": lambda masked: serialized(Opcode.BINARY, bytes(LARGEST + 1), masked),
    # What the library would not write:
    "reserved bit": lambda masked: b"\xc2" + serialized(Opcode.BINARY, b"compressed?", masked)[1:],
    "endless": lambda masked: bytes((0x82, 0xFF if masked else 0x7F)) + b"\xff" * 12,
    "long ping": lambda masked: bytes((0x89, 0xFE if masked else 0x7E)) + b"\x00\x7e" + bytes(130),
    "ping in pieces": lambda masked: bytes((0x09, 0x80 if masked else 0)) + bytes(4 if masked else 0),
    "unknown opcode": lambda masked: bytes((0x83, 0x80 if masked else 0)) + bytes(4 if masked else 0),
    "no frame at all": lambda masked: b"GET / HTTP/1.1\r\n\r\n",
}


def fed(masked: bool, chunks: Iterable[bytes]) -> tuple[list[bytes], bytes, bool]:
    """Feed chunks as a connection does; return messages, what the library gets, and whether all is its."""
    cutter = Cutter(masked=masked, largest=LARGEST)
    messages: list[bytes] = []
    library = b""
    for chunk in chunks:
        if cutter.is_done:
            library += chunk
        else:
            came, rest = cutter.feed(chunk)
            messages += came
            library += rest
    return messages, library, cutter.is_done


def expected(parts: list[Part], chunks: list[bytes]) -> tuple[list[bytes], bytes, bool]:
    """Return what is to come of it.

    All is the library's from the first part that is foreign. Before that it gets closes, and
    in front of them the last ping of each chunk.
    """
    ours = parts[: next((n for n, part in enumerate(parts) if part.is_foreign), len(parts))]
    library = b""
    ends = list(accumulate(len(part.wire) for part in ours))
    chunk_ends = list(accumulate(map(len, chunks)))
    for start, stop in pairwise([0, *chunk_ends]):
        came = [part for part, end in zip(ours, ends, strict=True) if start < end <= stop]
        library += b"".join([part.wire for part in came if part.control is Opcode.PING][-1:])
        library += b"".join(part.wire for part in came if part.control is Opcode.CLOSE)
    library += b"".join(part.wire for part in parts[len(ours) :])
    return [part.message for part in ours if part.message is not None], library, len(ours) < len(parts)


def parts_of(masked: bool) -> st.SearchStrategy[list[Part]]:
    ours = st.builds(
        binary, st.sampled_from(SIZES) | st.integers(0, 300), st.integers(0, 250), st.just(masked)
    )
    controls = st.builds(
        control,
        st.sampled_from([Opcode.PING, Opcode.PONG, Opcode.CLOSE]),
        st.sampled_from([0, 1, 2, 5, 124, 125]),
        st.just(masked),
    )
    foreign = st.sampled_from(sorted(FOREIGN)).map(lambda name: Part(FOREIGN[name](masked), is_foreign=True))
    usual = st.lists(ours | controls, max_size=12)
    return usual | st.tuples(usual, foreign, usual).map(lambda three: [*three[0], three[1], *three[2]])


def cut(wire: bytes, places: Iterable[int]) -> list[bytes]:
    """Cut bytes at places; a socket never gives an empty chunk."""
    ends = sorted({0, len(wire), *places})
    return [wire[start:end] for start, end in pairwise(ends)]


# -- any frames, cut anywhere ------------------------------------------------------------------


@BOTH
@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_comes_however_it_is_cut(masked: bool, data: st.DataObject) -> None:
    parts = data.draw(parts_of(masked))
    wire = b"".join(part.wire for part in parts)
    # Anywhere, and around the heads of frames, where it matters most.
    borders = [0]
    for part in parts:
        borders.append(borders[-1] + len(part.wire))
    near = st.builds(lambda border, off: border + off, st.sampled_from(borders), st.integers(-3, 16))
    places = data.draw(st.lists(st.integers(0, len(wire)) | near, max_size=40))
    chunks = cut(wire, [place for place in places if 0 < place < len(wire)])
    assert fed(masked, chunks) == expected(parts, chunks)


@BOTH
@pytest.mark.parametrize("foreign", sorted(FOREIGN))
@pytest.mark.parametrize("step", [1, 2, 3, 7, 100_000])
def test_from_what_is_not_ours_on_all_is_the_librarys(masked: bool, foreign: str, step: int) -> None:
    parts = [
        binary(3, 0, masked),
        control(Opcode.PING, 3, masked),
        binary(0, 0, masked),
        Part(FOREIGN[foreign](masked), is_foreign=True),
        binary(5, 0, masked),
        control(Opcode.CLOSE, 2, masked),
    ]
    wire = b"".join(part.wire for part in parts)
    chunks = cut(wire, range(0, len(wire), step))
    assert fed(masked, chunks) == expected(parts, chunks)


@BOTH
@pytest.mark.parametrize("size", SIZES)
def test_messages_of_each_size_in_one_piece_in_two_and_byte_by_byte(masked: bool, size: int) -> None:
    part = binary(size, 7, masked)
    wire = part.wire
    few = range(1, min(len(wire), 20))
    for chunks in ([wire], *(cut(wire, [place]) for place in few), cut(wire, [*few, len(wire) - 1])):
        assert fed(masked, chunks) == ([part.message], b"", False)
    if size <= 1000:
        assert fed(masked, cut(wire, range(len(wire)))) == ([part.message], b"", False)
    assert fed(masked, [wire * 3]) == ([part.message] * 3, b"", False)


@BOTH
def test_a_frame_is_kept_until_it_is_whole_and_no_longer(masked: bool) -> None:
    cutter = Cutter(masked=masked, largest=LARGEST)
    wire = binary(1000, 0, masked).wire
    for chunk in (wire[:1], wire[1:9], wire[9:-1]):
        assert cutter.feed(chunk) == ([], b"")
    messages, rest = cutter.feed(wire[-1:] + wire[:2])
    assert (len(messages), rest) == (1, b"")
    assert cutter.feed(wire[2:])[0] == messages


@BOTH
def test_a_length_that_is_too_large_is_judged_before_its_bytes_come(masked: bool) -> None:
    cutter = Cutter(masked=masked, largest=LARGEST)
    begin = FOREIGN["oversized"](masked)[:14]
    assert cutter.feed(begin) == ([], begin)
    assert cutter.is_done


# -- what it costs -----------------------------------------------------------------------------------


@BOTH
def test_of_pings_that_come_together_only_the_last_is_answered_and_pongs_are_nobodys(masked: bool) -> None:
    pings = [control(Opcode.PING, size, masked).wire for size in (0, 3, 125, 1)]
    pong, message = control(Opcode.PONG, 4, masked).wire, binary(5, 0, masked)
    cutter = Cutter(masked=masked, largest=LARGEST)
    assert cutter.feed(b"".join([*pings, pong, message.wire, pong])) == ([message.message], pings[-1])
    assert cutter.feed(pings[0] + pings[1][:1]) == ([], pings[0])
    assert cutter.feed(pings[1][1:] + pong) == ([], pings[1])
    assert cutter.feed(pong * 100) == ([], b"")
    assert not cutter.is_done


@BOTH
@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.CLOSE])
def test_a_chunk_of_empty_control_frames_is_no_great_matter(masked: bool, opcode: Opcode) -> None:
    wire = control(opcode, 0, masked).wire
    assert least_time(masked, [wire * (2**18 // len(wire))]) < 0.25 * SCALE


def least_time(masked: bool, chunks: list[bytes], *, largest: int = LARGEST) -> float:
    times = []
    for _ in range(3):
        cutter = Cutter(masked=masked, largest=largest)
        # Of the processor, for others may have it meanwhile.
        begin = time.thread_time()
        for chunk in chunks:
            cutter.feed(chunk)
        times.append(time.thread_time() - begin)
    return min(times)


@pytest.mark.parametrize("step", [2, 7, 300])
def test_a_frame_in_tiny_pieces_takes_no_more_memory_than_its_bytes(step: int) -> None:
    size = 2**18
    wire = binary(size, 0, True).wire
    cutter = Cutter(masked=True, largest=size)
    tracemalloc.start()
    try:
        for at in range(0, len(wire) - step, step):
            assert cutter.feed(wire[at : at + step]) == ([], b"")
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 1.3 * size + 50_000
    assert cutter.feed(wire[at + step :])[0] == [payload(size)[:size]]


def test_a_large_frame_is_not_joined_over_and_over() -> None:
    largest = 16 * 2**20
    wire = binary(largest, 0, True).wire
    assert least_time(True, cut(wire, range(0, len(wire), 64)), largest=largest) < 1.0 * SCALE


# -- the other way ---------------------------------------------------------------------------------


@given(size=st.sampled_from(SIZES) | st.integers(0, 70_000), seed=st.integers(0, 250))
@example(size=2**20, seed=0)
@settings(deadline=None)
def test_what_is_written_is_what_the_library_would_write(size: int, seed: int) -> None:
    data = payload(size, seed)[:size]
    assert head(size, 0) + data == serialized(Opcode.BINARY, data, False)
    assert head(size, 0, 0x81) + data == serialized(Opcode.TEXT, data, False)
    key = Masker().key()
    masked = head(size, 0x80) + key + apply_mask(data, key)
    begin = len(head(size, 0x80))
    theirs = serialized(Opcode.BINARY, data, True)
    assert masked[:begin] == theirs[:begin]
    cutter = Cutter(masked=True, largest=2**21)
    assert cutter.feed(masked) == ([data], b"") == Cutter(masked=True, largest=2**21).feed(theirs)


def test_keys_are_fresh() -> None:
    masker = Masker()
    keys = [masker.key() for _ in range(5000)]
    assert {len(key) for key in keys} == {4}
    assert len(set(keys)) > 4990, "of 2**32, two may be the same by chance"
    assert Masker().key() != keys[0]
