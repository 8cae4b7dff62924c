"""``mesh top``: the nodes on a live screen."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from factory.cli.shared import Duration, explained, grid_option, json_option, what_runs

ORDERS = ("name", "cpu", "memory", "rate", "queue")


@click.command()
@grid_option
@click.option(
    "--every", type=Duration(), default="1s", show_default=True, metavar="TIME", help="From look to look."
)
@click.option("--once", is_flag=True, help="Look once, print a table, and end.")
@click.option("--sort", "by", type=click.Choice(ORDERS), default="name", show_default=True, help="Order.")
@json_option
@explained
def top(path: Path | None, every: float, once: bool, by: str, as_json: bool) -> None:
    """Show the nodes on a live screen: processor, memory, messages a second, queues.

    Where there is no terminal it looks once.
    """
    import asyncio

    from factory.cli.streaming import run_until_stopped
    from factory.cli.tables import show
    from factory.cli.topscreen import COLUMNS, Screen, cells
    from factory.looking.budget import WITHIN, patience
    from factory.looking.places import own
    from factory.looking.topping import Top, ordered

    if once or as_json or not (sys.stdout.isatty() and sys.stdin.isatty()):
        rows = ordered(asyncio.run(Top(patience(WITHIN)).look_twice(own(what_runs(path)), every)), by)
        if as_json:
            click.echo(json.dumps([asdict(row) for row in rows]))
        else:
            show(COLUMNS, [cells(row) for row in rows])
        return
    run_until_stopped(Screen(path, every, by).run())


COMMANDS = (top,)
