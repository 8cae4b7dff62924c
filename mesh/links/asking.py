"""The asking end of one ask: the question, the parts that came, and the word that ends it early."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mesh.errors import DeliveryError, FrameTooLargeError, NackedError, PayloadError
from mesh.links.taskless import Taskless
from mesh.protocol.asking import ASK, CANCEL, GONE, Question, Took, part_channel, read_item
from mesh.protocol.link.events import Failed, Reason
from mesh.protocol.link.packing import error_of
from mesh.protocol.link.run import Delivery

if TYPE_CHECKING:
    from mesh.links.asks import Asks
    from mesh.links.shell import LinkShell
    from mesh.protocol.link.inbound import Inbound

CANCEL_WAIT: Final = 5.0
"""Seconds that ``aclose()`` waits for the generator at the other end to be closed."""

Explain = Callable[[Failed], Exception]
"""Turns a failure into the error that the user gets."""


class Asking(Taskless):
    """The asking end of one ask; its link's ``Owner`` of the question and inbox of the parts.

    Attributes:
        id: Its id.
        channel: The channel of its parts.

    """

    def __init__(
        self,
        link: LinkShell,
        asks: Asks,
        question: Question,
        peer: str,
        patience: float | None,
        explain: Explain,
    ) -> None:
        self.id = question.id
        self.channel = part_channel(question.id)
        self._link = link
        self._asks = asks
        self._question: Question | None = question  # until it is sent
        self._delivery = Delivery(patience=patience, at_most_once=True)
        self._patience = patience
        self._peer = peer
        self._explain = explain
        # Parts that nobody took yet, each with the work to acknowledge it to, if that is still to be done.
        self._parts: deque[tuple[Inbound | None, Any]] = deque()
        self._trouble: Exception | None = None  # comes after them
        self._accepted = False
        self._over = False
        self._hurried = False
        self._sleeper: asyncio.Future[None] | None = None
        self._cancelling: _Cancelling | None = None
        self._absence: asyncio.TimerHandle | None = None

    # -- what its user calls

    def begin(self) -> None:
        """Send the question."""
        self._asks.enter(self)
        try:
            self._put()
        except BaseException:
            self._end()
            raise

    async def next(self) -> Any:
        """Return the next part.

        Raises:
            StopAsyncIteration: After the last.
            NackedError: If the ask was refused, or its handler has raised.
            Exception: What ``explain`` says of why no more will come.

        """
        while not self._parts:
            if self._trouble is not None:
                trouble, self._trouble = self._trouble, None
                self._end()
                raise trouble
            if self._over:
                raise StopAsyncIteration
            if self._sleeper is not None:
                raise RuntimeError(f"somebody else waits for the next part from {self._peer} already")
            self._sleeper = self._link.loop.create_future()
            try:
                await self._sleeper
            except asyncio.CancelledError:
                self.abandon()
                raise
            finally:
                self._sleeper = None
        work, item = self._parts.popleft()
        link = self._link
        if work is not None:
            link.core.ack(work, [None], link.time())
            link.pump_soon()
        what = read_item(item)
        if what is Took.PART:
            return item[1]
        if what is Took.NONSENSE:
            self.abandon()
            raise DeliveryError(self._peer, f"{self._peer} sent what is no part of an answer")
        self._end()
        if what is Took.ERROR:
            raise NackedError(self._peer, item[1], item[2])
        raise StopAsyncIteration

    def abandon(self) -> None:
        """Want no more: end the generator at the other end, without waiting for that."""
        if self._over:
            return
        link = self._link
        self._refuse_parts()
        self._end()
        self._wake_user()
        if self._accepted:
            self._cancel()
        else:
            # If it was sent already, ``failed()`` is told so.
            if self._question is not None:
                link.wait_no_more(ASK, self)
            link.core.cancel(ASK, self, link.time())
        link.pump()

    async def aclose(self) -> None:
        """Want no more, and wait until the generator at the other end is closed; but not for ever."""
        self.abandon()
        if self._cancelling is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANCEL_WAIT):
                    await self._cancelling.done.wait()

    # -- what the link calls about the question

    def acked(self, values: list[object]) -> None:
        """It is accepted."""
        self._accepted = True

    def refused(self, count: int, type: str, message: str) -> None:
        """It is refused."""
        self._fail(NackedError(self._peer, type, message))

    def failed(self, failure: Failed) -> None:
        """It was not accepted, as far as we know."""
        if not self._over:
            self._fail(self._explain(failure))
        if failure.transmitted and failure.reason in (Reason.CANCELLED, Reason.PEER_DOWN):
            self._cancel()

    def wake(self) -> None:
        """There is room to ask, or there is something to do."""
        if self._question is not None and not self._over:
            try:
                self._put()
            except Exception as exc:
                self._fail(exc)

    # -- what the link calls about the parts

    @property
    def in_hand(self) -> int:
        """Parts that came and are not acknowledged."""
        return sum(work is not None and not work.closed for work, _ in self._parts)

    def put(self, work: Inbound, items: list[Any]) -> None:
        """Take parts."""
        self._parts.extend((work, item) for item in items)
        if self._hurried:
            self.hurry()
        self._wake_user()

    def hurry(self) -> None:
        """Acknowledge at once what comes: its sender is about to go, and cannot be held back."""
        self._hurried = True
        link = self._link
        for at, (work, item) in enumerate(self._parts):
            if work is not None:
                link.core.ack(work, [None], link.time())
                self._parts[at] = (None, item)

    def session_ended(self) -> None:
        """Whatever was accepted has ended."""
        if self._accepted:
            self._fail(self._explain(Failed(self, 1, Reason.SESSION_OVER, True)))

    def link_closes(self) -> None:
        """The link is left from here."""
        self.hurry()
        self._fail(self._explain(Failed(self, 1, Reason.CLOSED, self._question is None)))

    def peer_went(self) -> None:
        """Wait for the peer, but not for ever."""
        if self._accepted and self._patience is not None and self._absence is None:
            self._absence = self._link.loop.call_later(self._patience, self._peer_is_gone)

    def peer_came(self) -> None:
        """It is there again."""
        if self._absence is not None:
            self._absence.cancel()
            self._absence = None

    def _peer_is_gone(self) -> None:
        self._absence = None
        self._fail(self._explain(Failed(self, 1, Reason.PEER_DOWN, True, self._patience or 0.0)))
        self._cancel()
        self._link.pump()

    # -- within

    def _put(self) -> None:
        link = self._link
        if link.is_leaving:
            raise self._explain(Failed(self, 1, Reason.CLOSED, False))
        question = self._question
        assert question is not None
        try:
            taken = link.core.send(ASK, [question], link.time(), owner=self, delivery=self._delivery)
        except FrameTooLargeError as exc:
            exc.peer = self._peer
            raise
        except PayloadError as exc:
            # Said of the message, for the question that it travels in is our own matter.
            raise error_of(question.msg, exc) from exc
        if not taken:
            link.wait(ASK, self)
            return
        self._question = None
        link.pump()

    def _fail(self, trouble: Exception) -> None:
        """Let no more parts come; those that are here are given to the user before the error."""
        if self._over:
            return
        self.hurry()
        self._trouble = trouble
        self._asks.leave(self)
        self._over = True
        self.peer_came()
        self._wake_user()

    def _end(self) -> None:
        self._over = True
        self._asks.leave(self)
        self.peer_came()

    def _refuse_parts(self) -> None:
        link = self._link
        for work, _ in self._parts:
            if work is not None:
                link.core.nack(work, *GONE, link.time())
        self._parts.clear()
        self._trouble = None

    def _cancel(self) -> None:
        if self._cancelling is None:
            self._cancelling = _Cancelling(self._link, self.id)

    def _wake_user(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)


class _Cancelling:
    """A message on ``$cancel``."""

    def __init__(self, link: LinkShell, id: str) -> None:
        self.done = asyncio.Event()
        # For as long as the generator may live without a connection.
        delivery = Delivery(patience=link.core.settings.session_ttl, at_most_once=True)
        taken = 0
        if not link.is_leaving:
            taken = link.core.send(CANCEL, [{"id": id}], link.time(), owner=self, delivery=delivery)
        if not taken:
            # Then it ends when its next part is refused, or with the session.
            self.done.set()

    def acked(self, values: list[object]) -> None:
        self.done.set()

    def refused(self, count: int, type: str, message: str) -> None:
        self.done.set()

    def failed(self, failure: Failed) -> None:
        self.done.set()

    def wake(self) -> None:
        """Never waits for room."""
