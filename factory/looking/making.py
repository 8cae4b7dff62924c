"""New sketches and fleets; a grid keeps its comments, its order and its line ends."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import yaml

from mesh.errors import GridError, MeshError
from mesh.gridfile.load import parse_grid

FIRST_PORT = 8770
"""The port of the first node that is made, if the grid has none above."""

SKETCH = '''\
import factory


class {name}(factory.FactoryLoop):
    """Say what this sketch does."""

    @factory.reactive
    async def loop(self, channel, msg):
        return f"got {{msg}}"
'''

GRID = """\
# The grid: who there is, where each one listens and what it runs.

nodes:
  {node}:
    sketch: {file}:{name}
    port: {port}
"""


class CannotMakeError(MeshError):
    """Something new cannot be made; the text says why and what to do."""


def class_name(name: str) -> str:
    """Return the name of the class for a sketch: ``my-lamp`` gives ``MyLamp``."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))


def free_port(text: str) -> int:
    """Return a port that no node of a grid has."""
    ports = [node.port for node in parse_grid(text.encode()) if node.port]
    port = max([FIRST_PORT - 1, *ports]) + 1
    while port in ports or port > 65535:
        port = FIRST_PORT if port > 65535 else port + 1
    return port


def with_node(text: str, name: str, sketch: str, port: int) -> str:
    """Return the text of a grid with one more node, behind the others.

    Raises:
        CannotMakeError: If the grid is written in a way in which none can be added, or has one of that
            name.
        GridError: If the grid had mistakes, or would have.

    """
    with suppress(GridError):  # of nodes that it has none yet, which is what changes now
        if parse_grid(text.encode()).get(name) is not None:
            raise CannotMakeError(f"the grid has a node {name} already; choose another name")
    end = "\r\n" if "\r\n" in text else "\n"
    nodes = _nodes(text)
    if nodes is None:
        lines = text.splitlines(keepends=True)
        at = next((i + 1 for i, line in enumerate(lines) if re.match(r"nodes:\s*(#.*)?$", line)), None)
        if at is None:
            raise CannotMakeError(f"the grid has no `nodes:`; add it, and below it `{name}: ...`")
        indent = "  "
    elif nodes.flow_style:
        where = nodes.end_mark.index - 1
        comma = ", " if nodes.value else ""
        entry = f"{comma}{name}: {{sketch: '{sketch}', port: {port}}}"
        return _checked(text[:where].rstrip() + entry + text[where:])
    else:
        lines = text.splitlines(keepends=True)
        at = _last_line(nodes) + 1
        indent = " " * nodes.start_mark.column
    entry = f"{indent}{name}:{end}{indent}  sketch: {sketch}{end}{indent}  port: {port}{end}"
    if at and not lines[at - 1].endswith("\n"):
        lines[at - 1] += end
    return _checked("".join([*lines[:at], entry, *lines[at:]]))


def _nodes(text: str) -> yaml.MappingNode | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == "nodes" and isinstance(value, yaml.MappingNode):
            return value
    return None


def _last_line(node: yaml.Node) -> int:
    """Return the line of the last scalar; the end of a block counts the comments behind it as well."""
    return max(_lines(node), default=node.start_mark.line)


def _lines(node: yaml.Node) -> Iterator[int]:
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for key, value in node.value:
            yield from _lines(key)
            yield from _lines(value)
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        for item in node.value:
            yield from _lines(item)
    elif isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        yield node.end_mark.line - 1
    else:
        yield node.end_mark.line


def _checked(text: str) -> str:
    parse_grid(text.encode())
    return text


def write_new(path: Path, text: str) -> None:
    """Write a file that must not be there yet.

    Raises:
        CannotMakeError: If it is there, or cannot be written.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CannotMakeError(f"{path} is there already; choose another name, or remove it") from None
    except OSError as exc:
        raise CannotMakeError(f"{path} cannot be written: {exc.strerror}") from exc


def rewrite(path: Path, text: str) -> None:
    """Put a new text in the place of a file, whole or not at all.

    Raises:
        CannotMakeError: If it cannot be written.

    """
    # Where a link leads to, and not the link.
    real = Path(os.path.realpath(path))
    try:
        with NamedTemporaryFile("wb", dir=real.parent, prefix=".", delete=False) as file:
            file.write(text.encode())
        Path(file.name).chmod(real.stat().st_mode)
        Path(file.name).replace(real)
    except OSError as exc:
        raise CannotMakeError(f"{path} cannot be written: {exc.strerror}") from exc
