"""Who talks to whom: what the grid says, and the links that there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from factory.looking.survey import Seen
from mesh.text import printable


@dataclass(frozen=True)
class Edge:
    """One node sends to another.

    Attributes:
        source: Who sends.
        to: Who gets it.
        kind: ``target``, ``publishes`` or ``link``.
        channel: What is published; ``None`` for the others.
        state: ``up`` or ``down``; of a link between them.

    """

    source: str
    to: str
    kind: str
    channel: str | None
    state: str


def edges(seen: Sequence[Seen]) -> list[Edge]:
    """Return every edge: those of the grid first, then links that the grid does not explain."""
    up = {
        frozenset((one.place.name, str(link["name"] or link["peer"])))
        for one in seen
        for link in one.info.get("links", [])
        if link["state"] == "up"
    }
    found: dict[tuple[str, str, str, str | None], None] = {}
    for one in seen:
        name, node = one.place.name, one.place.node
        target = one.info.get("target") or (node.target if node else None)
        if target:
            found[name, str(target), "target", None] = None
        wires = [(wire.source, wire.channel) for wire in node.subscribes] if node else []
        wires += [(wish["source"], wish["channel"]) for wish in one.info.get("subscriptions", [])]
        for source, channel in wires:
            found[source, name, "publishes", channel] = None
    explained = {frozenset(key[:2]) for key in found}
    # Who dialled tells the way of a link; where it does not answer, its peer knows of the link too.
    for by_who_dialled in (True, False):
        for one in seen:
            for link in one.info.get("links", []):
                peer, name = str(link["name"] or link["peer"]), one.place.name
                pair = frozenset((name, peer))
                if bool(link["dialled"]) is not by_who_dialled or peer.startswith("$") or pair in explained:
                    continue
                found[(name, peer, "link", None) if by_who_dialled else (peer, name, "link", None)] = None
        explained |= {frozenset(key[:2]) for key in found}
    return [Edge(*key, "up" if frozenset(key[:2]) in up else "down") for key in found]


def as_ascii(seen: Sequence[Seen], found: Sequence[Edge]) -> str:
    """Return a line for each edge, and for each node without one."""
    width = max((len(printable(edge.source)) for edge in found), default=0)
    right = max((len(printable(edge.to)) for edge in found), default=0)
    states = {one.place.name: one.state.value for one in seen}
    lines = []
    for edge in found:
        arrow = "-->" if edge.state == "up" else "-x>"
        what = f"{edge.kind} {edge.channel}" if edge.channel else edge.kind
        lines.append(
            f"{printable(edge.source):<{width}} {arrow} {printable(edge.to):<{right}}  {printable(what)}"
        )
    ends = {name for edge in found for name in (edge.source, edge.to)}
    lines += [printable(name) for name in states if name not in ends]
    for name, state in states.items():
        if state != "up":
            lines.append(f"({printable(name)} {'has failed' if state == 'failed' else f'is {state}'})")
    return "\n".join(lines)


def as_mermaid(seen: Sequence[Seen], found: Sequence[Edge]) -> str:
    """Return a Mermaid flowchart."""
    names = list(
        dict.fromkeys(
            [one.place.name for one in seen] + [name for edge in found for name in (edge.source, edge.to)]
        )
    )
    states = {one.place.name: one.state.value for one in seen}
    ids = {name: f"n{number}" for number, name in enumerate(names)}
    lines = ["flowchart LR"]
    for name in names:
        state = states.get(name, "down")
        words = name if state == "up" else f"{name} ({state})"
        lines.append(f'    {ids[name]}["{_escaped(words)}"]')
    for edge in found:
        arrow = "-->" if edge.state == "up" else "-.->"
        words = f'|"{_escaped(edge.channel)}"|' if edge.channel else ""
        lines.append(f"    {ids[edge.source]} {arrow}{words} {ids[edge.to]}")
    return "\n".join(lines)


def as_json(seen: Sequence[Seen], found: Sequence[Edge]) -> str:
    """Return one JSON document."""
    return json.dumps({"nodes": [one.as_dict() for one in seen], "edges": [asdict(edge) for edge in found]})


def _escaped(text: str) -> str:
    return printable(text).replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;")
