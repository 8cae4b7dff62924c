"""``mesh``: everything about the fleet."""

from __future__ import annotations

import json
from pathlib import Path

import click

import mesh
from factory.cli import ring
from factory.cli.printing import Printing
from factory.fitting import check_sketches
from mesh.gridfile import grid as load_grid
from mesh.text import listing

_GRID = click.option(
    "--grid",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The grid.  [default: $MESH_GRID, else ./grid.yaml, else the shipped one]",
)


@click.group(cls=Printing, context_settings={"help_option_names": ["-h", "--help"]})
@_GRID
@click.pass_context
def main(ctx: click.Context, path: Path | None) -> None:
    """Look after the nodes of a grid."""
    ctx.obj = path


@main.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_GRID
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")
@click.pass_context
def validate(ctx: click.Context, file: Path | None, path: Path | None, as_json: bool) -> None:
    """Check a grid, FILE or the one in use, and tell every mistake with line and column.

    The sketches that it names are looked for too, and the args of those that are shipped
    are checked; no code of your own is run.

    Exits with 0 if there is none, with 1 if there are some.
    """
    try:
        grid = load_grid(file or path or ctx.obj)
        check_sketches(grid)
    except mesh.GridError as exc:
        problems = exc.problems
        if as_json:
            fields = ("file", "line", "column", "what", "fix")
            found = [{field: getattr(problem, field) for field in fields} for problem in problems]
            click.echo(json.dumps({"ok": False, "error": str(exc), "problems": found}))
        else:
            for line in problems or [exc]:
                click.echo(str(line))
        ctx.exit(1)
    names = [node.name for node in grid]
    if as_json:
        click.echo(json.dumps({"ok": True, "grid": str(grid.path), "nodes": names}))
    else:
        counted = "1 node" if len(names) == 1 else f"{len(names)} nodes"
        shown = file or path or ctx.obj or grid.path
        click.echo(f"{shown}: no mistakes; {counted}: {listing(names)}")


for command in ring.COMMANDS:
    main.add_command(command)
