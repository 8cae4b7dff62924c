"""Reads ELF files of avr-gcc, sans-I/O: what of them goes into the flash, and for which chip they are.

The flash gets the segments that are loaded, at their *physical* addresses: the initial values of variables
stand behind the code, and are copied to RAM by it. Addresses from 0x800000 on mean other memories.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from factory.boards.avr.errors import FirmwareError
from factory.boards.avr.hexfile import BUILD, COPY, FLASH_BYTES

MAGIC = b"\x7fELF"
AVR = 83
ARCHITECTURE_MASK = 0x7F
AVR5 = 5
LOADED = 1  # type of a segment
OTHER_MEMORIES = 0x800000  # RAM, EEPROM, fuses, lock bits and signature, each 64 KiB further on
CHIPS = ("atmega328p", "atmega328")
MOST_HEADERS = 4096  # of segments and of sections; firmware has some dozens

FILE_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
SEGMENT = struct.Struct("<8I")
SECTION = struct.Struct("<10I")
CHIP_TAG = 1  # in the section .mmcu, which is made of tag, length and value


class _Section(NamedTuple):
    name: bytes
    offset: int
    size: int


def parse_elf(data: bytes, name: str) -> bytes:
    """Return the contents of the flash, from address 0 on; gaps are 0xFF.

    Args:
        data: The file.
        name: Its name, for messages.

    Raises:
        FirmwareError: It is not what it should be; the message names offset and reason.

    """
    return _ElfReader(data, name).read()


class _ElfReader:
    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name

    def read(self) -> bytes:
        header = self._unpack(FILE_HEADER, 0, "the header")
        ident, _, machine, _, _, segments, sections, flags = header[:8]
        if ident[4:6] != b"\x01\x01" or machine != AVR:
            raise self._error(
                0x12, f"this is a program for machine {machine}, not for an AVR ({AVR}); {BUILD}"
            )
        if flags & ARCHITECTURE_MASK != AVR5:
            raise self._error(
                0x24, f"this is for chips of the kind avr{flags & ARCHITECTURE_MASK}, not avr{AVR5}; {BUILD}"
            )
        self._check_chip(sections, header[12], header[13])
        return self._flash(segments, header[10])

    def _flash(self, table: int, count: int) -> bytes:
        flash = bytearray(b"\xff" * FLASH_BYTES)
        written = bytearray(FLASH_BYTES)
        for index in range(self._bounded(count)):
            at = table + index * SEGMENT.size
            kind, offset, _, address, size, *_ = self._unpack(SEGMENT, at, f"segment {index}")
            if kind != LOADED or size == 0 or address >= OTHER_MEMORIES:
                continue
            contents = self._slice(offset, size, f"segment {index}")
            end = address + size
            if end > FLASH_BYTES:
                raise self._error(
                    at,
                    f"segment {index} ends at {end:#x}, but the flash of an ATmega328P ends at "
                    f"{FLASH_BYTES:#x} (32 KiB): it is for another chip, or too large; {BUILD}",
                )
            if any(written[address:end]):
                raise self._error(at, f"segment {index} lies upon another one; {COPY}")
            flash[address:end] = contents
            written[address:end] = b"\x01" * size
        used = written.rfind(1) + 1
        if not used:
            raise FirmwareError(
                self._name, "", "there is no code in it; link it to a program, or build it again"
            )
        return bytes(flash[:used])

    # -- the chip ------------------------------------------------------------------------------

    def _check_chip(self, table: int, count: int, names: int) -> None:
        headers = [
            self._unpack(SECTION, table + index * SECTION.size, f"section {index}")
            for index in range(self._bounded(count))
        ]
        if names >= len(headers):
            return
        texts = self._slice(headers[names][4], headers[names][5], "the names of the sections")
        for header in headers:
            # Indices in place of bytes that a file does not hold are found out above.
            name = texts[header[0] :].split(b"\0", 1)[0]
            section = _Section(name, header[4], header[5])
            chip = None
            if name == b".mmcu":
                chip = self._from_mmcu(section)
            elif name == b".note.gnu.avr.deviceinfo":
                chip = self._from_note(section)
            if chip is not None and chip.lower() not in CHIPS:
                raise self._error(
                    section.offset, f"this is for the chip {chip}, not for the ATmega328P; {BUILD}"
                )

    def _from_mmcu(self, section: _Section) -> str | None:
        """Return the name that the section for simavr gives."""
        rest = self._slice(section.offset, section.size, "section .mmcu")
        while len(rest) >= 2:
            tag, size = rest[0], rest[1]
            if tag == CHIP_TAG:
                return self._text(rest[2 : 2 + size])
            rest = rest[2 + size :]
        return None

    def _from_note(self, section: _Section) -> str | None:
        """Return the name in the note of avr-libc: at the end is a table of texts, and the name is in it."""
        note = self._slice(section.offset, section.size, "the note about the chip")
        found = [text for text in note.split(b"\0") if text[:2].lower() in (b"at", b"av") and len(text) > 4]
        return self._text(found[-1]) if found else None

    # -- reading with bounds -------------------------------------------------------------------

    def _text(self, raw: bytes) -> str:
        return raw.split(b"\0", 1)[0].decode("ascii", "backslashreplace")

    def _bounded(self, count: int) -> int:
        if count > MOST_HEADERS:
            raise self._error(0x2C, f"{count} headers are too many to be true; {COPY}")
        return count

    def _unpack(self, form: struct.Struct, offset: int, what: str) -> tuple[Any, ...]:
        return form.unpack(self._slice(offset, form.size, what))

    def _slice(self, offset: int, size: int, what: str) -> bytes:
        found = self._data[offset : offset + size]
        if len(found) != size:
            raise self._error(
                offset,
                f"{what} should have {size} bytes there, but the file has {len(self._data)} in all; {COPY}",
            )
        return found

    def _error(self, offset: int, why: str) -> FirmwareError:
        return FirmwareError(self._name, f"offset {offset:#x}", why)
