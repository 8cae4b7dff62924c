"""Where nodes come from, besides ``grid.yaml``.

A registry is anything with ``nodes()``; ``mesh.grid(registry)`` makes a grid of
it. Three are here. ``docs/reference/grid.md`` shows one backed by consul.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Protocol

from mesh.errors import GridError, MeshError
from mesh.gridfile.address import explain_host, explain_name, same_host_key
from mesh.gridfile.load import load
from mesh.gridfile.locate import locate
from mesh.gridfile.network import Grid
from mesh.gridfile.problems import Mark, Problems, shown
from mesh.node import Node

_ADDRESS = re.compile(r"(?P<host>\[[^\]]*\]|[^:]*):(?P<port>[0-9]{1,5})")


class Registry(Protocol):
    """A source of nodes."""

    def nodes(self) -> Iterable[Node]:
        """Return all nodes there are now.

        Raises:
            GridError: If the source cannot be read or is malformed.

        """
        ...


class FileRegistry:
    """The nodes of a grid file.

    Args:
        path: The file; ``None`` looks where ``mesh.grid()`` looks.

    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = path

    def nodes(self) -> Grid:
        """Return the grid of the file, with its groups and origins.

        Raises:
            GridError: If it cannot be read, or has mistakes.

        """
        return load(locate(self.path))


class StaticRegistry:
    """Nodes that a program lists itself."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = tuple(nodes)

    def nodes(self) -> tuple[Node, ...]:
        """Return the nodes that it was given."""
        return self._nodes


class EnvRegistry:
    """Nodes in an environment variable: ``buzzer=localhost:8766,blink=[::1]:8765,clock=``.

    A node with nothing after the ``=`` has no port. White space around a comma
    is ignored.

    Args:
        variable: Name of the variable.

    """

    def __init__(self, variable: str = "MESH_NODES") -> None:
        self.variable = variable

    def nodes(self) -> list[Node]:
        """Return the nodes that the variable names now.

        Raises:
            GridError: If it is not set or empty, or with all mistakes in it;
                they are counted in columns of line 1 of ``$MESH_NODES``.

        """
        text = os.environ.get(self.variable, "")
        if not text.strip():
            raise GridError(
                f"the environment variable {self.variable} is not set or empty; "
                f"set it to something like {self.variable}=buzzer=localhost:8766,clock="
            )
        problems = Problems(f"${self.variable}")
        found: dict[str, tuple[str, int | None]] = {}
        offset = 0
        for part in text.split(","):
            place = Mark(1, offset + len(part) - len(part.lstrip()) + 1)
            offset += len(part) + 1
            _read_one(part.strip(), place, found, problems)
        problems.raise_if_any()
        return [Node(name, host, port) for name, (host, port) in found.items()]


def gather(registry: Registry) -> Grid:
    """Return the nodes of a registry as a grid.

    Raises:
        GridError: If the registry fails, or two of its nodes share a name, an alias or
            an address.

    """
    try:
        nodes = registry.nodes()
        grid = nodes if isinstance(nodes, Grid) else Grid(nodes)
    except MeshError:
        raise
    except Exception as exc:
        raise GridError(f"{type(registry).__name__}.nodes() raised {type(exc).__name__}: {exc}") from exc
    for node in grid:
        if not isinstance(node, Node):
            raise GridError(f"{type(registry).__name__}.nodes() must give nodes, and gave {node!r}")
    names: dict[str, Node] = {}
    addresses: dict[tuple[str, int], Node] = {}
    for node in grid:
        for word in (node.name, *node.aliases):
            if names.setdefault(word, node) is not node:
                raise GridError(f"two nodes are called {word!r}; a name must mean one node")
        if node.port:
            other = addresses.setdefault((same_host_key(node.socket), node.port), node)
            if other is not node:
                raise GridError(
                    f"{other.name} and {node.name} both listen on port {node.port} of the same host; "
                    "give each a port of its own"
                )
    return grid


def _read_one(part: str, place: Mark, found: dict[str, tuple[str, int | None]], problems: Problems) -> None:
    name, equals, address = (piece.strip() for piece in part.partition("="))
    if not equals:
        problems.add(
            place, f"{shown(part)} has no =", "write name=host:port, or name= for a node without a port"
        )
        return
    complaint = explain_name(name)
    if complaint:
        problems.add(place, *complaint)
    elif name in found:
        problems.add(place, f"node {shown(name)} is there twice", "remove one")
    host: str = "localhost"
    port: int | None = None
    if address:
        match = _ADDRESS.fullmatch(address)
        if match is None or not 1 <= int(match["port"]) <= 65535:
            problems.add(
                place,
                f"{shown(address)} is not an address",
                "write host:port, such as localhost:8766 or [::1]:8766, with a port from 1 to 65535",
            )
            return
        port = int(match["port"])
        written = match["host"]
        bracketed = written.startswith("[")
        host = written[1:-1] if bracketed else written
        complaint = explain_host(host)
        if complaint or bracketed != (":" in host):
            problems.add(place, *(complaint or (f"{shown(written)} is not a host", "only IPv6 has brackets")))
    found.setdefault(name, (host, port))
