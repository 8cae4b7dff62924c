"""Rooms 1: a chat server. Rooms are channels with members, over websockets, TCP and links."""

import asyncio
from functools import partial
from typing import Any

import factory
from factory.rooms.hall import Hall
from factory.rooms.limits import TOO_LARGE, Limits
from factory.rooms.vocabulary import Mistake
from mesh.conversation import Converse
from mesh.web import pages


class Rooms(factory.FactoryLoop):
    """Rooms to talk in, for browsers, programs and other sketches."""

    pages = pages("factory.rooms", "page")

    async def setup(
        self,
        kept: int = 200,
        away: float = 300.0,
        rate: float = 20.0,
        users: int = 20_000,
        members: int = 10_000,
        message: int = 4096,
        strangers: int = 256,
    ) -> None:
        """Choose how patient the rooms are.

        Args:
            kept: Messages of a room that are kept for members who are away.
            away: Seconds for which who lost the connection keeps name and rooms.
            rate: Commands a second that a user may send for long; three times as many at once.
            users: Users, those who are away included.
            members: Members of a room.
            message: Characters of one message.
            strangers: Connections from one address that have not said who they are.

        """
        # Late: with them comes the network, which --help has no use for.
        from factory.rooms.io.lobby import Lobby
        from factory.rooms.io.neighbours import Neighbours
        from mesh.transport.layers import Len32le

        self.line_layers = (partial(Len32le, max_size=TOO_LARGE),)
        self.hall = Hall(
            Limits(
                kept=kept,
                away=away,
                rate=rate,
                burst=max(int(3 * rate), 1),
                users=users,
                members=members,
                message=message,
                strangers=strangers,
            )
        )
        self.lobby = Lobby(self.hall)
        self.neighbours = Neighbours(self.lobby, self)

    @factory.on_start
    async def open(self) -> None:
        """Look after those who are away, or silent, for too long."""
        self.watching = asyncio.create_task(self.lobby.watch())

    def converse(self, client: factory.Client) -> Converse | None:
        """Let everybody in at the front door."""
        return self.lobby.converse if client.channel == "" else None

    @factory.reactive("")
    async def loop(self, channel: str, msg: Any, sender: str = "") -> dict[str, Any]:
        """Do what another sketch says."""
        try:
            return self.neighbours.ask(sender, msg)
        except Mistake as exc:
            raise factory.Reject(str(exc)) from exc

    @factory.reactive("books")
    async def books(self, channel: str, msg: Any) -> dict[str, int | bool]:
        """Answer what became of all messages."""
        return self.hall.books()

    def on_peer(self, name: str, state: str, reason: str) -> None:
        """Know which sketches are away."""
        if state == "up":
            self.neighbours.up(name)
        else:
            self.neighbours.down(name)

    def on_subscriber(self, channel: str) -> None:
        """Hand a sketch the mail that waits for it."""
        self.neighbours.subscribed(channel)

    def ledger(self) -> dict[str, Any]:
        """Show what became of all messages to whoever looks at the ledger."""
        return {"(rooms)": self.hall.ledger()}

    @factory.on_stop
    async def close(self) -> None:
        """Look after nobody any more."""
        self.watching.cancel()
