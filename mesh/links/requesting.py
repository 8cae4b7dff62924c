"""One message and its answer over a link: a stream of one, without what only many need."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from mesh.errors import FrameTooLargeError, NackedError
from mesh.links.asking import Explain
from mesh.links.shell import LinkShell
from mesh.protocol.link.events import Failed, Reason
from mesh.protocol.link.run import Delivery


async def request(
    link: LinkShell, channel: str, msg: object, delivery: Delivery, *, peer: str, explain: Explain
) -> Any:
    """Send a message and return what its handler returned.

    Args:
        link: The link to the peer.
        channel: The peer's channel.
        msg: The message.
        delivery: How it is to be delivered.
        peer: What the user calls the peer, for errors.
        explain: Turns a failure into the error that the user gets.

    Raises:
        NackedError: If the handler refused it.
        PayloadError: If it cannot be sent.
        FrameTooLargeError: If it is larger than the peer takes.
        Exception: What ``explain`` says of a failure.

    """
    requesting = _Requesting(link, channel, msg, delivery, peer, explain)
    requesting.put()
    link.pump()
    try:
        return await requesting.answer
    finally:
        requesting.end()


class _Requesting:
    """The ``Owner`` of one message, which waits for room if there is none."""

    __slots__ = (
        "_channel",
        "_delivery",
        "_explain",
        "_is_sent",
        "_link",
        "_msg",
        "_peer",
        "_timer",
        "answer",
    )

    def __init__(
        self, link: LinkShell, channel: str, msg: object, delivery: Delivery, peer: str, explain: Explain
    ) -> None:
        self._link = link
        self._channel = channel
        self._msg = msg
        self._delivery = delivery
        self._peer = peer
        self._explain = explain
        self._is_sent = False
        self._timer: asyncio.TimerHandle | None = None  # while it waits for room
        self.answer: asyncio.Future[Any] = link.loop.create_future()

    def put(self) -> None:
        """Send it; if there is no room, wait in the queue of the channel.

        Raises:
            PayloadError: If it cannot be sent.
            FrameTooLargeError: If it is larger than the peer takes.
            Exception: What is said of a link that is about to close.

        """
        link, delivery = self._link, self._delivery
        if link.is_leaving:
            raise self._explain(Failed(self, 1, Reason.CLOSED, False))
        if self._timer is not None:
            left = self._timer.when() - link.loop.time()
            delivery = replace(delivery, ack_timeout=max(left, 0.0))
        try:
            self._is_sent = bool(
                link.core.send(self._channel, (self._msg,), link.time(), owner=self, delivery=delivery)
            )
        except FrameTooLargeError as exc:
            exc.peer = self._peer
            raise
        if not self._is_sent:
            link.wait(self._channel, self)
            if self._timer is None and delivery.ack_timeout is not None:
                self._timer = link.loop.call_later(delivery.ack_timeout, self._expire)

    def _expire(self) -> None:
        if not self._is_sent:
            waited = self._delivery.ack_timeout or 0.0
            self.failed(Failed(self, 1, Reason.ACK_TIMEOUT, False, waited))

    def end(self) -> None:
        """Wait no more, for whatever it is."""
        link = self._link
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_sent:
            link.wait_no_more(self._channel, self)
        elif self.answer.cancelled():
            link.core.cancel(self._channel, self, link.time())
            link.pump()

    # -- what the link calls

    def acked(self, values: list[Any]) -> None:
        if not self.answer.done():
            self.answer.set_result(values[0])

    def refused(self, count: int, type: str, message: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(NackedError(self._peer, type, message))

    def failed(self, failure: Failed) -> None:
        if not self.answer.done():
            self.answer.set_exception(self._explain(failure))

    def wake(self) -> None:
        if not self._is_sent and not self.answer.done():
            try:
                self.put()
            except Exception as exc:
                self.answer.set_exception(exc)
