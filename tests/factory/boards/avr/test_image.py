"""Firmware is read from Intel HEX and ELF; whatever is wrong with a file is said with its place."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.boards.avr.elf import AVR, AVR5, CHIP_TAG, FILE_HEADER, SECTION, SEGMENT, parse_elf
from factory.boards.avr.errors import FirmwareError
from factory.boards.avr.hexfile import FLASH_BYTES, parse_hex
from factory.boards.avr.image import MOST_BYTES, read_image
from factory.boards.errors import BoardError

FIRMWARE = Path(__file__).parent / "firmware"
# On a busy machine anything may take long.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
END = ":00000001FF\n"


def record(kind: int, address: int, payload: bytes = b"") -> str:
    """Make a line of Intel HEX."""
    body = bytes([len(payload), address >> 8, address & 0xFF, kind]) + payload
    return f":{(body + bytes([-sum(body) & 0xFF])).hex().upper()}\n"


def hexed(flash: bytes, width: int = 16) -> bytes:
    lines = [record(0, at, flash[at : at + width]) for at in range(0, len(flash), width)]
    return "".join([*lines, END]).encode()


def refused(data: bytes | str) -> str:
    """Return the words with which a HEX file is refused."""
    with pytest.raises(FirmwareError) as caught:
        parse_hex(data.encode() if isinstance(data, str) else data, "a.hex")
    assert isinstance(caught.value, BoardError)
    return str(caught.value)


# -- Intel HEX -------------------------------------------------------------------------------


@unhurried
@given(st.binary(min_size=1, max_size=700), st.integers(1, 255))
def test_what_was_written_is_read(flash: bytes, width: int) -> None:
    assert parse_hex(hexed(flash, width), "a.hex") == flash


def test_the_whole_flash_is_read() -> None:
    flash = bytes(n * 7 & 0xFF for n in range(FLASH_BYTES))
    assert parse_hex(hexed(flash), "a.hex") == flash


def test_gaps_are_erased_and_order_does_not_matter() -> None:
    text = record(0, 4, b"\x05") + record(0, 0, b"\x01\x02") + END
    assert parse_hex(text.encode(), "a.hex") == b"\x01\x02\xff\xff\x05"


def test_lower_case_blank_lines_and_line_ends_of_other_systems_are_fine() -> None:
    text = "\r\n" + (record(0, 0, b"\xab") + END).lower().replace("\n", "\r\n") + "  \r\n"
    assert parse_hex(text.encode(), "a.hex") == b"\xab"


@pytest.mark.parametrize(
    "prefix",
    [record(2, 0, b"\x01\x00"), record(4, 0, b"\x00\x00") + record(2, 0, b"\x01\x00")],
)
def test_segments_move_what_follows(prefix: str) -> None:
    text = record(3, 0, bytes(4)) + record(5, 0, bytes(4)) + prefix + record(0, 2, b"\x07") + END
    assert parse_hex(text.encode(), "a.hex") == b"\xff" * 0x1002 + b"\x07"


GOOD = record(0, 0, b"\x01\x02")


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        (GOOD + "hello\n" + END, "line 2", "begins with a colon"),
        (GOOD + ":00zz0001FF\n", "line 2", "pairs of hexadecimal digits"),
        (GOOD + ":000\n", "line 2", "pairs of hexadecimal digits"),
        (GOOD + ":\n", "line 2", "too short"),
        (GOOD + GOOD[:9] + "\n" + END, "line 2", "should carry 2 bytes and a checksum"),
        (GOOD + ":00 0000 01FF\n", "line 2", "too short or too long"),
        (GOOD[:-3] + "00\n" + END, "line 1", "wrong checksum 00, it should be FB"),
        (GOOD + record(6, 0) + END, "line 2", "no records of type 06"),
        (GOOD + record(4, 0, b"\x01") + END, "line 2", "carries 2 bytes, not 1"),
        (record(1, 0, b"\x01"), "line 1", "carries 0 bytes, not 1"),
        (record(0, 0x7FFF, b"\x01\x02") + END, "line 1", "writes to 0x8000, but the flash"),
        (record(4, 0, b"\x00\x01") + GOOD + END, "line 2", "writes to 0x10000"),
        (GOOD + record(0, 1, b"\x02") + END, "line 2", "writes to 0x0001, as line 1 has done"),
        (GOOD + END + GOOD, "line 3", "more after the end record in line 2"),
        (GOOD, "line 1", "stops before the end record"),
        (END, "", "there is no code in it"),
    ],
)
def test_each_mistake_is_said_with_its_line(text: str, place: str, why: str) -> None:
    said = refused(text)
    assert said.startswith(f"a.hex, {place}: " if place else "a.hex: ")
    assert why in said


@unhurried
@given(st.data())
def test_one_wrong_digit_never_passes_unseen(data: st.DataObject) -> None:
    flash = data.draw(st.binary(min_size=1, max_size=40))
    text = bytearray(hexed(flash))
    at = data.draw(st.integers(0, len(text) - 2))
    text[at] = data.draw(st.sampled_from([byte for byte in b"0123456789ABCDEF:\n" if byte != text[at]]))
    with suppress(FirmwareError):
        assert parse_hex(bytes(text), "a.hex") == flash  # such as a line break that was another one


@unhurried
@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_worse(data: bytes) -> None:
    with pytest.raises(FirmwareError):
        parse_hex(data, "a.hex")
    with pytest.raises(FirmwareError):
        parse_elf(data, "a.elf")


# -- ELF -------------------------------------------------------------------------------------


def elf(
    segments: list[tuple[int, bytes]],
    *,
    machine: int = AVR,
    flags: int = 0x80 | AVR5,
    section: tuple[bytes, bytes] | None = None,
) -> bytes:
    """Make an ELF file of segments (physical address, contents) and perhaps one section (name, contents)."""
    table = FILE_HEADER.size
    at = table + len(segments) * SEGMENT.size
    headers, contents = b"", b""
    for address, data in segments:
        headers += SEGMENT.pack(1, at + len(contents), 0, address, len(data), len(data), 5, 2)
        contents += data
    sections = b""
    names = b""
    if section is not None:
        name, data = section
        names = b"\0" + name + b"\0.names\0"
        place = at + len(contents)
        contents += data + names
        sections = SECTION.pack(*[0] * 10)
        sections += SECTION.pack(1, 7, 0, 0, place, len(data), 0, 0, 1, 0)
        sections += SECTION.pack(2 + len(name), 3, 0, 0, place + len(data), len(names), 0, 0, 1, 0)
    head = FILE_HEADER.pack(
        b"\x7fELF\x01\x01\x01".ljust(16, b"\0"), 2, machine, 1, 0, table, at + len(contents), flags,
        FILE_HEADER.size, SEGMENT.size, len(segments), SECTION.size, len(sections) // SECTION.size, 2,
    )  # fmt: skip
    return head + headers + contents + sections


def elf_refused(data: bytes) -> str:
    with pytest.raises(FirmwareError) as caught:
        parse_elf(data, "a.elf")
    return str(caught.value)


def mmcu(chip: bytes) -> bytes:
    return bytes([2, 4, 0, 0, 0, 1]) + bytes([CHIP_TAG, len(chip) + 1]) + chip + b"\0"


def note(chip: bytes) -> bytes:
    return struct.pack("<3I4s6I", 4, 45, 1, b"AVR\0", 0, 32768, 0x100, 2048, 0, 1024) + b"\0" + chip + b"\0"


def test_segments_go_to_their_physical_addresses() -> None:
    made = elf([(0, b"code"), (6, b"data"), (0x810000, b"eeprom"), (0x20, b"")])
    assert parse_elf(made, "a.elf") == b"code\xff\xffdata"


def test_the_compilers_own_files_agree() -> None:
    assert read_image(FIRMWARE / "blink.elf").flash == read_image(FIRMWARE / "blink.hex").flash


@pytest.mark.parametrize("chip", [b"atmega328p", b"ATmega328P", b"atmega328"])
@pytest.mark.parametrize(("name", "made"), [(b".mmcu", mmcu), (b".note.gnu.avr.deviceinfo", note)])
def test_the_right_chip_is_taken_and_others_are_not(name: bytes, made: object, chip: bytes) -> None:
    assert callable(made)
    assert parse_elf(elf([(0, b"code")], section=(name, made(chip))), "a.elf") == b"code"
    said = elf_refused(elf([(0, b"code")], section=(name, made(b"atmega644p"))))
    assert "for the chip atmega644p, not for the ATmega328P" in said


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (elf([(0, b"code")], machine=62), "a program for machine 62, not for an AVR (83)"),
        (elf([(0, b"code")], flags=6), "chips of the kind avr6, not avr5"),
        (elf([(0x7FFE, b"code")]), "segment 0 ends at 0x8002, but the flash"),
        (elf([(0, b"code"), (3, b"data")]), "segment 1 lies upon another one"),
        (elf([]), "there is no code in it"),
        (elf([(0, b"code")])[:-1], "segment 0 should have 4 bytes there, but the file has 87"),
        (elf([(0, b"code")])[:60], "segment 0 should have 32 bytes there"),
        (elf([(0, b"code")])[:20], "the header should have 52 bytes there"),
        (elf([(0, b"code")] * 5000), "5000 headers are too many"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_mistake_is_said_with_its_reason(data: bytes, why: str) -> None:
    assert why in elf_refused(data)


@unhurried
@given(st.data())
def test_damaged_files_are_read_or_refused_and_nothing_worse(data: st.DataObject) -> None:
    made = bytearray(elf([(0, b"code"), (6, b"data")], section=(b".mmcu", mmcu(b"atmega328p"))))
    for _ in range(data.draw(st.integers(1, 4))):
        made[data.draw(st.integers(0, len(made) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FirmwareError):
        assert len(parse_elf(bytes(made), "a.elf")) <= FLASH_BYTES


# -- files -----------------------------------------------------------------------------------


def test_the_name_is_that_of_the_file() -> None:
    assert read_image(str(FIRMWARE / "blink.hex")).name == "blink.hex"


def file_refused(path: Path | str) -> str:
    with pytest.raises(FirmwareError) as caught:
        read_image(path)
    return str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    assert "there is no such file" in file_refused(tmp_path / "none.hex")
    assert "there is no such file" in file_refused(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "there is no such file" in file_refused(pipe), "and nobody waits for a writer"
    empty = tmp_path / "empty.hex"
    empty.write_bytes(b"\n \n")
    assert "the file is empty" in file_refused(empty)
    huge = tmp_path / "huge.hex"
    with huge.open("wb") as file:
        file.truncate(MOST_BYTES * 100)
    assert "more than 16 MiB" in file_refused(huge)


def test_names_cannot_write_on_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.hex"
    path.write_bytes(b"no")
    said = file_refused(path)
    assert "\x1b" not in said
    assert r"a\x1b[31m.hex, line 1: a line of Intel HEX begins with a colon" in said
