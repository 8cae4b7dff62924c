"""Who there is to look into: the nodes of the grid, and every worker that runs on this machine.

Nothing is asked here: the grid and the runtime directory say it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from factory.looking.errors import NotReachedError, SilentNodeError
from mesh.control import Questions, questions, questions_to
from mesh.errors import AckTimeoutError, PeerDownError
from mesh.gridfile import Grid
from mesh.node import Node
from mesh.runtime import WorkerRecord, is_frozen, is_running, workers
from mesh.text import did_you_mean, endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Place:
    """One node, and where it is.

    Attributes:
        name: Its name.
        node: What the grid has of it; ``None`` if it is not in the grid.
        record: What the runtime directory has of it; ``None`` if it does not run here, as far as
            is known.
        foreign: Whether it runs here for another grid, or for none.

    """

    name: str
    node: Node | None = None
    record: WorkerRecord | None = None
    foreign: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The names that find it."""
        return (self.name, *(self.node.aliases if self.node else ()))

    @property
    def door(self) -> Node | None:
        """The node with the address at which it really is; ``None`` if it takes no links."""
        node, record = self.node or Node(self.name), self.record
        if record is not None:
            doors = tuple(door for door in node.doors if door.url in record.doors)
            node = replace(node, socket=record.host or node.socket, port=record.port, doors=doors)
        return node if node.port or node.link_door else None

    @property
    def where(self) -> str | None:
        """Its address, for people; ``None`` if it has none."""
        door = self.door
        if door is None:
            return None
        return endpoint(door.host, door.port) if door.port else door.link_uri


def places(grid: Grid) -> list[Place]:
    """Return all nodes of a grid in its order, then the other workers that run here.

    Raises:
        RuntimeDirectoryError: If the runtime directory cannot be used.

    """
    here = workers()
    mine = [record for record in here if _is_of(record, grid.path)]
    found: list[Place] = []
    for node in grid:
        records: list[WorkerRecord | None] = [record for record in mine if record.name == node.name]
        found += [Place(node.name, node, record) for record in records or [None]]
    known = {place.record for place in found}
    others = [record for record in here if record not in known]
    return [*found, *(Place(record.name, None, record, record not in mine) for record in others)]


def own(among: Sequence[Place]) -> list[Place]:
    """Return those that are no worker of another grid, of which some may have the same names."""
    return [place for place in among if not place.foreign]


def places_without(path: Path) -> list[Place]:
    """Return all workers that run here, where the grid cannot be read; its own are nodes of it.

    Raises:
        RuntimeDirectoryError: If the runtime directory cannot be used.

    """
    names = dict.fromkeys(record.name for record in workers() if _is_of(record, path))
    return places(Grid(map(Node, names), path=path))


def _is_of(record: WorkerRecord, path: Path | None) -> bool:
    if path is None or record.grid is None:
        return False
    return os.path.realpath(record.grid) == os.path.realpath(path)


def place(name: str, among: Sequence[Place]) -> Place:
    """Return the node of that name or alias, rather one of the grid.

    Raises:
        NotReachedError: If there is none.

    """
    for words in (lambda one: (one.name,), lambda one: one.words):
        for found in among:
            if name in words(found):
                return found
    known = [word for one in among for word in one.words]
    raise NotReachedError(
        f"unknown node {name!r}{did_you_mean(name, known) or '; `mesh list` shows which there are'}"
    )


def chosen(names: Sequence[str], among: Sequence[Place]) -> list[Place]:
    """Return the nodes of these names; if there are none, all but the workers of other grids.

    Raises:
        NotReachedError: If there is no such node.

    """
    return [place(name, among) for name in names] if names else own(among)


def prepare(places: Sequence[Place]) -> None:
    """Import what it takes to ask these nodes.

    Else that would be done while they are waited for: it takes longer than their answers, which
    would lie there unread until the time is over.
    """
    import mesh.transport.layers.layered
    import mesh.transport.layers.len32le
    import mesh.transport.stream

    if any(place.record is None and place.door is not None for place in places):
        import mesh.transport.websocket  # noqa: F401


@asynccontextmanager
async def asking(
    found: Place, timeout: float, *, by_door: bool = False, once: bool = False
) -> AsyncIterator[Questions]:
    """Ask a node about itself: by its control socket if it runs here, else at its door.

    Args:
        found: The node.
        timeout: Seconds that were given to it, for the error.
        by_door: Take the door, where it has one, as other nodes do.
        once: Dial a door once, instead of again and again.

    Raises:
        NotReachedError: If it is down, or cannot be asked.
        SilentNodeError: If it runs, and does not answer.

    """
    record, door = found.record, found.door
    prepare([found])
    with reaching(found, timeout):
        if record is not None and record.control is not None and not (by_door and door is not None):
            async with questions(found.name, record.control) as control:
                yield control
        elif door is not None:
            async with questions_to(door, once=once) as control:
                yield control
        else:
            raise NotReachedError(_no_way(found))


@contextmanager
def reaching(found: Place, timeout: float) -> Iterator[None]:
    """Tell whether a node that does not answer is down, has gone away, or runs and is silent."""
    record = found.record
    try:
        yield
    except PeerDownError as exc:
        if record is not None and not is_running(record.pid, record.start):
            raise NotReachedError(f"{found.name} has gone away (pid {record.pid} has ended)") from exc
        if record is None and not exc.accepted:
            words = f"{found.name} is down: {exc.why} ({found.where}); `mesh list` shows what runs"
            raise NotReachedError(words) from exc
        raise SilentNodeError(f"{found.name} {silence(found, timeout)}") from exc
    except AckTimeoutError as exc:
        # Of a node that is stopped more is known than that it took its time.
        if record is None or not is_frozen(record.pid):
            raise
        raise SilentNodeError(f"{found.name} {silence(found, timeout)}") from exc


def _no_way(found: Place) -> str:
    if found.record is not None:
        return f"{found.name} runs as pid {found.record.pid}, but has no control socket; its log says why"
    return f"{found.name} does not run on this machine, and has no port to be asked at; start it first"


def silence(found: Place, timeout: float) -> str:
    """Return why a node that runs does not answer, and what to do."""
    record, within = found.record, f"within {round(timeout, 3):g} s"
    if record is None:
        return f"takes connections and has not answered {within}"
    if is_frozen(record.pid):
        return f"is stopped by a signal (pid {record.pid}); `kill -CONT {record.pid}` lets it go on"
    return f"has not answered {within} (pid {record.pid}); its event loop may be blocked"
