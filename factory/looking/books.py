"""The ledgers of many nodes, as one table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from factory.looking.errors import NotReachedError, SilentNodeError
from factory.looking.places import Place, asking
from mesh.errors import MeshError, NackedError
from mesh.runtime import is_frozen

Row = tuple[object, ...]

# By way: what was to be done, what was done, what was refused, what is open; the rest is lost.
_WAYS = {
    "sent": ("sent", "acked", "in_flight"),
    "received": ("received", "handled", "in_hand"),
    "published": ("published", "delivered", "pending"),
    "subscribed": ("values", "values", ""),
}


async def books(places: Sequence[Place], timeout: float) -> list[dict[str, Any]]:
    """Return the ledger of each node, or why there is none.

    Each is ``{"node", "peers", "omitted", "balanced", "why"}``; ``balanced`` is ``None`` of a node
    that has not answered.
    """

    async def ask(place: Place) -> dict[str, Any]:
        none = {"node": place.name, "peers": {}, "omitted": 0, "balanced": None}
        if place.record is not None and is_frozen(place.record.pid):
            return {**none, "why": "frozen"}
        try:
            async with asyncio.timeout(timeout), asking(place, timeout, once=True) as node:
                found: dict[str, Any] = await node.request("$ledger", timeout=timeout)
        except NotReachedError:
            return {**none, "why": "down"}
        except (SilentNodeError, TimeoutError):
            return {**none, "why": "frozen"}
        except NackedError as exc:
            return {**none, "why": f"refused: {exc.reason}"}
        except MeshError as exc:
            return {**none, "why": str(exc)}
        balanced = all(line["balanced"] for _, _, _, line in lines_of(found))
        return {**found, "balanced": balanced, "why": None}

    return list(await asyncio.gather(*map(ask, places)))


def lines_of(book: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield peer, way, channel and line of a ledger."""
    for peer, ways in book["peers"].items():
        for way, channels in ways.items():
            for channel, line in channels.items():
                yield peer, way, channel, line


def rows_of(book: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows of a table: node, peer, way, channel, total, done, refused, lost, open, balance."""
    if book["balanced"] is None:
        yield (book["node"], None, book["why"].partition(":")[0], *[None] * 7)
        return
    for peer, way, channel, line in lines_of(book):
        total, done, open_ = _WAYS[way]
        yield (
            book["node"],
            peer,
            way,
            channel or "(default)",
            line[total],
            line[done],
            line.get("refused", 0),
            lost(way, line),
            line.get(open_, 0),
            "yes" if line["balanced"] else "NO",
        )


def lost(way: str, line: dict[str, Any]) -> int:
    """Return how many messages of a line did not get where they should have."""
    if way == "sent":
        return int(sum(line["failed"].values()) + line["cancelled"])
    if way == "received":
        return int(line["abandoned"])
    return int(sum(line["dropped"].values()) if way == "published" else line["missed"])
