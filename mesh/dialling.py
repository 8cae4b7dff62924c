"""One attempt to connect to a node, and what can be said when it fails.

What dials is imported when something is dialled: whoever asks a process over its control socket, as
commands do, has no use for websockets.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any

from mesh.errors import CertificateError, DeliveryError
from mesh.node import MAX_MESSAGE, Node, NodeDoor, Tls
from mesh.protocol.link import SUBPROTOCOL
from mesh.protocol.link.records import FRAME_OVERHEAD
from mesh.text import printable
from mesh.transport.base import DialError, Transport
from mesh.transport.tapping import tap_of_process

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

# The library's own log would print tracebacks for peers that are merely absent.
_SILENT = logging.getLogger("mesh.dialling.wire")
_SILENT.setLevel(logging.CRITICAL)

LINK_CHANNEL = "$link"
"""The path that links are dialled at. What counts is the subprotocol; the path keeps them apart in logs."""

OPEN_TIMEOUT = 5.0
"""Seconds that one attempt to connect may take."""

CLOSE_TIMEOUT = 0.5
"""Seconds that a closing handshake may take."""

USER_TIMEOUT = 2.5
"""Seconds after which the kernel gives up a connection whose peer takes nothing."""


class AbsentError(Exception):
    """A node cannot be reached just now; the text says why, for people.

    Attributes:
        accepted: Whether a web server answered there, so that the node is running.

    """

    def __init__(self, why: str, *, accepted: bool = False) -> None:
        super().__init__(why)
        self.accepted = accepted


class NotALinkError(DeliveryError):
    """What listens there is a websocket server, but speaks no ``sketchmesh.v1``."""


async def connect(
    node: Node, channel: str, *, timeout: float = OPEN_TIMEOUT, **options: Any
) -> ClientConnection:
    """Connect to a channel of a node, once.

    Args:
        node: The node.
        channel: The channel.
        timeout: Seconds that it may take.
        options: Further options of ``Node.connection``.

    Raises:
        AbsentError: If another try may succeed.
        DeliveryError: If the node refuses for good, or has no usable address.

    """
    from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

    if tap_of_process() is not None:
        from websockets.asyncio.client import ClientConnection

        from mesh.transport.watching import tapped

        options.setdefault("create_connection", tapped(ClientConnection))
    try:
        async with asyncio.timeout(min(OPEN_TIMEOUT, timeout)):
            return await node.connection(
                channel, open_timeout=None, close_timeout=CLOSE_TIMEOUT, logger=_SILENT, **options
            )
    except InvalidStatus as exc:
        status = exc.response.status_code
        if status >= 500:
            raise AbsentError(f"it answered HTTP {status}", accepted=True) from exc
        body = printable((exc.response.body or b"")[:200].decode(errors="replace").strip())
        words = f"{node.name} at {node.uri()} refused the connection with HTTP {status}: {body}"
        raise RefusedError(node.name, words, status) from exc
    except CertificateError as exc:
        raise DeliveryError(node.name, f"{node.name} cannot be dialled: {exc}") from exc
    except (OSError, InvalidHandshake, EOFError) as exc:
        raise AbsentError(_reason(exc, with_tls=bool(node.tls))) from exc
    except (WebSocketException, ValueError) as exc:  # ValueError: no host can have that name
        raise DeliveryError(node.name, f"{node.name} has no usable address: {exc}") from exc


class RefusedError(DeliveryError):
    """The node refused the connection with an HTTP status.

    Attributes:
        status: The HTTP status.

    """

    def __init__(self, peer: str, message: str, status: int) -> None:
        super().__init__(peer, message)
        self.status = status


async def dial_link(node: Node) -> Transport:
    """Open a connection that speaks ``sketchmesh.v1``, once: at the node's door for it, else at its port.

    Raises:
        AbsentError: If another try may succeed.
        NotALinkError: If a websocket server without that subprotocol listens there.
        DeliveryError: If the node refuses for good, or has no usable address.

    """
    if node.link_door is not None:
        return await _dial_door(node, node.link_door)
    from websockets.typing import Subprotocol

    from mesh.transport.websocket import LinkClientConnection, set_user_timeout

    try:
        connection = await connect(
            node,
            LINK_CHANNEL,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=MAX_MESSAGE + FRAME_OVERHEAD,
            ping_interval=None,
            create_connection=LinkClientConnection,
        )
    except RefusedError as exc:
        if exc.status in (400, 404, 405):
            # A server that knows nothing of our path; it may know the channel's.
            raise NotALinkError(node.name, str(exc)) from exc
        raise
    if connection.subprotocol != SUBPROTOCOL:
        await connection.close()
        raise NotALinkError(node.name, f"{node.name} at {node.uri()} speaks no {SUBPROTOCOL}")
    set_user_timeout(connection.transport.get_extra_info("socket"), USER_TIMEOUT)
    assert isinstance(connection, LinkClientConnection)
    return connection.as_transport(node.uri())


async def _dial_door(node: Node, door: NodeDoor) -> Transport:
    from mesh.transport.endpoints import Options, dial

    try:
        options = Options(subprotocol=SUBPROTOCOL, ssl=_trusted(node.tls))
        return await dial(door.url, layers=door.layers, timeout=OPEN_TIMEOUT, options=options)
    except CertificateError as exc:
        raise DeliveryError(node.name, f"{node.name} cannot be dialled: {exc}") from exc
    except DialError as exc:
        if exc.for_good:
            raise DeliveryError(node.name, f"{node.name} has no usable door: {exc}") from exc
        raise AbsentError(exc.why) from exc
    except ValueError as exc:  # a node that was written in Python, for a grid is checked
        raise DeliveryError(node.name, f"{node.name} has no usable door: {exc}") from exc


def _trusted(tls: bool | Tls) -> ssl.SSLContext | None:
    if not isinstance(tls, Tls):
        return None
    from mesh.certificates import trusting

    return trusting(tls)


def _reason(exc: BaseException, *, with_tls: bool) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer"
    if isinstance(exc, ConnectionRefusedError):
        return "nobody listens there"
    if with_tls and isinstance(exc, ConnectionError | ssl.SSLError):
        from mesh.certificates import why_untrusted

        return why_untrusted(exc)
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror.lower()
    if isinstance(exc, OSError):
        # asyncio joins the errors of all addresses of a name into one text.
        return "nobody listens there" if "refused" in str(exc).lower() else str(exc)
    return f"what listens there is no websocket server: {exc}"
