"""One link on asyncio: feeds the core, sends what it gives, and re-arms one timer.

Who runs what:

- *The reader* is the task that called ``run()``. It never waits for a write, or two
  peers with full buffers would wait for each other.
- *Who produces, flushes*: a stream after ``send()``, an inbox after ``ack()``. Only one
  of them writes at a time, one burst; the others leave their frames to it. What comes
  up meanwhile, and what a cancelled one leaves behind, the writer task sends, so that
  nobody is kept from its own work by the traffic of others.
- *Frames belong to a connection.* Whoever waited in ``send()`` looks before it goes on
  whether the link has another connection by now; the core has taken back what was lost.
- *Closing* is the writer's: once the core is finished and its last frames are out.
- *One timer* for heartbeats, silence, patience and ack timeouts. It is not moved
  while the deadline only gets later, which is nearly always.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from mesh.errors import RemoteProtocolError
from mesh.links.inbox import Inbox, Receiver
from mesh.protocol.link.events import (
    Acked,
    AnswerUnsendable,
    Attached,
    Closed,
    ConnectionRefused,
    ConnectionSilent,
    Detached,
    Failed,
    HandlingResumed,
    Received,
    Refused,
    RoomOpened,
    SessionEnded,
    WorkAbandoned,
)
from mesh.protocol.link.link import Link
from mesh.protocol.link.meeting import State
from mesh.transport.base import Transport, TransportClosedError


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
        refusal: Code and reason if the peer refused the last connection.
        inboxes: By channel, what handles messages.
        waiting: By channel, who waits for room.
        closed: Set when the link was left and its connection is closed.
        detached: Set while there is no connection in use.
        when_attached: Called whenever the peer comes.
        when_over: Called when the session ends without a connection, so that nothing is
            left that the link would be needed for.

    """

    def __init__(self, core: Link, receiver: Receiver, changed: Callable[[str, str], None]) -> None:
        self.core = core
        self.receiver = receiver
        self.refusal: tuple[str, str] | None = None
        self.transport: Transport | None = None
        self.inboxes: dict[str, Inbox] = {}
        self.waiting: dict[str, set[Owner]] = {}
        self.closed = asyncio.Event()
        self.detached = asyncio.Event()
        self.detached.set()
        self.when_attached: Callable[[], None] = _nothing
        self.when_over: Callable[[], None] = _nothing
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._backlog: deque[bytes] = deque()
        self._writing = False
        self._finished = False
        self._leaving = False
        self._shut = False
        self._writer: asyncio.Task[None] | None = None
        self._work: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    # -- connections ------------------------------------------------------------------

    async def run(self, transport: Transport) -> str:
        """Use a connection until it ends; the core has dialled or accepted on it.

        Returns:
            Why it ended, for people.

        """
        old, self.transport = self.transport, transport
        self.detached.clear()
        self.refusal = None
        if old is not None:
            old.abort()
        self._backlog.clear()
        reason = "connection lost"
        try:
            self.pump()
            while True:
                frame = await transport.recv()
                if self.transport is not transport:
                    break
                self.core.receive(frame, self._time())
                self.pump()
        except TransportClosedError as exc:
            reason = exc.reason
        except RemoteProtocolError as exc:
            reason = f"protocol error: {exc}"
            await self._last_words(transport)
        finally:
            transport.abort()
            if self.transport is transport:
                self.transport = None
                self._backlog.clear()
                self.detached.set()
                self.core.connection_lost(self._time(), reason)
                self.pump()
        return reason

    async def _last_words(self, transport: Transport) -> None:
        try:
            async with asyncio.timeout(1):
                frames = self.core.data_to_send(self._time())
                self.pump()  # whose messages failed need not wait for our goodbye
                for frame in frames:
                    await transport.send(frame)
                await transport.close("protocol error")
        except (TransportClosedError, TimeoutError):
            return

    # -- the pump -----------------------------------------------------------------------

    def pump(self) -> None:
        """Act on what happened, see that what is to be sent gets sent, re-arm the timer."""
        self._act_on_events()
        if self.transport is not None and not self._writing and not self._backlog:
            frames = self.core.data_to_send(self._time())
            if frames:
                self._backlog.extend(frames)
                self._wake_writer()
                self._act_on_events()  # to have sent the last frame is an event too
        self._arm()

    def _act_on_events(self) -> None:
        core = self.core
        event = core.next_event()
        while event is not None:
            self._act(event)
            event = core.next_event()

    def _act(self, event: object) -> None:
        kind = type(event)
        if kind is Acked:
            event.owner.acked(event.values)  # type: ignore[attr-defined]
        elif kind is Received:
            self._deliver(event)  # type: ignore[arg-type]
        elif isinstance(event, RoomOpened):
            for owner in self.waiting.pop(event.channel, ()):
                owner.wake()
        elif isinstance(event, Refused):
            event.owner.refused(event.count, event.type, event.message)
        elif isinstance(event, Failed):
            event.owner.failed(event)
        elif isinstance(event, HandlingResumed | WorkAbandoned):
            inbox = self.inboxes.get(event.work.channel)
            if inbox is not None:
                inbox.wake()
        elif isinstance(event, AnswerUnsendable):
            self.receiver.unsendable(self.core.peer or "", event.work.channel, event.error)
        elif isinstance(event, Attached):
            self.when_attached()
            self._changed(
                "up", "restarted" if event.restarted else "resumed" if event.resumed else "connected"
            )
        elif isinstance(event, Detached):
            self._changed("down", event.reason)
        elif isinstance(event, ConnectionSilent):
            self._judge(event.silence)
        elif isinstance(event, ConnectionRefused):
            self.refusal = (event.code, event.reason)
            self._hang_up()
        elif isinstance(event, SessionEnded):
            if self.transport is None:
                self.when_over()
        elif isinstance(event, Closed):
            self._finished = True
            self._wake_waiting()
            self._wake_writer()

    def _deliver(self, event: Received) -> None:
        channel = event.work.channel
        inbox = self.inboxes.get(channel)
        if inbox is None:
            inbox = self.inboxes[channel] = Inbox(self, channel)
        inbox.put(event.work, event.items)

    def _judge(self, silence: float) -> None:
        # No frame came; but a large one may be on its way in pieces.
        transport = self.transport
        if transport is None:
            return
        heard = transport.silence()
        if heard is not None and heard < silence * 0.9:
            self.core.heard(self._time() - heard)
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    # -- writing --------------------------------------------------------------------------

    async def flush(self) -> None:
        """Send what there is to send, unless somebody is at it.

        May be cancelled: the writer task sends the rest.
        """
        transport = self.transport
        if transport is None or self._writing or self._backlog:
            self._arm()
            return
        frames = self.core.data_to_send(self._time())
        if not frames:
            self._arm()
            return
        self._writing = True
        sent = 0
        try:
            for frame in frames:
                sent += 1
                await transport.send(frame)
        except TransportClosedError:
            # The reader finds the same, and knows what to do.
            return
        except BaseException:
            if self.transport is transport:
                self._backlog.extend(frames[sent:])
                self._wake_writer()
            raise
        finally:
            self._writing = False
            # What came up meanwhile, perhaps on another connection, is the writer's.
            self.pump()
            if self._finished:
                self._wake_writer()

    def _wake_writer(self) -> None:
        if self._shut:
            return
        if self._writer is None:
            self._writer = self._loop.create_task(self._write(), name=f"link writer {self.core.peer}")
        elif self._work is not None and not self._work.done():
            self._work.set_result(None)

    async def _write(self) -> None:
        while True:
            while self._backlog and self.transport is not None and not self._writing:
                transport = self.transport
                self._writing = True
                try:
                    while self._backlog and self.transport is transport:
                        await transport.send(self._backlog.popleft())
                except TransportClosedError:
                    # A new connection could not put anything here: we were writing.
                    self._backlog.clear()
                finally:
                    self._writing = False
                self.pump()
            if self._finished and not self._writing:
                if self.transport is not None:
                    await self.transport.close("the link was closed")
                self.closed.set()
            self._work = self._loop.create_future()
            await self._work

    # -- time ---------------------------------------------------------------------------------

    def _arm(self) -> None:
        deadline = self.core.next_deadline()
        if deadline >= self._timer_at or self.core.state is State.CLOSED:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = float("inf")
        self.core.handle_timer(self._time())
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
    def is_leaving(self) -> bool:
        """Whether it takes no new messages any more."""
        return self._leaving or self._shut or self.core.state is State.CLOSED

    @property
    def is_over(self) -> bool:
        """Whether nothing is left of it: no connection, no session, nothing to send."""
        return self.transport is None and not self.core.session and self.core.idle

    def _wake_waiting(self) -> None:
        """Who waits for room will not get any more."""
        for owners in list(self.waiting.values()):
            for owner in list(owners):
                owner.wake()

    async def leave(self, reason: str) -> None:
        """Say goodbye, finish what is in hand and in flight; cancel it to be done with it."""
        self._leaving = True
        self.core.close(self._time(), reason)
        self._wake_waiting()
        self.pump()
        await self.closed.wait()

    async def shut(self) -> None:
        """End every task of this link now."""
        self._shut = True
        self._hang_up()
        if self.transport is not None:
            self.transport = None
            self._backlog.clear()
            self.detached.set()
            self.core.connection_lost(self._time(), "closed from here")
        self.core.close(self._time(), "closed")
        self.pump()
        self.closed.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._timer_at = -1.0
        tasks = [inbox.task for inbox in self.inboxes.values()]
        if self._writer is not None:
            tasks.append(self._writer)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
