"""Subscribing: what one process wants of the others, and what it gets.

- *A subscription waits.* It is wanted of a name; whenever there is a new session with the peer of that
  name, whoever dialled, it is asked for. So the order of starts is of no account, and a publisher that
  comes back is subscribed to again.
- *Nothing is missed in silence.* The numbers of the values tell what was left out; it is in the books
  as ``subscribed``, and is said when the publisher is back.
- *Each by itself.* Who subscribes to the same channel twice, or by two names of one process, has two
  subscriptions, told apart by a number: nobody waits for another reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from mesh.dialling import NotALinkError, dial_link
from mesh.errors import (
    DeliveryError,
    FrameTooLargeError,
    LocalProtocolError,
    NackedError,
    PayloadError,
    PeerDownError,
)
from mesh.links.inbox import Inbox, Messages, Route
from mesh.links.publishing import MOST_OF_LINK, SUBSCRIBE, UNSUBSCRIBE, Wish, checked_channel
from mesh.links.shell import LinkShell
from mesh.links.subscriber import published
from mesh.protocol.fanout import Policy, Reading, Subscribed, book
from mesh.protocol.link.events import Failed
from mesh.protocol.link.run import IN_SESSION
from mesh.transport.base import Transport

if TYPE_CHECKING:
    from mesh.links.hub import Hub
    from mesh.node import Node
    from mesh.protocol.link.inbound import Inbound

RETRY: Final = 5.0
"""Seconds until a peer that refused for good is dialled again: by then another program may listen there."""

AGAIN: Final = 0.05
"""Seconds until a peer is dialled anew whose link was found by another name and leads elsewhere now."""


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
        number: Tells it from others of this process; set when it is added.
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
        self.number = 0
        self.reading = Reading(Subscribed())
        self.is_over = False
        self._link: LinkShell | None = None
        self._session = ""
        self._begun = False

    @property
    def travels(self) -> str:
        """Name of the channel on which its values travel."""
        return published(self.channel, self.number)

    def is_asked(self, link: LinkShell) -> bool:
        """Say whether it was asked for over a link, in the session that this one has now."""
        return self._link is link and self._session == link.core.session

    def subscribe(self, link: LinkShell) -> None:
        """Ask for it over a link."""
        self._link = link
        self._session = link.core.session
        self.reading.line = book(link.subscribed, self.channel, Subscribed, MOST_OF_LINK)
        wish = Wish(self.channel, self.policy.value, self.limit, self.latch, self.number)
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
            _Word(link, UNSUBSCRIBE, {"channel": self.channel, "reader": self.number}).send()
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
                self._channel, [self._message], link.time(), owner=self, delivery=IN_SESSION
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
        warn: Logs a warning.

    """

    def __init__(self, hub: Hub, *, warn: Callable[[str], object]) -> None:
        self._hub = hub
        self._warn = warn
        self._wants: dict[str, list[Want]] = {}
        self._numbers = itertools.count(1)
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._wheres: dict[str, str] = {}
        self._session_over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        hub.followers.append(self)

    def add(self, want: Want) -> None:
        """Want something from now on.

        Raises:
            ValueError: If the channel can have no such name.

        """
        want.channel = checked_channel(want.channel)
        want.number = next(self._numbers)
        self._wants.setdefault(want.source, []).append(want)
        self._look(want.source)

    def _look(self, source: str) -> None:
        """Ask for what is wanted of a peer, as far as it is there and was not asked yet."""
        link = self._link(source)
        if link is not None and link.has_session() and not link.is_leaving:
            self._ask(source, link)
            link.pump_soon()

    def _link(self, source: str) -> LinkShell | None:
        return self._hub.link(source, self._wheres.get(source, ""))

    def _ask(self, source: str, link: LinkShell) -> None:
        """Ask for what is wanted of a peer over a link, unless that was done in this session."""
        for want in list(self._wants.get(source, ())):
            if not want.is_over and not want.is_asked(link):
                want.subscribe(link)

    def drop(self, want: Want) -> None:
        """Want something no more."""
        mine = self._wants.get(want.source, [])
        if want in mine:
            mine.remove(want)
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
                    await dialler.until_ended(self._session_over, RETRY)
                if not dialler.has_ended:
                    # It led to a process that is there no more; who is there now may be known already.
                    await asyncio.sleep(AGAIN)
                    continue
            except PeerDownError:
                pass  # we are about to stop
            except DeliveryError as exc:
                wants = list(self._wants.get(node.name, ()))
                for want in wants:
                    want.user.ended(want, exc)
                if str(exc) != told:
                    told = str(exc)
                    what = "subscribe" if wants else "publish"
                    instead = ""
                    if isinstance(exc, NotALinkError):
                        instead = "; send to a plain websocket server with stream() or request() instead"
                    self._warn(f"cannot {what} to {node.name}: {exc}{instead}; will try again")
            await asyncio.sleep(RETRY)

    async def close(self) -> None:
        """End the tasks."""
        for task in self._keeping.values():
            task.cancel()
        await asyncio.gather(*self._keeping.values(), return_exceptions=True)

    # -- what a link calls -----------------------------------------------------------------

    def session_began(self, link: LinkShell) -> None:
        """Ask for what is wanted of this peer."""
        for source in self._wants:
            # Names are anybody's choice: what counts is which link we use for that one.
            if self._link(source) is link:
                self._ask(source, link)

    def found(self, link: LinkShell) -> None:
        """Ask for what is wanted by another name, too."""
        if link.has_session() and not link.is_leaving:
            self.session_began(link)
            link.pump_soon()

    def session_ended(self, link: LinkShell) -> None:
        """Let those look again who found the peer by another name: they may have to dial it anew."""
        self._session_over.set_result(None)
        self._session_over = asyncio.get_running_loop().create_future()

    def peer_leaves(self, link: LinkShell) -> None:
        """Take note that the peer goes away."""

    def leaves(self, link: LinkShell) -> None:
        """Take note that we leave: the peer ends the subscriptions by itself."""

    def messages(self, link: LinkShell, channel: str) -> Messages | None:
        """Return what takes the values of a channel, if it is subscribed to."""
        if not channel.startswith("$pub."):
            return None
        for wants in self._wants.values():
            for want in wants:
                if want.is_asked(link) and want.travels == channel:
                    return want.user.messages(link, want)
        return None


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
        super().__init__(link, want.channel, want.travels)

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
