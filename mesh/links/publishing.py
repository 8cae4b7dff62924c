"""Publishing: what one process publishes, and the links that get it.

The rules are those of ``mesh.protocol.fanout``; here are the links and the event loop.

- *Everything is per batch.* What is published in one turn of the loop is given to each link at once,
  and a link that has not answered yet is served when its answer comes, not by the publisher.
- *A subscription belongs to a session.* It ends with it, or when the peer says that it leaves. Then
  what the peer did not get is counted as dropped, with the reason.
- *A publisher that waits* does so for subscribers that asked for it, and for one whose connection is
  lost no longer than a short grace: time for it to come back, but not for all others to stand still.
- *A publisher that awaits* gives way after so many values or so many milliseconds, whichever is first,
  so that the links can write and read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Final
from warnings import warn

import msgspec

from mesh.arguments import check_channel
from mesh.errors import FrameTooLargeError, PayloadError
from mesh.links.subscriber import MOST_READER, SESSION_OVER, Subscriber, published
from mesh.links.taskless import AnsweredAtOnce
from mesh.protocol.fanout import (
    BATCH,
    DEFAULT_LIMIT,
    MAX_CHANNEL,
    NOT_AWAITED,
    Cursor,
    Policy,
    Published,
    Topic,
    book,
    settled_policy,
)
from mesh.protocol.link.packing import pack
from mesh.protocol.link.records import encode

if TYPE_CHECKING:
    from mesh.links.shell import LinkShell

SUBSCRIBE: Final = "$subscribe"
UNSUBSCRIBE: Final = "$unsubscribe"

MAX_VALUE: Final = 16 * 1024 * 1024 - 64
"""Most encoded bytes of a published value."""

MOST_OF_LINK: Final = 1024
"""Subscriptions that one peer may have at a time, and lines in the books for channels that it had."""

MOST_CHANNELS: Final = 4096
"""Channels of which the numbers are kept although nobody subscribes to them; about one kB each."""

GRACE: Final = 2.0
"""Seconds that a ``block`` subscriber without a connection is waited for; less if the patience is less."""

SLICE: Final = 0.05
"""Seconds that publishers may keep the event loop.

Ten times what the handlers of a channel may: one turn of a loop that serves a thousand subscribers takes
100 ms, and a publisher shall not be slowed to a trickle by those who read.
"""

LOOK_AFTER: Final = 8
"""Values between two looks at the clock of who publishes."""

LOOK_EVERY: Final = 0.25
"""Seconds between two looks of who waits for room at whether the subscriber is there at all."""

LEFT: Final = "subscriber left"
ABSENT: Final = "peer down"


class Wish(msgspec.Struct, frozen=True):
    """What a subscriber asks for."""

    channel: str
    policy: str = Policy.DROP_OLDEST.value
    limit: int = DEFAULT_LIMIT
    latch: bool = True
    reader: Annotated[int, msgspec.Meta(ge=0, le=MOST_READER)] = 0


class NoWish(msgspec.Struct, frozen=True):
    """What a subscriber wants no more."""

    channel: str
    reader: int = 0


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

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be missed of it but its numbers."""
        return not self.topic.cursors and self.topic.latched is None and not self.waiting


class Turn:
    """How long publishers may keep the event loop.

    Attributes:
        count: Values that were published in this turn.
        look_at: The count at which ``is_over()`` is to be asked: the clock is not for every value.

    """

    __slots__ = ("_ends", "count", "look_at")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin a turn: the loop is given to others."""
        self.count = 0
        self.look_at = LOOK_AFTER
        self._ends = 0.0

    def is_over(self) -> bool:
        """Say whether others have their turn now."""
        self.look_at = self.count + LOOK_AFTER
        now = monotonic()
        if not self._ends:
            # Only now is it known that publishers are at it; what others did before is not their time.
            self._ends = now + SLICE
        return self.count >= BATCH or now >= self._ends


class Publishing:
    """What one process publishes.

    Args:
        patience: Seconds that a publisher waits for a ``block`` subscriber without a connection, and no
            longer than ``GRACE``; ``None`` for ever.
        say: Prints a line for people.

    Attributes:
        grace: How long such a one is waited for, then.
        turn: How long publishers may go on.
        forgotten: Channels of which even the numbers were forgotten.
        watcher: Called with the channel and value of all that is published; ``None`` if nobody looks on.
        subscribed: Called with the name of a channel when somebody has subscribed to it.

    """

    def __init__(self, *, patience: float | None = 10.0, say: Callable[[str], None] = lambda _: None) -> None:
        self.grace = None if patience is None else min(patience, GRACE)
        self.turn = Turn()
        self.forgotten = 0
        self.watcher: Callable[[str, object], None] | None = None
        self.subscribed: Callable[[str], object] = lambda _channel: None
        self._say = say
        self._channels: dict[str, Channel] = {}
        self._most_channels = MOST_CHANNELS
        self._links: dict[LinkShell, dict[str, Subscriber]] = {}
        # Those that have ended, and for which something is in flight.
        self._ended: dict[LinkShell, set[Subscriber]] = {}
        self._due: list[Channel] = []
        self._flushing: asyncio.Handle | None = None
        self._stopped = False
        self._thread: int | None = None

    def numbers(self) -> dict[str, int]:
        """Return how many values were published on each channel, as far as it was not forgotten."""
        return {name: channel.topic.next - 1 for name, channel in self._channels.items()}

    def subscribers(self, channel: str) -> int:
        """Return how many subscribers a channel has."""
        found = self._channels.get(channel)
        return 0 if found is None else len(found.topic.cursors)

    def begin(self) -> None:
        """From now on this thread has the event loop, and no other may publish."""
        self._thread = get_ident()

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
            RuntimeError: If this is another thread than that of the event loop.

        """
        found = self._channels.get(channel) or self._channel(channel)
        topic = found.topic
        # Counted even if nobody gets it: who publishes in a loop must give way in any case.
        self.turn.count += 1
        if self._thread not in (None, get_ident()):
            raise RuntimeError(
                "publish() belongs on the event loop, and this is a thread; make the method an async def"
            )
        try:
            body = encode(value)
        except Exception:
            error = pack([value], largest=MAX_VALUE).error
            raise error or PayloadError(f"a {type(value).__name__} cannot be sent") from None
        if len(body) > MAX_VALUE:
            raise FrameTooLargeError(len(body), MAX_VALUE)
        if self.watcher is not None:
            self.watcher(found.name, value)
        if not latch and not topic.cursors:
            topic.skip()
            return Publication(self, found, 0, 0)
        number = topic.publish(body, latch=latch)
        if not found.is_due and topic.hungry:
            found.is_due = True
            self._due.append(found)
            if self._flushing is None:
                self._flushing = asyncio.get_running_loop().call_soon(self._flush)
        if topic.is_parked(number):
            self.check_absent(found)
        return Publication(self, found, number, len(topic.cursors))

    def _channel(self, name: str) -> Channel:
        """Return a channel; it is made when it is first asked for."""
        name = checked_channel(name)
        found = self._channels.get(name)
        if found is None:
            if len(self._channels) >= self._most_channels:
                self._forget_idle()
            found = self._channels[name] = Channel(name)
        return found

    def _forget_idle(self) -> None:
        """Forget the oldest channels that nobody subscribes to: names may be without number."""
        idle = [name for name, channel in list(self._channels.items()) if channel.is_idle]
        del idle[MOST_CHANNELS // 4 :]
        for name in idle:
            del self._channels[name]
        self.forgotten += len(idle)
        # Not for each further one, if there is none to forget.
        self._most_channels = max(MOST_CHANNELS, len(self._channels) * 5 // 4)
        if idle:
            self._say(
                f"** {len(idle)} of {len(self._channels) + len(idle)} published channels have no subscriber "
                f"and were forgotten: if they are published again, their values are numbered from 1"
            )

    def _flush(self) -> None:
        """Give every subscriber that waits for values what there is."""
        self._flushing = None
        self.turn.begin()
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
        """Keep nothing for ``block`` subscribers that have had no connection for too long."""
        if self.grace is None:
            return
        for cursor in channel.topic.blocked():
            if cursor.owner.is_absent(self.grace):
                channel.topic.give_up_for(cursor, ABSENT)
        if channel.topic.admitted:
            channel.wake()

    # -- subscribers -------------------------------------------------------------------------

    def subscribe(
        self, channel: str, policy: Policy, limit: int, line: Published, *, latch: bool
    ) -> tuple[Channel, Cursor]:
        """Return a new subscriber of a channel; its owner is to be set, and to be served at once."""
        found = self._channel(channel)
        # Later, for now the subscriber is not served yet.
        asyncio.get_running_loop().call_soon(self.subscribed, found.name)
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

    def messages(self, link: LinkShell, channel: str) -> AnsweredAtOnce | None:
        """Return what takes the messages of a channel, if it is one of ours."""
        if channel == SUBSCRIBE:
            return AnsweredAtOnce(link, Wish, self._subscribe_link)
        if channel == UNSUBSCRIBE:
            return AnsweredAtOnce(link, NoWish, self._unsubscribe_link)
        return None

    def _subscribe_link(self, link: LinkShell, wish: Wish) -> dict[str, object]:
        policy, limit = settled_policy(wish.policy, wish.limit)
        name = checked_channel(wish.channel)
        mine = self._links.setdefault(link, {})
        travels = published(name, wish.reader)
        before = mine.pop(travels, None)
        if before is not None:
            before.end("subscribed anew")
        if len(mine) >= MOST_OF_LINK:
            raise ValueError(f"no more than {MOST_OF_LINK} subscriptions at a time; end some of them first")
        line = book(link.published, name, Published, MOST_OF_LINK)
        channel, cursor = self.subscribe(name, policy, limit, line, latch=wish.latch)
        mine[travels] = subscriber = Subscriber(self, link, channel, cursor, travels)
        self._say(f"** {link.called} subscribed to {name!r}")
        latched = cursor.waiting > 0
        # The answer is to be on its way before any value; so this is not pumped here.
        subscriber.put()
        return {"next": channel.topic.next, "latched": latched}

    def _unsubscribe_link(self, link: LinkShell, wish: NoWish) -> None:
        travels = published(wish.channel.removeprefix("/"), wish.reader)
        subscriber = self._links.get(link, {}).pop(travels, None)
        if subscriber is not None:
            subscriber.end("unsubscribed")

    def ended(self, link: LinkShell, subscriber: Subscriber, *, wholly: bool = False) -> None:
        """Take note that a subscription has ended, and whether anything of it is in flight."""
        mine = self._ended.setdefault(link, set())
        if not wholly:
            mine.add(subscriber)
            return
        mine.discard(subscriber)
        if not mine:
            del self._ended[link]

    def forget(self, link: LinkShell, subscriber: Subscriber) -> None:
        """Take note that a subscription has ended by its policy."""
        mine = self._links.get(link, {})
        if mine.get(subscriber.name) is subscriber:
            del mine[subscriber.name]

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
        elif (turn := self._publishing.turn).count >= turn.look_at and turn.is_over():
            turn.begin()
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
                    async with asyncio.timeout(LOOK_EVERY):
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


def checked_channel(channel: str) -> str:
    """Return the name of a channel that may be published.

    Raises:
        ValueError: If it may not.
        TypeError: If it is no text.

    """
    check_channel(channel)
    name = channel.removeprefix("/")
    if name.startswith("$"):
        raise ValueError(f"channel {channel!r} cannot be published: names that begin with $ are reserved")
    if len(name) > MAX_CHANNEL:
        raise ValueError(
            f"the name of a published channel has at most {MAX_CHANNEL} characters, not {len(name)}"
        )
    return name
