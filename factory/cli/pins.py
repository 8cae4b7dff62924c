"""``mesh pins``, ``mesh pin`` and ``mesh vcd``: boards, from the shell."""

from __future__ import annotations

import signal as signals
from datetime import datetime
from pathlib import Path

import click

import mesh
from factory.cli.boards import boards_of, connected, run, writing
from factory.cli.shared import code_of
from mesh.text import listing, printable

_SIGNALS = ("level", "pwm", "servo", "tone", "mode", "analog")


def _split(pin: str) -> tuple[str, str]:
    board, dot, ref = pin.rpartition(".")
    # What has a colon is the end of an address: ws://127.0.0.1:8770.
    if not dot or not board or not ref or ":" in ref or "/" in ref:
        example = f"{pin.rstrip('/')}.13" if "://" in pin else "uno.13"
        raise click.UsageError(f"{pin!r} is no pin; write BOARD.PIN, as in {example}")
    return board, ref


@click.command()
@click.argument("boards", nargs=-1, metavar="[BOARD]...")
@click.pass_context
def pins(ctx: click.Context, boards: tuple[str, ...]) -> None:
    """Draw boards with their live levels: those named, or all of the grid.

    A BOARD is the name of a node, or a URI such as ws://localhost:8770. Exits with 4 if one of them is down
    or unknown, with 1 if one is no board; the others are drawn all the same.
    """
    import asyncio

    from factory.boards.drawing import draw
    from factory.boards.io.reading import words_of

    codes = [0]

    async def look(name: str) -> str:
        try:
            async with connected(name, ctx.obj) as peer:
                return draw(name, await peer.request("", "pins"))
        except (mesh.DeliveryError, mesh.UnknownNodeError) as exc:
            codes.append(code_of(exc))
            state = "down" if isinstance(exc, mesh.PeerDownError) else "not drawn"
            return printable(f"{name}: {state} ({words_of(exc)})")

    async def show() -> list[str]:
        # At once: one that is down takes its time.
        return await asyncio.gather(*(look(name) for name in boards or boards_of(ctx.obj)))

    for drawn in run(show()):
        click.echo(drawn)
    ctx.exit(max(codes))


@click.group()
def pin() -> None:
    """Read, write and watch one pin, written as BOARD.PIN: uno.13; or unplug the whole board."""


@pin.command()
@click.argument("pin", metavar="BOARD.PIN")
@click.pass_context
def get(ctx: click.Context, pin: str) -> None:
    """Print what a pin is at: level, analog value, duty or angle, by its mode; and if its board is lost."""
    from factory.boards.drawing import value_of

    board, ref = _split(pin)

    async def ask() -> str:
        async with connected(board, ctx.obj) as peer:
            state = await peer.request("", f"pin/{ref}/state")
        unset = f"unset (net at {state['net']})" if "net" in state else "unset"
        value = value_of(state) or unset
        lost = state.get("lost")
        return f"{value} ({board} is lost: {printable(lost)})" if lost else value

    click.echo(run(ask()))


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
        async with connected(board, ctx.obj) as peer:
            await peer.request(value, channel)

    run(send())


@pin.command()
@click.argument("pin", metavar="BOARD.PIN")
@click.option("--ms", type=click.IntRange(1, 60_000), default=100, help="How long.  [default: 100]")
@click.option("--force", is_flag=True, help="Even if somebody else owns the pin.")
@click.pass_context
def pulse(ctx: click.Context, pin: str, ms: int, force: bool) -> None:
    """Turn a pin to its other level and back; the board itself times it."""
    board, ref = _split(pin)

    async def send() -> None:
        async with connected(board, ctx.obj) as peer:
            await peer.request(ms, f"pin/{ref}/pulse{'/force' if force else ''}")

    run(send())


@pin.command()
@click.argument("board")
@click.pass_context
def unplug(ctx: click.Context, board: str) -> None:
    """Take the power from a simulated BOARD: nothing drives anything, and who writes is told."""
    _power(board, ctx.obj, "0")


@pin.command()
@click.argument("board")
@click.pass_context
def plug(ctx: click.Context, board: str) -> None:
    """Give a simulated BOARD its power back: modes as before, outputs at their fail-safe level."""
    _power(board, ctx.obj, "1")


def _power(board: str, path: Path | None, power: str) -> None:
    async def send() -> None:
        async with connected(board, path) as peer:
            await peer.request(power, "power")

    run(send())


@pin.command()
@click.argument("pin", metavar="BOARD.PIN")
@click.option("--count", type=click.IntRange(1), help="End after so many changes.")
@click.pass_context
def watch(ctx: click.Context, pin: str, count: int | None) -> None:
    """Print each change of a pin from now on, with its time in seconds.

    A board that goes away is waited for; that, and that it has started anew, is said.
    """
    import asyncio

    from factory.boards.following import Follower
    from factory.boards.io.reading import follow

    board, ref = _split(pin)

    def note(words: str) -> None:
        click.echo(f"({words})")

    async def print_changes() -> None:
        left = count
        async with connected(board, ctx.obj) as peer:
            state = await peer.request("", f"pin/{ref}/state")
            async for news in follow(peer, Follower(state), asyncio.Event(), note):
                if news.anew:
                    note("the board started anew; what it did before that and was not read is lost")
                if news.missed:
                    note(f"{news.missed} changes of the board were missed")
                for _, time, number, signal, value in news.edges:
                    if number == state["number"]:
                        click.echo(f"{time:.6f} {signal} {value}")
                        left = left - 1 if left else None
                        if left == 0:
                            return

    run(print_changes())


@click.command()
@click.argument("board", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option("--follow", "follows", is_flag=True, help="Go on until Ctrl-C.")
@click.pass_context
def vcd(ctx: click.Context, board: str | None, output: Path, follows: bool) -> None:
    """Write what the pins of a BOARD did as a VCD file, for GTKWave or PulseView.

    BOARD may be left out if the grid has one only.
    """
    click.echo(run(_write_vcd(board or _only_board(ctx.obj), output, ctx.obj, follows=follows)))


def _only_board(path: Path | None) -> str:
    first, *others = boards_of(path)
    if others:
        known = listing((first, *others), "or")
        raise click.UsageError(f"the grid has several boards; name one: {known}")
    return first


async def _write_vcd(name: str, output: Path, path: Path | None, *, follows: bool) -> str:
    import asyncio

    from factory.boards.following import Follower
    from factory.boards.io.reading import follow, read
    from factory.boards.vcd import VcdWriter, date_text

    now = datetime.now().astimezone()
    date = date_text(now.year, now.month, now.day, now.strftime("%H:%M:%S"))
    stop = asyncio.Event()
    count = 0
    async with connected(name, path) as peer:
        state = await peer.request("", "pins")
        follower = Follower(state, 0)
        if follows:
            # What was written until then is whole, so Ctrl-C is a good end.
            asyncio.get_running_loop().add_signal_handler(signals.SIGINT, stop.set)
            logged = follow(peer, follower, stop, lambda words: click.echo(words, err=True))
        else:
            logged = read(peer, follower)
        # By its address a board has no name, so by its kind.
        scope = state["board"] if "://" in name else name
        writer = VcdWriter(scope, [pin["name"] for pin in state["pins"]], date)
        with writing(output), output.open("w", encoding="ascii", newline="\n") as file:
            file.write(writer.header())
            async for news in logged:
                file.write(writer.anew() if news.anew else "")
                file.write(writer.changes(news.edges, news.missed))
                file.flush()
                count += len(news.edges)
    return f"{output}: {count} changes of {name}"


COMMANDS = [pins, pin, vcd]
