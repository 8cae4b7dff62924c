"""Which plain client the message that is in hand comes from."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from mesh.conversation import Client

_CURRENT: ContextVar[tuple[Client, asyncio.Task[object] | None] | None] = ContextVar("client", default=None)


def enter(client: Client | None) -> None:
    """Let the messages that this task asks answers for be those of a client, or of none."""
    _CURRENT.set(None if client is None else (client, asyncio.current_task()))


class CurrentClient:
    """An attribute that is the client whose message is in hand; ``None`` for a message of a link.

    A task that a handler starts inherits its context, and may live on and handle messages of others. So
    the client is there for the task that handles its messages, and for threads, and for nobody else.
    """

    def __get__(self, sketch: object, owner: type) -> Client | None:
        """Return the client."""
        entered = _CURRENT.get()
        if entered is None:
            return None
        client, handler = entered
        try:
            running = asyncio.current_task()
        except RuntimeError:  # in a thread, which got the context of the message in hand
            return client
        return client if running is handler else None
