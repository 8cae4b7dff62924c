"""A subscription as a script sees it: iterated for each value as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, NoReturn, Self

from mesh.links.reader import Reader
from mesh.links.subscribing import Subscribing, Want
from mesh.node import Node
from mesh.protocol.fanout import settled_policy


class Subscription:
    """What ``subscribe()`` returns: iterate it for each value as it comes.

    It begins when it is first iterated, or entered with ``async with``. It ends when the loop is left,
    with ``aclose()``, or with the ``async with``, in which there may be several loops one after the
    other. A publisher that is not there is waited for, and subscribed to again whenever it is back::

        async for value in peer.subscribe("tick"): ...

    Attributes:
        seq: Number of the value that was given last, as the publisher counts.

    Raises:
        NackedError: In the place of the next value, if the publisher refuses the subscription, or
            ends it with ``QueueFullError``.
        DeliveryError: Likewise, if what listens there speaks no ``sketchmesh.v1``.

    """

    def __init__(
        self,
        node: Node,
        channel: str,
        start: Callable[[], tuple[Reader, Want]],
        leave: Callable[[Reader, Want], None],
    ) -> None:
        self.node = node
        self.channel = channel
        self._start = start
        self._leave = leave
        self._running: tuple[Reader, Want] | None = None
        self._closed = False
        self._is_entered = False

    @property
    def seq(self) -> int:
        """Number of the value that was given last, as the publisher counts; 0 before the first."""
        return self._running[0].seq if self._running is not None else 0

    @property
    def missed(self) -> int:
        """Values left out: dropped by the policy, or published while there was no session."""
        return self._running[1].reading.missed if self._running is not None else 0

    @property
    def restarts(self) -> int:
        """How often the publisher came back as a new process, so that its numbers began anew."""
        return self._running[1].reading.restarts if self._running is not None else 0

    @property
    def has_ended(self) -> bool:
        """Whether no more values will be given."""
        return self._closed

    def _begin(self) -> Reader:
        if self._closed:
            raise RuntimeError(f"this subscription to {self.channel!r} has ended; call subscribe() again")
        if self._running is None:
            self._running = self._start()
        return self._running[0]

    def __aiter__(self) -> AsyncIterator[Any]:
        return _Loop(self, self._begin())

    def loop_left(self) -> None:
        """End with the loop, unless an ``async with`` says when."""
        if not self._is_entered:
            self._close()

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        # It is kept alive meanwhile: who is collected ends the subscription.
        return _ended() if self._closed else self._begin().next(self)

    async def __aenter__(self) -> Self:
        self._is_entered = True
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the subscription; what came and was not given is dropped."""
        self._close()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._running is not None:
                self._leave(*self._running)

    def __del__(self) -> None:
        # What is left by `break` is not closed by the loop.
        if not getattr(self, "_closed", True):
            self._close()


class _Loop:
    """One ``async for``; it is collected when the loop is left, and that is how one learns of a ``break``."""

    __slots__ = ("_reader", "_subscription")

    def __init__(self, subscription: Subscription, reader: Reader) -> None:
        self._subscription = subscription
        self._reader = reader

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, Any]:
        # The reader's coroutine and not one more, for this is done for every value. It has to keep this
        # alive: when this is collected, the loop was left.
        return _ended() if self._subscription.has_ended else self._reader.next(self)

    async def aclose(self) -> None:
        await self._subscription.aclose()

    def __del__(self) -> None:
        self._subscription.loop_left()


async def _ended() -> NoReturn:
    raise StopAsyncIteration


def subscription(
    subscribing: Subscribing, node: Node, channel: str, *, policy: str, limit: int, latch: bool
) -> Subscription:
    """Return a subscription to a channel of a node.

    Raises:
        ValueError: If the policy or the limit is none.

    """
    wanted, most = settled_policy(policy, limit)
    name = channel.removeprefix("/")

    def start() -> tuple[Reader, Want]:
        reader = Reader()
        want = Want(node.name, name, wanted, most, reader, latch=latch)
        subscribing.add(want)
        subscribing.keep(node)
        return reader, want

    def leave(reader: Reader, want: Want) -> None:
        subscribing.drop(want)
        reader.close()

    return Subscription(node, name, start, leave)
