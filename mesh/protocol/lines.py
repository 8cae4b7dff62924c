"""Bytes into lines: what netcat, a terminal or a microcontroller speaks.

Rules:

- *How the bytes were cut on their way does not matter*: the same bytes give the same lines.
- *The cost is linear.* Bytes that were searched are not searched again, and however many lines come
  at once, the bytes are copied once.
- *Memory is bounded.* A line may be ``max_line`` bytes long. One that is longer is the end: who sends
  without ever ending a line speaks something else, and where its next line begins is a guess.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

from mesh.errors import LineTooLongError

LF: Final = b"\n"
CRLF: Final = b"\r\n"

MAX_LINE: Final = 64 * 1024
"""Bytes that a line may have, unless a splitter is told otherwise."""

Run = tuple[bytes, list[bytes]]
"""Lines that follow one another, after the delimiter that each of them ended with."""


class LineSplitter:
    r"""Cuts a stream of bytes into lines, without their delimiters.

    Args:
        delimiter: What ends a line; ``None`` for ``\n`` and ``\r\n``, as they come.
        max_line: Bytes that a line may have.

    Attributes:
        last_delimiter: What ended the last line, so that an answer can end with the same; before the
            first line it is the delimiter, or ``\n`` if any will do.
        error: Why no more lines will come; ``None`` while they do.

    Raises:
        ValueError: If the delimiter is empty or the limit is below one.

    """

    def __init__(self, delimiter: bytes | None = None, max_line: int = MAX_LINE) -> None:
        if delimiter == b"":
            raise ValueError(r"a delimiter has at least one byte; None takes \n as well as \r\n")
        if max_line < 1:
            raise ValueError(f"max_line is a number of bytes above zero, not {max_line}")
        self.max_line = max_line
        self.last_delimiter = delimiter or LF
        self.error: LineTooLongError | None = None
        self._any = delimiter is None
        self._separator = delimiter or LF
        # Bytes at the end of the rest with which a separator may begin.
        self._overlap = len(self._separator) - 1
        # A rest of this size is no line yet that is too long: the start of a delimiter may end it.
        self._most = max_line + len(delimiter or CRLF) - 1
        self._rest = bytearray()

    @property
    def rest(self) -> bytes:
        """The bytes of the line that has not ended."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read next and return the lines that it completes.

        Raises:
            LineTooLongError: If a line is too long; ``.lines`` has those before it. No lines come
                any more.

        """
        runs = self.runs(data)
        lines = runs[0][1] if len(runs) == 1 else [line for _, lines in runs for line in lines]
        if self.error is not None:
            self.error.lines = lines
            raise self.error
        return lines

    def runs(self, data: bytes) -> list[Run]:
        """Do what ``feed()`` does, but keep the delimiters apart and raise nothing: see ``error``."""
        if self.error is not None:
            return []
        rest = self._rest
        if rest:
            known = max(len(rest) - self._overlap, 0)
            rest += data
            if rest.find(self._separator, known) < 0:
                self._check_rest()
                return []
            data = bytes(rest)
            rest.clear()
        lines = data.split(self._separator)
        if last := lines.pop():
            rest += last
        runs = self._by_delimiter(data, lines)
        if len(data) > self.max_line:
            runs = self._checked(runs)
            self._check_rest()
        if runs:
            self.last_delimiter = runs[-1][0]
        return runs

    def _by_delimiter(self, data: bytes, lines: list[bytes]) -> list[Run]:
        if not lines:
            return []
        if not self._any:
            return [(self._separator, lines)]
        returns = data.count(CRLF)
        if not returns:
            return [(LF, lines)]
        # Nearly always all lines end alike; only a mixture is looked at line by line.
        if returns == len(lines):
            return [(CRLF, [line[:-1] for line in lines])]
        return [
            (CRLF, [line[:-1] for line in same]) if with_return else (LF, list(same))
            for with_return, same in groupby(lines, lambda line: line.endswith(b"\r"))
        ]

    def _checked(self, runs: list[Run]) -> list[Run]:
        """Return the lines before the first that is too long."""
        for index, (delimiter, lines) in enumerate(runs):
            for number, line in enumerate(lines):
                if len(line) > self.max_line:
                    self._fail(len(line))
                    before = [(delimiter, lines[:number])] if number else []
                    return runs[:index] + before
        return runs

    def _check_rest(self) -> None:
        if len(self._rest) > self._most:
            self._fail(len(self._rest))

    def _fail(self, size: int) -> None:
        self._rest.clear()
        if self.error is None:
            self.error = LineTooLongError(size, self.max_line)
