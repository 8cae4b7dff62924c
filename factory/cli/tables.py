"""Tables: aligned and coloured on a terminal, plain where they are piped.

Whoever prints one imports this late: it needs rich, for which `--help` has no time.

On a terminal that is too narrow, words are cut, the longest first, and numbers never: rich by itself
would leave out whole columns.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mesh.text import printable

STYLES = {
    "up": "green",
    "frozen": "yellow",
    "linked": "cyan",
    "starting": "cyan",
    "down": "red",
    "failed": "red",
}

_WIDE = 10_000
_GAP = 2
_LEAST = 6
"""Letters to which words may be cut."""

_ENOUGH = 8
"""Letters to which words are cut before a column is left out for them."""


def show(columns: Sequence[str], rows: Sequence[Sequence[object]], *, aside: bool = False) -> None:
    """Print a table on standard output; ``None`` is shown as a dash.

    Args:
        columns: The headings. Numbers stand right under one that begins with ``#``.
        rows: The cells.
        aside: Where the terminal is too narrow, print the last column beneath the table, each cell
            behind the first one of its row.

    """
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    below: list[str] = []
    if aside and _whole(_widths(columns, rows)) > console.width:
        below = [f"{_words(row[0])} {_words(row[-1])}" for row in rows if row[-1]]
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    with console.capture() as capture:
        console.print(table(columns, rows, console.width))
    # What stands behind the last word of a line is padding.
    click.echo("\n".join([*(line.rstrip() for line in capture.get().splitlines()), *below]))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], room: int) -> Table:
    """Return a table as ``show()`` prints it, at most that many letters wide if words can be cut so far."""
    made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, _cut(columns, _widths(columns, rows), room), strict=True):
        made.add_column(
            column.removeprefix("#"),
            justify="right" if column.startswith("#") else "left",
            overflow="ellipsis",
            no_wrap=True,
            width=width,
        )
    for row in rows:
        cells = map(_words, row)
        made.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
    return made


def without_spare(
    columns: Sequence[str], rows: Sequence[Sequence[object]], room: int, spare: Sequence[str]
) -> tuple[list[str], list[list[object]]]:
    """Return columns and rows without as many of the spare columns as do not fit, the first one first."""
    widths = [
        width if column.startswith("#") else min(width, _ENOUGH)
        for column, width in zip(columns, _widths(columns, rows), strict=True)
    ]
    left = list(range(len(columns)))
    for column in spare:
        if _whole([widths[index] for index in left]) <= room:
            break
        left.remove(columns.index(column))
    return [columns[index] for index in left], [[row[index] for index in left] for row in rows]


def _words(cell: object) -> str:
    return "-" if cell is None else printable(str(cell))


def _widths(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[int]:
    heads = [cell_len(column.removeprefix("#")) for column in columns]
    lines = [[cell_len(_words(cell)) for cell in row] for row in rows]
    return [max(widths) for widths in zip(heads, *lines, strict=True)]


def _whole(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _cut(columns: Sequence[str], widths: Sequence[int], room: int) -> list[int]:
    found = list(widths)
    texts = [index for index, column in enumerate(columns) if not column.startswith("#")]
    while texts and _whole(found) > room:
        widest = max(texts, key=lambda index: found[index])
        if found[widest] <= _LEAST:
            break
        found[widest] -= 1
    return found
