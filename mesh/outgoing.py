"""Everything that one process sends: over a link where the peer speaks it, else as plain websocket.

Whether a peer speaks it is asked when the first stream begins, and remembered of one that does
not for as long as its connection holds, or for ``PLAIN_FOR``: then, and once a plain connection was lost
or refused, the next stream asks again, for by now a worker may serve there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from typing import Any

from mesh.arguments import check_count
from mesh.dialling import NotALinkError, dial_link
from mesh.errors import (
    AckTimeoutError,
    FrameTooLargeError,
    NackedError,
    OutcomeUnknownError,
    PayloadError,
    PeerDownError,
)
from mesh.links.asking import Asking, Explain
from mesh.links.dialler import Dialler
from mesh.links.hub import Hub
from mesh.links.requesting import request
from mesh.links.sending import sending
from mesh.links.shell import LinkShell
from mesh.node import Node
from mesh.peers import Peers
from mesh.protocol.books import MAX_NAME
from mesh.protocol.link import Delivery, Failed, Reason
from mesh.protocol.values import Refusal, Wire, answer_from_wire, message_to_wire
from mesh.streams import Answers, Ask, Items, OnNack, Parts, Stream, close_source, each, items_of

PLAIN_FOR = 60.0
"""Seconds for which a peer is taken for a plain websocket server although no connection to it is open."""


class Outgoing:
    """Sends streams to nodes.

    Args:
        hub: The links of this process.
        peers: Its plain conversations, for peers that speak no ``sketchmesh.v1``.

    """

    def __init__(self, hub: Hub, peers: Peers) -> None:
        self._hub = hub
        self._peers = peers
        # Where plain websocket servers were found, and when.
        self._plain: dict[str, float] = {}
        peers.when_lost = self._lost

    def stream(
        self,
        node: Node,
        data: object,
        channel: str,
        *,
        delivery: Delivery,
        window: int | None = None,
        on_nack: OnNack = "raise",
        begin: Callable[[], object] = lambda: None,
        before: Callable[[object], object] | None = None,
        after: Callable[[Answers], object] | None = None,
    ) -> Stream:
        """Return a stream of data to a channel of a node.

        Args:
            node: The target.
            data: One item or many.
            channel: The target's channel.
            delivery: How the items are to be delivered.
            window: Most items in flight; ``None`` for the link's own limit.
            on_nack: See ``Stream``.
            begin: Called once, before anything is sent.
            before: Called with each item before it is sent.
            after: Called with the answers as they come.

        Raises:
            ValueError: If the window is below one.
            TypeError: If it is no whole number.

        """
        check_count("window", window, what="the messages in flight")

        async def start() -> Parts:
            begin()
            source = items_of(data)
            items = source if before is None else _telling(source, before)
            try:
                parts = await self._send(node, channel, items, delivery, window)
            except BaseException:
                await close_source(source)
                raise
            if after is None and type(source) is list:
                return parts
            return _Overheard(parts, after, items, source)

        return Stream(node.name, start, on_nack=on_nack)

    async def request(self, node: Node, msg: object, channel: str, delivery: Delivery) -> Any:
        """Send one message and return its answer.

        Args:
            node: The target.
            msg: The message, whatever it is.
            channel: The target's channel.
            delivery: How it is to be delivered; its ``ack_timeout`` is that of the answer, and holds
                for peers that speak no ``sketchmesh.v1`` as well.

        """
        found = await self._link(node, channel, delivery.patience)
        if found is not None:
            link, name, explain = found
            return await request(link, name, msg, delivery, peer=node.name, explain=explain)
        limit = delivery.ack_timeout
        if limit is not None:
            # The time of the answer is counted from transmission; those before it may never be answered.
            limit += delivery.patience or 0.0
        within = asyncio.timeout(limit)
        try:
            async with within:
                wire = await self._peers.exchange(node, channel, message_to_wire(msg), delivery)
        except TimeoutError:
            if not within.expired():
                raise
            raise AckTimeoutError(node.name, limit or 0.0) from None
        answer = _answer(node, wire)
        if isinstance(answer, NackedError):
            raise answer
        return answer

    def ask(self, node: Node, msg: object, channel: str, *, patience: float | None) -> Ask:
        """Return the parts of the answer to a message.

        Args:
            node: The target.
            msg: The message, whatever it is.
            channel: The target's channel.
            patience: Seconds that the target may be absent, before it has accepted and later on.

        """

        async def start() -> Asking:
            try:
                link, explain = await self._contact(node, node.link_uri, patience)
            except NotALinkError as exc:
                raise NotALinkError(
                    node.name,
                    f"{node.name} at {node.link_uri} is a plain websocket server, which answers in one "
                    f"piece; use request() or stream()",
                ) from exc
            name = channel.removeprefix("/")
            return link.asks.ask(name, msg, peer=node.name, patience=patience, explain=explain)

        return Ask(node.name, start)

    async def _send(
        self, node: Node, channel: str, items: Items, delivery: Delivery, window: int | None
    ) -> Parts:
        found = await self._link(node, channel, delivery.patience)
        if found is None:
            return _StepByStep(self._peers, node, channel, items, delivery)
        link, name, explain = found
        return sending(link, name, items, delivery, peer=node.name, window=window, explain=explain)

    async def _link(
        self, node: Node, channel: str, patience: float | None
    ) -> tuple[LinkShell, str, Explain] | None:
        """Return the link with a node, how the channel is called there, and what turns failures into errors.

        Returns:
            ``None`` if the node speaks no ``sketchmesh.v1``.

        """
        where = node.link_uri
        if where in self._plain and self._is_plain(where, node.uri(channel)):
            return None
        try:
            link, explain = await self._contact(node, where, patience)
        except NotALinkError:
            self._plain[where] = asyncio.get_running_loop().time()
            return None
        # As in an address, where one leading slash says nothing.
        name = channel.removeprefix("/")
        if len(name) > MAX_NAME:
            raise PayloadError(
                f"the name of a channel has at most {MAX_NAME} characters, "
                f"{name[:20]!r}... has {len(name)}; send what is so long as the message"
            )
        return link, name, explain

    async def _contact(self, node: Node, where: str, patience: float | None) -> tuple[LinkShell, Explain]:
        """Return the link with a node, once it was accepted, and what turns failures into errors.

        Raises:
            NotALinkError: If the node speaks no ``sketchmesh.v1``.

        """
        dialler = self._hub.dialler(node.name, where, lambda: dial_link(node))
        link = await dialler.first_contact(patience)
        return link, lambda failure: explained(failure, node, dialler)

    def _is_plain(self, where: str, uri: str) -> bool:
        known_for = asyncio.get_running_loop().time() - self._plain[where]
        if known_for < PLAIN_FOR or self._peers.is_open(uri):
            return True
        self._lost(where)
        return False

    def _lost(self, where: str) -> None:
        self._plain.pop(where, None)


class _StepByStep:
    """A stream to a peer that speaks no ``sketchmesh.v1``: one message, its answer, the next."""

    def __init__(self, peers: Peers, node: Node, channel: str, items: Items, delivery: Delivery) -> None:
        self._peers = peers
        self._node = node
        self._channel = channel
        self._delivery = delivery
        self._items = each(items)

    async def next(self) -> Answers | None:
        async for item in self._items:
            wire = await self._peers.exchange(
                self._node, self._channel, message_to_wire(item), self._delivery
            )
            answer = _answer(self._node, wire)
            return answer if isinstance(answer, NackedError) else [answer]
        return None

    async def aclose(self) -> None:
        await self._items.aclose()


def _answer(node: Node, wire: Wire) -> Any:
    """Return what a peer without links answered; a refusal as the error that it means."""
    answer = answer_from_wire(wire)
    return NackedError(node.name, answer.type, answer.message) if isinstance(answer, Refusal) else answer


class _Overheard:
    """A stream of which somebody else is told as well, and whose sources are closed with it."""

    def __init__(
        self, parts: Parts, after: Callable[[Answers], object] | None, items: Items, source: Items
    ) -> None:
        self._parts = parts
        self._after = after
        self._items = items
        self._source = source

    async def next(self) -> Answers | None:
        part = await self._parts.next()
        if self._after is not None and part is not None:
            self._after(part)
        return part

    async def aclose(self) -> None:
        try:
            await self._parts.aclose()
        finally:
            await close_source(self._items)
            await close_source(self._source)


def _telling(source: Items, tell: Callable[[object], object]) -> Items:
    """Return the same items, of which each is told just before it is sent."""

    def told() -> Iterator[object]:
        assert isinstance(source, Iterable)
        for item in source:
            tell(item)
            yield item

    async def told_late() -> AsyncGenerator[object, None]:
        assert isinstance(source, AsyncIterable)
        async for item in source:
            tell(item)
            yield item

    return told_late() if isinstance(source, AsyncIterable) else told()


def explained(failure: Failed, node: Node, dialler: Dialler) -> Exception:
    """Return the error that a user gets for a failure of the link."""
    if failure.reason is Reason.PEER_DOWN:
        return PeerDownError(
            node.name,
            node.link_uri,
            failure.waited,
            dialler.why_absent,
            transmitted=failure.transmitted,
            accepted=dialler.was_accepted,
        )
    if failure.reason is Reason.ACK_TIMEOUT:
        return AckTimeoutError(node.name, failure.waited, transmitted=failure.transmitted)
    if failure.reason is Reason.TURNED_AWAY:
        error = dialler.turned_away(transmitted=failure.transmitted) or dialler.fatal
        if error is not None:
            return error
    if failure.reason is Reason.TOO_LARGE:
        return FrameTooLargeError(peer=node.name)
    if failure.transmitted:
        return OutcomeUnknownError(node.name, failure.reason.value)
    why = "the link was closed" if failure.reason is Reason.CLOSED else failure.reason.value
    return PeerDownError(node.name, node.link_uri, 0.0, why, stopping=True)
