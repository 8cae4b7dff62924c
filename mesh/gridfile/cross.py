"""Check what only shows when the whole grid is seen: names that meet, or do not.

Each function takes the parts that are well formed by themselves and notes what
does not fit together. ``Places`` says where things stand, and which fields
were written but refused: those must not be called missing as well.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from mesh.gridfile.address import same_host_key
from mesh.gridfile.doors import check_doors, speaks_link
from mesh.gridfile.model import GroupEntry, NodeEntry
from mesh.gridfile.problems import Mark, Problems, shown
from mesh.gridfile.reader import REFUSED, Path
from mesh.gridfile.tls import check_tls
from mesh.text import listing

Nodes = Mapping[str, NodeEntry]
_MOST_LISTED = 12


@dataclass(frozen=True)
class Places:
    """Where the keys and values of a grid stand.

    Attributes:
        keys: Place of each key, by its path from the top.
        values: Place of each value.
        refused: Paths whose value was a mistake and is left out.

    """

    keys: Mapping[Path, Mark]
    values: Mapping[Path, Mark]
    refused: frozenset[Path]

    @functools.cached_property
    def names_unsure(self) -> bool:
        """Whether aliases were refused, so that an unknown name may be one of them."""
        return any(path[2:] == ("aliases",) for path in self.refused)


def known_names(nodes: Nodes, places: Places, problems: Problems) -> dict[str, str]:
    """Return which node each name and alias means, and note those that clash."""
    known = {name: name for name in nodes}
    for name, entry in nodes.items():
        for index, alias in enumerate(entry.aliases or ()):
            owner = known.get(alias)
            place = places.values["nodes", name, "aliases", str(index)]
            if owner is None:
                known[alias] = name
            elif owner == name:
                problems.add(place, f"alias {shown(alias)} says a name of {name} again", "remove it")
            elif owner == alias:
                problems.add(place, f"alias {shown(alias)} is the name of another node", "choose another")
            else:
                problems.add(place, f"alias {shown(alias)} is also an alias of {owner}", "choose another")
    return known


def check_nodes(nodes: Nodes, known: Mapping[str, str], places: Places, problems: Problems) -> None:
    """Note nodes that can do nothing, share an address or name a wrong node."""
    addresses: dict[tuple[str, int], str] = {}
    doors: set[str] = set()
    for name, entry in nodes.items():
        path = ("nodes", name)
        _check_useful(name, entry, places, problems)
        _check_address(name, entry, addresses, places, problems)
        check_tls(name, entry, places, problems)
        _check_target(name, nodes, known, places, problems)
        if entry.peers is not UNSET:
            _check_list(entry.peers, (*path, "peers"), known, places, problems, itself=name)
        _check_subscribes(name, nodes, known, places, problems)
        check_doors(name, entry, doors, places, problems)


def check_groups(
    groups: Mapping[str, GroupEntry],
    nodes: Nodes,
    known: Mapping[str, str],
    places: Places,
    problems: Problems,
) -> None:
    """Note groups that are named like a node or hold what cannot be in them."""
    for name, group in groups.items():
        path = ("groups", name)
        if name in known:
            problems.add(
                places.keys[path],
                f"group {shown(name)} is named like a node",
                "choose another, that a name means one thing",
            )
        _check_list(group.members, (*path, "members"), known, places, problems)
        if group.topology == "ring":
            _check_ring(group, path, nodes, known, places, problems)


def _check_ring(
    group: GroupEntry,
    path: Path,
    nodes: Nodes,
    known: Mapping[str, str],
    places: Places,
    problems: Problems,
) -> None:
    """Note members that cannot be dialled, or that may not know each other."""
    owners = [known.get(member) for member in group.members]
    for index, (member, owner) in enumerate(zip(group.members, owners, strict=True)):
        if owner is None:
            continue
        entry, place = nodes[owner], places.values[(*path, "members", str(index))]
        if entry.port is None and not places.refused & {("nodes", owner), ("nodes", owner, "port")}:
            problems.add(
                place,
                f"{shown(member)} has no port, and in a ring everybody is dialled",
                f"give {owner} a `port:`, or take it out of the ring",
            )
        if entry.peers is UNSET:
            continue
        may_know = {owner, *(known.get(peer) for peer in entry.peers)}
        hidden = [name for name in owners if name is not None and name not in may_know]
        if hidden:
            them = "it" if len(hidden) == 1 else "them"
            problems.add(
                place,
                f"{shown(member)} may not know {listing(hidden)}, and in a ring all know each other",
                f"add {them} to the `peers:` of {owner}, or take it out of the ring",
            )


def _check_useful(name: str, entry: NodeEntry, places: Places, problems: Problems) -> None:
    path = ("nodes", name)
    if entry.sketch is not UNSET or entry.port is not None or entry.doors:
        return
    if places.refused & {path, (*path, "sketch"), (*path, "port"), (*path, "doors")}:
        return
    problems.add(
        places.keys[path],
        f"node {shown(name)} has neither a sketch nor a port",
        "write `sketch:` for what it runs, or `port:` for where it listens",
    )


def _check_address(
    name: str, entry: NodeEntry, addresses: dict[tuple[str, int], str], places: Places, problems: Problems
) -> None:
    if entry.port is None or ("nodes", name, "host") in places.refused:
        return
    other = addresses.setdefault((same_host_key(entry.host), entry.port), name)
    if other != name:
        problems.add(
            places.values["nodes", name, "port"],
            f"{name} and {other} both listen on port {entry.port} of the same host",
            "give each a port of its own",
        )


def _check_target(
    name: str, nodes: Nodes, known: Mapping[str, str], places: Places, problems: Problems
) -> None:
    entry = nodes[name]
    if entry.target is UNSET:
        return
    place = places.values["nodes", name, "target"]
    owner = known.get(entry.target)
    if owner is None and places.names_unsure:
        return
    if owner is None:
        problems.add(
            place, f"target {shown(entry.target)} is not in the grid", _suggest(entry.target, known, problems)
        )
    elif owner == name:
        problems.add(place, f"the target of {name} is {name} itself", "name another node")
    elif _never_listens(owner, nodes, places):
        problems.add(
            place,
            f"target {shown(entry.target)} has no port, so nobody can dial it",
            f"give {owner} a `port:`, or name another node",
        )
    elif entry.peers is not UNSET and owner not in {known.get(peer) for peer in entry.peers}:
        problems.add(
            place,
            f"target {shown(entry.target)} is not among the `peers:` of {name}",
            f"add {owner} to them, or name another node",
        )


def _check_subscribes(
    name: str, nodes: Nodes, known: Mapping[str, str], places: Places, problems: Problems
) -> None:
    """Note sources that are no other node, are not to be known, or cannot be reached either way."""
    entry = nodes[name]
    seen: set[tuple[str, str]] = set()
    for field, channel, source in wired(entry):
        path = ("nodes", name, "subscribes", *field)
        place = places.values[path]
        owner = known.get(source)
        if owner is None and places.names_unsure:
            continue
        what = f"source {shown(source)}"
        if owner is None:
            problems.add(place, f"{what} is not in the grid", _suggest(source, known, problems))
        elif owner == name:
            problems.add(place, f"{name} subscribes to {name} itself", "name another node")
        elif entry.peers is not UNSET and owner not in {known.get(peer) for peer in entry.peers}:
            problems.add(
                place,
                f"{what} is not among the `peers:` of {name}",
                f"add {owner} to them, or name another node",
            )
        elif _never_listens(owner, nodes, places) and _never_listens(name, nodes, places):
            problems.add(
                place,
                f"neither {owner} nor {name} has a port, so that none can dial the other",
                f"give one of them a `port:`, {owner} if others subscribe to it as well",
            )
        elif (channel, owner) in seen:
            problems.add(place, f"channel {shown(channel)} of {owner} is there twice", "remove one")
        else:
            seen.add((channel, owner))


def wired(entry: NodeEntry) -> list[tuple[tuple[str, ...], str, str]]:
    """Return, for each channel that an entry subscribes to, the path of its source, channel and source."""
    written: Any = entry.subscribes or ()
    if isinstance(written, Mapping):
        return [((channel,), channel, source) for channel, source in written.items() if source is not REFUSED]
    # Fields that were refused are left out, and what they were has been said.
    return [
        ((str(index), "source"), item["channel"], item["source"])
        for index, item in enumerate(written)
        if "channel" in item and "source" in item
    ]


def _check_list(
    words: tuple[str, ...],
    path: Path,
    known: Mapping[str, str],
    places: Places,
    problems: Problems,
    itself: str | None = None,
) -> None:
    """Note words of a list that are no node, the same node again, or ``itself``."""
    seen: set[str] = set()
    for index, word in enumerate(words):
        place = places.values[(*path, str(index))]
        owner = known.get(word)
        what = f"{shown(word)} in `{path[-1]}`"
        if owner is None and places.names_unsure:
            continue
        if owner is None:
            problems.add(place, f"{what} is not in the grid", _suggest(word, known, problems))
        elif owner == itself:
            problems.add(place, f"{what} is the node itself", "remove it; a node always knows itself")
        elif owner in seen:
            problems.add(place, f"{what} is there twice", "remove one")
        else:
            seen.add(owner)


def _never_listens(name: str, nodes: Nodes, places: Places) -> bool:
    path = ("nodes", name)
    if nodes[name].port is not None or speaks_link(nodes[name]):
        return False
    return not places.refused & {path, (*path, "port"), (*path, "doors")}


def _suggest(word: str, known: Mapping[str, str], problems: Problems) -> str:
    near = problems.near(word, known)
    if near:
        return f"did you mean {near!r}?"
    if len(known) > _MOST_LISTED:
        return f"name one of the {len(known)} names in the grid"
    return f"the grid has {listing(known)}"
