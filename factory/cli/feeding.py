"""What comes to ``mesh pub`` on standard input: lines of text or JSON, and rows of ``mesh echo --json``.

Rules:

- A line is sent as DATA is: as JSON if it is some, else as text.
- A row of ``mesh echo --json`` is known by its fields. Only rows that entered a handler (``<``) are
  sent; publications and acks are results, which come of themselves when their causes are sent again.
- A line that begins as an object and is none is the torn end of something, not text: it is refused
  with its number, and so is a line that is no UTF-8. With ``--text`` every line is text.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from factory.looking.rows import data_of, parsed
from factory.looking.sending import Message
from mesh.text import listing, printable

LONGEST: Final = 16 * 1024 * 1024
"""Most bytes of a line."""

_ROW = {"at", "node", "way", "channel"}
_SKIPPED = {"node", "skipped"}
_LEFT_OUT = {">": "publication", "=": "ack"}
_SHOWN = 60


class BrokenLineError(Exception):
    """A line of standard input can neither be sent nor be left out; the text says which, and why."""


class Feed:
    """Messages from standard input.

    Args:
        channel: Where to send them; empty for the channel of each row.
        is_text: Whether each line is text, whatever it looks like.

    Attributes:
        gap: How many messages the rows say that were left out of them.

    """

    def __init__(self, channel: str, *, is_text: bool) -> None:
        self.gap = 0
        self._channel = channel
        self._is_text = is_text
        self._number = 0
        self._left_out: Counter[str] = Counter()

    @property
    def left_out(self) -> str:
        """Which rows were not sent, as words; empty if all were."""
        words = [f"{count} {_LEFT_OUT[way]}{'s'[: count > 1]}" for way, count in self._left_out.items()]
        return listing(words)

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Give what is to be sent, as it comes.

        Raises:
            BrokenLineError: If a line is broken; those before it have been given.

        """
        async with aclosing(self._lines()) as lines:
            async for raw in lines:
                self._number += 1
                message = self.message(raw)
                if message is not None:
                    yield message

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        if sys.stdin is None:  # the shell has closed it: `<&-`
            return
        if not _is_waited_for(sys.stdin.fileno()):
            while raw := sys.stdin.buffer.readline(LONGEST + 1):
                if len(raw) > LONGEST:
                    raise self._too_long()
                yield raw
            return
        reader = asyncio.StreamReader(limit=LONGEST)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        try:
            while raw := await reader.readline():
                yield raw
        except ValueError as exc:
            raise self._too_long() from exc
        finally:
            transport.close()

    def message(self, raw: bytes) -> Message | None:
        """Return what a line says; ``None`` if it is not to be sent.

        Raises:
            BrokenLineError: If it is broken.

        """
        try:
            line = raw.decode().rstrip("\r\n")
        except UnicodeDecodeError as exc:
            raise self._broken(
                f"is no UTF-8 at byte {exc.start + 1}",
                'send bytes as {"at": …, "node": …, "way": "<", "channel": …, "base64": …}',
            ) from exc
        if self._is_text:
            return Message(self._channel, line)
        value = parsed(line)
        if isinstance(value, dict):
            return self._row(value, line)
        if value is line and line.startswith("{"):
            raise self._broken(
                f"begins as an object and is no JSON: {_shown(line)}",
                "mend it, or send every line as text with --text",
            )
        return Message(self._channel, value)

    def _row(self, value: dict[str, Any], line: str) -> Message | None:
        if value.keys() == _SKIPPED:
            if not isinstance(value["skipped"], int) or value["skipped"] < 0:
                raise self._no_row("`skipped` is no number", line)
            self.gap += value["skipped"]
            return None
        if not value.keys() >= _ROW:
            return Message(self._channel, value)
        way = value["way"]
        if way in _LEFT_OUT:
            self._left_out[way] += 1
            return None
        if way != "<" or not isinstance(value["channel"], str):
            raise self._no_row('`way` is "<", ">" or "=", and `channel` is text', line)
        if "large" in value:
            self.gap += 1
            return None
        try:
            return Message(self._channel or value["channel"], data_of(value))
        except (ValueError, TypeError) as exc:
            raise self._no_row(str(exc), line) from exc

    def _no_row(self, why: str, line: str) -> BrokenLineError:
        return self._broken(
            f"is no row of `mesh echo --json` ({why}): {_shown(line)}",
            "mend it, or send every line as text with --text",
        )

    def _too_long(self) -> BrokenLineError:
        self._number += 1
        return self._broken(f"is longer than {LONGEST} bytes", "send it in parts")

    def _broken(self, what: str, then: str) -> BrokenLineError:
        return BrokenLineError(f"line {self._number} of standard input {what}; {then}")


def _is_waited_for(fd: int) -> bool:
    """Say whether lines come when somebody writes them; files and /dev/null are there at once."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)


def _shown(line: str) -> str:
    return printable(line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…")
