"""One stream over a link: keeps the window full, and gives the answers as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from contextlib import aclosing
from itertools import islice
from typing import Any

from mesh.errors import NackedError
from mesh.links.shell import LinkShell
from mesh.protocol.link.events import Failed, Reason
from mesh.protocol.link.run import Delivery

CHUNK = 512
"""Messages that are taken from a source at once: enough to be fast, few enough to keep both ends busy."""

Answers = list[Any] | Exception
"""What handlers returned for some messages in a row, or the error of one."""

Explain = Callable[[Failed], Exception]


class Sending:
    """The messages of one stream: the ``Owner`` that a link tells what became of them.

    Args:
        link: The link to the peer.
        channel: The peer's channel.
        delivery: How the messages are to be delivered.
        peer: What the user calls the peer, for errors.
        window: Most messages in flight; ``None`` for the link's own limit.
        explain: Turns a failure into the error that the user gets.

    """

    def __init__(
        self,
        link: LinkShell,
        channel: str,
        delivery: Delivery,
        *,
        peer: str,
        window: int | None,
        explain: Explain,
    ) -> None:
        self._link = link
        self._peer = peer
        self._channel = channel
        self._delivery = delivery
        # Bounded in any case: who does not read its answers must not send for ever.
        self._window = min(window or 2**31, link.core.settings.window_messages)
        self._explain = explain
        self._answers: list[Answers] = []
        self._unread = 0
        self._in_flight = 0
        self._sleepers: list[asyncio.Future[None]] = []
        self._pump_due = False
        self._loop = asyncio.get_running_loop()

    # -- what the link calls --------------------------------------------------------------

    def acked(self, values: list[Any]) -> None:
        """Take answers."""
        self._in_flight -= len(values)
        self._unread += len(values)
        self._answers.append(values)
        self.wake()

    def refused(self, count: int, type: str, message: str) -> None:
        """Take refusals."""
        self._in_flight -= count
        self._unread += count
        self._answers += [NackedError(self._peer, type, message) for _ in range(count)]
        self.wake()

    def failed(self, failure: Failed) -> None:
        """Take failures."""
        self._in_flight -= failure.count
        self._unread += failure.count
        self._answers += [self._explain(failure) for _ in range(failure.count)]
        self.wake()

    def wake(self) -> None:
        """Let whoever waits look again."""
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)
        self._sleepers.clear()

    # -- what the stream calls -----------------------------------------------------------

    async def run(self, data: Iterable[object] | AsyncIterable[object]) -> AsyncGenerator[Answers, None]:
        """Send everything and give the answers in order, as they come."""
        try:
            if isinstance(data, AsyncIterable):
                async with aclosing(self._from_async(data)) as batches:
                    async for answers in batches:
                        yield answers
            else:
                async with aclosing(self._from_iterator(iter(data))) as batches:
                    async for answers in batches:
                        yield answers
        finally:
            waiting = self._link.waiting.get(self._channel)
            if waiting is not None:
                waiting.discard(self)
                if not waiting:
                    del self._link.waiting[self._channel]
            if self._in_flight:
                self._link.core.cancel(self._channel, self, self._loop.time())
                self._link.pump()

    def _put(self, items: list[object]) -> int:
        """Give items to the link, as many as it takes, and say how many."""
        self._check_open()
        taken = self._link.core.send(
            self._channel, items, self._loop.time(), owner=self, delivery=self._delivery
        )
        self._in_flight += taken
        return taken

    def _check_open(self) -> None:
        if self._link.is_leaving:
            raise self._explain(Failed(self, 1, Reason.CLOSED, False))

    def _room(self) -> int:
        # What nobody has read yet counts: who does not read its answers must not send.
        mine = self._window - self._in_flight - self._unread
        return min(mine, self._link.core.room(self._channel)) if mine > 0 else 0

    async def _wait(self) -> None:
        self._link.waiting.setdefault(self._channel, set()).add(self)
        sleeper = self._loop.create_future()
        self._sleepers.append(sleeper)
        await sleeper

    def _take(self) -> list[Answers]:
        answers, self._answers = self._answers, []
        self._unread = 0
        self.wake()
        return answers

    async def _from_iterator(self, source: Iterator[object]) -> AsyncGenerator[Answers, None]:
        left: list[object] = []
        exhausted = False
        trouble: Exception | None = None  # comes in its place, after the answers to what went before
        while True:
            while left or not exhausted:
                try:
                    self._check_open()
                    room = self._room()
                    if room <= 0:
                        break
                    if left:
                        taken = self._put(left)
                        left = left[taken:]
                        if not taken:
                            break
                        continue
                except Exception as exc:
                    left, exhausted, trouble = [], True, exc
                    break
                try:
                    # Keeps what the source gave before it raised.
                    left.extend(islice(source, min(room, CHUNK)))
                    exhausted = not left
                except Exception as exc:
                    exhausted, trouble = True, exc
            await self._link.flush()
            if self._answers:
                for answers in self._take():
                    yield answers
            elif self._in_flight or left or not exhausted:
                await self._wait()
            elif trouble is not None:
                raise trouble
            else:
                return

    async def _from_async(self, source: AsyncIterable[object]) -> AsyncGenerator[Answers, None]:
        feeding = self._loop.create_task(self._feed(source), name=f"feeding {self._channel}")
        feeding.add_done_callback(lambda _: self.wake())
        try:
            while self._answers or self._in_flight or not feeding.done():
                if self._answers:
                    for answers in self._take():
                        yield answers
                else:
                    await self._wait()
            feeding.result()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    async def _feed(self, source: AsyncIterable[object]) -> None:
        items = aiter(source)
        while True:
            # Nothing is asked of the source before there is room for it.
            while True:
                self._check_open()
                if self._room() > 0:
                    break
                await self._wait()
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
            while not self._put([item]):
                await self._wait()
            if not self._pump_due:
                # Not at once: what the source gives in the same turn of the loop goes as one frame.
                self._pump_due = True
                self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        self._link.pump()
