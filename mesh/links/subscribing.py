"""Subscribing: what one process wants of the others, and what it gets.

- *A subscription waits.* It is wanted of a name; whenever there is a new session with the peer of that
  name, whoever dialled, it is asked for. So the order of starts is of no account, and a publisher that
  comes back is subscribed to again.
- *Nothing is missed in silence.* The numbers of the values tell what was left out; it is in the books
  as ``subscribed``, and is said when the publisher is back.
- *One for each link and channel.* Local readers share it, with its policy and limit; a value is
  answered when the last of them has taken it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from mesh.dialling import dial_link
from mesh.errors import (
    DeliveryError,
    FrameTooLargeError,
    LocalProtocolError,
    NackedError,
    PayloadError,
    PeerDownError,
)
from mesh.links.inbox import Inbox, Messages, Route
from mesh.links.publishing import PUBLISHED, SUBSCRIBE, UNSUBSCRIBE, Wish, checked_channel
from mesh.links.shell import LinkShell
from mesh.protocol.fanout import Policy, Reading, Subscribed
from mesh.protocol.link.events import Failed
from mesh.protocol.link.run import Delivery
from mesh.transport.base import Transport

if TYPE_CHECKING:
    from mesh.links.hub import Hub
    from mesh.node import Node
    from mesh.protocol.link.inbound import Inbound

RETRY: Final = 5.0
"""Seconds until a peer that refused for good is dialled again: by then another program may listen there."""


_DELIVERY: Final = Delivery(patience=None, at_most_once=True)


class _Begun(msgspec.Struct, frozen=True):
    """The answer to ``$subscribe``."""

    next: int
    latched: bool = False


class User(Protocol):
    """For whom something is subscribed to."""

    def messages(self, link: LinkShell, want: Want) -> Messages:
        """Return what takes the messages; it calls ``want.read()`` with each batch."""

    def began(self, want: Want, missed: int, *, again: bool) -> None:
        """Take note that values will come."""

    def ended(self, want: Want, error: Exception) -> None:
        """Take note that no values will come, for good."""


class Want:
    """One channel of one peer that is subscribed to.

    Attributes:
        source: What we call the peer.
        channel: The channel.
        policy: What happens when we are slow.
        limit: Values that may wait.
        latch: Whether the value that is kept is wanted first.
        user: For whom.
        reading: What is known of the numbers.
        is_over: Whether it is wanted no more.

    """

    def __init__(
        self, source: str, channel: str, policy: Policy, limit: int, user: User, *, latch: bool = True
    ) -> None:
        self.source = source
        self.channel = channel
        self.policy = policy
        self.limit = limit
        self.latch = latch
        self.user = user
        self.reading = Reading(Subscribed())
        self.is_over = False
        self._link: LinkShell | None = None
        self._session = ""
        self._begun = False

    def is_asked(self, link: LinkShell) -> bool:
        """Say whether it was asked for over a link, in the session that this one has now."""
        return self._link is link and self._session == link.core.session

    def subscribe(self, link: LinkShell) -> None:
        """Ask for it over a link."""
        self._link = link
        self._session = link.core.session
        line = self.reading.line
        # The link's books are for as long as the link is; ours go on.
        link.subscribed[self.channel] = line
        wish = Wish(self.channel, self.policy.value, self.limit, self.latch)
        _Word(link, SUBSCRIBE, msgspec.to_builtins(wish), self._answered, self._refused, self._failed).send()

    def _answered(self, value: Any) -> None:
        link = self._link
        if self.is_over or link is None:
            return
        try:
            begun = msgspec.convert(value, _Begun)
        except msgspec.ValidationError as exc:
            self._refused("PayloadError", str(exc))
            return
        missed = self.reading.begin(link.core.peer_incarnation, begun.next, latched=begun.latched)
        again, self._begun = self._begun, True
        self.user.began(self, missed, again=again)

    def _refused(self, type: str, message: str) -> None:
        if not self.is_over:
            self.end(NackedError(self.source, type, message))

    def _failed(self) -> None:
        # Perhaps the session goes on; then it is asked once more.
        self._session = ""

    def end(self, error: Exception) -> None:
        """No values will come any more."""
        self.is_over = True
        self.user.ended(self, error)

    def leave(self) -> None:
        """Want it no more."""
        if self.is_over:
            return
        self.is_over = True
        link = self._link
        if link is not None and link.has_session() and not link.is_leaving and not link.loop.is_closed():
            _Word(link, UNSUBSCRIBE, {"channel": self.channel}).send()
            link.pump_soon()

    def read(self, link: LinkShell, work: Inbound, items: list[Any]) -> list[Any]:
        """Return the values that came; those that nobody shall see are answered."""
        try:
            *_, last = items
            if len(last) == 4:
                _, _, error, message = last
                values = self.reading.read(items[:-1]) if len(items) > 1 else []
                # The publisher sends it alone, so there is nothing before it that is not answered.
                link.core.ack(work, [None] * (len(items) - len(values)), link.time())
                self.end(NackedError(self.source, str(error), str(message)))
                return values
            values = self.reading.read(items)
        except (TypeError, ValueError, IndexError):
            link.core.nack(
                work,
                "PayloadError",
                "a published item is a list [number, value]",
                link.time(),
                count=len(items),
            )
            return []
        if len(values) < len(items):
            link.core.ack(work, [None] * (len(items) - len(values)), link.time())
        return values


class _Word:
    """One message to a peer's reserved channel: its ``Owner``."""

    def __init__(
        self,
        link: LinkShell,
        channel: str,
        message: Any,
        answered: Callable[[Any], None] | None = None,
        refused: Callable[[str, str], None] | None = None,
        failed: Callable[[], None] | None = None,
    ) -> None:
        self._link = link
        self._channel = channel
        self._message = message
        self._answered = answered
        self._refused = refused
        self._failed = failed
        self._session = link.core.session

    def send(self) -> None:
        """Send it; if there is no room, when there is."""
        link = self._link
        if link.core.session != self._session:
            return
        with contextlib.suppress(LocalProtocolError, PayloadError, FrameTooLargeError):
            if not link.core.send(
                self._channel, [self._message], link.time(), owner=self, delivery=_DELIVERY
            ):
                link.wait(self._channel, self)

    def acked(self, values: list[Any]) -> None:
        if self._answered is not None:
            self._answered(values[0])

    def refused(self, count: int, type: str, message: str) -> None:
        if self._refused is not None:
            self._refused(type, message)

    def failed(self, failure: Failed) -> None:
        """Take note that nobody knows whether it arrived."""
        if self._failed is not None and self._link.core.session == self._session:
            self._failed()

    def wake(self) -> None:
        self.send()


class Subscribing:
    """What one process wants of the others.

    Args:
        hub: The links of this process.
        notice: Prints a sentence for people.

    """

    def __init__(self, hub: Hub, *, notice: Callable[[str], None]) -> None:
        self._hub = hub
        self._notice = notice
        self._wants: dict[str, dict[str, Want]] = {}
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._wheres: dict[str, str] = {}
        hub.followers.append(self)

    def find(self, source: str, channel: str) -> Want | None:
        """Return what is wanted of that channel of that peer."""
        return self._wants.get(source, {}).get(channel)

    def asked(self, link: LinkShell, channel: str) -> Want | None:
        """Return what is wanted of that channel and was asked for over that link."""
        found = None
        for wants in self._wants.values():
            want = wants.get(channel)
            if want is not None and want.is_asked(link):
                if not want.is_over:
                    return want
                found = want
        return found

    def add(self, want: Want) -> None:
        """Want something from now on; what was wanted of that channel before is not any more."""
        want.channel = checked_channel(want.channel)
        self._wants.setdefault(want.source, {})[want.channel] = want
        self._look(want.source)

    def _look(self, source: str) -> None:
        """Ask for what is wanted of a peer, as far as it is there and was not asked yet."""
        link = self._link(source)
        if link is not None and link.has_session() and not link.is_leaving:
            for want in list(self._wants.get(source, {}).values()):
                self._ask(want, link)
            link.pump_soon()

    def _link(self, source: str) -> LinkShell | None:
        return self._hub.link(source, self._wheres.get(source, ""))

    def _ask(self, want: Want, link: LinkShell) -> None:
        """Ask for something over a link, unless that was done in this session."""
        if want.is_over or want.is_asked(link):
            return
        other = self.asked(link, want.channel)
        if other is not None and not other.is_over:
            why = (
                f"{want.source} and {other.source} are one process, and its channel {want.channel!r} is "
                f"subscribed to by the name {other.source} already"
            )
            want.end(DeliveryError(want.source, why))
            return
        want.subscribe(link)

    def drop(self, want: Want) -> None:
        """Want something no more."""
        mine = self._wants.get(want.source, {})
        if mine.get(want.channel) is want:
            del mine[want.channel]
        want.leave()

    def keep(self, node: Node, dial: Callable[[], Awaitable[Transport]] | None = None) -> None:
        """Keep a link to a node up from now on."""
        if node.name not in self._keeping:
            self._wheres[node.name] = node.link_uri
            self._look(node.name)
            self._keeping[node.name] = asyncio.get_running_loop().create_task(
                self._keep(node, dial or (lambda: dial_link(node))),
                name=f"link to {node.name} for subscriptions",
            )

    async def _keep(self, node: Node, dial: Callable[[], Awaitable[Transport]]) -> None:
        told = ""
        while True:
            try:
                dialler = self._hub.dialler(node.name, node.link_uri, dial)
                await dialler.first_contact(None)
                # It may be there already, by another name; and by another link later on.
                self._look(node.name)
                while not dialler.has_ended and self._link(node.name) is dialler.link:
                    await dialler.until_ended(RETRY)
            except PeerDownError:
                pass  # we are about to stop
            except DeliveryError as exc:
                for want in list(self._wants.get(node.name, {}).values()):
                    want.user.ended(want, exc)
                if str(exc) != told:
                    told = str(exc)
                    self._notice(f"cannot subscribe to {node.name}: {exc}; will try again")
            await asyncio.sleep(RETRY)

    async def close(self) -> None:
        """End the tasks."""
        for task in self._keeping.values():
            task.cancel()
        await asyncio.gather(*self._keeping.values(), return_exceptions=True)

    # -- what a link calls -----------------------------------------------------------------

    def session_began(self, link: LinkShell) -> None:
        """Ask for what is wanted of this peer."""
        for source, wants in self._wants.items():
            # Names are anybody's choice: what counts is which link we use for that one.
            if self._link(source) is link:
                for want in list(wants.values()):
                    self._ask(want, link)

    def found(self, link: LinkShell) -> None:
        """Ask for what is wanted by another name, too."""
        if link.has_session() and not link.is_leaving:
            self.session_began(link)
            link.pump_soon()

    def session_ended(self, link: LinkShell) -> None:
        """Take note that nothing more comes of this session."""

    def peer_leaves(self, link: LinkShell) -> None:
        """Take note that the peer goes away."""

    def leaves(self, link: LinkShell) -> None:
        """Take note that we leave: the peer ends the subscriptions by itself."""

    def messages(self, link: LinkShell, channel: str) -> Messages | None:
        """Return what takes the values of a channel, if it is subscribed to."""
        if not channel.startswith(PUBLISHED):
            return None
        want = self.asked(link, channel.removeprefix(PUBLISHED))
        return None if want is None else want.user.messages(link, want)


class Values(Inbox):
    """Values of one channel, and the task that handles them one by one.

    Args:
        link: The link.
        want: What was subscribed to.
        route: Where the values go.

    """

    def __init__(self, link: LinkShell, want: Want, route: Callable[[], Route]) -> None:
        self._want = want
        self._values_route = route
        super().__init__(link, want.channel, PUBLISHED + want.channel)

    def _open(self) -> Route:
        return self._values_route()

    def put(self, work: Inbound, items: list[Any]) -> None:
        """Take values that came."""
        values = self._want.read(self._shell, work, items)
        if values:
            super().put(work, values)

    def _answer(self) -> None:
        # What a handler returns is not for a publisher, who has no use for it.
        if self._done:
            self._done[:] = [None] * len(self._done)
            super()._answer()


class _Part:
    """Values that came together, and how many readers have not taken them all."""

    __slots__ = ("numbers", "readers", "values", "work")

    def __init__(self, work: Inbound, numbers: list[int], values: list[Any], readers: int) -> None:
        self.work = work
        self.numbers = numbers
        self.values = values
        self.readers = readers


class Readers:
    """All local readers of one channel of one peer: a ``User``."""

    def __init__(self, subscribing: Subscribing) -> None:
        self.all: list[Reader] = []
        self._subscribing = subscribing

    def messages(self, link: LinkShell, want: Want) -> Messages:
        """Return what takes the messages of a link."""
        return _Door(self, link, want)

    def began(self, want: Want, missed: int, *, again: bool) -> None:
        """Take note that values will come."""

    def ended(self, want: Want, error: Exception) -> None:
        """Take note that no more values will come."""
        for reader in self.all:
            reader.fail(error)

    def leave(self, reader: Reader, want: Want) -> None:
        """Forget a reader; the last one ends the subscription."""
        if reader in self.all:
            self.all.remove(reader)
            if not self.all:
                self._subscribing.drop(want)


class _Door:
    """What takes the values of one link for its readers."""

    task = None

    def __init__(self, readers: Readers, link: LinkShell, want: Want) -> None:
        self._readers = readers
        self._link = link
        self._want = want

    @property
    def in_hand(self) -> int:
        """Values in hand: a script may leave them."""
        return 0

    def wake(self) -> None:
        """Nothing waits here."""

    def retire(self) -> None:
        """It stays, for it answers what still comes when nobody reads any more."""

    def shut(self) -> None:
        """Nothing runs here."""

    def put(self, work: Inbound, items: list[Any]) -> None:
        """Hand values to every reader."""
        want = self._want
        if want.is_over:
            # Subscribed to again meanwhile, perhaps by others, perhaps by another name.
            current = self._readers._subscribing.asked(self._link, want.channel)
            if current is not None and isinstance(current.user, Readers):
                want = self._want = current
                self._readers = current.user
        if want.is_over or not self._readers.all:
            self._link.core.ack(work, [None] * len(items), self._link.time())
            return
        values = want.read(self._link, work, items)
        if values:
            readers = self._readers.all
            numbers = [item[0] for item in items[-len(values) :]]
            part = _Part(work, numbers, values, len(readers))
            for reader in readers:
                reader.take(self._link, part)


class Reader:
    """One local reader: gives values in order.

    Attributes:
        seq: Number of the value that was given last.

    """

    def __init__(self) -> None:
        self._parts: deque[tuple[LinkShell, _Part]] = deque()
        self._at = 0
        self._news: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.seq = 0

    def take(self, link: LinkShell, part: _Part) -> None:
        """Take values that came."""
        self._parts.append((link, part))
        self._wake()

    def fail(self, error: Exception) -> None:
        """End with an error, after what came before."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def next(self) -> Any:
        """Return the next value.

        Raises:
            MeshError: If no more will come.

        """
        while True:
            if self._parts:
                link, part = self._parts[0]
                if self._at < len(part.values):
                    value = part.values[self._at]
                    self.seq = part.numbers[self._at]
                    self._at += 1
                    return value
                self._done(link, part)
                continue
            if self._error is not None:
                raise self._error
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None

    def _done(self, link: LinkShell, part: _Part) -> None:
        self._parts.popleft()
        self._at = 0
        part.readers -= 1
        if not part.readers:
            link.core.ack(part.work, [None] * len(part.values), link.time())
            if not link.loop.is_closed():
                link.pump_soon()

    def close(self) -> None:
        """Take no more, and let what came be answered."""
        while self._parts:
            link, part = self._parts[0]
            self._done(link, part)
