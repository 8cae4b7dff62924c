"""Names and addresses: ``grid.yaml``, what it may hold and who is in it.

Not called ``mesh.grid``: that is the function, and a package of the same name
would take its place when it is imported.
"""

from mesh.gridfile.entrance import grid
from mesh.gridfile.load import parse_grid
from mesh.gridfile.network import Grid, Group
from mesh.gridfile.registry import EnvRegistry, FileRegistry, Registry, StaticRegistry

__all__ = [
    "EnvRegistry",
    "FileRegistry",
    "Grid",
    "Group",
    "Registry",
    "StaticRegistry",
    "grid",
    "parse_grid",
]
