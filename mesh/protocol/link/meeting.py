"""Meeting: HELLO, WELCOME, and who may attach. Pure decisions over them and what is known of the peer.

The table is the one of ``docs/explanation/link.md``; both ends decide by it, so two
processes that dial each other at once agree on the one connection that stays without
exchanging another word.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from mesh.errors import RemoteProtocolError
from mesh.protocol.link.records import (
    VERSIONS,
    Hello,
    HelloTerms,
    Refused,
    Welcome,
    WelcomeTerms,
    decode_frame,
)

MAX_HELLO: Final = 8192
"""Most bytes of a frame with HELLO or WELCOME."""


class State(enum.Enum):
    """Where a link stands with its connection."""

    DETACHED = "detached"
    """No connection."""
    GREETING = "greeting"
    """Our dial waits for WELCOME."""
    ATTACHED = "attached"
    """Messages flow."""
    REFUSING = "refusing"
    """The connection is of no use any more, but for a last frame."""
    CLOSED = "closed"
    """Left on purpose; nothing will happen any more."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the acceptor knows of the name in a HELLO.

    Attributes:
        state: State of the link.
        incarnation: Incarnation of the peer that the link knew last, ``""`` for none.
        session: The current session, ``""`` for none.
        connections: Connections of that session so far.
        dialled: Whether the current connection was dialled by this side.
        leaving: Whether the link is closing.
        going: Whether nothing was heard for two heartbeats, or the peer said BYE, so that it may be gone.

    """

    state: State = State.DETACHED
    incarnation: str = ""
    session: str = ""
    connections: int = 0
    dialled: bool = False
    leaving: bool = False
    going: bool = False


class Answer(enum.Enum):
    """What is done with a HELLO that is not refused."""

    NEW = "new"
    """A new session with the same incarnation, or the first one at all."""
    RESUME = "resume"
    """The session goes on."""
    REPLACE = "replace"
    """A new session with a new incarnation."""


@dataclass(frozen=True, slots=True)
class No:
    """The HELLO is refused.

    Attributes:
        code: For programs.
        reason: For people.

    """

    code: str
    reason: str


def judge(hello: HelloTerms, name: str, known: Standing) -> Answer | No:
    """Decide on a HELLO.

    Args:
        hello: What the dialler said.
        name: The acceptor's own name.
        known: What it knows of the dialler.

    """
    if choose_version(hello.v) is None:
        return No(
            "version", f"{name} speaks versions {list(VERSIONS)}, {hello.name} speaks {sorted(hello.v)}"
        )
    if hello.name == name:
        return No("name-taken", f"{name} is my own name; give the other process another one")
    if known.leaving:
        return No("closing", f"{name} is going away")
    attached = known.state is State.ATTACHED
    if known.incarnation and known.incarnation != hello.incarnation:
        if attached and known.going:
            return No(
                "unsure", f"{name} cannot tell yet whether another process of the name {hello.name} lives"
            )
        if attached:
            return No("name-taken", f"{name} has a live link with another process of the name {hello.name}")
        return Answer.REPLACE
    ours_stays = No("duplicate", f"{name} has dialled {hello.name} already; that connection stays")
    if known.state is State.GREETING and name.encode() < hello.name.encode():
        return ours_stays
    same = bool(hello.session) and hello.session == known.session
    if attached and known.dialled and not (same and hello.connections >= known.connections):
        return ours_stays
    if attached and not same and not known.going:
        # It dials us under another name or address, or its loss of the connection was not noticed here yet.
        return No("duplicate", f"{hello.name} has a live link with {name} already; that one stays")
    return Answer.RESUME if same else Answer.NEW


def choose_version(offered: list[int]) -> int | None:
    """Return the highest version that both ends speak, or ``None``."""
    return max(set(offered) & set(VERSIONS), default=None)


# -- the first frames -----------------------------------------------------------------------


def read_hello(data: bytes) -> HelloTerms:
    """Return what a dialler says of itself in its first frame.

    Raises:
        RemoteProtocolError: If the frame is not exactly one HELLO.

    """
    match decode_frame(data, MAX_HELLO):
        case [(Hello(terms), _)]:
            return terms
    raise RemoteProtocolError("the first frame of a dialler holds one HELLO and nothing else")


def read_welcome(data: bytes) -> WelcomeTerms | Refused | None:
    """Return how an acceptor answers in a frame; ``None`` if it is a heartbeat.

    Raises:
        RemoteProtocolError: If the frame holds anything else.

    """
    match decode_frame(data, MAX_HELLO):
        case []:
            return None
        case [(Refused() as refused, _)]:
            return refused
        case [(Welcome(terms), _)]:
            return terms
    raise RemoteProtocolError("the first frame of an acceptor holds WELCOME or REFUSED, and only that")


def check_welcome(terms: WelcomeTerms, expected: str | None, session: str, incarnation: str) -> None:
    """Check the terms of a WELCOME against what was asked for.

    Args:
        terms: What the acceptor says.
        expected: The name that was dialled; ``None`` if any may answer.
        session: The session that was asked for, ``""`` for none.
        incarnation: Whose session it was.

    Raises:
        RemoteProtocolError: If they do not fit.

    """
    if expected is not None and terms.name != expected:
        raise RemoteProtocolError(f"dialled {expected}, but {terms.name} answers there")
    if terms.v not in VERSIONS:
        raise RemoteProtocolError(f"{terms.name} chose version {terms.v}, which was not offered")
    if terms.resumed and (terms.session != session or terms.incarnation != incarnation):
        raise RemoteProtocolError(f"{terms.name} resumed a session that was not asked for")
