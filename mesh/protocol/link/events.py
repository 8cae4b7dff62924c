"""What happened, for the shell to act on; in the past tense.

``owner`` is the object that was given to ``send()``. Events speak of runs of messages,
not of single ones, and the events of one owner on one channel come in the order of its
messages: who counts knows which message is meant. Each message is part of exactly one
``Acked``, ``Refused`` or ``Failed``.

The types are msgspec Structs, not dataclasses: made ten times faster, otherwise alike.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from mesh.protocol.link.inbound import Inbound


class Reason(enum.StrEnum):
    """Why messages failed."""

    PEER_DOWN = "peer down"
    """No connection for as long as the sender was patient."""
    ACK_TIMEOUT = "ack timeout"
    """No answer in time after the first transmission."""
    SESSION_OVER = "session over"
    """The session ended (expired, forgotten by the peer, protocol error) before the answer came."""
    PEER_RESTARTED = "peer restarted"
    """Sent at most once to a process that is gone."""
    TOO_LARGE = "too large"
    """Larger than the peer takes, which was not known when it was sent."""
    TURNED_AWAY = "turned away"
    """The peer refuses this process (name taken, no version in common), or cannot be dialled at all."""
    CANCELLED = "cancelled"
    """``cancel()`` was called."""
    CLOSED = "closed"
    """The link was closed before the answer came."""


class Acked(Struct, frozen=True):
    """Messages were handled.

    Attributes:
        owner: Who sent them.
        values: What the handler returned, one for each message.

    """

    owner: Any
    values: list[Any]


class Refused(Struct, frozen=True):
    """Messages were refused by the peer's handler.

    Attributes:
        owner: Who sent them.
        count: How many.
        type: Name of the error's type.
        message: Why, in the peer's words.

    """

    owner: Any
    count: int
    type: str
    message: str


class Failed(Struct, frozen=True):
    """Messages were given up without an answer.

    Attributes:
        owner: Who sent them.
        count: How many.
        reason: Why.
        transmitted: Whether they were ever sent: if so their outcome is unknown,
            if not they certainly were not handled.
        waited: Of those that came too late (``PEER_DOWN``, ``ACK_TIMEOUT``), the seconds that were
            spent waiting for the peer, or for its answer.

    """

    owner: Any
    count: int
    reason: Reason
    transmitted: bool
    waited: float = 0.0


class RoomOpened(Struct, frozen=True):
    """A channel that had no room, or took less than it was given, takes messages again.

    Attributes:
        channel: The channel.

    """

    channel: str


class Received(Struct, frozen=True):
    """Messages came and want to be handled, in order, one at a time.

    Attributes:
        work: What ``ack()`` and ``nack()`` want to know; one object for each
            channel and session, with ``channel``, ``in_hand`` and ``may_handle``.
        items: The messages.

    """

    work: Inbound
    items: list[Any]


class HandlingResumed(Struct, frozen=True):
    """``work.may_handle`` was false, because the sender had not taken its answers, and is true again.

    Attributes:
        work: The same object as in ``Received``.

    """

    work: Inbound


class ChannelQuiet(Struct, frozen=True):
    """Everything that came on a channel is settled, for a while: nothing need be kept for it.

    Attributes:
        channel: Name of the channel.

    """

    channel: str


class AnswerUnsendable(Struct, frozen=True):
    """A handler's value could not be sent, so its message was refused instead.

    Attributes:
        work: The same object as in ``Received``.
        error: What is wrong with the value.

    """

    work: Inbound
    error: Exception


class WorkAbandoned(Struct, frozen=True):
    """The session is over: nobody waits for the answers to these messages.

    Stop handling what is left of them; answers given nevertheless go nowhere.

    Attributes:
        work: The same object as in ``Received``.
        count: How many messages were in hand.

    """

    work: Inbound
    count: int


class Attached(Struct, frozen=True):
    """The link has a connection, and messages flow.

    Attributes:
        peer: The peer's name.
        incarnation: Which process of that name it is.
        session: The session from now on.
        resumed: Whether it is the session from before.
        restarted: Whether the peer is another incarnation than before.

    """

    peer: str
    incarnation: str
    session: str
    resumed: bool
    restarted: bool


class Detached(Struct, frozen=True):
    """The link lost its connection, and waits for another one.

    Attributes:
        reason: Why, in words.

    """

    reason: str


class ConnectionSilent(Struct, frozen=True):
    """Nothing was heard for too long: abort the connection, then call ``connection_lost()``.

    Attributes:
        silence: Seconds since the last bytes.

    """

    silence: float


class ConnectionRefused(Struct, frozen=True):
    """The peer said no: close the connection, then call ``connection_lost()``.

    Attributes:
        code: ``version``, ``name-taken``, ``unsure``, ``duplicate``, ``closing``, ``too-many``
            or ``protocol``, or one that is not known yet.
        reason: Why, in the peer's words.

    """

    code: str
    reason: str


class SessionEnded(Struct, frozen=True):
    """The session is over; the next connection begins a new one.

    Attributes:
        reason: Why, in words.

    """

    reason: str


class PeerLeaving(Struct, frozen=True):
    """The peer goes away on purpose: it takes no more messages but answers those it has.

    Attributes:
        reason: Why, in the peer's words.

    """

    reason: str


class Closed(Struct, frozen=True):
    """``close()`` is complete: everything is answered, or was given up. Close the connection."""


Event = (
    Acked
    | Refused
    | Failed
    | RoomOpened
    | Received
    | HandlingResumed
    | ChannelQuiet
    | AnswerUnsendable
    | WorkAbandoned
    | Attached
    | Detached
    | ConnectionSilent
    | ConnectionRefused
    | SessionEnded
    | PeerLeaving
    | Closed
)
