"""What the nodes of a fleet print, in files: one for each node, with times, of bounded size.

A line is ``2026-11-20T14:44:45.123456+00:00 TEXT``. When a file is full it becomes ``NAME.log.1``, in place
of the one before, so that a node has at least ``MOST_BYTES`` and at most twice as many.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, NamedTuple

from factory.fleet.lines import shown

MOST_BYTES = 2 * 1024 * 1024
"""Bytes of one file."""

LAST = 20
"""Lines that are kept for a verdict."""


class LogLine(NamedTuple):
    """One line of a node: when it came, whose it is, and what it says."""

    time: datetime
    node: str
    text: str


class Log:
    """The log of one node, as its supervisor writes it.

    Args:
        folder: Where the logs are.
        name: The node.
        most: Bytes of one file.

    Attributes:
        last: The last lines of the node itself.

    """

    def __init__(self, folder: Path, name: str, most: int = MOST_BYTES) -> None:
        self._path = folder / f"{name}.log"
        self._most = most
        self._file: IO[bytes] | None = None
        self._size = 0
        self.last: deque[str] = deque(maxlen=LAST)

    def write(self, text: str, when: datetime) -> None:
        """Write a line of the node; what cannot be written (a full disk) is not there."""
        self.last.append(text)
        self.note(text, when)

    def note(self, text: str, when: datetime) -> None:
        """Write a line about the node."""
        line = f"{when.astimezone(UTC).isoformat(timespec='microseconds')} {shown(text, colours=False)}\n"
        data = line.encode(errors="backslashreplace")
        with contextlib.suppress(OSError):
            if self._file is None or self._size + len(data) > self._most:
                self._turn(len(data))
            assert self._file is not None
            self._file.write(data)
            self._file.flush()
            self._size += len(data)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _turn(self, more: int) -> None:
        if self._file is None:
            self._file = self._path.open("ab")
            self._size = self._file.tell()
        if self._size and self._size + more > self._most:
            self._file.close()
            self._path.replace(self._path.with_suffix(".log.1"))
            self._file = self._path.open("wb")
            self._size = 0


def nodes_with_logs(folder: Path) -> list[str]:
    """Return the nodes that have a log, by name."""
    return sorted(path.name.removesuffix(".log") for path in folder.glob("*.log"))


def read_logs(folder: Path, names: Iterable[str]) -> Iterator[LogLine]:
    """Yield all lines of some nodes, in the order of time."""
    return heapq.merge(*(_lines_of(folder, name) for name in names), key=lambda line: line.time)


def _lines_of(folder: Path, name: str) -> Iterator[LogLine]:
    for suffix in (".log.1", ".log"):
        try:
            file = (folder / f"{name}{suffix}").open("rb")
        except OSError:
            continue
        with file:
            for raw in file:
                line = parse_line(name, raw)
                if line is not None:
                    yield line


def parse_line(name: str, raw: bytes) -> LogLine | None:
    """Return a line of a log; ``None`` if it is none, or not all of one."""
    if not raw.endswith(b"\n"):
        return None
    stamp, _, text = raw[:-1].decode(errors="replace").partition(" ")
    try:
        return LogLine(datetime.fromisoformat(stamp), name, text)
    except ValueError:
        return None


class Tail:
    """Reads on in the log of one node, across the change of files.

    Args:
        folder: Where the logs are.
        name: The node.

    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.log"
        self._name = name
        self._file: IO[bytes] | None = None
        self._rest = b""

    def to_end(self) -> None:
        """Leave out what is there."""
        if self._open():
            assert self._file is not None
            self._file.seek(0, os.SEEK_END)

    def read(self) -> list[LogLine]:
        """Return the lines that have come since."""
        found = self._read()
        if self._has_turned() and self._file is not None:
            # What was written between the last read and the turn.
            found += self._read()
            self._file.close()
            self._file, self._rest = None, b""
            found += self._read()
        return found

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> bool:
        if self._file is None:
            with contextlib.suppress(OSError):
                self._file = self._path.open("rb")
        return self._file is not None

    def _has_turned(self) -> bool:
        if self._file is None:
            return False
        try:
            return os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino
        except OSError:
            return False

    def _read(self) -> list[LogLine]:
        if not self._open():
            return []
        assert self._file is not None
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        lines = (parse_line(self._name, raw + b"\n") for raw in whole)
        return [line for line in lines if line is not None]
