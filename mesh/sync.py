"""The blocking twin of ``mesh.connect``, for plain scripts and notebooks.

Each connection has one background thread with an event loop, in which everything happens; a call
hands over what is to be done there and waits. So it blocks neither an event loop that runs already,
as in a notebook, nor heartbeats while a script thinks. Rules:

- *The thread ends with the connection*: with its ``with`` block, with ``close()``, when it is
  forgotten, or with the program.
- *What is not ours runs where the caller is.* A generator that gives the items of a stream runs in
  the caller's thread, which has nothing else to do; it may block.
- *An interrupted call is cancelled*, as in asyncio: Ctrl-C leaves nothing half done.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
import weakref
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, Self, TypeVar

from mesh import client
from mesh.arguments import check_seconds
from mesh.deliveries import REQUEST_TIMEOUT
from mesh.gathering import Gathered, Targets, check_target
from mesh.gridfile import Grid
from mesh.node import Node
from mesh.protocol.fanout import DEFAULT_LIMIT
from mesh.protocol.link import LinkSettings
from mesh.protocol.values import is_one_item
from mesh.streams import OnNack

T = TypeVar("T")
R = TypeVar("R")

JOIN = 5.0
"""Seconds that the end of a connection may take."""

BATCH = 64
"""Items that are taken from a generator at once, at most."""

BATCH_SECONDS = 0.005
"""Seconds after which those that were taken are sent, though the generator may have more."""


class Peer:
    """One node, as a plain script talks to it; made by ``connect()``.

    Its methods are those of ``mesh.Peer``, but they block. Any thread may call them, and several at
    once. Use it as a context manager, or call ``close()``.

    Attributes:
        node: The node.

    """

    def __init__(self, background: _Background[client.Peer]) -> None:
        self._background = background
        self._peer = background.held
        self.node = self._peer.node
        # Also when it is forgotten, and at the latest when the program ends.
        self._finalizer = weakref.finalize(self, background.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Say goodbye, and end the thread; calls of other threads that still run fail."""
        self._finalizer()

    def stream(
        self,
        data: object,
        channel: str = "",
        *,
        on_nack: OnNack = "raise",
        ack_timeout: float | None = None,
        delivery: str = "at-least-once",
        window: int | None = None,
    ) -> list[Any]:
        """Send data to a channel and return the acknowledgements, one for each item, in order.

        What is one item and what is many is as for a sketch's ``stream()``; so are the options
        and errors. A generator runs in this thread.
        """
        options: dict[str, Any] = {
            "on_nack": on_nack,
            "ack_timeout": ack_timeout,
            "delivery": delivery,
            "window": window,
        }

        async def send(items: object) -> list[Any]:
            return await self._peer.stream(items, channel, **options)

        if is_one_item(data) or isinstance(data, list | tuple | AsyncIterable):
            return self._background.call(partial(send, data))
        assert isinstance(data, Iterable)
        source = iter(data)
        helper = _Helper()
        try:
            return self._background.call(partial(send, helper.items(source)), helper)
        finally:
            if isinstance(source, Generator):
                source.close()

    def request(self, msg: object, channel: str = "", *, timeout: float | None = REQUEST_TIMEOUT) -> Any:
        """Send one message and return its answer; see ``mesh.Peer.request``."""
        return self._background.call(partial(self._peer.request, msg, channel, timeout=timeout))

    def ask(self, msg: object, channel: str = "", *, timeout: float | None = None) -> Iteration[Any]:
        """Send one message and iterate over the parts of its answer; see ``mesh.Peer.ask``.

        Args:
            msg: The message, whatever it is.
            channel: The channel of the node.
            timeout: Seconds to wait for each part; then the ask is over, with
                ``TimeoutError``. ``None`` for as long as the peer lives.

        """
        return Iteration(self, self._background, partial(self._peer.ask, msg, channel), timeout)

    def subscribe(
        self,
        channel: str,
        *,
        policy: str = "drop_oldest",
        limit: int = DEFAULT_LIMIT,
        latch: bool = True,
        timeout: float | None = None,
    ) -> Iteration[Any]:
        """Iterate over the values that the node publishes on a channel; see ``mesh.Peer.subscribe``.

        It begins with the first value that is asked for, or with its ``with`` block.

        Args:
            channel: The channel.
            policy: What the node does when ``limit`` values wait for this script.
            limit: Values that may wait at the node.
            latch: Whether the value that the channel keeps, if it keeps one, comes first.
            timeout: Seconds to wait for each value; then the subscription is over, with
                ``TimeoutError``. ``None`` for ever.

        """
        begin = partial(self._peer.subscribe, channel, policy=policy, limit=limit, latch=latch)
        return Iteration(self, self._background, begin, timeout)

    def publish(self, channel: str, value: object, *, latch: bool = False) -> int:
        """Publish a value to the node, and wait for room; see ``mesh.Peer.publish``."""

        async def publish() -> int:
            return await self._peer.publish(channel, value, latch=latch)

        return self._background.call(publish)

    def ledger(self) -> dict[str, Any]:
        """Return the books of this connection: see ``docs/reference/ledger.md``."""

        async def read() -> dict[str, Any]:
            return self._peer.ledger()

        return self._background.call(read)


def connect(
    target: str | Node,
    *,
    grid: Grid | str | None = None,
    patience: float | None = 10.0,
    settings: LinkSettings | None = None,
    name: str | None = None,
) -> Peer:
    """Talk to one node from a plain script or a notebook.

    Connects when something is first sent, and again whenever it is necessary.

    Args:
        target: A name or alias in the grid, a node, or a URI such as
            ``ws://localhost:8766``, which needs no grid.
        grid: The grid, or its file; ``None`` for the usual one.
        patience: Seconds to wait for the node when it is absent; ``None`` for ever.
        settings: How the link behaves.
        name: What the script calls itself; ``None`` for a name that nobody else has.

    Raises:
        UnknownNodeError: If the grid has no such node.
        NotAServerError: If the node has no port.
        GridError: If the grid or the URI cannot be read.

    """
    hold = partial(client.connect, target, grid=grid, patience=patience, settings=settings, name=name)
    check_target(target)
    called = target if isinstance(target, str) else target.name
    return Peer(_Background(f"mesh.sync {called}", hold))


def gather(
    targets: Targets,
    msg: object,
    channel: str = "",
    *,
    grid: Grid | str | None = None,
    count: int | None = None,
    deadline: float | None = REQUEST_TIMEOUT,
    stall: float | None = None,
    patience: float | None = 10.0,
) -> Gathered:
    """Send one message to several nodes at once and collect their answers; see ``mesh.gather``."""
    background: _Background[None] = _Background("mesh.sync gather", nullcontext)
    try:
        return background.call(
            partial(
                client.gather,
                targets,
                msg,
                channel,
                grid=grid,
                count=count,
                deadline=deadline,
                stall=stall,
                patience=patience,
            )
        )
    finally:
        background.close()


class Iteration(Iterator[T]):
    """What ``ask()`` and ``subscribe()`` return here: a plain iterator over what comes.

    ``break`` leaves it as soon as nothing holds it any more. ``close()``, or the end of a ``with``
    block, waits until nothing is left of it at the other end.

    Args:
        peer: Whom it is from.
        background: Where it happens.
        begin: Makes what is iterated there.
        timeout: Seconds to wait for each; ``None`` for ever.

    Raises:
        ValueError: If the timeout is not above zero.
        TypeError: If it is no number.

    """

    def __init__(
        self,
        peer: Peer,
        background: _Background[Any],
        begin: Callable[[], AsyncIterable[T]],
        timeout: float | None,
    ) -> None:
        check_seconds("timeout", timeout)
        self._peer = peer  # which must not be forgotten before this
        self._background = background
        self._steps = _Steps(begin, timeout, peer.node.name)
        self._finalizer = weakref.finalize(self, background.later, self._steps.close)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        found = self._background.call(self._steps.next)
        if not found:
            self._finalizer.detach()
            raise StopIteration
        return found[0]

    def __enter__(self) -> Self:
        self._background.call(self._steps.begin)
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Want no more of it, and wait until that is so."""
        if self._finalizer.detach() is not None and not self._background.is_closed:
            self._background.call(self._steps.close)


class _Steps(Generic[T]):
    """An asynchronous iteration, one step at a time; used on the event loop alone."""

    def __init__(self, begin: Callable[[], AsyncIterable[T]], timeout: float | None, peer: str) -> None:
        self._begin = begin
        self._timeout = timeout
        self._peer = peer
        self._items: AsyncIterator[T] | None = None
        self._closed = False

    async def begin(self) -> AsyncIterator[T]:
        """Begin it."""
        if self._items is None:
            self._items = aiter(self._begin())
        return self._items

    async def next(self) -> list[T]:
        """Return the next item in a list, which is empty after the last."""
        if self._closed:
            return []
        items = await self.begin()
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                return [await anext(items)]
        except StopAsyncIteration:
            return []
        except TimeoutError:
            if not limit.expired():
                raise
            await self.close()
            raise TimeoutError(f"nothing came from {self._peer} within {self._timeout:g} s") from None

    async def close(self) -> None:
        """End it."""
        self._closed = True
        aclose = getattr(self._items, "aclose", None)
        if aclose is not None:
            await aclose()


class _Background(Generic[T]):
    """A thread with an event loop, which holds a context open until it is closed.

    Args:
        name: Name of the thread.
        hold: Makes the context.

    Attributes:
        held: What the context gave.
        is_closed: Whether it takes no more calls.

    Raises:
        Exception: What the context raises when it is entered.

    """

    def __init__(self, name: str, hold: Callable[[], AbstractAsyncContextManager[T]]) -> None:
        self._name = name
        self.is_closed = False
        self._closing = threading.RLock()  # a collected iteration may come in between, in the same thread
        self._calls: set[concurrent.futures.Future[Any]] = set()
        self._stop: Callable[[], object] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        ready: concurrent.futures.Future[T] = concurrent.futures.Future()
        # A daemon, for a program that ends without a word must not wait for it; see ``Peer``.
        self._thread = threading.Thread(target=self._run, args=(hold, ready), name=name, daemon=True)
        self._thread.start()
        try:
            self.held = ready.result()
        except BaseException:
            self.close()
            raise

    def _run(
        self, hold: Callable[[], AbstractAsyncContextManager[T]], ready: concurrent.futures.Future[T]
    ) -> None:
        try:
            asyncio.run(self._live(hold, ready))
        finally:
            with self._closing:
                self.is_closed = True
            # Those that came too late for the event loop.
            for call in list(self._calls):
                call.cancel()

    async def _live(
        self, hold: Callable[[], AbstractAsyncContextManager[T]], ready: concurrent.futures.Future[T]
    ) -> None:
        stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._stop = stop.set
        try:
            async with hold() as held:
                ready.set_result(held)
                if not self.is_closed:
                    await stop.wait()
        except Exception as exc:
            if ready.done():
                raise
            ready.set_exception(exc)

    def call(self, main: Callable[[], Coroutine[Any, Any, R]], helper: _Helper | None = None) -> R:
        """Run a coroutine in the thread and return its result.

        Raises:
            RuntimeError: If the connection is closed, or that is this very thread.
            Exception: What the coroutine raises.

        """
        if threading.current_thread() is self._thread:
            raise RuntimeError(f"a call from within {self._name} would wait for itself; use `await` there")
        future = self._submit(main)
        if future is None:
            raise RuntimeError(f"{self._name} is closed")
        try:
            if helper is not None:
                helper.serve(future)
            return future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError(f"{self._name} was closed meanwhile") from None
        except BaseException:
            # Of the coroutine, when it is done already; or of this thread, such as Ctrl-C.
            future.cancel()
            raise

    def later(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run a coroutine in the thread, and wait for nothing."""
        self._submit(main)

    def _submit(self, main: Callable[[], Coroutine[Any, Any, R]]) -> concurrent.futures.Future[R] | None:
        with self._closing:
            loop = self._loop
            if self.is_closed or loop is None:
                return None
            future = asyncio.run_coroutine_threadsafe(main(), loop)
            self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        return future

    def close(self) -> None:
        """End the thread; waits for that."""
        with self._closing:
            was_closed, self.is_closed = self.is_closed, True
            if not was_closed and self._loop is not None:
                with suppress(RuntimeError):  # it has ended by itself
                    self._loop.call_soon_threadsafe(self._stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN)


class _Helper:
    """Lets the thread that waits for a call run what is not ours to run on an event loop."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def serve(self, future: concurrent.futures.Future[Any]) -> None:
        """Do in this thread what the call asks for, until it is done."""
        future.add_done_callback(lambda _: self._jobs.put(None))
        while (job := self._jobs.get()) is not None:
            job()

    async def items(self, source: Iterator[object]) -> AsyncIterator[object]:
        """Give what a source gives that runs in the other thread."""
        while True:
            batch, trouble, is_over = await self._run(partial(_batch, source))
            for item in batch:
                yield item
            if trouble is not None:
                raise trouble
            if is_over:
                return

    async def _run(self, function: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def set_result(result: T) -> None:
            if not done.done():
                done.set_result(result)

        def job() -> None:
            result = function()
            with suppress(RuntimeError):  # the loop is closed: nobody wants it any more
                loop.call_soon_threadsafe(set_result, result)

        self._jobs.put(job)
        return await done


def _batch(source: Iterator[object]) -> tuple[list[object], Exception | None, bool]:
    """Return the next items of a source, what it raised after them, and whether those are all."""
    items: list[object] = []
    end = time.monotonic() + BATCH_SECONDS
    try:
        for item in source:
            items.append(item)
            if len(items) == BATCH or time.monotonic() > end:
                return items, None, False
    except Exception as exc:
        return items, exc, True
    return items, None, True
