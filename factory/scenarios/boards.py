"""The boards of one scenario, each connected to when it is first needed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self

from factory.boards.io.reading import look
from factory.scenarios.expecting import Heard
from mesh.client import Peer
from mesh.errors import MeshError
from mesh.subscription import Subscription

Connect = Callable[[str], AbstractAsyncContextManager[Peer]]
"""Connects to a board by its name."""


class Boards:
    """Connections to boards, and what is heard of their UARTs; an async context manager.

    Args:
        connect: Connects to one.

    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._peers: dict[str, Peer] = {}
        self._heard: dict[tuple[str, str], Heard] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _peer(self, board: str) -> Peer:
        if board not in self._peers:
            self._peers[board] = await self._stack.enter_async_context(self._connect(board))
        return self._peers[board]

    async def do(self, board: str, value: object, channel: str) -> Any:
        """Send a value to a channel of a board, once, and return its answer.

        Raises:
            MeshError: If the board refuses it, or is not there.

        """
        return await (await self._peer(board)).request(value, channel)

    async def look(self, board: str, value: object, channel: str) -> Any:
        """Ask a board for something; raises what ``do`` does."""
        return await look(await self._peer(board), value, channel)

    async def listen(self, board: str, number: str) -> Heard:
        """Return what is heard of a UART, from now on; raises what ``do`` does."""
        key = board, number
        if key not in self._heard:
            peer = await self._peer(board)
            await look(peer, "", "pins")  # now there is a link, so the subscription goes out at once
            subscription = peer.subscribe(f"uart/{number}", latch=False)
            heard = self._heard[key] = Heard()
            await self._stack.enter_async_context(subscription)
            task = asyncio.create_task(_hear(subscription, heard), name=f"hear uart/{number} of {board}")
            self._stack.push_async_callback(_end, task)
            # Answered after the subscription has begun, for a link keeps the order.
            await look(peer, "", "pins")
        return self._heard[key]

    def forget(self) -> None:
        """Forget what was heard until now."""
        for heard in self._heard.values():
            heard.forget()


async def _hear(subscription: Subscription, heard: Heard) -> None:
    missed = restarts = 0
    try:
        async for data in subscription:
            if subscription.missed > missed or subscription.restarts > restarts:
                heard.gap = "bytes were missed"
            missed, restarts = subscription.missed, subscription.restarts
            heard.add(data if isinstance(data, bytes) else str(data).encode())
    except MeshError as exc:
        heard.gap = str(exc)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
