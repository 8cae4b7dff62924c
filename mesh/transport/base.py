"""What every transport promises."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import Protocol

from mesh.errors import MeshError

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


class User(Protocol):
    """Who uses a transport, and is told what happens to it. Called from the event loop, must not raise."""

    def messages_came(self, messages: list[bytes]) -> None:
        """Take the next messages: all that came in one turn of the loop."""

    def writing_resumed(self) -> None:
        """Take note that the write buffer has room again."""

    def connection_ended(self, reason: str) -> None:
        """Take note that the connection is gone; comes once, and nothing comes after it."""


class Transport(ABC):
    """A two-way connection that carries whole messages, in order, until it breaks.

    A message arrives whole or not at all; after a gap nothing arrives any more.

    There are two ways to use it. A link gives itself to ``start()`` and is called from then
    on, without a task between it and the wire: that is what makes a round trip short.
    Before that, and by whoever needs but a message or two, it is pulled with ``recv()``.

    Attributes:
        writable: Whether the write buffer has room. ``write()`` takes a message even if not;
            who goes on regardless fills the memory.
        is_unheard: Whether nobody was told of a message yet, for none has come.

    """

    def __init__(self) -> None:
        self.writable = True
        self.is_unheard = True
        self._user: User | None = None
        self._ended: str | None = None
        self._early: deque[bytes] = deque()
        self._early_size = 0
        self._held_back = False
        self._sleepers: list[asyncio.Future[None]] = []

    @property
    @abstractmethod
    def peer(self) -> str:
        """Address of the other end, for people."""

    @abstractmethod
    def write(self, message: bytes) -> None:
        """Send one message. Never waits and never raises.

        On a connection that is gone nothing happens: ``connection_ended()`` tells of that.
        """

    @abstractmethod
    async def close(self, reason: str = "") -> None:
        """Send what is buffered, say goodbye and close. Never raises, never hangs."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once; what is buffered is lost."""

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

    # -- pushed ---------------------------------------------------------------------------

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

    # -- pulled ---------------------------------------------------------------------------

    async def send(self, message: bytes) -> None:
        """Send one message; waits while the write buffer is full.

        The message is taken before it waits: who cancels the wait has sent it nevertheless,
        so there is never a doubt about what is on its way.

        Raises:
            TransportClosedError: If the connection is gone.

        """
        self._check_open()
        self.write(message)
        while not self.writable and self._ended is None:
            await self._sleep()
        self._check_open()

    async def recv(self) -> bytes:
        """Return the next message, before ``start()``. Cancelling it loses nothing.

        Raises:
            TransportClosedError: If the connection is gone, once everything that
                arrived before has been returned.

        """
        while not self._early:
            self._check_open()
            await self._sleep()
        message = self._early.popleft()
        self._take_early(len(message))
        return message

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
        if self._held_back and self._early_size < MOST_EARLY:
            self._held_back = False
            self._hold_back(False)

    # -- for the kinds of transports ---------------------------------------------------------

    @abstractmethod
    def _hold_back(self, on: bool) -> None:
        """Take nothing more from the peer, or go on with it."""

    def _came(self, messages: list[bytes]) -> None:
        """Hand messages over, or keep them until somebody wants them."""
        if self._user is not None:
            self._user.messages_came(messages)
            return
        self.is_unheard = False
        self._early.extend(messages)
        self._early_size += sum(map(len, messages))
        if self._early_size >= MOST_EARLY and not self._held_back:
            self._held_back = True
            self._hold_back(True)
        self._wake()

    def _may_write(self, on: bool) -> None:
        self.writable = on
        if on:
            self._wake()
            if self._user is not None:
                self._user.writing_resumed()

    def _end(self, reason: str) -> None:
        if self._ended is None:
            self._ended = reason
            self._wake()
            if self._user is not None:
                self._user.connection_ended(reason)
