"""``mesh test``: scenarios, from the shell."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import click

import mesh
from factory.cli.boards import connected, run, writing
from factory.cli.shared import FAILED, USAGE

if TYPE_CHECKING:
    from factory.scenarios import Outcome, Step


@click.command("test")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--junit", type=click.Path(path_type=Path), help="Write the outcome as JUnit XML, too.")
@click.pass_context
def run_scenarios(ctx: click.Context, files: tuple[Path, ...], junit: Path | None) -> None:
    """Carry out scenarios: what is done to boards, and what has to come of it.

    Exits with 0 if all is as expected, with 1 if something is not, with 2 if a FILE is no scenario.
    """
    from factory.scenarios import junit_xml

    scenarios = _read(files)
    if scenarios is None:
        ctx.exit(USAGE)
    if junit is not None:
        # Who cannot write it is to know before boards are busy for minutes.
        with writing(junit):
            junit.write_bytes(b"")
    outcomes: list[Outcome] = []
    for file, steps in scenarios:
        outcomes.append(run(_carry_out(str(file), steps, ctx.obj)))
        click.echo(str(outcomes[-1]))
    failed = sum(outcome.failure is not None for outcome in outcomes)
    click.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    if junit is not None:
        with writing(junit):
            junit.write_bytes(junit_xml(outcomes))
    ctx.exit(FAILED if failed else 0)


def _read(files: tuple[Path, ...]) -> list[tuple[Path, list[Step]]] | None:
    """Return the steps of each file, or say what is wrong with those that are no scenario."""
    from factory.scenarios import read_scenario

    scenarios: list[tuple[Path, list[Step]]] = []
    for file in files:
        try:
            scenarios.append((file, read_scenario(file.read_bytes(), str(file))))
        except mesh.GridError as exc:
            click.echo(f"Error: {exc}", err=True)
        except OSError as exc:
            click.echo(f"Error: {file} cannot be read: {exc.strerror}", err=True)
    return scenarios if len(scenarios) == len(files) else None


async def _carry_out(name: str, steps: list[Step], path: Path | None) -> Outcome:
    from factory.scenarios import Boards, Outcome, ScenarioFailedError, carry_out

    begun = monotonic()
    failure: str | None = None
    async with Boards(lambda board: connected(board, path)) as boards:
        try:
            await carry_out(steps, boards)
        except ScenarioFailedError as exc:
            failure = f"{exc.step}: {exc}"
    return Outcome(name, len(steps), monotonic() - begun, failure)


COMMANDS = [run_scenarios]
