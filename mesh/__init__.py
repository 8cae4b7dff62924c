"""The network: nodes with names, found in a grid, that send messages to each other."""

from mesh.late import late_names

TYPE_CHECKING = False  # typing takes time to import, in which Ctrl-C would be a traceback
if TYPE_CHECKING:
    from mesh import sync
    from mesh.client import Peer, connect, gather
    from mesh.errors import (
        AckTimeoutError,
        CertificateError,
        DeliveryError,
        FrameTooLargeError,
        GridError,
        GridProblem,
        LineTooLongError,
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
    from mesh.lines import LineProtocol
    from mesh.node import Node
    from mesh.rings.shell import Receipt
    from mesh.streams import Ask
    from mesh.subscription import Subscription
else:
    __getattr__, __dir__ = late_names(
        __name__,
        {
            "mesh.client": ("Peer", "connect", "gather"),
            "mesh.errors": (
                "AckTimeoutError",
                "CertificateError",
                "DeliveryError",
                "FrameTooLargeError",
                "GridError",
                "GridProblem",
                "LineTooLongError",
                "MeshError",
                "NackedError",
                "NameTakenError",
                "NoReceiptError",
                "NotAServerError",
                "OutcomeUnknownError",
                "PayloadError",
                "PeerDownError",
                "ProtocolError",
                "RingError",
                "RingLeftError",
                "ServeError",
                "UnknownNodeError",
                "VersionMismatchError",
            ),
            "mesh.gathering": ("Gathered",),
            "mesh.gridfile": (
                "EnvRegistry",
                "FileRegistry",
                "Grid",
                "Group",
                "Registry",
                "StaticRegistry",
                "grid",
            ),
            "mesh.lines": ("LineProtocol",),
            "mesh.node": ("Node",),
            "mesh.rings.shell": ("Receipt",),
            "mesh.streams": ("Ask",),
            "mesh.subscription": ("Subscription",),
            "mesh.sync": ("sync",),
        },
    )

__all__ = [
    "AckTimeoutError",
    "Ask",
    "CertificateError",
    "DeliveryError",
    "EnvRegistry",
    "FileRegistry",
    "FrameTooLargeError",
    "Gathered",
    "Grid",
    "GridError",
    "GridProblem",
    "Group",
    "LineProtocol",
    "LineTooLongError",
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
