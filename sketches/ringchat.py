"""A lesson in rings: a chat without a server, in which each knows its two neighbours only."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import factory
import mesh
from factory.typed import typed_lines


class RingChat(factory.FactoryLoop):
    """Send what is typed round a ring, and print what comes round."""

    def setup(self, group: str = "chat") -> None:
        """Choose the ring.

        Args:
            group: Name of a group of the grid with `topology: ring`.

        """
        self.group = group
        self.talk: set[asyncio.Task[None]] = set()

    @factory.reactive
    async def loop(self, channel: str, msg: dict[str, str]) -> None:
        """Print what somebody else has said."""
        self.out(f"{msg['from']}: {msg['text']}")

    @factory.on_start
    async def listen(self) -> None:
        """Listen to the keyboard for as long as it says something; its end is not the end of the member."""
        self.begin(self.keyboard())

    async def keyboard(self) -> None:
        """Take each line that is typed: a command, or something to say."""
        async for line in typed_lines():
            if line.strip() == "/quit":
                self.stop()
            elif line.strip() == "/who":
                self.begin(self.who())
            elif line.strip():
                self.begin(self.say(line))

    async def say(self, text: str) -> None:
        """Send a line round, and mark it when its receipt is in."""
        try:
            receipt = await self.circulate(self.group, {"from": self.name, "text": text})
        except mesh.MeshError as exc:
            self.out(f"? {text} ({exc})")
        else:
            self.out(f"* {text} (seen by {', '.join(receipt.seen) or 'nobody, for nobody else is here'})")

    async def who(self) -> None:
        """Tell who is in the ring."""
        try:
            names = await self.ring_members(self.group)
        except mesh.RingError as exc:
            self.out(f"? {exc}")
        else:
            self.out(f"/who {', '.join([self.name, *names])}")

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself, so that the keyboard need not wait for it."""
        task = asyncio.create_task(work)
        self.talk.add(task)
        task.add_done_callback(self.talk.discard)

    @factory.on_stop
    async def hush(self) -> None:
        """Say nothing more."""
        for task in self.talk:
            task.cancel()
