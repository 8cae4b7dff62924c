"""What peers without a flow of their own need: acks counted, windows kept, arrivals handed to one task.

No queue, task or future per message: one future at most waits for many of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Generic, TypeVar

from benchmarks.api import BATCH

T = TypeVar("T")


class Acks:
    """The acks of one exchange, as they come in.

    Attributes:
        got: All acks so far.

    """

    def __init__(self) -> None:
        self.got: list[Any] = []
        self._waiter: asyncio.Future[None] | None = None
        self._wanted = 0

    def clear(self) -> None:
        """Forget the acks of the last exchange."""
        self.got = []

    def put(self, ack: Any) -> None:
        """Take one ack."""
        self.got.append(ack)
        if self._waiter is not None and len(self.got) >= self._wanted:
            self._wake()

    def put_all(self, acks: Iterable[Any]) -> None:
        """Take many acks."""
        self.got.extend(acks)
        if self._waiter is not None and len(self.got) >= self._wanted:
            self._wake()

    async def reach(self, count: int) -> None:
        """Wait until there are so many."""
        if len(self.got) < count:
            self._wanted = count
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Inbox(Generic[T]):
    """Messages that have arrived, for the one task that handles them."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._waiter: asyncio.Future[None] | None = None

    def put(self, item: T) -> None:
        """Add one message."""
        self._items.append(item)
        self.wake()

    def put_all(self, items: Iterable[T]) -> None:
        """Add many messages."""
        self._items.extend(items)
        self.wake()

    def put_silently(self, item: T) -> None:
        """Add one message from another thread, which then has to get ``wake()`` called in the loop."""
        self._items.append(item)

    def wake(self) -> None:
        """Let the task go on if it waits."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def take(self) -> list[T]:
        """Wait for messages and return all there are."""
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        items, self._items = self._items, []
        return items


async def send_each(
    acks: Acks, send: Callable[[Any], Awaitable[None] | None], messages: Sequence[Any], window: int
) -> list[Any]:
    """Send messages one by one within a window and return their acks.

    Args:
        acks: Where the acks arrive.
        send: Sends one message; what it returns is awaited if it is not ``None``.
        messages: The messages.
        window: Most that may be sent and not yet acked.

    """
    acks.clear()
    if window >= len(messages):
        for message in messages:
            if (sent := send(message)) is not None:
                await sent
    else:
        for at, message in enumerate(messages):
            if at - len(acks.got) >= window:
                await acks.reach(at - window + 1)
            if (sent := send(message)) is not None:
                await sent
    await acks.reach(len(messages))
    return acks.got


async def send_batches(
    acks: Acks, send: Callable[[Sequence[Any]], Awaitable[None] | None], messages: Sequence[Any], window: int
) -> list[Any]:
    """Send messages in batches of what the window has room for and return their acks."""
    acks.clear()
    at, end = 0, len(messages)
    while at < end:
        room = window - (at - len(acks.got))
        if room <= 0:
            await acks.reach(at - window + 1)
            continue
        batch = messages[at : at + min(room, BATCH)]
        if (sent := send(batch)) is not None:
            await sent
        at += len(batch)
    await acks.reach(end)
    return acks.got


class Bound:
    """What a publisher may be ahead of its slowest subscriber, where it would drop or buffer without end.

    Args:
        most: Messages that may be published and not yet had by all.

    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._reached = 0
        self._waiter: asyncio.Future[None] | None = None

    def reached(self, number: int) -> None:
        """Take note that all subscribers have had so many messages."""
        self._reached = number
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def publish(self, send: Callable[[Any], Awaitable[None] | None], messages: Iterator[Any]) -> None:
        """Publish messages and keep to the bound."""
        self._reached = 0
        for at, message in enumerate(messages):
            while at - self._reached >= self._most:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
            if (sent := send(message)) is not None:
                await sent


@asynccontextmanager
async def hold(open_one: Callable[[], AbstractAsyncContextManager[Any]], count: int) -> AsyncIterator[None]:
    """Hold many connections, opened 50 at a time."""
    async with AsyncExitStack() as stack:
        for begin in range(0, count, 50):
            some = range(begin, min(begin + 50, count))
            await asyncio.gather(*(stack.enter_async_context(open_one()) for _ in some))
        yield
