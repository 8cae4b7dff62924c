"""What a fleet shows: the lines of all nodes, merged, each with its time and name.

A thread writes, so that a terminal that was stopped (Ctrl-S) or a slow pipe does not hold up the
supervisor. When it falls behind, lines are left out on the screen, and counted; the logs have them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import select
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TextIO

from factory.fleet.lines import shown

MOST_WAITING = 10_000
"""Lines that may wait to be written."""

LOOK = 1.0
"""Seconds without a line after which it is looked whether anybody still reads."""

COUNTING = timedelta(seconds=1)
"""How long lines that are left out are counted before it is said how many."""

LAST = 1.0
"""Seconds that the lines that wait may take at the end."""

_COLOURS = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
OURS = "mesh"
"""The name under which the fleet itself speaks."""


def wants_colours(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that shall have colours."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return False


class Screen:
    """Prints lines until nobody takes them any more.

    Args:
        names: The nodes, for the width of their names.
        gone: Called from a thread, once, when standard output is closed or its terminal is gone.
        nodes: Whether the lines of nodes are shown, besides what the fleet itself says.

    """

    def __init__(self, names: Iterable[str], gone: Callable[[], object], *, nodes: bool = True) -> None:
        self._width = max(map(len, [*names, OURS]))
        self._gone = gone
        self._nodes = nodes
        self._colours = itertools.cycle(_COLOURS)
        self._colour: dict[str, str] = {OURS: "90"}
        self._queue: queue.Queue[tuple[TextIO, str] | None] = queue.Queue(MOST_WAITING)
        # Both threads tell of lines that were left out, each when it has occasion to.
        self._counting = threading.Lock()
        self._left_out = 0
        self._since: datetime | None = None
        self._closed = False
        self._coloured = {stream: wants_colours(stream) for stream in (sys.stdout, sys.stderr)}
        self._thread = threading.Thread(target=self._write, name="screen", daemon=True)
        self._thread.start()

    def line(self, name: str, text: str, when: datetime) -> None:
        """Show a line of a node."""
        if self._nodes:
            self._put(sys.stdout, name, text, when)

    def say(self, text: str) -> None:
        """Show what the fleet itself says: on standard error, for it is no data."""
        for line in text.splitlines():
            self._put(sys.stderr, OURS, line, datetime.now().astimezone())

    def close(self) -> None:
        """Write what waits, if that is possible in a moment, and nothing more."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(queue.Full):
            if note := self._left_out_note():
                self._queue.put(note, timeout=LAST)
            self._queue.put(None, timeout=LAST)
            self._thread.join(LAST)

    def _put(self, stream: TextIO, name: str, text: str, when: datetime) -> None:
        if self._closed:
            return
        if not self._queue.full() and (note := self._left_out_note(when)):
            self._queue.put_nowait(note)
        if name not in self._colour:
            self._colour[name] = next(self._colours)
        self._width = max(self._width, len(name))
        line = f"{self._prefix(stream, name, when)} {shown(text, colours=self._coloured[stream])}"
        try:
            self._queue.put_nowait((stream, line.rstrip(" ")))
        except queue.Full:
            with self._counting:
                self._left_out += 1
                self._since = self._since or when

    def _prefix(self, stream: TextIO, name: str, when: datetime) -> str:
        prefix = f"{when:%H:%M:%S} {name:<{self._width}} |"
        return f"\x1b[{self._colour[name]}m{prefix}\x1b[0m" if self._coloured[stream] else prefix

    def _left_out_note(self, now: datetime | None = None) -> tuple[TextIO, str] | None:
        """Return the line that says how many were left out, once they were counted for long enough.

        Args:
            now: The time; ``None`` if they need not be counted any longer.

        """
        with self._counting:
            if self._since is None or (now is not None and now - self._since < COUNTING):
                return None
            prefix = self._prefix(sys.stderr, OURS, now or datetime.now().astimezone())
            words = f"… {self._left_out} lines are not shown, see `mesh logs`"
            self._left_out, self._since = 0, None
            return sys.stderr, f"{prefix} {words}"

    def _write(self) -> None:
        works, last = True, sys.stdout
        while True:
            try:
                item = self._queue.get(timeout=LOOK)
            except queue.Empty:
                if works and not _is_read():
                    works = False
                    self._end()
                if not (note := self._left_out_note()):
                    continue
                item = note
            if item is None:
                break
            stream, line = item
            if not works:
                continue
            try:
                try:
                    stream.write(line + "\n")
                except UnicodeEncodeError:
                    encoding = stream.encoding or "ascii"
                    stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
                if stream is not last:
                    last.flush()  # so that both come in order
                    last = stream
                if self._queue.empty():
                    stream.flush()
            except (OSError, ValueError):
                # Nobody reads on (`mesh up | head`), or the terminal is gone: that is an end, too.
                works = False
                self._end()
        with contextlib.suppress(OSError, ValueError):
            last.flush()

    def _end(self) -> None:
        silence()
        self._gone()


def _is_read() -> bool:
    """Return whether somebody may still read standard output."""
    poll = select.poll()
    poll.register(1, 0)  # errors and hang-ups are told in any case
    return not poll.poll(0)


def silence() -> None:
    """Let standard output and error go nowhere, for the interpreter writes to them once more at exit."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        with contextlib.suppress(OSError):
            os.dup2(nowhere, number)
    os.close(nowhere)
