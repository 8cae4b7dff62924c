"""Rooms 2: talk in the rooms from a terminal."""

import asyncio
import sys
from typing import Any

import factory
import mesh
from factory.rooms.client import Client
from factory.terminal import show_line, typed_lines


class Chat(factory.FactoryLoop):
    """Say what is typed, show what others say, and come back whenever the server does."""

    def setup(self, username: str = "", room: str = "lobby") -> None:
        """Choose who to be, and where.

        Args:
            username: The name; asked for if it is not given.
            room: The first room.

        """
        self.is_typed = sys.stdin is not None and sys.stdin.isatty()
        if not username and not self.is_typed:
            raise ValueError("nobody can be asked for a name here; say --username NAME")
        self.target = self.target or self.grid.get("rooms")
        self.user = Client(username, [room] if room else [])

    @factory.on_start
    async def talk(self) -> None:
        """Talk until the user leaves; what was said is accepted by then."""
        # Late: with it comes the network, which --help has no use for.
        from factory.rooms.io.visit import Visit

        assert isinstance(self.target, mesh.Node)  # settled before anything starts
        self.visit = Visit(self.user, self.target, show_line)
        ends: list[asyncio.Task[Any]] = [
            asyncio.create_task(self.visit.run(), name="visiting the rooms"),
            asyncio.create_task(self.type(), name="reading what is typed"),
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                if end.done():
                    end.result()
        except (mesh.MeshError, OSError) as exc:
            raise SystemExit(str(exc)) from exc
        finally:
            for end in ends:
                end.cancel()
            await asyncio.wait(ends)
        if self.user.failed and not self.is_typed:
            raise SystemExit(f"{self.user.failed} of the messages were not accepted, as said above")
        self.stop()

    async def type(self) -> None:
        """Say each line that is typed; where they are piped in, wait until the last one is accepted."""
        try:
            async for line in typed_lines(self.prompt, self.user.complete, erase=True):
                self.visit.type(line)
                if self.user.is_over:
                    break
            else:
                if not self.is_typed:
                    await self.visit.settled()
        except KeyboardInterrupt:
            pass  # as good a goodbye as any
        await self.visit.leave()

    def prompt(self) -> str:
        """Return what stands before the line that is typed."""
        return f"{self.user.room or 'in no room'}> " if self.user.username else "your name: "
