"""The one call that most programs need."""

from __future__ import annotations

import os

from mesh.gridfile.network import Grid
from mesh.gridfile.registry import FileRegistry, Registry, gather


def grid(source: str | os.PathLike[str] | Registry | None = None) -> Grid:
    """Return the nodes of the mesh, as a list that finds them by name.

    Args:
        source: A grid file or a registry. ``None`` means what ``$MESH_GRID``
            names, else ``./grid.yaml``, else the one that came with the
            package.

    Raises:
        GridError: If the source cannot be read, or has mistakes; a file's
            mistakes come all at once, each with line and column.

    """
    if source is None or isinstance(source, str | os.PathLike):
        return FileRegistry(source).nodes()
    return gather(source)
