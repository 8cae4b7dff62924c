"""The Firmata codec, in both directions: by the bytes of protocol.md, and against garbage."""

from __future__ import annotations

import sys
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.boards.firmata.codec import MAX_SYSEX, Parser, encode
from factory.boards.firmata.messages import (
    Analog,
    Capabilities,
    CapabilityQuery,
    DigitalPort,
    ExtendedAnalog,
    Firmware,
    FirmwareQuery,
    Mapping,
    MappingQuery,
    Message,
    OtherSysex,
    PinState,
    PinStateQuery,
    ReportAnalog,
    ReportDigital,
    Reset,
    SamplingInterval,
    SamplingIntervalQuery,
    ServoConfig,
    SetMode,
    SetPin,
    Text,
    Trouble,
    Version,
    VersionQuery,
)

BOTH: list[tuple[str, Message]] = [
    ("92 7f 01", DigitalPort(2, 0xFF)),
    ("90 05 00", DigitalPort(0, 5)),
    ("e3 7f 07", Analog(3, 1023)),
    ("f0 6f 2c 7f 01 f7", ExtendedAnalog(44, 255)),
    ("f0 6f 00 7f 7f 7f 7f 0f f7", ExtendedAnalog(0, 2**32 - 1)),
    ("f0 71 48 00 69 01 f7", Text("H\xe9")),
    ("f0 7a 13 00 f7", SamplingInterval(19)),
    ("f0 76 50 00 f7", OtherSysex(0x76, b"\x50\x00")),
]
TO_BOARD: list[tuple[str, Message]] = [
    *BOTH,
    ("c0 01", ReportAnalog(0, True)),
    ("d1 00", ReportDigital(1, False)),
    ("f4 0e 02", SetMode(14, 2)),
    ("f5 0d 01", SetPin(13, 1)),
    ("f9", VersionQuery()),
    ("ff", Reset()),
    ("f0 79 f7", FirmwareQuery()),
    ("f0 6b f7", CapabilityQuery()),
    ("f0 69 f7", MappingQuery()),
    ("f0 6d 0d f7", PinStateQuery(13)),
    ("f0 70 0a 20 04 60 12 f7", ServoConfig(10, 544, 2400)),
    ("f0 7c f7", SamplingIntervalQuery()),
]
FROM_BOARD: list[tuple[str, Message]] = [
    *BOTH,
    ("f9 02 05", Version(2, 5)),
    ("f0 79 02 05 41 00 62 00 f7", Firmware(2, 5, "Ab")),
    ("f0 6c 00 01 01 01 7f 7f 02 0a 7f f7", Capabilities((((0, 1), (1, 1)), (), ((2, 10),)))),
    ("f0 6a 7f 00 01 f7", Mapping((None, 0, 1))),
    ("f0 6e 0d 01 01 f7", PinState(13, 1, 1)),
    ("f0 6e 09 03 7f 01 f7", PinState(9, 3, 255)),
]
EACH = [(True, *row) for row in TO_BOARD] + [(False, *row) for row in FROM_BOARD]


@pytest.mark.parametrize(("to_board", "wire", "message"), EACH)
def test_a_message_and_its_bytes(to_board: bool, wire: str, message: Message) -> None:
    data = bytes.fromhex(wire)
    assert encode(message) == data
    assert Parser(to_board=to_board).feed(data) == [message]


def small(limit: int) -> st.SearchStrategy[int]:
    return st.integers(0, limit - 1)


TEXTS = st.text(st.characters(max_codepoint=(1 << 14) - 1), max_size=50)
OTHER = st.builds(OtherSysex, st.sampled_from([0x01, 0x5F, 0x76, 0x77, 0x78]), st.binary(max_size=9).map(
    lambda data: bytes(byte & 0x7F for byte in data)))  # fmt: skip
MODES = st.tuples(small(0x7F), small(0x80))
COMMON = (
    st.builds(DigitalPort, small(16), small(256)),
    st.builds(Analog, small(16), small(1 << 14)),
    st.builds(ExtendedAnalog, small(128), small(1 << 32)),
    st.builds(Text, TEXTS),
    st.builds(SamplingInterval, small(1 << 14)),
    OTHER,
)
MESSAGES = {
    True: st.one_of(
        *COMMON,
        st.builds(ReportAnalog, small(16), st.booleans()),
        st.builds(ReportDigital, small(16), st.booleans()),
        st.builds(SetMode, small(128), small(128)),
        st.builds(SetPin, small(128), small(2)),
        st.builds(PinStateQuery, small(128)),
        st.builds(ServoConfig, small(128), small(1 << 14), small(1 << 14)),
        st.sampled_from([Reset(), VersionQuery(), FirmwareQuery(), CapabilityQuery(), MappingQuery()]),
    ),
    False: st.one_of(
        *COMMON,
        st.builds(Version, small(128), small(128)),
        st.builds(Firmware, small(128), small(128), TEXTS),
        st.builds(Capabilities, st.lists(st.lists(MODES, max_size=4).map(tuple), max_size=9).map(tuple)),
        st.builds(Mapping, st.lists(st.none() | small(127), max_size=30).map(tuple)),
        st.builds(PinState, small(128), small(128), small(1 << 32)),
    ),
}


# On a machine that is busy, drawing messages of twenty kinds is slow, and nothing is wrong.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), st.booleans())
def test_messages_come_out_as_they_went_in_however_they_are_cut(data: st.DataObject, to_board: bool) -> None:
    messages = data.draw(st.lists(MESSAGES[to_board], max_size=8))
    wire = b"".join(map(encode, messages))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    parser = Parser(to_board=to_board)
    found = [
        message
        for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)
        for message in parser.feed(wire[start:end])
    ]
    assert found == messages
    assert parser.skipped == 0


# Their data may be longer or shorter than what we would send.
LOOSE = ExtendedAnalog | PinState


def check(data: bytes, *, to_board: bool) -> None:
    """Feed any bytes at all: nothing raises, nothing is lost from the count, and the parser recovers."""
    parser = Parser(to_board=to_board)
    found = parser.feed(data)
    begun = len(parser._data) + (parser._command is not None)
    messages = [message for message in found if not isinstance(message, Trouble)]
    assert len(found) - len(messages) == (parser.skipped > 0)
    if not any(isinstance(message, LOOSE) for message in messages):
        assert sum(len(encode(message)) for message in messages) + begun + parser.skipped == len(data)
    # A command ends whatever was begun.
    whole: Message = Reset() if to_board else Version(2, 5)
    assert parser.feed(encode(whole))[0] == whole


@given(st.binary(max_size=80), st.booleans())
def test_any_bytes_at_all(data: bytes, to_board: bool) -> None:
    check(data, to_board=to_board)


@pytest.mark.parametrize("to_board", [True, False])
def test_fifty_thousand_random_strings(to_board: bool) -> None:
    random = Random(1)
    # Bytes that mean something are more often what breaks a parser.
    likely = bytes.fromhex("f0f7f0f7f4f5f9ff9091c0d0e0e1696a6b6c6d6e6f70717679 7a7c7f") + bytes(range(16))
    for _ in range(50_000):
        size = random.randrange(40)
        check(
            random.randbytes(size) if random.random() < 0.3 else bytes(random.choices(likely, k=size)),
            to_board=to_board,
        )


def test_a_flood_is_held_in_bounded_memory() -> None:
    for start in (b"", b"\xf0", b"\xf0\x71", b"\xe0"):
        parser = Parser(to_board=True)
        parser.feed(start)
        said = 0
        for _ in range(50):
            said += len(parser.feed(b"\x01" * 10_000))
        assert sys.getsizeof(parser._data) < 3 * MAX_SYSEX
        assert said <= 51
        assert parser.feed(b"\xff")[0] == Reset()


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        ("01 02 03", "3 bytes that belong to no message"),
        ("f0 f7", "malformed: it is empty"),
        ("f0 6d f7", "malformed: 0x6D with 0 bytes of data"),
        ("f0 69 01 f7", "malformed: 0x69 with 1 bytes of data"),
        ("f0 71 41 f7", "malformed: half a character"),
        ("f0 6f 01 01 01 01 01 01 01 f7", "malformed: 0x6F with 7 bytes of data"),
        ("f0 71 41 f4 0d 01", "(0xF0) was cut short by 0xF4"),
        ("e0 01 f9", "(0xE0) was cut short by 0xF9"),
        ("f0 6c 00 f7", "the last pin has no end"),
        ("f0 6c 00 01 f7", "the last pin has no end"),
        ("f0 6c 00 7f f7", "the last pin has no end"),
        ("f0 79 02 f7", "firmware without a version"),
        ("fe fe", "2 bytes that belong to no message"),
        ("f7", "1 bytes that belong to no message"),
    ],
)
def test_what_is_no_message_is_told(wire: str, words: str) -> None:
    *_, last = Parser(to_board=True).feed(bytes.fromhex(wire))
    assert isinstance(last, Trouble)
    assert words in last.text


def test_a_sysex_message_that_is_too_long_is_dropped_whole() -> None:
    parser = Parser(to_board=True)
    long = b"\xf0\x71" + b"\x01" * 2 * MAX_SYSEX + b"\xf7"
    [trouble, version] = parser.feed(long + b"\xf9")[::-1]
    assert (version, trouble) == (VersionQuery(), Trouble(trouble.text))  # type: ignore[union-attr]
    assert "a sysex message is longer than 4096 bytes" in trouble.text  # type: ignore[union-attr]
    assert parser.skipped == len(long)


@pytest.mark.parametrize(
    "message",
    [
        DigitalPort(16, 0),
        DigitalPort(0, 256),
        Analog(16, 0),
        Analog(0, 1 << 14),
        SetMode(128, 0),
        ExtendedAnalog(0, 1 << 32),
        OtherSysex(0x76, b"\x80"),
        OtherSysex(0x80, b""),
        Mapping((127,)),
        SamplingInterval(-1),
    ],
)
def test_what_has_no_room_is_refused(message: Message) -> None:
    with pytest.raises(ValueError, match=r"from 0 to"):
        encode(message)


def test_a_text_is_cut_and_made_plain() -> None:
    [text] = Parser(to_board=False).feed(encode(Text("\N{SNOWMAN}\U0001f600" + "x" * 1000)))
    assert text == Text("\N{SNOWMAN}?" + "x" * 498)
