"""Where connections become guests of a hall: one conversation each, whatever carries it.

A mailbox that gets its first message puts its conversation on the lobby's list, and one call at the end of
the turn hands all of them their mail: so what one message gives a thousand members is one pass over them.
"""

from __future__ import annotations

import asyncio
from typing import Final

from factory.rooms.hall import Hall
from mesh.conversation import Conversation
from mesh.transport.base import Transport

AT_ONCE: Final = 64 * 1024
"""Bytes that a connection is handed in one go; then it has to take them before it gets more."""

EXPIRY: Final = 1.0
"""Seconds between two looks at who is away for too long."""


class Lobby:
    """All conversations of one hall.

    Args:
        hall: The hall.

    """

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self._loop = asyncio.get_running_loop()
        self._due: list[Talk] = []

    def now(self) -> float:
        """Return the time that the hall is told."""
        return self._loop.time()

    def converse(self, transport: Transport) -> Conversation:
        """Begin a conversation."""
        return Talk(self, transport)

    def due(self, talk: Talk) -> None:
        """Hand a conversation its mail when this turn of the loop is over."""
        if not self._due:
            self._loop.call_soon(self._deliver)
        self._due.append(talk)

    def _deliver(self) -> None:
        due, self._due = self._due, []
        for talk in due:
            talk.deliver()

    async def forget(self) -> None:
        """Forget those who are away for too long, again and again; to be cancelled."""
        while True:
            await asyncio.sleep(EXPIRY)
            self.hall.expire(self.now())


class Talk:
    """The conversation with one connection."""

    __slots__ = ("_lobby", "_over", "_transport", "guest")

    def __init__(self, lobby: Lobby, transport: Transport) -> None:
        self._lobby = lobby
        self._transport = transport
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.guest = lobby.hall.open(lambda: lobby.due(self))

    async def run(self) -> str:
        """Let the client talk until it goes or is dismissed."""
        reason = "the worker ended"
        try:
            self._transport.start(self)
            reason = await self._over
            await self._transport.close(reason)
        finally:
            self._transport.abort()
            self._lobby.hall.gone(self.guest, self._lobby.now())
        return reason

    def drain(self) -> None:
        """Tell the client that it is over; it still gets what waits for it."""
        self._lobby.hall.dismiss(self.guest, "the server stops")

    def deliver(self) -> None:
        """Hand over what waits, as much as the connection takes."""
        transport, mailbox = self._transport, self.guest.mailbox
        while len(mailbox) and transport.writable and not transport.is_closing():
            for message in mailbox.take(AT_ONCE):
                transport.write(message)
        if not mailbox.is_full and not self.guest.is_over:
            transport.resume_reading()
        if self.guest.is_over and not len(mailbox):
            self._end("dismissed")

    # -- what the transport calls ---------------------------------------------------------------

    def messages_came(self, messages: list[bytes]) -> None:
        """Take what the client says; an empty message is its goodbye."""
        hall, guest, now = self._lobby.hall, self.guest, self._lobby.now()
        for message in messages:
            if not message:
                self._end("the client said goodbye")
                return
            hall.take(guest, message, now)
        if guest.mailbox.is_full:
            self._transport.pause_reading()

    def writing_resumed(self) -> None:
        """Go on: the client has read."""
        self._lobby.due(self)

    def connection_ended(self, reason: str) -> None:
        """Take note that the client is gone."""
        self._end(reason)

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_result(reason)
