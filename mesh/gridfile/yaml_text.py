"""From the bytes of a grid to text that is safe to parse.

What is refused here would make an editor and the parser disagree on where a
line ends, or show a reader something other than what is read.
"""

from __future__ import annotations

import codecs
import re

from mesh.gridfile.problems import Mark, Problems

MAX_BYTES = 256 * 1024
"""Largest grid; a hundred nodes with comments take a tenth of it."""

# Controls except tab and line feed; NEL and the Unicode separators, which YAML
# takes for line ends; marks that turn the direction of text; stray byte order
# marks and non-characters. A carriage return is fine before a line feed only.
_REFUSED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]"
    "|\r(?!\n)"
)


def decode(data: bytes, problems: Problems, *, what: str = "grid") -> str:
    """Return the text of a grid, without a byte order mark.

    Args:
        data: The file.
        problems: The mistakes so far.
        what: What people call the file.

    Raises:
        GridError: If it is too large, not UTF-8, or holds a character that a
            grid must not hold.

    """
    if len(data) > MAX_BYTES:
        problems.stop(
            Mark(1, 1),
            f"the {what} is larger than {MAX_BYTES // 1024} KiB",
            "keep data out of it",
        )
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        problems.stop(Mark(1, 1), f"the {what} is saved as UTF-16", "save it as UTF-8")
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as exc:
        before = exc.object[: exc.start].decode("utf-8")
        byte = exc.object[exc.start]
        problems.stop(
            _end_of(before), f"byte 0x{byte:02x} is not UTF-8 here", f"save the {what} as UTF-8 and try again"
        )
    match = _REFUSED.search(text)
    if match:
        code = ord(match[0][0])
        fix = "remove it; inside double quotes it can be written as an escape"
        if code == 0x0D:
            fix = f"save the {what} with line ends of LF or CRLF"
        problems.stop(_end_of(text[: match.start()]), f"control character U+{code:04X}", fix)
    return text


def _end_of(before: str) -> Mark:
    return Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
