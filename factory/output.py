"""What a worker prints: one line an event, whole, at once, safe for a terminal.

What a sketch says goes to standard output, what the machinery says to standard error.
Both carry the node's name, for under a runner many workers share one screen.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Literal

from mesh.text import printable

Format = Literal["pretty", "json"]

# What JSON itself leaves as it is, though it steers a terminal or is no character.
_RAW_IN_JSON = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Output:
    """Where ``out()`` of a sketch goes.

    Attributes:
        format: ``pretty`` for ``[ NAME ] text``, ``json`` for one object a line.

    """

    format: Format = "pretty"

    def line(self, name: str, text: str) -> None:
        """Print one line and flush it.

        A reader that has gone away (``| head``), a full disk or a standard output that
        was closed are no errors of the sketch: what cannot be printed is thrown away.
        Safe to be called from any thread.
        """
        line = _line(self.format, name, "out", text) + "\n"
        stream = sys.stdout
        try:
            try:
                stream.write(line)
            except UnicodeEncodeError:
                stream.write(line.encode(stream.encoding, "backslashreplace").decode(stream.encoding))
            stream.flush()
        except BrokenPipeError:
            discard_output()
        except (OSError, ValueError, AttributeError):
            # A full disk, a closed standard output, or none (pythonw): the sketch goes on.
            return


OUTPUT = Output()
"""The one standard output of this process."""


def discard_output() -> None:
    """Let standard output lead nowhere, for the interpreter flushes it once more at exit."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def replace_closed() -> None:
    """Let outputs that were closed at the start (``>&-``) lead nowhere: Python has ``None`` for them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Not closed again: it is there as long as the program is.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _line(format: Format, name: str, level: str, text: str, traceback: str | None = None) -> str:
    if format == "json":
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = {"time": stamp, "node": name, "level": level, "text": text}
        if traceback is not None:
            fields["traceback"] = traceback
        written = json.dumps(fields, ensure_ascii=False)
        return _RAW_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", written)
    return f"[ {printable(name)} ] {printable(text)}"


class LineFormatter(logging.Formatter):
    """Log records in the shape of the sketch's own lines.

    A record's attribute ``node`` names the node; without one it is ``mesh``.
    """

    def __init__(self, format: Format) -> None:
        super().__init__()
        self._format: Format = format

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line; its traceback follows, in JSON as a field of the object."""
        text = record.getMessage()
        if self._format == "pretty" and record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        traceback = self.formatException(record.exc_info) if record.exc_info else None
        line = _line(self._format, getattr(record, "node", "mesh"), record.levelname.lower(), text, traceback)
        if traceback is not None and self._format == "pretty":
            line += "\n" + "\n".join(printable(part) for part in traceback.splitlines())
        return line


def configure(format: Format, level: int) -> None:
    """Send this process's log to standard error and set the shape of its lines.

    For programs, not for libraries: only the commands call it.
    """
    OUTPUT.format = format
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets it escaped, not an exception.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(format))
    for name in ("mesh", "factory"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
    # A handler's own log call must not fail loudly when the reader has gone away.
    logging.raiseExceptions = False
