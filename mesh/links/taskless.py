"""Inboxes without a task of their own: what comes is dealt with at once, or waits for somebody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import asyncio

    from mesh.links.shell import LinkShell
    from mesh.protocol.link.inbound import Inbound


class Taskless:
    """What such inboxes have in common; each has a ``put()``, and says more where there is more to say.

    Attributes:
        task: There is none.

    """

    task: asyncio.Task[None] | None = None

    @property
    def in_hand(self) -> int:
        """Messages that came and are not answered: none, if they are answered as they come."""
        return 0

    def wake(self) -> None:
        """Look again whether there is something to do; there never is."""

    def retire(self) -> None:
        """Keep nothing that the next message would bring back; nothing is kept."""

    def shut(self) -> None:
        """End what handles messages; nothing runs here."""


class AnsweredAtOnce(Taskless):
    """Takes the messages of a channel whose answers are known at once.

    Args:
        link: The link.
        kind: What a message is.
        handle: Returns the answer; what it refuses it raises ``ValueError`` for.

    """

    def __init__(self, link: LinkShell, kind: type[Any], handle: Callable[[LinkShell, Any], object]) -> None:
        self._link = link
        self._kind = kind
        self._handle = handle

    def put(self, work: Inbound, items: list[Any]) -> None:
        """Answer messages."""
        link = self._link
        for item in items:
            try:
                answer = self._handle(link, msgspec.convert(item, self._kind))
            except (ValueError, TypeError) as exc:  # what msgspec raises is a ValueError as well
                link.core.nack(work, "ValueError", str(exc), link.time())
            else:
                link.core.ack(work, [answer], link.time())
