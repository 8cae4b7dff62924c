"""The network: nodes with names, found in a grid, that send messages to each other."""

from mesh import sync
from mesh.client import Peer, connect, gather
from mesh.errors import (
    AckTimeoutError,
    DeliveryError,
    FrameTooLargeError,
    GridError,
    GridProblem,
    MeshError,
    NackedError,
    NameTakenError,
    NoReceiptError,
    NotAServerError,
    OutcomeUnknownError,
    PayloadError,
    PeerDownError,
    ProtocolError,
    RingError,
    RingLeftError,
    ServeError,
    UnknownNodeError,
    VersionMismatchError,
)
from mesh.gathering import Gathered
from mesh.gridfile import EnvRegistry, FileRegistry, Grid, Group, Registry, StaticRegistry, grid
from mesh.node import Node
from mesh.rings.shell import Receipt
from mesh.streams import Ask
from mesh.subscription import Subscription

__all__ = [
    "AckTimeoutError",
    "Ask",
    "DeliveryError",
    "EnvRegistry",
    "FileRegistry",
    "FrameTooLargeError",
    "Gathered",
    "Grid",
    "GridError",
    "GridProblem",
    "Group",
    "MeshError",
    "NackedError",
    "NameTakenError",
    "NoReceiptError",
    "Node",
    "NotAServerError",
    "OutcomeUnknownError",
    "PayloadError",
    "Peer",
    "PeerDownError",
    "ProtocolError",
    "Receipt",
    "Registry",
    "RingError",
    "RingLeftError",
    "ServeError",
    "StaticRegistry",
    "Subscription",
    "UnknownNodeError",
    "VersionMismatchError",
    "connect",
    "gather",
    "grid",
    "sync",
]
