"""What all commands have in common: the grid, durations, and which exit code an error has."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

import mesh

P = ParamSpec("P")
R = TypeVar("R")

# Only the newest click can be subscripted, and mypy asks for it.
if TYPE_CHECKING:
    from factory.fleet.errors import SilentFleetError
    from factory.looking.places import Place
    from mesh.gridfile import Grid

    _AnyType = click.ParamType[float]
else:
    _AnyType = click.ParamType

FAILED = 1
"""Exit code: a check has failed, or what was asked for could not be done."""

USAGE = 2
"""Exit code: the command line or the grid is wrong."""

LOSS = 3
"""Exit code: something was lost, or there is a gap."""

NOT_REACHED = 4
"""Exit code: a node or fleet that was named is unknown, down or not reached."""

NO_ANSWER = 124
"""Exit code: it was reached, and did not answer in time."""

THOROUGH = 2.0
"""Seconds that nodes have to answer: more than for a list, where a verdict comes of it."""

LEAST = 0.5
"""Seconds that are left for an answer when the others have taken all the time there was."""


grid_option = click.option(
    "--grid",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The grid.  [default: $MESH_GRID, else ./grid.yaml, else the shipped one]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of lines.")


def pattern(_ctx: click.Context, _param: click.Parameter, value: str | None) -> re.Pattern[str] | None:
    """Return the regular expression that an option gives, or fail with a sentence that says what is wrong."""
    try:
        return None if value is None else re.compile(value)
    except re.error as exc:
        raise click.BadParameter(f"{value!r} is no regular expression: {exc}") from exc


def node_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of nodes that begin so, for the shell: of the grid, and of what runs here."""
    from mesh.runtime import workers

    names: list[str] = []
    before = ctx.find_root().params.get("path")
    # A shell that completes is not to be told of mistakes; the command itself tells them.
    with contextlib.suppress(mesh.MeshError):
        for node in mesh.grid(ctx.params.get("path") or before):
            names += (node.name, *node.aliases)
    with contextlib.suppress(mesh.MeshError):
        names += [record.name for record in workers()]
    return sorted({name for name in names if name.startswith(incomplete)})


def node_channels(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return nodes that begin so, or, behind a slash, the channels of one.

    Those are the channels that it says itself, and those on which something came or went.
    """
    import asyncio

    name, slash, start = incomplete.partition("/")
    if not slash:
        return node_names(ctx, param, incomplete)
    from factory.looking.books import books, lines_of
    from factory.looking.budget import WITHIN
    from factory.looking.places import place, places
    from factory.looking.survey import look

    async def known(found: Place) -> set[str]:
        seen, (book,) = await asyncio.gather(look(found, WITHIN), books([found], WITHIN))
        came = {line[2] for line in lines_of(book) if line[1] in ("received", "published")}
        # Those of many channels that are counted together are not one that there is.
        return {*seen.info.get("channels", ()), *seen.info.get("publishes", ()), *came} - {"", "(others)"}

    with contextlib.suppress(mesh.MeshError):
        before = ctx.find_root().params.get("path")
        found = place(name, places(mesh.grid(ctx.params.get("path") or before)))
        channels = sorted(asyncio.run(known(found)))
        return [f"{name}/{channel}" for channel in channels if channel.startswith(start)]
    return []


def grid_path(path: Path | None) -> Path | None:
    """Return the grid that was given, behind the verb or before it; ``None`` for the usual one.

    If that would be the shipped one because ``./grid.yaml`` is gone, while its fleet runs, it is
    ``./grid.yaml`` that is meant. Else it is said that the shipped one is used.
    """
    given = given_grid(path)
    if given is not None:
        return given
    meta = click.get_current_context().meta
    if __name__ not in meta:
        meta[__name__] = _unnamed()
    found: Path | None = meta[__name__]
    return found


def given_grid(path: Path | None) -> Path | None:
    """Return the grid that was given, behind the verb or before it; ``None`` if none was."""
    before: Path | None = click.get_current_context().obj
    return path or before


def _unnamed() -> Path | None:
    from mesh.gridfile.locate import VARIABLE, locate, shipped
    from mesh.runtime import running_fleet

    usual = Path("grid.yaml")
    if os.environ.get(VARIABLE) or locate() != shipped():
        return None
    with contextlib.suppress(mesh.MeshError):  # whoever needs the runtime directory tells of it
        if running_fleet(usual) is not None:
            return usual
    click.echo(f"there is no ./{usual}; this is the grid that came with sketchmesh", err=True)
    return None


def grid_in_use(path: Path | None) -> Grid:
    """Return the grid in use: if its file is gone, and says so, the one that its fleet has settled on.

    Raises:
        GridError: If there is none, or it has mistakes.

    """
    given = grid_path(path)
    try:
        return mesh.grid(given)
    except mesh.GridError as exc:
        if not isinstance(exc.__cause__, FileNotFoundError):
            raise
        from factory.fleet import asking

        try:
            grid = asking.last_good(given)
        except mesh.MeshError:
            raise exc from exc.__cause__
        click.echo(f"{grid.path} is gone; this is the last good grid, which its fleet runs", err=True)
        return grid


def all_places(path: Path | None) -> list[Place]:
    """Return every node of the grid in use, and every other worker that runs here.

    Raises:
        GridError: If there is no grid, or it has mistakes.

    """
    from factory.looking.places import places

    return places(grid_in_use(path))


def what_runs(path: Path | None, *, tell: bool = True) -> list[Place]:
    """Return ``all_places()``, or, if the grid has mistakes, what runs nevertheless.

    That are the nodes of the last good grid, if its fleet is up; else the workers that run here.

    Args:
        path: The grid that was given.
        tell: Whether the mistakes are told.

    Raises:
        GridError: If there is no grid, or it cannot be opened.

    """
    from factory.looking.places import places, places_without
    from mesh.gridfile.locate import locate

    try:
        return all_places(path)
    except mesh.GridError as exc:
        if isinstance(exc.__cause__, OSError):
            raise
        mistakes = exc
    from factory.fleet import asking

    given = grid_path(path)
    try:
        found, which = places(asking.last_good(given)), "the last good grid, which its fleet runs"
    except mesh.MeshError:
        found, which = places_without(locate(given)), "what runs here"
    if tell:
        click.echo(f"{mistakes}\nthe grid has mistakes; this is {which}", err=True)
    return found


def node_and_channel(text: str, path: Path | None) -> tuple[Place, str]:
    """Return the node and the channel of ``NODE/CHANNEL``; the channel is empty if there is none.

    Raises:
        NotReachedError: If there is no such node.

    """
    from factory.looking.places import place

    name, _, channel = text.partition("/")
    return place(name, all_places(path)), channel


async def of_fleet(
    path: Path | None, timeout: float
) -> tuple[dict[str, Any] | None, SilentFleetError | None]:
    """Return what the supervisor of the fleet says of it, if one is up; or that it does not answer."""
    from factory.fleet import asking
    from factory.fleet.errors import SilentFleetError

    try:
        folder, _ = asking.find(grid_path(path))
        return await asking.answer(folder, "status", timeout=timeout), None
    except SilentFleetError as exc:
        return None, exc
    except mesh.MeshError:
        return None, None


class Duration(_AnyType):
    """A time such as ``500ms``, ``30s`` or ``5m``; a bare number means seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds, or fail with a sentence that says what was expected."""
        from mesh.text import seconds

        try:
            return seconds(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)


def explained(call: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of a command into a sentence and an exit code."""

    @wraps(call)
    def command(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except mesh.MeshError as exc:
            # What a fleet or a node refuses is its own sentence.
            words = exc.reason if isinstance(exc, mesh.NackedError) else exc
            click.echo(f"Error: {words}", err=True)
            sys.exit(code_of(exc))

    return command


def code_of(exc: mesh.MeshError) -> int:
    """Return the exit code of an error."""
    from factory.fleet.errors import NoFleetError, SilentFleetError
    from factory.looking.errors import NotReachedError, SilentNodeError

    if isinstance(exc, mesh.NackedError):
        return NOT_REACHED if exc.type == "LookupError" else FAILED
    if isinstance(exc, mesh.UnknownNodeError | NoFleetError | NotReachedError | mesh.PeerDownError):
        return NOT_REACHED
    if isinstance(exc, mesh.AckTimeoutError | SilentNodeError | SilentFleetError):
        return NO_ANSWER
    return USAGE if isinstance(exc, mesh.GridError) else FAILED
