"""The form of frames and records: strict, and never another exception."""

from __future__ import annotations

import random
import re
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.errors import RemoteProtocolError
from mesh.protocol.link.records import (
    _LEAVES,
    MAX_RECORDS,
    Ack,
    Bye,
    Data,
    Nack,
    Refused,
    Settled,
    Skip,
    clip,
    decode_frame,
    refusal,
    too_many_containers,
)
from tests.helpers.raw_peer import TERMS

pack = msgspec.msgpack.encode
LIMIT = 100_000
GOOD: list[list[Any]] = [
    [2, "code", "reason"],
    [3, "x", 1, 1, ["a", None, 3, {"k": [1]}]],
    [4, "x", 1, [None, b"\x00", 1.5]],
    [5, "x", 1, 2, "ValueError", "no"],
    [6, "x", 1],
    [7, "bye"],
    [8, "x", 1, 1, 5],
    [0, TERMS],
]


def test_each_record_is_read_with_its_size() -> None:
    frame = pack(GOOD[:7])
    kinds = [Refused, Data, Ack, Nack, Settled, Bye, Skip]
    records = decode_frame(frame, LIMIT)
    assert [type(record) for record, _ in records] == kinds
    assert [size for _, size in records] == [len(pack(record)) for record in GOOD[:7]]


def test_examples_of_the_documentation() -> None:
    text = Path("docs/explanation/link.md").read_text(encoding="utf-8")
    block = text.split("### By example")[1].split("```")[1]
    block = re.sub(r"\n +(?=[0-9a-f]{2} )", " ", block)
    seen = []
    for line in block.strip().splitlines():
        octets = re.match(r"((?:[0-9a-f]{2})+\s+)+", line + " ")
        if octets:
            seen += decode_frame(bytes.fromhex(re.sub(r"\s", "", octets[0])), LIMIT)
    kinds = [type(record).__name__ for record, _ in seen]
    assert kinds == ["Data", "Ack", "Nack", "Settled", "Skip", "Bye", "Ack", "Data"]
    assert seen[0][0] == Data("tick", 1, 1, ["on", 7])
    assert seen[2][0] == Nack("tick", 3, 1, "ValueError", "too hot")


@pytest.mark.parametrize("kind", [32, 33, 1000])
def test_later_kinds_are_skipped(kind: int) -> None:
    assert [r for r, _ in decode_frame(pack([[kind, "new"], [6, "x", 1], [kind]]), LIMIT)] == [
        Settled("x", 1)
    ]


@pytest.mark.parametrize(
    "record",
    [
        [],
        ["3", "x", 1, 1, [1]],
        [True, {}],
        [None],
        [9, "x"],
        [31],
        [-1, "x"],
        [3],
        [3, "x", 1, 1],
        [3, "x", 1, 1, [1], 1],
        [3, "x" * 256, 1, 1, [1]],
        [3, b"x", 1, 1, [1]],
        [3, "x", 0, 1, [1]],
        [3, "x", -1, 1, [1]],
        [3, "x", True, 1, [1]],
        [3, "x", 1.0, 1, [1]],
        [3, "x", 2**63, 1, [1]],
        [3, "x", 2**64 - 1, 1, [1]],
        [3, "x", 1, 1, []],
        [3, "x", 1, 1, {}],
        [3, "x", 1, 1, "ab"],
        [4, "x", 1, []],
        [5, "x", 1, 0, "t", "m"],
        [5, "x", 1, 1, 5, "m"],
        [5, "x", 1, 1, "t", "m" * 4097],
        [6, "x", None],
        [7, 3],
        [8, "x", 1, 1, 2**40],
        [0, []],
        [0, {}],
        [0, {**TERMS, "v": []}],
        [0, {**TERMS, "v": 1}],
        [0, {**TERMS, "name": ""}],
        [0, {**TERMS, "window_messages": 0}],
        [0, {**TERMS, "window_bytes": 0}],
        [0, {**TERMS, "max_message": 1000}],
        [0, {**TERMS, "heartbeat": 0}],
        [0, {**TERMS, "timeout": float("nan")}],
        [0, {**TERMS, "timeout": "soon"}],
        [0, {key: value for key, value in TERMS.items() if key != "incarnation"}],
        "text",
        3,
        None,
    ],
)
def test_wrong_records(record: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="not a valid frame"):
        decode_frame(pack([record]), LIMIT)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"\xc0",
        b"\x80",
        b"\xa1x",
        b"\x91",
        b"\xdc",
        b"\xdd\x00",
        b"\x90\x90",
        b"\x91\xc1",
        b"\xdc\x00\x05",
        b"\x91" * 90_000,
        b"\x91\x95\x03\xa1x\x01\x01" + b"\x91" * 90_000,
        b"\x91\x95\x03\xa1x\x01\x01\xdd\xff\xff\xff\xff",
        b"\x91\x95\x03\xa1x\x01\x01\x91\xdf\xff\xff\xff\xff",
        b"\x91\x95\x03\xa1x\x01\x01\x91\xc6\xff\xff\xff\xff",
        b"\x91\x95\x03\xa1x\x01\x01\x91\x81\x80\x01",
        b"\x91\x95\x03\xa1x\x01\x01\x91\xa1\xff",
        b"\x91\x95\x03\xa1\xff\x01\x01\x91\x01",
        b"\x91\x95\x03\xa1x\x01\x01\x91\xd7\xff" + b"\xff" * 8,
    ],
)
def test_wrong_bytes(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_frame(frame, LIMIT)


def test_limits_of_a_frame() -> None:
    assert len(decode_frame(pack([[6, "x", 1]] * MAX_RECORDS), LIMIT)) == MAX_RECORDS
    for head in (b"\xdc\x10\x01", b"\xdd\x00\x00\x10\x01", b"\xdd\xff\xff\xff\xff"):
        with pytest.raises(RemoteProtocolError, match="records, the limit is 4096"):
            decode_frame(head + b"\x93\x06\xa1x\x01" * 4097, LIMIT)
    with pytest.raises(RemoteProtocolError, match="a frame of 21 bytes, the limit is 20"):
        decode_frame(bytes(21), 20)


def test_what_was_wrong_is_said() -> None:
    with pytest.raises(RemoteProtocolError, match=r"record 1: Expected `int`, got `str` - at `\$\[2\]`"):
        decode_frame(pack([[6, "x", 1], [6, "x", "1"]]), LIMIT)


def test_a_refusal_always_fits() -> None:
    frame = refusal("protocol", "\ud800" + "x" * 10_000)
    ((record, _),) = decode_frame(frame, LIMIT)
    assert isinstance(record, Refused)
    assert clip("\ud800") == "?"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    with suppress(RemoteProtocolError):
        decode_frame(data, LIMIT)


def test_mutated_frames_leave_memory_alone() -> None:
    randomness = random.Random(1)
    seeds = [pack([record]) for record in GOOD] + [pack(GOOD[:7])]
    tracemalloc.start()
    try:
        for n in range(20_000):
            frame = bytearray(randomness.choice(seeds))
            for _ in range(randomness.randint(1, 4)):
                frame[randomness.randrange(len(frame))] = randomness.choice(
                    (0xDD, 0xDF, 0xC6, 0xFF, 0x91, n & 255)
                )
            if n % 3 == 0:
                del frame[randomness.randrange(len(frame)) :]
            with suppress(RemoteProtocolError):
                decode_frame(bytes(frame), LIMIT)
        current, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000_000
    assert current < 1_000_000


def nested(count: int) -> bytes:
    """Return a DATA frame with one item that holds ``count`` empty arrays."""
    return b"\x91\x95\x03\xa1x\x01\x01\x91\xdd" + count.to_bytes(4, "big") + b"\x90" * count


@pytest.mark.parametrize("tiny", [b"\x90", b"\x80", b"\x91\xc0", b"\x81\x01\xc0", b"\x90\xd9\x01a"])
def test_a_bomb_of_tiny_containers_is_refused_before_it_is_decoded(tiny: bytes) -> None:
    count = 4 * 2**20 // (1 + tiny.count(b"\xd9"))
    frame = b"\x91\x95\x03\xa1x\x01\x01\x91\xdd" + count.to_bytes(4, "big") + tiny * count
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError, match="more than 1048576 arrays and maps"):
            decode_frame(frame, 2**24)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(frame)
    finally:
        tracemalloc.stop()


def test_as_many_containers_as_may_be() -> None:
    assert len(decode_frame(nested(2**20 - 4), 2**24)) == 1
    with pytest.raises(RemoteProtocolError, match="arrays and maps"):
        decode_frame(nested(2**20 - 3), 2**24)


@pytest.mark.parametrize(
    "item",
    [
        b"\x90" * 3_000_000,
        "\N{POUND SIGN}\x7f" * 1_500_000,
        ["x" * 40, b"\x80" * 300, "\N{GREEK SMALL LETTER ALPHA}" * 90_000] * 40,
        [-1.1e-300, 2**63, -(2**40), 200, 60_000, 2**31, -100, -1000, -(2**20), None, True] * 150_000,
        [msgspec.msgpack.Ext(5, b"\x90" * n) for n in (1, 2, 4, 8, 16, 17, 300, 2_000_000)],
    ],
    ids=["bytes", "text", "texts", "numbers", "extensions"],
)
def test_what_only_looks_like_containers_may_pass(item: object) -> None:
    frame = msgspec.msgpack.encode([[3, "x", 1, 1, [item, [b"\x90" * 2_000_000, "end"]]]])
    ((record, _),) = decode_frame(frame, 2**25)
    assert isinstance(record, Data)
    assert len(record.items) == 2
    assert not too_many_containers(frame)
    assert too_many_containers(frame, 3), "the outer four are found, whatever is between them"
    assert not too_many_containers(frame, 5 if isinstance(item, list) else 4)


@pytest.mark.parametrize(
    "tiny",
    [
        b"\xd9\x00",
        b"\xc4\x01\x90",
        b"\xc4\x0a" + b"\x90" * 10,
        b"\xda\x00\x03abc",
        b"\xdb\x00\x00\x00\x0aabcdefghij",
        b"\xc7\x00\x05",
        b"\xc8\x00\x02\x05\x90\x90",
        b"\xc9\x00\x00\x00\x00\x05",
        b"\xc7\x1f\x05" + b"\x90" * 31,
    ],
)
def test_short_values_are_stepped_over_in_compiled_code(tiny: bytes) -> None:
    many = b"\x92\xc5\x10\x00" + b"\x90" * 4096 + b"\xdd\x00\x00\x10\x00" + tiny * 4096
    msgspec.msgpack.decode(many)
    assert not too_many_containers(many, 2)
    assert too_many_containers(many, 1)
    found = _LEAVES.match(tiny * 4096)
    assert found is not None
    assert found.end() == len(tiny) * 4096


def test_a_cut_off_frame_of_many_containers_is_just_wrong() -> None:
    whole = msgspec.msgpack.encode([[3, "x", 1, 1, [b"\x90" * 3_000_000]]])
    for frame in (whole[:2_000_000], whole[:-1], b"\x91" + b"\xdd" * 2_000_000, b"\xc1" * 10 + b"\x90" * 10):
        with pytest.raises(RemoteProtocolError):
            decode_frame(frame, 2**24)


def test_a_record_of_an_unknown_kind_costs_nothing() -> None:
    count = 4 * 2**20
    for kind in (b"\x28", b"\xcc\xf0", b"\xcd\x01\x00", b"\xcf" + b"\x7f" * 8):
        frame = b"\x91\xdd" + count.to_bytes(4, "big") + kind + b"\xc0" * (count - 1)
        tracemalloc.start()
        try:
            assert decode_frame(frame, 2**24) == []
            assert tracemalloc.get_traced_memory()[1] < 3 * len(frame)
        finally:
            tracemalloc.stop()
    for kind in (b"\x1f", b"\xcc\x1f", b"\xff", b"\xa1x", b"\xc0", b"\x90"):
        with pytest.raises(RemoteProtocolError):
            decode_frame(b"\x91\x92" + kind + b"\xc0", 2**24)
    for frame in (b"\x91\x90", b"\x91\xa1x", b"\x91\x28"):
        with pytest.raises(RemoteProtocolError):
            decode_frame(frame, 2**24)
