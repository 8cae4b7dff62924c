"""The real wire: one websocket connection of ``websockets``.

The library opens the connection, answers pings, closes, and judges whatever is unusual.
Past it goes only what a link consists of: whole binary messages, which are cut from the
bytes as they arrive and handed over in the same call. By way of the library each would
cost the wake-up of a task at both ends; see docs/explanation/performance.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import Final

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import Side, State

from mesh.node import MAX_MESSAGE
from mesh.protocol.link import SUBPROTOCOL
from mesh.transport.base import Transport
from mesh.transport.framing import Cutter, Masker, apply_mask, head

MAX_UNREAD: Final = MAX_MESSAGE + 4 * 2**20
"""Bytes that wait in the write buffer of a client that does not read; beyond it the client is cut off."""

CLOSE_TIMEOUT = 0.5
"""Seconds that the goodbye of a link may take."""

WRITE_BUFFER: Final = 256 * 1024
"""Bytes in the write buffer from which on nothing more is to be written."""

_LARGE: Final = 16 * 1024
"""Bytes of a message from which on it is written without being copied behind its head."""

# Offset of tcpi_last_data_recv, in milliseconds, in Linux's struct tcp_info: eight
# bytes of flags, then 32-bit fields of which it is the twelfth (linux/tcp.h).
_LAST_DATA_RECV = 8 + 4 * 11


class LinkConnection(Connection):
    """A connection that may turn out to be a link's; to be mixed into those of ``websockets``.

    Until ``sketchmesh.v1`` is agreed on, and for plain clients for ever, all is the library's.
    """

    _wire: WebsocketTransport | None = None
    # Whether bytes came in one piece with the handshake, so that the library has them.
    _is_ahead = False

    def as_transport(self, peer: str) -> WebsocketTransport:
        """Return what a link uses; the connection is its own from now on.

        Args:
            peer: Address of the other end, for people.

        """
        wire = self._wire or self._begin_link()
        wire.set_peer(peer)
        return wire

    def _begin_link(self) -> WebsocketTransport:
        wire = self._wire = WebsocketTransport(self)
        if self._is_ahead:
            wire.cutter.is_done = True
            wire.library_reads_on()
        return wire

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        wire = self._wire
        if wire is None:
            if self.state is State.CONNECTING:
                self._is_ahead = not data.endswith(b"\r\n\r\n")
            elif self.subprotocol == SUBPROTOCOL and self.state is State.OPEN:
                wire = self._begin_link()  # before anybody has asked for it
        if wire is not None and not wire.cutter.is_done:
            messages, data = wire.cutter.feed(data)
            if messages:
                wire.messages_came(messages)
            if not data:
                return
            wire.library_reads_on()
        if self.transport.get_write_buffer_size() > MAX_UNREAD:
            # Who sends pings and never reads their answers would fill our memory.
            abort(self)
        else:
            super().data_received(data)
            if wire is not None and self.state is not State.OPEN:
                wire.is_open = False  # that was the peer's goodbye

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the socket is closed."""
        super().connection_lost(exc)
        if self._wire is not None:
            self._wire.socket_closed(self.protocol.close_exc)

    def pause_writing(self) -> None:
        """Take note that the write buffer is full."""
        super().pause_writing()
        if self._wire is not None:
            self._wire.buffer_is(full=True)

    def resume_writing(self) -> None:
        """Take note that the write buffer has room."""
        super().resume_writing()
        if self._wire is not None:
            self._wire.buffer_is(full=False)


class LinkClientConnection(LinkConnection, ClientConnection):
    """A link's connection at the end that dialled."""


class WebsocketTransport(Transport):
    """Frames as binary messages of one websocket connection.

    Args:
        connection: An open connection, which made this.

    Attributes:
        cutter: Cuts messages from its bytes.
        is_open: Whether neither end has begun to close it.

    """

    def __init__(self, connection: LinkConnection) -> None:
        super().__init__()
        self._connection = connection
        self._wire = connection.transport
        self._wire.set_write_buffer_limits(WRITE_BUFFER)
        self._peer = ""
        client = connection.protocol.side is Side.CLIENT
        self._masker = Masker() if client else None
        self.cutter = Cutter(masked=not client, largest=connection.protocol.max_message_size or sys.maxsize)
        self.is_open = True
        self._reader: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = connection.transport.get_extra_info("socket")

    @property
    def peer(self) -> str:
        """Address of the other end, for people."""
        return self._peer

    def set_peer(self, peer: str) -> None:
        """Set the address of the other end."""
        self._peer = peer

    def write(self, message: bytes) -> None:
        """Send one message; see ``Transport.write``."""
        if not self.is_open or self._wire.is_closing():
            return
        if self._masker is None:
            begin = head(len(message), 0)
        else:
            key = self._masker.key()
            begin = head(len(message), 0x80) + key
            message = apply_mask(message, key)
        if len(message) < _LARGE:
            self._wire.write(begin + message)
        else:
            self._wire.write(begin)
            self._wire.write(message)

    async def close(self, reason: str = "") -> None:
        """Say goodbye and close; see ``Transport.close``."""
        self.is_open = False
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._connection.close(1000, reason[:100])
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self.is_open = False
        abort(self._connection)

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

    # -- what the connection calls -----------------------------------------------------------

    def messages_came(self, messages: list[bytes]) -> None:
        """Take messages."""
        if self.is_open:
            self._came(messages)

    def library_reads_on(self) -> None:
        """Take messages from the library from now on, if the peer sends in fragments or in error."""
        if self.cutter.is_done:
            self._reader = asyncio.get_running_loop().create_task(self._read(), name="link reader")

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                # Text is no frame; the link's decoder says so better than we could here.
                message = await self._connection.recv()
                self._came([message.encode() if isinstance(message, str) else message])

    def socket_closed(self, exc: ConnectionClosed) -> None:
        """Take note that the connection is gone."""
        if self._reader is None:
            self._end(_words(exc))
        else:  # what the library still holds comes first
            self._reader.add_done_callback(lambda _: self._end(_words(exc)))

    def buffer_is(self, *, full: bool) -> None:
        """Take note of the state of the write buffer."""
        self._may_write(not full)

    def _hold_back(self, on: bool) -> None:
        if on:
            self._wire.pause_reading()
        else:
            self._wire.resume_reading()


def abort(connection: Connection) -> None:
    """Close a connection at once."""
    # asyncio cannot abort a transport that it lost with data left to write.
    with contextlib.suppress(AttributeError):
        connection.transport.abort()


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
