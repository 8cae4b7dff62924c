"""The listening side: a websocket server that asks a responder for every answer.

Rules:

- A connection is one client on one channel, its path. Its messages are handled one
  after the other, each answered before the next is read; that is all the flow control
  a plain client needs, for what it sends too fast stays in its own socket.
- Who may come in is decided before the handshake (see ``mesh.admission``).
- A refused message is answered and the connection stays.
- What became of each message is in the books (see ``mesh.protocol.books``): by what went
  over the wire, not by what the responder said.
- A client that asks for ``?subscribe`` gets what is published (see ``mesh.feeds``), and what it
  sends is refused.
- *Draining*: the port is given up first, idle connections are closed with 1001, links that
  have not said who they are are hung up on, and a connection with a message in hand is
  closed after that message's answer. A message that comes in the very moment is not handled
  at all, so that its sender may send it again elsewhere.
- *Descriptors*: clients get as many as the system allows, less a reserve for everything
  else; those who have not finished their handshake count as well.
"""

from __future__ import annotations

import asyncio
import logging
import socket as sockets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from ssl import SSLContext
from typing import Any
from urllib.parse import unquote

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from mesh.admission import why_refused
from mesh.conversation import (
    STOPPING,
    Choose,
    Client,
    Conversation,
    Converse,
    Ending,
    Responder,
    just_answer,
    sendable,
)
from mesh.descriptors import Hush, raise_limit, reserve
from mesh.dialling import USER_TIMEOUT
from mesh.feeds import Feed, Feeds, asked
from mesh.links.publishing import checked_channel
from mesh.listening import QUEUE, listen
from mesh.node import MAX_MESSAGE
from mesh.protocol.books import TakenBooks
from mesh.protocol.link import SUBPROTOCOL
from mesh.protocol.link.records import FRAME_OVERHEAD
from mesh.protocol.patterns import RESERVED
from mesh.protocol.ring import SUBPROTOCOL as RING
from mesh.protocol.values import Refusal, Wire, refusal_to_wire
from mesh.text import endpoint, printable
from mesh.transport.base import Transport
from mesh.transport.watching import tapped
from mesh.transport.websocket import LinkConnection, WebsocketTransport, abort, set_user_timeout
from mesh.web import ASSETS, Page, asset

logger = logging.getLogger("mesh.door")

_SILENT = logging.getLogger("mesh.door.wire")
# The library logs tracebacks for port scanners, and tokens at DEBUG. What users need
# to know of a connection the responder tells them.
_SILENT.setLevel(logging.CRITICAL)

MAX_CLIENTS = 20_000
"""Most connections at once, unless the door is told another number."""

GOING_AWAY = 1001
"""The code with which connections are closed when the door is."""

_READ = Request("", Headers())

# Bytes of a reason that a closing frame has room for, behind its code.
_MOST_REASON = 123

# Accepted in one turn of the loop: each has its descriptor before any can be turned away.
_BATCH = 8


class Door:
    """A listening websocket server.

    Args:
        responder: Who answers.
        own_hosts: Names by which this worker is reached, besides loopback.
        allowed_origins: Origins of web pages that may connect, besides loopback's.
        max_clients: Connections at once, or as many as there are descriptors for; one more
            is answered with HTTP 503.
        link: Serves a connection that speaks ``sketchmesh.v1`` until it ends; without it
            nobody is offered that subprotocol.
        ring: The same for connections that speak ``sketchmesh-ring.v1``.
        reserved: Channels of the mesh itself that the responder answers on.
        others: Tells how many connections the other doors of this process have; they count as well.
        books: Where messages are counted; by default in books of its own.
        converse: Chooses who holds the conversation with a plain client.
        pages: What browsers get, by path without its leading slash.
        feeds: What plain clients may subscribe to; without it ``?subscribe`` says nothing.

    Attributes:
        allowed_origins: Origins of web pages that may connect from now on.
        host: The host that was asked for.
        port: The port it listens on; known once open.
        turned_away: Connections that were refused, by HTTP status.
        books: The ledger of what plain clients sent.

    """

    def __init__(
        self,
        responder: Responder,
        *,
        own_hosts: Collection[str] = (),
        allowed_origins: Collection[str] = (),
        max_clients: int = MAX_CLIENTS,
        link: Callable[[Transport], Awaitable[str]] | None = None,
        ring: Callable[[Transport], Awaitable[str]] | None = None,
        reserved: Collection[str] = (),
        feeds: Feeds | None = None,
        others: Callable[[], int] = lambda: 0,
        books: TakenBooks | None = None,
        converse: Choose = just_answer,
        pages: Mapping[str, Page] | None = None,
    ) -> None:
        self._responder = responder
        self._converse_with = converse
        self._pages = pages or {}
        self._feeds = feeds
        self._others = others
        self._own_hosts = {*own_hosts, sockets.gethostname()}
        self.allowed_origins = frozenset(allowed_origins)
        self._max_clients = max_clients
        self._framed = {name: serve for name, serve in ((SUBPROTOCOL, link), (RING, ring)) if serve}
        self._reserved = frozenset(reserved)
        self._servers: list[Server] = []
        # Connected, and not yet through with the handshake.
        self._knocking: set[ServerConnection] = set()
        # Those among them who were told that they may come in.
        self._admitted: set[ServerConnection] = set()
        # Connections for which there are descriptors; who comes on top is not even heard.
        self._most: int | None = None
        self._hush: Hush | None = None
        self._idle: set[ServerConnection] = set()
        self._wires: set[WebsocketTransport] = set()
        self._held: dict[Conversation, WebsocketTransport] = {}
        self._talks: dict[ServerConnection, asyncio.Task[None] | None] = {}
        self._draining = False
        self.host = ""
        self.port = 0
        self.turned_away: dict[int, int] = {}
        self.books = TakenBooks() if books is None else books

    @property
    def connections(self) -> int:
        """How many connections there are, those in their handshake included."""
        return len(self._talks) + len(self._knocking)

    async def open(self, host: str, port: int, ssl: SSLContext | None = None) -> None:
        """Listen on every address of a host.

        Args:
            host: Name or address; ``localhost`` means both loopback addresses.
            port: TCP port; 0 takes a free one.
            ssl: What it speaks TLS with.

        Raises:
            ServeError: If the port is taken or not permitted, or the host is not of
                this machine.

        """
        self.host = host
        listeners = await listen(host, port)
        limit = raise_limit()
        if limit is not None:
            kept = reserve(limit)
            self._max_clients = min(self._max_clients, limit - kept)
            # A few more may knock, to be told that they cannot come in.
            self._most = limit - kept + kept // 4
        loop = asyncio.get_running_loop()
        self._hush = Hush.of(loop)
        self._hush.hold(loop)
        self.port = listeners[0].getsockname()[1]
        for listener in listeners:
            self._servers.append(
                await serve(
                    self._converse,
                    sock=listener,
                    ssl=ssl,
                    process_request=self._admit,
                    create_connection=self._connection_class(),
                    compression=None,
                    # None selected is no error: that is a plain client.
                    select_subprotocol=self._select,
                    max_size=MAX_MESSAGE + FRAME_OVERHEAD,
                    max_queue=4,
                    ping_interval=20,
                    ping_timeout=20,
                    close_timeout=1.0,
                    server_header=None,
                    logger=_SILENT,
                    backlog=_BATCH,
                )
            )
            # asyncio has one number for two things; this sets the other one.
            listener.listen(QUEUE)

    async def drain(self) -> None:
        """Give up the port and wait until every message in hand is answered.

        May be cancelled; ``close()`` then ends what is left.
        """
        self._give_up_port()
        for wire in list(self._wires):
            if wire.is_unheard:
                # Nobody knows it yet, so nobody else would end it. If it is a worker, it dials again.
                wire.abort()
        for conversation, wire in list(self._held.items()):
            wire.code = GOING_AWAY
            conversation.drain()
        idle = list(self._idle)
        await asyncio.gather(
            *(connection.close(GOING_AWAY, STOPPING) for connection in idle),
            *(server.wait_closed() for server in self._servers),
            return_exceptions=True,
        )

    async def close(self) -> None:
        """Close every connection now, and cancel what is in hand."""
        self._give_up_port()
        for connection, talk in self._talks.items():
            abort(connection)
            if talk is not None:
                talk.cancel()
        hush, self._hush = self._hush, None
        if hush is not None:
            hush.release(asyncio.get_running_loop())
        await asyncio.gather(*(server.wait_closed() for server in self._servers))

    def _give_up_port(self) -> None:
        self._draining = True
        for server in self._servers:
            server.close(close_connections=False)
        # Else a port scanner that says nothing would hold up the end for 10 seconds.
        for connection in list(self._knocking):
            abort(connection)

    def _connection_class(self) -> type[ServerConnection]:
        door = self

        class Connection(LinkConnection, ServerConnection):
            """A connection that its door knows of before the handshake."""

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                if door._draining:
                    abort(self)
                elif door._is_full():
                    door._count_turned_away(HTTPStatus.SERVICE_UNAVAILABLE)
                    abort(self)
                else:
                    door._knocking.add(self)

            async def handshake(self, *args: Any, **options: Any) -> None:
                # The first that the library does in the connection's task, which nobody awaits.
                task = asyncio.current_task()
                assert task is not None
                task.add_done_callback(_note_end)
                await super().handshake(*args, **options)
                if self.subprotocol is not None:
                    # A link has its own signs of life; and who waits for pings waits in a task.
                    self.ping_interval = None

            def connection_lost(self, exc: Exception | None) -> None:
                door._knocking.discard(self)
                door._admitted.discard(self)
                super().connection_lost(exc)

        return tapped(Connection)

    def _stops(self) -> bool:
        return self._draining

    def _is_full(self) -> bool:
        there = len(self._talks) + len(self._knocking) + self._others()
        return self._most is not None and there >= self._most

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        own = set(self._own_hosts)
        if connection.local_address:
            own.add(str(connection.local_address[0]))
        why = why_refused(
            request.headers.get_all("Host"),
            request.headers.get_all("Origin"),
            own_hosts=own,
            allowed_origins=self.allowed_origins,
        )
        if why is not None:
            return self._turn_away(connection, HTTPStatus.FORBIDDEN, why)
        if len(self._talks) + len(self._admitted) + self._others() >= self._max_clients:
            return self._turn_away(
                connection,
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"there are {self._max_clients} clients already, and no more are let in",
            )
        try:
            channel, query = _channel(request.path)
        except UnicodeDecodeError:
            return self._turn_away(
                connection, HTTPStatus.BAD_REQUEST, "the path is not percent-encoded UTF-8"
            )
        if "Upgrade" not in request.headers:
            page = self._pages.get(channel) or (asset(channel) if channel in ASSETS else None)
            if page is not None:
                return _page(page)
        if (
            channel.startswith(RESERVED)
            and channel not in self._reserved
            and not self._asks_for_frames(request)
        ):
            why = f"channel {printable(channel)!r} is not known; names that begin with $ are reserved"
            return self._turn_away(connection, HTTPStatus.NOT_FOUND, why)
        try:
            if self._feeds is not None and asked(query) is not None:
                checked_channel(channel)
        except ValueError as exc:
            return self._turn_away(connection, HTTPStatus.BAD_REQUEST, str(exc))
        self._admitted.add(connection)
        return None

    def _asks_for_frames(self, request: Request) -> bool:
        offered = ",".join(request.headers.get_all("Sec-WebSocket-Protocol"))
        return not self._framed.keys().isdisjoint(word.strip() for word in offered.split(","))

    def _select(self, connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        for name in self._framed:
            if name in offered:
                return Subprotocol(name)
        # What a frame of the link may have on top of a message is not for plain clients.
        connection.protocol.max_message_size = MAX_MESSAGE
        return None

    def _turn_away(self, connection: ServerConnection, status: HTTPStatus, why: str) -> Response:
        self._count_turned_away(status)
        return connection.respond(status, printable(why) + "\n")

    def _count_turned_away(self, status: HTTPStatus) -> None:
        self.turned_away[status] = self.turned_away.get(status, 0) + 1

    async def _converse(self, connection: ServerConnection) -> None:
        self._knocking.discard(connection)
        self._admitted.discard(connection)
        self._talks[connection] = asyncio.current_task()
        try:
            if connection.subprotocol is not None:
                await self._serve_frames(connection, self._framed[connection.subprotocol])
            else:
                await self._serve_client(connection)
        except Exception as exc:
            # Here, for the library would log it where nobody looks.
            logger.error(f"a connection from {_address(connection.remote_address)} failed: {_words(exc)}")
            await connection.close(1011, "internal error")
        finally:
            del self._talks[connection]

    async def _serve_frames(
        self, connection: ServerConnection, serve: Callable[[Transport], Awaitable[str]]
    ) -> None:
        set_user_timeout(connection.transport.get_extra_info("socket"), USER_TIMEOUT)
        assert isinstance(connection, LinkConnection)
        # 4 KiB of headers that nobody will look at again, for as long as the link lives. Without any
        # request the library would take the next control frame for one, and fail.
        connection.request, connection.response = _READ, None
        wire = connection.as_transport(_address(connection.remote_address))
        self._wires.add(wire)
        try:
            await serve(wire)
        finally:
            self._wires.discard(wire)

    async def _serve_client(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        channel, query = _channel(connection.request.path)
        wish = asked(query) if self._feeds is not None else None
        client = Client(channel, query, _address(connection.remote_address), subscribes=wish is not None)
        self._responder.client_opened(client)
        reason = STOPPING
        feed: Feed | None = None
        try:
            converse = None if client.subscribes else self._converse_with(client)
            if converse is not None:
                reason = await self._hold(connection, converse)
                return
            if self._feeds is not None and wish is not None:
                assert isinstance(connection, LinkConnection)
                feed = self._feeds.open(connection, channel, wish)
            while not self._stops():
                self._idle.add(connection)
                try:
                    message = await connection.recv()
                finally:
                    self._idle.discard(connection)
                if self._stops():
                    self.books.turn_away(channel)
                    break  # its connection is being closed, so that it could not be answered
                ending = await self._answer(connection, client, message)
                if ending is not None:
                    reason = _ended_by_us(ending)
                    await connection.close(1000, _fitting(ending))
                    return
            await connection.close(GOING_AWAY, STOPPING)
        except ConnectionClosed as exc:
            reason = _closed(exc)
        except Exception as exc:
            reason = f"this worker failed ({_words(exc)})"
            raise
        finally:
            if feed is not None:
                feed.close("closed" if self._stops() else "client gone")
            self._responder.client_closed(client, reason)

    async def _hold(self, connection: ServerConnection, converse: Converse) -> str:
        assert isinstance(connection, LinkConnection)
        wire = connection.as_transport(_address(connection.remote_address), text=True)
        conversation = converse(wire)
        connection.protocol.max_message_size = getattr(conversation, "max_message", MAX_MESSAGE)
        self._held[conversation] = wire
        if self._stops():
            wire.code = GOING_AWAY
            conversation.drain()
        try:
            return await conversation.run()
        finally:
            del self._held[conversation]

    async def _answer(self, connection: ServerConnection, client: Client, message: Wire) -> str | None:
        """Answer a message; return why that is the end of the conversation, if it is."""
        line = self.books.take(client.channel)
        ending: Ending | None = None
        try:
            answer = (
                _only_listens(client) if client.subscribes else await self._responder.answer(client, message)
            )
            if isinstance(answer, Ending):
                ending, answer = answer, answer.answer
            if ending is None or answer is not None:
                answer = sendable(answer)
                await connection.send(refusal_to_wire(answer) if isinstance(answer, Refusal) else answer)
        except BaseException:
            # Handled or not: whoever sent it cannot be told any more.
            line.abandoned += 1
            raise
        else:
            if isinstance(answer, Refusal):
                line.refused += 1
            else:
                line.handled += 1
        finally:
            line.in_hand -= 1
        return None if ending is None else ending.reason


def _note_end(task: asyncio.Task[Any]) -> None:
    """Take note of how the task of a connection ended, for asyncio complains if nobody does."""
    if not task.cancelled() and task.exception() is not None:
        logger.debug(f"a connection ended with {task.exception()!r}")


def _words(exc: Exception) -> str:
    return printable(f"{type(exc).__name__}: {exc}".removesuffix(": "))


def _only_listens(client: Client) -> Refusal:
    return Refusal(
        "SubscribedError",
        f"this connection is subscribed to {client.channel!r} and takes no messages; "
        f"open another one, without ?subscribe",
    )


def _ended_by_us(reason: str) -> str:
    words = f" {printable(reason)}" if reason else ""
    return f"this worker closed the connection (1000{words})"


def _fitting(reason: str) -> str:
    """Return a reason cut to what a closing frame has room for."""
    return reason.encode(errors="backslashreplace")[:_MOST_REASON].decode(errors="ignore")


def _page(page: Page) -> Response:
    headers = {"Date": formatdate(usegmt=True), "Connection": "close", **page.headers}
    return Response(HTTPStatus.OK.value, HTTPStatus.OK.phrase, Headers(headers), page.content)


def _channel(target: str) -> tuple[str, str]:
    path, _, query = target.partition("?")
    return unquote(path.removeprefix("/"), errors="strict"), query


def _address(remote: object) -> str:
    if isinstance(remote, tuple) and len(remote) >= 2:
        return endpoint(str(remote[0]), remote[1])
    return str(remote or "somewhere")


def _closed(exc: ConnectionClosed) -> str:
    """Say who closed a connection, with code and words."""
    if exc.rcvd is not None and (exc.rcvd_then_sent or exc.sent is None):
        words = f" {printable(exc.rcvd.reason)}" if exc.rcvd.reason else ""
        return f"client closed the connection ({exc.rcvd.code}{words})"
    if exc.sent is not None:
        words = f" {exc.sent.reason}" if exc.sent.reason else ""
        return f"this worker closed the connection ({exc.sent.code}{words})"
    return "connection lost, the client did not say goodbye"
