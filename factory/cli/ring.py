"""``mesh ring``: who is linked to whom in a ring, live."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

import mesh
from mesh.dialling import AbsentError, connect
from mesh.gridfile import grid as load_grid
from mesh.text import listing, printable

PAUSE = 0.25
"""Seconds between two looks."""

PATIENCE = 0.5
"""Seconds that a member may take to answer."""

View = Mapping[str, Any]
"""What a member says of one ring; see ``mesh.rings.rings.Rings.status``."""


async def look(grid: mesh.Grid, group: mesh.Group) -> dict[str, View | str]:
    """Return what each member says of a ring, or why it says nothing."""

    async def ask(name: str) -> View | str:
        try:
            async with asyncio.timeout(PATIENCE):
                connection = await connect(grid.node(name), "$ring", timeout=PATIENCE)
                try:
                    await connection.send("")
                    answer = json.loads(await connection.recv())
                finally:
                    connection.transport.abort()
        except (AbsentError, mesh.MeshError) as exc:
            return printable(str(exc))
        except TimeoutError:
            return "no answer"
        except (ValueError, OSError, EOFError) as exc:
            return printable(f"{type(exc).__name__}: {exc}")
        view = answer.get("rings", {}).get(group.name) if isinstance(answer, dict) else None
        return view if isinstance(view, dict) else f"it is in no ring {group.name}"

    views = await asyncio.gather(*(ask(name) for name in group.members))
    return dict(zip(group.members, views, strict=True))


def is_closed(views: Mapping[str, View | str]) -> bool:
    """Say whether those that answer are one ring, in the order of the grid."""
    living = {name: view for name, view in views.items() if not isinstance(view, str)}
    names = list(living)
    if len(names) < 2:
        return len(names) == 1 and bool(living[names[0]]["alone"])
    return all(
        living[name]["successor"] == names[(at + 1) % len(names)]
        and living[name]["predecessor"] == names[at - 1]
        for at, name in enumerate(names)
    )


def chains(views: Mapping[str, View | str]) -> list[str]:
    """Return the rings and the loose ends that the successors make, as lines."""
    next_of = {name: view["successor"] for name, view in views.items() if not isinstance(view, str)}
    lines: list[str] = []
    drawn: set[str] = set()
    # First from those that nobody leads to: else their chains would be drawn from the middle.
    led_to = set(next_of.values())
    for begin in sorted(next_of, key=lambda name: name in led_to):
        if begin in drawn:
            continue
        way, name = [begin], next_of[begin]
        drawn.add(begin)
        while name in next_of and name not in drawn:
            way.append(name)
            drawn.add(name)
            name = next_of[name]
        lines.append(" -> ".join([*way, name or "?"]) if name or len(way) > 1 else f"{begin}, alone")
    return lines


def draw(group: str, views: Mapping[str, View | str]) -> list[str]:
    """Return the picture of a ring."""
    living = [name for name, view in views.items() if not isinstance(view, str)]
    state = "closed" if is_closed(views) else "open"
    picture = [
        f"ring {group}: {state}, {len(living)} of {len(views)} members",
        *(f"  {line}" for line in chains(views)),
    ]
    for name, view in views.items():
        if isinstance(view, str):
            picture.append(f"  {name} is not there: {view}")
        elif view["leaving"]:
            picture.append(f"  {name} is leaving")
        elif view["in_flight"] or view["in_hand"]:
            picture.append(f"  {name} waits for {view['in_flight']} receipts, has {view['in_hand']} in hand")
    return picture


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
@click.option(
    "--grid",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The grid.  [default: $MESH_GRID, else ./grid.yaml, else the shipped one]",
)
@click.option("--once", is_flag=True, help="Draw it once; exit with 1 if it is not closed.")
@click.pass_context
def ring(ctx: click.Context, group: str | None, path: Path | None, once: bool) -> None:
    """Draw who is linked to whom in a ring, and again when that changes, until Ctrl-C.

    GROUP is a group of the grid with `topology: ring`; it may be left out if there is but one.
    """
    try:
        grid = load_grid(path or ctx.obj)
    except mesh.GridError as exc:
        raise click.ClickException(str(exc)) from exc
    chosen = _chosen(grid, group)
    if once:
        views = asyncio.run(look(grid, chosen))
        click.echo("\n".join(draw(chosen.name, views)))
        ctx.exit(0 if is_closed(views) else 1)
    try:
        asyncio.run(_watch(grid, chosen))
    except KeyboardInterrupt:
        ctx.exit(0)


async def _watch(grid: mesh.Grid, group: mesh.Group) -> None:
    before: list[str] = []
    terminal = sys.stdout.isatty()
    while True:
        picture = draw(group.name, await look(grid, group))
        if picture != before:
            before = picture
            if terminal:
                click.clear()
            click.echo("\n".join(picture))
        await asyncio.sleep(PAUSE)


COMMANDS = (ring,)
