"""The scripts of ``tests/factory/boards/peers``: started, listened to, and told to go."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from factory.boards.bench import Source
from factory.boards.simulated import SimPin


def pull_up(pin: SimPin) -> None:
    """Solder a resistor of 10 kilohms from a pin to the supply, for firmware that knows no pull-ups."""
    pin.net.sources["the resistor"] = Source(pin.board.profile.volts, 10_000.0)
    pin.board.bench.changed(pin.net)


class Peer:
    """A script that drives a board.

    Attributes:
        said: What it has said.

    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.said: list[str] = []
        self._process = process

    async def until_done(self, press: Callable[[], object]) -> None:
        """Listen until it is done; the button is pressed when it waits for that."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.said.append(line.decode().strip())
            if self.said[-1] == "button 1":
                press()
            if self.said[-1] == "done":
                break
        assert {"analog 511", "button 0", "done"} <= set(self.said), "\n".join(self.said)

    async def leave(self) -> None:
        """Have it leave."""
        await self._process.communicate(b"\n")


@asynccontextmanager
async def peer(command: Sequence[str]) -> AsyncIterator[Peer]:
    """Run a script."""
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    try:
        yield Peer(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
