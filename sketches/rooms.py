"""Rooms 1: a chat server. Rooms are channels with members, over websockets, TCP and links."""

import asyncio
from typing import Any

import factory
from factory.rooms.hall import Hall
from factory.rooms.io.lobby import Lobby
from factory.rooms.limits import Limits
from mesh.conversation import Converse


class Rooms(factory.FactoryLoop):
    """Rooms to talk in, for browsers, programs and other sketches."""

    line_layers = ("len32le",)

    async def setup(self, kept: int = 200, away: float = 300.0, rate: float = 20.0) -> None:
        """Choose how patient the rooms are.

        Args:
            kept: Messages of a room that are kept for members who are away.
            away: Seconds for which who lost the connection keeps name and rooms.
            rate: Messages a second that a member may send.

        """
        self.hall = Hall(Limits(kept=kept, away=away, rate=rate))
        self.lobby = Lobby(self.hall)

    @factory.on_start
    async def open(self) -> None:
        """Forget those who are away for too long."""
        self.forgetting = asyncio.create_task(self.lobby.forget())

    def converse(self, client: factory.Client) -> Converse | None:
        """Let everybody in at the front door."""
        return self.lobby.converse if client.channel == "" else None

    @factory.reactive("books")
    async def loop(self, channel: str, msg: Any) -> dict[str, int | bool]:
        """Answer what became of all messages."""
        return self.hall.books()

    @factory.on_stop
    async def close(self) -> None:
        """Forget nobody any more."""
        self.forgetting.cancel()
