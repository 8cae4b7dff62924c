"""Who listens at an endpoint, and owns every connection that comes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Self

from mesh.descriptors import Hush
from mesh.text import printable
from mesh.transport.address import Options
from mesh.transport.base import Transport, TransportClosedError

logger = logging.getLogger("mesh.transport")

Accept = Callable[[Transport], Awaitable[object]]
"""Uses a connection until it is done with it, or that raises ``TransportClosedError``; then it is closed."""


class Listener(ABC):
    """Takes connections at one address.

    Each connection has a task that runs ``accept`` and closes it afterwards. One more than
    ``Options.limit`` is closed at once. Use as an async context manager, or call ``close()``.

    Attributes:
        turned_away: Connections that were one too many.

    """

    def __init__(self, accept: Accept, options: Options) -> None:
        self.turned_away = 0
        self._accept = accept
        self._limit = options.limit
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[None], Transport] = {}
        self._is_stopped = False
        self._hush: Hush | None = Hush.of(self._loop)
        self._hush.hold(self._loop)

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it can be dialled, as an address, with the port that was taken for port 0."""

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._tasks)

    @property
    def is_full(self) -> bool:
        """Whether one more connection would be turned away."""
        return len(self._tasks) >= self._limit

    def stop(self) -> None:
        """Give the address up; the connections that there are stay."""
        if not self._is_stopped:
            self._is_stopped = True
            self._stop()

    async def close(self) -> None:
        """Give the address up, cancel ``accept`` for each connection and close them all."""
        self.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stopped()
        hush, self._hush = self._hush, None
        if hush is not None:
            hush.release(self._loop)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # -- for the kinds of listeners ----------------------------------------------------------

    @abstractmethod
    def _stop(self) -> None:
        """Give the address up."""

    async def _stopped(self) -> None:
        """Wait until it is given up."""
        await asyncio.sleep(0)  # connections that were aborted are told so in the next turn

    def let_in(self, transport: Transport) -> asyncio.Task[None] | None:
        """Serve a connection in a task of its own; return that, or ``None`` if it may not come in."""
        if self._is_stopped or self.is_full:
            self.turned_away += not self._is_stopped
            transport.abort()
            return None
        task = self._loop.create_task(self._serve(transport), name=f"connection of {transport.peer}")
        self._tasks[task] = transport
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    async def _serve(self, transport: Transport) -> None:
        try:
            await self._accept(transport)
        except TransportClosedError:
            pass  # it was used until it ended, as one does
        except Exception as exc:
            words = printable(f"{type(exc).__name__}: {exc}")
            logger.error(f"a connection from {printable(transport.peer)} at {self.address} failed: {words}")
            await transport.close("internal error")
        else:
            await transport.close()
        finally:
            transport.abort()


class SocketListener(Listener):
    """A listener that is some servers of asyncio, or what looks like one.

    Args:
        accept: Uses each connection.
        options: How many there may be.

    """

    def __init__(self, accept: Accept, options: Options) -> None:
        super().__init__(accept, options)
        self._address = ""
        self._servers: list[asyncio.Server] = []
        self._when_stopped: Callable[[], object] = lambda: None

    def serves(
        self, address: str, servers: list[asyncio.Server], when_stopped: Callable[[], object] | None = None
    ) -> None:
        """Take note of what listens, and what is to be tidied up afterwards."""
        self._address = address
        self._servers = servers
        if when_stopped is not None:
            self._when_stopped = when_stopped

    @property
    def address(self) -> str:
        """Where it can be dialled."""
        return self._address

    def _stop(self) -> None:
        for server in self._servers:
            server.close()
        with contextlib.suppress(OSError):
            self._when_stopped()
