"""The doors of a node where others link with it, besides the websocket at its port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from ssl import SSLContext

from mesh.errors import ServeError
from mesh.node import NodeDoor
from mesh.protocol.link import SUBPROTOCOL
from mesh.transport.base import Transport
from mesh.transport.endpoints import Options, listen
from mesh.transport.listener import Listener


class LinkDoors:
    """Listens at every door of a node that speaks link.

    Args:
        doors: The doors of the node; those that speak something else are not ours.
        link: Serves a connection until it ends, and says why it did.
        notice: Called with a sentence for people, of a device that is gone or back.
        ssl: What the doors speak TLS with that can.

    """

    def __init__(
        self,
        doors: Sequence[NodeDoor],
        link: Callable[[Transport], Awaitable[str]],
        *,
        notice: Callable[[str], object],
        ssl: SSLContext | None = None,
    ) -> None:
        self._doors = [door for door in doors if door.speaks == "link"]
        self._link = link
        self._options = Options(subprotocol=SUBPROTOCOL, notice=notice, ssl=ssl)
        self._listeners: list[Listener] = []
        self._wires: set[Transport] = set()

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return [listener.address for listener in self._listeners]

    async def open(self) -> None:
        """Listen at every door.

        Raises:
            ServeError: If that cannot be done at one of them; then none is open.

        """
        for door in self._doors:
            try:
                listener = await listen(door.url, self._serve, layers=door.layers, options=self._options)
            except ValueError as exc:
                await self.close()
                raise ServeError(f"cannot serve on {door.url}: {exc}") from exc
            except BaseException:
                await self.close()
                raise
            self._listeners.append(listener)

    def stop(self) -> None:
        """Give the doors up, and hang up on who has not said who it is; links that are there stay."""
        for listener in self._listeners:
            listener.stop()
        for wire in list(self._wires):
            if wire.is_unheard:
                wire.abort()

    async def close(self) -> None:
        """Give the doors up and end every connection."""
        listeners, self._listeners = self._listeners, []
        await asyncio.gather(*(listener.close() for listener in listeners))

    async def _serve(self, wire: Transport) -> None:
        self._wires.add(wire)
        try:
            await self._link(wire)
        finally:
            self._wires.discard(wire)
