"""Feeds: what plain websocket clients get of a channel that they subscribed to.

- A feed is one more cursor of the topic (see ``mesh.protocol.fanout``), so that a client that does not
  read costs what its policy allows and slows nobody. ``block`` is not for strangers.
- Values are turned into websocket frames once for all clients: a server's frames are not masked.
- A value is *delivered* when it is handed to the connection, which takes no more while its buffer is
  full. Nobody can say more of a client that does not answer.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import msgspec
from websockets.protocol import State

from mesh.links.publishing import Channel, Publishing
from mesh.protocol.books import CLIENTS, MOST_CHANNELS, Books, clipped
from mesh.protocol.fanout import DEFAULT_LIMIT, Batch, Cursor, Policy, Published, book, settled_policy
from mesh.protocol.link.records import array_head
from mesh.protocol.values import answer_to_wire, or_as_text
from mesh.transport.framing import TEXT, head

if TYPE_CHECKING:
    from mesh.transport.websocket import LinkConnection

BUFFER: Final = 16 * 1024
"""Bytes in a client's write buffer from which on it gets no more: the system has buffers of its own."""

MOST_FRAMES: Final = 8
"""Batches that are kept as frames, for clients that come to them a moment later."""

TRY_AGAIN: Final = 1013
"""The code with which a client is cut off whose policy is ``error``."""

_read = msgspec.msgpack.Decoder(list[tuple[int, Any]]).decode
_read_last = msgspec.msgpack.Decoder(tuple[int, None, str, str]).decode


class Asked(msgspec.Struct, frozen=True):
    """What a client asks for in the query of its address."""

    policy: Policy
    limit: int


def asked(query: str) -> Asked | None:
    """Return what a query asks for; ``None`` if it is no subscription.

    Raises:
        ValueError: If it cannot be had.

    """
    if not query.startswith("subscribe") and "&subscribe" not in query:
        return None
    words = parse_qs(query, keep_blank_values=True, max_num_fields=20)
    if "subscribe" not in words:
        return None
    for word, values in words.items():
        if word not in ("subscribe", "policy", "limit"):
            raise ValueError(f"a subscription has policy= and limit=, and no {word!r}")
        if len(values) > 1:
            raise ValueError(f"{word} is there {len(values)} times")
    text = words.get("limit", [str(DEFAULT_LIMIT)])[0]
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else text
    policy, most = settled_policy(words.get("policy", ["drop_oldest"])[0], limit)
    if policy is Policy.BLOCK:
        raise ValueError("a plain client cannot make a publisher wait; take another policy than block")
    return Asked(policy, most)


class Feeds:
    """The subscriptions of all plain clients of one process.

    Args:
        publishing: What is published.

    """

    def __init__(self, publishing: Publishing) -> None:
        self._publishing = publishing
        self._lines: dict[str, Published] = {}
        self._frames: dict[tuple[Channel, int, int], bytes] = {}

    def open(self, connection: LinkConnection, channel: str, wish: Asked) -> Feed:
        """Feed a client from now on.

        Raises:
            ValueError: If the channel cannot be published.

        """
        found, cursor = self._publishing.subscribe(
            channel, wish.policy, wish.limit, self._line(channel), latch=True
        )
        return Feed(self, connection, found, cursor)

    def _line(self, channel: str) -> Published:
        return book(self._lines, clipped(channel), Published, MOST_CHANNELS)

    def frames(self, channel: Channel, batch: Batch) -> bytes:
        """Return a batch as websocket frames."""
        key = (channel, batch.first, batch.count)
        frames = self._frames.get(key)
        if frames is None:
            frames = b"".join([_frame(value) for _, value in _read(array_head(batch.count) + batch.body)])
            if len(self._frames) >= MOST_FRAMES:
                del self._frames[next(iter(self._frames))]
            self._frames[key] = frames
        return frames

    def closed(self, channel: Channel) -> None:
        """Take note that a client is gone."""
        self._publishing.closed(channel)
        if not channel.topic.cursors:
            self._frames.clear()

    def books(self) -> Books:
        """Return every line: of all clients together."""
        if not self._lines:
            return {}
        return {CLIENTS: {"published": {name: line.snapshot() for name, line in self._lines.items()}}}


class Feed:
    """What one client gets; the ``owner`` of its cursor."""

    __slots__ = ("_channel", "_connection", "_cursor", "_feeds", "_is_due")

    def __init__(self, feeds: Feeds, connection: LinkConnection, channel: Channel, cursor: Cursor) -> None:
        self._feeds = feeds
        self._connection = connection
        self._channel = channel
        self._cursor = cursor
        self._is_due = False
        cursor.owner = self
        connection.when_writable = self._serve_soon
        _keep_little(connection.transport)
        self.serve()

    def _serve_soon(self) -> None:
        # Not now: the loop writes for as long as there is something to write, and others wait.
        if not self._is_due:
            self._is_due = True
            self._connection.loop.call_soon(self._serve_due)

    def _serve_due(self) -> None:
        self._is_due = False
        self.serve()

    def serve(self) -> None:
        """Hand over what there is, as long as the connection takes it."""
        cursor, connection = self._cursor, self._connection
        wire = connection.transport
        # Nothing may follow a goodbye, whoever said it.
        while (
            connection.state is State.OPEN and not wire.is_closing() and wire.get_write_buffer_size() < BUFFER
        ):
            batch = cursor.take()
            if batch is None:
                return
            if batch.last:
                *_, error, message = _read_last(batch.body)
                connection.protocol.send_close(TRY_AGAIN, f"{error}: {message}"[:120])
                connection.send_data()
                return
            wire.write(self._feeds.frames(self._channel, batch))
            if connection.watch is not None:
                for _, value in _read(array_head(batch.count) + batch.body):
                    connection.watch.sent(or_as_text(answer_to_wire, value))
            cursor.line.delivered += batch.count
            cursor.settle(batch.count)

    def close(self, reason: str = "closed") -> None:
        """End it."""
        self._connection.when_writable = None
        self._cursor.close(reason)
        self._feeds.closed(self._channel)


def _keep_little(wire: asyncio.Transport) -> None:
    """Let few bytes wait in the buffers of a connection, for a policy has no say in what is there."""
    # It tells of room only after it was full in its own eyes.
    wire.set_write_buffer_limits(BUFFER - 1)
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    sock = wire.get_extra_info("socket")
    if option is not None and sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, option, BUFFER)


def _frame(value: object) -> bytes:
    wire = or_as_text(answer_to_wire, value)
    if isinstance(wire, bytes):
        return head(len(wire), 0) + wire
    text = wire.encode()
    return head(len(text), 0, TEXT) + text
