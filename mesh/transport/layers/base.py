"""What a layer is: it changes messages on their way, and knows nothing of sockets or time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from mesh.errors import MeshError


class LayerError(MeshError, ValueError):
    """What came, or was to be sent, is none of this layer's.

    Attributes:
        messages: Those that were whole before it.

    """

    def __init__(self, why: str, messages: Sequence[bytes] = ()) -> None:
        super().__init__(why)
        self.messages = list(messages)


class Layer(ABC):
    """One step between the wire and whoever uses it, for one connection.

    Sans-I/O: bytes go in and bytes come out. What it holds between two calls has a bound.

    Attributes:
        peer: Address of the other end, for people; known before the first call.
        cuts_bytes: Whether it makes messages of bytes that come cut anywhere. Any other layer needs
            whole messages below it, or hands on chunks.
        is_binary: Whether any bytes can be a message above it.

    """

    peer = ""
    cuts_bytes: ClassVar[bool] = False
    is_binary: ClassVar[bool] = True

    @abstractmethod
    def outbound(self, message: bytes) -> list[bytes]:
        """Return what goes towards the wire for one message.

        Raises:
            LayerError: If it cannot be sent. The connection ends.

        """

    @abstractmethod
    def inbound(self, data: bytes) -> list[bytes]:
        """Return the messages that are whole with what came from the wire.

        Raises:
            LayerError: If that is none of this layer's; its ``messages`` are those before it. The
                connection ends.

        """

    def finish(self) -> list[bytes]:
        """Return the messages that are whole now that nothing more will come.

        Raises:
            LayerError: If one is unfinished; who waits for messages is told so.

        """
        return []

    def farewell(self, error: LayerError) -> list[bytes]:
        """Return messages that tell the peer why the connection ends, if it has a way to be told."""
        return []
