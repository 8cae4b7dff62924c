"""What is wrong with the nodes of a grid, and the next command to type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factory.fleet.errors import SilentFleetError
from factory.looking.survey import Seen, State
from mesh.errors import GridError


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: Which kind of thing; a key of ``KINDS``.
        node: Whom it is about; ``None`` for the grid.
        what: What is wrong, as a sentence.
        next: What to do: mostly a command.

    """

    code: str
    node: str | None
    what: str
    next: str


KINDS: Mapping[str, tuple[str, str]] = {
    "M1": (
        "the grid has a mistake",
        (
            "No node starts with such a grid; a fleet that is up keeps the last one without mistakes. "
            "The line and the column say where it is. `mesh validate` tells all of them."
        ),
    ),
    "M2": (
        "a node is down",
        (
            "The grid has it, and nothing of that name runs on this machine or answers at its address. "
            "Others that send to it wait, and go on once it is there. `mesh up -d` starts the whole "
            "fleet, `mesh start NODE` a node of one that is up, and a node that somebody else runs is "
            "to be started there."
        ),
    ),
    "M3": (
        "a node is frozen",
        (
            "Its process is there and does not answer. It was stopped by Ctrl-Z or SIGSTOP, or a "
            "handler blocks its event loop: its log names handlers that do."
        ),
    ),
    "M4": (
        "a link is down",
        (
            "A node wants to talk to another one and cannot, although that one is up. The reason is "
            "that of the last try: a wrong host or port, a firewall, a name that is taken, another "
            "version."
        ),
    ),
    "M5": (
        "a ledger does not balance",
        (
            "A message was lost or answered twice inside a worker. That is a mistake in sketchmesh and "
            "not in your sketch; please report it with what `mesh ledger NODE --json` prints."
        ),
    ),
    "M6": (
        "two workers have one name",
        (
            "Both run as the same node. Peers have a link with one of them only, and refuse the other "
            "as name-taken. Stop one, or run it under a name of its own with --name."
        ),
    ),
    "M7": (
        "a node listens elsewhere than the grid says",
        (
            "It was started with another port, so its peers, who read the grid, look for it in vain. "
            "Start it without --port, or correct the grid."
        ),
    ),
    "M8": (
        "something else has the address of a node",
        (
            "What listens there calls itself otherwise or is no node at all. Stop that program, or give "
            "the node another port."
        ),
    ),
    "M9": (
        "the fleet has given up a node",
        (
            "It ended again and again, or never became ready. The last lines of its log say why; `mesh "
            "start NODE` tries once more."
        ),
    ),
    "M10": (
        "the fleet has rolled the grid back",
        (
            "A node of the grid as it is saved did not become ready, so the fleet goes on with the last "
            "one that was good. When that node is mended, saving the grid again, changed or not, tries "
            "it again. `mesh plan` shows what would change."
        ),
    ),
    "M11": (
        "the supervisor of the fleet does not answer",
        (
            "`mesh up` was stopped by Ctrl-Z or SIGSTOP, or has too much to do. Meanwhile nobody starts "
            "a node again that ends, and nodes that print much stand still once nobody reads it. No node "
            "need be started again for it: let the supervisor go on."
        ),
    ),
    "M12": (
        "a node is starting",
        (
            "Its fleet has started it, or will in a moment, and it is not ready yet: its turn has not "
            "come, its setup() takes its time, or it has ended and is started again. If it does not "
            "become ready, that is told as M9."
        ),
    ),
}


def of_grid(error: GridError) -> list[Finding]:
    """Return the mistakes of a grid that cannot be read."""
    mistakes = [str(problem) for problem in error.problems] or [str(error)]
    return [Finding("M1", None, mistake, "correct it, then `mesh validate`") for mistake in mistakes]


def findings(
    seen: Sequence[Seen],
    books: Sequence[Mapping[str, Any]],
    fleet: Mapping[str, Any] | None,
    silent: SilentFleetError | None = None,
) -> list[Finding]:
    """Return what is wrong with nodes.

    Args:
        seen: How they are.
        books: Their ledgers.
        fleet: What the supervisor says of the fleet; ``None`` if none is up, or it is silent.
        silent: That there is a supervisor, which does not answer.

    """
    found = [*_of_fleet(fleet)]
    if silent is not None:
        found.append(Finding("M11", None, str(silent).partition(";")[0], silent.next))
    given_up = {finding.node for finding in found if finding.node is not None}
    states = {one.place.name: one.state for one in seen}
    for one in seen:
        if one.place.name not in given_up:
            found += _of_node(one, states, _start(one, fleet, silent))
    for name, count in Counter(one.place.name for one in seen if one.place.record is not None).items():
        if count > 1:
            pids = [one.place.record.pid for one in seen if one.place.name == name and one.place.record]
            what = f"{count} workers run as {name}: pid {', '.join(map(str, pids))}"
            found.append(Finding("M6", name, what, f"kill {pids[-1]}"))
    for book in books:
        if book["balanced"] is False:
            name = book["node"]
            what = f"the ledger of {name} does not balance"
            found.append(Finding("M5", name, what, f"mesh ledger {name} --json"))
    return found


def _of_fleet(fleet: Mapping[str, Any] | None) -> Iterator[Finding]:
    if fleet is None:
        return
    if fleet["mistakes"]:
        yield Finding("M1", None, fleet["mistakes"], "correct it, then `mesh validate`")
    if fleet["rolled_back"]:
        what = f"the grid was rolled back, for {fleet['rolled_back']}; its last good one runs"
        yield Finding("M10", None, what, "mend that, then save the grid again")
    for node in fleet["nodes"]:
        if node["state"] == "failed":
            name = node["node"]
            yield Finding("M9", name, f"{name} {node['why']}", f"mesh logs --node {name} --tail 20")


def _of_node(one: Seen, states: Mapping[str, State], start: str) -> Iterator[Finding]:
    name, node, record = one.place.name, one.place.node, one.place.record
    if one.state is State.DOWN:
        yield Finding("M2", name, f"{name} is down" + (f": {one.why}" if one.why else ""), start)
    elif one.state is State.STARTING:
        what = f"{name} is starting" + (f": {one.why}" if one.why else "")
        yield Finding("M12", name, what, "mesh is-ready --wait")
    elif one.state is State.FROZEN:
        pid = record.pid if record else None
        what = f"{name} {one.why}"
        yield Finding(
            "M3", name, what, f"kill -CONT {pid}" if "CONT" in one.why else f"mesh logs --node {name}"
        )
    elif one.state is State.UP and record is None and one.why and (not one.info or one.info["name"] != name):
        what = f"at {one.place.where}, where {name} is to be, is something else: it {one.why}"
        if one.why == "a plain websocket server":
            if node is None or node.sketch is None:
                return
            what = f"at {one.place.where}, where {name} is to be, is a plain websocket server"
        yield Finding("M8", name, what, f"stop what listens at {one.place.where}")
    if node and record and node.port and record.port and node.port != record.port:
        what = f"{name} listens on port {record.port}, and the grid has {node.port}"
        yield Finding("M7", name, what, f"start {name} again without --port, or write `port: {record.port}`")
    for link in one.info.get("links", []):
        peer = str(link["name"] or link["peer"])
        if link["state"] == "down" and link["dialled"] and states.get(peer) in (State.UP, State.LINKED):
            what = f"{name} cannot reach {peer} at {link['where']}: {link['why']}"
            yield Finding("M4", name, what, f"mesh ping {peer}")


def _start(one: Seen, fleet: Mapping[str, Any] | None, silent: SilentFleetError | None) -> str:
    """Return what starts a node."""
    node = one.place.node
    if node is None or node.sketch is None:
        return f"start {one.place.name} where it runs; the grid has no sketch for it"
    if silent is not None:
        return "see M11; then look again"
    if fleet is None:
        return "mesh up -d"
    if any(known["node"] == one.place.name for known in fleet["nodes"]):
        return f"mesh start {one.place.name}"
    if fleet["rolled_back"]:
        return "mend what M10 tells of, then save the grid again"
    return "mesh down && mesh up -d, for this fleet was brought up without it"
