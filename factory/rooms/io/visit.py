"""A client of the rooms on a connection that is made again whenever it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Final

from factory.rooms.client import Client
from mesh.backoff import Backoff
from mesh.node import Node

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

LONGEST_WAIT: Final = 3.0
"""Seconds between two tries to reach a server that is away, but for the jitter."""

FAREWELL: Final = 2.0
"""Seconds that a goodbye may take."""


class Visit:
    """Carries what a client says and is told.

    Args:
        client: The client.
        server: Where the rooms are.
        show: Shows a line.

    """

    def __init__(self, client: Client, server: Node, show: Callable[[str], None]) -> None:
        self._client = client
        self._server = server
        self._show = show
        self._more = asyncio.Event()
        self._settled = asyncio.Event()
        self._named = asyncio.Event()
        self._backoff = Backoff(Random(), first=0.2, limit=LONGEST_WAIT)

    def type(self, line: str | bytes) -> None:
        """Take a line that was typed."""
        self._client.typed(line)
        self._update()

    async def run(self) -> None:
        """Be connected, again and again; to be cancelled.

        Raises:
            DeliveryError: If the server refuses for good, or has no usable address.
            OSError: If nobody reads what is shown.

        """
        from mesh.dialling import AbsentError, connect  # late: --help needs no network

        self._update()
        is_awaited = False
        while True:
            await self._named.wait()
            try:
                connection = await connect(self._server, "", ping_interval=5.0, ping_timeout=10.0)
            except AbsentError as exc:
                if not is_awaited:
                    is_awaited = True
                    self._show(f"* no server at {self._server.uri()} ({exc}); trying again until it is there")
            else:
                is_awaited = False
                await self._talk(connection)
            await asyncio.sleep(self._backoff.delay())

    async def settled(self) -> None:
        """Wait until everything that was said is answered."""
        await self._settled.wait()

    async def leave(self) -> None:
        """Leave the rooms, as far as that can be done soon; tell what could not be said any more."""
        self._client.quit()
        self._update()
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                await self._settled.wait()
        self._client.give_up()
        self._update()

    async def _talk(self, connection: ClientConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        self._client.begin()
        sending = asyncio.create_task(self._send(connection), name="sending what was typed")
        try:
            async for message in connection:
                self._backoff.reset()
                self._client.take(message)
                self._update()
                if not self._client.username:
                    break  # another name is wanted; until it is typed, the server would lose its patience
        except ConnectionClosed:
            pass  # what became of what was said is told just below
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            await connection.close()
            self._client.lost()
            self._update()
        if self._client.username and not self._client.is_over:
            self._show("* the connection is lost; trying to get it back")

    async def _send(self, connection: ClientConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        now = asyncio.get_running_loop().time
        with suppress(ConnectionClosed):
            while True:
                self._more.clear()
                for command in self._client.to_send(now()):
                    await connection.send(command)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._client.due_in(now())):
                        await self._more.wait()

    def _update(self) -> None:
        for line in self._client.to_show():
            self._show(line)
        self._more.set()
        _put(self._named, on=bool(self._client.username))
        _put(self._settled, on=self._client.is_done)


def _put(event: asyncio.Event, *, on: bool) -> None:
    if on:
        event.set()
    else:
        event.clear()
