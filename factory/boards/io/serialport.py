"""The UART of firmware as a serial port: on a pseudo terminal and on TCP.

A real board is reset when its port is opened, by the line that is called DTR. Here, too: when
somebody opens the terminal (as long as nobody has, its master end reports a hang-up), and when
a connection comes. One program at a time has the port, whichever door it came by.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import termios
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from factory.boards.avr.board import AvrBoard
from factory.boards.avr.uart import MOST_WAITING
from factory.boards.errors import BoardLostError
from factory.boards.io.clock import BenchClock
from factory.boards.io.pty import PtyLink
from mesh.errors import ServeError
from mesh.text import endpoint

MOST_UNREAD = 65_536
"""Bytes that wait for a program that does not read; more are dropped and counted, as by a real port."""

_LOOK = 0.02
_CHUNK = 1024


class Client(Protocol):
    """A program that has the port."""

    def write(self, data: bytes) -> int:
        """Send it bytes, and return how many are dropped."""

    def pause(self) -> None:
        """Listen to it no longer."""

    def resume(self) -> None:
        """Listen to it again."""

    def hang_up(self) -> None:
        """Close the port for it."""


class SerialPort:
    """The serial port of one board.

    Args:
        board: The board.
        clock: Moves it.
        say: Prints a line.

    Attributes:
        client: Who has it, in words; ``None`` if nobody does.
        unread: Bytes from the board that were dropped, for the program did not read.

    """

    def __init__(self, board: AvrBoard, clock: BenchClock, say: Callable[[str], object]) -> None:
        self.board = board
        self.client: str | None = None
        self.unread = 0
        self._clock = clock
        self._say = say
        self._open: Client | None = None
        self._paused = False
        board.inbox.taken = self._made_room

    def open(self, client: Client, name: str) -> None:
        """Give the port to a program, which resets the board.

        Raises:
            BoardLostError: If the board is unplugged, or another program has the port.

        """
        if self._open is not None:
            raise BoardLostError(f"the serial port of {self.board.name} is open already, by {self.client}")
        with self._clock:
            self.board.reset()
        self._open, self.client = client, name
        self._say(f"{name} has opened the serial port: reset")

    def receive(self, data: bytes) -> None:
        """Take what the program sends."""
        self.board.inbox.put(data)
        if self._open is not None and not self._paused and self.board.inbox.room < _CHUNK:
            self._paused = True
            self._open.pause()

    def _made_room(self) -> None:
        if self._paused and self.board.inbox.room > MOST_WAITING // 2:
            self._paused = False
            if self._open is not None:
                self._open.resume()

    def sent(self, data: bytes) -> None:
        """Pass on what the firmware sends; without a program it goes nowhere."""
        if self._open is not None:
            self.unread += self._open.write(data)

    def close(self, client: Client) -> None:
        """Take the port back."""
        if self._open is client:
            self._say(f"{self.client} has closed the serial port")
            self._open = self.client = None
            self._paused = False


class TcpSerial:
    """The port on TCP: each connection opens it.

    Args:
        port: The port.

    Attributes:
        host: Where it listens.
        number: The TCP port on which it listens; known once it is open.

    """

    def __init__(self, port: SerialPort) -> None:
        self.port = port
        self.host = ""
        self.number = 0
        self.clients: set[_TcpClient] = set()
        self._server: asyncio.Server | None = None
        self._unwatch = port.board.watch_state(self._state)

    async def open(self, host: str, number: int) -> None:
        """Listen; port 0 is any that is free.

        Raises:
            ServeError: If it cannot listen there.

        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _TcpClient(self), host, number)
        except OSError as exc:
            raise ServeError(
                f"{self.port.board.name} cannot serve its serial port on {endpoint(host, number)}: "
                f"{exc.strerror or exc}; is another board or program there? choose another --serial-tcp"
            ) from exc
        self.host = host
        self.number = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Hang up and listen no longer."""
        self._unwatch()
        if self._server is not None:
            self._server.close()
        self._hang_up()
        if self._server is not None:
            await self._server.wait_closed()

    def _hang_up(self) -> None:
        for client in list(self.clients):
            client.hang_up()

    def _state(self, reason: str | None) -> None:
        if self.port.board.lost is not None:
            self._hang_up()


class _TcpClient(asyncio.BufferedProtocol):
    """One connection. It is read a little at a time: never more than there is room for."""

    def __init__(self, door: TcpSerial) -> None:
        self._door = door
        self._buffer = bytearray(_CHUNK)
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # that of uvloop is no subclass
        host, number = transport.get_extra_info("peername")[:2]
        try:
            self._door.port.open(self, endpoint(host, number))
        except BoardLostError as exc:
            self._transport.write(f"{exc}\r\n".encode())
            self._transport.close()
            return
        self._door.clients.add(self)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self in self._door.clients:
            self._door.port.receive(bytes(memoryview(self._buffer)[:nbytes]))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.clients.discard(self)
        self._door.port.close(self)

    def write(self, data: bytes) -> int:
        if self._transport.get_write_buffer_size() > MOST_UNREAD:
            return len(data)
        self._transport.write(data)
        return 0

    def pause(self) -> None:
        self._transport.pause_reading()

    def resume(self) -> None:
        self._transport.resume_reading()

    def hang_up(self) -> None:
        self._transport.abort()


class PtySerial:
    """The port as a pseudo terminal.

    Args:
        port: The port.
        path: Where the symlink to the terminal shall be.

    Attributes:
        path: Where the symlink is.
        device: The terminal; empty while the board is unplugged.

    Raises:
        BoardError: If the path is taken.

    """

    def __init__(self, port: SerialPort, path: Path) -> None:
        self.device = ""
        self._port = port
        self.path = path
        self._loop = asyncio.get_running_loop()
        self._link = PtyLink(path)
        self._master = -1
        self._looking: asyncio.TimerHandle | None = None
        self._is_open = False
        self._pending = bytearray()
        self._unwatch = port.board.watch_state(self._state)
        self._state(None)

    def close(self) -> None:
        """Take the terminal away."""
        self._unwatch()
        self.hang_up()
        self._link.close()

    def _state(self, reason: str | None) -> None:
        # What stands still has its port all the same.
        if self._port.board.lost is not None:
            self.hang_up()
        elif self._master < 0:
            self._plug()

    def _plug(self) -> None:
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        self.device = os.ttyname(slave)
        tty.setraw(slave)
        os.close(slave)
        self._link.point(self.device)
        self._look()

    def hang_up(self) -> None:
        """Take the terminal away until the board is back."""
        if self._master < 0:
            return
        self._leave()
        if self._looking is not None:
            self._looking.cancel()
        os.close(self._master)
        self._master = -1
        self.device = ""
        self._link.remove()

    # -- coming and going ----------------------------------------------------------------

    def _look(self) -> None:
        """Wait for somebody to open the terminal, and for the port to be free; nothing but looking tells."""
        self._looking = None
        if not self._is_closed():
            with contextlib.suppress(BoardLostError):
                self._port.open(self, str(self.path))
                self._is_open = True
                self._loop.add_reader(self._master, self._read)
                return
        self._looking = self._loop.call_later(_LOOK, self._look)

    def _is_closed(self) -> bool:
        poll = select.poll()
        poll.register(self._master, select.POLLHUP)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def _leave(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        self._pending.clear()
        self._port.close(self)

    def _gone(self) -> None:
        self._leave()
        # What it did not read is not for the next one, nor are its settings.
        with contextlib.suppress(OSError):
            slave = os.open(self.device, os.O_RDWR | os.O_NOCTTY)
            termios.tcflush(slave, termios.TCIOFLUSH)
            tty.setraw(slave)
            os.close(slave)
        self._look()

    # -- bytes ---------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno == errno.EIO:
                self._gone()
                return
            raise
        self._port.receive(data)

    def write(self, data: bytes) -> int:
        """Send the program bytes, and return how many are dropped."""
        taken = data[: MOST_UNREAD - len(self._pending)]
        idle = not self._pending
        self._pending += taken
        if idle:
            self._flush()
        return len(data) - len(taken)

    def _flush(self) -> None:
        try:
            sent = os.write(self._master, self._pending)
        except OSError:
            sent = 0  # full; or nobody is there, which reading tells
        del self._pending[:sent]
        if self._pending:
            self._loop.add_writer(self._master, self._flush)
        else:
            self._loop.remove_writer(self._master)

    def pause(self) -> None:
        """Listen to the program no longer."""
        self._loop.remove_reader(self._master)

    def resume(self) -> None:
        """Listen to it again."""
        self._loop.add_reader(self._master, self._read)
