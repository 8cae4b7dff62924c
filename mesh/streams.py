"""A stream as its user sees it: awaited for all acks, or iterated for each."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, MutableSequence
from typing import Any, Literal
from warnings import warn

from mesh.errors import DeliveryError, NackedError

OnNack = Literal["raise", "yield"]

Answers = list[Any] | Exception
"""What handlers returned for some messages in a row, or the error of one."""

MOST_KEPT = 10_000
"""Acks that an iterated stream, which may never end, keeps for the error that ends it."""


class Stream:
    """What ``stream()`` returns: await it for all acks, or iterate it for each.

    Nothing is sent before one of the two is done, and each stream runs once::

        acks = await self.stream("buzzer", bits)
        async for ack in self.stream("buzzer", bits): ...

    Args:
        peer: Name of the target, for errors.
        start: Begins to send and gives the answers in order.
        on_nack: ``raise`` ends the stream with ``NackedError`` at the first refusal;
            ``yield`` hands the error over in the place of the ack and goes on.

    """

    _begun = False

    def __init__(
        self, peer: str, start: Callable[[], AsyncGenerator[Answers, None]], *, on_nack: OnNack = "raise"
    ) -> None:
        self._peer = peer
        self._start = start
        self._on_nack = on_nack

    def __await__(self) -> Generator[Any, None, list[Any]]:
        return self._collect().__await__()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._each()

    def __del__(self) -> None:
        # Said aloud for the reason that Python does so for coroutines: a forgotten
        # `await` would lose the data in silence.
        if not self._begun:
            warn(f"stream to {self._peer!r} was never awaited, so nothing was sent", RuntimeWarning, stacklevel=2)

    async def _collect(self) -> list[Any]:
        acks: list[Any] = []
        answers = self._begin()
        try:
            async for part in answers:
                if isinstance(part, list):
                    acks += part
                else:
                    acks.append(self._in_its_place(part, acks))
        finally:
            await answers.aclose()
        return acks

    async def _each(self) -> AsyncIterator[Any]:
        kept: deque[Any] = deque(maxlen=MOST_KEPT)
        answers = self._begin()
        try:
            async for part in answers:
                for ack in part if isinstance(part, list) else [self._in_its_place(part, kept)]:
                    yield ack
                    kept.append(ack)
        finally:
            await answers.aclose()

    def _begin(self) -> AsyncGenerator[Answers, None]:
        if self._begun:
            raise RuntimeError(f"this stream to {self._peer!r} has run already; call stream() again")
        self._begun = True
        return self._start()

    def _in_its_place(self, error: Exception, acks: MutableSequence[Any]) -> Exception:
        if isinstance(error, DeliveryError):
            error.acks = list(acks)
        if self._on_nack == "yield" and isinstance(error, NackedError):
            return error
        raise error
