"""What every transport promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mesh.errors import MeshError


class TransportClosedError(MeshError, ConnectionError):
    """The connection is gone.

    Attributes:
        reason: Who closed it and why, for people.

    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Transport(ABC):
    """A two-way connection that carries whole messages, in order, until it breaks.

    One task receives and any number may send. A message arrives whole or not at all;
    after a gap nothing arrives any more.
    """

    @property
    @abstractmethod
    def peer(self) -> str:
        """Address of the other end, for people."""

    @abstractmethod
    async def send(self, data: bytes) -> None:
        """Send one message; waits while the write buffer is full.

        The message is taken before it waits: who cancels the wait has sent it nevertheless,
        so there is never a doubt about what is on its way.

        Raises:
            TransportClosedError: If the connection is gone.

        """

    @abstractmethod
    async def recv(self) -> bytes:
        """Return the next message. Cancelling it loses nothing.

        Raises:
            TransportClosedError: If the connection is gone, once everything that
                arrived before has been returned.

        """

    @abstractmethod
    async def close(self, reason: str = "") -> None:
        """Send what is buffered, say goodbye and close. Never raises, never hangs."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once; what is buffered is lost."""

    def silence(self) -> float | None:
        """Return the seconds since bytes last arrived, of unfinished messages too.

        ``None`` when the transport cannot tell.
        """
        return None
