"""What a tap is told of plain websockets: no transports, for the library sends and receives there."""

from __future__ import annotations

from typing import Any, TypeVar, cast

from websockets.asyncio.connection import Connection
from websockets.protocol import State

from mesh.transport.stream import address_words
from mesh.transport.tapping import Tap, tap_of_process
from mesh.transport.websocket import FRAMED, end_words

C = TypeVar("C", bound=Connection)


class Watch:
    """Tells a tap of one plain connection.

    Args:
        tap: Who is told.
        peer: Address of the other end, for people.

    """

    def __init__(self, tap: Tap, peer: str) -> None:
        self._tap = tap
        self._peer = peer
        tap.opened(peer)

    def sent(self, message: object) -> None:
        """Take note of a message that goes out."""
        if isinstance(message, bytes | str):
            self._tap.sent(self._peer, message)

    def received(self, message: bytes | str) -> None:
        """Take note of a message that came."""
        self._tap.received(self._peer, [message])

    def closing(self, reason: str) -> None:
        """Take note that the connection is closed from here."""
        self._tap.closing(self._peer, reason)

    def ended(self, reason: str) -> None:
        """Take note that it is gone."""
        self._tap.ended(self._peer, reason)


class _Tapped(Connection):
    """To be mixed into connections of ``websockets`` while there is a tap on the process.

    What links and rings send does not pass here; their transports tell of it.
    """

    watch: Watch | None = None

    async def handshake(self, *args: Any, **options: Any) -> None:
        await super().handshake(*args, **options)  # type: ignore[misc]
        tap = tap_of_process()
        if tap is not None and self.state is State.OPEN and self.subprotocol not in FRAMED:
            path = self.request.path if self.request is not None else ""
            self.watch = Watch(tap, f"{address_words(self.remote_address)}{path}")

    async def recv(self, *args: Any, **options: Any) -> Any:
        message = await super().recv(*args, **options)
        if self.watch is not None:
            self.watch.received(message)
        return message

    async def send(self, message: Any, *args: Any, **options: Any) -> None:
        if self.watch is not None:
            self.watch.sent(message)
        await super().send(message, *args, **options)

    async def close(self, code: Any = 1000, reason: str = "") -> None:
        if self.watch is not None and self.state is State.OPEN:
            self.watch.closing(f"{int(code)} {reason}".rstrip())
        await super().close(code, reason)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        watch, self.watch = self.watch, None
        if watch is not None:
            watch.ended(end_words(self.protocol.close_exc))


def tapped(connection: type[C]) -> type[C]:
    """Return a class of connections that tells the tap of this process, if there is one; else the same."""
    if tap_of_process() is None:
        return connection
    return cast("type[C]", type(f"Tapped{connection.__name__}", (_Tapped, connection), {}))
