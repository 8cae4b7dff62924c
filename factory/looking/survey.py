"""How all nodes are, asked at once and within one deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from factory.looking.budget import WITHIN
from factory.looking.errors import NotReachedError, SilentNodeError
from factory.looking.places import Place, asking, prepare, silence
from mesh.dialling import NotALinkError
from mesh.errors import AckTimeoutError, MeshError, NackedError
from mesh.runtime import is_frozen, workers


class State(StrEnum):
    """How a node is, as far as can be seen from here."""

    UP = "up"
    FROZEN = "frozen"
    LINKED = "linked"
    DOWN = "down"
    # Of nodes that are down, as their supervisor has them.
    STARTING = "starting"
    FAILED = "failed"
    DONE = "done"


@dataclass
class Seen:
    """One node, and how it is.

    Attributes:
        place: The node.
        state: How it is.
        why: What is to be said to it, for people.
        info: What it says of itself; empty if it was not asked or did not answer.

    """

    place: Place
    state: State
    why: str
    info: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return what ``mesh list --json`` prints of it."""
        record, info = self.place.record, self.info
        # Commands and scripts come and go; a link of theirs that is down is nothing to see to.
        links = [link for link in info.get("links", []) if not str(link["peer"]).startswith("$")]
        return {
            "node": self.place.name,
            "state": self.state.value,
            "why": self.why or None,
            "where": self.place.where,
            "pid": record.pid if record else info.get("pid"),
            "uptime": info.get("uptime"),
            "sketch": (record.sketch if record else None)
            or info.get("sketch")
            or (self.place.node.sketch if self.place.node else None),
            "links": len(links) if info else None,
            "links_up": sum(link["state"] == "up" for link in links) if info else None,
            "fleet": record.fleet if record else info.get("fleet"),
            "grid": record.grid if record else info.get("grid"),
            "in_grid": self.place.node is not None,
        }


async def survey(places: Sequence[Place], within: float = WITHIN) -> list[Seen]:
    """Return how nodes are; those that are known by their links alone come last.

    Args:
        places: The nodes.
        within: Seconds that they may take together.

    """
    tasks = [asyncio.create_task(look(place, within), name=f"look at {place.name}") for place in places]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=within)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    found = [
        _late(place, within) if task.cancelled() else task.result()
        for place, task in zip(places, tasks, strict=True)
    ]
    return [*found, *_linked(found)]


async def silent(nodes: Sequence[Mapping[str, Any]], within: float) -> dict[str, str]:
    """Return which nodes run and do not answer, and why.

    Args:
        nodes: What their supervisor says of them.
        within: Seconds that they may take together.

    """
    here = {record.pid: record for record in workers()}
    # What each calls itself is of no interest, nor is what the grid says now.
    ready = [node for node in nodes if node["state"] == "ready"]
    places = [Place(node["node"], None, here[node["pid"]]) for node in ready if node["pid"] in here]
    prepare(places)
    seen = await survey(places, within)
    return {one.place.name: one.why for one in seen if one.state is State.FROZEN}


async def look(place: Place, within: float) -> Seen:
    """Return how one node is."""
    if place.record is not None and is_frozen(place.record.pid):
        return Seen(place, State.FROZEN, silence(place, within), {})
    if place.record is None and place.door is None:
        return Seen(place, State.DOWN, "", {})
    try:
        async with asking(place, within, once=True) as node:
            info = await node.request("$info", timeout=within)
    except (SilentNodeError, AckTimeoutError):
        return Seen(place, State.FROZEN, silence(place, within), {})
    except NackedError as exc:
        return Seen(place, State.UP, f"may not be looked into: {exc.reason}", {})
    except NotALinkError:
        return Seen(place, State.UP, "a plain websocket server", {})
    except NotReachedError:
        return _unasked(place)
    except MeshError as exc:
        return Seen(place, State.DOWN, str(exc), {})
    why = "" if info["name"] == place.name else f"calls itself {info['name']}"
    if place.record is not None and place.node is None:
        why = "not in this grid"
    return Seen(place, State.UP, why, info)


def _unasked(place: Place) -> Seen:
    if place.record is not None:
        return Seen(place, State.UP, "has no control socket", {})
    return Seen(place, State.DOWN, "", {})


def _late(place: Place, within: float) -> Seen:
    if place.record is not None:
        return Seen(place, State.FROZEN, silence(place, within), {})
    return Seen(place, State.DOWN, f"not reached within {round(within, 2):g} s", {})


def _linked(found: list[Seen]) -> list[Seen]:
    """Mark those that are up for a node that has a link with them; return those nobody has named."""
    # A worker of another grid says nothing of nodes of this one, though they have its peers' names.
    ours = [one for one in found if not one.place.foreign]
    by_name = {one.place.name: one for one in ours}
    more: dict[str, Seen] = {}
    for one in ours:
        for link in one.info.get("links", []):
            name = str(link["name"] or link["peer"])
            if link["state"] != "up" or name.startswith("$"):
                continue
            why = f"known by its link with {one.place.name}"
            known = by_name.get(name)
            if known is None:
                more.setdefault(name, Seen(Place(name), State.LINKED, why, {}))
            elif known.state is State.DOWN:
                known.state, known.why = State.LINKED, why
    return list(more.values())
