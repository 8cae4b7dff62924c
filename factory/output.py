"""What a worker prints: one line an event, whole, at once, safe for a terminal.

What a sketch says goes to standard output, what the machinery says to standard error.
Both carry the node's name, for under a runner many workers share one screen.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Literal

from mesh.text import printable

Format = Literal["pretty", "json"]


class Output:
    """Where ``out()`` of a sketch goes.

    Attributes:
        format: ``pretty`` for ``[ NAME ] text``, ``json`` for one object a line.

    """

    format: Format = "pretty"

    def line(self, name: str, text: str) -> None:
        """Print one line and flush it.

        A reader that has gone away (``| head``) is not an error of the sketch: what
        is printed from then on is thrown away.
        """
        try:
            sys.stdout.write(_line(self.format, name, "out", text) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes standard output once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


OUTPUT = Output()
"""The one standard output of this process."""


def _line(format: Format, name: str, level: str, text: str) -> str:
    if format == "json":
        stamp = (
            time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() // 1_000_000 % 1000:03d}Z"
        )
        return json.dumps({"time": stamp, "node": name, "level": level, "text": text}, ensure_ascii=False)
    return f"[ {printable(name)} ] {printable(text)}"


class LineFormatter(logging.Formatter):
    """Log records in the shape of the sketch's own lines.

    A record's attribute ``node`` names the node; without one it is ``mesh``.
    """

    def __init__(self, format: Format) -> None:
        super().__init__()
        self._format: Format = format

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, followed by its traceback if it has one."""
        text = record.getMessage()
        if self._format == "pretty" and record.levelno >= logging.WARNING:
            text = f"{record.levelname.lower()}: {text}"
        line = _line(self._format, getattr(record, "node", "mesh"), record.levelname.lower(), text)
        if record.exc_info and self._format == "pretty":
            line += "\n" + "\n".join(
                printable(part) for part in self.formatException(record.exc_info).splitlines()
            )
        return line


def configure(format: Format, level: int) -> None:
    """Send this process's log to standard error and set the shape of its lines.

    For programs, not for libraries: only the commands call it.
    """
    OUTPUT.format = format
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets it escaped, not an exception.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(format))
    for name in ("mesh", "factory"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
    # A handler's own log call must not fail loudly when the reader has gone away.
    logging.raiseExceptions = False
