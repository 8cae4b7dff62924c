"""One link on asyncio: feeds the core, sends what it gives, and re-arms one timer.

Who runs what:

- *The reader* is the task that called ``run()``. It never waits for a write, or two
  peers with full buffers would wait for each other.
- *Who produces, flushes*: a stream after ``send()``, an inbox after ``ack()``. Only one
  of them writes at a time, and goes on until the core has nothing more; the others
  leave their frames to it. What a cancelled one leaves behind, the writer task sends.
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


class LinkShell:
    """Drives one ``Link``.

    Args:
        core: The link; this shell is the only one to call it.
        receiver: Who handles messages.
        changed: Called with the state (``up`` or ``down``) and a reason when the
            peer comes or goes.

    Attributes:
        core: The link.
        refusal: Code and reason of the peer's last refusal; ``None`` since it was attached.

    """

    def __init__(self, core: Link, receiver: Receiver, changed: Callable[[str, str], None]) -> None:
        self.core = core
        self.receiver = receiver
        self.refusal: tuple[str, str] | None = None
        self.transport: Transport | None = None
        self.inboxes: dict[str, Inbox] = {}
        self.waiting: dict[str, set[Owner]] = {}
        self.closed = asyncio.Event()
        self.attached = asyncio.Event()
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        self._backlog: deque[bytes] = deque()
        self._writing = False
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
                self.core.connection_lost(self._time(), reason)
                self.pump()
        return reason

    async def _last_words(self, transport: Transport) -> None:
        try:
            async with asyncio.timeout(1):
                for frame in self.core.data_to_send(self._time()):
                    await transport.send(frame)
                await transport.close("protocol error")
        except (TransportClosedError, TimeoutError):
            return

    # -- the pump -----------------------------------------------------------------------

    def pump(self) -> None:
        """Act on what happened, see that what is to be sent gets sent, re-arm the timer."""
        core = self.core
        event = core.next_event()
        while event is not None:
            self._act(event)
            event = core.next_event()
        if self.transport is not None and not self._writing and not self._backlog:
            frames = core.data_to_send(self._time())
            if frames:
                self._backlog.extend(frames)
                self._wake_writer()
        self._arm()

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
            self.refusal = None
            self.attached.set()
            self._changed(
                "up", "restarted" if event.restarted else "resumed" if event.resumed else "connected"
            )
        elif isinstance(event, Detached):
            self.attached.clear()
            self._changed("down", event.reason)
        elif isinstance(event, ConnectionSilent):
            self._judge(event.silence)
        elif isinstance(event, ConnectionRefused):
            self.refusal = (event.code, event.reason)
            self._hang_up()
        elif isinstance(event, Closed):
            self.closed.set()
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
        if heard is not None and heard < silence / 2:
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
            return
        core, time = self.core, self._time
        frames = core.data_to_send(time())
        if not frames:
            return
        self._writing = True
        sent = 0
        try:
            while frames:
                sent = 0
                for frame in frames:
                    sent += 1
                    await transport.send(frame)
                frames = core.data_to_send(time())
        except TransportClosedError:
            # The reader finds the same, and knows what to do.
            return
        except BaseException:
            self._backlog.extend(frames[sent:])
            self._wake_writer()
            raise
        finally:
            self._writing = False
        self._arm()

    def _wake_writer(self) -> None:
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
                    self._backlog.clear()
                finally:
                    self._writing = False
                await self.flush()
            if self.closed.is_set() and self.transport is not None:
                await self.transport.close("the link was closed")
            self._work = self._loop.create_future()
            await self._work

    # -- time ---------------------------------------------------------------------------------

    def _arm(self) -> None:
        deadline = self.core.next_deadline()
        if deadline >= self._timer_at:
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

    async def leave(self, reason: str) -> None:
        """Say goodbye, finish what is in hand and in flight; cancel it to be done with it."""
        self.core.close(self._time(), reason)
        self.pump()
        await self.closed.wait()

    async def shut(self) -> None:
        """End every task of this link now."""
        self._hang_up()
        if self.transport is not None:
            self.transport = None
            self.core.connection_lost(self._time(), "closed from here")
        self.core.close(self._time(), "closed")
        self.pump()
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
