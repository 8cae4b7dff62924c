"""Byte streams: one ``asyncio.Protocol`` for TCP, unix sockets and serial ports.

What comes is handed over as it was read, in *chunks*: a message of the other end may be in one, in
several, or share one with others. A layer makes messages of them (``mesh.transport.layers``).

- *Memory.* What is read is held by whoever uses it, or up to ``MOST_EARLY``; then nothing more is read.
  What is written may wait up to ``WRITE_BUFFER``, and then ``writable`` says so.
- *The end.* ``close()`` sends what is buffered, then says that no more will come, and hears the
  other end out for a moment: a socket that is closed with something unread takes back what it has
  sent last. A peer that takes nothing is cut off after ``CLOSE_LIMIT``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, cast

from mesh.transport.base import Transport

WRITE_BUFFER: Final = 256 * 1024
"""Bytes in the write buffer from which on nothing more is to be written."""

CLOSE_LIMIT = 2.0
"""Seconds that a close may take in all."""

LINGER = 0.3
"""Seconds of them for which the other end is heard out after all was sent."""


class StreamTransport(Transport, asyncio.Protocol):
    """Chunks of one byte stream.

    Args:
        peer: Address of the other end, for people; found from its socket if empty.
        half_open: Whether an end of input leaves the way open for answers, as ``printf ... | nc`` needs it.
        opened: Called once the connection is there.
        explain: Turns what broke the connection into words.

    Attributes:
        is_lost: Whether it broke, and nobody closed it.

    """

    def __init__(
        self,
        peer: str = "",
        *,
        half_open: bool = False,
        opened: Callable[[StreamTransport], object] | None = None,
        explain: Callable[[Exception], str] | None = None,
    ) -> None:
        super().__init__()
        self._peer = peer
        self._half_open = half_open
        self._opened = opened
        self._explain = explain or _explained
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self.is_lost = False
        self._flushing = False
        self._aborted = False
        self._gone: asyncio.Future[None] = self._loop.create_future()

    wire: asyncio.Transport
    """What carries the bytes."""

    @property
    def peer(self) -> str:
        """Address of the other end, for people."""
        return self._peer

    def silence(self) -> float | None:
        """Return the seconds since bytes last arrived."""
        return self._loop.time() - self._heard

    def _transmit(self, message: bytes) -> None:
        self.wire.write(message)

    def _hold_back(self, on: bool) -> None:
        if self.wire.is_closing() or self._flushing:
            return
        if on:
            self.wire.pause_reading()
        else:
            self.wire.resume_reading()

    async def _close(self, reason: str) -> None:
        if not self._flushing:
            self._flushing = True
            self._say_goodbye()
        # Shielded by wait(): who cancels one close leaves the other ones be.
        await asyncio.wait([self._gone], timeout=CLOSE_LIMIT)
        self._abort()
        await asyncio.wait([self._gone], timeout=CLOSE_LIMIT)

    def _say_goodbye(self) -> None:
        wire = self.wire
        if wire.is_closing():
            return
        if not wire.can_write_eof() or self._input_ended is not None:
            wire.close()
            return
        wire.resume_reading()
        # A socket that the peer has closed meanwhile raises here.
        with contextlib.suppress(OSError, RuntimeError):
            wire.write_eof()
        self._linger()

    def _linger(self) -> None:
        """Close once everything was sent and the peer had a moment to close first."""
        if self.wire.get_write_buffer_size():
            self._loop.call_later(LINGER / 10, self._linger)
        else:
            self._loop.call_later(LINGER, self.wire.close)

    def _abort(self) -> None:
        self._aborted = True
        # Before connection_made() there is nothing to abort; asyncio may have let go of it already.
        with contextlib.suppress(AttributeError):
            self.wire.abort()

    # -- what asyncio calls ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note that there is a connection."""
        self.wire = cast(asyncio.Transport, transport)
        self.wire.set_write_buffer_limits(WRITE_BUFFER)
        if not self._peer:
            self._peer = address_words(transport.get_extra_info("peername"))
        self._began()
        if self._opened is not None:
            self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._heard = self._loop.time()
        if not self._is_closing:
            self._came([data])

    def eof_received(self) -> bool:
        """Take note that the peer sends no more; return whether it may still be written to."""
        if self._half_open and not self._is_closing:
            self._end_input("the peer has sent all it had to send")
            return self._ended is None
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        if self._aborted or self._flushing:
            why = "closed from here"
        elif exc is not None:
            why = self._explain(exc)
            self.is_lost = True
        else:
            why = "the peer closed it"
        self._opened = None
        self._end(why)
        if not self._gone.done():
            self._gone.set_result(None)

    def pause_writing(self) -> None:
        """Take note that the write buffer is full."""
        self._may_write(False)

    def resume_writing(self) -> None:
        """Take note that the write buffer has room."""
        self._may_write(True)


def address_words(address: object) -> str:
    """Return the address of a socket for people."""
    if isinstance(address, tuple) and len(address) >= 2:
        host, port = str(address[0]), address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(address, bytes):
        address = address.decode(errors="replace")
    return str(address or "") or "a process of this machine"


def _explained(exc: Exception) -> str:
    words = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return f"connection lost ({words})"
