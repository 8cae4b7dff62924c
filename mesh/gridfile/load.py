"""From a grid file to a ``Grid``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import UNSET

from mesh.gridfile.address import normal_origin
from mesh.gridfile.check import check
from mesh.gridfile.doors import doors_of
from mesh.gridfile.locate import read
from mesh.gridfile.model import GridFile, NodeEntry
from mesh.gridfile.network import Grid, Group
from mesh.gridfile.problems import Mark
from mesh.gridfile.tls import tls_of
from mesh.node import Node, Restart, Wire
from mesh.text import seconds


def load(path: Path) -> Grid:
    """Return the grid of a file.

    Raises:
        GridError: If the file cannot be read, or with every mistake in it.

    """
    return parse_grid(read(path), str(path), path=path.absolute())


def parse_grid(data: bytes, file: str = "grid.yaml", *, path: Path | None = None) -> Grid:
    """Return the grid that some bytes describe.

    Args:
        data: YAML in UTF-8.
        file: How messages call it.
        path: Where it was read, for sketches that are relative to it.

    Raises:
        GridError: With every mistake in it.

    """
    model, marks = check(data, file)
    known = {alias: name for name, entry in model.nodes.items() for alias in (name, *(entry.aliases or ()))}
    groups = {
        name: Group(
            name,
            tuple(known[member] for member in group.members),
            None if group.topology is UNSET else group.topology,
        )
        for name, group in (model.groups or {}).items()
    }
    folder = Path.cwd() if path is None else path.parent
    # A dictionary, because a set would forget the order.
    origins = dict.fromkeys(normal_origin(origin) for origin in model.origins or ())
    return Grid(_nodes(model, known, file, marks, folder), path=path, groups=groups, origins=origins)


@contextmanager
def unannounced() -> Iterator[None]:
    """Let nodes that this thread reads not be told as new ones: they were told before."""
    mine = threading.get_ident()

    def from_others(record: logging.LogRecord) -> bool:
        return record.thread != mine

    logger = logging.getLogger("mesh.node")
    logger.addFilter(from_others)
    try:
        yield
    finally:
        logger.removeFilter(from_others)


def _nodes(
    model: GridFile,
    known: Mapping[str, str],
    file: str,
    marks: Mapping[tuple[str, ...], Mark],
    folder: Path,
) -> list[Node]:
    own: dict[str, dict[tuple[str, ...], tuple[int, int]]] = {name: {} for name in model.nodes}
    for place, mark in marks.items():
        if len(place) > 1 and place[0] == "nodes":
            own[place[1]][place[2:]] = (mark.line, mark.column)
    return [
        Node(
            name,
            entry.host,
            entry.port,
            aliases=entry.aliases or (),
            sketch=None if entry.sketch is UNSET else entry.sketch,
            args=entry.args or {},
            target=None if entry.target is UNSET else known[entry.target],
            tls=tls_of(entry, folder),
            peers=None if entry.peers is UNSET else tuple(known[peer] for peer in entry.peers),
            subscribes=_wires(entry, known),
            restart=_restart(entry),
            on_error=None if entry.on_error is UNSET else entry.on_error,
            doors=doors_of(entry),
            file=file,
            marks=own[name],
        )
        for name, entry in model.nodes.items()
    ]


def _wires(entry: NodeEntry, known: Mapping[str, str]) -> tuple[Wire, ...]:
    written = entry.subscribes or ()
    if isinstance(written, Mapping):
        return tuple(Wire(channel, known[source]) for channel, source in written.items())
    return tuple(Wire(item.channel, known[item.source], item.policy, item.limit) for item in written)


def _restart(entry: NodeEntry) -> Restart:
    written = entry.restart
    if written is UNSET:
        return Restart()
    if isinstance(written, str):
        return Restart(written)
    return Restart(written.policy, seconds(written.delay), written.most, seconds(written.window))
