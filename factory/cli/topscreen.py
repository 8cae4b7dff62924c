"""The live screen of ``mesh top``."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from factory.cli.shared import what_runs
from factory.cli.tables import table
from factory.cli.units import span
from factory.looking.places import own
from factory.looking.topping import Row, Top, ordered

COLUMNS = ("NODE", "STATE", "#PID", "#CPU%", "#MEM", "#RESTARTS", "#IN/s", "#OUT/s", "#QUEUE", "#UPTIME")
KEYS = {"n": "name", "c": "cpu", "m": "memory", "r": "rate", "u": "queue"}
FOOT = "q quit · sort by n name, c cpu, m memory, r rate, u queue · space pause"


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


class Screen:
    """The live screen, until ``q``."""

    def __init__(self, path: Path | None, every: float, by: str) -> None:
        self._path = path
        self._every = every
        self._by = by
        self._paused = False
        self._over = asyncio.Event()
        self._news = asyncio.Event()
        self._rows: list[Row] = []

    async def run(self) -> None:
        """Show it until then."""
        looking = Top()
        with _keys(self._key), Live(console=Console(), screen=True, auto_refresh=False) as live:
            while not self._over.is_set():
                if not self._paused:
                    self._rows = await looking.look(own(what_runs(self._path, tell=False)))
                live.update(self._drawn(*live.console.size), refresh=True)
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._every):
                        while not self._over.is_set():
                            await self._news.wait()
                            self._news.clear()
                            live.update(self._drawn(*live.console.size), refresh=True)

    def _key(self, key: str) -> None:
        if key == "q":
            self._over.set()
        elif key == " ":
            self._paused = not self._paused
        elif key in KEYS:
            self._by = KEYS[key]
        self._news.set()

    def _drawn(self, width: int, height: int) -> RenderableType:
        rows = ordered(self._rows, self._by)
        # A line for the title, the headings, the foot, and one to spare.
        room = max(1, height - 4)
        up = sum(row.state == "up" for row in rows)
        more = f" · {len(rows) - room} more below" if len(rows) > room else ""
        paused = " · PAUSED" if self._paused else ""
        title = Text(f"mesh top · {up} of {len(rows)} up · by {self._by}{more}{paused}", style="bold")
        return Group(
            title, table(COLUMNS, [cells(row) for row in rows[:room]], width), Text(FOOT, style="dim")
        )


@contextlib.contextmanager
def _keys(pressed: Callable[[str], object]) -> Iterator[None]:
    """Call with each key that is pressed, while the block lasts; the terminal is as before behind it."""
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(stdin)

    def read() -> None:
        for key in os.read(stdin, 64).decode(errors="ignore"):
            pressed(key)

    tty.setcbreak(stdin)
    loop.add_reader(stdin, read)
    try:
        yield
    finally:
        loop.remove_reader(stdin)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
