"""The live screen of ``mesh top``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from factory.cli.shared import what_runs
from factory.cli.tables import table, without_spare
from factory.cli.units import span
from factory.looking.places import own
from factory.looking.topping import Row, Top, ordered

COLUMNS = ("NODE", "STATE", "#PID", "#CPU%", "#MEM", "#RESTARTS", "#IN/s", "#OUT/s", "#QUEUE", "#UPTIME")
KEYS = {"n": "name", "c": "cpu", "m": "memory", "r": "rate", "u": "queue"}
FOOT = "q quit · by n name, c cpu, m memory, r rate, u queue · space pause · ↑↓ scroll"
SPARE = ("#UPTIME", "#RESTARTS", "#PID", "#QUEUE", "#MEM")
"""Columns that a narrow terminal does without, in that order."""

_KEY = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])|.", re.DOTALL)
# Rows, pages and whole lists by which keys scroll; terminals have more than one way to say some.
_SCROLL = {
    **dict.fromkeys(("\x1b[A", "\x1bOA", "k"), (-1, 0, 0)),
    **dict.fromkeys(("\x1b[B", "\x1bOB", "j"), (1, 0, 0)),
    "\x1b[5~": (0, -1, 0),
    "\x1b[6~": (0, 1, 0),
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "\x1b[7~"), (0, 0, -1)),
    **dict.fromkeys(("\x1b[F", "\x1bOF", "\x1b[4~", "\x1b[8~"), (0, 0, 1)),
}


def cells(row: Row) -> tuple[object, ...]:
    """Return what stands in the columns."""
    return (
        row.node,
        row.state,
        row.pid,
        None if row.cpu is None else f"{row.cpu:.1f}",
        None if row.memory is None else f"{row.memory / 2**20:.0f}M",
        row.restarts,
        None if row.came is None else f"{row.came:,.0f}",
        None if row.went is None else f"{row.went:,.0f}",
        row.queue,
        span(row.uptime),
    )


class View:
    """What of the rows is shown, and how; keys change it.

    Args:
        by: What they are sorted by; see ``ordered()``.

    Attributes:
        over: Whether ``q`` was pressed.
        paused: Whether nothing new is to be looked for.

    """

    def __init__(self, by: str) -> None:
        self.over = False
        self.paused = False
        self._by = by
        self._first = 0  # the row on top
        self._last = 0  # the last one that may be there
        self._page = 1

    def key(self, key: str) -> None:
        """Do what a key means."""
        if key == "q":
            self.over = True
        elif key == " ":
            self.paused = not self.paused
        elif key in KEYS:
            self._by = KEYS[key]
        elif key in _SCROLL:
            rows, pages, ends = _SCROLL[key]
            first = self._first + rows + pages * self._page + ends * self._last
            self._first = min(max(0, first), self._last)

    def drawn(self, found: Sequence[Row], width: int, height: int) -> RenderableType:
        """Return the whole screen."""
        rows = ordered(found, self._by)
        # A line for the title, the headings, the foot, and one to spare.
        self._page = max(1, height - 4)
        self._last = max(0, len(rows) - self._page)
        self._first = min(self._first, self._last)
        up = sum(row.state == "up" for row in rows)
        title = f"mesh top · {up} of {len(rows)} up · by {self._by}"
        title += f" · {self._first} more above" if self._first else ""
        title += f" · {self._last - self._first} more below" if self._last > self._first else ""
        title += " · PAUSED" if self.paused else ""
        shown = [cells(row) for row in rows[self._first : self._first + self._page]]
        return Group(
            Text(title, style="bold", no_wrap=True, overflow="ellipsis"),
            table(*without_spare(COLUMNS, shown, width, SPARE), width),
            Text(FOOT, style="dim", no_wrap=True, overflow="ellipsis"),
        )


class Screen:
    """The live screen, until ``q``."""

    def __init__(self, path: Path | None, every: float, by: str) -> None:
        self._path = path
        self._every = every
        self._view = View(by)
        self._news = asyncio.Event()
        self._rows: list[Row] = []

    async def run(self) -> None:
        """Show it until then."""
        looking = Top()
        with _keys(self._key), Live(console=Console(), screen=True, auto_refresh=False) as live:
            while not self._view.over:
                if not self._view.paused:
                    self._rows = await looking.look(own(what_runs(self._path, tell=False)))
                self._draw(live)
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._every):
                        while not self._view.over:
                            await self._news.wait()
                            self._news.clear()
                            self._draw(live)

    def _key(self, key: str) -> None:
        self._view.key(key)
        self._news.set()

    def _draw(self, live: Live) -> None:
        live.update(self._view.drawn(self._rows, *live.console.size), refresh=True)


def keys_of(text: str) -> list[str]:
    """Return the keys that make a terminal send this; an arrow is one key, though it is many letters."""
    return _KEY.findall(text)


@contextlib.contextmanager
def _keys(pressed: Callable[[str], object]) -> Iterator[None]:
    """Call with each key that is pressed, while the block lasts; the terminal is as before behind it."""
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(stdin)

    def read() -> None:
        for key in keys_of(os.read(stdin, 64).decode(errors="ignore")):
            pressed(key)

    tty.setcbreak(stdin)
    loop.add_reader(stdin, read)
    try:
        yield
    finally:
        loop.remove_reader(stdin)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
