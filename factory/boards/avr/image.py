"""Reads firmware from a file: Intel HEX or ELF, which their first bytes tell apart."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from factory.boards.avr.elf import MAGIC, parse_elf
from factory.boards.avr.errors import FirmwareError
from factory.boards.avr.hexfile import parse_hex
from mesh.text import printable

# An ELF file with all that debuggers like is smaller, and so is a HEX file with one byte a line.
MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Image:
    """Firmware for an ATmega328P.

    Attributes:
        flash: The contents of the flash from address 0 on, at most 32 KiB; gaps are 0xFF.
        name: What to call it: the name of the file.

    """

    flash: bytes
    name: str


def read_image(path: str | PathLike[str]) -> Image:
    """Read a file.

    Raises:
        FirmwareError: It cannot be read, or is no firmware for this chip; the message names file, line (or
            offset) and reason.

    """
    path = Path(path)
    name = printable(str(path))
    if not path.is_file():  # a pipe, too, which could have us wait for ever
        raise FirmwareError(name, "", "there is no such file; give the path of a .hex or .elf file")
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as exc:
        why = f"cannot be read: {exc.strerror}; give the path of a .hex or .elf file"
        raise FirmwareError(name, "", why) from exc
    if len(data) > MOST_BYTES:
        raise FirmwareError(name, "", f"more than {MOST_BYTES >> 20} MiB is no firmware for 32 KiB of flash")
    if not data.strip():
        raise FirmwareError(name, "", "the file is empty; build or copy it again")
    parse = parse_elf if data.startswith(MAGIC) else parse_hex
    return Image(parse(data, name), printable(path.name))
