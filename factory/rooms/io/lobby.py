"""Where connections become guests of a hall: one conversation each, whatever carries it.

A mailbox that gets its first message puts its conversation on the lobby's list, and one call at the end of
the turn hands all of them their mail: so what one message gives a thousand members is one pass over them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from factory.rooms.hall import Hall
from factory.rooms.limits import TOO_LARGE
from mesh.conversation import Conversation
from mesh.transport.base import Transport

AT_ONCE: Final = 64 * 1024
"""Bytes that a connection is handed in one go; then it has to take them before it gets more."""

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at who is away, or silent, for too long."""

FAREWELL: Final = 5.0
"""Seconds in which who is dismissed may read what waits for it."""


class Reader(Protocol):
    """Somebody with a mailbox."""

    def deliver(self) -> None:
        """Hand over what waits, as much as there is room for."""


class Lobby:
    """All conversations of one hall.

    Args:
        hall: The hall.
        clock: Tells the time; by default that of the event loop.

    """

    def __init__(self, hall: Hall, clock: Callable[[], float] | None = None) -> None:
        self.hall = hall
        self._loop = asyncio.get_running_loop()
        self.now = clock or self._loop.time
        self._due: list[Reader] = []
        self.talks: set[Talk] = set()

    def converse(self, transport: Transport) -> Conversation:
        """Begin a conversation."""
        return Talk(self, transport)

    def due(self, reader: Reader) -> None:
        """Hand somebody its mail when this turn of the loop is over."""
        if not self._due:
            self._loop.call_soon(self._deliver)
        self._due.append(reader)

    def _deliver(self) -> None:
        due, self._due = self._due, []
        for reader in due:
            reader.deliver()

    async def watch(self) -> None:
        """Look again and again at who is away, or silent, for too long; to be cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """Forget who is away for too long, and hang up on who says nothing or takes nothing."""
        now = self.now()
        self.hall.expire(now)
        self.hall.hurry(now)
        for talk in self.talks:
            talk.look(now)


class Talk:
    """The conversation with one connection."""

    max_message = TOO_LARGE

    __slots__ = ("_ends", "_lobby", "_over", "_transport", "guest")

    def __init__(self, lobby: Lobby, transport: Transport) -> None:
        self._lobby = lobby
        self._transport = transport
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ends: float | None = None
        address = transport.peer.rpartition(":")[0]  # without the port, which is another one each time
        self.guest = lobby.hall.open(lambda: lobby.due(self), address, lobby.now())

    async def run(self) -> str:
        """Let the client talk until it goes or is dismissed."""
        reason = "the worker ended"
        self._lobby.talks.add(self)
        try:
            self._transport.start(self)
            reason = await self._over
            await self._transport.close(reason)
        finally:
            self._transport.abort()
            self._lobby.talks.discard(self)
            self._lobby.hall.gone(self.guest, self._lobby.now())
        return reason

    def drain(self) -> None:
        """Tell everybody in the hall that it is over; they still get what waits for them.

        Everybody, and at once: else somebody at another door could say something that is accepted and
        that this client would never get.
        """
        self._lobby.hall.stop("the server stops", self._lobby.now())

    def deliver(self) -> None:
        """Hand over what waits, as much as the connection takes."""
        transport, mailbox = self._transport, self.guest.mailbox
        while len(mailbox) and transport.writable and not transport.is_closing():
            transport.write_all(mailbox.take(AT_ONCE))
        if self.guest.is_over:
            if not len(mailbox):
                self._end(self.guest.why_over)
        elif not mailbox.is_full:
            transport.resume_reading()

    def look(self, now: float) -> None:
        """Hang up on who was dismissed and does not read."""
        if self.guest.is_over:
            if self._ends is None:
                self._ends = now + FAREWELL
            elif now >= self._ends:
                self._end(f"{self.guest.why_over}; and it did not read that")

    # -- what the transport calls ---------------------------------------------------------------

    def messages_came(self, messages: list[bytes]) -> None:
        """Take what the client says; an empty message is its goodbye."""
        hall, guest, now = self._lobby.hall, self.guest, self._lobby.now()
        for message in messages:
            if not message:
                hall.dismiss(guest, "the client said goodbye", now, told=False)
                self._lobby.due(self)
                break
            hall.take(guest, message, now)
        if guest.mailbox.is_full:
            self._transport.pause_reading()

    def input_ended(self, _reason: str) -> None:
        """Take note that the client says no more; it still gets the answers to what it said."""
        lobby = self._lobby
        lobby.hall.dismiss(self.guest, "the client has said all it had to say", lobby.now(), told=False)
        lobby.due(self)

    def writing_resumed(self) -> None:
        """Go on: the client has read."""
        self._lobby.due(self)

    def connection_ended(self, reason: str) -> None:
        """Take note that the client is gone."""
        self._end(reason)

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_result(reason)
