"""The real wire: one websocket connection of ``websockets``.

The library opens the connection, answers pings, closes, and judges whatever is unusual.
Past it goes only what a link consists of: whole binary messages, which are cut from the
bytes as they arrive and handed over in the same call. By way of the library each would
cost the wake-up of a task at both ends; see docs/explanation/performance.md.

Nobody is to starve the others: who has sent a lot at once is read from again only after
everybody else had a turn, and what the library is to judge it gets in small pieces.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed, InvalidState
from websockets.protocol import Side, State

from mesh.node import MAX_MESSAGE
from mesh.protocol.link import SUBPROTOCOL
from mesh.protocol.ring.records import SUBPROTOCOL as RING
from mesh.transport.base import Transport
from mesh.transport.framing import BINARY, TEXT, Cutter, Masker, apply_mask, head

if TYPE_CHECKING:
    from mesh.transport.watching import Watch

FRAMED: Final = frozenset((SUBPROTOCOL, RING))
"""The subprotocols that consist of frames."""

MAX_UNREAD: Final = MAX_MESSAGE + 4 * 2**20
"""Bytes that wait in the write buffer of a client that does not read; beyond it the client is cut off."""

CLOSE_TIMEOUT = 0.5
"""Seconds that the goodbye of a link may take without a byte that gets through."""

CLOSE_LIMIT: Final = 2.0
"""Seconds that it may take in all."""

WRITE_BUFFER: Final = 256 * 1024
"""Bytes in the write buffer from which on nothing more is to be written."""

LONG_READ: Final = 64 * 1024
"""Bytes read at once from which on it is looked at how long that takes.

libuv reads on from one socket for as long as it fills its buffer, 32 times: 8 MiB of
heartbeats took seconds. That buffer has 256 KiB in uvloop, and 64 KiB by libuv's own advice.
"""

TURN: Final = 0.005
"""Seconds that one connection may keep the loop, if much comes, before others have their turn."""

PIECE: Final = 16 * 1024
"""Bytes that the library gets in one turn of the loop: it may take 30 microseconds for a ping of six."""

_LARGE: Final = 16 * 1024
"""Bytes of a message from which on it is written without being copied behind its head."""

# Offset of tcpi_last_data_recv, in milliseconds, in Linux's struct tcp_info: eight
# bytes of flags, then 32-bit fields of which it is the twelfth (linux/tcp.h).
_LAST_DATA_RECV = 8 + 4 * 11
# The option TCP_THIN_LINEAR_TIMEOUTS, which Python has no name for (linux/tcp.h).
_THIN_LINEAR_TIMEOUTS = 16
# Likewise of tcpi_data_segs_in: behind 24 fields of 32 bits, four of 64 and four more of 32.
_DATA_SEGS_IN = 8 + 4 * 24 + 8 * 4 + 4 * 4


class _Gate:
    """The socket as the library's queue of messages sees it, to hold up what comes.

    The library, the wire and fairness each may want that nothing is read.

    Attributes:
        is_shut: Whether the library wants that nothing is read.

    """

    def __init__(self, connection: LinkConnection, transport: asyncio.Transport) -> None:
        self.is_shut = False
        self._connection: LinkConnection | None = connection
        self._transport = transport

    def pause_reading(self) -> None:
        self.is_shut = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self.is_shut = False
        if self._connection is not None:
            self._connection.read_on()

    def forget(self) -> None:
        """Let go of the connection: else the two would refer to each other."""
        self._connection = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LinkConnection(Connection):
    """A connection that may turn out to be a link's; to be mixed into those of ``websockets``.

    Until ``sketchmesh.v1`` is agreed on, and for plain clients for ever, all is the library's.
    """

    _gate: _Gate
    _wire: WebsocketTransport | None = None
    when_writable: Callable[[], None] | None = None
    """Called when the write buffer has room again."""
    watch: Watch | None = None
    """Sees what goes past ``send()`` as well; ``None`` if nobody does."""
    # Whether bytes came in one piece with the handshake, so that the library has them.
    _is_ahead = False
    # Whether others have their turn before more is read, and what the library gets after that.
    _is_waiting = False
    _rest = b""
    # When it was first read from in this turn of the loop, if much came.
    _turn_began = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note that there is a socket."""
        socket_transport = cast(asyncio.Transport, transport)
        self._gate = _Gate(self, socket_transport)
        # The library has to ask whoever decides for all of us when nothing is to be read.
        super().connection_made(cast(asyncio.Transport, self._gate))
        self.transport = socket_transport

    def as_transport(self, peer: str, *, text: bool = False) -> WebsocketTransport:
        """Return what a link uses; the connection is its own from now on.

        Args:
            peer: Address of the other end, for people.
            text: Whether what is written is UTF-8, and goes out as text messages.

        """
        wire = self._wire or self._begin_link()
        if text:
            wire.kind = TEXT
        wire.set_peer(peer)
        return wire

    def _begin_link(self) -> WebsocketTransport:
        wire = self._wire = WebsocketTransport(self)
        if self._is_ahead or self.subprotocol not in FRAMED or self.protocol.extensions:
            # The library has the first bytes, or knows better what such a client may send.
            wire.cutter.is_done = True
            wire.library_reads_on()
        return wire

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        is_much = len(data) >= LONG_READ
        begin = monotonic() if is_much else 0.0
        wire = self._wire
        if wire is None:
            wire = self._look_for_link(data)
        if wire is not None and not wire.cutter.is_done:
            messages, data = wire.cutter.feed(data)
            if messages:
                wire.messages_came(messages)
            if data:
                wire.library_reads_on()
        if data:
            self._give(data)
        if self._rest or (is_much and self._is_long(begin)):
            self._let_others()

    def _look_for_link(self, data: bytes) -> WebsocketTransport | None:
        """Return the wire of a link before anybody has asked for it, if this is one."""
        if self.state is State.CONNECTING:
            self._is_ahead = not data.endswith(b"\r\n\r\n")
        elif self.subprotocol in FRAMED and self.state is State.OPEN:
            return self._begin_link()
        return None

    def _is_long(self, begin: float) -> bool:
        """Say whether this connection has had the loop for long; ``begin`` is when it got these bytes."""
        if not self._turn_began:
            self._turn_began = begin
            self.loop.call_soon(self._end_turn)
        return monotonic() - self._turn_began > TURN

    def _end_turn(self) -> None:
        self._turn_began = 0.0

    def _let_others(self) -> None:
        transport = self.transport
        if transport.is_closing():
            self._rest = b""
        elif not self._is_waiting:
            self._is_waiting = True
            transport.pause_reading()
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_waiting = False
        rest, self._rest = self._rest, b""
        if rest and not self.transport.is_closing():
            self._give(rest)
        if self._rest:
            self._let_others()
        else:
            self.read_on()

    def read_on(self) -> None:
        """Read from the socket again, unless somebody still wants that nothing is read."""
        wire = self._wire
        if not (
            self._is_waiting
            or self._gate.is_shut
            or (wire is not None and wire.is_held_back)
            or self.transport.is_closing()
        ):
            self.transport.resume_reading()

    def _give(self, data: bytes) -> None:
        """Let the library have a piece of what came, and keep the rest for the next turn."""
        if self._rest:
            self._rest += data  # it waits for its turn; nothing may overtake it
            return
        if len(data) > PIECE and self.state is not State.CONNECTING:
            data, self._rest = data[:PIECE], data[PIECE:]
        if self.transport.get_write_buffer_size() > MAX_UNREAD:
            # Who sends pings and never reads their answers would fill our memory.
            abort(self)
        else:
            super().data_received(data)
            if self._wire is not None and self.state is not State.OPEN:
                self._wire.goodbye_came()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the socket is closed."""
        super().connection_lost(exc)
        self._rest = b""
        self._gate.forget()
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
        if self.when_writable is not None:
            self.when_writable()


class LinkClientConnection(LinkConnection, ClientConnection):
    """A link's connection at the end that dialled."""


class WebsocketTransport(Transport):
    """Frames as binary messages of one websocket connection.

    Args:
        connection: An open connection, which made this.

    Attributes:
        cutter: Cuts messages from its bytes.
        kind: How frames begin that are written: those of binary messages, or of text.
        code: What its goodbye says.

    """

    kind = BINARY
    code = 1000

    def __init__(self, connection: LinkConnection) -> None:
        super().__init__()
        self._connection = connection
        self._wire = connection.transport
        self._wire.set_write_buffer_limits(WRITE_BUFFER)
        self._peer = ""
        client = connection.protocol.side is Side.CLIENT
        self._masker = Masker() if client else None
        self.cutter = Cutter(masked=not client, largest=connection.protocol.max_message_size or sys.maxsize)
        # Compressed messages are made by the library.
        self._is_extended = bool(connection.protocol.extensions)
        self._reader: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = connection.transport.get_extra_info("socket")

    @property
    def peer(self) -> str:
        """Address of the other end, for people."""
        return self._peer

    def set_peer(self, peer: str) -> None:
        """Set the address of the other end."""
        self._peer = peer
        self._began()

    def _transmit(self, message: bytes) -> None:
        if self._wire.is_closing():
            return
        if self._is_extended:
            with contextlib.suppress(InvalidState):  # it is being closed
                if self.kind == TEXT:
                    self._connection.protocol.send_text(message)
                else:
                    self._connection.protocol.send_binary(message)
                self._connection.send_data()
            return
        if self._masker is None:
            begin = head(len(message), 0, self.kind)
        else:
            key = self._masker.key()
            begin = head(len(message), 0x80, self.kind) + key
            message = apply_mask(message, key)
        if len(message) < _LARGE:
            self._wire.write(begin + message)
        else:
            self._wire.write(begin)
            self._wire.write(message)

    def _transmit_all(self, messages: Sequence[bytes]) -> None:
        if self._masker is not None or self._is_extended:
            super()._transmit_all(messages)
        elif not self._wire.is_closing():
            kind = self.kind
            self._wire.write(b"".join([part for one in messages for part in (head(len(one), 0, kind), one)]))

    async def _close(self, reason: str) -> None:
        # The library's own limit knows nothing of slow wires.
        self._connection.close_timeout = None
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT) as limit:
                flow = _Flow(self, limit)
                try:
                    await self._connection.close(self.code, reason[:100])
                finally:
                    flow.stop()
        except TimeoutError:
            self._abort()

    def unsent(self) -> int:
        """Return the bytes that the peer has not taken yet, as far as one can tell."""
        unsent = self._wire.get_write_buffer_size()
        if self._socket is not None and sys.platform.startswith("linux"):
            import fcntl
            import termios

            with contextlib.suppress(OSError, ValueError):  # ValueError: it is closed
                queued = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
                unsent += int.from_bytes(queued, sys.byteorder)
        return unsent

    def _abort(self) -> None:
        abort(self._connection)

    def silence(self) -> float | None:
        """Return the seconds since the kernel last got bytes from the peer; Linux only."""
        milliseconds = self._tcp_info(_LAST_DATA_RECV)
        return None if milliseconds is None else milliseconds / 1000

    def arrivals(self) -> int | None:
        """Return how many segments with data the kernel has got, in or out of order; Linux only."""
        return self._tcp_info(_DATA_SEGS_IN)

    def hasten(self) -> None:
        """Let the kernel not double the pause before it sends a lost segment again; Linux only."""
        if self._socket is not None and sys.platform.startswith("linux"):
            with contextlib.suppress(OSError, ValueError):  # a unix socket, or closed
                self._socket.setsockopt(socket.IPPROTO_TCP, _THIN_LINEAR_TIMEOUTS, 1)

    def _tcp_info(self, offset: int) -> int | None:
        """Return a field of what the kernel knows of the connection."""
        if self._socket is None or not sys.platform.startswith("linux"):
            return None
        try:
            info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, offset + 4)
        except (OSError, ValueError):  # ValueError: uvloop has closed it
            return None
        if len(info) < offset + 4:
            return None
        return int(struct.unpack_from("=I", info, offset)[0])

    # -- what the connection calls -----------------------------------------------------------

    def messages_came(self, messages: list[bytes]) -> None:
        """Take messages."""
        if not self._is_closing:
            self._came(messages)

    def goodbye_came(self) -> None:
        """Take note that the peer closes the connection."""
        self._is_closing = True

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
            self._end(end_words(exc))
        else:  # what the library still holds comes first
            self._reader.add_done_callback(lambda _: self._end(end_words(exc)))

    def buffer_is(self, *, full: bool) -> None:
        """Take note of the state of the write buffer."""
        self._may_write(not full)

    @property
    def is_held_back(self) -> bool:
        """Whether nothing is to be read for now."""
        return self._held_back

    def _hold_back(self, on: bool) -> None:
        if not on:
            self._connection.read_on()
        elif not self._wire.is_closing():
            self._wire.pause_reading()


class _Flow:
    """Puts the end of a goodbye off for as long as bytes get through."""

    def __init__(self, wire: WebsocketTransport, limit: asyncio.Timeout) -> None:
        self._wire = wire
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._latest = self._loop.time() + CLOSE_LIMIT
        self._least = wire.unsent()
        self._timer = self._look_later()

    def _look_later(self) -> asyncio.TimerHandle:
        return self._loop.call_later(CLOSE_TIMEOUT / 4, self._look)

    def _look(self) -> None:
        unsent = self._wire.unsent()
        if unsent < self._least and not self._limit.expired():
            self._least = unsent
            self._limit.reschedule(min(self._loop.time() + CLOSE_TIMEOUT, self._latest))
        self._timer = self._look_later()

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()


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


def end_words(exc: ConnectionClosed) -> str:
    """Say who closed a connection, with code and reason."""
    if exc.rcvd is not None and (exc.rcvd_then_sent or exc.sent is None):
        return f"the peer closed it ({exc.rcvd.code}{' ' + exc.rcvd.reason if exc.rcvd.reason else ''})"
    if exc.sent is not None:
        return f"closed from here ({exc.sent.code}{' ' + exc.sent.reason if exc.sent.reason else ''})"
    return "connection lost without a goodbye"
