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
    all_places,
    explained,
    grid_option,
    node_and_channel,
    node_channels,
    node_names,
    pattern,
)
from mesh.text import printable

if TYPE_CHECKING:
    pass

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
    import asyncio

    from factory.looking.watching import first_of, watch_all

    wanted = [node_and_channel(target, path) for target in targets]
    watched = [(found, {"channel": channel or None, "acks": acks}) for found, channel in wanted]
    shown = _Shown(count, only, as_json=as_json)

    async def main() -> None:
        looking = asyncio.create_task(watch_all(watched, "$tap", _began, shown.part))
        await first_of([looking, asyncio.create_task(shown.say_now_and_then())])

    _until_enough(main(), timeout)
    shown.say_skipped()
    if timeout is not None and shown.rows < (count or 1) and not shown.is_stopped:
        click.echo(f"Error: {shown.rows} of {count or 1} rows came within {timeout:g} s", err=True)
        sys.exit(NO_ANSWER)


def _began(node: str) -> None:
    click.echo(f"looking on at {printable(node)}; Ctrl-C ends it", err=True)


def _until_enough(main: Coroutine[Any, Any, None], timeout: float | None) -> None:
    import asyncio

    from factory.cli.streaming import run_until_stopped

    async def limited() -> None:
        with suppress(_Enough):
            limit = asyncio.timeout(timeout)
            try:
                async with limit:
                    await main
            except TimeoutError:
                if not limit.expired():
                    raise

    run_until_stopped(limited())


class _Shown:
    """Prints rows, and counts what was skipped.

    Attributes:
        rows: How many were printed.
        is_stopped: Whether it ended because there were enough.

    """

    def __init__(self, count: int | None, only: re.Pattern[str] | None, *, as_json: bool) -> None:
        self.rows = 0
        self.is_stopped = False
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
                self.is_stopped = True
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
@click.option("--once", is_flag=True, help="Measure once, then end.")
@_LINES
@explained
def hz(targets: tuple[str, ...], path: Path | None, window: float, once: bool, as_json: bool) -> None:
    """Show how many messages a second go through channels: into handlers (<), published (>).

    Without a name, those of all nodes that run here. All are counted, also at full speed.
    """
    import asyncio

    from factory.looking.watching import first_of, watch_all

    wanted = [node_and_channel(target, path) for target in targets] or [
        (found, "") for found in all_places(path) if found.record is not None
    ]
    watched = [(found, {"channel": channel or None, "rows": False}) for found, channel in wanted]
    counts: dict[tuple[str, str, str], int] = {}
    left = {found.name for found, _ in watched}
    all_there = asyncio.Event()

    def began(node: str) -> None:
        _began(node)
        left.discard(node)
        if not left:
            all_there.set()

    def part(node: str, part: dict[str, Any]) -> None:
        for way, channel, count in part["counts"]:
            key = (node, way, channel)
            counts[key] = counts.get(key, 0) + count

    async def measure() -> None:
        await all_there.wait()
        while True:
            begin = time.monotonic()
            await asyncio.sleep(window)
            tell(time.monotonic() - begin)
            if once:
                raise _Enough

    def tell(took: float) -> None:
        for node, way, channel in sorted(counts):
            count = counts[node, way, channel]
            counts[node, way, channel] = 0
            _tell_rate(node, way, channel, count, took, as_json=as_json)
        if not counts:
            click.echo(f"nothing came within {window:g} s", err=True)

    async def main() -> None:
        tasks = [
            asyncio.create_task(watch_all(watched, "$tap", began, part)),
            asyncio.create_task(measure()),
        ]
        await first_of(tasks)

    if not watched:
        click.echo("no node runs here; `mesh list` shows all", err=True)
        return
    _until_enough(main(), None)


def _where(node: str, channel: str) -> str:
    """Return a channel as one types it."""
    return f"{node}/{channel}" if channel else node


def _tell_rate(node: str, way: str, channel: str, count: int, took: float, *, as_json: bool) -> None:
    rate = count / took
    if as_json:
        found = {"node": node, "way": way, "channel": channel, "count": count, "hz": round(rate, 3)}
        click.echo(json.dumps(found))
    else:
        click.echo(f"{way} {printable(_where(node, channel))}  {rate:,.1f}/s")


@click.command()
@click.argument("node", shell_complete=node_names)
@grid_option
@click.option("-n", "count", type=click.IntRange(min=1), metavar="N", help="End after so many lines.")
@_LINES
@explained
def wire(node: str, path: Path | None, count: int | None, as_json: bool) -> None:
    """Show what goes over the links of a node that runs, with those that begin meanwhile."""
    from factory.looking.watching import watch

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

    _until_enough(watch(found, "$wire", None, _began, part), None)


COMMANDS = (echo, hz, wire)
