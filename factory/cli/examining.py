"""``mesh doctor``: what is wrong, and what to type next."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

import mesh
from factory.cli.shared import FAILED, THOROUGH, all_places, explained, grid_option, json_option, of_fleet
from mesh.text import did_you_mean, printable

if TYPE_CHECKING:
    from factory.looking.doctor import Finding


NEXT_DIAL = 2.0
"""Seconds within which a node dials again whom it could not reach; see ``mesh.backoff``."""


def _codes(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from factory.looking.doctor import KINDS

    found = {code: kind[0] for code, kind in KINDS.items() if code.startswith(incomplete.upper())}
    return [CompletionItem(code, help=words) for code, words in found.items()]


@click.command()
@grid_option
@click.option("--explain", metavar="CODE", shell_complete=_codes, help="Tell more of one kind of finding.")
@json_option
@explained
def doctor(path: Path | None, explain: str | None, as_json: bool) -> None:
    """Look for what is wrong: in the grid, with the nodes, their links and ledgers.

    Exits with 1 if there is anything, a node that is down included.
    """
    if explain is not None:
        _explain(explain)
        return
    found, count = _examine(path)
    if any(one.code == "M4" for one in found):
        # Who has just come up is dialled at the next try, and that is no fault.
        time.sleep(NEXT_DIAL)
        found, count = _examine(path)
    if as_json:
        document = {"ok": not found, "nodes": count, "findings": [asdict(one) for one in found]}
        click.echo(json.dumps(document))
    else:
        for one in found:
            click.echo(f"{one.code}  {printable(one.what)}")
            click.echo(f"    next: {printable(one.next)}")
        if not found:
            click.echo(f"nothing is wrong with {'1 node' if count == 1 else f'{count} nodes'}")
    if found:
        click.echo(f"`mesh doctor --explain {found[0].code}` tells more", err=True)
        sys.exit(FAILED)


def _explain(code: str) -> None:
    from factory.looking.doctor import KINDS

    kind = KINDS.get(code.upper())
    if kind is None:
        raise click.UsageError(f"no finding has the code {code!r}{did_you_mean(code, KINDS)}")
    click.echo(f"{code.upper()}: {kind[0]}\n\n{click.wrap_text(kind[1], 78)}")


def _examine(path: Path | None) -> tuple[list[Finding], int]:
    import asyncio

    from factory.looking import doctor as rules
    from factory.looking.books import books
    from factory.looking.budget import patience
    from factory.looking.fleets import explain
    from factory.looking.places import own, prepare
    from factory.looking.survey import survey

    try:
        places = own(all_places(path))
    except mesh.GridError as exc:
        return rules.of_grid(exc), 0

    async def ask() -> Any:
        within = patience(THOROUGH)
        return await asyncio.gather(survey(places, within), books(places, within), of_fleet(path, within))

    prepare(places)
    seen, ledgers, (fleet, silent) = asyncio.run(ask())
    explain(seen, fleet)
    return rules.findings(seen, ledgers, fleet, silent), len(seen)


COMMANDS = (doctor,)
