"""A stream as its user sees it: awaited for all acks, or iterated for each."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
)
from contextlib import suppress
from typing import Any, Literal, Protocol, Self
from warnings import warn

from mesh.errors import DeliveryError, NackedError
from mesh.protocol.values import is_one_item

OnNack = Literal["raise", "yield"]

Answers = list[Any] | Exception
"""What handlers returned for some messages in a row, or the error of one."""

Items = Iterable[object] | AsyncIterable[object]

MOST_KEPT = 1000
"""Acks that an iterated stream keeps for ``.acks`` of an error; an endless one must not fill the memory."""


class Parts(Protocol):
    """The answers to a stream, as they come."""

    async def next(self) -> Answers | None:
        """Return the next answers, or ``None`` after the last."""

    async def aclose(self) -> None:
        """Be done with it, however far it got."""


class Stream:
    """What ``stream()`` returns: await it for all acks, or iterate it for each.

    Nothing is sent before one of the two is done, and each stream runs once::

        acks = await self.stream("buzzer", bits)
        async for ack in self.stream("buzzer", bits): ...

    Args:
        peer: Name of the target, for errors.
        start: Begins to send.
        on_nack: ``raise`` ends the stream with ``NackedError`` at the first refusal;
            ``yield`` hands the error over in the place of the ack and goes on.

    A stream that ends early, by ``break``, cancellation or an error, closes a
    generator that it was given. The acks before an error are in its ``.acks``; of
    a stream that is iterated, whose acks were handed over already, only the last
    ``MOST_KEPT``.

    Raises:
        ValueError: If ``on_nack`` is neither.

    """

    _begun = True  # until it is made: an instance refused by __init__ has nothing to warn of

    def __init__(
        self, peer: str, start: Callable[[], Awaitable[Parts]], *, on_nack: OnNack = "raise"
    ) -> None:
        if on_nack not in ("raise", "yield"):
            raise ValueError(f"on_nack must be 'raise' or 'yield', got {on_nack!r}")
        self._peer = peer
        self._start = start
        self._on_nack = on_nack
        self._begun = False

    def __await__(self) -> Generator[Any, None, list[Any]]:
        return self._collect().__await__()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._each()

    def __del__(self) -> None:
        # Said aloud for the reason that Python does so for coroutines: a forgotten
        # `await` would lose the data in silence.
        if not self._begun:
            warn(
                f"stream to {self._peer!r} was never awaited, so nothing was sent",
                RuntimeWarning,
                stacklevel=2,
            )

    async def _collect(self) -> list[Any]:
        acks: list[Any] = []
        parts = await self._begin()
        # Closed here and not by the garbage collector, so that the source is closed
        # before the caller meets an error or its cancellation.
        try:
            while (part := await parts.next()) is not None:
                if isinstance(part, list):
                    acks += part
                else:
                    acks.append(self._in_its_place(part))
        except DeliveryError as exc:
            self._complete(exc, acks)
            raise
        finally:
            await parts.aclose()
        return acks

    async def _each(self) -> AsyncIterator[Any]:
        kept: deque[Any] = deque(maxlen=MOST_KEPT)
        parts = await self._begin()
        try:
            while (part := await parts.next()) is not None:
                for ack in part if isinstance(part, list) else [self._in_its_place(part)]:
                    kept.append(ack)
                    yield ack
        except DeliveryError as exc:
            self._complete(exc, kept)
            raise
        finally:
            await parts.aclose()

    def _begin(self) -> Awaitable[Parts]:
        if self._begun:
            raise RuntimeError(f"this stream to {self._peer!r} has run already; call stream() again")
        self._begun = True
        return self._start()

    def _in_its_place(self, error: Exception) -> Exception:
        if self._on_nack == "yield" and isinstance(error, NackedError):
            return error
        raise error

    def _complete(self, error: DeliveryError, acks: Iterable[Any]) -> None:
        """Add what is known only here: of whom it is, and what was acknowledged before."""
        error.peer = error.peer or self._peer
        error.acks = list(acks)


class Asked(Protocol):
    """An ask that was begun."""

    async def next(self) -> Any:
        """Return the next part; raises ``StopAsyncIteration`` after the last."""

    def abandon(self) -> None:
        """Want no more, and wait for nothing."""

    async def aclose(self) -> None:
        """Want no more, and wait until nothing runs for it any longer."""


class Ask:
    """What ``ask()`` returns: iterate it for each part of the answer.

    Nothing is sent before that, and it runs once::

        async for part in self.ask("archive", "today"): ...

    When the loop is left, by ``break``, an error or cancellation, the generator at the
    other end is closed; its ``finally`` runs. As an ``async with``, or by ``aclose()``,
    that is waited for.

    Args:
        peer: Name of the target, for errors.
        start: Begins to ask.

    """

    _begun = True  # until it is made

    def __init__(self, peer: str, start: Callable[[], Awaitable[Asked]]) -> None:
        self._peer = peer
        self._start = start
        self._asked: Asked | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = False
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        asked = self._asked
        if asked is None:
            asked = await self._begin()
        return await asked.next()

    async def _begin(self) -> Asked:
        if self._closed:
            raise StopAsyncIteration
        if self._begun:
            raise RuntimeError(f"this ask to {self._peer!r} is being begun already")
        self._begun = True
        self._loop = asyncio.get_running_loop()
        try:
            self._asked = asked = await self._start()
        except BaseException:
            self._closed = True
            raise
        await self._see_whether_closed(asked)
        return asked

    async def _see_whether_closed(self, asked: Asked) -> None:
        if self._closed:
            # While it began; nothing else would end it.
            await asked.aclose()

    async def aclose(self) -> None:
        """Want no more parts, and wait until the generator at the other end is closed.

        It is not waited for longer than 5 seconds.
        """
        self._begun = self._closed = True
        if self._asked is not None:
            await self._asked.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if not self._begun:
            warn(
                f"ask to {self._peer!r} was never iterated, so nothing was asked",
                RuntimeWarning,
                stacklevel=2,
            )
        elif self._asked is not None and self._loop is not None and not self._closed:
            # It may be collected anywhere, in the midst of a link's own work as well.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._asked.abandon)


def items_of(data: object) -> Items:
    """Return a stream's data as something to iterate: one item, or the many it holds."""
    if is_one_item(data):
        return [data]
    assert isinstance(data, Iterable | AsyncIterable)
    return data


async def close_source(source: object) -> None:
    """Close what gave a stream its items, if it is a generator that may not be exhausted."""
    if isinstance(source, AsyncGenerator):
        await source.aclose()
    elif isinstance(source, Generator):
        source.close()


async def each(source: Items) -> AsyncGenerator[object, None]:
    """Give each item of a source, and close it when the stream ends early."""
    try:
        if isinstance(source, AsyncIterable):
            async for item in source:
                yield item
        else:
            for item in source:
                yield item
    finally:
        await close_source(source)
