"""Messages that wait for room in the window: who came first goes first, which is the sender's order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from msgspec import Struct

from mesh.errors import NoReceiptError, RingError, RingLeftError
from mesh.protocol.ring import Reason, Ring

MOST_WAITING: Final = 2**16
"""Messages that may wait."""

MOST_BYTES: Final = 2**28
"""Bytes of them, after which no more may wait."""

Owner = asyncio.Future[tuple[str, ...]]
"""What a caller awaits: the names of those that took its message."""


class _Waiter(Struct, eq=False):
    item: bytes
    begun: float
    patience: float | None
    alarm: asyncio.TimerHandle | None = None


class Queue:
    """What this member is to send, in the order of the calls.

    Nothing is sent before what waits already, even if there is room for it.

    Args:
        core: Takes the messages.

    """

    def __init__(self, core: Ring) -> None:
        self._core = core
        self._loop = asyncio.get_running_loop()
        # Ordered, so that the first and any other can be taken out at the same small cost.
        self._waiters: OrderedDict[Owner, _Waiter] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiters)

    def send(self, owner: Owner, item: bytes, patience: float | None) -> None:
        """Send a message now, or when it is its turn; whatever comes of it, ``owner`` will have it.

        Raises:
            LocalProtocolError: If this member leaves.
            FrameTooLargeError: If the message is too large.
            RingError: If too many wait.

        """
        self._core.check(item)
        waiter = _Waiter(item, self._loop.time(), patience)
        if not self._waiters and self._admit(owner, waiter):
            return
        if len(self._waiters) >= MOST_WAITING or self._bytes >= MOST_BYTES:
            self._core.traffic.never_sent(Reason.NO_ROOM)
            group = self._core.group
            raise RingError(
                group,
                f"{len(self._waiters)} messages with {self._bytes} bytes wait for room in the ring {group} "
                f"already, so one more was not sent; await some receipts before you circulate more",
            )
        if patience is not None:
            waiter.alarm = self._loop.call_at(waiter.begun + patience, self._too_late, owner)
        self._waiters[owner] = waiter
        self._bytes += len(item)

    def _admit(self, owner: Owner, waiter: _Waiter) -> bool:
        now, left = self._loop.time(), waiter.patience
        if left is not None:
            left = max(waiter.begun + left - now, 0.0)
        return self._core.circulate(owner, waiter.item, now, left)

    def go_on(self) -> None:
        """Send what there is room for."""
        while self._waiters:
            owner, waiter = next(iter(self._waiters.items()))
            if owner.done():
                self.forget(owner)  # its caller was cancelled, and has not run since
            elif self._admit(owner, waiter):
                self._remove(owner)
            else:
                return

    def forget(self, owner: Owner) -> bool:
        """Give up a message that waits, because its caller was cancelled; return whether there is one."""
        if owner not in self._waiters:
            return False
        self._remove(owner)
        self._core.traffic.never_sent(Reason.CANCELLED)
        return True

    def end(self) -> None:
        """Give up everything that waits, because this member leaves."""
        for owner in list(self._waiters):
            if not owner.done():
                self._fail(owner, Reason.CLOSED, RingLeftError(self._core.group))

    def _too_late(self, owner: Owner) -> None:
        if not owner.done():
            waited = self._loop.time() - self._waiters[owner].begun
            self._fail(owner, Reason.NO_RECEIPT, NoReceiptError(self._core.group, waited))

    def _fail(self, owner: Owner, reason: Reason, error: RingError) -> None:
        self._remove(owner)
        self._core.traffic.never_sent(reason)
        owner.set_exception(error)

    def _remove(self, owner: Owner) -> None:
        waiter = self._waiters.pop(owner)
        self._bytes -= len(waiter.item)
        if waiter.alarm is not None:
            waiter.alarm.cancel()
