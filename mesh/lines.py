"""Lines over any stream of asyncio: a protocol to use as it is, or as a base."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from mesh.backoff import Backoff
from mesh.errors import LineTooLongError
from mesh.protocol.lines import MAX_LINE, LineSplitter
from mesh.text import endpoint, printable

if TYPE_CHECKING:
    from mesh.transport.address import Address

logger = logging.getLogger("mesh.lines")

WRITE_LIMIT = 64 * 1024
"""Bytes in the write buffer from which on ``drain()`` waits."""

PATIENCE = 10.0
"""Seconds for which an absent server is waited for, unless told otherwise."""

_SHOWN = 40

P = TypeVar("P", bound=asyncio.Protocol)


class LineProtocol(asyncio.Protocol):
    r"""Cuts what comes into lines and hands each to ``line_received()``; writes lines.

    For ``loop.create_server(LineProtocol, ...)``, ``loop.create_connection(lambda: LineProtocol(on_exit=...),
    ...)`` and their like for unix sockets. A subclass overrides ``line_received()``, and what else it likes.

    Args:
        delimiter: What ends a line. ``"auto"`` takes ``\n`` as well as ``\r\n``, and ends what is written
            with that which came in last, or ``\n`` before anything came.
        on_exit: Gets the result ``True`` when the connection is gone, unless it is done or
            cancelled by then.
        max_line: Bytes that a line may have. One that is longer closes the connection.
        write_limit: Bytes in the write buffer from which on ``drain()`` waits.

    Attributes:
        transport: The transport of the connection; there from ``connection_made()`` on.
        delimiter: What ends a line that is written now.
        exc: Why the connection is gone: the error of the transport or the ``LineTooLongError``;
            ``None`` if one of the two ends closed it, or it is open.

    Raises:
        ValueError: If the delimiter is empty or a limit makes no sense.

    """

    transport: asyncio.Transport

    def __init__(
        self,
        delimiter: bytes | Literal["auto"] = b"\r\n",
        on_exit: asyncio.Future[Any] | None = None,
        *,
        max_line: int = MAX_LINE,
        write_limit: int = WRITE_LIMIT,
    ) -> None:
        self._splitter = LineSplitter(None if delimiter == "auto" else delimiter, max_line)
        self._write_limit = write_limit
        self._drained: list[asyncio.Future[None]] = []
        self._is_full = False
        self._is_lost = False
        self.on_exit = on_exit
        self.delimiter = self._splitter.last_delimiter
        self.exc: Exception | None = None

    # -- to be overridden -----------------------------------------------------------------

    def line_received(self, line: bytes) -> None:
        """Take the next line, without its delimiter. None comes once the connection is being closed."""

    def rest_received(self, rest: bytes) -> None:
        """Take the beginning of a line whose end will never come, for the connection ended within it.

        Unless overridden it is logged as a warning.
        """
        logger.warning(
            f"the connection with {self.peer} ended within a line, which is not handled: {_shown(rest)}"
        )

    def line_too_long(self, error: LineTooLongError) -> None:
        """Take note that a line is too long, before the connection is closed because of it.

        Unless overridden it is logged as a warning.
        """
        logger.warning(f"closed the connection with {self.peer}: {error}")

    # -- to be called -----------------------------------------------------------------------

    @property
    def peer(self) -> str:
        """Address of the other end, for people."""
        name = self.transport.get_extra_info("peername")
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else str(name or "the other end")

    def write_line(self, line: str | bytes) -> None:
        """Write one line and its delimiter; never waits.

        On a connection that is closing or gone nothing happens; ``drain()`` tells of that.

        Raises:
            ValueError: If the delimiter is within the line, which would make two of it.

        """
        data = line.encode() if isinstance(line, str) else line
        if self.delimiter in data:
            raise ValueError(
                f"a line cannot hold its own delimiter {self.delimiter!r}; write its parts one by one"
            )
        if not self.transport.is_closing():  # what would be an error in some event loops, and not in others
            self.transport.write(data + self.delimiter)

    async def drain(self) -> None:
        """Wait while ``write_limit`` bytes or more have not been taken by the other end.

        Raises:
            ConnectionError: If the connection is gone.

        """
        while self._is_full and not self._is_lost:
            room = asyncio.get_running_loop().create_future()
            self._drained.append(room)
            await room
        if self._is_lost:
            raise ConnectionResetError("the connection is gone, and what was not sent with it") from self.exc

    # -- for asyncio ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's have no base in common with it
        self.transport.set_write_buffer_limits(high=self._write_limit)

    def data_received(self, data: bytes) -> None:
        """Hand over the lines that these bytes complete."""
        splitter, transport = self._splitter, self.transport
        for delimiter, lines in splitter.runs(data):
            self.delimiter = delimiter
            for line in lines:
                if transport.is_closing():
                    return
                self.line_received(line)
        if splitter.error is not None and self.exc is None:
            self.exc = splitter.error
            self.line_too_long(splitter.error)
            transport.close()

    def pause_writing(self) -> None:
        """Let ``drain()`` wait."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Let ``drain()`` go on."""
        self._is_full = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for the end; report a line that was not finished."""
        self._is_lost = True
        self.exc = self.exc or exc
        self._wake()
        try:
            if rest := self._splitter.rest:
                self.rest_received(rest)
        finally:
            if self.on_exit is not None and not self.on_exit.done():
                self.on_exit.set_result(True)

    def _wake(self) -> None:
        drained, self._drained = self._drained, []
        for room in drained:
            if not room.done():
                room.set_result(None)


async def connect_lines(
    url: str, protocol_factory: Callable[[], P], *, patience: float | None = PATIENCE
) -> P:
    """Connect a protocol to a server that may still be starting.

    Args:
        url: ``tcp://HOST:PORT`` or ``unix:///path``.
        protocol_factory: Makes the protocol, such as a ``LineProtocol``.
        patience: Seconds that it may take, however many attempts that are; ``None`` for ever.

    Returns:
        The protocol, connected.

    Raises:
        EndpointError: If it is no such address.
        DialError: If nobody listens there in time.

    """
    # Here and not at the top: who only cuts lines needs no endpoints.
    from mesh.transport.base import DialError
    from mesh.transport.endpoints import EndpointError, address_of, why

    address = address_of(url)
    if address.scheme not in ("tcp", "unix"):
        raise EndpointError(url, "nobody speaks lines there", "write tcp://HOST:PORT or unix:///path")
    begin = asyncio.get_running_loop().time()
    backoff = Backoff(Random())
    last = "no answer"
    try:
        async with asyncio.timeout(patience):
            while True:
                try:
                    return await _connect_once(address, protocol_factory)
                except OSError as exc:
                    last = why(exc)
                await asyncio.sleep(backoff.delay())
    except TimeoutError:
        waited = asyncio.get_running_loop().time() - begin
        raise DialError(url, f"{last}, tried for {waited:.1f} s; is the server running?") from None


async def _connect_once(address: Address, protocol_factory: Callable[[], P]) -> P:
    loop = asyncio.get_running_loop()
    if address.scheme == "unix":
        return (await loop.create_unix_connection(protocol_factory, address.path))[1]
    host, port = address.host or "localhost", address.port or 0
    return (await loop.create_connection(protocol_factory, host, port))[1]


def tcp_url(text: str, *, lowest: int = 0) -> str:
    """Return the ``tcp://`` address that people write as ``PORT`` or ``HOST:PORT``.

    Args:
        text: What was written; without a host it is ``localhost``.
        lowest: The lowest port that makes sense.

    Raises:
        ValueError: If it is neither; the text says what would be.

    """
    # Here for the same reason.
    from mesh.gridfile.address import explain_host

    host, _, port = text.removeprefix("tcp://").rpartition(":")
    if not (port.isascii() and port.isdigit() and lowest <= int(port) <= 65535):
        raise ValueError(f"{port!r} is not a port; write a whole number from {lowest} to 65535.")
    if host and explain_host(host.strip("[]")):
        raise ValueError(f"{text!r} is no address; write it as PORT or HOST:PORT.")
    return f"tcp://{endpoint(host or 'localhost', int(port))}"


def _shown(rest: bytes) -> str:
    text = printable(rest[:_SHOWN].decode(errors="backslashreplace"))
    return f"{text!r}" if len(rest) <= _SHOWN else f"{text!r}... ({len(rest)} bytes)"
