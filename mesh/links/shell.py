"""One link on asyncio: feeds the core, writes what it gives, and re-arms one timer.

Who runs what:

- *Nobody waits for a write.* The transport calls when messages came and when its buffer has
  room again; whoever then has something for the core (the wire, a stream, a channel) calls
  ``pump()``, which acts on what happened and writes while the buffer has room. What is left
  stays in the core, where windows bound it. So there is no task between a message and the
  wire, and two peers with full buffers cannot wait for each other.
- *Messages belong to a connection.* What an old one still delivers is not looked at.
- *Closing* comes once the core is finished and its last frames are written.
- *One timer* for heartbeats, silence, patience and ack timeouts. It is not moved
  while the deadline only gets later, which is nearly always.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from mesh.errors import RemoteProtocolError
from mesh.links.asks import Asks
from mesh.links.inbox import Inbox, Messages, Receiver, Route
from mesh.protocol.books import Lines
from mesh.protocol.fanout import Published, Subscribed
from mesh.protocol.link.events import (
    Acked,
    AnswerUnsendable,
    Attached,
    ChannelQuiet,
    Closed,
    ConnectionRefused,
    ConnectionSilent,
    Detached,
    Failed,
    HandlingResumed,
    PeerLeaving,
    Received,
    Refused,
    RoomOpened,
    SessionEnded,
    WorkAbandoned,
)
from mesh.protocol.link.link import Link
from mesh.protocol.link.meeting import State
from mesh.transport.base import Transport


class Owner(Protocol):
    """Who sent messages, and is told what became of them."""

    def acked(self, values: list[object]) -> None:
        """Take the answers to the next messages."""

    def refused(self, count: int, type: str, message: str) -> None:
        """Take note that the next messages were refused."""

    def failed(self, failure: Failed) -> None:
        """Take note that the next messages failed."""

    def wake(self) -> None:
        """Take note that there is room again."""


class Follower(Protocol):
    """Who takes part in every link of a process, below its handlers."""

    def session_began(self, link: LinkShell) -> None:
        """Take note of a new session."""

    def session_ended(self, link: LinkShell) -> None:
        """Take note that the session is over."""

    def peer_leaves(self, link: LinkShell) -> None:
        """Take note that the peer goes away on purpose."""

    def leaves(self, link: LinkShell) -> None:
        """Take note that nothing more can be sent in a moment: the link is being left."""

    def found(self, link: LinkShell) -> None:
        """Take note that one more name leads to this link, which may have a session already."""

    def messages(self, link: LinkShell, channel: str) -> Messages | None:
        """Return what takes the messages of a channel that begins with ``$``, if that is ours."""


def _nothing() -> None:
    pass


class LinkShell:
    """Drives one ``Link``.

    Args:
        core: The link; this shell is the only one to call it.
        receiver: Who handles messages.
        changed: Called with the state (``up`` or ``down``) and a reason when the
            peer comes or goes.

    Attributes:
        core: The link.
        loop: The event loop.
        time: Its clock.
        refusal: Code and reason if the peer refused the last connection.
        inboxes: By channel, what handles messages; of those with a task only those with something to do,
            or that just had.
        routes: By channel, where its messages go, of as many as ``MOST_ROUTES``.
        asks: The asks of this link, in both directions.
        called: What this process calls the peer.
        followers: Who else takes part.
        published: By channel, the line of what is published for the peer.
        subscribed: By channel, the line of what the peer publishes for us.
        waiting: By channel, who waits for room, in the order of their coming.
        is_leaving: Whether it takes no new messages any more.
        closed: Done when the link was left and its connection is closed.
        detached: Done when there is no connection in use; another one for each connection.
        detached_at: When the last connection was lost, or the link was made.
        when_attached: Called whenever the peer comes.
        when_over: Called when the session ends without a connection, so that nothing is
            left that the link would be needed for.

    """

    def __init__(self, core: Link, receiver: Receiver, changed: Callable[[str, str], None]) -> None:
        self.core = core
        self.loop = asyncio.get_running_loop()
        self.time = self.loop.time
        self.receiver = receiver
        self.refusal: tuple[str, str] | None = None
        self.transport: Transport | None = None
        self.inboxes: dict[str, Messages] = {}
        self.routes: dict[str, Route] = {}
        self.waiting: dict[str, dict[Owner, None]] = {}
        self.closed: asyncio.Future[None] = self.loop.create_future()
        self.detached: asyncio.Future[None] = self.loop.create_future()
        self.detached.set_result(None)
        self.when_attached: Callable[[], None] = _nothing
        self.when_over: Callable[[], None] = _nothing
        self.detached_at = self.time()
        self._changed = changed
        self._pumping = False
        self._due: asyncio.Handle | None = None
        self._finished = False
        self.is_leaving = False
        self._goodbye: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self.asks = Asks(self)
        self.called = core.peer or ""
        self.followers: Sequence[Follower] = ()
        self.published: dict[str, Published] = {}
        self.subscribed: dict[str, Subscribed] = {}

    # -- connections ------------------------------------------------------------------

    async def run(self, transport: Transport) -> str:
        """Use a connection until it ends; the core has dialled or accepted on it.

        Returns:
            Why it ended, for people.

        """
        old, self.transport = self.transport, transport
        if self.detached.done():
            self.detached = self.loop.create_future()
        self.refusal = None
        if old is not None:
            old.abort()
        use = _Use(self, transport, self.loop.create_future())
        reason = "connection lost"
        try:
            self.pump()
            transport.start(use)
            reason = await use.ended
            if use.is_in_error:
                await transport.close("protocol error")
        finally:
            transport.abort()
            if self.transport is transport:
                self._detach()
                self.core.connection_lost(self.time(), reason)
                self.pump()
                if not self.core.session:
                    self._retire_inboxes()
        return reason

    # -- the pump -----------------------------------------------------------------------

    def pump(self) -> None:
        """Act on what happened, write what is to be written, re-arm the timer.

        Harmless when called from within: the outer one goes on until nothing is left.
        """
        if self._pumping:
            return
        self._pumping = True
        core = self.core
        happened = core.happened
        try:
            while True:
                while happened:
                    event = happened.popleft()
                    # The two that come with every message; all others are rare.
                    if type(event) is Acked:
                        event.owner.acked(event.values)
                    elif type(event) is Received:
                        self._deliver(event)
                    else:
                        self._act(event)
                transport = self.transport
                if transport is None or not transport.writable:
                    break
                frames = core.data_to_send(self.time())
                if not frames:
                    break
                for frame in frames:
                    transport.write(frame)
        finally:
            self._pumping = False
        if self._finished:
            self._say_goodbye()
        if core.deadlines.moved:
            self._arm()

    def pump_soon(self) -> None:
        """Pump when whoever runs now gives way: until then there may be more for the same frame."""
        if self._due is None:
            self._due = self.loop.call_soon(self._pump_now)

    def _pump_now(self) -> None:
        self._due = None
        self.pump()

    def _act(self, event: object) -> None:
        if isinstance(event, RoomOpened):
            self._let_in(event.channel)
        elif isinstance(event, Refused):
            event.owner.refused(event.count, event.type, event.message)
        elif isinstance(event, Failed):
            event.owner.failed(event)
        elif isinstance(event, HandlingResumed | WorkAbandoned):
            inbox = self.inboxes.get(event.work.channel)
            if inbox is not None:
                inbox.wake()
        elif isinstance(event, AnswerUnsendable):
            self.receiver.unsendable(
                self.core.peer or "", event.work.channel, "the acknowledgement", event.error
            )
        elif isinstance(event, Attached):
            self.asks.attached()
            self.when_attached()
            self._changed(
                "up", "restarted" if event.restarted else "resumed" if event.resumed else "connected"
            )
            if not event.resumed:
                for follower in self.followers:
                    follower.session_began(self)
        elif isinstance(event, Detached):
            self.asks.detached()
            self._changed("down", event.reason)
        elif isinstance(event, ConnectionSilent):
            self._judge(event.silence)
        elif isinstance(event, ConnectionRefused):
            self.refusal = (event.code, event.reason)
            self._hang_up()
        elif isinstance(event, PeerLeaving):
            self.asks.peer_leaves()
            for follower in self.followers:
                follower.peer_leaves(self)
        elif isinstance(event, SessionEnded):
            self.asks.session_ended()
            self._session_ended()
            if self.transport is None:
                self._retire_inboxes()
                self.when_over()
        elif isinstance(event, ChannelQuiet):
            inbox = self.inboxes.get(event.channel)
            if inbox is not None:
                inbox.retire()
        elif isinstance(event, Closed):
            self._finished = self.is_leaving = True
            self._session_ended()
            self._wake_waiting()

    def _session_ended(self) -> None:
        for follower in self.followers:
            follower.session_ended(self)

    def _deliver(self, event: Received) -> None:
        channel = event.work.channel
        inbox = self.inboxes.get(channel)
        if inbox is None:
            if channel.startswith("$") and self.asks.take(channel, event.work, event.items):
                return
            inbox = self.inboxes[channel] = self._followed(channel) or Inbox(self, channel)
        inbox.put(event.work, event.items)

    def _followed(self, channel: str) -> Messages | None:
        if channel.startswith("$"):
            for follower in self.followers:
                found = follower.messages(self, channel)
                if found is not None:
                    return found
        return None

    def _retire_inboxes(self) -> None:
        """The session is over, and its peer may never come back: keep no task for its channels."""
        for inbox in self.inboxes.values():
            inbox.retire()

    def _judge(self, silence: float) -> None:
        # No frame came; but a large one may be on its way in pieces.
        transport = self.transport
        if transport is None:
            return
        heard = transport.silence()
        if heard is not None and heard < silence * 0.9:
            self.core.heard(self.time() - heard)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def _say_goodbye(self) -> None:
        if self._goodbye is None and not self.closed.done():
            self._goodbye = self.loop.create_task(self._close(), name=f"goodbye to {self.core.peer}")

    async def _close(self) -> None:
        if self.transport is not None:
            await self.transport.close("the link was closed")
        self._set_closed()

    def _set_closed(self) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def _detach(self) -> None:
        self.transport = None
        self.detached_at = self.time()
        self.detached.set_result(None)

    def books(self) -> Lines:
        """Return every line of the ledger, with those of what is published if there are any."""
        books: Lines = self.core.books()
        if self.published:
            books["published"] = {name: line.snapshot() for name, line in self.published.items()}
        if self.subscribed:
            books["subscribed"] = {name: line.snapshot() for name, line in self.subscribed.items()}
        return books

    # -- room ---------------------------------------------------------------------------------

    def wait(self, channel: str, owner: Owner) -> None:
        """Wake an owner when there is room on a channel, or never will be."""
        self.waiting.setdefault(channel, {})[owner] = None

    def _let_in(self, channel: str) -> None:
        """Wake those that wait for room, until one of them finds none and waits again."""
        owners = self.waiting.pop(channel, {})
        while owners and channel not in self.waiting:
            owner = next(iter(owners))
            del owners[owner]
            owner.wake()
        if owners:
            self.waiting[channel].update(owners)

    def wait_no_more(self, channel: str, owner: Owner) -> None:
        """Forget that an owner waits for room."""
        owners = self.waiting.get(channel)
        if owners is not None:
            owners.pop(owner, None)
            if not owners:
                del self.waiting[channel]

    # -- time ---------------------------------------------------------------------------------

    def _arm(self) -> None:
        deadline = self.core.next_deadline()
        if deadline >= self._timer_at or self.core.state is State.CLOSED:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self.loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        self.core.handle_timer(self.time())
        self.pump()

    # -- the end ------------------------------------------------------------------------------

    @property
    def is_attached(self) -> bool:
        """Whether messages flow."""
        return self.core.state is State.ATTACHED

    def has_session(self) -> bool:
        """Say whether it was attached, and may be again."""
        return bool(self.core.session)

    def may_dial(self) -> bool:
        """Say whether a connection may be dialled, now."""
        return self.core.state is State.DETACHED

    @property
    def is_closed(self) -> bool:
        """Whether it was left for good."""
        return self.core.state is State.CLOSED

    @property
    def is_over(self) -> bool:
        """Whether nothing is left of it: no connection, no session, nothing to send."""
        return self.transport is None and not self.core.session and self.core.idle

    @property
    def is_spare(self) -> bool:
        """Whether it has no connection and nothing waits for one, so that nobody would miss it now."""
        return self.transport is None and not self.waiting and self.core.idle

    def _wake_waiting(self) -> None:
        """Who waits for room will not get any more."""
        for owners in list(self.waiting.values()):
            for owner in list(owners):
                owner.wake()

    async def leave(self, reason: str) -> None:
        """Say goodbye, finish what is in hand and in flight; cancel it to be done with it."""
        self.is_leaving = True
        self.asks.close()
        for follower in self.followers:
            follower.leaves(self)
        self.core.close(self.time(), reason)
        self._wake_waiting()
        self.pump()
        await asyncio.wait([self.closed])

    async def shut(self) -> None:
        """End every task of this link now."""
        self.is_leaving = True
        tasks = self.asks.close()
        self._hang_up()
        if self.transport is not None:
            self._detach()
            self.core.connection_lost(self.time(), "closed from here")
        self.core.close(self.time(), "closed")
        self._set_closed()
        self.pump()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = -1.0
        if self._due is not None:
            self._due.cancel()
        for task in tasks:
            task.cancel()
        for inbox in self.inboxes.values():
            if inbox.task is not None:
                tasks.append(inbox.task)
            inbox.shut()
        if self._goodbye is not None:
            tasks.append(self._goodbye)
            self._goodbye.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Use:
    """What one connection calls: passes on what is still of interest.

    Attributes:
        ended: Why the connection is over, once it is.
        is_in_error: Whether the peer broke the protocol.

    """

    __slots__ = ("_shell", "_transport", "ended", "is_in_error")

    def __init__(self, shell: LinkShell, transport: Transport, ended: asyncio.Future[str]) -> None:
        self._shell = shell
        self._transport = transport
        self.ended = ended
        self.is_in_error = False

    def messages_came(self, messages: list[bytes]) -> None:
        shell = self._shell
        if shell.transport is not self._transport or self.is_in_error:
            return
        now = shell.time()
        receive = shell.core.receive
        try:
            for message in messages:
                receive(message, now)
        except RemoteProtocolError as exc:
            self.is_in_error = True
            self._over(f"protocol error: {exc}")
        shell.pump()

    def writing_resumed(self) -> None:
        if self._shell.transport is self._transport:
            self._shell.pump()

    def connection_ended(self, reason: str) -> None:
        self._over(reason)

    def _over(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)
