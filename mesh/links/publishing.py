"""Publishing: what one process publishes, and the links that get it.

The rules are those of ``mesh.protocol.fanout``; here are the links and the event loop.

- *Everything is per batch.* What is published in one turn of the loop is given to each link at once,
  and a link that has not answered yet is served when its answer comes, not by the publisher.
- *A subscription belongs to a session.* It ends with it, or when the peer says that it leaves. Then
  what the peer did not get is counted as dropped, with the reason.
- *A publisher that waits* does so for subscribers that asked for it, and for one that is absent no
  longer than its patience.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final
from warnings import warn

import msgspec

from mesh.errors import FrameTooLargeError, LocalProtocolError, PayloadError
from mesh.protocol.fanout import (
    BATCH,
    DEFAULT_LIMIT,
    MAX_CHANNEL,
    NOT_AWAITED,
    Batch,
    Cursor,
    Policy,
    Published,
    Topic,
    settled_policy,
)
from mesh.protocol.link.events import Failed
from mesh.protocol.link.packing import pack
from mesh.protocol.link.records import encode
from mesh.protocol.link.run import Delivery

if TYPE_CHECKING:
    from mesh.links.shell import LinkShell
    from mesh.protocol.link.inbound import Inbound

SUBSCRIBE: Final = "$subscribe"
UNSUBSCRIBE: Final = "$unsubscribe"
PUBLISHED: Final = "$pub/"
"""Begins the name of the channel on which published values travel; the channel's own name follows."""

MAX_VALUE: Final = 16 * 1024 * 1024 - 64
"""Most encoded bytes of a published value."""

MOST_OF_LINK: Final = 1024
"""Channels that one peer may have subscribed to since its link was made."""

LEFT: Final = "subscriber left"
SESSION_OVER: Final = "session over"
ABSENT: Final = "peer down"
TOO_LARGE: Final = "too large"

# What was sent in one session is not for the next, whose subscription begins anew.
_DELIVERY: Final = Delivery(patience=None, at_most_once=True)


class Wish(msgspec.Struct, frozen=True):
    """What a subscriber asks for."""

    channel: str
    policy: str = Policy.DROP_OLDEST.value
    limit: int = DEFAULT_LIMIT
    latch: bool = True


class NoWish(msgspec.Struct, frozen=True):
    """What a subscriber wants no more."""

    channel: str


class Channel:
    """One channel that is published.

    Attributes:
        name: Its name.
        topic: Its values.
        waiting: By number, who waits for room for a value.

    """

    __slots__ = ("is_due", "name", "topic", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.topic = Topic()
        self.waiting: dict[int, asyncio.Future[None]] = {}
        self.is_due = False

    def wake(self) -> None:
        """Tell publishers for whose values there is room by now."""
        for number in self.topic.admitted:
            waiting = self.waiting.pop(number, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        self.topic.admitted.clear()


class Publishing:
    """What one process publishes.

    Args:
        patience: Seconds that a publisher waits for an absent ``block`` subscriber; ``None`` for ever.
        say: Prints a line for people.

    """

    def __init__(self, *, patience: float | None = 10.0, say: Callable[[str], None] = lambda _: None) -> None:
        self.patience = patience
        self._say = say
        self._channels: dict[str, Channel] = {}
        self._links: dict[LinkShell, dict[str, _Subscriber]] = {}
        # Those that have ended, and for which something is in flight.
        self._ended: dict[LinkShell, set[_Subscriber]] = {}
        self._due: list[Channel] = []
        self._flushing: asyncio.Handle | None = None
        self.unflushed = 0
        self._stopped = False

    # -- publishing --------------------------------------------------------------------------

    def publish(self, channel: str, value: object, *, latch: bool = False) -> Publication:
        """Publish a value to whoever subscribed to a channel.

        It is on its way when this returns. Await what is returned to wait for room at subscribers
        that asked for it.

        Args:
            channel: Name of the channel.
            value: Anything that can be sent.
            latch: Keep the value for who subscribes later, until the next one that is kept.

        Raises:
            ValueError: If the channel cannot have that name.
            PayloadError: If the value cannot be sent.
            FrameTooLargeError: If it is too large.

        """
        name = checked_channel(channel)
        found = self._channels.get(name)
        if found is None:
            found = self._channels[name] = Channel(name)
        topic = found.topic
        # Counted even if nobody gets it: who publishes in a loop must give way in any case.
        self.unflushed += 1
        if not latch and not topic.cursors:
            topic.skip()
            return Publication(self, found, 0, 0)
        if topic.cursors:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                raise RuntimeError(
                    "publish() belongs on the event loop, and this is a thread; make the method an async def"
                ) from None
        try:
            body = encode(value)
        except Exception:
            error = pack([value], largest=MAX_VALUE).error
            raise error or PayloadError(f"a {type(value).__name__} cannot be sent") from None
        if len(body) > MAX_VALUE:
            raise FrameTooLargeError(len(body), MAX_VALUE)
        number = topic.publish(body, latch=latch)
        if not found.is_due and topic.hungry:
            found.is_due = True
            self._due.append(found)
            if self._flushing is None:
                self._flushing = asyncio.get_running_loop().call_soon(self._flush)
        if topic.is_parked(number):
            self.check_absent(found)
        return Publication(self, found, number, len(topic.cursors))

    def _flush(self) -> None:
        """Give every subscriber that waits for values what there is."""
        self._flushing = None
        self.unflushed = 0
        due, self._due = self._due, []
        for channel in due:
            channel.is_due = False
            topic = channel.topic
            hungry, topic.hungry = topic.hungry, []
            for cursor in hungry:
                cursor.is_hungry = False
                cursor.owner.serve()
            if topic.admitted:
                channel.wake()

    def stop(self) -> None:
        """Let nobody wait for room any more: this process stops."""
        self._stopped = True
        for channel in self._channels.values():
            for waiting in channel.waiting.values():
                if not waiting.done():
                    waiting.set_result(None)

    @property
    def is_stopped(self) -> bool:
        """Whether nobody waits for room any more."""
        return self._stopped

    def check_absent(self, channel: Channel) -> None:
        """Keep nothing for ``block`` subscribers that have been absent for too long."""
        if self.patience is None:
            return
        for cursor in channel.topic.blocked():
            if cursor.owner.is_absent(self.patience):
                channel.topic.give_up_for(cursor, ABSENT)
        if channel.topic.admitted:
            channel.wake()

    # -- subscribers -------------------------------------------------------------------------

    def subscribe(
        self, channel: str, policy: Policy, limit: int, line: Published, *, latch: bool
    ) -> tuple[Channel, Cursor]:
        """Return a new subscriber of a channel; its owner is to be set, and to be served at once."""
        name = checked_channel(channel)
        found = self._channels.get(name)
        if found is None:
            found = self._channels[name] = Channel(name)
        return found, found.topic.subscribe(policy, limit, line, latch=latch)

    def closed(self, channel: Channel) -> None:
        """Take note that a subscriber is gone."""
        if channel.topic.admitted:
            channel.wake()
        if channel.topic.next == 1 and not channel.topic.cursors:
            self._channels.pop(channel.name, None)

    # -- what a link calls -------------------------------------------------------------------

    def session_began(self, link: LinkShell) -> None:
        """Take note of a new session; its subscriptions will come."""

    def found(self, link: LinkShell) -> None:
        """Take note of another name of a peer, which is nothing to us."""

    def session_ended(self, link: LinkShell) -> None:
        """End the subscriptions of a link; what is not transmitted is not for the next session."""
        self._end_all(link, SESSION_OVER)
        for subscriber in self._ended.pop(link, ()):
            subscriber.give_up()

    def peer_leaves(self, link: LinkShell) -> None:
        """End the subscriptions of a peer that goes away on purpose."""
        self._end_all(link, LEFT)

    def leaves(self, link: LinkShell) -> None:
        """Give the link what its subscribers still wait for, as far as it takes it."""
        for subscriber in list(self._links.get(link, {}).values()):
            subscriber.serve_last()
        self._end_all(link, "closed")

    def _end_all(self, link: LinkShell, reason: str) -> None:
        for subscriber in self._links.pop(link, {}).values():
            subscriber.end(reason)

    def messages(self, link: LinkShell, channel: str) -> Messages | None:
        """Return what takes the messages of a channel, if it is one of ours."""
        if channel == SUBSCRIBE:
            return Messages(link, Wish, self._subscribe_link)
        if channel == UNSUBSCRIBE:
            return Messages(link, NoWish, self._unsubscribe_link)
        return None

    def _subscribe_link(self, link: LinkShell, wish: Wish) -> dict[str, object]:
        policy, limit = settled_policy(wish.policy, wish.limit)
        name = checked_channel(wish.channel)
        mine = self._links.setdefault(link, {})
        before = mine.pop(name, None)
        if before is not None:
            before.end("subscribed anew")
        line = link.published.get(name)
        if line is None:
            if len(link.published) >= MOST_OF_LINK:
                raise ValueError(f"no more than {MOST_OF_LINK} channels may be subscribed to")
            line = link.published[name] = Published()
        channel, cursor = self.subscribe(name, policy, limit, line, latch=wish.latch)
        mine[name] = subscriber = _Subscriber(self, link, channel, cursor)
        self._say(f"** {link.called} subscribed to {name!r}")
        latched = cursor.waiting > 0
        # The answer is to be on its way before any value; so this is not pumped here.
        subscriber.put()
        return {"next": channel.topic.next, "latched": latched}

    def _unsubscribe_link(self, link: LinkShell, wish: NoWish) -> None:
        subscriber = self._links.get(link, {}).pop(wish.channel.removeprefix("/"), None)
        if subscriber is not None:
            subscriber.end("unsubscribed")

    def ended(self, link: LinkShell, subscriber: _Subscriber, *, wholly: bool = False) -> None:
        """Take note that a subscription has ended, and whether anything of it is in flight."""
        mine = self._ended.setdefault(link, set())
        if not wholly:
            mine.add(subscriber)
            return
        mine.discard(subscriber)
        if not mine:
            del self._ended[link]

    def forget(self, link: LinkShell, name: str, subscriber: _Subscriber) -> None:
        """Take note that a subscription has ended by its policy."""
        mine = self._links.get(link, {})
        if mine.get(name) is subscriber:
            del mine[name]

    def close(self) -> None:
        """End it, and let nobody wait any more."""
        if self._flushing is not None:
            self._flushing.cancel()
        for link in list(self._links):
            self._end_all(link, "closed")


class Publication:
    """What ``publish()`` returns. The value is on its way already.

    Awaited, it waits until every ``block`` subscriber has room for the value, and gives the number of
    subscribers. A publisher that awaits gives way to the others from time to time. Who does not
    await lets a ``block`` subscriber without room do without the value, and is warned.
    """

    __slots__ = ("_channel", "_number", "_publishing", "reached")

    def __init__(self, publishing: Publishing, channel: Channel, number: int, reached: int) -> None:
        self._publishing = publishing
        self._channel = channel
        self._number = number
        self.reached = reached

    def __await__(self) -> Generator[Any, None, int]:
        channel, number = self._channel, self._number
        if channel.topic.is_parked(number) and not self._publishing.is_stopped:
            yield from self._wait().__await__()
        elif self._publishing.unflushed >= BATCH:
            self._publishing.unflushed = 0
            yield
        return self.reached

    async def _wait(self) -> None:
        publishing, channel, number = self._publishing, self._channel, self._number
        loop = asyncio.get_running_loop()
        try:
            while channel.topic.is_parked(number) and not publishing.is_stopped:
                waiting = channel.waiting.get(number)
                if waiting is None:
                    waiting = channel.waiting[number] = loop.create_future()
                try:
                    async with asyncio.timeout(publishing.patience):
                        await asyncio.shield(waiting)
                except TimeoutError:
                    publishing.check_absent(channel)
        finally:
            # Cancelled, or this process stops: it waits no more, and nobody else does.
            channel.waiting.pop(number, None)
            channel.topic.give_up(number, "closed" if publishing.is_stopped else NOT_AWAITED)

    def __del__(self) -> None:
        if self._number and self._channel.topic.is_parked(self._number):
            if self._publishing.is_stopped:
                self._channel.topic.give_up(self._number, "closed")
                return
            self._channel.topic.give_up(self._number)
            warn(
                f"a value published on {self._channel.name!r} was not awaited, and a subscriber with the "
                f"policy 'block' had no room for it, so it was dropped; write await self.publish(...)",
                RuntimeWarning,
                stacklevel=2,
            )


class _Subscriber:
    """One link's subscription to one channel: the ``Owner`` of its messages."""

    __slots__ = ("_absent_since", "_channel", "_cursor", "_ending", "_held", "_link", "_name", "_publishing")

    def __init__(self, publishing: Publishing, link: LinkShell, channel: Channel, cursor: Cursor) -> None:
        self._publishing = publishing
        self._link = link
        self._channel = channel
        self._name = PUBLISHED + channel.name
        self._cursor = cursor
        self._held: Batch | None = None
        self._ending = False
        self._absent_since: float | None = None
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
                if not send(self._name, batch.count, batch.body, link.time(), owner=self, delivery=_DELIVERY):
                    self._held = batch
                    link.wait(self._name, self)
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
            link.wait_no_more(self._name, self)
        if self._cursor.in_flight:
            self._publishing.ended(link, self)

    def give_up(self) -> None:
        """Give up what is in flight; the link will say so, too, but the books shall not wait for it."""
        self._link.core.cancel(self._name, self, self._link.time())
        cursor = self._cursor
        cursor.line.drop(cursor.in_flight, SESSION_OVER)
        cursor.settle(cursor.in_flight)

    def is_absent(self, patience: float) -> bool:
        """Say whether the peer has been absent for longer than that since it was first asked."""
        if self._link.is_attached:
            self._absent_since = None
            return False
        now = self._link.time()
        if self._absent_since is None:
            self._absent_since = now
        return now - self._absent_since >= patience

    # -- what the link calls -----------------------------------------------------------------

    def acked(self, values: list[Any]) -> None:
        """Count what was handled, and send more."""
        count = len(values)
        if self._ending and not self._cursor.in_flight:
            self._publishing.forget(self._link, self._channel.name, self)
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


class Messages:
    """What takes the messages of a channel that are answered at once."""

    task = None

    def __init__(self, link: LinkShell, kind: type[Any], handle: Callable[[LinkShell, Any], object]) -> None:
        self._link = link
        self._kind = kind
        self._handle = handle

    @property
    def in_hand(self) -> int:
        """Messages that wait: none ever does."""
        return 0

    def wake(self) -> None:
        """Look again whether there is something to do; there never is."""

    def retire(self) -> None:
        """Nothing is kept here."""

    def shut(self) -> None:
        """Nothing runs here."""

    def put(self, work: Inbound, items: list[Any]) -> None:
        """Answer messages."""
        link = self._link
        for item in items:
            try:
                answer = self._handle(link, msgspec.convert(item, self._kind))
            except (ValueError, TypeError) as exc:  # what msgspec raises is a ValueError as well
                link.core.nack(work, "ValueError", str(exc), link.time())
            else:
                link.core.ack(work, [answer], link.time())


def checked_channel(channel: str) -> str:
    """Return the name of a channel that may be published.

    Raises:
        ValueError: If it may not.

    """
    name = channel.removeprefix("/")
    if name.startswith("$"):
        raise ValueError(f"channel {channel!r} cannot be published: names that begin with $ are reserved")
    if len(name) > MAX_CHANNEL:
        raise ValueError(
            f"the name of a published channel has at most {MAX_CHANNEL} characters, not {len(name)}"
        )
    return name
