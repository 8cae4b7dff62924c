"""The doors of one worker: where others reach its sketch."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from ssl import SSLContext
from typing import TYPE_CHECKING

from factory.ending import to_its_end
from factory.inspection import PLAIN
from mesh.door import Door
from mesh.errors import NotAServerError
from mesh.link_doors import LinkDoors
from mesh.node import Node, NodeDoor, Tls
from mesh.protocol.books import Books, TakenBooks, merged
from mesh.protocol.lines import MAX_LINE
from mesh.streamdoor import StreamDoor
from mesh.text import endpoint

if TYPE_CHECKING:
    from factory.circulating import Circulating
    from factory.handling import Handling
    from factory.loop import FactoryLoop
    from mesh.feeds import Feeds
    from mesh.links.hub import Hub
    from mesh.transport.layers import LayerSpec

DEFAULT_PORT = 8765
"""The port that a worker serves on, and a client-only sketch sends to, when nothing says otherwise."""


class Doors:
    """Opens, drains and closes them together, and counts what came in at each.

    Args:
        sketch: The sketch.
        handling: Answers its plain clients.
        feeds: What plain clients may subscribe to.
        hub: Gives the links to other processes.
        circulating: The rings, whose other members dial this one.
        say: Prints a line of the sketch.
        note: Logs what is no error.
        warn: Logs a warning.

    Attributes:
        web: The one for websockets; ``None`` while there is none.

    """

    def __init__(
        self,
        sketch: FactoryLoop,
        handling: Handling,
        feeds: Feeds,
        hub: Callable[[], Hub],
        circulating: Circulating,
        *,
        say: Callable[[str], None],
        note: Callable[[str], object],
        warn: Callable[[str], object],
    ) -> None:
        self._sketch = sketch
        self._handling = handling
        self._feeds = feeds
        self._hub = hub
        self._circulating = circulating
        self._say = say
        self._note = note
        self._warn = warn
        # One for all doors: what counts is the channel, not the way in.
        self._taken = TakenBooks()
        self.web: Door | None = None
        self._streams: list[StreamDoor] = []
        self._links: LinkDoors | None = None
        self._ssl: SSLContext | None = None

    @property
    def takes_links(self) -> bool:
        """Whether other workers can dial this one."""
        return self.web is not None or self._links is not None

    @property
    def address(self) -> Node:
        """This node with the host and port that it really serves on."""
        if self.web is None or not self.web.port:
            raise NotAServerError(self._sketch.name)
        return Node(self._sketch.name, self.web.host, self.web.port, tls=self._sketch.me.tls)

    def books(self) -> Books:
        """Return the ledger of all plain clients."""
        return merged(self._taken.books(), self._feeds.books())

    def _all(self) -> list[Door | StreamDoor]:
        return [*([] if self.web is None else [self.web]), *self._streams]

    def _besides(self, door: Door | StreamDoor) -> int:
        return sum(other.connections for other in self._all() if other is not door)

    # -- opening ---------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Read the certificate, if the node has one.

        Raises:
            CertificateError: If it cannot be used.

        """
        me = self._sketch.me
        if isinstance(me.tls, Tls) and me.tls.cert is not None:
            # Late: who serves without TLS need not load it.
            from mesh.certificates import serving

            self._ssl = serving(me.tls, me.where("tls"))

    async def serve(self, socket: str | None, port: int | None) -> None:
        """Serve websockets, for plain clients and links.

        Raises:
            ServeError: If that is not possible there.

        """
        me = self._sketch.me
        host = socket or me.host
        if port is None:
            port = me.port if me.port is not None else self._port_of_environment() or DEFAULT_PORT
        if self._circulating.is_wanted:
            self._circulating.rings.prepare()
        self.web = door = Door(
            self._handling,
            own_hosts={host, me.host},
            allowed_origins=self._sketch.grid.origins,
            link=self._hub().accept,
            ring=self._circulating.rings.accept if self._circulating.is_wanted else None,
            reserved=PLAIN,
            feeds=self._feeds,
            others=lambda: self._besides(door),
            books=self._taken,
            converse=self._handling.converse,
            pages=self._sketch.pages,
        )
        # To its end, for of a door that is half open nobody could give back the port.
        opening = door.open(host, port, self._ssl)
        await to_its_end(asyncio.create_task(opening, name="opening the door"))
        self._say(f"serving on {endpoint(host, door.port)}{'' if self._ssl is None else ' with TLS'}")
        if me.port is not None and door.port != me.port:
            self._warn(f"the grid has {me.name} on port {me.port}; that is where its peers will look for it")

    async def serve_lines(self, url: str) -> str:
        """Serve lines at an address, each a message to the default channel; return the address.

        Raises:
            EndpointError: If it is no address.
            ServeError: If that is not possible there.

        """
        return await self._serve_messages(NodeDoor(url), self._sketch.line_layers)

    async def serve_further(self) -> None:
        """Serve at the further doors that the grid gives this node.

        Raises:
            ServeError: If that is not possible at one of them.

        """
        me = self._sketch.me
        for door in me.doors:
            if door.speaks == "messages" and not self._sketch.plan.is_client_only:
                await self._serve_messages(door, door.layers)
        if me.link_door is None:
            return
        self._links = doors = LinkDoors(me.doors, self._hub().accept, notice=self._note, ssl=self._ssl)
        await to_its_end(asyncio.create_task(doors.open(), name="opening the doors for links"))
        for address in doors.addresses:
            self._say(f"serving links on {address}")

    async def _serve_messages(self, node_door: NodeDoor, layers: Sequence[LayerSpec]) -> str:
        door = StreamDoor(
            self._handling,
            channel=node_door.channel,
            others=lambda: self._besides(door),
            books=self._taken,
            notice=self._note,
            max_line=node_door.max_line or MAX_LINE,
            idle=node_door.idle,
            converse=self._handling.converse,
        )
        self._streams.append(door)
        opening = door.open(node_door.url, layers, self._ssl)
        await to_its_end(asyncio.create_task(opening, name="opening a door"))
        self._say(f"serving on {door.address}")
        return door.address

    def _port_of_environment(self) -> int | None:
        """Return ``$PORT``, which runners such as foreman set for each process."""
        text = os.environ.get("PORT", "")
        if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536:
            return int(text)
        if text:
            self._warn(f"$PORT is {text!r}, which is no port; it is not used")
        return None

    # -- the end -----------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Give up every address, and wait until every message in hand is answered."""
        if self._links is not None:
            self._links.stop()
        await asyncio.gather(*(door.drain() for door in self._all()))

    async def close(self) -> None:
        """Close every connection of plain clients now."""
        await asyncio.gather(*(door.close() for door in self._all()))

    async def close_links(self) -> None:
        """Close the doors that only links come through."""
        if self._links is not None:
            await self._links.close()
