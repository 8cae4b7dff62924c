"""``mesh.connect``: a peer for scripts and tests, without a worker of one's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from logging import getLogger
from secrets import token_hex
from typing import Any, NoReturn
from urllib.parse import urlsplit

from mesh.errors import GridError
from mesh.gridfile import Grid
from mesh.gridfile import grid as load_grid
from mesh.links.hub import Hub
from mesh.links.inbox import Route
from mesh.node import Node
from mesh.outgoing import Outgoing, delivery_of
from mesh.peers import Peers
from mesh.protocol.books import joined
from mesh.protocol.link import LinkSettings
from mesh.protocol.values import Refusal
from mesh.streams import OnNack, Stream

logger = getLogger("mesh.client")

GOODBYE = 1.0
"""Seconds that leaving may take; what is still in flight then is abandoned."""


class Peer:
    """One node, as a script talks to it; made by ``connect()``.

    Attributes:
        node: The node.

    """

    def __init__(
        self, node: Node, outgoing: Outgoing, hub: Hub, peers: Peers, *, patience: float | None
    ) -> None:
        self.node = node
        self._outgoing = outgoing
        self._hub = hub
        self._peers = peers
        self._patience = patience

    def stream(
        self,
        data: object,
        channel: str = "",
        *,
        on_nack: OnNack = "raise",
        ack_timeout: float | None = None,
        delivery: str = "at-least-once",
        window: int | None = None,
    ) -> Stream:
        """Send data to a channel and collect the acknowledgements.

        Await it for the list of acks, or iterate it for each as it comes; one ack for
        each item, in order. What is one item and what is many is as for a sketch's
        ``stream()``; so are the options and errors.
        """
        self.node.uri(channel)
        return self._outgoing.stream(
            self.node,
            data,
            channel,
            delivery=delivery_of(delivery, patience=self._patience, ack_timeout=ack_timeout),
            window=window,
            on_nack=on_nack,
        )

    def ledger(self) -> dict[str, Any]:
        """Return the books of this connection: see ``docs/reference/ledger.md``."""
        return joined(self._hub.books(), self._peers.books(), mark="sent to")


@asynccontextmanager
async def connect(
    target: str | Node,
    *,
    grid: Grid | str | None = None,
    patience: float | None = 10.0,
    settings: LinkSettings | None = None,
) -> AsyncIterator[Peer]:
    """Talk to one node from a script or a test.

    Connects when something is first sent, and again whenever it is necessary.

    Args:
        target: A name or alias in the grid, a node, or a URI such as
            ``ws://localhost:8766``, which needs no grid.
        grid: The grid, or its file; ``None`` for the usual one.
        patience: Seconds to wait for the node when it is absent; ``None`` for ever.
        settings: How the link behaves.

    Raises:
        UnknownNodeError: If the grid has no such node.
        NotAServerError: If the node has no port.
        GridError: If the grid or the URI cannot be read.

    """
    node = _target(target, grid)
    node.uri()
    hub = Hub(f"$script-{token_hex(4)}", _NoSketch(), notice=logger.info, changed=_ignore, settings=settings)
    peers = Peers(notice=logger.info, patience=patience)
    try:
        yield Peer(node, Outgoing(hub, peers), hub, peers, patience=patience)
        with suppress(TimeoutError):
            # A goodbye lets the other side forget us at once.
            async with asyncio.timeout(GOODBYE):
                await hub.drain("done")
    finally:
        await hub.close()
        await peers.close()


def _target(target: str | Node, grid: Grid | str | None) -> Node:
    if isinstance(target, Node):
        return target
    if "://" not in target:
        known = grid if isinstance(grid, Grid) else load_grid(grid)
        return known.node(target)
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError as exc:
        raise GridError(f"{target!r} is no address of a node: {exc}") from exc
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise GridError(f"{target!r} is no address of a node; write ws://HOST:PORT, and the channel apart")
    port = port or (443 if parts.scheme == "wss" else 80)
    return Node(parts.netloc, parts.hostname, port, tls=parts.scheme == "wss")


def _ignore(name: str, state: str, reason: str) -> None:
    pass


class _NoSketch:
    """Who handles messages that come to a script: nobody."""

    def opened(self, peer: str, channel: str) -> Route:
        return Route(_refuse, None)

    async def recover(self, peer: str, channel: str, item: object, error: BaseException) -> Refusal:
        return Refusal(type(error).__name__, str(error))

    def unsendable(self, peer: str, channel: str, error: Exception) -> None:
        """Nothing is ever answered, so nothing is unsendable."""


async def _refuse(_channel: str, _message: object) -> NoReturn:
    raise LookupError("this is a script, which takes no messages")
