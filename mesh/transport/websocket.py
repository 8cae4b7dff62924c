"""The real wire: a connection of ``websockets``, or of a library with its API."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import Any, Protocol

from websockets.exceptions import ConnectionClosed

from mesh.transport.base import Transport, TransportClosedError

CLOSE_TIMEOUT = 0.5
"""Seconds that the goodbye of a link may take."""

# Offset of tcpi_last_data_recv, in milliseconds, in Linux's struct tcp_info: eight
# bytes of flags, then 32-bit fields of which it is the twelfth (linux/tcp.h).
_LAST_DATA_RECV = 8 + 4 * 11


class Connection(Protocol):
    """The part of a ``websockets`` connection that a link uses."""

    async def send(self, message: bytes) -> None:
        """Send one message."""

    async def recv(self) -> str | bytes:
        """Return the next message."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with the closing handshake."""

    @property
    def transport(self) -> Any:
        """The transport of asyncio beneath."""


class WebsocketTransport(Transport):
    """Frames as binary messages of one websocket connection.

    Args:
        connection: An open connection; this transport owns it from now on.
        peer: Address of the other end, for people.

    """

    def __init__(self, connection: Connection, peer: str) -> None:
        self._connection = connection
        self._peer = peer
        self._socket: socket.socket | None = connection.transport.get_extra_info("socket")

    @property
    def peer(self) -> str:
        """Address of the other end, for people."""
        return self._peer

    async def send(self, data: bytes) -> None:
        """Send one message; see ``Transport.send``."""
        try:
            await self._connection.send(data)
        except ConnectionClosed as exc:
            raise TransportClosedError(_words(exc)) from None

    async def recv(self) -> bytes:
        """Return the next message; see ``Transport.recv``."""
        try:
            message = await self._connection.recv()
        except ConnectionClosed as exc:
            raise TransportClosedError(_words(exc)) from None
        # Text is no frame; the link's decoder says so better than we could here.
        return message.encode() if isinstance(message, str) else message

    async def close(self, reason: str = "") -> None:
        """Say goodbye and close; see ``Transport.close``."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._connection.close(1000, reason[:100])
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        # asyncio cannot abort a transport that it lost with data left to write.
        with contextlib.suppress(AttributeError):
            self._connection.transport.abort()

    def silence(self) -> float | None:
        """Return the seconds since the kernel last got bytes from the peer; Linux only."""
        if self._socket is None or not sys.platform.startswith("linux"):
            return None
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA_RECV + 4)
        except OSError:
            return None
        if len(info) < _LAST_DATA_RECV + 4:
            return None
        (milliseconds,) = struct.unpack_from("=I", info, _LAST_DATA_RECV)
        return float(milliseconds / 1000)


def set_user_timeout(sock: socket.socket | None, seconds: float) -> None:
    """Let the kernel give a connection up when sent bytes stay unacknowledged for so long.

    Where the platform has no ``TCP_USER_TIMEOUT``, nothing is done: the link notices
    by itself, later.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if sock is None or option is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


def _words(exc: ConnectionClosed) -> str:
    if exc.rcvd is not None and (exc.rcvd_then_sent or exc.sent is None):
        return f"the peer closed it ({exc.rcvd.code}{' ' + exc.rcvd.reason if exc.rcvd.reason else ''})"
    if exc.sent is not None:
        return f"closed from here ({exc.sent.code}{' ' + exc.sent.reason if exc.sent.reason else ''})"
    return "connection lost without a goodbye"
