"""What the supervisor of a fleet knows of nodes that are not ready yet, or do not run any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factory.looking.survey import Seen, State

_STATES = {
    "waiting": State.STARTING,
    "starting": State.STARTING,
    "backing off": State.STARTING,
    "failed": State.FAILED,
    "done": State.DONE,
}


def explain(seen: Sequence[Seen], fleet: Mapping[str, Any] | None) -> None:
    """Tell of nodes that are down, or answer before they are ready, how their supervisor has them.

    Args:
        seen: How the nodes of its grid are.
        fleet: What it says of the fleet; ``None`` if none is up, or it does not answer.

    """
    told = {node["node"]: node for node in fleet["nodes"]} if fleet else {}
    for one in seen:
        node = told.get(one.place.name)
        if node is None or one.place.node is None:
            continue
        record = one.place.record
        if one.state is State.UP and node["state"] == "starting" and record and record.pid == node["pid"]:
            one.state, one.why = State.STARTING, "it answers, and is not ready yet"
        if one.state is not State.DOWN:
            continue
        one.state = _STATES.get(node["state"], State.DOWN)
        if node["state"] == "stopped":
            one.why = "was stopped"
        elif node["state"] == "waiting":
            one.why = "waits for its turn to start"
        else:
            one.why = node["why"]
