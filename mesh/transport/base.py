"""What every transport promises, and what it has to do itself.

``Transport`` is the interface: its public methods are for whoever uses a connection, whatever
carries it. A new kind of transport is a subclass with five methods, ``peer``, ``_transmit()``,
``_close()``, ``_abort()`` and ``_hold_back()``, that calls four others when something happens:
``_began()``, ``_came()``, ``_may_write()`` and ``_end()``. docs/reference/transports.md has the
contract and a whole example.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from mesh.errors import MeshError
from mesh.transport.tapping import Tap, tap_of_process

MOST_EARLY = 256 * 1024
"""Bytes of messages that wait for a reader, after which no more are taken from the peer."""


class TransportClosedError(MeshError, ConnectionError):
    """The connection is gone.

    Attributes:
        reason: Who closed it and why, for people.

    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EndOfInputError(TransportClosedError):
    """The peer has sent its last message, but still takes ours."""


class DialError(MeshError, ConnectionError):
    """A connection could not be made.

    Attributes:
        address: Where to.
        why: Why not, for people.
        for_good: Whether another try makes no sense before something was changed.

    """

    def __init__(self, address: str, why: str, *, for_good: bool = False) -> None:
        super().__init__(f"cannot reach {address}: {why}")
        self.address = address
        self.why = why
        self.for_good = for_good


class User(Protocol):
    """Who uses a transport, and is told what happens to it. Called from the event loop, must not raise.

    It may have one method more, ``input_ended(reason)``: then it is told so when the peer has sent its
    last message but still takes answers, on a transport that was opened as ``half_open``. For who
    has no such method that is the end of the connection.
    """

    def messages_came(self, messages: list[bytes]) -> None:
        """Take the next messages: all that came in one turn of the loop."""

    def writing_resumed(self) -> None:
        """Take note that the write buffer has room again."""

    def connection_ended(self, reason: str) -> None:
        """Take note that the connection is gone; comes once, and nothing comes after it."""


class Stats:
    """What a transport has carried so far.

    Attributes:
        messages_in: Messages that came.
        bytes_in: Their bytes, less what the transport itself adds.
        messages_out: Messages that were written.
        bytes_out: Their bytes.

    """

    __slots__ = ("bytes_in", "bytes_out", "messages_in", "messages_out")

    def __init__(self) -> None:
        self.messages_in = self.bytes_in = self.messages_out = self.bytes_out = 0

    def __repr__(self) -> str:
        return (
            f"<{self.messages_in} messages, {self.bytes_in} bytes in; "
            f"{self.messages_out} messages, {self.bytes_out} bytes out>"
        )


class Transport(ABC):
    """A two-way connection that carries whole messages, in order, until it breaks.

    A message arrives whole or not at all; after a gap nothing arrives any more. Byte streams
    (TCP and the like) carry chunks instead: the bytes in order, cut wherever it happens.
    A layer makes messages of them, see ``mesh.transport.layers``.

    There are two ways to use it. A link gives itself to ``start()`` and is called from then
    on, without a task between it and the wire: that is what makes a round trip short.
    Before that, and by whoever needs but a message or two, it is pulled with ``recv()``.

    Attributes:
        writable: Whether the write buffer has room. ``write()`` takes a message even if not;
            who goes on regardless fills the memory.
        is_unheard: Whether nobody was told of a message yet, for none has come.
        stats: What it has carried so far.

    """

    def __init__(self) -> None:
        self.writable = True
        self.is_unheard = True
        self.stats = Stats()
        self._tap: Tap | None = tap_of_process()
        self._user: User | None = None
        self._is_closing = False
        self._ended: str | None = None
        self._input_ended: str | None = None
        self._early: deque[bytes] = deque()
        self._early_size = 0
        self._is_paused = False
        self._held_back = False
        self._sleepers: list[asyncio.Future[None]] = []

    # -- for whoever uses it ----------------------------------------------------------------

    @property
    @abstractmethod
    def peer(self) -> str:
        """Address of the other end, for people."""

    @property
    def ended(self) -> str | None:
        """Why the connection is gone, for people; ``None`` while it is there."""
        return self._ended

    def is_closing(self) -> bool:
        """Say whether it is closed, or either end has begun to close it."""
        return self._is_closing

    def silence(self) -> float | None:
        """Return the seconds since bytes last arrived, of unfinished messages too.

        ``None`` when the transport cannot tell.
        """
        return None

    def arrivals(self) -> int | None:
        """Return how many pieces of data have arrived, also those that wait for a lost one before them.

        A number that grows proves that the peer lives. ``None`` when the transport cannot tell.
        """
        return None

    def hasten(self) -> None:  # noqa: B027
        """Have what is lost sent again sooner, where the system can: for little data that matters soon."""

    def write(self, message: bytes) -> None:
        """Send one message. Never waits and never raises.

        On a connection that is closing or gone nothing happens: ``connection_ended()`` tells of that.
        """
        if self._is_closing:
            return
        stats = self.stats
        stats.messages_out += 1
        stats.bytes_out += len(message)
        if self._tap is not None:
            self._tap.sent(self.peer, message)
        self._transmit(message)

    def write_all(self, messages: Sequence[bytes]) -> None:
        """Send messages as ``write()`` does, with one write to the system where the transport can."""
        if self._tap is not None or len(messages) == 1:
            for message in messages:
                self.write(message)
        elif not self.is_closing():
            stats = self.stats
            stats.messages_out += len(messages)
            stats.bytes_out += sum(map(len, messages))
            self._transmit_all(messages)

    async def send(self, message: bytes) -> None:
        """Send one message; waits while the write buffer is full.

        The message is taken before it waits: who cancels the wait has sent it nevertheless,
        so there is never a doubt about what is on its way.

        Raises:
            TransportClosedError: If the connection is gone.

        """
        self._check_open()
        if self.is_closing():
            raise TransportClosedError("it is being closed")
        self.write(message)
        while not self.writable and self._ended is None:
            await self._sleep()
        self._check_open()

    async def recv(self) -> bytes:
        """Return the next message, before ``start()``. Cancelling it loses nothing.

        Raises:
            TransportClosedError: If the connection is gone, once everything that
                arrived before has been returned.
            EndOfInputError: If the peer has sent its last message, on a transport that is
                ``half_open``; an answer can still be sent.

        """
        while not self._early:
            self._check_open()
            if self._input_ended is not None:
                raise EndOfInputError(self._input_ended)
            await self._sleep()
        message = self._early.popleft()
        self._take_early(len(message))
        return message

    def start(self, user: User) -> None:
        """Call this user from now on; with what came before, at once."""
        self._user = user
        self.is_unheard = False
        early, self._early = list(self._early), deque()
        self._take_early(self._early_size)
        if early:
            user.messages_came(early)
        if self._ended is not None:
            user.connection_ended(self._ended)
        elif self._input_ended is not None:
            self._tell_input_ended(self._input_ended)

    def pause_reading(self) -> None:
        """Take nothing more from the peer, so that it has to wait; what was read already may still come."""
        self._is_paused = True
        self._judge_reading()

    def resume_reading(self) -> None:
        """Go on after ``pause_reading()``."""
        self._is_paused = False
        self._judge_reading()

    async def close(self, reason: str = "") -> None:
        """Send what is buffered, say goodbye and close. Never raises, never hangs."""
        if self._tap is not None and not self._is_closing:
            self._tap.closing(self.peer, reason)
        self._is_closing = True
        if self._ended is None:
            await self._close(reason)

    def abort(self) -> None:
        """Close at once; what is buffered is lost."""
        self._is_closing = True
        if self._ended is None:
            self._abort()

    def tap(self, tap: Tap | None) -> None:
        """Let a tap see every message from now on, both ways; ``None`` takes it away again."""
        self._tap = tap

    # -- what a kind of transport does --------------------------------------------------------

    @abstractmethod
    def _transmit(self, message: bytes) -> None:
        """Put one message on its way. The connection has not ended, and nobody has closed it."""

    def _transmit_all(self, messages: Sequence[bytes]) -> None:
        """Put messages on their way; a kind that can do so with one write has its own."""
        for message in messages:
            self._transmit(message)

    @abstractmethod
    async def _close(self, reason: str) -> None:
        """Send what is buffered and close, within a time that is bounded; may be called again meanwhile."""

    @abstractmethod
    def _abort(self) -> None:
        """Close at once; may be called again."""

    @abstractmethod
    def _hold_back(self, on: bool) -> None:
        """Take nothing more from the peer, or go on with it."""

    # -- what it calls when something happens ---------------------------------------------------

    def _began(self) -> None:
        """Take note that the connection is there, and ``peer`` is known."""
        if self._tap is not None:
            self._tap.opened(self.peer)

    def _came(self, messages: list[bytes]) -> None:
        """Hand messages over, or keep them until somebody wants them."""
        stats = self.stats
        stats.messages_in += len(messages)
        size = len(messages[0]) if len(messages) == 1 else sum(map(len, messages))
        stats.bytes_in += size
        if self._tap is not None:
            self._tap.received(self.peer, messages)
        if self._user is not None:
            self._user.messages_came(messages)
            return
        self.is_unheard = False
        self._early.extend(messages)
        self._early_size += size
        if self._early_size >= MOST_EARLY:
            self._judge_reading()
        self._wake()

    def _may_write(self, on: bool) -> None:
        """Take note that the write buffer has room, or has none."""
        self.writable = on
        if on:
            self._wake()
            if self._user is not None:
                self._user.writing_resumed()

    def _end_input(self, reason: str) -> None:
        """Take note that nothing more will come, although something may still be sent."""
        if self._ended is None and self._input_ended is None:
            self._input_ended = reason
            self._wake()
            if self._user is not None:
                self._tell_input_ended(reason)

    def _end(self, reason: str) -> None:
        """Take note that the connection is gone, and why."""
        if self._ended is None:
            self._ended = reason
            self._is_closing = True
            if self._tap is not None:
                self._tap.ended(self.peer, reason)
            self._wake()
            if self._user is not None:
                self._user.connection_ended(reason)

    # -- inside ------------------------------------------------------------------------------------

    def _tell_input_ended(self, reason: str) -> None:
        tell = getattr(self._user, "input_ended", None)
        if tell is not None:
            tell(reason)
        else:
            self._end(reason)
            self._abort()

    def _check_open(self) -> None:
        if self._ended is not None:
            raise TransportClosedError(self._ended)

    async def _sleep(self) -> None:
        sleeper = asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        await sleeper

    def _wake(self) -> None:
        sleepers, self._sleepers = self._sleepers, []
        for sleeper in sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    def _take_early(self, size: int) -> None:
        self._early_size -= size
        if self._held_back:
            self._judge_reading()

    def _judge_reading(self) -> None:
        wanted = self._is_paused or self._early_size >= MOST_EARLY
        if wanted != self._held_back:
            self._held_back = wanted
            self._hold_back(wanted)
