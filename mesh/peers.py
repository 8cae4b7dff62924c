"""The dialling side: one conversation for each target and channel.

Rules:

- *One message at a time.* A conversation is plain websocket: a message goes out, its
  answer comes back, then the next one may go. Streams that share a conversation take
  turns by message.
- *At least once.* When the connection is lost between a message and its answer, the
  message is sent again on the next connection. A handler may therefore see it twice;
  it is never lost in silence.
- *Patience with a limit.* An absent peer is dialled again with a bounded, jittered
  back-off until ``patience`` seconds have passed; then the message fails with
  ``PeerDownError``. What a retry cannot mend (a refused handshake, a message that is
  too big) fails at once.
- *One line, not a hundred.* The notice that a peer is awaited is given once for a peer,
  however many conversations wait for it, and once more when it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from mesh.backoff import Backoff
from mesh.errors import DeliveryError, PeerDownError
from mesh.node import Node
from mesh.protocol.values import Wire

# The library's own log would print tracebacks for peers that are merely absent.
_SILENT = logging.getLogger("mesh.peers.wire")
_SILENT.setLevel(logging.CRITICAL)

OPEN_TIMEOUT = 5.0
"""Seconds that one attempt to connect may take."""

CLOSE_TIMEOUT = 0.5
"""Seconds that a closing handshake may take."""

MAX_IDLE = 256
"""Conversations kept open for reuse; beyond it the one unused for longest is closed."""

# Closed with one of these, the peer will refuse the same message again.
_FATAL_CODES = {1002, 1003, 1007, 1008, 1009}


class Peers:
    """Every outbound connection of one worker.

    Use as an async context manager, or call ``close()``.

    Args:
        notice: Called with a sentence for people when a peer is awaited or is back.
        patience: Seconds an absent peer is waited for; ``None`` waits for ever.
        random: Where the jitter of the back-off comes from.

    """

    def __init__(
        self,
        *,
        notice: Callable[[str], None],
        patience: float | None = 10.0,
        random: Random | None = None,
    ) -> None:
        self._notice = notice
        self._patience = patience
        self._random = random or Random()
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()
        self._awaited: dict[str, float] = {}
        self._given_up = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def exchange(self, node: Node, channel: str, message: Wire) -> Wire:
        """Send one message to a node's channel and return the answer.

        Cancellation is safe: the connection is dropped, so that an answer on its
        way is never taken for the answer to a later message.

        Raises:
            NotAServerError: If the node has no port.
            PeerDownError: If the node could not be reached within the patience.
            DeliveryError: If the node refuses the connection or the message.

        """
        uri = node.uri(channel)
        conversation = self._conversations.get(uri)
        if conversation is None:
            conversation = self._conversations[uri] = _Conversation(self, node, channel)
        self._conversations.move_to_end(uri)
        answer = await conversation.exchange(message)
        await self._trim()
        return answer

    def give_up(self) -> None:
        """Wait for absent peers no longer; whoever does gets ``PeerDownError`` at once."""
        self._given_up.set()

    async def close(self) -> None:
        """Close every connection; what waits for an answer is not waited for."""
        conversations = list(self._conversations.values())
        self._conversations.clear()
        await asyncio.gather(*(conversation.close() for conversation in conversations))

    async def _trim(self) -> None:
        while len(self._conversations) > MAX_IDLE:
            uri = next((uri for uri, talk in self._conversations.items() if not talk.busy), None)
            if uri is None:
                return
            await self._conversations.pop(uri).close()

    async def _dial(self, node: Node, channel: str) -> ClientConnection:
        """Connect to a node, however often it takes.

        Raises:
            PeerDownError: If it takes longer than the patience.
            DeliveryError: If the node refuses for good.

        """
        loop = asyncio.get_running_loop()
        begin = loop.time()
        backoff = Backoff(self._random)
        where = node.uri()
        while True:
            left = None if self._patience is None else begin + self._patience - loop.time()
            try:
                async with asyncio.timeout(
                    OPEN_TIMEOUT if left is None else min(OPEN_TIMEOUT, max(left, 0.05))
                ):
                    connection = await node.connection(
                        channel,
                        open_timeout=None,
                        close_timeout=CLOSE_TIMEOUT,
                        ping_interval=5.0,
                        ping_timeout=15.0,
                        logger=_SILENT,
                    )
            except InvalidStatus as exc:
                status = exc.response.status_code
                if status < 500:
                    body = (exc.response.body or b"").decode(errors="replace").strip()
                    raise DeliveryError(
                        node.name, f"{node.name} at {where} refused the connection with HTTP {status}: {body}"
                    ) from exc
                why = f"it answered HTTP {status}"
            except InvalidURI as exc:
                raise DeliveryError(node.name, f"{node.name} has no usable address: {exc}") from exc
            except (OSError, InvalidHandshake, EOFError) as exc:
                why = _reason(exc)
            else:
                self._arrived(node.name, where, loop.time())
                return connection
            now = loop.time()
            end = None if self._patience is None else begin + self._patience
            if self._given_up.is_set() or (end is not None and now >= end):
                raise PeerDownError(node.name, where, now - begin, why)
            self._await(node.name, where, begin, why)
            wake = now + backoff.delay()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(wake if end is None else min(wake, end)):
                    await self._given_up.wait()

    def _await(self, name: str, where: str, since: float, why: str) -> None:
        if where not in self._awaited:
            self._awaited[where] = since
            self._notice(f"waiting for {name} at {where} ({why}); will go on as soon as it is there")

    def _arrived(self, name: str, where: str, now: float) -> None:
        since = self._awaited.pop(where, None)
        if since is not None:
            self._notice(f"{name} is there at {where}, after {now - since:.1f} s")


class _Conversation:
    """One connection to one channel of one node, restored whenever it is needed."""

    def __init__(self, peers: Peers, node: Node, channel: str) -> None:
        self._peers = peers
        self._node = node
        self._channel = channel
        self._turn = asyncio.Lock()
        self._connection: ClientConnection | None = None

    @property
    def busy(self) -> bool:
        return self._turn.locked()

    async def exchange(self, message: Wire) -> Wire:
        async with self._turn:
            while True:
                connection = self._connection or await self._peers._dial(self._node, self._channel)
                # Until the answer is here the connection is nobody else's.
                self._connection = None
                try:
                    await connection.send(message)
                    answer = await connection.recv()
                except ConnectionClosed as exc:
                    if exc.rcvd is not None and exc.rcvd.code in _FATAL_CODES:
                        raise DeliveryError(
                            self._node.name,
                            f"{self._node.name} closed the connection instead of answering "
                            f"({exc.rcvd.code} {exc.rcvd.reason}); the message is not sent again",
                        ) from exc
                    # The peer went away between message and answer: dial and send again.
                    continue
                except BaseException:
                    connection.transport.abort()
                    raise
                self._connection = connection
                return answer

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def _reason(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer"
    if isinstance(exc, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror.lower()
    if isinstance(exc, OSError):
        # asyncio joins the errors of all addresses of a name into one text.
        return "nobody listens there" if "refused" in str(exc).lower() else str(exc)
    return f"what listens there is no websocket server: {exc}"
