"""``mesh ring``: who is linked to whom in a ring, live."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import mesh
from factory.cli.shared import FAILED, explained, grid_option, grid_path
from mesh.text import listing

PAUSE = 0.25
"""Seconds between two looks."""


def _chosen(grid: mesh.Grid, name: str | None) -> mesh.Group:
    rings = {group.name: group for group in grid.groups.values() if group.topology == "ring"}
    if name is None and len(rings) == 1:
        return next(iter(rings.values()))
    if name in rings:
        return rings[name]
    has = f"it has {listing(rings, 'and')}" if rings else "it has none; give a group `topology: ring`"
    raise click.UsageError(f"name a ring of {grid.path}: {has}")


@click.command()
@click.argument("group", required=False)
@grid_option
@click.option("--once", is_flag=True, help="Draw it once; exit with 1 if it is not closed.")
@explained
def ring(group: str | None, path: Path | None, once: bool) -> None:
    """Draw who is linked to whom in a ring, and again when that changes, until Ctrl-C.

    GROUP is a group of the grid with `topology: ring`; it may be left out if there is but one.
    """
    import asyncio

    from factory.looking.places import places
    from factory.looking.rings import View, draw, is_closed, look_round

    grid = mesh.grid(grid_path(path))
    chosen = _chosen(grid, group)

    # Places anew each time, for workers come and go.
    async def look() -> dict[str, View | str]:
        return await look_round(chosen, places(grid))

    if once:
        views = asyncio.run(look())
        click.echo("\n".join(draw(chosen.name, views)))
        sys.exit(0 if is_closed(views) else FAILED)

    async def watch() -> None:
        before: list[str] = []
        while True:
            picture = draw(chosen.name, await look())
            if picture != before:
                before = picture
                _show(picture)
            await asyncio.sleep(PAUSE)

    try:
        asyncio.run(watch())
    except KeyboardInterrupt:
        sys.exit(0)


def _show(picture: list[str]) -> None:
    if sys.stdout.isatty():
        click.clear()
    click.echo("\n".join(picture))


COMMANDS = (ring,)
"""Rings: the members of a group, each linked to its two neighbours."""
