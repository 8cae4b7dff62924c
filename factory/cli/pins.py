"""``mesh pins``, ``mesh pin``, ``mesh vcd`` and ``mesh test``: boards, from the shell."""

from __future__ import annotations

import signal as signals
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import click

import mesh

if TYPE_CHECKING:
    import asyncio

    from factory.cli.outcome import Outcome
    from factory.scenario import Step

T = TypeVar("T")

POLL = 0.05
"""Seconds between two looks at what a board has logged."""

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_SIGNALS = ("level", "pwm", "servo", "tone", "mode", "analog")


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run some work, and turn what the mesh says into a sentence and an exit code."""
    # Late, as all that --help has no use for.
    import asyncio

    try:
        return asyncio.run(work)
    except mesh.NackedError as exc:
        raise click.ClickException(exc.reason) from exc
    except mesh.MeshError as exc:
        raise click.ClickException(str(exc)) from exc
    except KeyboardInterrupt:
        sys.exit(130)


@asynccontextmanager
async def _board(name: str, path: Path | None) -> AsyncIterator[mesh.Peer]:
    """Connect to a board by its name in the grid, or by its URI."""
    grid = None if "://" in name else mesh.grid(path)
    async with mesh.connect(name, grid=grid, patience=3.0) as peer:
        yield peer


def _split(pin: str) -> tuple[str, str]:
    board, dot, ref = pin.rpartition(".")
    if not dot or not board or not ref:
        raise click.UsageError(f"{pin!r} is no pin; write BOARD.PIN, as in uno.13")
    return board, ref


def _known_boards(path: Path | None) -> list[str]:
    names = [node.name for node in mesh.grid(path) if node.sketch == "board" and node.is_server]
    if not names:
        raise click.ClickException("the grid has no node with `sketch: board`; name one, or give its URI")
    return names


@click.command()
@click.argument("boards", nargs=-1, metavar="[BOARD]...")
@click.pass_context
def pins(ctx: click.Context, boards: tuple[str, ...]) -> None:
    """Draw boards with their live levels: those named, or all of the grid.

    A BOARD is the name of a node, or a URI such as ws://localhost:8770.
    """
    from factory.boards.drawing import draw

    async def show() -> None:
        for name in boards or _known_boards(ctx.obj):
            async with _board(name, ctx.obj) as peer:
                click.echo(draw(name, await peer.request("", "pins")))

    _run(show())


@click.group()
def pin() -> None:
    """Read, write and watch one pin, written as BOARD.PIN: uno.13."""


@pin.command()
@click.argument("pin", metavar="BOARD.PIN")
@click.pass_context
def get(ctx: click.Context, pin: str) -> None:
    """Print what a pin is at: level, analog value, duty or angle, by its mode."""
    from factory.boards.drawing import value_of

    board, ref = _split(pin)

    async def ask() -> str:
        async with _board(board, ctx.obj) as peer:
            return value_of(await peer.request("", f"pin/{ref}/state"))

    click.echo(_run(ask()) or "unset")


@pin.command("set")
@click.argument("pin", metavar="BOARD.PIN")
@click.argument("value")
@click.option(
    "--as", "signal", type=click.Choice(_SIGNALS), default="level", help="What to set.  [default: level]"
)
@click.option("--force", is_flag=True, help="Even if somebody else owns the pin.")
@click.pass_context
def set_pin(ctx: click.Context, pin: str, value: str, signal: str, force: bool) -> None:
    """Write a pin; an input is driven from outside, as if a button was pressed."""
    board, ref = _split(pin)
    channel = f"pin/{ref}/{signal}{'/force' if force else ''}"

    async def send() -> None:
        async with _board(board, ctx.obj) as peer:
            await peer.request(value, channel)

    _run(send())


@pin.command()
@click.argument("pin", metavar="BOARD.PIN")
@click.option("--ms", type=click.IntRange(1, 60_000), default=100, help="How long.  [default: 100]")
@click.option("--force", is_flag=True, help="Even if somebody else owns the pin.")
@click.pass_context
def pulse(ctx: click.Context, pin: str, ms: int, force: bool) -> None:
    """Turn a pin to its other level and back; the board itself times it."""
    board, ref = _split(pin)

    async def send() -> None:
        async with _board(board, ctx.obj) as peer:
            await peer.request(ms, f"pin/{ref}/pulse{'/force' if force else ''}")

    _run(send())


@pin.command()
@click.argument("pin", metavar="BOARD.PIN")
@click.option("--count", type=click.IntRange(1), help="End after so many changes.")
@click.pass_context
def watch(ctx: click.Context, pin: str, count: int | None) -> None:
    """Print each change of a pin from now on, with its time in seconds."""
    import asyncio

    board, ref = _split(pin)

    async def follow() -> None:
        left = count
        async with _board(board, ctx.obj) as peer:
            state = await peer.request("", f"pin/{ref}/state")
            async for edges, missed in _edges(peer, state["made"], asyncio.Event()):
                if missed:
                    click.echo(f"({missed} changes of the board were missed)")
                for _, time, number, signal, value in edges:
                    if number == state["number"]:
                        click.echo(f"{time:.6f} {signal} {value}")
                        left = left - 1 if left else None
                        if left == 0:
                            return

    _run(follow())


async def _edges(
    peer: mesh.Peer, since: int, stop: asyncio.Event | None
) -> AsyncIterator[tuple[list[list[Any]], int]]:
    """Give batches of edges after a number, each with how many before it are gone.

    Args:
        peer: The board.
        since: The number.
        stop: Set when there have been enough; ``None`` for those only that there are.

    """
    import asyncio

    while True:
        answer = await peer.request(since, "edges")
        edges = answer["edges"]
        since += answer["missed"] + len(edges)
        if edges or answer["missed"]:
            yield edges, answer["missed"]
        if since >= answer["made"]:
            if stop is None or stop.is_set():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await stop.wait()


@click.command()
@click.argument("board", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option("--follow", is_flag=True, help="Go on until Ctrl-C.")
@click.pass_context
def vcd(ctx: click.Context, board: str | None, output: Path, follow: bool) -> None:
    """Write what the pins of a BOARD did as a VCD file, for GTKWave or PulseView."""
    import asyncio

    from factory.boards.vcd import VcdWriter, date_text

    name = board or _known_boards(ctx.obj)[0]
    now = datetime.now().astimezone()
    date = date_text(now.year, now.month, now.day, now.strftime("%H:%M:%S"))

    async def write() -> int:
        count = 0
        stop = asyncio.Event() if follow else None
        if stop is not None:
            # What was written until then is whole, so Ctrl-C is a good end.
            asyncio.get_running_loop().add_signal_handler(signals.SIGINT, stop.set)
        async with _board(name, ctx.obj) as peer:
            state = await peer.request("", "pins")
            writer = VcdWriter(name.rpartition("/")[2], [pin["name"] for pin in state["pins"]], date)
            with output.open("w", encoding="ascii", newline="\n") as file:
                file.write(writer.header())
                async for edges, missed in _edges(peer, 0, stop):
                    file.write(writer.changes(edges, missed))
                    file.flush()
                    count += len(edges)
        return count

    click.echo(f"{output}: {_run(write())} changes")


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
    from factory.cli.outcome import junit_xml
    from factory.scenario import read_scenario

    try:
        scenarios = [(file, read_scenario(file.read_text(encoding="utf-8"), str(file))) for file in files]
    except mesh.GridError as exc:
        click.echo(f"Error: {exc}", err=True)
        ctx.exit(2)
    outcomes: list[Outcome] = []
    for file, steps in scenarios:
        outcome = _run(_carry_out(str(file), steps, ctx.obj))
        outcomes.append(outcome)
        click.echo(str(outcome))
    if junit is not None:
        junit.write_bytes(junit_xml(outcomes))
    failed = sum(outcome.failure is not None for outcome in outcomes)
    click.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    ctx.exit(1 if failed else 0)


async def _carry_out(name: str, steps: list[Step], path: Path | None) -> Outcome:
    from factory.cli.outcome import Outcome
    from factory.scenario import Run, ScenarioFailedError

    begun = monotonic()
    async with AsyncExitStack() as stack:
        peers: dict[str, mesh.Peer] = {}

        async def request(board: str, value: object, channel: str) -> Any:
            if board not in peers:
                peers[board] = await stack.enter_async_context(_board(board, path))
            return await peers[board].request(value, channel)

        run = Run(request)
        for step in steps:
            try:
                await run.step(step)
            except (ScenarioFailedError, mesh.MeshError) as exc:
                words = exc.reason if isinstance(exc, mesh.NackedError) else str(exc)
                return Outcome(name, len(steps), monotonic() - begun, f"{step}: {words}")
    return Outcome(name, len(steps), monotonic() - begun, None)


COMMANDS = [pins, pin, vcd, run_scenarios]
