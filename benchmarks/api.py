"""What a peer of the benchmark is: the tiny interface of every ``peer_*.py`` module.

A module serves one or more *variants*, the names in ``registry.py``. It is imported only
in the processes that run it, so that a package that is not installed is missed by nobody else.

==========================================  ===================================================
``await receive(variant, broker, ready)``   the receiving process: call ``ready(port)`` once, run on
``sender(variant, port)``                   async context manager that gives a ``Sender``
``idle(variant, port, count)``              async context manager that holds idle connections
==========================================  ===================================================

``port`` is the one given to ``ready``; a peer with a broker gives the broker's, which it gets as ``broker``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, AnyStr, Protocol

HOST = "127.0.0.1"

ID_LENGTH = 8
"""A message begins with its number, in so many digits; that is what its ack consists of."""

BATCH = 256
"""Most messages in one frame, for the variants that batch by hand."""

Ready = Callable[[int], None]


class Sender(Protocol):
    """The sending end, connected."""

    def exchange(self, messages: Sequence[Any], window: int) -> Awaitable[list[Any]]:
        """Send messages and return their acks in the order of the messages.

        Args:
            messages: All ``str`` or all ``bytes``, ready to be sent.
            window: Most messages that may be sent and not yet acked.

        """
        ...


class PeerModule(Protocol):
    """The functions of a ``peer_*.py`` module."""

    def receive(self, variant: str, broker: int | None, ready: Ready) -> Awaitable[None]:
        """Answer messages until the process is ended."""
        ...

    def sender(self, variant: str, port: int) -> AbstractAsyncContextManager[Sender]:
        """Connect to the receiver."""
        ...

    def idle(self, variant: str, port: int, count: int) -> AbstractAsyncContextManager[None]:
        """Hold idle connections."""
        ...


async def handle(message: AnyStr) -> AnyStr:
    """Be the handler: the work of every receiver, once per message, awaited.

    Returns:
        The message's number, which is its ack.

    """
    return message[:ID_LENGTH]
