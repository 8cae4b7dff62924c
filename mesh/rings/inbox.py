"""What comes round from one sender, handled one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from mesh.links.inbox import Route
from mesh.protocol.values import Refusal

Handled = Callable[[str, str, int, bool], None]
"""Takes note of sender, incarnation, how many were handled, and whether they were refused."""

TURN = 64
"""Messages that are handled before others get their turn."""

SLICE = 0.002
"""Seconds after which they get it in any case; so long what is handled is not told."""

_decode = msgspec.msgpack.Decoder().decode


class Inbox:
    """Messages of one sender, and the task that handles them while there are any.

    It needs no bound of its own: the core of the ring gives no more before some are handled.

    Args:
        sender: Who sends them.
        group: The ring, which is the channel that handlers are told.
        route: Returns where the messages go, once there are any.
        handled: Takes note of what was handled.

    """

    def __init__(self, sender: str, group: str, route: Callable[[], Route], handled: Handled) -> None:
        self._sender = sender
        self._group = group
        self._route = route
        self._handled = handled
        self._waiting: deque[tuple[str, list[Raw]]] = deque()
        self._shut = False
        self._told_at = 0.0
        # Of those that are not told yet: how many were taken well, and how many refused.
        self._taken = self._refused = 0
        self.task: asyncio.Task[None] | None = None

    def put(self, incarnation: str, items: list[Raw]) -> None:
        """Take messages."""
        self._waiting.append((incarnation, items))
        if self.task is None:
            loop = asyncio.get_running_loop()
            self.task = loop.create_task(self._run(), name=f"ring messages of {self._sender}")

    def shut(self) -> None:
        """End the task now; nobody else can, for a handler's cancellation is not the ring's."""
        self._shut = True
        if self.task is not None:
            self.task.cancel()

    async def _run(self) -> None:
        route = self._route()
        self._told_at = asyncio.get_running_loop().time()
        try:
            while self._waiting:
                incarnation, raws = self._waiting.popleft()
                items = self._decoded(raws)
                try:
                    await self._handle(route, incarnation, items)
                finally:
                    self._tell(incarnation)
        finally:
            self.task = None

    def _decoded(self, raws: list[Raw]) -> list[Any]:
        items: list[Any] = []
        for raw in raws:
            try:
                items.append(_decode(raw))
            except (msgspec.MsgspecError, RecursionError, ValueError):
                self._refused += 1  # its sender's mistake, and every member says so in its books
        return items

    async def _handle(self, route: Route, incarnation: str, items: list[Any]) -> None:
        handle, group, time = route.handle, self._group, asyncio.get_running_loop().time
        if route.prepare is not None:
            try:
                items = route.prepare(items)
            except Exception as exc:
                for message in items:
                    await self._recover(route, message, exc)
                return
        for message in items:
            try:
                await handle(group, message)
                self._taken += 1
            except BaseException as exc:
                await self._recover(route, message, exc)
            if self._taken >= TURN or time() - self._told_at > SLICE:
                self._tell(incarnation)
                await self._give_way()  # who handles quickly must not keep others waiting

    async def _recover(self, route: Route, message: Any, exc: BaseException) -> None:
        if self._is_end(exc):
            raise exc
        assert route.recover is not None
        try:
            outcome = await route.recover(message, exc)
        except asyncio.CancelledError as again:
            if self._is_end(again):
                raise
            self._refused += 1
        except Exception:
            self._refused += 1  # whoever recovers has told of the first error
        else:
            self._refused += isinstance(outcome, Refusal)
            self._taken += not isinstance(outcome, Refusal)

    async def _give_way(self) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as exc:
            if self._is_end(exc):
                raise
        self._told_at = asyncio.get_running_loop().time()

    def _is_end(self, exc: BaseException) -> bool:
        """Say whether an exception ends the task; if not, a cancellation of it is taken back."""
        if not isinstance(exc, asyncio.CancelledError):
            return isinstance(exc, GeneratorExit)
        while not self._shut and self.task is not None and self.task.cancelling():
            self.task.uncancel()
        return self._shut

    def _tell(self, incarnation: str) -> None:
        taken, refused = self._taken, self._refused
        self._taken = self._refused = 0
        if taken:
            self._handled(self._sender, incarnation, taken, False)
        if refused:
            self._handled(self._sender, incarnation, refused, True)
