"""A transport that tells of everything that passes it."""

from __future__ import annotations

from mesh.transport.base import Transport
from mesh.transport.layers.layered import Layered
from mesh.transport.tapping import Sink, Tap


class LoggingTransport(Layered):
    """Wraps another transport and logs each message, both ways, and the end.

    Everything else it passes on; it is a transport like any other. Wrap a transport as soon as you have
    it: what was sent before went by unseen. To look at one that is in use, see ``Transport.tap()``.

    Args:
        original: The transport to look at; it belongs to this one from now on.
        sinks: Who is told, in one line for each message.

    """

    def __init__(self, original: Transport, *sinks: Sink) -> None:
        super().__init__(original, [], tap=Tap(*sinks))
