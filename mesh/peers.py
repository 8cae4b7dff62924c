"""The dialling side: one conversation for each target and channel.

Rules:

- *One message at a time.* A conversation is plain websocket: a message goes out, its
  answer comes back, then the next one may go. Streams that share a conversation take
  turns by message.
- *At least once, three times at most.* When the connection is lost between a message
  and its answer, the message is sent again on the next connection, with a notice. A
  handler may therefore see it twice; it is never lost in silence. Who wants it sent at
  most once gets ``OutcomeUnknownError`` instead. After ``MOST_SENT``
  transmissions without an answer it fails with ``PeerDownError``: a handler that holds
  up its whole peer must not see the same message for ever.
- *Patience with a limit.* An absent peer is dialled again with a bounded, jittered
  back-off until ``patience`` seconds have passed, counted anew after each transmission;
  then the message fails with ``PeerDownError``. What a retry cannot mend (a refused
  handshake, a message that is too big) fails at once.
- *Order survives cancellation.* Whoever is cancelled between message and answer, or gets
  ``AckTimeoutError``, counted from the first transmission, leaves at once, but the conversation
  stays taken until the old answer came, or for ``DISCARD_TIMEOUT``: else the next message
  could overtake the one in the handler.
- *Every message is in the books*, once, with what became of it: what its sender was told,
  and what came after that. See ``mesh.protocol.books``.
- *One line, not a hundred.* The notice that a peer is awaited is given once for a peer,
  however many conversations wait for it, and once more when it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from mesh.backoff import Backoff
from mesh.dialling import AbsentError, connect
from mesh.errors import AckTimeoutError, DeliveryError, OutcomeUnknownError, PeerDownError
from mesh.node import Node
from mesh.protocol.books import Books, Dispatch, Given, SentBooks
from mesh.protocol.link import Delivery
from mesh.protocol.values import Refusal, Wire, answer_from_wire
from mesh.transport.websocket import abort

MAX_IDLE = 256
"""Conversations kept open for reuse; beyond it the one unused for longest is closed."""

MOST_SENT = 3
"""Transmissions of one message; when none was answered, it fails."""

DISCARD_TIMEOUT = 30.0
"""Seconds that a conversation waits for the answer to a message whose sender was cancelled."""

# Closed with one of these, the peer will refuse the same message again.
_FATAL_CODES = {1002, 1003, 1007, 1008, 1009}


class Peers:
    """Every outbound connection of one worker.

    Use as an async context manager, or call ``close()``.

    Args:
        notice: Called with a sentence for people when a peer is awaited or is back.
        patience: Seconds an absent peer is waited for, if a message comes without a delivery of its
            own; ``None`` waits for ever.
        random: Where the jitter of the back-off comes from.

    Attributes:
        when_lost: Called with the address of a node whenever a connection to it was lost, refused or
            could not be made: whoever serves there next may be another one.

    """

    def __init__(
        self,
        *,
        notice: Callable[[str], None],
        patience: float | None = 10.0,
        random: Random | None = None,
    ) -> None:
        self._notice = notice
        self._delivery = Delivery(patience=patience)
        self._random = random or Random()
        self.when_lost: Callable[[str], None] = _nothing
        self._conversations: OrderedDict[str, _Conversation] = OrderedDict()
        self._books = SentBooks()
        self._awaited: dict[str, float] = {}
        self._given_up = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def exchange(
        self, node: Node, channel: str, message: Wire, delivery: Delivery | None = None
    ) -> Wire:
        """Send one message to a node's channel and return the answer.

        Args:
            node: The node.
            channel: Its channel.
            message: The message.
            delivery: How it is to be delivered; ``None`` for the usual patience and nothing else.

        Cancellation is safe: the answer on its way is awaited in the background and
        thrown away, so that it is never taken for the answer to a later message, and
        no later message of this conversation overtakes the one that is being handled.

        Raises:
            NotAServerError: If the node has no port.
            PeerDownError: If the node could not be reached within the patience, or did
                not answer; its ``transmitted`` tells the two apart.
            AckTimeoutError: If its answer did not come in time.
            OutcomeUnknownError: If the message was to be sent at most once, and its connection
                was lost before the answer.
            DeliveryError: If the node refuses the connection or the message.

        """
        uri = node.uri(channel)
        conversation = self._conversations.get(uri)
        if conversation is None:
            conversation = _Conversation(self, node, channel, lambda: self._forget(uri))
            self._conversations[uri] = conversation
        self._conversations.move_to_end(uri)
        dispatch = self._books.dispatch(node.name, channel)
        try:
            answer = await conversation.exchange(message, dispatch, delivery or self._delivery)
        except BaseException as exc:
            dispatch.give_up(self._why(exc))
            self._forget(uri)
            raise
        else:
            dispatch.answered(refused=_is_refusal(answer))
        finally:
            dispatch.close()
        await self._trim()
        return answer

    def books(self) -> Books:
        """Return the ledger of what was sent: by peer and channel, one line each."""
        return self._books.books()

    def is_open(self, uri: str) -> bool:
        """Say whether there is a connection to a channel, in use or not, that is not known to be lost."""
        conversation = self._conversations.get(uri)
        return conversation is not None and conversation.is_open

    def _why(self, exc: BaseException) -> Given:
        if isinstance(exc, asyncio.CancelledError | GeneratorExit):
            return Given.CANCELLED
        if isinstance(exc, PeerDownError):
            return Given.CLOSED if self._closed else Given.PEER_DOWN
        if isinstance(exc, AckTimeoutError):
            return Given.ACK_TIMEOUT
        if isinstance(exc, OutcomeUnknownError):
            return Given.LOST
        return Given.REFUSED if isinstance(exc, DeliveryError) else Given.MISTAKE

    def give_up(self) -> None:
        """Wait for absent peers no longer; whoever does gets ``PeerDownError`` at once."""
        self._given_up.set()

    async def close(self) -> None:
        """Close every connection; whoever waits for an answer gets ``PeerDownError``."""
        self._closed = True
        self.give_up()
        conversations = list(self._conversations.values())
        self._conversations.clear()
        await asyncio.gather(*(conversation.close() for conversation in conversations))

    def _forget(self, uri: str) -> None:
        conversation = self._conversations.get(uri)
        if conversation is not None and conversation.is_empty:
            del self._conversations[uri]

    async def _trim(self) -> None:
        while len(self._conversations) > MAX_IDLE:
            uri = next((uri for uri, talk in self._conversations.items() if not talk.busy), None)
            if uri is None:
                return
            await self._conversations.pop(uri).close()

    async def _dial(self, node: Node, channel: str, wait: _Wait) -> ClientConnection:
        """Connect to a node, however often it takes.

        Raises:
            PeerDownError: If it takes longer than the patience.
            DeliveryError: If the node refuses for good.

        """
        where = node.uri()
        while True:
            try:
                connection = await connect(
                    node, channel, timeout=max(wait.left(), 0.05), ping_interval=5.0, ping_timeout=15.0
                )
            except AbsentError as exc:
                why = str(exc)
                accepted = exc.accepted
            except DeliveryError:
                self.when_lost(where)
                raise
            else:
                self._arrived(node.name, where)
                return connection
            self.when_lost(where)
            wait.check(why, accepted=accepted)
            self._await(node.name, where, wait.begin, why)
            await wait.pause()

    def _await(self, name: str, where: str, since: float, why: str) -> None:
        if where not in self._awaited:
            self._awaited[where] = since
            self._notice(f"waiting for {name} at {where} ({why}); will go on as soon as it is there")

    def _arrived(self, name: str, where: str) -> None:
        since = self._awaited.pop(where, None)
        if since is not None:
            waited = asyncio.get_running_loop().time() - since
            self._notice(f"{name} is there at {where}, after {waited:.1f} s")


class _Wait:
    """How long one message has waited for its peer, and for how long it still may.

    Attributes:
        delivery: How the message is to be delivered.
        sent: How often the message was sent.

    """

    def __init__(self, peers: Peers, node: Node, delivery: Delivery) -> None:
        self.delivery = delivery
        self._peers = peers
        self._node = node
        self._clock = asyncio.get_running_loop().time
        self._backoff = Backoff(peers._random)
        self._first = self.begin = self._clock()
        self._first_sent = self.begin
        self._limit = asyncio.timeout(None)
        self.sent = 0

    def transmit(self) -> None:
        """Count a transmission; the ack timeout runs from the first one."""
        self.sent += 1
        if self.sent == 1 and self.delivery.ack_timeout is not None:
            self._first_sent = self._clock()
            self._limit.reschedule(self._first_sent + self.delivery.ack_timeout)

    async def within_time(self, exchange: Coroutine[Any, Any, Wire]) -> Wire:
        """Await an exchange; cancel it when its answer is overdue.

        Raises:
            AckTimeoutError: If it was.

        """
        try:
            async with self._limit:
                return await exchange
        except TimeoutError:
            if not self._limit.expired():
                raise
            raise AckTimeoutError(self._node.name, self._clock() - self._first_sent) from None

    def left(self) -> float:
        patience = self.delivery.patience
        return float("inf") if patience is None else self.begin + patience - self._clock()

    def renew(self) -> None:
        """Count the patience from now on."""
        self.begin = self._clock()

    def check(self, why: str, *, accepted: bool = False) -> None:
        """Raise ``PeerDownError`` if it has waited long enough."""
        stopping = self._peers._given_up.is_set()
        if stopping or self.left() <= 0:
            raise self.down(why, stopping=stopping, accepted=accepted)

    def down(self, why: str, *, stopping: bool = False, accepted: bool = False) -> PeerDownError:
        """Return the error of a message that is given up."""
        return PeerDownError(
            self._node.name,
            self._node.uri(),
            self._clock() - self._first,
            why,
            transmitted=self.sent > 0,
            stopping=stopping,
            accepted=accepted,
        )

    async def pause(self) -> None:
        """Let a moment pass before the next try; a longer one each time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self._backoff.delay(), max(self.left(), 0))):
                await self._peers._given_up.wait()


class _Conversation:
    """One connection to one channel of one node, restored whenever it is needed."""

    def __init__(self, peers: Peers, node: Node, channel: str, emptied: Callable[[], None]) -> None:
        self._peers = peers
        self._node = node
        self._channel = channel
        self._emptied = emptied
        self._turn = asyncio.Lock()
        self._connection: ClientConnection | None = None
        self._in_use: ClientConnection | None = None
        # Has the turn while it waits for an answer that nobody wants any more.
        self._discarding: asyncio.Task[None] | None = None
        self._users = 0

    @property
    def busy(self) -> bool:
        # Not whether the lock is held: between two holders, for a moment, it is not.
        return self._users > 0

    @property
    def is_empty(self) -> bool:
        return not self.busy and self._connection is None

    @property
    def is_open(self) -> bool:
        connection = self._connection or self._in_use
        return connection is not None and connection.state is State.OPEN

    async def exchange(self, message: Wire, dispatch: Dispatch, delivery: Delivery) -> Wire:
        self._users += 1
        try:
            await self._turn.acquire()
            try:
                wait = _Wait(self._peers, self._node, delivery)
                return await wait.within_time(self._exchange(message, dispatch, wait))
            finally:
                if self._discarding is None:
                    self._turn.release()
        finally:
            self._users -= 1

    async def _exchange(self, message: Wire, dispatch: Dispatch, wait: _Wait) -> Wire:
        while True:
            kept, self._connection = self._connection, None
            if kept is not None and kept.state is not State.OPEN:
                kept = None  # closed while nobody used it; nothing was sent
                self._peers.when_lost(self._node.uri())
            connection = kept or await self._peers._dial(self._node, self._channel, wait)
            # Until the answer is here the connection is nobody else's.
            self._in_use = connection
            try:
                self._check_open(wait)
                wait.transmit()
                dispatch.transmit()
                await connection.send(message)
                answer = await connection.recv()
            except ConnectionClosed as exc:
                self._in_use = None
                self._peers.when_lost(self._node.uri())
                self._check_open(wait)
                why = self._why_lost(exc)
            except asyncio.CancelledError:
                if self._peers._closed:
                    self._drop(connection)
                else:
                    self._users += 1
                    dispatch.await_late()
                    self._discarding = asyncio.create_task(
                        self._discard(connection, dispatch), name=f"answer of {self._node.name} to nobody"
                    )
                raise
            except BaseException:
                self._drop(connection)
                raise
            else:
                self._in_use = None
                self._connection = connection
                return answer
            # The peer went away between message and answer: dial and send again.
            if wait.delivery.at_most_once:
                raise OutcomeUnknownError(self._node.name, why)
            if wait.sent >= MOST_SENT:
                raise wait.down(f"sent {wait.sent} times, and each time {why}")
            self._peers._notice(
                f"{self._node.name} at {self._node.uri()}: {why}; trying again "
                f"(transmission {wait.sent + 1} of {MOST_SENT})"
            )
            wait.renew()
            if wait.sent > 1:
                # One that takes every connection and closes it is as good as absent.
                await wait.pause()

    async def _discard(self, connection: ClientConnection, dispatch: Dispatch) -> None:
        """Wait for the answer that nobody wants but the books, and give the turn back."""
        try:
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                async with asyncio.timeout(DISCARD_TIMEOUT):
                    answer = await connection.recv()
                dispatch.late(refused=_is_refusal(answer))
        finally:
            dispatch.await_no_more()
            # Dropped even so: who knows whether that was all that was to come.
            self._drop(connection)
            self._discarding = None
            self._users -= 1
            self._turn.release()
            self._emptied()

    def _drop(self, connection: ClientConnection) -> None:
        self._in_use = None
        abort(connection)

    def _check_open(self, wait: _Wait) -> None:
        if self._peers._closed:
            raise wait.down("this worker has stopped", stopping=True)

    def _why_lost(self, exc: ConnectionClosed) -> str:
        """Say how the connection was lost.

        Raises:
            DeliveryError: If it would be lost again for the same message.

        """
        name = self._node.name
        if exc.rcvd is not None and not (exc.sent is not None and not exc.rcvd_then_sent):
            if exc.rcvd.code in _FATAL_CODES:
                raise DeliveryError(
                    name,
                    f"{name} closed the connection instead of answering "
                    f"({exc.rcvd.code} {exc.rcvd.reason}); the message is not sent again",
                ) from exc
            return f"it closed the connection before it answered ({exc.rcvd.code} {exc.rcvd.reason})"
        if exc.sent is not None and exc.sent.code in _FATAL_CODES:
            raise DeliveryError(
                name,
                f"the answer of {name} cannot be taken ({exc.sent.code} {exc.sent.reason}); "
                f"the message is not sent again",
            ) from exc
        return "the connection was lost before the answer came"

    async def close(self) -> None:
        if self._in_use is not None:
            abort(self._in_use)
        if self._discarding is not None:
            await asyncio.wait([self._discarding])
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _is_refusal(answer: Wire) -> bool:
    return isinstance(answer_from_wire(answer), Refusal)


def _nothing(_where: str) -> None:
    pass
