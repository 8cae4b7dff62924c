"""What the members of a ring say of it, and how that is drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from factory.looking.errors import NotReachedError, SilentNodeError
from factory.looking.places import Place, asking
from mesh.errors import MeshError, NackedError
from mesh.gridfile import Group
from mesh.text import printable

WITHIN = 0.5
"""Seconds that a member may take to answer."""

View = Mapping[str, Any]
"""What a member says of one ring; see ``mesh.rings.rings.Rings.status``."""


async def look_round(group: Group, among: Sequence[Place]) -> dict[str, View | str]:
    """Return what each member says of a ring, or why it says nothing.

    Args:
        group: The ring.
        among: All nodes there are.

    """

    async def ask(name: str) -> View | str:
        found = next(place for place in among if place.name == name)
        try:
            async with asyncio.timeout(WITHIN), asking(found, WITHIN, once=True) as node:
                answer = await node.request("$ring", timeout=WITHIN)
        except (SilentNodeError, TimeoutError):
            return "it does not answer"
        except NotReachedError:
            return "it does not run"
        except NackedError as exc:
            return printable(exc.reason)
        except MeshError as exc:
            return printable(str(exc))
        view = answer.get("rings", {}).get(group.name) if isinstance(answer, dict) else None
        return view if isinstance(view, dict) else f"it is in no ring {group.name}"

    views = await asyncio.gather(*(ask(name) for name in group.members))
    return dict(zip(group.members, views, strict=True))


def is_closed(views: Mapping[str, View | str]) -> bool:
    """Say whether those that answer are one ring, in the order of the grid."""
    living = {name: view for name, view in views.items() if not isinstance(view, str)}
    names = list(living)
    if len(names) < 2:
        return len(names) == 1 and bool(living[names[0]]["alone"])
    return all(
        living[name]["successor"] == names[(at + 1) % len(names)]
        and living[name]["predecessor"] == names[at - 1]
        for at, name in enumerate(names)
    )


def chains(views: Mapping[str, View | str]) -> list[str]:
    """Return the rings and the loose ends that the successors make, as lines."""
    next_of = {name: view["successor"] for name, view in views.items() if not isinstance(view, str)}
    lines: list[str] = []
    drawn: set[str] = set()
    # First from those that nobody leads to: else their chains would be drawn from the middle.
    led_to = set(next_of.values())
    for begin in sorted(next_of, key=lambda name: name in led_to):
        if begin in drawn:
            continue
        way, name = [begin], next_of[begin]
        drawn.add(begin)
        while name in next_of and name not in drawn:
            way.append(name)
            drawn.add(name)
            name = next_of[name]
        lines.append(" -> ".join([*way, name or "?"]) if name or len(way) > 1 else f"{begin}, alone")
    return lines


def draw(group: str, views: Mapping[str, View | str]) -> list[str]:
    """Return the picture of a ring."""
    living = [name for name, view in views.items() if not isinstance(view, str)]
    state = "closed" if is_closed(views) else "open"
    picture = [
        f"ring {group}: {state}, {len(living)} of {len(views)} members",
        *(f"  {line}" for line in chains(views)),
    ]
    for name, view in views.items():
        if isinstance(view, str):
            picture.append(f"  {name} is not there: {view}")
        elif view["leaving"]:
            picture.append(f"  {name} is leaving")
        elif view["in_flight"] or view["in_hand"]:
            picture.append(f"  {name} waits for {view['in_flight']} receipts, has {view['in_hand']} in hand")
    return picture
