"""A layer that changes nothing and tells of everything that passes its place."""

from __future__ import annotations

import logging

from mesh.transport.layers.base import Layer
from mesh.transport.tapping import Tap

logger = logging.getLogger("mesh.wire")


class Logging(Layer):
    """Tells a tap of each message, both ways: as it is at this place among the layers.

    Args:
        tap: Who is told; ``None`` for the logger ``mesh.wire``, at level INFO.

    """

    def __init__(self, tap: Tap | None = None) -> None:
        self._tap = tap or Tap(logger.info)

    def outbound(self, message: bytes) -> list[bytes]:
        """Return the message."""
        self._tap.sent(self.peer, message)
        return [message]

    def inbound(self, data: bytes) -> list[bytes]:
        """Return what came."""
        self._tap.received(self.peer, [data])
        return [data]
