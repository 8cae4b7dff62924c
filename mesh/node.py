"""One node of a grid: its name, its address and the way to dial it."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from mesh.arguments import check_channel
from mesh.errors import GridError, NotAServerError
from mesh.protocol.fanout import DEFAULT_LIMIT
from mesh.text import printable

if TYPE_CHECKING:
    from websockets.asyncio.client import connect

logger = logging.getLogger("mesh.node")

MAX_MESSAGE = 16 * 1024 * 1024
"""Most bytes of one incoming message; a peer that sends more is cut off."""

Marks = Mapping[tuple[str, ...], tuple[int, int]]
"""Where the fields of a node stand: path inside its entry to line and column."""


@dataclass(frozen=True, slots=True)
class Wire:
    """One channel that a node subscribes to.

    Attributes:
        channel: The channel.
        source: Name of the node that publishes.
        policy: What the source does when the node is slow.
        limit: Values that may wait for the node.

    """

    channel: str
    source: str
    policy: str = "drop_oldest"
    limit: int = DEFAULT_LIMIT


@dataclass(frozen=True, slots=True)
class Restart:
    """Whether a supervisor starts a node again that has ended by itself.

    Attributes:
        policy: ``never``; ``on-failure``, when its exit code was not 0; or ``always``.
        delay: Seconds before the first try; they double from one try to the next.
        most: Ends within the window after which it is given up.
        window: Seconds in which ends are counted.

    """

    policy: str = "on-failure"
    delay: float = 0.5
    most: int = 5
    window: float = 60.0


@dataclass(frozen=True, slots=True)
class Tls:
    """The files of a node that speaks TLS, as paths; PEM.

    Attributes:
        cert: What it shows, with the certificates between it and its authority, if there are any.
        key: The key of that; ``None`` if it is in the same file.
        authority: Whom those trust that dial it; ``None`` for the authorities of the system.

    """

    cert: str | None = None
    key: str | None = None
    authority: str | None = None

    def __str__(self) -> str:
        return f"with {self.cert or self.authority}"


@dataclass(frozen=True, slots=True)
class NodeDoor:
    """A further door of a node, besides the websocket at its port.

    Attributes:
        url: Where it listens, and where others dial it; see ``mesh.transport.endpoints``.
        layers: Names of the layers on it, first that nearest the wire.
        speaks: ``messages`` for whoever has something to say, ``link`` for other nodes.
        channel: The channel of the messages that come.
        idle: Seconds without a byte after which a client is closed; ``None`` for never.
        max_line: Bytes that a line may have, where there are lines; ``None`` for 64 KiB.

    """

    url: str
    layers: tuple[str, ...] = ()
    speaks: Literal["messages", "link"] = "messages"
    channel: str = ""
    idle: float | None = None
    max_line: int | None = None


@dataclass(frozen=True)
class Node:
    """A named member of the grid.

    A node never changes, so it may be shared freely; ``dataclasses.replace``
    gives a changed copy. Making one logs its name at level INFO.

    Args:
        name: What the other nodes call it.
        socket: Host name or IP address where it listens, as others dial it.
        port: Port where it listens; ``None`` means that it listens nowhere.
        aliases: Other names that find it.
        sketch: What it runs, as written in the grid; ``None`` means that
            somebody else runs it.
        args: Keyword arguments for ``setup()`` of the sketch.
        target: Name of the node that it talks to first.
        tls: Whether it is dialled as ``wss://``; with files, how it serves and is trusted.
        peers: Names of the only nodes that it may know; ``None`` means all.
        subscribes: What it gets of what others publish.
        restart: Whether ``mesh up`` starts it again.
        on_error: What becomes of a message whose handler raises: ``nack``, ``close`` or ``ignore``; ``None``
            leaves it to the sketch.
        doors: Where else it listens.
        file: The grid it was read from, as the user would write it.
        marks: Line and column of its fields in ``file``.

    Raises:
        GridError: If the name is empty or the port is not from 0 to 65535.

    """

    name: str
    socket: str = "localhost"
    port: int | None = None
    _: KW_ONLY
    aliases: tuple[str, ...] = ()
    sketch: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    target: str | None = None
    tls: bool | Tls = False
    peers: tuple[str, ...] | None = None
    subscribes: tuple[Wire, ...] = ()
    restart: Restart = field(default=Restart(), repr=False)
    on_error: Literal["nack", "close", "ignore"] | None = None
    doors: tuple[NodeDoor, ...] = ()
    file: str | None = field(default=None, compare=False, repr=False)
    marks: Marks = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name:
            raise GridError("a node needs a name, got ''")
        if self.port is not None and not 0 <= self.port <= 65535:
            raise GridError(f"the port of node {self.name!r} is {self.port}; a port is from 0 to 65535")
        put = object.__setattr__  # the way a frozen dataclass fills itself
        put(self, "aliases", tuple(self.aliases))
        put(self, "peers", None if self.peers is None else tuple(self.peers))
        put(self, "subscribes", tuple(self.subscribes))
        put(self, "doors", tuple(self.doors))
        put(self, "args", MappingProxyType(dict(self.args)))
        put(self, "marks", MappingProxyType(dict(self.marks)))
        logger.info("registering new node: %s", printable(self.name))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy can be neither copied nor pickled, and a node should be.
        state = {**self.__dict__, "args": dict(self.args), "marks": dict(self.marks)}
        return _rebuilt, (state,)

    @property
    def host(self) -> str:
        """The same as ``socket``."""
        return self.socket

    @property
    def is_server(self) -> bool:
        """Whether the node can be dialled: it has a port, or a door that speaks link."""
        # Port 0 asks the system for any free port, which nobody can know yet.
        return bool(self.port) or self.link_door is not None

    @property
    def link_door(self) -> NodeDoor | None:
        """The door where other nodes link with this one; ``None`` if they do at its port."""
        # Asked with every stream, and nearly always there are none.
        return next((door for door in self.doors if door.speaks == "link"), None) if self.doors else None

    @property
    def link_uri(self) -> str:
        """Where other nodes dial the link with this one.

        Raises:
            NotAServerError: If it has neither a door that speaks link nor a port.

        """
        door = self.link_door
        return self._address("") if door is None else door.url

    def check(self, path: str = "") -> None:
        """Check that this node can be dialled, and that a channel of it can be named.

        Raises:
            NotAServerError: If it has neither a port nor a door that speaks link.
            GridError: If the channel is no valid text.

        """
        if self.link_door is None:
            self.uri(path)
        else:
            check_channel(path)
            _uri("ws", self.socket, self.port, path)

    def uri(self, path: str = "") -> str:
        """Return the address of a channel of this node.

        Args:
            path: The channel as plain text. It is percent-encoded as UTF-8, a
                ``?`` and a ``%`` included; ``/`` is kept and one leading ``/``
                is dropped.

        Raises:
            NotAServerError: If the node has no port.
            GridError: If the channel holds half of a character (a lone
                surrogate), which has no UTF-8.
            TypeError: If the channel is no text.

        """
        check_channel(path)
        return self._address(path)

    def _address(self, path: str) -> str:
        if not self.port:
            raise NotAServerError(self.name)
        return _uri("wss" if self.tls else "ws", self.socket, self.port, path)

    def connection(self, path: str = "", **options: Any) -> connect:
        """Return a connection to a channel, to be entered with ``async with``.

        Nothing is dialled before it is entered or awaited. Compression is off,
        for small messages gain nothing and a compressed bomb costs memory; a
        message is at most 16 MiB; a loopback host is never dialled by proxy.

        Args:
            path: The channel, as for ``uri``.
            options: Options of ``websockets.asyncio.client.connect``, which
                override these defaults.

        Raises:
            NotAServerError: If the node has no port.
            GridError: If the channel is no valid text.
            CertificateError: If the authority that it is to be trusted by cannot be read.

        """
        # Here and not at the top: `--help` needs nodes but no websockets.
        from websockets.asyncio.client import connect

        uri = self.uri(path)
        options.setdefault("compression", None)
        options.setdefault("max_size", MAX_MESSAGE)
        if is_loopback(self.socket):
            options.setdefault("proxy", None)
        elif "%" in self.socket:
            # A URI writes the zone of an IPv6 address as %25, the system wants %.
            options.setdefault("host", self.socket.strip("[]"))
        if isinstance(self.tls, Tls):
            from mesh.certificates import trusting

            options.setdefault("ssl", trusting(self.tls))
        return connect(uri, **options)

    def where(self, *path: str) -> str:
        """Return where a field stands, for example ``grid.yaml:12:7``.

        Args:
            path: Names from the entry down: ``"port"``, or ``"args", "sound"``;
                an item of a list is named by its index. A field that is not
                written gives the place of the nearest thing around it.

        Returns:
            The place; ``node 'clock'`` when the node came from no file.

        """
        while path and path not in self.marks:
            path = path[:-1]
        if self.file is None or path not in self.marks:
            return f"node {self.name!r}"
        line, column = self.marks[path]
        return f"{self.file}:{line}:{column}"


def is_loopback(host: str) -> bool:
    """Return whether a host can only be this machine.

    ``0.0.0.0`` and ``::`` count as well: to dial them is to dial oneself.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


# Asked for with every stream, for the same few channels.
@lru_cache(maxsize=1024)
def _uri(scheme: str, host: str, port: int | None, path: str) -> str:
    try:
        channel = quote(path.removeprefix("/"), safe="/")
    except UnicodeEncodeError as exc:
        raise GridError(f"channel {path!r} is no valid text; a lone surrogate cannot be sent") from exc
    return f"{scheme}://{_uri_host(host)}:{port}/{channel}"


def _uri_host(host: str) -> str:
    bare = host.strip("[]")
    return f"[{bare.replace('%', '%25')}]" if ":" in bare else bare


def _rebuilt(state: dict[str, Any]) -> Node:
    return Node(**state)
