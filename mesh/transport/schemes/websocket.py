"""``ws://HOST:PORT``, ``wss://HOST:PORT`` and ``ws+unix:///path.sock``: a message each, no path.

The door of a worker is more than that: it has channels, and answers. These are for who wants
nothing but whole messages, through whatever lets websockets pass.

``?compression=deflate`` offers and takes the extension of that name. It costs each connection about
50 KiB, so who is not asked for it has none; a link never has it (docs/explanation/link.md).
"""

from __future__ import annotations

import asyncio
import logging
import socket as sockets
import ssl
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from websockets.asyncio.client import connect, unix_connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from mesh.admission import why_refused
from mesh.errors import ServeError
from mesh.listening import QUEUE
from mesh.listening import listen as open_sockets
from mesh.node import MAX_MESSAGE, is_loopback
from mesh.protocol.link.records import FRAME_OVERHEAD
from mesh.text import endpoint, printable
from mesh.transport.address import Address, EndpointError, Options, Scheme
from mesh.transport.base import DialError, Transport
from mesh.transport.listener import Accept, Listener
from mesh.transport.schemes.tcp import BATCH
from mesh.transport.schemes.unix import open_socket
from mesh.transport.stream import address_words
from mesh.transport.websocket import LinkClientConnection, LinkConnection

_SILENT = logging.getLogger("mesh.transport.wire")
# The library logs tracebacks for port scanners, and for peers that are merely absent.
_SILENT.setLevel(logging.CRITICAL)

_SETTINGS: dict[str, Any] = {
    "max_size": MAX_MESSAGE + FRAME_OVERHEAD,
    "max_queue": 4,
    "close_timeout": 1.0,
    "logger": _SILENT,
}


class _Accepted(LinkConnection, ServerConnection):
    """A connection at the end that listens."""


class WebsocketListener(Listener):
    """Takes websocket connections."""

    def __init__(
        self, accept: Accept, options: Options, compression: str | None, *, is_secure: bool = False
    ) -> None:
        super().__init__(accept, options)
        self._options = options
        self._ssl = options.ssl if is_secure else None
        self._compression = compression
        self._address = ""
        self._servers: list[Server] = []
        self._tidy_up: Callable[[], None] = lambda: None

    @property
    def address(self) -> str:
        """Where it can be dialled."""
        return self._address

    async def begin(
        self, address: str, listening: Sequence[sockets.socket], tidy_up: Callable[[], None] | None = None
    ) -> None:
        """Listen with these sockets."""
        self._address = address
        if tidy_up is not None:
            self._tidy_up = tidy_up
        for sock in listening:
            server = await serve(
                self._converse,
                sock=sock,
                ssl=self._ssl,
                process_request=self._admit,
                select_subprotocol=self._select,
                create_connection=_Accepted,
                ping_interval=None if self._options.subprotocol else 20,
                server_header=None,
                backlog=BATCH,
                compression=self._compression,
                **_SETTINGS,
            )
            self._servers.append(server)
            sock.listen(QUEUE)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        own = [sockets.gethostname()]
        if isinstance(connection.local_address, tuple):
            own.append(str(connection.local_address[0]))
        why = why_refused(
            request.headers.get_all("Host"),
            request.headers.get_all("Origin"),
            own_hosts=own,
            allowed_origins=(),
        )
        if why is not None:
            return connection.respond(HTTPStatus.FORBIDDEN, printable(why) + "\n")
        if self.is_full:
            self.turned_away += 1
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "no more connections are let in\n")
        return None

    def _select(self, _connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        wanted = self._options.subprotocol
        return Subprotocol(wanted) if wanted in offered and wanted else None

    async def _converse(self, connection: ServerConnection) -> None:
        assert isinstance(connection, LinkConnection)
        transport = connection.as_transport(address_words(connection.remote_address))
        task = self.let_in(transport)
        if task is not None:
            await asyncio.wait([task])

    def _stop(self) -> None:
        for server in self._servers:
            server.close(close_connections=False)
        self._tidy_up()

    async def _stopped(self) -> None:
        await asyncio.gather(*(server.wait_closed() for server in self._servers))


async def listen(address: Address, accept: Accept, options: Options) -> Listener:
    """Listen on every address of a host; without one, on this machine's own."""
    if address.scheme == "wss" and options.ssl is None:
        raise ServeError(f"cannot serve on {address.text}: wss needs a certificate, and none was given")
    host = address.host or "localhost"
    found = await open_sockets(host, address.port or 0, told=f"where the grid has {address.text}")
    compression = _compression(address, options)
    listener = WebsocketListener(accept, options, compression, is_secure=address.scheme == "wss")
    query = f"/?compression={compression}" if compression else ""
    await listener.begin(f"{address.scheme}://{endpoint(host, found[0].getsockname()[1])}{query}", found)
    return listener


async def listen_unix(address: Address, accept: Accept, options: Options) -> Listener:
    """Listen at a path."""
    sock, tidy_up = open_socket(address.path)
    listener = WebsocketListener(accept, options, _compression(address, options))
    await listener.begin(address.text, [sock], tidy_up)
    return listener


async def dial(address: Address, options: Options) -> Transport:
    """Connect to a host."""
    more: dict[str, Any] = {"proxy": None} if is_loopback(address.host) else {}
    if address.scheme == "wss":
        more["ssl"] = options.ssl or ssl.create_default_context()
    host = endpoint(address.host or "localhost", address.port or 0)
    return await _opened(
        connect(f"{address.scheme}://{host}/", **_dialling(address, options), **more), address
    )


async def dial_unix(address: Address, options: Options) -> Transport:
    """Connect to a path."""
    return await _opened(
        unix_connect(address.path, "ws://localhost/", **_dialling(address, options)), address
    )


def check(address: Address) -> None:
    """See that an address asks for no compression but the one there is.

    Raises:
        EndpointError: If not.

    """
    wanted = address.query.get("compression")
    if wanted not in (None, "deflate"):
        raise EndpointError(
            address.text, f"compression is {wanted!r}", "write compression=deflate, or leave it out"
        )


def _compression(address: Address, options: Options) -> str | None:
    return None if options.subprotocol else address.query.get("compression")


def _dialling(address: Address, options: Options) -> dict[str, Any]:
    wanted = options.subprotocol
    return {
        **_SETTINGS,
        "compression": _compression(address, options),
        "subprotocols": [Subprotocol(wanted)] if wanted else None,
        "ping_interval": None if wanted else 20,
        "open_timeout": None,
        "create_connection": LinkClientConnection,
    }


async def _opened(dialling: connect, address: Address) -> Transport:
    try:
        connection = await dialling
    except InvalidStatus as exc:
        status = exc.response.status_code
        body = printable((exc.response.body or b"")[:200].decode(errors="replace").strip())
        raise DialError(
            address.text,
            f"it answered HTTP {status} {body}".rstrip(),
            for_good=status < 500,
        ) from exc
    except (InvalidHandshake, EOFError) as exc:
        raise DialError(address.text, f"what listens there is no websocket server: {exc}") from exc
    assert isinstance(connection, LinkClientConnection)
    return connection.as_transport(address.text)


_ASKED: dict[str, Any] = {"parameters": ("compression",), "check": check}

WS = Scheme("ws", listen, dial, "ws://localhost:8765", has_host=True, **_ASKED)
WSS = Scheme("wss", listen, dial, "wss://example.org:443", has_host=True, **_ASKED)
WS_UNIX = Scheme("ws+unix", listen_unix, dial_unix, "ws+unix:///run/user/1000/x.sock", **_ASKED)
