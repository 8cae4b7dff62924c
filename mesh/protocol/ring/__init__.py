"""The ring protocol ``sketchmesh-ring.v1``; ``docs/explanation/ring.md`` explains it."""

from mesh.protocol.ring.events import (
    Changed,
    Dial,
    Event,
    Failed,
    HangUp,
    Left,
    Lost,
    Reason,
    Receipted,
    Rolled,
    RoomOpened,
    Taken,
    Told,
)
from mesh.protocol.ring.records import SUBPROTOCOL
from mesh.protocol.ring.ring import Ring
from mesh.protocol.ring.settings import RingSettings

__all__ = [
    "SUBPROTOCOL",
    "Changed",
    "Dial",
    "Event",
    "Failed",
    "HangUp",
    "Left",
    "Lost",
    "Reason",
    "Receipted",
    "Ring",
    "RingSettings",
    "Rolled",
    "RoomOpened",
    "Taken",
    "Told",
]
