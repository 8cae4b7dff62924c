"""``mesh up``, ``down``, ``start``, ``stop``, ``restart`` and ``is-ready``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from factory.cli.shared import (
    FAILED,
    LEAST,
    THOROUGH,
    Duration,
    explained,
    grid_option,
    grid_path,
    json_option,
    node_names,
)

GONE_WITHIN = 15.0
"""Seconds that a fleet may take to stop; its nodes get five before they are killed."""


@click.command()
@click.argument("nodes", nargs=-1, metavar="[NODE]...", shell_complete=node_names)
@grid_option
@click.option("--no-deps", is_flag=True, help="Without the nodes that the named ones need.")
@click.option(
    "-d", "--detach", is_flag=True, help="Return when all are ready; they run on without a terminal."
)
@click.option("--dry-run", is_flag=True, help="Only show what would start, in order.")
@click.option(
    "--start-within",
    type=Duration(),
    default="15s",
    show_default=True,
    metavar="TIME",
    help="How long a node may take to become ready.",
)
@json_option
@explained
def up(
    nodes: tuple[str, ...],
    path: Path | None,
    no_deps: bool,
    detach: bool,
    dry_run: bool,
    start_within: float,
    as_json: bool,
) -> None:
    """Run the fleet: every node of the grid with a sketch and a local host, each as its own process.

    With names, only those nodes and what they need. While it runs it follows the grid: save the
    file, and what has changed starts, restarts or stops. Ctrl-C stops all in good order; once
    more kills.

    Exits with 0 after a clean stop, with 1 if a node was given up or had to be killed, with
    130 after the second Ctrl-C.
    """
    import os

    from factory.fleet.actions import Settings
    from factory.fleet.plan import difference
    from factory.fleet.upping import bring_up, wanted

    want = wanted(grid_path(path), nodes, with_others=not no_deps)
    if dry_run:
        changes = difference((), want.nodes())
        if as_json:
            click.echo(json.dumps({"changes": [change.as_dict() for change in changes]}))
        else:
            for change in changes:
                click.echo(str(change))
        return
    at_once = max(4, 2 * (os.cpu_count() or 1))
    code = bring_up(want, Settings(start=start_within, at_once=at_once), detach=detach)
    if detach and as_json:
        from factory.fleet import asking

        click.echo(json.dumps(asking.ask(asking.find(want.path)[0], "status")))
    sys.exit(code)


@click.command()
@grid_option
@click.option(
    "--timeout",
    type=Duration(),
    default=f"{GONE_WITHIN:g}s",
    show_default=True,
    metavar="TIME",
    help="How long to wait.",
)
@json_option
@explained
def down(path: Path | None, timeout: float, as_json: bool) -> None:
    """Stop the fleet of the grid, in good order.

    Exits with 0 when it is down, also if it was down before; with 1 if it is not within --timeout, and
    with 124 if its supervisor does not answer.
    """
    end = time.monotonic() + timeout
    from factory.fleet import asking
    from factory.fleet.errors import NoFleetError

    try:
        folder, record = asking.find(grid_path(path))
    except NoFleetError as exc:
        click.echo(f"nothing to do: {exc}", err=True)
        if as_json:
            click.echo(json.dumps({"down": True, "pid": None}))
        return
    asking.ask(folder, "down", timeout=timeout)
    if not asking.wait_until_gone(folder, max(LEAST, end - time.monotonic())):
        raise click.ClickException(f"the fleet has not ended within {timeout:g} s; see pid {record.pid}")
    click.echo("the fleet is down", err=True)
    if as_json:
        click.echo(json.dumps({"down": True, "pid": record.pid}))


def _order(
    do: str, words: str, nodes: tuple[str, ...], path: Path | None, timeout: float, as_json: bool
) -> None:
    """Have the fleet do something with nodes, and tell how they are then."""
    from factory.fleet import asking

    folder, _ = asking.find(grid_path(path))
    status = asking.ask(folder, do, _own_names(folder, nodes), timeout=timeout)
    states = {node["node"]: node for node in status["nodes"]}
    asked = [states[name] for name in _own_names(folder, nodes) if name in states]
    if as_json:
        click.echo(json.dumps(asked))
    failed = [node for node in asked if node["state"] == "failed"]
    for node in asked:
        if node in failed:
            click.echo(
                f"Error: {node['node']} {node['why']}; see `mesh logs --node {node['node']}`", err=True
            )
        else:
            click.echo(f"{node['node']} {words}", err=True)
    if failed and do != "stop":
        sys.exit(FAILED)


def _own_names(folder: Path, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """Return names for names and aliases; what is neither stays, and the fleet says so."""
    from factory.supervised import grid_file
    from mesh.errors import GridError
    from mesh.gridfile.load import load

    grids = sorted(folder.glob("grid-*.yaml"), key=lambda file: file.stat().st_mtime)
    try:
        grid = load(grids[-1] if grids else grid_file(folder, 0))
    except GridError:
        return nodes
    return tuple(found.name if (found := grid.get(name)) is not None else name for name in nodes)


_NODES = click.argument("nodes", nargs=-1, required=True, metavar="NODE...", shell_complete=node_names)
_TIMEOUT = click.option(
    "--timeout", type=Duration(), default="30s", show_default=True, metavar="TIME", help="How long to wait."
)


@click.command()
@_NODES
@grid_option
@_TIMEOUT
@json_option
@explained
def stop(nodes: tuple[str, ...], path: Path | None, timeout: float, as_json: bool) -> None:
    """Stop nodes of the fleet until they are started again; the others go on."""
    _order("stop", "has stopped", nodes, path, timeout, as_json)


@click.command()
@_NODES
@grid_option
@_TIMEOUT
@json_option
@explained
def start(nodes: tuple[str, ...], path: Path | None, timeout: float, as_json: bool) -> None:
    """Start nodes of the fleet that were stopped or given up; returns when they are ready."""
    _order("start", "is ready", nodes, path, timeout, as_json)


@click.command()
@_NODES
@grid_option
@_TIMEOUT
@json_option
@explained
def restart(nodes: tuple[str, ...], path: Path | None, timeout: float, as_json: bool) -> None:
    """Stop nodes of the fleet and start them again; returns when they are ready."""
    _order("restart", "is ready", nodes, path, timeout, as_json)


@click.command("is-ready")
@click.argument("nodes", nargs=-1, metavar="[NODE]...", shell_complete=node_names)
@grid_option
@click.option("--wait", is_flag=True, help="Wait until they are, or are given up.")
@click.option(
    "--timeout", type=Duration(), default="30s", show_default=True, metavar="TIME", help="How long to wait."
)
@json_option
@explained
def is_ready(nodes: tuple[str, ...], path: Path | None, wait: bool, timeout: float, as_json: bool) -> None:
    """Tell whether the fleet is ready, all of it or some nodes.

    A node that is stopped by a signal, or does not answer, is not ready.

    Exits with 0 if it is, with 1 if it is not, with 4 if no fleet is up, and with 124 if it
    did not become ready within the time of --wait, or the supervisor does not answer.
    """
    import asyncio

    from factory.fleet import asking
    from factory.looking.budget import patience
    from factory.looking.survey import silent

    end = time.monotonic() + timeout
    given = grid_path(path)
    folder = asking.wait_until_there(given, timeout) if wait else asking.find(given)[0]
    names = _own_names(folder, nodes)
    status: dict[str, Any] = asking.ask(folder, "status", names, timeout=timeout)
    if wait and not _all_ready(status, names):
        status = asking.ask(folder, "wait", names, timeout=max(LEAST, end - time.monotonic()))
    left = max(LEAST, end - time.monotonic())
    about = _about(status, names)
    frozen = asyncio.run(silent(about, left if wait else min(left, patience(THOROUGH))))
    ready = _all_ready(status, names) and not frozen
    if as_json:
        answered = [{**node, "frozen": frozen.get(node["node"])} for node in about]
        document = {"ready": ready, "rolled_back": status["rolled_back"], "nodes": answered}
        click.echo(json.dumps(document))
    tell_roll_back(status)
    for node in about:
        if node["node"] in frozen:
            click.echo(f"{node['node']} {frozen[node['node']]}", err=True)
        if node["state"] not in ("ready", "done"):
            why = f" ({node['why']})" if node["why"] else ""
            click.echo(f"{node['node']} is {node['state']}{why}", err=True)
    sys.exit(0 if ready else FAILED)


def tell_roll_back(status: dict[str, Any]) -> None:
    """Say that what a fleet runs is not what was saved last, if that is so."""
    if status["rolled_back"]:
        click.echo(
            f"the grid was rolled back, for {status['rolled_back']}; its last good one runs, "
            "and saving the new one again tries it again",
            err=True,
        )


def _about(status: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [node for node in status["nodes"] if not names or node["node"] in names]


def _all_ready(status: dict[str, Any], names: tuple[str, ...]) -> bool:
    return all(node["state"] in ("ready", "done") for node in _about(status, names))


COMMANDS = (up, down, start, stop, restart, is_ready)
