"""Firmware that really runs, for tests: nodes with machine code in them, and what hangs on their pins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from factory.boards.io.firmware import FirmwareNode
from factory.boards.io.node import open_board
from tests.helpers.proc import DEADLINE, ROOT

EXAMPLES = ROOT / "examples" / "firmware"


class Desk:
    """A board with firmware, without a mesh.

    Attributes:
        node: The board.
        published: What it has published, as channel and value.
        said: What it has said.

    """

    node: FirmwareNode

    def __init__(self) -> None:
        self.published: list[tuple[str, object]] = []
        self.said: list[str] = []

    def publish(self, channel: str, value: object) -> None:
        self.published.append((channel, value))

    async def send(self, node: str, channel: str, message: object) -> None:
        raise AssertionError(f"nobody is called {node}")

    async def until(self, ready: Callable[[], object]) -> None:
        """Wait for what the firmware or its clients bring about."""
        async with asyncio.timeout(DEADLINE):
            while not ready():  # noqa: ASYNC110 - nobody tells when
                await asyncio.sleep(0.005)

    def uart(self) -> bytes:
        """Return what the firmware has sent."""
        return b"".join(data for channel, data in self.published if channel == "uart/0")  # type: ignore[misc]


@asynccontextmanager
async def firmware(
    path: Path, *, engine: str = "", speed: float | str = 1.0, serial: Path | None = None, **furniture: Any
) -> AsyncIterator[Desk]:
    """Run firmware, with its serial port on a free TCP port, and on a terminal if one is named."""
    desk = Desk()
    node = await open_board(
        "uno",
        f"avr{engine and '+' + engine}:{path}",
        publish=desk.publish,
        send=desk.send,
        say=desk.said.append,
        speed=speed,
    )
    assert isinstance(node, FirmwareNode)
    desk.node = node
    try:
        node.furnish(furniture)
        await node.open_serial("127.0.0.1", 0, serial)
        node.begin()
        yield desk
    finally:
        await node.close()
