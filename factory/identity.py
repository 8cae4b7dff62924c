"""Who a sketch is on the mesh: which node of the grid, if any."""

from __future__ import annotations

from pathlib import Path

import mesh
from factory.find import same_sketch
from mesh.text import listing


def identify(reference: str, own_name: str, given: str | None, grid: mesh.Grid, base: Path) -> mesh.Node:
    """Return the node that a sketch runs as.

    In this order: the name that was given; the node whose name or alias is the
    sketch's own; the only node that runs this sketch; an ad-hoc node, named as the
    sketch, of which the grid need not know.

    Args:
        reference: What the sketch was asked for by.
        own_name: The name it goes by when nobody gives it another.
        given: What ``--name`` says, or ``None``.
        grid: The grid.
        base: Folder that a relative file in ``reference`` belongs to.

    """
    wanted = own_name if given is None else given
    named = grid.get(wanted)
    if named is not None:
        return named
    if given is None:
        running = [
            node
            for node in grid
            if node.sketch and same_sketch(reference, base, node.sketch, grid_folder(grid))
        ]
        if len(running) == 1:
            return running[0]
    return mesh.Node(wanted)


def grid_folder(grid: mesh.Grid) -> Path:
    """Return the folder that files named in a grid are relative to."""
    return grid.path.parent if grid.path else Path()


def mismatch(node: mesh.Node, reference: str, grid: mesh.Grid, base: Path) -> str | None:
    """Say that the grid has another sketch for this node, or return ``None``."""
    if node.sketch is None or same_sketch(reference, base, node.sketch, grid_folder(grid)):
        return None
    return (
        f"{listing([node.name])} runs {node.sketch!r} in the grid, not {reference!r}; its args are not used"
    )
