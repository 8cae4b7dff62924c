"""From the bytes that a node prints to lines that are safe to show, and bounded."""

from __future__ import annotations

import re

from mesh.text import printable

MOST_BYTES = 8 * 1024
"""Bytes of a line that are kept; of what is beyond, only the number is told."""

# The colours of terminals, and nothing else of what moves cursors and rings bells.
_COLOUR = re.compile("\x1b\\[[0-9;]{0,32}m")


class LineCutter:
    r"""Cuts a stream of bytes into lines.

    What is no UTF-8 is written as ``\xff``. Of a line that has no end no more is kept than
    ``MOST_BYTES``.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._more = 0

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are complete now."""
        first, *others = data.split(b"\n")
        lines = []
        for part in others:
            self._keep(first)
            lines.append(self._take())
            first = part
        self._keep(first)
        return lines

    def finish(self) -> list[str]:
        """Return the last line, if it had no end."""
        return [self._take()] if self._rest or self._more else []

    def _keep(self, data: bytes) -> None:
        room = MOST_BYTES - len(self._rest)
        self._rest += data[:room]
        self._more += max(len(data) - room, 0)

    def _take(self) -> str:
        text = self._rest.removesuffix(b"\r").decode(errors="backslashreplace")
        if self._more:
            text += f"… (+{self._more} bytes)"
        self._rest, self._more = b"", 0
        return text


def shown(text: str, *, colours: bool) -> str:
    """Return a line that cannot do anything to a terminal but be coloured.

    Args:
        text: The line.
        colours: Whether colours are kept, and end with the line; else they are left out.

    """
    if "\x1b" not in text:
        return printable(text)
    parts = [printable(part) for part in _COLOUR.split(text)]
    if not colours:
        return "".join(parts)
    kept = [*_COLOUR.findall(text), ""]
    return "".join(part + colour for part, colour in zip(parts, kept, strict=True)) + "\x1b[0m"
