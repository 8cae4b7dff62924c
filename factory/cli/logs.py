"""``mesh logs``: what the nodes have printed, also when the fleet is down."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from factory.cli.shared import NOT_REACHED, Duration, explained, grid_option, grid_path, node_names, pattern

if TYPE_CHECKING:
    from factory.fleet.logs import LogLine, Tail

LOOK = 0.1
"""Seconds between two looks for new lines."""

_PALETTE = ("cyan", "yellow", "green", "magenta", "blue", "bright_cyan", "bright_yellow", "bright_green")


@click.command()
@grid_option
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the fleet is down.")
@click.option(
    "--node",
    "nodes",
    multiple=True,
    metavar="NODE",
    shell_complete=node_names,
    help="Only this node; may be given again.",
)
@click.option("--since", type=Duration(), metavar="TIME", help="Only the last 30s, 5m, 1h.")
@click.option("--grep", callback=pattern, metavar="RE", help="Only lines that match a regular expression.")
@click.option(
    "--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of what is there."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each line.")
@explained
def logs(
    path: Path | None,
    follow: bool,
    nodes: tuple[str, ...],
    since: float | None,
    grep: re.Pattern[str] | None,
    tail: int | None,
    as_json: bool,
) -> None:
    """Show what the nodes of the fleet have printed, in the order of time.

    Each node keeps its last 2 MB at least, also when the fleet is down.
    """
    from factory.fleet.logs import Tail, nodes_with_logs, read_logs
    from mesh.gridfile.locate import locate
    from mesh.runtime import fleet_folder, running_fleet
    from mesh.text import did_you_mean

    grid = locate(grid_path(path))
    running = running_fleet(grid)
    folder = running[0] if running else fleet_folder(grid)
    known = nodes_with_logs(folder / "logs")
    for name in nodes:
        if name not in known and not follow:
            click.echo(f"Error: there is no log of {name!r}{did_you_mean(name, known)}", err=True)
            raise SystemExit(NOT_REACHED)
    if not known and not follow:
        click.echo(f"nothing was logged yet: the fleet of {grid} has never run here", err=True)
    show = _shower(nodes or known, as_json=as_json)
    tails: dict[str, Tail] = {}

    def wanted(line: LogLine) -> bool:
        return grep is None or grep.search(line.text) is not None

    if follow:
        # Before what is there is read, so that no line falls between the two.
        for name in nodes or known:
            tails[name] = Tail(folder / "logs", name)
            tails[name].to_end()
    oldest = None if since is None else datetime.now().astimezone() - timedelta(seconds=since)
    lines = (line for line in read_logs(folder / "logs", nodes or known) if wanted(line))
    if oldest is not None:
        lines = (line for line in lines if line.time >= oldest)
    found = lines if tail is None else deque(lines, tail)
    last: dict[str, datetime] = {}
    for line in found:
        show(line)
        last[line.node] = line.time
    if follow:
        # Ctrl-C is how one ends looking on; that is no failure.
        with suppress(KeyboardInterrupt):
            _follow(folder, nodes, tails, lambda line: wanted(line) and not _is_shown(line, last), show)


def _is_shown(line: LogLine, last: Mapping[str, datetime]) -> bool:
    """Say whether a line was there already while the old ones were read."""
    return line.node in last and line.time <= last[line.node]


def _follow(
    folder: Path,
    nodes: Sequence[str],
    tails: dict[str, Tail],
    wanted: Callable[[LogLine], bool],
    show: Callable[[LogLine], None],
) -> None:
    """Show what comes until the fleet is down."""
    from factory.fleet.logs import Tail, nodes_with_logs
    from mesh.runtime import fleet_of

    while True:
        runs = fleet_of(folder) is not None
        for name in nodes or nodes_with_logs(folder / "logs"):
            if name not in tails:
                tails[name] = Tail(folder / "logs", name)
        fresh = [line for tail in tails.values() for line in tail.read()]
        for line in sorted(fresh, key=lambda line: line.time):
            if wanted(line):
                show(line)
        if not runs:
            click.echo("the fleet is down", err=True)
            return
        time.sleep(LOOK)


def _shower(names: Iterable[str], *, as_json: bool) -> Callable[[Any], None]:
    """Return what prints a line."""
    import os
    import sys

    if as_json:
        return lambda line: click.echo(
            json.dumps({"time": line.time.isoformat(), "node": line.node, "text": line.text})
        )
    width = max((len(name) for name in names), default=0)
    colours: dict[str, str] = {}
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def show(line: LogLine) -> None:
        prefix = f"{line.time.astimezone():%H:%M:%S} {line.node:<{width}} |"
        if coloured:
            colour = colours.setdefault(line.node, _PALETTE[len(colours) % len(_PALETTE)])
            prefix = click.style(prefix, fg=colour)
        click.echo(f"{prefix} {line.text}".rstrip(" "))

    return show


COMMANDS = (logs,)
