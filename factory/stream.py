"""One stream from a sketch to a peer's channel."""

from __future__ import annotations

from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    MutableSequence,
)
from contextlib import aclosing
from typing import Literal
from warnings import warn

from mesh.errors import NackedError
from mesh.protocol.values import Refusal, is_one_item

OnNack = Literal["raise", "yield"]

MOST_KEPT = 1000
"""Acks that an iterated stream keeps for ``NackedError.acks``; an endless one must not fill the memory."""


class Stream:
    """What ``stream()`` returns: await it for all acks, or iterate it for each.

    Nothing is sent before one of the two is done, and each stream runs once::

        acks = await self.stream("buzzer", bits)
        async for ack in self.stream("buzzer", bits): ...

    Args:
        peer: Name of the target, for errors.
        data: One item, or an iterable or async iterable of items.
        send: Sends one item and returns its ack or refusal.
        on_nack: ``raise`` ends the stream with ``NackedError`` at the first refusal;
            ``yield`` hands the error over in the place of the ack and goes on.
        begin: Called once, before the first item is sent.

    A stream that ends early, by ``break``, cancellation or an error, closes a
    generator that it was given. The acks before a refusal are in ``.acks`` of the
    error; of a stream that is iterated, whose acks were handed over already, only
    the last ``MOST_KEPT``.

    Raises:
        ValueError: If ``on_nack`` is neither.

    """

    _begun = True  # until it is made: an instance refused by __init__ has nothing to warn of

    def __init__(
        self,
        peer: str,
        data: object,
        send: Callable[[object], Awaitable[object | Refusal]],
        *,
        on_nack: OnNack = "raise",
        begin: Callable[[], object] = lambda: None,
    ) -> None:
        if on_nack not in ("raise", "yield"):
            raise ValueError(f"on_nack must be 'raise' or 'yield', got {on_nack!r}")
        self._peer = peer
        self._data = data
        self._send = send
        self._on_nack = on_nack
        self._begin = begin
        self._begun = False

    def __await__(self) -> Generator[object, None, list[object]]:
        return self._collect().__await__()

    def __aiter__(self) -> AsyncIterator[object]:
        return self._run(deque(maxlen=MOST_KEPT))

    def __del__(self) -> None:
        # Said aloud for the reason that Python does so for coroutines: a forgotten
        # `await` would lose the data in silence.
        if not self._begun:
            warn(
                f"stream to {self._peer!r} was never awaited, so nothing was sent",
                RuntimeWarning,
                stacklevel=2,
            )

    async def _collect(self) -> list[object]:
        acks: list[object] = []
        async for _ in self._run(acks):
            pass
        return acks

    async def _run(self, acks: MutableSequence[object]) -> AsyncIterator[object]:
        if self._begun:
            raise RuntimeError(f"this stream to {self._peer!r} has run already; call stream() again")
        self._begun = True
        self._begin()
        # Closed here and not by the garbage collector, so that the source is closed
        # before the caller meets an error or its cancellation.
        async with aclosing(_items(self._data)) as items:
            async for item in items:
                answer = await self._send(item)
                if isinstance(answer, Refusal):
                    error = NackedError(self._peer, answer.type, answer.message)
                    if self._on_nack == "raise":
                        error.acks = list(acks)
                        raise error
                    answer = error
                acks.append(answer)
                yield answer


async def _items(data: object) -> AsyncGenerator[object, None]:
    """Give each item of a stream's data, and close the source when the stream ends early."""
    if is_one_item(data):
        yield data
        return
    try:
        if isinstance(data, AsyncIterable):
            async for item in data:
                yield item
        elif isinstance(data, Iterable):
            for item in data:
                yield item
    finally:
        if isinstance(data, AsyncGenerator):
            await data.aclose()
        elif isinstance(data, Generator):
            data.close()
