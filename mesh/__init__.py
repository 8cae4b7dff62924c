"""The network: nodes with names, found in a grid, that send messages to each other."""

from mesh.errors import (
    DeliveryError,
    GridError,
    GridProblem,
    MeshError,
    NackedError,
    NotAServerError,
    PayloadError,
    PeerDownError,
    ServeError,
    UnknownNodeError,
)
from mesh.gridfile import EnvRegistry, FileRegistry, Grid, Group, Registry, StaticRegistry, grid
from mesh.node import Node

__all__ = [
    "DeliveryError",
    "EnvRegistry",
    "FileRegistry",
    "Grid",
    "GridError",
    "GridProblem",
    "Group",
    "MeshError",
    "NackedError",
    "Node",
    "NotAServerError",
    "PayloadError",
    "PeerDownError",
    "Registry",
    "ServeError",
    "StaticRegistry",
    "UnknownNodeError",
    "grid",
]
