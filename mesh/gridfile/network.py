"""The grid as a program uses it: nodes by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from mesh.errors import UnknownNodeError
from mesh.node import Node
from mesh.text import closest, listing

_MOST_LISTED = 12


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that belong together.

    Attributes:
        name: What the group is called.
        members: Names of its nodes, in the order of the grid.
        topology: ``ring`` when each member is linked to its two neighbours.

    """

    name: str
    members: tuple[str, ...]
    topology: Literal["ring"] | None = None


class Grid(list[Node]):
    """The nodes that somebody knows: a list, which also finds them by name.

    Args:
        nodes: The nodes, in order.
        path: The absolute path of the file they come from, if there is one.
        groups: Groups by name.
        origins: Origins of web pages that may connect, as a browser sends them.
        viewer: The node that sees these nodes; ``None`` for who sees all.
        hidden: Names and aliases of nodes that ``viewer`` may not know.

    """

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        *,
        path: Path | None = None,
        groups: Mapping[str, Group] | None = None,
        origins: Iterable[str] = (),
        viewer: Node | None = None,
        hidden: Iterable[str] = (),
    ) -> None:
        super().__init__(nodes)
        self.path = path
        self.groups: Mapping[str, Group] = MappingProxyType(dict(groups or {}))
        self.origins = tuple(origins)
        self.viewer = viewer
        self._hidden = frozenset(hidden)

    def names(self) -> list[str]:
        """Return the names of all nodes, without aliases."""
        return [node.name for node in self]

    def node(self, name: str) -> Node:
        """Return the node of that name, else the one with that alias.

        Raises:
            UnknownNodeError: If there is none, or it is hidden by ``peers:``
                of the node that this grid was made visible to.

        """
        found = self.get(name)
        if found is None:
            raise self._unknown(name)
        return found

    def get(self, name: str) -> Node | None:
        """Return the node of that name, else the one with that alias, else ``None``."""
        for node in self:
            if node.name == name:
                return node
        return next((node for node in self if name in node.aliases), None)

    def visible_to(self, node: Node) -> Grid:
        """Return the part of the grid that a node may know.

        A node without ``peers:`` knows all; with them, those and itself. The
        members of groups are limited in the same way. Peers may be written
        as aliases.
        """
        if node.peers is None:
            return Grid(self, path=self.path, groups=self.groups, origins=self.origins, viewer=node)
        wanted = {node.name, *node.peers}
        seen = [other for other in self if wanted & {other.name, *other.aliases}]
        names = {other.name for other in seen}
        hidden = [word for other in self if other.name not in names for word in (other.name, *other.aliases)]
        groups = {}
        for group in self.groups.values():
            members = tuple(member for member in group.members if member in names)
            if members:
                groups[group.name] = Group(group.name, members, group.topology)
        return Grid(seen, path=self.path, groups=groups, origins=self.origins, viewer=node, hidden=hidden)

    def _unknown(self, name: str) -> UnknownNodeError:
        if name in self._hidden and self.viewer is not None:
            place = self.viewer.where("peers")
            return UnknownNodeError(
                name,
                f"node {name!r} is hidden: `peers:` of {self.viewer.name!r} does not list it; "
                f"add it there ({place})",
            )
        known = [word for node in self for word in (node.name, *node.aliases)]
        near = closest(name, known) if len(name) <= 64 else None
        if near:
            return UnknownNodeError(name, f"unknown node {name!r}, did you mean {near!r}?", suggestion=near)
        if not self:
            return UnknownNodeError(name, f"unknown node {name!r}; the grid has no nodes")
        names = self.names()
        if len(names) > _MOST_LISTED:
            names = [*names[:_MOST_LISTED], f"{len(names) - _MOST_LISTED} more"]
        return UnknownNodeError(name, f"unknown node {name!r}; the grid has {listing(names)}")
