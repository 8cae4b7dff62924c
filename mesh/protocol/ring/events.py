"""What the core of a ring gives back: what happened, in the past tense, and two commands."""

from __future__ import annotations

import enum
from typing import Any

from msgspec import Raw, Struct


class Reason(enum.StrEnum):
    """Why a message was given up."""

    NO_RECEIPT = "no receipt"
    """It did not come round in time."""
    CANCELLED = "cancelled"
    """``cancel()`` was called."""
    CLOSED = "closed"
    """The member left before the receipt came."""
    TOO_LARGE = "too large"
    """It was larger than a ring takes."""
    NO_ROOM = "no room"
    """Too many waited for room already."""


class Dial(Struct, frozen=True):
    """A command: open a connection to a member, then call ``connected()`` or ``connection_lost()``.

    Attributes:
        id: What the connection is called from now on.
        name: The member.

    """

    id: int
    name: str


class HangUp(Struct, frozen=True):
    """A command: send what is there for this connection and close it. Tell no more of it.

    Attributes:
        id: The connection; it may be one that is still being dialled.
        reason: Why, for people.

    """

    id: int
    reason: str


class Taken(Struct, frozen=True):
    """Messages came round and want to be handled, in order; then call ``handled()``.

    Attributes:
        sender: Who sent them.
        incarnation: Which process of that name.
        items: The messages, still encoded.

    """

    sender: str
    incarnation: str
    items: list[Raw]


class Receipted(Struct, frozen=True):
    """Messages were round.

    Attributes:
        owners: What was given to ``circulate()``, in order.
        seen: Who took them, in the order of the ring.

    """

    owners: list[Any]
    seen: tuple[str, ...]


class Failed(Struct, frozen=True):
    """A message was given up; some may have taken it nevertheless.

    Attributes:
        owner: What was given to ``circulate()``.
        reason: Why.
        waited: Seconds since ``circulate()``.

    """

    owner: Any
    reason: Reason
    waited: float


class RoomOpened(Struct, frozen=True):
    """The window was full, and takes messages again."""


class Changed(Struct, frozen=True):
    """One of the neighbours is another one than before.

    Attributes:
        predecessor: Who sends to us, or ``""``.
        successor: To whom we send, or ``""``.
        lone: Whether everybody was looked for and nobody is there.

    """

    predecessor: str
    successor: str
    lone: bool


class Lost(Struct, frozen=True):
    """A neighbour is gone that did not say goodbye.

    Attributes:
        name: Who.
        was: ``successor`` or ``predecessor``.
        reason: How it was noticed, for people.

    """

    name: str
    was: str
    reason: str


class Rolled(Struct, frozen=True):
    """A roll is back.

    Attributes:
        number: What ``roll()`` returned.
        names: Who is in the ring besides us, in its order.

    """

    number: int
    names: tuple[str, ...]


class Told(Struct, frozen=True):
    """Something for people to know, once.

    Attributes:
        text: A sentence.

    """

    text: str


class Left(Struct, frozen=True):
    """``leave()`` is complete; nothing will happen any more."""


Event = Dial | HangUp | Taken | Receipted | Failed | RoomOpened | Changed | Lost | Rolled | Told | Left
