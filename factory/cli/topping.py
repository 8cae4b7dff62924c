"""``mesh top``: the nodes on a live screen."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from factory.cli.shared import Duration, all_places, explained, grid_option, json_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from factory.looking.topping import Row, Top

COLUMNS = ("NODE", "STATE", "#PID", "#CPU%", "#MEM", "#RESTARTS", "#IN/s", "#OUT/s", "#QUEUE", "#UPTIME")
KEYS = {"n": "name", "c": "cpu", "m": "memory", "r": "rate", "u": "queue"}
FOOT = "q quit · sort by n name, c cpu, m memory, r rate, u queue · space pause"


@click.command()
@grid_option
@click.option(
    "--every", type=Duration(), default="1s", show_default=True, metavar="TIME", help="From look to look."
)
@click.option("--once", is_flag=True, help="Look once, print a table, and end.")
@click.option(
    "--sort", "by", type=click.Choice(list(KEYS.values())), default="name", show_default=True, help="Order."
)
@json_option
@explained
def top(path: Path | None, every: float, once: bool, by: str, as_json: bool) -> None:
    """Show the nodes on a live screen: processor, memory, messages a second, queues.

    Where there is no terminal it looks once.
    """
    import asyncio

    from factory.cli.streaming import run_until_stopped
    from factory.cli.tables import show
    from factory.looking.topping import Top, ordered

    if once or as_json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        rows = ordered(asyncio.run(_twice(Top(), path, every)), by)
        if as_json:
            click.echo(json.dumps([asdict(row) for row in rows]))
        else:
            show(COLUMNS, [_cells(row) for row in rows])
        return
    run_until_stopped(_Screen(path, every, by).run())


async def _twice(looking: Top, path: Path | None, every: float) -> list[Row]:
    # Rates need two looks.
    import asyncio

    await looking.look(all_places(path))
    await asyncio.sleep(every)
    return await looking.look(all_places(path))


def _cells(row: Row) -> tuple[object, ...]:
    from factory.cli.tables import span

    return (
        row.node,
        row.state,
        row.pid,
        None if row.cpu is None else f"{row.cpu:.1f}",
        None if row.memory is None else f"{row.memory / 1_000_000:.0f}M",
        row.restarts,
        None if row.came is None else f"{row.came:,.0f}",
        None if row.went is None else f"{row.went:,.0f}",
        row.queue,
        span(row.uptime),
    )


class _Screen:
    """The live screen, until ``q``."""

    def __init__(self, path: Path | None, every: float, by: str) -> None:
        import asyncio

        self._path = path
        self._every = every
        self._by = by
        self._paused = False
        self._over = asyncio.Event()
        self._news = asyncio.Event()
        self._rows: list[Row] = []

    async def run(self) -> None:
        import asyncio

        from rich.console import Console
        from rich.live import Live

        from factory.looking.topping import Top

        looking = Top()
        with _keys(self._key), Live(console=Console(), screen=True, auto_refresh=False) as live:
            while not self._over.is_set():
                if not self._paused:
                    self._rows = await looking.look(all_places(self._path))
                live.update(self._drawn(live.console.height), refresh=True)
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._every):
                        while not self._over.is_set():
                            await self._news.wait()
                            self._news.clear()
                            live.update(self._drawn(live.console.height), refresh=True)

    def _key(self, key: str) -> None:
        if key == "q":
            self._over.set()
        elif key == " ":
            self._paused = not self._paused
        elif key in KEYS:
            self._by = KEYS[key]
        self._news.set()

    def _drawn(self, height: int) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        from factory.cli.tables import table
        from factory.looking.topping import ordered

        rows = ordered(self._rows, self._by)
        # A line for the title, the headings, the foot, and one to spare.
        room = max(1, height - 4)
        up = sum(row.state == "up" for row in rows)
        more = f" · {len(rows) - room} more below" if len(rows) > room else ""
        paused = " · PAUSED" if self._paused else ""
        title = Text(f"mesh top · {up} of {len(rows)} up · by {self._by}{more}{paused}", style="bold")
        return Group(title, table(COLUMNS, [_cells(row) for row in rows[:room]]), Text(FOOT, style="dim"))


@contextlib.contextmanager
def _keys(pressed: Callable[[str], object]) -> Iterator[None]:
    """Call with each key that is pressed, while the block lasts; the terminal is as before behind it."""
    import asyncio
    import termios
    import tty

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


COMMANDS = (top,)
