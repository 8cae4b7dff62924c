"""One stream from a sketch to a peer's channel."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from typing import Literal
from warnings import warn

from mesh.errors import NackedError
from mesh.protocol.values import Refusal, is_one_item

OnNack = Literal["raise", "yield"]


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

    """

    def __init__(
        self,
        peer: str,
        data: object,
        send: Callable[[object], Awaitable[object | Refusal]],
        *,
        on_nack: OnNack = "raise",
    ) -> None:
        if on_nack not in ("raise", "yield"):
            raise ValueError(f"on_nack must be 'raise' or 'yield', got {on_nack!r}")
        self._peer = peer
        self._data = data
        self._send = send
        self._on_nack = on_nack
        self._begun = False

    def __await__(self) -> Generator[object, None, list[object]]:
        return self._collect().__await__()

    def __aiter__(self) -> AsyncIterator[object]:
        return self._run([])

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

    async def _run(self, acks: list[object]) -> AsyncIterator[object]:
        if self._begun:
            raise RuntimeError(f"this stream to {self._peer!r} has run already; call stream() again")
        self._begun = True
        async for item in _items(self._data):
            answer = await self._send(item)
            if isinstance(answer, Refusal):
                error = NackedError(self._peer, answer.type, answer.message)
                error.acks = acks
                if self._on_nack == "raise":
                    raise error
                answer = error
            acks.append(answer)
            yield answer


async def _items(data: object) -> AsyncIterator[object]:
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
        if hasattr(data, "aclose"):
            await data.aclose()
        elif hasattr(data, "close") and hasattr(data, "send"):
            data.close()
