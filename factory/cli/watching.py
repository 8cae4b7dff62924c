"""``mesh echo``, ``hz`` and ``wire``: what goes through nodes, as it goes."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from factory.cli.shared import (
    NO_ANSWER,
    Duration,
    explained,
    grid_option,
    node_and_channel,
    node_channels,
    node_names,
    pattern,
    what_runs,
)
from mesh.text import printable

if TYPE_CHECKING:
    from factory.looking.watching import Looking

SAY_EVERY = 1.0
"""Seconds between two words about what was skipped."""

_LINES = click.option("--json", "as_json", is_flag=True, help="One JSON object for each.")


class _Enough(Exception):  # noqa: N818 - the end that was asked for
    """As many came as were wanted."""


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="NODE[/CHANNEL]...", shell_complete=node_channels)
@grid_option
@click.option("--acks", is_flag=True, help="What the handlers have answered, too.")
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="End after so many rows.")
@click.option("--timeout", type=Duration(), metavar="TIME", help="End after that time.")
@click.option(
    "--filter", "only", callback=pattern, metavar="RE", help="Only rows that match a regular expression."
)
@_LINES
@explained
def echo(
    targets: tuple[str, ...],
    path: Path | None,
    acks: bool,
    count: int | None,
    timeout: float | None,
    only: re.Pattern[str] | None,
    as_json: bool,
) -> None:
    """Show the messages that enter the handlers of nodes (<), and what they publish (>).

    Where more come than can be shown without slowing the node down, some are, and the others
    are counted. The filter looks at channel and content: `CHANNEL CONTENT`.

    Exits with 124 if --timeout is over before a row came, or before -n rows did.
    """
    from factory.looking.watching import Looking

    wanted = [node_and_channel(target, path) for target in targets]
    watched = [(found, {"channel": channel or None, "acks": acks}) for found, channel in wanted]
    shown = _Shown(count, only, as_json=as_json)
    looking = Looking(watched, "$tap", _began, shown.part)
    is_over = _until_enough(looking.run(shown.say_now_and_then()), timeout)
    shown.say_skipped()
    if is_over:
        _judge(looking, shown.rows, count, timeout, "row")


def _began(node: str) -> None:
    click.echo(f"looking on at {printable(node)}; Ctrl-C ends it", err=True)


def _until_enough(main: Coroutine[Any, Any, None], timeout: float | None) -> bool:
    """Look until there is enough, the time is over, or Ctrl-C; return whether the time was over."""
    import asyncio

    from factory.cli.streaming import run_until_stopped

    is_over = False

    async def limited() -> None:
        nonlocal is_over
        with suppress(_Enough):
            limit = asyncio.timeout(timeout)
            try:
                async with limit:
                    await main
            except TimeoutError:
                if not limit.expired():
                    raise
                is_over = True

    run_until_stopped(limited())
    return is_over


def _judge(looking: Looking, came: int, count: int | None, timeout: float | None, what: str) -> None:
    """Fail if fewer came than were wanted before the time was over; at least one if no number was said."""
    wanted = count or 1
    if timeout is None or came >= wanted:
        return
    looking.check(timeout)
    words = f"{came} of {wanted} {what}{'' if wanted == 1 else 's'} came within {timeout:g} s"
    click.echo(f"Error: {words}", err=True)
    sys.exit(NO_ANSWER)


class _Shown:
    """Prints rows, and counts what was skipped.

    Attributes:
        rows: How many were printed.

    """

    def __init__(self, count: int | None, only: re.Pattern[str] | None, *, as_json: bool) -> None:
        self.rows = 0
        self._count = count
        self._only = only
        self._as_json = as_json
        self._skipped: dict[str, int] = {}

    def part(self, node: str, part: dict[str, Any]) -> None:
        """Print a part of what a tap gives."""
        from factory.looking.rows import object_of, words

        for row in part["rows"]:
            found = object_of(node, row)
            text = words(found)
            if self._only is not None and not self._only.search(f"{found['channel']} {text}"):
                continue
            if self._as_json:
                click.echo(json.dumps(found))
            else:
                where = _where(node, found["channel"])
                peer = f"  [{found['peer']}]" if found["peer"] else ""
                click.echo(f"{found['at'][11:23]} {found['way']} {printable(where)}  {text}{printable(peer)}")
            self.rows += 1
            if self.rows == self._count:
                raise _Enough
        if part["skipped"]:
            self._skipped[node] = self._skipped.get(node, 0) + part["skipped"]

    async def say_now_and_then(self) -> None:
        """Tell what was skipped, but not with each row."""
        import asyncio

        while True:
            await asyncio.sleep(SAY_EVERY)
            self.say_skipped()

    def say_skipped(self) -> None:
        """Tell what was skipped since the last time."""
        for node, skipped in self._skipped.items():
            if self._as_json:
                click.echo(json.dumps({"node": node, "skipped": skipped}))
            click.echo(f"{printable(node)}: {skipped} more came than could be shown", err=True)
        self._skipped.clear()


@click.command()
@click.argument("targets", nargs=-1, metavar="[NODE[/CHANNEL]]...", shell_complete=node_channels)
@grid_option
@click.option(
    "--window", type=Duration(), default="1s", show_default=True, metavar="TIME", help="Measure for so long."
)
@click.option("--once", is_flag=True, help="Measure once, then end; the same as -n 1.")
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="End after so many measurements.")
@click.option("--timeout", type=Duration(), metavar="TIME", help="End after that time.")
@_LINES
@explained
def hz(
    targets: tuple[str, ...],
    path: Path | None,
    window: float,
    once: bool,
    count: int | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Show how many messages a second go through channels: into handlers (<), published (>).

    Without a name, those of all nodes of the grid that run here. All are counted, also at full speed.

    Exits with 124 if --timeout is over before a measurement was done, or before -n were.
    """
    import asyncio

    from factory.looking.places import own
    from factory.looking.watching import Looking

    wanted = [node_and_channel(target, path) for target in targets] or [
        (found, "") for found in own(what_runs(path)) if found.record is not None
    ]
    if not wanted:
        click.echo("no node runs here; `mesh list` shows all", err=True)
        return
    watched = [(found, {"channel": channel or None, "rows": False}) for found, channel in wanted]
    rates = _Rates(window, as_json=as_json)
    looking = Looking(watched, "$tap", _began, rates.part)

    done = 0

    async def measure() -> None:
        nonlocal done
        left = 1 if once else count
        await looking.all_there.wait()
        while left is None or left > 0:
            begin = time.monotonic()
            await asyncio.sleep(window)
            rates.tell(time.monotonic() - begin)
            done += 1
            left = None if left is None else left - 1
        raise _Enough

    if _until_enough(looking.run(measure()), timeout):
        _judge(looking, done, 1 if once else count, timeout, "measurement")


class _Rates:
    """Counts messages by node, way and channel, and prints how many a second they were."""

    def __init__(self, window: float, *, as_json: bool) -> None:
        self._window = window
        self._as_json = as_json
        self._counts: dict[tuple[str, str, str], int] = {}

    def part(self, node: str, part: dict[str, Any]) -> None:
        """Count a part of what a tap gives."""
        for way, channel, count in part["counts"]:
            key = (node, way, channel)
            self._counts[key] = self._counts.get(key, 0) + count

    def tell(self, took: float) -> None:
        """Print the rates since the last time, that many seconds ago."""
        if not self._counts:
            click.echo(f"nothing came within {self._window:g} s", err=True)
        for key in sorted(self._counts):
            count, self._counts[key] = self._counts[key], 0
            self._tell(*key, count, count / took)

    def _tell(self, node: str, way: str, channel: str, count: int, rate: float) -> None:
        if self._as_json:
            found = {"node": node, "way": way, "channel": channel, "count": count, "hz": round(rate, 3)}
            click.echo(json.dumps(found))
        else:
            click.echo(f"{way} {printable(_where(node, channel))}  {rate:,.1f}/s")


def _where(node: str, channel: str) -> str:
    """Return a channel as one types it."""
    return f"{node}/{channel}" if channel else node


@click.command()
@click.argument("node", shell_complete=node_names)
@grid_option
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="End after so many lines.")
@click.option("--timeout", type=Duration(), metavar="TIME", help="End after that time.")
@_LINES
@explained
def wire(node: str, path: Path | None, count: int | None, timeout: float | None, as_json: bool) -> None:
    """Show what goes over the links of a node that runs, with those that begin meanwhile.

    Exits with 124 if --timeout is over before a line came, or before -n lines did.
    """
    from factory.looking.watching import Looking

    found, _ = node_and_channel(node, path)
    seen = 0

    def part(name: str, part: dict[str, Any]) -> None:
        nonlocal seen
        for line in part["lines"]:
            click.echo(json.dumps({"node": name, "text": line}) if as_json else printable(line))
            seen += 1
            if seen == count:
                raise _Enough
        if part["skipped"]:
            click.echo(f"{printable(name)}: {part['skipped']} more lines than could be shown", err=True)

    looking = Looking([(found, None)], "$wire", _began, part)
    if _until_enough(looking.run(), timeout):
        _judge(looking, seen, count, timeout, "line")


COMMANDS = (echo, hz, wire)
