"""``mesh pub``, ``request`` and ``reply``: messages from the shell, and a node that answers them there."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from factory.cli.shared import (
    FAILED,
    LOSS,
    USAGE,
    Duration,
    explained,
    grid_in_use,
    grid_option,
    node_and_channel,
    node_channels,
    node_names,
)

if TYPE_CHECKING:
    from factory.looking.places import Place
    from factory.looking.sending import Message, Outcome

_TIMEOUT = click.option(
    "--timeout",
    type=Duration(),
    default="5s",
    show_default=True,
    metavar="TIME",
    help="How long to wait for the node, and for each answer.",
)
_TEXT = click.option("--text", "is_text", is_flag=True, help="Send DATA as text, though it reads as JSON.")
_LINES = click.option("--json", "as_json", is_flag=True, help="One JSON object for each answer.")


@click.command()
@click.argument("to", metavar="NODE[/CHANNEL]", shell_complete=node_channels)
@click.argument("data", required=False)
@grid_option
@click.option(
    "-r", "--rate", type=click.FloatRange(0, min_open=True), metavar="HZ", help="Send it so often a second."
)
@click.option(
    "-t",
    "--times",
    type=click.IntRange(min=1),
    metavar="N",
    help="How often.  [default: 1; with -r for ever]",
)
@click.option("--stdin", is_flag=True, help="Send each line of standard input; also of `mesh echo --json`.")
@_TEXT
@_TIMEOUT
@_LINES
@explained
def pub(
    to: str,
    data: str | None,
    path: Path | None,
    rate: float | None,
    times: int | None,
    stdin: bool,
    is_text: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Send DATA to a handler of a node, and print its acknowledgement.

    DATA is sent as JSON if it is some, else as text. Of rows of `mesh echo --json` those that
    entered a handler (<) are sent, to their channel unless one is given.

    Exits with 1 if a message was refused, with 2 if a line of --stdin is broken, with 3 if what
    comes by it has a gap.
    """
    from factory.cli.feeding import BrokenLineError, Feed
    from factory.cli.streaming import run_until_stopped
    from factory.looking.sending import Message, hint, publish

    if (data is None) is not stdin:
        raise click.UsageError("give either DATA or --stdin")
    found, channel = node_and_channel(to, path)
    refusals: list[Outcome] = []
    feed = Feed(channel, is_text=is_text)

    async def same() -> AsyncGenerator[Message, None]:
        left = times if times is not None or rate is not None else 1
        while left is None or left > 0:
            yield Message(channel, _value(data or "", is_text=is_text))
            left = None if left is None else left - 1

    def tell(outcome: Outcome) -> None:
        if outcome.refusal is not None:
            refusals.append(outcome)
        _tell(found, outcome, as_json=as_json)

    async def main() -> None:
        messages = feed.messages() if stdin else same()
        async with aclosing(messages):
            await publish(found, messages, timeout, rate, tell)
        unknown = [one for one in refusals if one.refusal and one.refusal.type == "UnknownChannelError"]
        if unknown and (words := await hint(found, unknown[0].message.channel)):
            click.echo(f"channel {unknown[0].message.channel!r}{words}", err=True)

    try:
        run_until_stopped(main())
    except BrokenLineError as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(USAGE)
    if feed.left_out:
        click.echo(f"not sent: {feed.left_out}; only what entered a handler (<) is", err=True)
    if feed.gap:
        click.echo(f"Error: {feed.gap} messages were left out of what came on standard input", err=True)
    sys.exit(FAILED if refusals else LOSS if feed.gap else 0)


def _value(text: str, *, is_text: bool) -> Any:
    from factory.looking.rows import parsed

    return text if is_text else parsed(text)


def _tell(found: Place, outcome: Outcome, *, as_json: bool) -> None:
    from factory.looking.rows import data_fields, value_words

    refusal = outcome.refusal
    if as_json:
        told: dict[str, Any] = {"node": found.name, "channel": outcome.message.channel}
        if refusal is not None:
            told["refused"] = {"type": refusal.type, "message": refusal.reason}
        else:
            fields = data_fields(outcome.ack)
            told["ack"] = fields.get("data", fields)
        click.echo(json.dumps(told))
    elif refusal is not None:
        click.echo(f"Error: {value_words(str(refusal))}", err=True)
    else:
        click.echo(value_words(outcome.ack))


@click.command()
@click.argument("to", metavar="NODE[/CHANNEL]", shell_complete=node_channels)
@click.argument("data", default="null")
@grid_option
@_TEXT
@_TIMEOUT
@_LINES
@explained
def request(to: str, data: str, path: Path | None, is_text: bool, timeout: float, as_json: bool) -> None:
    """Send DATA to a node and print the answer; if it comes in parts, a line for each.

    Exits with 1 if it is refused, with 4 if the node is not there, with 124 if no answer came.
    """
    from factory.cli.streaming import run_until_stopped
    from factory.looking.rows import data_fields, value_words
    from factory.looking.sending import Message, parts
    from mesh.errors import AckTimeoutError

    found, channel = node_and_channel(to, path)

    async def main() -> None:
        message = Message(channel, _value(data, is_text=is_text))
        async with aclosing(parts(found, message, timeout)) as answer:
            try:
                async for part in answer:
                    click.echo(json.dumps(data_fields(part)) if as_json else value_words(part))
            except TimeoutError as exc:
                raise AckTimeoutError(found.name, timeout) from exc

    run_until_stopped(main())


@click.command()
@click.argument("node", shell_complete=node_names)
@click.argument("text", required=False)
@grid_option
@click.option("--echo", "is_echo", is_flag=True, help="Answer with the message itself.")
@click.option(
    "--command", metavar="CMD", help="Answer with what a shell command prints; it reads the message."
)
@click.option(
    "-p", "--port", type=click.IntRange(0, 65535), metavar="N", help="Where.  [default: the grid's]"
)
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="End after so many messages.")
@_LINES
@explained
def reply(
    node: str,
    text: str | None,
    path: Path | None,
    is_echo: bool,
    command: str | None,
    port: int | None,
    count: int | None,
    as_json: bool,
) -> None:
    """Stand in for a node: take its messages, print them, and answer with TEXT.

    NODE is one of the grid, or any name if --port is given.
    """
    import mesh
    from factory.looking.rows import data_fields, value_words
    from factory.looking.standin import Answers, stand_in

    if [text is not None, is_echo, command is not None].count(True) != 1:
        raise click.UsageError("give one of TEXT, --echo and --command CMD")
    grid = grid_in_use(path)
    me = grid.node(node) if port is None else grid.get(node) or mesh.Node(node)
    if port is None and not me.is_server:
        click.echo(f"Error: {me.name} has no port in the grid; give it one with --port", err=True)
        sys.exit(USAGE)

    def tell(channel: str, msg: Any, answer: Any) -> None:
        if as_json:
            click.echo(json.dumps({"node": me.name, "channel": channel, **data_fields(msg)}))
        else:
            where = value_words(channel) or "(default)"
            click.echo(f"{where}: {value_words(msg)} -> {value_words(answer)}")

    answers = Answers(text=text, command=command, count=count, tell=tell)
    sys.exit(stand_in(me, grid, port, answers, lambda words: click.echo(words, err=True)))


COMMANDS = (pub, request, reply)
