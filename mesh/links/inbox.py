"""The receiving end of one channel: one long-lived task that handles message after message.

What is handled in one go is answered in one go. But an answer never waits for the next
message: when a handler suspends, what is done so far is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from mesh.protocol.values import Refusal
from mesh.suspending import CHECK_EVERY, SLICE, watched

if TYPE_CHECKING:
    from mesh.links.shell import LinkShell
    from mesh.protocol.link.inbound import Inbound

SMALL = 1024
"""Length of an answer up to which it may wait for others, to be answered in one go."""

FEW = 16
"""Parts of a list or dict up to which it is looked at whether it is small."""

_TINY: Final = frozenset((int, float, bool, type(None)))

CANCELLED: Final = "the task of its handler was cancelled by other code of that process"

MOST_ROUTES = 1024
"""Channels of a link of which it is remembered where their messages go."""

Handle = Callable[[str, Any], Awaitable[Any]]
"""Handles one message of a channel; what it returns is the acknowledgement."""


class Route(NamedTuple):
    """Where the messages of a channel go.

    Attributes:
        handle: Handles one message.
        prepare: Turns messages as they came into what ``handle`` takes, all of a
            batch at once; ``None`` if they are taken as they come.
        recover: Returns what becomes of a message whose handling raised; ``None`` if the
            ``Receiver`` shall be asked.
        answered: Called with what messages were answered, refusals included, of a batch at once;
            ``None`` if nobody wants to know.

    """

    handle: Handle
    prepare: Callable[[list[Any]], list[Any]] | None
    recover: Callable[[Any, BaseException], Awaitable[Any | Refusal]] | None = None
    answered: Callable[[list[Any]], None] | None = None


class Receiver(Protocol):
    """What a link asks of the worker behind it."""

    def opened(self, peer: str, channel: str) -> Route:
        """Return where the messages of a peer on a channel go."""

    def asked(self, peer: str, channel: str, item: Any) -> AsyncGenerator[Any, None] | Refusal:
        """Return what gives the parts of the answer to a message, or why nothing will.

        What it raises ends them; ``mesh.links.answering.RefusedError`` does so with a refusal.
        """

    async def recover(self, peer: str, channel: str, item: Any, error: BaseException) -> Any | Refusal:
        """Return what becomes of a message whose handling raised: an answer after all, or the refusal."""

    def unsendable(self, peer: str, channel: str, what: str, error: Exception) -> None:
        """Take note that ``what``, an answer or a part of one, could not be sent, but a refusal instead."""


class Messages(Protocol):
    """What takes the messages of one channel."""

    @property
    def task(self) -> asyncio.Task[None] | None:
        """What handles them, if that is a task of the inbox's own."""

    @property
    def in_hand(self) -> int:
        """Messages that came and are not answered, of a session that goes on."""

    def put(self, work: Inbound, items: list[Any]) -> None:
        """Take messages that came."""

    def wake(self) -> None:
        """Look again whether there is something to do."""

    def retire(self) -> None:
        """Keep nothing that the next message would bring back: everything is settled for a while."""

    def shut(self) -> None:
        """End what handles them, now."""


class Inbox:
    """Messages of one channel, and the task that handles them while there are any.

    Args:
        shell: The link.
        channel: The channel, as handlers know it.
        wire_channel: The channel on which its messages travel, if that is another one.

    """

    def __init__(self, shell: LinkShell, channel: str, wire_channel: str | None = None) -> None:
        self._shell = shell
        self._channel = channel
        self._wire_channel = channel if wire_channel is None else wire_channel
        self._queue: list[tuple[Inbound, list[Any]]] = []  # short; an empty deque has 600 bytes
        self._news: asyncio.Future[None] | None = None
        self._work: Inbound | None = None
        self._done: list[Any] = []
        self._recovers: Callable[[Any, BaseException], Awaitable[Any | Refusal]] | None = None
        self._answered: Callable[[list[Any]], None] | None = None
        self._retired = False
        self._shut = False
        self._over = False
        self._loop = asyncio.get_running_loop()
        self.task = self._loop.create_task(self._run_watched(), name=f"channel {channel}")
        self.task.add_done_callback(self._ended)

    def put(self, work: Inbound, items: list[Any]) -> None:
        """Take messages that came."""
        self._retired = False
        self._queue.append((work, items))
        self.wake()

    @property
    def in_hand(self) -> int:
        """Messages that came and are not answered, of a session that goes on."""
        works = {work for work, _ in self._queue}
        if self._work is not None:
            works.add(self._work)
        return sum(work.in_hand for work in works if not work.closed)

    def wake(self) -> None:
        """Look again whether there is something to do."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def retire(self) -> None:
        """End the task as soon as there is nothing to do; the channel's next message begins another."""
        self._retired = True
        self.wake()

    def shut(self) -> None:
        """End the task now; nobody else can, for a handler's cancellation is not the channel's."""
        self._shut = True
        self.task.cancel()

    def _is_end(self, exc: BaseException) -> bool:
        """Say whether an exception ends this task; if not, a cancellation of it is taken back."""
        if not isinstance(exc, asyncio.CancelledError):
            return False
        if self._shut:
            return True
        while self.task.cancelling():
            self.task.uncancel()
            # Somebody has hold of this task: the next messages get another one as soon as may be.
            self._retired = True
        return False

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Let no mistake of ours make senders wait for ever: what is in hand is refused."""
        if self._over or self._shut:
            return
        error = None if task.cancelled() else task.exception()
        shell = self._shell
        self._forget()
        self._loop.call_exception_handler(
            {
                "message": f"the task of channel {self._channel!r} ended, which is a mistake in the mesh",
                "exception": error or RuntimeError("it was cancelled"),
                "task": task,
            }
        )
        works = [work for work, _ in self._queue]
        self._queue.clear()
        for work in dict.fromkeys([self._work, *works]):
            if work is not None and not work.closed and work.in_hand:
                reason = f"the task of channel {self._channel!r} ended: {error or 'cancelled'}"
                shell.core.nack(work, "RuntimeError", reason, self._loop.time(), count=work.in_hand)
        self._work = None
        shell.pump()

    async def _wait(self) -> None:
        self._news = self._loop.create_future()
        try:
            await self._news
        except asyncio.CancelledError as exc:
            if self._is_end(exc):
                raise
        self._news = None

    async def _run_watched(self) -> None:
        await watched(self._run(), self._gave_way)

    def _forget(self) -> None:
        if self._shell.inboxes.get(self._wire_channel) is self:
            del self._shell.inboxes[self._wire_channel]

    def _route(self) -> Route:
        try:
            return self._open()
        except Exception as exc:
            # The channel has no way; its messages are refused, or their sender would wait for ever.
            return Route(_raising(exc), None)

    def _open(self) -> Route:
        shell, channel = self._shell, self._channel
        route = shell.routes.get(channel)
        if route is None:
            route = shell.routes[channel] = shell.receiver.opened(shell.core.peer or "", channel)
            if len(shell.routes) > MOST_ROUTES:
                del shell.routes[next(iter(shell.routes))]
        return route

    async def _run(self) -> None:
        handle, prepare, self._recovers, self._answered = self._route()
        while True:
            while not self._queue:
                if self._retired:
                    self._forget()
                    self._over = True
                    return
                await self._wait()
            await self._handle_next(handle, prepare)
            self._answer()
            self._work = None
            self._shell.pump()

    # Not part of _run(), whose variables would keep the last messages for as long as none come.
    async def _handle_next(self, handle: Handle, prepare: Callable[[list[Any]], list[Any]] | None) -> None:
        work, items = self._queue.pop(0)
        self._work = work
        if prepare is not None and not work.closed:
            try:
                items = prepare(items)
            except Exception as exc:
                handle = _raising(exc)
        if len(items) > 1 or work.closed or not work.may_handle:
            await self._handle_all(handle, work, items)
            return
        for item in items:
            try:
                self._done.append(await handle(self._channel, item))
            except BaseException as exc:
                await self._recover(work, item, exc)

    async def _handle_all(self, handle: Handle, work: Inbound, items: list[Any]) -> None:
        done, channel = self._done, self._channel
        begin = monotonic()
        for start in range(0, len(items), CHECK_EVERY):
            for item in items[start : start + CHECK_EVERY]:
                if work.closed:
                    return
                try:
                    value = await handle(channel, item)
                except BaseException as exc:
                    await self._recover(work, item, exc)
                    continue
                done.append(value)
                if value is not None and (
                    len(value) >= SMALL if value.__class__ is str else not _is_small(value)
                ):
                    # Large answers are counted one by one, or a few of them would fill the memory.
                    self._answer()
                    if not work.may_handle:
                        await self._until_answers_are_taken(work)
            if not work.may_handle:
                await self._until_answers_are_taken(work)
            if monotonic() - begin > SLICE:
                self._answer()
                self._shell.pump()
                await self._give_way()
                begin = monotonic()

    def _gave_way(self) -> None:
        """Send what is done: this task suspends, and nobody knows for how long."""
        if self._done:
            self._answer()
            self._shell.pump()

    def _answer(self) -> None:
        if self._done and self._work is not None:
            values = self._done[:]
            self._done.clear()
            if self._answered is not None:
                self._answered(values)
            self._shell.core.ack(self._work, values, self._loop.time())

    async def _recover(self, work: Inbound, item: Any, exc: BaseException) -> None:
        if self._is_end(exc):
            raise exc
        if isinstance(exc, asyncio.CancelledError) and not exc.args:
            exc = asyncio.CancelledError(CANCELLED)
        self._answer()
        try:
            if self._recovers is not None:
                outcome = await self._recovers(item, exc)
            else:
                peer = self._shell.core.peer or ""
                outcome = await self._shell.receiver.recover(peer, self._channel, item, exc)
        except asyncio.CancelledError as again:
            if self._is_end(again):
                raise
            outcome = Refusal(type(again).__name__, CANCELLED)
        except Exception as worse:
            outcome = Refusal(type(worse).__name__, str(worse))
        if not isinstance(outcome, Refusal):
            self._done.append(outcome)
        elif not work.closed:
            if self._answered is not None:
                self._answered([outcome])
            self._shell.core.nack(work, outcome.type, outcome.message, self._loop.time())

    async def _give_way(self) -> None:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as exc:
            if self._is_end(exc):
                raise

    async def _until_answers_are_taken(self, work: Inbound) -> None:
        self._answer()
        self._shell.pump()
        while not work.may_handle and not work.closed:
            await self._wait()


def _raising(error: Exception) -> Handle:
    async def handle(_channel: str, _item: Any) -> Any:
        raise error

    return handle


def _is_small(value: Any) -> bool:
    """Say whether an answer may wait for others; a container only if one look shows that."""
    kind = type(value)
    if kind is list or kind is tuple:
        return len(value) <= FEW and all(map(_is_small_part, value))
    if kind is dict:
        return len(value) <= FEW and all(map(_is_small_part, value.values()))
    return _is_small_part(value)


def _is_small_part(value: Any) -> bool:
    return len(value) < SMALL if isinstance(value, str | bytes) else type(value) in _TINY
