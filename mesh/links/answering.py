"""The answering end of one ask: the task of its generator, and the parts on their way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from mesh.errors import FrameTooLargeError, LocalProtocolError, PayloadError
from mesh.links.taskless import Taskless
from mesh.protocol.asking import Item, Question, Reply, State, part_channel
from mesh.protocol.link.events import Failed, Reason
from mesh.protocol.link.packing import error_of
from mesh.protocol.link.run import IN_SESSION
from mesh.protocol.values import Refusal

if TYPE_CHECKING:
    from mesh.links.shell import LinkShell
    from mesh.protocol.link.inbound import Inbound

Parts = AsyncGenerator[Any, None]


class RefusedError(Exception):
    """Raised by what makes parts, to end them with an error.

    Attributes:
        refusal: What the asker is told.

    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Answering:
    """The answering end of one ask: the generator's task, and the ``Owner`` of its parts.

    Attributes:
        id: Its id.
        asked: The channel that was asked.
        task: Runs the generator, and is done once its ``finally`` has run.

    """

    def __init__(
        self, link: LinkShell, question: Question, parts: Parts, over: Callable[[Answering], None]
    ) -> None:
        self.id = question.id
        self.asked = question.channel
        self._channel = part_channel(question.id)
        self._link = link
        self._parts = parts
        self._tell = over
        self._reply = Reply()
        self._outbox: deque[Item] = deque()  # what there was no room for
        self._unanswered = 0  # items that were sent
        self._is_over = False
        self._sleeper: asyncio.Future[None] | None = None
        self.task = link.loop.create_task(self._run(), name=f"ask {self.id} of {link.core.peer}")
        self.task.add_done_callback(self._ended)

    # -- the generator

    async def _run(self) -> None:
        reply, parts = self._reply, self._parts
        try:
            async for value in parts:
                self._send(reply.gave(value))
                while reply.state is State.RUNNING and (self._outbox or not reply.has_room):
                    self._sleeper = self._link.loop.create_future()
                    await self._sleeper
                if reply.state is not State.RUNNING:
                    break
            else:
                self._send(reply.finished())
        except asyncio.CancelledError:
            reply.stop()
        except RefusedError as exc:
            self._send(reply.raised(exc.refusal.type, exc.refusal.message))
        except Exception as exc:
            self._send(reply.raised(type(exc).__name__, str(exc)))
        finally:
            # Where it still stands, its ``finally`` is run now.
            await parts.aclose()

    def _check_over(self) -> None:
        """An ask counts until all its parts are taken, or will never be."""
        if self.task.done() and not self._outbox and not self._unanswered and not self._is_over:
            self._is_over = True
            self._link.core.retire(self._channel)
            self._tell(self)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._check_over()
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._link.loop.call_exception_handler(
                {"message": f"{task.get_name()} could not be closed", "exception": exc}
            )

    # -- what ends it

    def stop(self) -> None:
        """Nobody wants more parts."""
        if self._reply.stop():
            self.task.cancel()
        self._outbox.clear()
        link = self._link
        link.wait_no_more(self._channel, self)
        link.core.cancel(self._channel, self, link.time())
        link.pump()
        self._check_over()

    def abort(self, type: str, message: str) -> None:
        """End it with an error."""
        item = self._reply.abort(type, message)
        if item is not None:
            self._send(item)
            self.task.cancel()

    # -- what the link calls

    def acked(self, values: list[object]) -> None:
        """Parts were taken."""
        self._answered(len(values))
        self._wake_generator()

    def refused(self, count: int, type: str, message: str) -> None:
        """Nobody is there to take them."""
        self._answered(count)
        self.stop()

    def failed(self, failure: Failed) -> None:
        """They will not arrive."""
        self._answered(failure.count)
        if failure.reason is not Reason.CANCELLED:
            self.stop()

    def wake(self) -> None:
        """There is room for what waits."""
        self._flush()
        self._wake_generator()

    # -- within

    def _answered(self, count: int) -> None:
        self._reply.taken(count)
        self._unanswered -= count
        self._check_over()

    def _send(self, item: Item | None) -> None:
        if item is not None:
            self._outbox.append(item)
            self._flush()

    def _flush(self) -> None:
        link, outbox = self._link, self._outbox
        while outbox:
            try:
                taken = link.core.send(
                    self._channel, [outbox[0]], link.time(), owner=self, delivery=IN_SESSION
                )
            except (PayloadError, FrameTooLargeError) as exc:
                # Said of the part, for the item that it travels in is our own matter.
                error = error_of(outbox[0][-1], exc)
                link.receiver.unsendable(link.core.peer or "", self.asked, "a part of the answer", error)
                end = self._reply.abort(type(error).__name__, str(error))
                outbox.clear()
                if end is None:
                    self._check_over()
                    return
                outbox.append(end)
                continue
            except LocalProtocolError:
                outbox.clear()  # the link is closing
                self._check_over()
                return
            if not taken:
                link.wait(self._channel, self)
                return
            outbox.popleft()
            self._unanswered += 1
        link.pump_soon()

    def _wake_generator(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)


class Cancels(Taskless):
    """What handles ``$cancel``: all at once, but answered in the order in which they came."""

    def __init__(self, shell: LinkShell, cancel: Callable[[str], asyncio.Task[None] | None]) -> None:
        self._shell = shell
        self._cancel = cancel
        self._waiting: deque[tuple[Inbound, asyncio.Task[None] | None]] = deque()

    @property
    def in_hand(self) -> int:
        """Cancellations that are not answered."""
        return sum(not work.closed for work, _ in self._waiting)

    def put(self, work: Inbound, items: Iterable[Any]) -> None:
        """Take cancellations."""
        for item in items:
            name = item.get("id") if isinstance(item, dict) else None
            task = self._cancel(name) if isinstance(name, str) else None
            self._waiting.append((work, task))
            if task is not None:
                task.add_done_callback(self._over)
        self.wake()

    def wake(self) -> None:
        """Answer those that are done."""
        core, now = self._shell.core, self._shell.time()
        while self._waiting and ((task := self._waiting[0][1]) is None or task.done()):
            core.ack(self._waiting.popleft()[0], [None], now)

    def _over(self, task: asyncio.Task[None]) -> None:
        self.wake()
        self._shell.pump()
