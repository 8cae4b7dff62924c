"""The link protocol ``sketchmesh.v1``; ``docs/explanation/link.md`` explains it."""

from mesh.protocol.link.events import (
    Acked,
    AnswerUnsendable,
    Attached,
    ChannelQuiet,
    Closed,
    ConnectionRefused,
    ConnectionSilent,
    Detached,
    Event,
    Failed,
    HandlingResumed,
    PeerLeaving,
    Reason,
    Received,
    Refused,
    RoomOpened,
    SessionEnded,
    WorkAbandoned,
)
from mesh.protocol.link.inbound import Inbound
from mesh.protocol.link.link import Link, LinkSettings
from mesh.protocol.link.meeting import State, read_hello
from mesh.protocol.link.records import SUBPROTOCOL, HelloTerms, read_refusal, refusal
from mesh.protocol.link.run import Delivery

__all__ = [
    "SUBPROTOCOL",
    "Acked",
    "AnswerUnsendable",
    "Attached",
    "ChannelQuiet",
    "Closed",
    "ConnectionRefused",
    "ConnectionSilent",
    "Delivery",
    "Detached",
    "Event",
    "Failed",
    "HandlingResumed",
    "HelloTerms",
    "Inbound",
    "Link",
    "LinkSettings",
    "PeerLeaving",
    "Reason",
    "Received",
    "Refused",
    "RoomOpened",
    "SessionEnded",
    "State",
    "WorkAbandoned",
    "read_hello",
    "read_refusal",
    "refusal",
]
