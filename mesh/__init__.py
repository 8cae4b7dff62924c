"""The network: nodes with names, found in a grid, that send messages to each other."""

from mesh.client import Peer, connect
from mesh.errors import (
    AckTimeoutError,
    DeliveryError,
    FrameTooLargeError,
    GridError,
    GridProblem,
    MeshError,
    NackedError,
    NameTakenError,
    NotAServerError,
    OutcomeUnknownError,
    PayloadError,
    PeerDownError,
    ProtocolError,
    ServeError,
    UnknownNodeError,
    VersionMismatchError,
)
from mesh.gridfile import EnvRegistry, FileRegistry, Grid, Group, Registry, StaticRegistry, grid
from mesh.node import Node

__all__ = [
    "AckTimeoutError",
    "DeliveryError",
    "EnvRegistry",
    "FileRegistry",
    "FrameTooLargeError",
    "Grid",
    "GridError",
    "GridProblem",
    "Group",
    "MeshError",
    "NackedError",
    "NameTakenError",
    "Node",
    "NotAServerError",
    "OutcomeUnknownError",
    "PayloadError",
    "Peer",
    "PeerDownError",
    "ProtocolError",
    "Registry",
    "ServeError",
    "StaticRegistry",
    "UnknownNodeError",
    "VersionMismatchError",
    "connect",
    "grid",
]
