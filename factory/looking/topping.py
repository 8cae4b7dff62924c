"""What ``mesh top`` shows: how the nodes are, and how much they did since the last look."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.looking.books import books, lines_of
from factory.looking.budget import WITHIN
from factory.looking.places import Place, prepare
from factory.looking.survey import Seen, survey

_IN = ("received", "subscribed")
_TOTALS = {"sent": "sent", "received": "received", "published": "published", "subscribed": "values"}
_OPEN = {"sent": "in_flight", "received": "in_hand", "published": "pending"}


@dataclass(frozen=True)
class Row:
    """One node.

    Attributes:
        node: Its name.
        state: How it is.
        pid: Its process, if it is known.
        cpu: Percent of one core since the last look; ``None`` before there were two.
        memory: Bytes that it holds.
        restarts: How often its fleet has started it again.
        came: Messages a second that came.
        went: Messages a second that it sent and published.
        queue: Messages that wait, in hand or in flight.
        uptime: Seconds that it has run.

    """

    node: str
    state: str
    pid: int | None
    cpu: float | None
    memory: int | None
    restarts: int | None
    came: float | None
    went: float | None
    queue: int | None
    uptime: float | None


_Look = tuple[float, float, int, int]
"""When it was, processor seconds, messages that had come and gone."""


class Top:
    """Looks at nodes again and again.

    Args:
        within: Seconds in which all of them together are to answer.

    """

    def __init__(self, within: float = WITHIN) -> None:
        self._within = within
        self._before: dict[int, _Look] = {}

    async def look(self, places: Sequence[Place]) -> list[Row]:
        """Return a row for each node."""
        prepare(places)
        seen, ledgers = await asyncio.gather(survey(places, self._within), books(places, self._within))
        now = time.monotonic()
        before, self._before = self._before, {}
        # Those that are known by a link alone have no ledger.
        ledgers += [None] * (len(seen) - len(ledgers))
        return [self._row(one, book, now, before) for one, book in zip(seen, ledgers, strict=True)]

    async def look_twice(self, places: Sequence[Place], pause: float) -> list[Row]:
        """Return a row for each node, with rates: they need two looks."""
        await self.look(places)
        await asyncio.sleep(pause)
        return await self.look(places)

    def _row(
        self,
        one: Seen,
        book: dict[str, Any] | None,
        now: float,
        before: dict[int, _Look],
    ) -> Row:
        facts = one.as_dict()
        info, pid = one.info, facts["pid"]
        cpu = came = went = queue = None
        if info and book is not None and book["balanced"] is not None:
            lines = list(lines_of(book))
            into = sum(line[_TOTALS[way]] for _, way, _, line in lines if way in _IN)
            out = sum(line[_TOTALS[way]] for _, way, _, line in lines if way not in _IN)
            queue = sum(line.get(_OPEN.get(way, ""), 0) for _, way, _, line in lines)
            last = before.get(pid)
            if last is not None and now > last[0]:
                took = now - last[0]
                cpu = max(0.0, (info["cpu"] - last[1]) / took * 100)
                came, went = max(0, into - last[2]) / took, max(0, out - last[3]) / took
            self._before[pid] = (now, info["cpu"], into, out)
        return Row(
            node=one.place.name,
            state=one.state.value,
            pid=pid,
            cpu=cpu,
            memory=info.get("memory"),
            restarts=max(0, info["run"] - 1) if info.get("run") else None,
            came=came,
            went=went,
            queue=queue,
            uptime=info.get("uptime"),
        )


def ordered(rows: Sequence[Row], by: str) -> list[Row]:
    """Return rows by ``name``, or by ``cpu``, ``memory``, ``rate`` or ``queue`` with the most first."""
    if by == "name":
        return sorted(rows, key=lambda row: _natural(row.node))

    def measure(row: Row) -> float:
        if by == "rate":
            return (row.came or 0) + (row.went or 0)
        return getattr(row, by) or 0

    return sorted(rows, key=lambda row: (-measure(row), _natural(row.node)))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts ``n2`` before ``n10``."""
    # Behind each number stands its text again, for names that differ by zeros alone.
    return [(int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]
