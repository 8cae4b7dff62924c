"""Reads Intel HEX, sans-I/O: lines of ``:LLAAAATT...CC``, with a length, an address, a type and a checksum.

The rules are stricter than those of many loaders, since what they forgive is a damaged file: every address is
written once, and nothing comes after the end record, which must be there.
"""

from __future__ import annotations

from factory.boards.avr.errors import FirmwareError

FLASH_BYTES = 32_768
DATA, END, SEGMENT, START_SEGMENT, LINEAR, START_LINEAR = range(6)
# How many bytes each type of record carries, for those of which that is fixed.
FIXED = {END: 0, SEGMENT: 2, START_SEGMENT: 4, LINEAR: 2, START_LINEAR: 4}
BUILD = "build it again for the ATmega328P (Arduino Uno)"
COPY = "the file is damaged: copy or build it again"


def parse_hex(data: bytes, name: str) -> bytes:
    """Return the contents of the flash, from address 0 on; gaps are 0xFF.

    Args:
        data: The file.
        name: Its name, for messages.

    Raises:
        FirmwareError: It is not what it should be; the message names line and reason.

    """
    return _HexReader(name).read(data)


class _HexReader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._flash = bytearray(b"\xff" * FLASH_BYTES)
        self._written_by = [0] * FLASH_BYTES  # by which line; 0: by none
        self._base = 0
        self._line = 0
        self._ended = 0

    def read(self, data: bytes) -> bytes:
        for self._line, raw in enumerate(data.splitlines(), 1):
            text = raw.strip()
            if text:
                self._record(text)
        if not self._ended:
            raise self._error(f"the file stops before the end record (:00000001FF); {COPY}")
        used = max((at for at, line in enumerate(self._written_by, 1) if line), default=0)
        if not used:
            raise FirmwareError(self._name, "", "there is no code in it; build it again")
        return bytes(self._flash[:used])

    def _record(self, text: bytes) -> None:
        if self._ended:
            raise self._error(f"there is more after the end record in line {self._ended}; {COPY}")
        if text[:1] != b":":
            raise self._error("a line of Intel HEX begins with a colon; is this firmware at all?")
        try:
            record = bytes.fromhex(text[1:].decode("ascii"))
        except ValueError:
            raise self._error(f"after the colon there must be pairs of hexadecimal digits; {COPY}") from None
        if b" " in text or len(record) < 5 or len(record) != record[0] + 5:
            expected = f"{record[0]} bytes and" if record else "length, address, type,"
            raise self._error(
                f"the line is too short or too long: it should carry {expected} a checksum; {COPY}"
            )
        if sum(record) & 0xFF:
            right = -sum(record[:-1]) & 0xFF
            raise self._error(f"wrong checksum {record[-1]:02X}, it should be {right:02X}; {COPY}")
        self._obey(record[3], int.from_bytes(record[1:3], "big"), record[4:-1])

    def _obey(self, kind: int, address: int, payload: bytes) -> None:
        if kind not in (DATA, *FIXED):
            raise self._error(f"there are no records of type {kind:02X}, only 00 to 05; {COPY}")
        if kind in FIXED and len(payload) != FIXED[kind]:
            raise self._error(
                f"a record of type {kind:02X} carries {FIXED[kind]} bytes, not {len(payload)}; {COPY}"
            )
        if kind == DATA:
            self._write(self._base + address, payload)
        elif kind == END:
            self._ended = self._line
        elif kind == SEGMENT:
            self._base = int.from_bytes(payload, "big") << 4
        elif kind == LINEAR:
            self._base = int.from_bytes(payload, "big") << 16
        # The types 03 and 05 say where to start, which this chip knows: at 0.

    def _write(self, address: int, payload: bytes) -> None:
        end = address + len(payload)
        if end > FLASH_BYTES:
            raise self._error(
                f"it writes to {max(address, FLASH_BYTES):#x}, but the flash of an ATmega328P ends at "
                f"{FLASH_BYTES:#x} (32 KiB): this is for another chip, or too large; {BUILD}"
            )
        for at in range(address, end):
            if self._written_by[at]:
                raise self._error(
                    f"it writes to {at:#06x}, as line {self._written_by[at]} has done before: are these two "
                    f"programs in one file? {BUILD}"
                )
        self._flash[address:end] = payload
        self._written_by[address:end] = [self._line] * len(payload)

    def _error(self, why: str) -> FirmwareError:
        return FirmwareError(self._name, f"line {self._line}" if self._line else "", why)
