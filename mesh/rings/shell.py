"""One member of one ring, with sockets and a clock: feeds the core and does what it says.

Signs of life come from timers and callbacks of the event loop and never wait for a handler.
Only a handler that blocks the loop itself can hold them up; the watchdog names it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from msgspec import Struct

from mesh.errors import (
    LocalProtocolError,
    MeshError,
    NoReceiptError,
    PayloadError,
    RemoteProtocolError,
    RingLeftError,
)
from mesh.links.inbox import Route
from mesh.protocol.ring import (
    Changed,
    Dial,
    Event,
    Failed,
    HangUp,
    Left,
    Lost,
    Reason,
    Receipted,
    Ring,
    Rolled,
    RoomOpened,
    Taken,
    Told,
)
from mesh.protocol.ring.records import encode
from mesh.rings.inbox import Inbox
from mesh.rings.queue import Owner, Queue
from mesh.text import printable
from mesh.transport.base import Transport

LATE = 0.02
"""Seconds after which this process has to blame itself for what it has not heard."""

Open = Callable[[str, float], Awaitable[Transport]]
"""Opens a connection to a member, by name, in so many seconds; raises ``MeshError`` or ``AbsentError``."""


class Receipt(Struct, frozen=True):
    """A message was once round the ring.

    Attributes:
        seen: Names of the members that took it on that trip, in the order of the ring. Empty for
            a member that is alone.
        seconds: How long the trip took, from ``circulate()`` on.

    """

    seen: tuple[str, ...]
    seconds: float


class RingShell:
    """Runs the core of one member.

    Args:
        core: The core.
        dial: Opens connections.
        route: Returns where what comes round goes.
        notice: Called with a sentence for people when the ring changes.

    """

    def __init__(
        self, core: Ring, dial: Open, route: Callable[[], Route], notice: Callable[[str], None]
    ) -> None:
        self.core = core
        self._dial = dial
        self._route = route
        self._notice = notice
        self._loop = asyncio.get_running_loop()
        self._transports: dict[int, Transport] = {}
        self._ended: dict[int, asyncio.Future[str]] = {}
        self._arrivals: dict[int, int | None] = {}
        self._dials: dict[int, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._inboxes: dict[str, Inbox] = {}
        self._rolls: dict[int, asyncio.Future[tuple[str, ...]]] = {}
        self._queue = Queue(core)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = inf
        self._poll: asyncio.TimerHandle | None = None
        self._poll_at = inf
        self._pumping = False
        self.left = asyncio.Event()

    def start(self) -> None:
        """Look for the others."""
        self.core.start(self._loop.time())
        self._look_for_arrivals()
        self.pump()

    # -- messages ----------------------------------------------------------------------------

    async def circulate(self, msg: object, patience: float | None) -> Receipt:
        """Send a message round and return its receipt.

        Raises:
            PayloadError: If it cannot be sent.
            FrameTooLargeError: If it is too large.
            NoReceiptError: If it was not round in time.
            RingError: If too many wait for room already.
            RingLeftError: If this member leaves.

        """
        try:
            item = encode(msg)
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            raise PayloadError(f"a {type(msg).__name__} cannot be sent round a ring: {exc}") from exc
        begun = self._loop.time()
        owner: Owner = self._loop.create_future()
        try:
            self._queue.send(owner, item, patience)
        except LocalProtocolError as exc:
            raise RingLeftError(self.core.group) from exc
        self._pump_soon()
        try:
            return Receipt(await owner, self._loop.time() - begun)
        finally:
            if not owner.done() or owner.cancelled():
                if not self._queue.forget(owner):
                    self.core.cancel(owner, self._loop.time())
                self._pump_soon()  # there may be room for others now

    @property
    def waiting(self) -> int:
        """How many messages wait for room to be sent."""
        return len(self._queue)

    def _go_on_sending(self) -> None:
        self._queue.go_on()
        self._pump_soon()

    async def members(self, timeout: float = 2.0) -> tuple[str, ...]:
        """Return who is in the ring besides this member, in its order.

        Raises:
            NoReceiptError: If the ring was not closed for so long.

        """
        begun = self._loop.time()
        while (left := begun + timeout - self._loop.time()) > 0:
            number = self.core.roll()
            if number is None:
                await asyncio.sleep(self.core.settings.spread)
                continue
            answer: asyncio.Future[tuple[str, ...]] = self._loop.create_future()
            self._rolls[number] = answer
            self.pump()
            try:
                # A roll that met a break does not come back, so another one is sent.
                async with asyncio.timeout(min(left, timeout / 4)):
                    return await answer
            except TimeoutError:
                continue
            finally:
                self._rolls.pop(number, None)
        raise NoReceiptError(self.core.group, timeout)

    # -- connections ---------------------------------------------------------------------------

    async def accept(self, transport: Transport, hello: bytes) -> str:
        """Serve a connection that somebody has dialled, until it ends; return why."""
        number = self.core.accepted(self._loop.time())
        ended = self._ended[number] = self._loop.create_future()
        self._transports[number] = transport
        with contextlib.suppress(RemoteProtocolError):
            self.core.receive(number, hello, self._loop.time())
        self.pump()
        transport.hasten()
        transport.start(_Use(self, number))
        return await asyncio.shield(ended)

    async def _open(self, id: int, name: str) -> None:
        try:
            transport = await self._dial(name, self.core.settings.dial_timeout)
        except Exception as exc:
            # Whatever it is, this member cannot be reached just now; the search goes on.
            self._dials.pop(id, None)
            self.core.connection_lost(id, self._loop.time(), str(exc))
            self.pump()
            return
        self._dials.pop(id, None)
        if id not in self.core.connections:
            transport.abort()  # somebody else was quicker
            return
        self._transports[id] = transport
        self.core.connected(id, self._loop.time())
        transport.hasten()
        transport.start(_Use(self, id))
        self.pump()

    def frames_came(self, id: int, frames: list[bytes]) -> None:
        """Take frames of a connection."""
        now = self._loop.time()
        try:
            for frame in frames:
                self.core.receive(id, frame, now)
        except RemoteProtocolError as exc:
            self._notice(printable(f"ring {self.core.group}: a neighbour broke the protocol: {exc}"))
        self.pump()

    def writable_again(self, id: int) -> None:
        """Take note that a connection takes messages again."""
        self.core.writable(id, self._loop.time(), on=True)
        self.pump()

    def ended(self, id: int, reason: str) -> None:
        """Take note that a connection is gone."""
        self._forget(id, reason)
        self.core.connection_lost(id, self._loop.time(), reason)
        self.pump()

    def _forget(self, id: int, reason: str) -> Transport | None:
        self._arrivals.pop(id, None)
        ended = self._ended.pop(id, None)
        if ended is not None:
            ended.set_result(reason)
        return self._transports.pop(id, None)

    def _hang_up(self, id: int, reason: str) -> None:
        # A dial goes on to its end, which is near: what comes of it is closed then.
        transport = self._transports.get(id)
        if transport is not None:
            task = self._loop.create_task(self._close(id, transport, reason), name="end of a ring connection")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, id: int, transport: Transport, reason: str) -> None:
        await transport.close(reason)
        self._forget(id, reason)

    # -- the core --------------------------------------------------------------------------------

    def _pump_soon(self) -> None:
        """Pump in a moment: what is circulated or handled in one go travels in one go."""
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self.pump)

    def pump(self) -> None:
        """Do what the core says, and see that it is woken in time."""
        self._pumping = False
        core, now = self.core, self._loop.time()
        while True:
            for number, frame in core.data_to_send(now):
                transport = self._transports.get(number)
                if transport is not None:
                    transport.write(frame)
                    if not transport.writable:
                        core.writable(number, now, on=False)
            event = core.next_event()
            if event is None:
                break
            self._happened(event)
        due = core.next_deadline()
        # A timer that rings too early costs less than one that is set anew with each message.
        if due < self._timer_at and not core.has_left:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._wake)
            self._timer_at = due

    def _wake(self) -> None:
        self._timer = None
        self._timer_at = inf
        self._note_arrivals()
        self.core.handle_timer(self._loop.time())
        self.pump()

    def _look_for_arrivals(self) -> None:
        """Look at short intervals: growth says that a neighbour has lived since the last look."""
        self._note_arrivals()
        if not self.core.has_left:
            pause = self.core.settings.heartbeat / 2
            self._poll_at = self._loop.time() + pause
            self._poll = self._loop.call_at(self._poll_at, self._look_for_arrivals)

    def _note_arrivals(self) -> None:
        now = self._loop.time()
        if now - self._poll_at > LATE:
            self.core.slept(now - self._poll_at, now)
            self._poll_at = now  # that much is excused; whichever timer comes first has seen to it
        for number, transport in self._transports.items():
            count = transport.arrivals()
            if count != self._arrivals.get(number):
                self._arrivals[number] = count
                self.core.heard(number, now)

    def _happened(self, event: Event) -> None:
        match event:
            case Dial(id, name):
                self._dials[id] = self._loop.create_task(self._open(id, name), name=f"dial {name}")
            case HangUp(id, reason):
                self._hang_up(id, reason)
            case Taken(sender, incarnation, items):
                inbox = self._inboxes.get(sender)
                if inbox is None:
                    inbox = self._inboxes[sender] = Inbox(sender, self.core.group, self._route, self._handled)
                inbox.put(incarnation, items)
            case Receipted(owners, seen):
                for owner in owners:
                    if not owner.done():
                        owner.set_result(seen)
            case Failed(owner, reason, waited):
                self._failed(owner, reason, waited)
            case RoomOpened():
                # In a turn of its own: a ring of one makes room at once, and would never come to an end.
                self._loop.call_soon(self._go_on_sending)
            case Rolled(number, names):
                answer = self._rolls.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(names)
            case Changed(predecessor, successor, lone):
                # Who dials us just after we found nobody is there, though we have not dialled it yet.
                alone = lone and not predecessor
                words = (
                    "nobody else is there" if alone else f"{predecessor or '?'} -> me -> {successor or '?'}"
                )
                self._notice(f"ring {self.core.group}: {words}")
            case Lost(name, was, reason):
                self._notice(printable(f"ring {self.core.group}: lost the {was} {name}: {reason}"))
            case Told(text):
                self._notice(printable(text))
            case Left():
                self.left.set()

    def _failed(self, owner: asyncio.Future[Any], reason: Reason, waited: float) -> None:
        if owner.done():
            return  # its caller was cancelled
        error: MeshError = RingLeftError(self.core.group)
        if reason is Reason.NO_RECEIPT:
            error = NoReceiptError(self.core.group, waited)
        owner.set_exception(error)

    def _handled(self, sender: str, incarnation: str, count: int, refused: bool) -> None:
        self.core.handled(sender, incarnation, count, self._loop.time(), refused=refused)
        self._pump_soon()

    # -- the end -----------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Say goodbye in good order; cancel it to be done with it."""
        self._queue.end()
        self.core.leave(self._loop.time())
        self.pump()
        await self.left.wait()

    async def close(self) -> None:
        """End every task and connection now."""
        self._queue.end()
        self.core.close(self._loop.time())
        self.pump()
        for handle in (self._timer, self._poll):
            if handle is not None:
                handle.cancel()
        tasks = [inbox.task for inbox in self._inboxes.values() if inbox.task is not None]
        for inbox in self._inboxes.values():
            inbox.shut()
        for task in self._dials.values():
            task.cancel()
        await asyncio.gather(*tasks, *self._dials.values(), *self._closing, return_exceptions=True)


class _Use:
    """What one connection calls."""

    __slots__ = ("_id", "_shell")

    def __init__(self, shell: RingShell, id: int) -> None:
        self._shell = shell
        self._id = id

    def messages_came(self, messages: list[bytes]) -> None:
        self._shell.frames_came(self._id, messages)

    def writing_resumed(self) -> None:
        self._shell.writable_again(self._id)

    def connection_ended(self, reason: str) -> None:
        self._shell.ended(self._id, reason)
