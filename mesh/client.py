"""``mesh.connect``: a peer for scripts and tests, without a worker of one's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from logging import getLogger
from secrets import token_hex
from typing import Any, NoReturn
from urllib.parse import urlsplit

from mesh import gathering
from mesh.arguments import check_channel, check_seconds
from mesh.deliveries import REQUEST_TIMEOUT, delivery_of, request_delivery
from mesh.errors import GridError
from mesh.gathering import Gathered, Targets
from mesh.gridfile import Grid
from mesh.gridfile import grid as load_grid
from mesh.links.hub import Hub
from mesh.links.inbox import Route
from mesh.links.publishing import Publication, Publishing, checked_channel
from mesh.links.subscribing import Subscribing
from mesh.node import Node
from mesh.outgoing import Outgoing
from mesh.peers import Peers
from mesh.protocol.books import joined
from mesh.protocol.fanout import DEFAULT_LIMIT
from mesh.protocol.link import LinkSettings
from mesh.protocol.values import Refusal
from mesh.streams import Ask, OnNack, Stream
from mesh.subscription import Subscription, subscription

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
        self._publishing = Publishing(patience=patience)
        self._publishing.begin()
        hub.followers.append(self._publishing)
        self._subscribing = Subscribing(hub, warn=logger.warning)

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
        self.node.check(channel)
        return self._outgoing.stream(
            self.node,
            data,
            channel,
            delivery=delivery_of(delivery, patience=self._patience, ack_timeout=ack_timeout),
            window=window,
            on_nack=on_nack,
        )

    async def request(
        self, msg: object, channel: str = "", *, timeout: float | None = REQUEST_TIMEOUT
    ) -> Any:
        """Send one message and return its answer, which keeps its type.

        Args:
            msg: The message, whatever it is.
            channel: The channel of the node.
            timeout: Seconds to wait for the answer, from the moment the message was sent; an
                absent node is waited for no longer than that either. ``None`` for ever.

        Raises:
            NackedError: If the handler refused the message.
            AckTimeoutError: If the answer did not come in time.
            PeerDownError: If the node is not there.
            OutcomeUnknownError: If the answer will never come, though the message was sent.
            PayloadError: If the message cannot be sent.
            FrameTooLargeError: If it is larger than the node takes.
            ValueError: If the timeout is not above zero.
            TypeError: If the timeout is no number, or the channel no text.

        """
        self.node.check(channel)
        return await self._outgoing.request(
            self.node, msg, channel, request_delivery(self._patience, timeout)
        )

    def ask(self, msg: object, channel: str = "") -> Ask:
        """Send one message and iterate over the parts of its answer as they come.

        A handler that is an async generator gives any number of parts, any other one gives
        one. When the loop is left early, the generator is closed.

        Raises, in the place of the next part: ``NackedError`` if the handler raised or took
        no such message, and what else ``request()`` may raise.
        """
        self.node.check(channel)
        return self._outgoing.ask(self.node, msg, channel, patience=self._patience)

    def subscribe(
        self,
        channel: str,
        *,
        policy: str = "drop_oldest",
        limit: int = DEFAULT_LIMIT,
        latch: bool = True,
    ) -> Subscription:
        """Subscribe to a channel that the node publishes, and iterate over its values.

        Waits for a node that is not there, for as long as it takes, and subscribes again whenever
        it is back. Several subscriptions to one channel share one on the wire.

        Args:
            channel: The channel.
            policy: What the node does when ``limit`` values wait for this script: ``block``,
                ``drop_oldest``, ``drop_newest``, ``latest`` or ``error``.
            limit: Values that may wait at the node.
            latch: Whether the value that the channel keeps, if it keeps one, comes first.

        Raises:
            ValueError: If the policy, the limit or the channel is none; or, where it begins, if
                there is a subscription to that channel with another policy or limit.

        """
        check_channel(channel)
        self.node.check(checked_channel(channel))
        return subscription(self._subscribing, self.node, channel, policy=policy, limit=limit, latch=latch)

    def publish(self, channel: str, value: object, *, latch: bool = False) -> Publication:
        """Publish a value to the node, if it has subscribed to this script.

        A node subscribes to whom the grid names as ``source``, so the script needs a name:
        ``connect(..., name="sensor")``. The link to the node is kept up from then on.

        Args:
            channel: The channel.
            value: Anything that can be sent.
            latch: Keep it for a subscription that comes later.

        Returns:
            Await it to wait for room, and for the number of subscribers. That is 0 for ever of a plain
            websocket server, which cannot subscribe; the log says so once.

        Raises:
            PayloadError: If the value cannot be sent.
            FrameTooLargeError: If it is too large.
            ValueError: If no channel can have that name.
            TypeError: If the channel is no text.

        """
        check_channel(channel)
        self._subscribing.keep(self.node)
        return self._publishing.publish(channel, value, latch=latch)

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
    name: str | None = None,
) -> AsyncIterator[Peer]:
    """Talk to one node from a script or a test.

    Connects when something is first sent, and again whenever it is necessary.

    Args:
        target: A name or alias in the grid, a node, or a URI such as
            ``ws://localhost:8766``, which needs no grid.
        grid: The grid, or its file; ``None`` for the usual one.
        patience: Seconds to wait for the node when it is absent; ``None`` for ever.
        settings: How the link behaves.
        name: What the script calls itself; ``None`` for a name that nobody else has. With the
            name of a node without a port it publishes as that node.

    Raises:
        UnknownNodeError: If the grid has no such node.
        NotAServerError: If the node has no port.
        GridError: If the grid or the URI cannot be read.
        ValueError: If the patience is not above zero.
        TypeError: If the target is neither a name nor a node, or the patience no number.

    """
    node = _target(target, grid)
    node.check()
    check_seconds("patience", patience)
    async with _wire(patience, settings, name) as (outgoing, hub, peers):
        peer = Peer(node, outgoing, hub, peers, patience=patience)
        try:
            yield peer
        finally:
            await peer._subscribing.close()


def _target(target: str | Node, grid: Grid | str | None) -> Node:
    gathering.check_target(target)
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


async def gather(
    targets: Targets,
    msg: object,
    channel: str = "",
    *,
    grid: Grid | str | None = None,
    count: int | None = None,
    deadline: float | None = REQUEST_TIMEOUT,
    stall: float | None = None,
    patience: float | None = 10.0,
) -> Gathered:
    """Send one message to several nodes at once, from a script, and collect their answers by name.

    Args:
        targets: A group of the grid, or several nodes; names may be URIs as well.
        msg: The message for each of them.
        channel: The channel of each of them.
        grid: The grid, or its file; ``None`` for the usual one.
        count: Answers that are enough; ``None`` waits for all.
        deadline: Seconds after which it stops; ``None`` for none.
        stall: Seconds without a new answer after which it stops; ``None`` for none.
        patience: Seconds to wait for an absent node; ``None`` for ever.

    Returns:
        A mapping from names to answers. Its ``errors`` holds by name why others gave none,
        its ``missing`` the names of those that had not answered when it stopped.

    Raises:
        UnknownNodeError: If the grid has no such node.
        GridError: If the grid or a URI cannot be read, or there is nobody to ask.
        PayloadError: If the message cannot be sent.
        FrameTooLargeError: If it is larger than a node takes.
        ValueError: If a limit makes no sense.
        TypeError: If a limit is no number, or a target neither a name nor a node.

    """
    if isinstance(targets, str) and "://" not in targets:
        nodes = gathering.nodes_of(targets, grid if isinstance(grid, Grid) else load_grid(grid))
    else:
        nodes = gathering.nodes_of([_target(target, grid) for target in gathering.several(targets)], Grid())
    delivery = request_delivery(patience, None)
    async with _wire(patience) as (outgoing, _, _):
        return await gathering.gather(
            nodes,
            lambda node: outgoing.request(node, msg, channel, delivery),
            count=count,
            deadline=deadline,
            stall=stall,
        )


@asynccontextmanager
async def _wire(
    patience: float | None, settings: LinkSettings | None = None, name: str | None = None
) -> AsyncIterator[tuple[Outgoing, Hub, Peers]]:
    """Be a script that sends, for as long as the block lasts."""
    name = name or f"$script-{token_hex(4)}"
    hub = Hub(name, _NoSketch(), notice=logger.info, changed=_ignore, settings=settings)
    peers = Peers(notice=logger.info, patience=patience)
    try:
        yield Outgoing(hub, peers), hub, peers
        with suppress(TimeoutError):
            # A goodbye lets the other side forget us at once.
            async with asyncio.timeout(GOODBYE):
                await hub.drain("done")
    finally:
        await hub.close()
        await peers.close()


class _NoSketch:
    """Who handles messages that come to a script: nobody."""

    def opened(self, peer: str, channel: str) -> Route:
        return Route(_refuse, None)

    def asked(self, peer: str, channel: str, item: object) -> Refusal:
        return Refusal("LookupError", "this is a script, which takes no messages")

    async def recover(self, peer: str, channel: str, item: object, error: BaseException) -> Refusal:
        return Refusal(type(error).__name__, str(error))

    def unsendable(self, peer: str, channel: str, what: str, error: Exception) -> None:
        """Nothing is ever answered, so nothing is unsendable."""


async def _refuse(_channel: str, _message: object) -> NoReturn:
    raise LookupError("this is a script, which takes no messages")
