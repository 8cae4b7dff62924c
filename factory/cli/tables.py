"""Tables: aligned and coloured on a terminal, plain where they are piped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from mesh.text import printable

if TYPE_CHECKING:
    from rich.table import Table

STYLES = {"up": "green", "frozen": "yellow", "linked": "cyan", "down": "red"}

_WIDE = 10_000


def show(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on standard output; ``None`` is shown as a dash.

    Args:
        columns: The headings. Numbers stand right under one that begins with ``#``.
        rows: The cells.

    """
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    with console.capture() as capture:
        console.print(table(columns, rows))
    # What stands behind the last word of a line is padding.
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table as ``show()`` prints it."""
    # Late, as everything that --help has no use for.
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        right = column.startswith("#")
        last = column == columns[-1]
        made.add_column(
            column.removeprefix("#"),
            justify="right" if right else "left",
            overflow="ellipsis" if not last else "fold",
            no_wrap=not last,
        )
    for row in rows:
        cells = ["-" if cell is None else printable(str(cell)) for cell in row]
        made.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
    return made


def span(seconds: float | None) -> str | None:
    """Return a time in words of at most a few letters: ``45s``, ``3m12s``, ``2h05m``, ``4d``."""
    if seconds is None:
        return None
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d"
