"""One stream over a link: keeps the window full, and gives the answers as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

from mesh.errors import NackedError
from mesh.links.asking import Explain
from mesh.links.shell import LinkShell
from mesh.protocol.link.events import Failed, Reason
from mesh.protocol.link.run import Delivery
from mesh.streams import Answers

BATCH = 512
"""Messages that are taken from a source at once: enough to be fast, few enough to keep both ends busy."""

# Of these an item is the same a moment later, so several can be encoded in one go.
_CONSTANT: Final = frozenset((str, bytes, int, float, bool, type(None)))


def sending(
    link: LinkShell,
    channel: str,
    items: Iterable[object] | AsyncIterable[object],
    delivery: Delivery,
    *,
    peer: str,
    window: int | None,
    explain: Explain,
) -> Sending:
    """Return what sends items over a link.

    Args:
        link: The link to the peer.
        channel: The peer's channel.
        items: What to send.
        delivery: How the messages are to be delivered.
        peer: What the user calls the peer, for errors.
        window: Most messages in flight; ``None`` for the link's own limit.
        explain: Turns a failure into the error that the user gets.

    """
    # Bounded in any case: who does not read its answers must not send for ever.
    most = link.core.settings.window_messages
    most = most if window is None else min(window, most)
    if type(items) is not list and isinstance(items, AsyncIterable):
        return _FromAsync(link, channel, items, delivery, peer, most, explain)
    return _FromIterable(link, channel, items, delivery, peer, most, explain)


class Sending:
    """The messages of one stream: the ``Owner`` that a link tells what became of them."""

    def __init__(
        self, link: LinkShell, channel: str, delivery: Delivery, peer: str, window: int, explain: Explain
    ) -> None:
        self._link = link
        self._channel = channel
        self._delivery = delivery
        self._peer = peer
        self._window = window
        self._explain = explain
        self._answers: deque[Answers] = deque()
        self._unread = 0
        self._in_flight = 0
        self._batch: list[object] = []  # taken from the source, and not yet taken by the link
        self._exhausted = False
        self._trouble: Exception | None = None  # comes in its place, after the answers to what went before
        self._sleeper: asyncio.Future[None] | None = None

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
        sleeper = self._sleeper
        if sleeper is not None and not sleeper.done():
            sleeper.set_result(None)

    # -- what the stream calls -----------------------------------------------------------

    async def next(self) -> Answers | None:
        """Return the next answers, in order, as they come; ``None`` after the last.

        Raises:
            Exception: What the source of the items raised, or why one of them cannot be
                sent, after the answers to those before it.

        """
        while True:
            if self._batch or not self._exhausted:
                self._proceed()
            if self._answers:
                part = self._answers.popleft()
                self._unread -= len(part) if type(part) is list else 1
                return part
            if self._exhausted and not self._in_flight and not self._batch:
                if self._trouble is not None:
                    raise self._trouble
                return None
            self._sleeper = self._link.loop.create_future()
            await self._sleeper

    async def aclose(self) -> None:
        """Be done with it; what is still in flight is given up."""
        self._batch.clear()
        link = self._link
        if link.waiting:
            link.wait_no_more(self._channel, self)
        if self._in_flight:
            link.core.cancel(self._channel, self, link.time())
            link.pump()

    # -- within -----------------------------------------------------------------------------

    def _proceed(self) -> None:
        """Do what is to be done before the answers are looked at."""
        raise NotImplementedError

    def _room(self) -> int:
        """Return how many messages may be taken from the source; if none, ``wake()`` will be called."""
        # What nobody has read yet counts: who does not read its answers must not send.
        mine = self._window - self._in_flight - self._unread - len(self._batch)
        if mine <= 0:
            return 0
        free = self._link.core.room(self._channel) - len(self._batch)
        if free <= 0:
            self._link.wait(self._channel, self)
            return 0
        return min(mine, free)

    def _check_open(self) -> None:
        if self._link.is_leaving:
            raise self._explain(Failed(self, 1, Reason.CLOSED, False))

    def _put(self) -> bool:
        """Give the batch to the link; return whether it took all. If not, ``wake()`` will be called.

        Raises:
            Exception: If the first of the rest cannot be sent.

        """
        batch = self._batch
        while batch:
            self._check_open()
            taken = self._link.core.send(
                self._channel, batch, self._link.time(), owner=self, delivery=self._delivery
            )
            self._in_flight += taken
            if taken == len(batch):
                batch.clear()
                return True
            del batch[:taken]
            if not taken:
                self._link.wait(self._channel, self)
                return False
        return True

    def _give_up(self, trouble: Exception) -> None:
        self._batch.clear()
        self._exhausted = True
        self._trouble = trouble


class _FromIterable(Sending):
    """Takes its items whenever its user comes for answers, as many as there is room for."""

    def __init__(
        self,
        link: LinkShell,
        channel: str,
        items: Iterable[object],
        delivery: Delivery,
        peer: str,
        window: int,
        explain: Explain,
    ) -> None:
        super().__init__(link, channel, delivery, peer, window, explain)
        if type(items) is list and len(items) <= min(window, BATCH):
            # All there is, and so little that nobody need wait for room to take it.
            self._batch = items.copy()
            self._exhausted = True
            self._source: Iterator[object] = iter(())
        else:
            self._source = iter(items)

    def _proceed(self) -> None:
        batch = self._batch
        try:
            if not batch:
                self._check_open()
            while not batch or self._put():
                room = 0 if self._exhausted else min(self._room(), BATCH)
                if room <= 0:
                    break
                try:
                    # Keeps what the source gave before it raised; fewer than asked for are the last.
                    batch.extend(islice(self._source, room))
                    self._exhausted = len(batch) < room
                except Exception as exc:
                    self._trouble, self._exhausted = exc, True
        except Exception as exc:
            self._give_up(exc)
        self._link.pump()


class _FromAsync(Sending):
    """Has a task that takes items, each when there is room for it; what comes in one go is one batch."""

    def __init__(
        self,
        link: LinkShell,
        channel: str,
        items: AsyncIterable[object],
        delivery: Delivery,
        peer: str,
        window: int,
        explain: Explain,
    ) -> None:
        super().__init__(link, channel, delivery, peer, window, explain)
        self._feeder_sleeps: asyncio.Future[None] | None = None
        self._due: asyncio.Handle | None = None
        self._closed = False
        self._feeding = link.loop.create_task(self._feed(items), name=f"feeding {channel}")
        self._feeding.add_done_callback(self._fed)

    def wake(self) -> None:
        """Let whoever waits look again."""
        super().wake()
        self._proceed()

    def _proceed(self) -> None:
        if self._feeder_sleeps is not None and not self._feeder_sleeps.done():
            self._feeder_sleeps.set_result(None)
        if self._batch:
            self._put_soon()

    async def aclose(self) -> None:
        """Be done with it, and with the source."""
        self._closed = True
        try:
            if not self._feeding.done():
                self._feeding.cancel()
                await asyncio.gather(self._feeding, return_exceptions=True)
        finally:
            # Also of who is cancelled once more while the source takes its time.
            if self._due is not None:
                self._due.cancel()
            await super().aclose()

    async def _feed(self, source: AsyncIterable[object]) -> None:
        following = aiter(source).__anext__
        room = 0
        while True:
            # Nothing is asked of the source before there is room for it.
            while room <= 0:
                self._check_open()
                room = self._room()
                if room <= 0:
                    self._feeder_sleeps = self._link.loop.create_future()
                    await self._feeder_sleeps
            try:
                item = await following()
            except StopAsyncIteration:
                return
            if self._closed:
                return  # cancelled, which the source did not mind
            room -= 1
            self._batch.append(item)
            if type(item) not in _CONSTANT:
                # Its source may change it as soon as it is asked for the next one.
                self._put()
            self._put_soon()

    def _fed(self, feeding: asyncio.Task[None]) -> None:
        self._exhausted = True
        if not feeding.cancelled():
            self._trouble = self._trouble or _exception(feeding)
        self.wake()

    def _put_soon(self) -> None:
        """Send when the source gives way: until then it may give more for the same batch."""
        if self._due is None:
            self._due = self._link.loop.call_soon(self._put_now)

    def _put_now(self) -> None:
        self._due = None
        try:
            self._put()
        except Exception as exc:
            self._give_up(exc)
            self._feeding.cancel()
            self.wake()
        self._link.pump()


def _exception(task: asyncio.Task[None]) -> Exception | None:
    exc = task.exception()
    if exc is not None and not isinstance(exc, Exception):
        raise exc
    return exc
