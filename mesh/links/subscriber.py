"""One peer's subscription to one channel: takes what the topic has for it, and sends it over the link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mesh.errors import FrameTooLargeError, LocalProtocolError
from mesh.protocol.fanout import Batch, Cursor
from mesh.protocol.link.events import Failed
from mesh.protocol.link.run import IN_SESSION

if TYPE_CHECKING:
    from mesh.links.publishing import Channel, Publishing
    from mesh.links.shell import LinkShell

MOST_READER: Final = 99_999_999
"""Highest number of a reader."""

SESSION_OVER: Final = "session over"
TOO_LARGE: Final = "too large"


def published(channel: str, reader: int) -> str:
    """Return the channel on which the values of a channel travel to one of a peer's readers."""
    return f"$pub.{reader}/{channel}" if reader else f"$pub/{channel}"


class Subscriber:
    """One reader's subscription to one channel: the ``Owner`` of its messages.

    Attributes:
        name: Name of the channel on which they travel.

    """

    __slots__ = ("_channel", "_cursor", "_ending", "_held", "_link", "_publishing", "name")

    def __init__(
        self, publishing: Publishing, link: LinkShell, channel: Channel, cursor: Cursor, name: str
    ) -> None:
        self._publishing = publishing
        self._link = link
        self._channel = channel
        self.name = name
        self._cursor = cursor
        self._held: Batch | None = None
        self._ending = False
        cursor.owner = self

    def serve(self) -> None:
        """Send what may be sent."""
        self.put()
        self._link.pump()

    def put(self) -> None:
        """Give the link what may be sent."""
        link, cursor = self._link, self._cursor
        take, send = cursor.take, link.core.send_encoded
        while True:
            batch = self._held or take()
            if batch is None:
                return
            self._held = None
            try:
                if not send(self.name, batch.count, batch.body, link.time(), owner=self, delivery=IN_SESSION):
                    self._held = batch
                    link.wait(self.name, self)
                    return
            except FrameTooLargeError:
                self._settle_dropped(batch, TOO_LARGE)
            except LocalProtocolError:
                # The link is about to close, and this with it.
                self._settle_dropped(batch, "closed")
                return
            else:
                self._ending = self._ending or batch.last

    def serve_last(self) -> None:
        """Give the link all that waits, as far as it has room."""
        self._cursor.hurry()
        self.put()

    def _settle_dropped(self, batch: Batch, reason: str) -> None:
        if not batch.last:
            self._cursor.line.drop(batch.count, reason)
            self._cursor.settle(batch.count)

    def end(self, reason: str) -> None:
        """End the subscription; what is in flight goes on, but with the session."""
        held, self._held = self._held, None
        if held is not None:
            self._settle_dropped(held, reason)
        self._cursor.close(reason)
        self._publishing.closed(self._channel)
        link = self._link
        if link.waiting:
            link.wait_no_more(self.name, self)
        if self._cursor.in_flight:
            self._publishing.ended(link, self)

    def give_up(self) -> None:
        """Give up what is in flight; the link will say so, too, but the books shall not wait for it."""
        self._link.core.cancel(self.name, self, self._link.time())
        cursor = self._cursor
        cursor.line.drop(cursor.in_flight, SESSION_OVER)
        cursor.settle(cursor.in_flight)

    def is_absent(self, grace: float) -> bool:
        """Say whether the peer has had no connection for so many seconds."""
        link = self._link
        return not link.is_attached and link.time() - link.detached_at >= grace

    # -- what the link calls -----------------------------------------------------------------

    def acked(self, values: list[Any]) -> None:
        """Count what was handled, and send more."""
        count = len(values)
        if self._ending and not self._cursor.in_flight:
            self._publishing.forget(self._link, self)
            return
        self._cursor.line.delivered += count
        self._settled(count)

    def refused(self, count: int, type: str, message: str) -> None:
        """Count what the subscriber's handler refused, and send more."""
        if self._cursor.in_flight >= count:
            self._cursor.line.refused += count
            self._settled(count)

    def failed(self, failure: Failed) -> None:
        """Count what got no answer."""
        if self._cursor.in_flight >= failure.count:
            reason = SESSION_OVER if failure.reason == "cancelled" else str(failure.reason)
            self._cursor.line.drop(failure.count, reason)
            self._settled(failure.count)

    def wake(self) -> None:
        """Go on: there is room."""
        self.put()

    def _settled(self, count: int) -> None:
        cursor = self._cursor
        cursor.settle(count)
        if cursor.is_over and not cursor.in_flight:
            self._publishing.ended(self._link, self, wholly=True)
        self.put()
        if self._channel.topic.admitted:
            self._channel.wake()
