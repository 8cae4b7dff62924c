"""Serial ports, and whatever else looks like one: a pty stands in for the cable.

Plain ``termios`` and the readiness of a file descriptor; no thread, and no package. A port is opened
raw (8 data bits, no parity, one stop bit, no flow control) and *held*: a second program would get
every other byte. ``TIOCEXCL`` keeps those out who ask the kernel, a lock on the device those
who come by another way, root included.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import termios
from collections.abc import Callable, Iterable
from typing import Any, Final

from mesh.transport.base import DialError
from mesh.transport.stream import StreamTransport

BAUD: Final = 9600
"""Bits per second, unless told otherwise; what ``Serial.begin(9600)`` of every first sketch says."""

READ: Final = 64 * 1024
"""Bytes read at once."""

SENT: Final = 0.005
"""Seconds between two looks whether the device has sent what it was given."""

_RATES: Final = {
    int(name[1:]): getattr(termios, name) for name in dir(termios) if name[0] == "B" and name[1:].isdigit()
}


def nearest_rate(baud: int) -> int:
    """Return the rate that ports can have which is nearest to one."""
    # A rate of 0 hangs up.
    return min(filter(None, _RATES), key=lambda known: abs(known - baud))


def open_serial(
    path: str, *, baud: int = BAUD, opened: Callable[[StreamTransport], object] | None = None
) -> StreamTransport:
    """Open a serial port and hold it.

    Args:
        path: The device, such as ``/dev/ttyUSB0``.
        baud: Bits per second; of no meaning to a pty.
        opened: Called with the transport once it is there.

    Raises:
        DialError: If there is no such device, it is in use, or it may not be opened.

    """
    descriptor = _opened(path, baud)
    return adopt(descriptor, path, opened=opened)


def adopt(
    descriptor: int, path: str, *, opened: Callable[[StreamTransport], object] | None = None
) -> StreamTransport:
    """Return a transport over a terminal that is open already; it is closed with it."""
    os.set_blocking(descriptor, False)
    transport = StreamTransport(path, opened=opened, explain=lambda exc: _why_gone(path, exc))
    _Device(asyncio.get_running_loop(), descriptor, transport, path)
    return transport


def _opened(path: str, baud: int) -> int:
    near = nearest_rate(baud)
    if baud != near:
        raise DialError(path, f"no rate of {baud} baud; the nearest is {near}", for_good=True)
    rate = _RATES[baud]
    descriptor = -1
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not os.isatty(descriptor):
            raise DialError(path, "that is no serial port; give the path of a device", for_good=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.ioctl(descriptor, termios.TIOCEXCL)
        make_raw(descriptor, rate)
    except (OSError, termios.error, DialError) as exc:
        if descriptor >= 0:
            os.close(descriptor)
        if isinstance(exc, DialError):
            raise
        code = exc.args[0] if exc.args else None
        raise DialError(path, _why_not(code, exc)) from exc
    return descriptor


def _why_not(code: object, exc: Exception) -> str:
    if code == errno.ENOENT:
        return "there is no such device; is it plugged in?"
    if code in (errno.EBUSY, errno.EWOULDBLOCK):
        return "another program holds it; close that one (a serial monitor, perhaps) and try again"
    if code == errno.EACCES:
        return "permission denied; on Linux add yourself to the group of the device, often `dialout`"
    return str(getattr(exc, "strerror", None) or exc)


def _why_gone(path: str, exc: Exception) -> str:
    return f"{path} is gone ({getattr(exc, 'strerror', None) or exc}); was it unplugged?"


def make_raw(descriptor: int, rate: int = termios.B9600) -> None:
    """Let a terminal carry bytes as they are."""
    settings: list[Any] = termios.tcgetattr(descriptor)
    settings[0] = 0  # input: nothing is translated
    settings[1] = 0  # output
    settings[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
    settings[3] = 0  # no echo, no signals, no lines
    settings[4] = settings[5] = rate
    # One byte at least: with none to wait for, an end could not be told from nothing to read.
    settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)


class _Device(asyncio.Transport):
    """A file descriptor as asyncio wants it: the part that a socket's transport does for sockets."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, descriptor: int, protocol: asyncio.Protocol, path: str
    ) -> None:
        super().__init__({"peername": path})
        self._loop = loop
        self._descriptor = descriptor
        self._protocol = protocol
        self._buffer = bytearray()
        self._high, self._low = 64 * 1024, 16 * 1024
        self._is_full = False
        self._is_closing = False
        self._is_reading = False
        self._has_ended = False
        protocol.connection_made(self)
        self.resume_reading()

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return self._is_reading

    def pause_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._descriptor)

    def resume_reading(self) -> None:
        if not self._is_reading and not self._is_closing:
            self._is_reading = True
            self._loop.add_reader(self._descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, READ)
        except BlockingIOError:
            return
        except OSError as exc:
            self._lose(exc)
            return
        if data:
            self._protocol.data_received(data)
        else:
            self._lose(OSError(errno.EIO, "the other end hung up"))

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing:
            return
        if not self._buffer:
            data = data[self._put(data) :]
            if not data or self._has_ended:
                return
            self._loop.add_writer(self._descriptor, self._write_on)
        self._buffer += data
        if len(self._buffer) > self._high and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def _put(self, data: bytes | bytearray | memoryview) -> int:
        """Write what the device takes now; return how much that was."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            self._lose(exc)
            return 0

    def _write_on(self) -> None:
        del self._buffer[: self._put(self._buffer)]
        if self._has_ended:
            return
        if self._is_full and len(self._buffer) <= self._low:
            self._is_full = False
            self._protocol.resume_writing()
        if not self._buffer:
            self._loop.remove_writer(self._descriptor)
            if self._is_closing:
                self._close_when_sent()

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 64 * 1024 if high is None else high
        self._low = self._high // 4 if low is None else low

    def close(self) -> None:
        if not self._is_closing:
            self.pause_reading()
            self._is_closing = True
            if not self._buffer:
                self._close_when_sent()

    def _close_when_sent(self) -> None:
        # To close a device that has something left to send may block for half a minute.
        if self._has_ended:
            return
        try:
            left = int.from_bytes(fcntl.ioctl(self._descriptor, termios.TIOCOUTQ, bytes(4)), "little")
        except OSError:
            left = 0
        if left:
            self._loop.call_later(SENT, self._close_when_sent)
        else:
            self._lose(None)

    def abort(self) -> None:
        if not self._has_ended:
            with contextlib.suppress(OSError, termios.error):
                termios.tcflush(self._descriptor, termios.TCOFLUSH)
            self._lose(None)

    def _lose(self, exc: Exception | None) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        self.pause_reading()
        self._is_closing = True
        self._loop.remove_writer(self._descriptor)
        self._buffer.clear()
        # Not from within a write: who writes is not called back before it is done.
        self._loop.call_soon(self._over, exc)

    def _over(self, exc: Exception | None) -> None:
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._descriptor, termios.TIOCNXCL)
        os.close(self._descriptor)
        self._protocol.connection_lost(exc)
