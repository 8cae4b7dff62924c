"""Tables: aligned and coloured on a terminal, plain where they are piped.

Whoever prints one imports this late: it needs rich, for which `--help` has no time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mesh.text import printable

STYLES = {"up": "green", "frozen": "yellow", "linked": "cyan", "down": "red"}

_WIDE = 10_000


def show(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table on standard output; ``None`` is shown as a dash.

    Args:
        columns: The headings. Numbers stand right under one that begins with ``#``.
        rows: The cells.

    """
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    with console.capture() as capture:
        console.print(table(columns, rows))
    # What stands behind the last word of a line is padding.
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """Return a table as ``show()`` prints it."""
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
