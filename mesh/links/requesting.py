"""One message and its answer over a link: a stream of one, without what only many need."""

from __future__ import annotations

import asyncio
from typing import Any

from mesh.errors import AckTimeoutError, FrameTooLargeError, NackedError
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
    requesting = _Requesting(link, peer, explain)
    core = link.core
    try:
        while not (
            not link.is_leaving
            and core.send(channel, (msg,), link.time(), owner=requesting, delivery=delivery)
        ):
            await requesting.room(channel, delivery)
    except FrameTooLargeError as exc:
        exc.peer = peer
        raise
    link.pump()
    try:
        return await requesting.answer
    except asyncio.CancelledError:
        core.cancel(channel, requesting, link.time())
        link.pump()
        raise


class _Requesting:
    """The ``Owner`` of one message."""

    __slots__ = ("_explain", "_link", "_peer", "answer")

    def __init__(self, link: LinkShell, peer: str, explain: Explain) -> None:
        self._link = link
        self._peer = peer
        self._explain = explain
        self.answer: asyncio.Future[Any] = link.loop.create_future()

    async def room(self, channel: str, delivery: Delivery) -> None:
        """Wait until there may be room."""
        link = self._link
        if link.is_leaving:
            raise self._explain(Failed(self, 1, Reason.CLOSED, False))
        link.wait(channel, self)
        try:
            async with asyncio.timeout(delivery.ack_timeout):
                await self.answer
        except TimeoutError:
            raise AckTimeoutError(self._peer, delivery.ack_timeout or 0.0, transmitted=False) from None
        finally:
            link.wait_no_more(channel, self)
        self.answer = link.loop.create_future()

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
        if not self.answer.done():
            self.answer.set_result(None)
