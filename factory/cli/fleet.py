"""``mesh``: everything about the fleet."""

from __future__ import annotations

if __name__ == "__main__":  # before all that takes a while to be imported
    from factory.cli import starting

    starting.mesh()

from pathlib import Path

import click

from factory.cli import (
    certificates,
    checking,
    examining,
    logs,
    looking,
    making,
    pins,
    ring,
    running,
    scenarios,
    sending,
    topping,
    watching,
)
from factory.cli.printing import Printing
from factory.cli.shared import grid_option


@click.group("mesh", cls=Printing, context_settings={"help_option_names": ["-h", "--help"]})
@grid_option
@click.pass_context
def main(ctx: click.Context, path: Path | None) -> None:
    """Look after the nodes of a grid."""
    ctx.obj = path


for command in (
    *running.COMMANDS,
    *looking.COMMANDS,
    *sending.COMMANDS,
    *watching.COMMANDS,
    *topping.COMMANDS,
    *examining.COMMANDS,
    *making.COMMANDS,
    *logs.COMMANDS,
    *checking.COMMANDS,
    *pins.COMMANDS,
    *ring.COMMANDS,
    *scenarios.COMMANDS,
    *certificates.COMMANDS,
):
    main.add_command(command)
