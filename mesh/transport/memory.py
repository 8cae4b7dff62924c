"""A network in memory, with faults on request; for tests, simulations and one-process fleets.

The same contract as the real wire, and the ways in which it breaks:

- ``cut(a, b)``: connections between two places break now, at both ends, as by a reset.
- ``partition(a, b)``: what they send to each other vanishes, and so do attempts to
  connect; neither end is told, as when a firewall drops packets. ``heal(a, b)`` ends
  it: connections that are still open go on with what was sent since, but only if
  nothing was lost on them; else they break, for no wire loses a piece and goes on.
- ``delay(a, b, seconds)``: each message takes so long, in order.
- ``hold(a)`` and ``release(a, order)``: connections to a place wait at its door and are
  let in later, in any order.
- ``break_at(n)``: the n-th operation (send or dial) of the whole network fails, once or
  for good; to fail each one in turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from mesh.transport.base import Transport

Accept = Callable[["MemoryTransport"], Awaitable[None]]

BUFFER = 64 * 1024
"""Bytes on their way in one direction after which ``send`` waits; what sockets hold in the real world."""


class MemoryNetwork:
    """Places that can listen and dial each other.

    Attributes:
        operations: Sends and dials so far, on all connections.

    """

    def __init__(self) -> None:
        self._doors: dict[str, Accept] = {}
        self._held: dict[str, list[MemoryTransport]] = {}
        self._open: list[tuple[MemoryTransport, MemoryTransport]] = []
        self._delays: dict[frozenset[str], float] = {}
        self._partitions: set[frozenset[str]] = set()
        self._broken: tuple[int, bool] | None = None
        self._accepting: set[asyncio.Task[None]] = set()
        self.operations = 0

    # -- use ----------------------------------------------------------------------

    def listen(self, place: str, accept: Accept) -> None:
        """Let connections to ``place`` in; ``accept`` owns each until it returns."""
        self._doors[place] = accept

    def is_listening(self, place: str) -> bool:
        """Say whether somebody listens at a place."""
        return place in self._doors

    def close(self, place: str) -> None:
        """Stop listening at ``place``; what is open stays open."""
        self._doors.pop(place, None)

    async def dial(self, source: str, target: str) -> MemoryTransport:
        """Connect two places.

        Raises:
            ConnectionRefusedError: If nobody listens at ``target``.
            ConnectionResetError: If this operation was to fail.

        """
        self.check()
        if self.parted(source, target):
            # As behind a firewall: neither a yes nor a no. The caller has a deadline.
            await asyncio.get_running_loop().create_future()
        accept = self._doors.get(target)
        if accept is None:
            raise ConnectionRefusedError(f"nobody listens at {target}")
        near, far = MemoryTransport(self, source, target), MemoryTransport(self, target, source)
        near.other, far.other = far, near
        self._open.append((near, far))
        if target in self._held:
            self._held[target].append(far)
        else:
            self._let_in(accept, far)
        return near

    async def aclose(self) -> None:
        """Break every connection and wait until nobody holds one."""
        self._partitions.clear()
        for near, _ in list(self._open):
            near.abort()
        self._doors.clear()
        await asyncio.gather(*self._accepting, return_exceptions=True)

    def _let_in(self, accept: Accept, transport: MemoryTransport) -> None:
        async def serve() -> None:
            try:
                await accept(transport)
            finally:
                transport.abort()

        task = asyncio.get_running_loop().create_task(serve())
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)

    # -- faults -----------------------------------------------------------------------

    def cut(self, one: str, other: str) -> None:
        """Break the connections between two places."""
        for near, far in list(self._open):
            if {near.place, far.place} == {one, other}:
                near.abort()

    def partition(self, one: str, other: str) -> None:
        """Let everything between two places vanish until ``heal``."""
        self._partitions.add(frozenset((one, other)))

    def heal(self, one: str, other: str) -> None:
        """End a partition; connections that lost something, or that one end gave up, break."""
        self._partitions.discard(frozenset((one, other)))
        for near, far in list(self._open):
            broken = near.has_lost or far.has_lost or near.has_ended or far.has_ended
            if {near.place, far.place} == {one, other} and broken:
                near.abort()
                far.abort()

    def delay(self, one: str, other: str, seconds: float) -> None:
        """Let every message between two places take so long."""
        self._delays[frozenset((one, other))] = seconds

    def hold(self, place: str) -> None:
        """Let connections to a place wait at its door."""
        self._held.setdefault(place, [])

    def release(self, place: str, order: Iterable[int] | None = None) -> None:
        """Let in what waits at a place, in the order of arrival or the one given."""
        waiting = self._held.pop(place, [])
        accept = self._doors.get(place)
        for index in range(len(waiting)) if order is None else order:
            if accept is None:
                waiting[index].abort()
            else:
                self._let_in(accept, waiting[index])

    def break_at(self, operation: int, *, for_good: bool = False) -> None:
        """Let the operation of that number, counted from 1, fail; with ``for_good`` all after it too."""
        self._broken = (operation, for_good)

    # -- for the transports -------------------------------------------------------------

    def check(self) -> None:
        """Count one operation, and fail it if it was asked to fail."""
        self.operations += 1
        if self._broken is not None:
            number, for_good = self._broken
            if self.operations == number or (for_good and self.operations > number):
                raise ConnectionResetError(f"operation {self.operations} was asked to fail")

    def parted(self, one: str, other: str) -> bool:
        """Say whether there is a partition between two places."""
        return frozenset((one, other)) in self._partitions

    def latency(self, one: str, other: str) -> float:
        """Return the seconds that a message between two places takes."""
        return self._delays.get(frozenset((one, other)), 0.0)

    def forget(self, transport: MemoryTransport) -> None:
        """Drop a connection that has ended at both ends."""
        self._open = [
            pair for pair in self._open if transport not in pair or not all(end.has_ended for end in pair)
        ]


class MemoryTransport(Transport):
    """One end of a connection of a ``MemoryNetwork``."""

    other: MemoryTransport

    def __init__(self, network: MemoryNetwork, place: str, peer: str) -> None:
        super().__init__()
        self.place = place
        self.has_lost = False
        self._peer = peer
        self._network = network
        self._on_the_way = 0  # bytes sent from here that the other end has not taken
        self._wire: deque[bytes | None] = deque()
        self._due = 0.0
        self._arrived: list[bytes] = []
        self._handing_over: asyncio.Handle | None = None
        self._is_held_back = False
        self._goodbye = ""
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._began()

    @property
    def peer(self) -> str:
        """The place at the other end."""
        return self._peer

    def _transmit(self, message: bytes) -> None:
        try:
            self._network.check()
        except ConnectionResetError as exc:
            self._break(str(exc))
            return
        self._on_the_way += len(message)
        if self._network.parted(self.place, self._peer):
            # Never given back: a full write buffer is what a partition looks like.
            self.has_lost = True
        else:
            self._put(message)
        if self._on_the_way >= BUFFER and self.writable:
            self._may_write(False)

    def _put(self, data: bytes | None) -> None:
        """Put a message, or the end, on the wire."""
        now = self._loop.time()
        due = now + self._network.latency(self.place, self._peer)
        if due <= now and not self._wire:
            self._arrive(data)
            return
        self._wire.append(data)
        self._due = max(due, self._due)
        # Whichever timer is due first takes what was sent first: they may come in any order.
        self._loop.call_at(self._due, self._arrive_next)

    def _arrive_next(self) -> None:
        if self._wire:
            self._arrive(self._wire.popleft())

    def _arrive(self, data: bytes | None) -> None:
        other = self.other
        if data is None:
            other._hand_over()
            other._finish(self._goodbye)
        elif other._ended is None:
            other._arrived.append(data)
            other._heard = self._loop.time()
            if other._handing_over is None and not other._is_held_back:
                # Not at once: who writes must not be called back before it is done.
                other._handing_over = self._loop.call_soon(other._hand_over)
        elif not self._network.parted(self.place, self._peer):
            # Nobody is there any more, as the other end found out in a partition.
            self._finish("connection lost")

    def _hand_over(self) -> None:
        if self._handing_over is not None:
            self._handing_over.cancel()
            self._handing_over = None
        messages, self._arrived = self._arrived, []
        if messages:
            self.other._was_taken(sum(map(len, messages)))
            self._came(messages)

    def _was_taken(self, size: int) -> None:
        self._on_the_way -= size
        if self._on_the_way < BUFFER and not self.writable and self._ended is None:
            self._may_write(True)

    def _hold_back(self, on: bool) -> None:
        self._is_held_back = on
        if not on and self._arrived and self._handing_over is None:
            self._handing_over = self._loop.call_soon(self._hand_over)

    async def _close(self, reason: str) -> None:
        # The other end still gets what was sent.
        self._goodbye = f"the peer closed it ({reason or 'no reason given'})"
        if not self._network.parted(self.place, self._peer):
            self._put(None)
        self._finish("closed from here")

    def _abort(self) -> None:
        self._early.clear()
        self._arrived.clear()
        self._break("connection lost")

    def _break(self, why: str) -> None:
        self._wire.clear()
        self._finish(why)
        if not self._network.parted(self.place, self._peer):
            self.other._wire.clear()
            self.other._finish("connection lost")

    @property
    def has_ended(self) -> bool:
        """Whether this end knows that the connection is gone."""
        return self._ended is not None

    def _finish(self, why: str) -> None:
        if self._handing_over is not None:
            self._handing_over.cancel()
            self._handing_over = None
        if self._user is None:
            self._early.extend(self._arrived)
        self._arrived.clear()
        if self._ended is None:
            self._end(why)
            self._network.forget(self)

    def silence(self) -> float | None:
        """Return the seconds since the last message arrived."""
        return self._loop.time() - self._heard
