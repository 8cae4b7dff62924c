"""``mesh list``, ``info``, ``ledger``, ``ping`` and ``graph``: how the nodes are, now."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from factory.cli.shared import (
    LOSS,
    NO_ANSWER,
    NOT_REACHED,
    Duration,
    code_of,
    explained,
    grid_option,
    json_option,
    node_names,
    of_fleet,
    what_runs,
)
from mesh.text import printable

if TYPE_CHECKING:
    from factory.looking.pinging import Pong
    from factory.looking.places import Place
    from factory.looking.survey import Seen

_TIMEOUT = click.option(
    "--timeout", type=Duration(), default="2s", show_default=True, metavar="TIME", help="How long to wait."
)
_NODES = click.argument("nodes", nargs=-1, metavar="[NODE]...", shell_complete=node_names)


def _survey(path: Path | None, places: list[Place], timeout: float | None = None) -> list[Seen]:
    """Return how nodes are, within what a command has time for if no other time is given."""
    import asyncio

    from factory.looking.budget import left_now
    from factory.looking.fleets import explain
    from factory.looking.places import prepare
    from factory.looking.survey import survey

    prepare(places)

    async def ask() -> list[Seen]:
        within = timeout or left_now()
        seen: list[Seen]
        seen, (fleet, silent) = await asyncio.gather(survey(places, within), of_fleet(path, within))
        if silent is not None:
            click.echo(str(silent), err=True)
        explain(seen, fleet)
        return seen

    return asyncio.run(ask())


@click.command("list")
@grid_option
@json_option
@explained
def list_(path: Path | None, as_json: bool) -> None:
    """Show every node of the grid, and every other worker that runs on this machine.

    However a worker was started, it is there. A node is up, frozen (it runs and does not
    answer), linked (known by its link with another one) or down; of one that is down its fleet may
    know that it is starting, has failed (the fleet has given it up) or is done (it has ended well).
    """
    rows = [one.as_dict() for one in _survey(path, what_runs(path))]
    if as_json:
        click.echo(json.dumps(rows))
        return
    from factory.cli.tables import show
    from factory.cli.units import span

    show(
        ("NODE", "STATE", "WHERE", "#PID", "#UPTIME", "#LINKS", "SKETCH", "NOTE"),
        [
            (
                row["node"],
                row["state"],
                row["where"],
                row["pid"],
                span(row["uptime"]),
                None if row["links"] is None else f"{row['links_up']}/{row['links']}",
                row["sketch"],
                row["why"] or "",
            )
            for row in rows
        ],
        aside=True,
    )


@click.command()
@click.argument("node", shell_complete=node_names)
@grid_option
@_TIMEOUT
@json_option
@explained
def info(node: str, path: Path | None, timeout: float, as_json: bool) -> None:
    """Show what a node says of itself: its channels, rhythms, links and subscriptions."""
    import asyncio

    from factory.looking.places import asking, place

    found = place(node, what_runs(path))

    async def ask() -> dict[str, Any]:
        async with asking(found, timeout) as questions:
            answer: dict[str, Any] = await questions.request("$info", timeout=timeout)
            return answer

    facts = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps(facts))
        return
    for key, value in facts.items():
        if key in ("links", "subscriptions"):
            continue
        click.echo(f"{key.replace('_', ' ') + ':':<12} {_words(key, value)}")
    for link in facts["links"]:
        why = f" ({link['why']})" if link["why"] else ""
        way = "to" if link["dialled"] else "from"
        where = f" at {link['where']}" if link["where"] else ""
        words = f"{way} {link['peer']}{where}: {link['state']}{why}"
        click.echo(f"{'link:':<12} {printable(words)}")
    for one in facts["subscriptions"]:
        words = f"{one['channel']} of {one['source']} ({one['policy']}, {one['limit']})"
        click.echo(f"{'subscribes:':<12} {printable(words)}")


def _words(key: str, value: Any) -> str:
    from factory.cli.units import size_words, time_words

    if value is None:
        return "-"
    if key in ("uptime", "cpu"):
        return time_words(value)
    if key == "memory":
        return size_words(value)
    if isinstance(value, list):
        return printable(", ".join(map(str, value))) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


@click.command()
@_NODES
@grid_option
@_TIMEOUT
@json_option
@explained
def ledger(nodes: tuple[str, ...], path: Path | None, timeout: float, as_json: bool) -> None:
    """Show what became of every message, by node, peer and channel.

    Exits with 3 if a line does not balance: a message was lost inside a worker.
    """
    import asyncio

    from factory.looking.books import books, rows_of
    from factory.looking.places import chosen

    found = asyncio.run(books(chosen(nodes, what_runs(path)), timeout))
    if as_json:
        click.echo(json.dumps(found))
    else:
        from factory.cli.tables import show

        columns = (
            "NODE",
            "PEER",
            "WAY",
            "CHANNEL",
            "#TOTAL",
            "#DONE",
            "#REFUSED",
            "#LOST",
            "#OPEN",
            "BALANCE",
        )
        show(columns, [row for one in found for row in rows_of(one)])
        for one in found:
            if one["why"]:
                click.echo(f"{one['node']}: {one['why']}", err=True)
    if any(one["balanced"] is False for one in found):
        sys.exit(LOSS)


@click.command()
@_NODES
@grid_option
@click.option(
    "-c", "count", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="How often."
)
@click.option(
    "--interval",
    type=Duration(),
    default="1s",
    show_default=True,
    metavar="TIME",
    help="From one to the next.",
)
@_TIMEOUT
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each answer.")
@explained
def ping(
    nodes: tuple[str, ...], path: Path | None, count: int, interval: float, timeout: float, as_json: bool
) -> None:
    """Measure how long nodes take to answer, at the door where others reach them.

    Without a name, of all nodes of the grid. Exits with 4 if one is down, with 124 if one does not
    answer, and with 3 if one answers only sometimes.
    """
    from factory.cli.streaming import run_until_stopped
    from factory.looking.pinging import ping_all
    from factory.looking.places import chosen

    found = chosen(nodes, what_runs(path))
    width = max((len(place.name) for place in found), default=0)

    def tell(pong: Pong) -> None:
        if as_json:
            click.echo(json.dumps(pong.as_dict()))
        elif pong.error is None:
            click.echo(f"{printable(pong.node):<{width}}  {pong.seconds * 1000:.2f} ms")
        else:
            # The sentence begins with the node, which stands there already.
            why = str(pong.error).removeprefix(f"{pong.node} ")
            click.echo(f"{printable(pong.node):<{width}}  {why}", err=True)

    pongs = run_until_stopped(ping_all(found, count, interval, timeout, tell))
    # Ctrl-C is how one ends looking on; that is no failure.
    sys.exit(0 if pongs is None else _code(pongs))


def _code(pongs: list[list[Pong]]) -> int:
    codes = []
    for mine in pongs:
        errors = [pong.error for pong in mine if pong.error is not None]
        codes.append(0 if not errors else LOSS if len(errors) < len(mine) else code_of(errors[0]))
    return next((code for code in (NOT_REACHED, NO_ANSWER, LOSS) if code in codes), max(codes, default=0))


@click.command()
@grid_option
@click.option(
    "--format",
    "how",
    type=click.Choice(["ascii", "mermaid", "json"]),
    default="ascii",
    show_default=True,
    help="For a terminal, for a document, for a program.",
)
@click.option(
    "--timeout",
    type=Duration(),
    metavar="TIME",
    help="How long to wait for all nodes together.  [default: half a second]",
)
@click.option("--json", "how", flag_value="json", help="The same as --format json.")
@explained
def graph(path: Path | None, how: str, timeout: float | None) -> None:
    """Show who talks to whom: what the grid says, and the links that there are."""
    from factory.looking import graph as drawing
    from factory.looking.places import own

    seen = _survey(path, own(what_runs(path)), timeout)
    edges = drawing.edges(seen)
    draw = {"ascii": drawing.as_ascii, "mermaid": drawing.as_mermaid, "json": drawing.as_json}[how]
    click.echo(draw(seen, edges))


COMMANDS = (list_, info, ledger, ping, graph)
