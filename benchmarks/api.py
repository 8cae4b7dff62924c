"""What a peer of the benchmark is: the tiny interface of every ``peer_*.py`` module.

A module serves one or more *variants*, the names in ``registry.py``. It is imported only
in the processes that run it, so that a package that is not installed is missed by nobody else.

======================  =============================================================
``await receive(job)``  the receiving process: call ``job.ready(port)`` once, run on
``sender(at)``          async context manager that gives a connected ``Sender``
``idle(at, count)``     async context manager that holds idle connections
======================  =============================================================

The module of a variant that takes part in the workloads ``crowd``, ``channels``, ``peers`` or
the soaks has the further functions of ``WideModule``; in the fan-out those of ``fanout.FanModule``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

HOST = "127.0.0.1"

Figures = dict[str, float]
"""What one measurement gives, by the name of each figure."""

ID_LENGTH = 8
"""A message begins with its number, in so many digits; that is what its ack consists of."""

BATCH = 256
"""Most messages in one frame, for the variants that batch by hand."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a receiver is told.

    Attributes:
        variant: Which of the module's variants it is.
        broker: Port of the broker, for a peer that has one.
        ready: To be called once with the port that senders connect to; with a broker that is the broker's.

    """

    variant: str
    broker: int
    ready: Callable[[int], None]

    @property
    def batched(self) -> bool:
        """Whether many messages come in one frame."""
        return self.variant.endswith("-batched")


@dataclass(frozen=True, slots=True)
class At:
    """Where a sender connects to.

    Attributes:
        variant: Which of the module's variants it is.
        port: The port that the receiver called ``ready`` with.

    """

    variant: str
    port: int

    @property
    def batched(self) -> bool:
        """Whether many messages go in one frame."""
        return self.variant.endswith("-batched")


class WrongAckError(Exception):
    """An ack is missing, out of order or not that of its message."""


def make_messages(count: int, size: int, text: bool) -> Sequence[Any]:
    """Return messages of a size that begin with their number."""
    padding = "x" * (size - ID_LENGTH)
    messages = [f"{number:0{ID_LENGTH}d}{padding}" for number in range(count)]
    return messages if text else [message.encode() for message in messages]


class Sender(Protocol):
    """The sending end, connected."""

    def exchange(self, messages: Sequence[Any], window: int) -> Awaitable[list[Any]]:
        """Send messages and return their acks in the order of the messages.

        Args:
            messages: All ``str`` or all ``bytes``, ready to be sent.
            window: Most messages that may be sent and not yet acked.

        """
        ...


class Asker(Protocol):
    """The sending end of a variant that takes part in the workload ``request``."""

    def request(self, message: Any) -> Awaitable[Any]:
        """Send one message and return its answer, by whatever the peer has for just that."""
        ...


class PeerModule(Protocol):
    """The functions of a ``peer_*.py`` module."""

    def receive(self, job: Job) -> Coroutine[Any, Any, None]:
        """Answer messages until the process is ended."""
        ...

    def sender(self, at: At) -> AbstractAsyncContextManager[Sender]:
        """Connect to the receiver."""
        ...

    def idle(self, at: At, count: int) -> AbstractAsyncContextManager[None]:
        """Hold idle connections."""
        ...


Lane = Callable[[Sequence[Any]], Awaitable[list[Any]]]
"""Sends messages to one channel of one link and returns their acks."""


class WideModule(PeerModule, Protocol):
    """The functions of a ``peer_*.py`` module whose links, channels and memory are looked at closely."""

    def crowd(self, at: At, count: int) -> AbstractAsyncContextManager[None]:
        """Hold idle connections of plain clients, where ``idle()`` holds something better."""
        ...

    def lanes(self, at: At, kind: str, count: int) -> AbstractAsyncContextManager[Sequence[Lane]]:
        """Give so many ``channels`` of one link, or so many ``peers`` with a link each."""
        ...

    def endless(self, at: At, pace: float) -> AbstractAsyncContextManager[Endless]:
        """Connect a sender to a handler that takes so many seconds for each message."""
        ...


class Endless(Protocol):
    """A sender that streams for as long as its source gives something."""

    def acks(self, messages: Iterator[str]) -> AsyncIterator[Any]:
        """Stream messages and give the ack of each as it comes."""
        ...


async def handle(message: Any) -> Any:
    """Be the handler: the work of every receiver, once per message, awaited.

    Returns:
        The message's number, which is its ack.

    """
    return message[:ID_LENGTH]
