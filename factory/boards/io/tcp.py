"""Firmata on TCP: each connection is a client of the board."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import cast

from factory.boards.board import Board
from factory.boards.firmata.codec import encode
from factory.boards.firmata.messages import Text
from factory.boards.firmata.session import Session
from factory.boards.io.clock import BenchClock
from mesh.errors import ServeError
from mesh.text import endpoint

logger = logging.getLogger("factory.boards")

MOST_CLIENTS = 32
"""Connections at once; who comes later is told so and let go."""

GONE = 6.0
"""Seconds after which a client is gone whose machine or cable went, so that nothing ever says so."""

_CHUNK = 4096
# Bytes read at once: a flood is parsed in pieces, and between them it is others' turn.


class TcpDoor:
    """Listens for Firmata clients.

    Args:
        board: The board.
        clock: Moves it.

    Attributes:
        host: Where it listens.
        port: Where it listens; known once it is open.

    """

    def __init__(self, board: Board, clock: BenchClock) -> None:
        self.board = board
        self.clock = clock
        self.host = ""
        self.port = 0
        self.clients: set[_Client] = set()
        self._server: asyncio.Server | None = None
        self._unwatch = board.watch_state(self._state)

    async def open(self, host: str, port: int) -> None:
        """Listen; port 0 is any that is free.

        Raises:
            ServeError: If it cannot listen there.

        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Client(self), host, port)
        except OSError as exc:
            raise ServeError(
                f"{self.board.name} cannot serve Firmata on {endpoint(host, port)}: {exc.strerror or exc}; "
                f"is another board or program there? choose another --firmata-tcp"
            ) from exc
        self.host = host
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Hang up on everybody and listen no longer."""
        self._unwatch()
        if self._server is not None:
            self._server.close()
        self._hang_up()
        if self._server is not None:
            await self._server.wait_closed()

    def _hang_up(self) -> None:
        for client in list(self.clients):
            client.hang_up()

    def _state(self, lost: str | None) -> None:
        if lost is not None:
            # As if the cable was pulled.
            self._hang_up()


class _Client(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self, door: TcpDoor) -> None:
        self._door = door
        self._buffer = bytearray(_CHUNK)
        self._transport: asyncio.Transport
        self._session: Session | None = None
        self._loop = asyncio.get_running_loop()
        self._flushing = False
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # that of uvloop is no subclass
        peer = transport.get_extra_info("peername")
        door = self._door
        if len(door.clients) >= MOST_CLIENTS or door.board.lost is not None:
            why = door.board.lost or f"it has {MOST_CLIENTS} Firmata clients already, which is all it takes"
            self._transport.write(encode(Text(f"{door.board.name} takes no client: {why}")))
            transport.close()
            return
        door.clients.add(self)
        _look_after(transport.get_extra_info("socket"))
        name = f"Firmata client {endpoint(peer[0], peer[1])}"
        logger.info("%s has come", name, extra={"node": door.board.name})
        with door.clock as now:
            self._session = Session(door.board, name, self._wake)
            door.clock.add(self._session)
            self._session.start(now)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._session is not None:
            with self._door.clock as now:
                self._session.receive(bytes(memoryview(self._buffer)[:nbytes]), now)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.clients.discard(self)
        session, self._session = self._session, None
        if session is not None:
            with self._door.clock:
                self._door.clock.remove(session)
                session.close()

    def pause_writing(self) -> None:
        # Who does not read its answers gets to ask nothing more.
        self._full = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        self._transport.resume_reading()
        self._wake()

    def hang_up(self) -> None:
        self._transport.abort()

    def _wake(self) -> None:
        # Once a turn of the loop: a port that changed ten times meanwhile is one report.
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._session is not None and not self._full and not self._transport.is_closing():
            data = self._session.data_to_send()
            if data:
                self._transport.write(data)


def _look_after(sock: socket.socket) -> None:
    """Have the system find out that a client has vanished; Firmata has no heartbeat that would."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    third = round(GONE / 3)  # silence, and two questions
    options = {"TCP_KEEPIDLE": third, "TCP_KEEPINTVL": third, "TCP_KEEPCNT": 2}
    # While something is on its way to it there are no questions, but this.
    options["TCP_USER_TIMEOUT"] = round(GONE * 1000)
    for name, value in options.items():
        if hasattr(socket, name):  # not every system has all of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
