"""Plain clients: what a worker and whoever speaks no link say to each other, whatever carries it.

Rules:

- The messages of a client are handled one after the other, and answered in their order.
- A refused message is answered, and the conversation goes on, unless the responder says otherwise.
- What became of each message is in the books (see ``mesh.protocol.books``): by what went over
  the wire, not by what the responder said.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from types import SimpleNamespace
from typing import Protocol

from mesh.errors import PayloadError
from mesh.protocol.values import Refusal, Wire, answer_to_wire
from mesh.transport.base import Transport

STOPPING = "worker is stopping"
"""Why a connection is closed when the door is."""


def _deaf(_value: object) -> bool:
    return False


_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Client:
    """One connection from outside.

    Attributes:
        channel: The channel that its messages go to; of a websocket its path, without its leading
            slash, percent-decoded.
        query: What follows the ``?`` of a websocket's path, as it came.
        address: Where the connection comes from, for people.
        subscribes: Whether it gets what is published, instead of sending.
        tell: Sends the client something that it did not ask for, and says whether that was done. It is
            not if the client is gone or does not read what it gets, and never for a websocket,
            which subscribes to what it wants.
        state: Whatever a sketch wants to keep for as long as the client is there.
        id: A number that no other connection of this process has.
        since: When it came, in seconds of ``time.monotonic()``.

    """

    channel: str
    query: str
    address: str
    subscribes: bool = False
    tell: Callable[[object], bool] = field(default=_deaf, compare=False, repr=False)
    state: SimpleNamespace = field(default_factory=SimpleNamespace, compare=False, repr=False)
    id: int = field(default_factory=lambda: next(_ids))
    since: float = field(default_factory=monotonic, compare=False, repr=False)

    @property
    def can_be_told(self) -> bool:
        """Whether ``tell()`` is of any use: at a door for lines or messages it is, for a websocket never."""
        return self.tell is not _deaf


@dataclass(frozen=True, slots=True)
class Ending:
    """An answer after which the conversation with its client is over.

    Attributes:
        answer: The last answer, which may be a refusal; ``None`` for none at all.
        reason: Why it ends, for people.

    """

    answer: object | Refusal
    reason: str


class Conversation(Protocol):
    """All that is said with one client, where an answer to each message is not the rule.

    It may have an attribute more, ``max_message``: bytes of the largest message that a websocket may send
    it; one that is larger ends the connection. Without it that is ``mesh.node.MAX_MESSAGE``.
    """

    async def run(self) -> str:
        """Hold it until it is over, close the connection, and return why it is over."""

    def drain(self) -> None:
        """Come to an end: ``run()`` returns once all that was promised is said."""


Converse = Callable[[Transport], Conversation]
"""Begins a conversation on a connection that is its own from then on."""

Choose = Callable[[Client], Converse | None]
"""Returns what begins the conversation with a client; ``None`` if its messages are just answered."""


def just_answer(_client: Client) -> None:
    """Have all messages answered by the responder."""


class Responder(Protocol):
    """What a door asks of the worker behind it."""

    def client_opened(self, client: Client) -> None:
        """Take note that a client has connected; called in the task that will ask for its answers."""

    async def answer(self, client: Client, message: Wire) -> object | Refusal | Ending:
        """Return the acknowledgement of one message, or its refusal.

        Must not raise anything but ``CancelledError``.
        """

    def client_closed(self, client: Client, reason: str) -> None:
        """Take note that a client is gone, and why."""


def sendable(answer: object | Refusal) -> Wire | Refusal:
    """Return an answer as it travels; one that cannot is a refusal."""
    if isinstance(answer, Refusal):
        return answer
    try:
        return answer_to_wire(answer)
    except PayloadError as exc:
        return Refusal(type(exc).__name__, f"the message was handled, but its acknowledgement: {exc}")
