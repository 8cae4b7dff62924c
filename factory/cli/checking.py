"""``mesh validate`` and ``mesh plan``: what a grid says, and what it would change; nothing is done."""

from __future__ import annotations

import json
from pathlib import Path

import click

import mesh
from factory.cli.running import tell_roll_back
from factory.cli.shared import FAILED, Duration, explained, grid_option, grid_path, json_option
from mesh.text import listing


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@grid_option
@json_option
@click.pass_context
def validate(ctx: click.Context, file: Path | None, path: Path | None, as_json: bool) -> None:
    """Check a grid, FILE or the one in use, and tell every mistake with line and column.

    The sketches that it names are looked for too, and the args of those that are shipped
    are checked; no code of your own is run.

    Exits with 0 if there is none, with 1 if there are some.
    """
    # Late: with the sketches comes all that they are made of, which --help has no use for.
    from factory.fitting import check_sketches

    given = file or grid_path(path)
    try:
        grid = mesh.grid(given)
        check_sketches(grid)
    except mesh.GridError as exc:
        tell_mistakes(exc, as_json=as_json)
        ctx.exit(FAILED)
    names = [node.name for node in grid]
    if as_json:
        click.echo(json.dumps({"ok": True, "grid": str(grid.path), "nodes": names}))
    else:
        counted = "1 node" if len(names) == 1 else f"{len(names)} nodes"
        click.echo(f"{given or grid.path}: no mistakes; {counted}: {listing(names)}")


def tell_mistakes(exc: mesh.GridError, *, as_json: bool) -> None:
    """Print every mistake of a grid."""
    problems = exc.problems
    if as_json:
        fields = ("file", "line", "column", "what", "fix")
        found = [{field: getattr(problem, field) for field in fields} for problem in problems]
        click.echo(json.dumps({"ok": False, "error": str(exc), "problems": found}))
    else:
        for line in problems or [exc]:
            click.echo(str(line))


@click.command()
@grid_option
@click.option(
    "--timeout",
    type=Duration(),
    default="10s",
    show_default=True,
    metavar="TIME",
    help="How long to wait for the fleet.",
)
@json_option
@click.pass_context
@explained
def plan(ctx: click.Context, path: Path | None, timeout: float, as_json: bool) -> None:
    """Show what the grid would change in the fleet that is up: + add, ~ change, - remove.

    The fleet does that by itself when the grid is saved. If none is up, all nodes are shown
    as `mesh up` would start them.

    Exits with 1 if the grid has mistakes, with 124 if the supervisor does not answer.
    """
    from factory.fleet import asking
    from factory.fleet.errors import NoFleetError
    from factory.fleet.plan import difference
    from factory.fleet.upping import wanted
    from factory.supervised import grid_file
    from mesh.gridfile.load import load

    given = grid_path(path)
    try:
        want = wanted(given, (), with_others=True)
    except mesh.GridError as exc:
        if not exc.problems:
            raise
        tell_mistakes(exc, as_json=as_json)
        ctx.exit(FAILED)
    try:
        folder, _ = asking.find(given)
        status = asking.ask(folder, "status", timeout=timeout)
        changes = difference(load(grid_file(folder, status["settled"])), want.grid)
    except NoFleetError:
        status = None
        changes = difference((), want.nodes())
    if as_json:
        document = {
            "up": status is not None,
            "rolled_back": status and status["rolled_back"],
            "changes": [change.as_dict() for change in changes],
        }
        click.echo(json.dumps(document))
        return
    for change in changes:
        click.echo(str(change))
    if status is None:
        click.echo("no fleet of this grid is up; `mesh up` would start these", err=True)
    elif status["rolled_back"]:
        tell_roll_back(status)
    elif status["changing"]:
        click.echo("the fleet is applying a change; `mesh is-ready --wait` waits for it", err=True)
    elif not changes:
        click.echo("the fleet runs what the grid says", err=True)


COMMANDS = (validate, plan)
