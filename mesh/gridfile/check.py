"""From the bytes of a grid to its model, or to every mistake at once."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from mesh.gridfile import cross
from mesh.gridfile.model import GridFile, GroupEntry, NodeEntry
from mesh.gridfile.problems import Mark, Problems
from mesh.gridfile.reader import REFUSED, Path, Reader
from mesh.gridfile.yaml_text import decode
from mesh.gridfile.yaml_tree import Scalar, parse

_RIGHT = "`nodes:` and below it a node, such as `buzzer: {sketch: buzzer, port: 8766}`"
_TOP = Annotated[GridFile, msgspec.Meta(extra={"right": _RIGHT})]


def check(data: bytes, file: str) -> tuple[GridFile, dict[Path, Mark]]:
    """Return the model of a grid, and where each of its values stands.

    Args:
        data: The bytes of the file.
        file: Its path as the user would write it, for the messages.

    Raises:
        GridError: With every mistake there is, in the order of the file. Only
            broken syntax and broken limits hide what comes after them.

    """
    problems = Problems(file)
    tree = parse(decode(data, problems), problems)
    if tree is None or (isinstance(tree, Scalar) and tree.plain and tree.text in ("", "null")):
        problems.stop(Mark(1, 1), "the grid is empty", f"write {_RIGHT}")
    reader = Reader(problems)
    top = reader.read(tree, _TOP)
    # Without nodes nothing can be known of names, and each would be a mistake.
    grid = _together(top, reader) if top is not REFUSED and "nodes" in top else None
    problems.raise_if_any()
    # A second opinion: what the reader let through must be what the model wants.
    return msgspec.convert(msgspec.to_builtins(grid), GridFile), _node_marks(reader)


def _together(top: dict[str, Any], reader: Reader) -> GridFile:
    nodes = {name: _entry(fields, NodeEntry) for name, fields in top["nodes"].items()}
    # A group whose members were refused has nothing left that could be checked.
    groups = {
        name: _entry(fields, GroupEntry)
        for name, fields in (top.get("groups") or {}).items()
        if fields is not REFUSED and "members" in fields
    }
    places = cross.Places(reader.keys, reader.marks, _refused(top, reader))
    known = cross.known_names(nodes, places, reader.problems)
    cross.check_nodes(nodes, known, places, reader.problems)
    cross.check_groups(groups, nodes, known, places, reader.problems)
    return GridFile(nodes=nodes, groups=groups, origins=tuple(top.get("origins") or ()))


def _entry(fields: Any, struct: Any) -> Any:
    if fields is REFUSED:
        return struct()
    made = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return struct(**made)


def _refused(top: dict[str, Any], reader: Reader) -> frozenset[Path]:
    """Return the paths of nodes and of their fields that are written but left out."""
    refused: set[Path] = {("nodes", name) for name, fields in top["nodes"].items() if fields is REFUSED}
    for path in reader.marks:
        if len(path) == 3 and path[0] == "nodes":
            fields = top["nodes"][path[1]]
            if fields is REFUSED or path[2] not in fields:
                refused.add(path)
    refused |= {path for path in reader.shortened if path[2:3] == ("doors",)}
    return frozenset(refused)


def _node_marks(reader: Reader) -> dict[Path, Mark]:
    """Return places by path; an entry itself stands where its name is."""
    return reader.marks | {path: mark for path, mark in reader.keys.items() if len(path) == 2}
