"""The life of one sketch: serve, start, run, drain, stop.

States: made, starting, running, draining, stopped; see docs/explanation/architecture.md.
The worker owns every task, thread and connection of its sketch.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import math
import os
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine
from types import CodeType
from typing import TYPE_CHECKING, Any

from factory.circulating import Circulating
from factory.errors import FactoryError, HookError, SetupError
from factory.eventloop import loop_factory
from factory.handling import Handling
from factory.plan import Plan
from factory.reactive import Rhythm
from factory.signals import StopSignals, leave_now
from factory.threads import Threads
from factory.trouble import is_cancellation, named, place
from factory.watchdog import Watchdog
from factory.wiring import Wiring, subscribe_all, wired_to, wirings
from mesh.door import STOPPING, Door
from mesh.errors import MeshError, NotAServerError, PeerDownError
from mesh.feeds import Feeds
from mesh.links.hub import Hub
from mesh.links.publishing import Publishing
from mesh.links.subscribing import Subscribing
from mesh.node import Node
from mesh.outgoing import Outgoing
from mesh.peers import Peers
from mesh.protocol.books import Books, bounded, is_balanced, joined, merged
from mesh.text import endpoint, listing, seconds

if TYPE_CHECKING:
    from factory.loop import FactoryLoop

DEFAULT_PORT = 8765
"""The port that a worker serves on, and a client-only sketch sends to, when nothing says otherwise."""

DRAIN = 3.0
"""Seconds that messages in hand may take once the worker is asked to stop."""

ASKS = 1.0
"""Seconds of those that the generators that answer asks may take; then they are closed."""

STOP_HOOKS = 1.0
"""Seconds that all stop hooks together may take."""

CLOSING = 0.2
"""Seconds that closing the connections may take, those inbound and then those outbound."""

UNBALANCED = 3
"""Exit code when messages are unaccounted for."""

CANCELLED = 0.1
"""Seconds in which what was cancelled has to end before it is abandoned."""


class Worker:
    """Runs one sketch.

    Args:
        sketch: The sketch, whose handlers and hooks are called.
        plan: What its class asks for.

    Attributes:
        when_stopping: Called once, on the event loop, when the worker begins to stop.
        args_at: Where the arguments of an ``async def setup()`` are written, with a colon
            behind, for who reads that they are wrong.

    Raises:
        SketchError: If a handler's type annotation cannot be used.

    """

    def __init__(self, sketch: FactoryLoop, plan: Plan) -> None:
        self._sketch = sketch
        self._plan = plan
        self._log = logging.LoggerAdapter(logging.getLogger("factory.worker"), {"node": sketch.name})
        self._setup: Awaitable[object] | None = None
        self._door: Door | None = None
        self._hub: Hub | None = None
        self._peers: Peers | None = None
        self._outgoing: Outgoing | None = None
        self._rhythms: list[asyncio.Task[None]] = []
        self._threads = Threads(sketch.name)
        self._stopping = asyncio.Event()
        self._handling = Handling(
            sketch,
            plan,
            self._threads,
            self._stopping,
            say=self._say,
            report=self._report,
            note=self._log.info,
            warn=self._log.warning,
            reserved={"$ledger": self.books, "$ring": lambda: self.circulating.status()},
        )
        self.circulating = Circulating(sketch.name, sketch.grid, self._handling, self._log.info)
        self.publishing = Publishing(patience=sketch.patience, say=self._say)
        self._feeds = Feeds(self.publishing)
        self._subscribing: Subscribing | None = None
        self._telling: set[asyncio.Task[None]] = set()
        # Set from other threads and signal handlers, before there is a loop or after it.
        self._stop_wanted = False
        self._by_keyboard = False
        self._starting: asyncio.Timeout | None = None
        self._hooks_begun = False
        self._finishing: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchdog: Watchdog | None = None
        self.when_stopping: Callable[[], object] = lambda: None
        self.args_at = ""

    # -- life --------------------------------------------------------------------

    def prepare(self, setup: Awaitable[object]) -> None:
        """Keep an ``async def setup()`` to be awaited at the start."""
        self._setup = setup

    async def start(self, socket: str | None, port: int | None) -> None:
        """Serve, run the start hooks, begin the rhythms.

        When a stop is asked for meanwhile, the rest is left out.

        Raises:
            RuntimeError: If it was started before.
            ServeError: If the worker cannot listen there.
            HookError: If ``setup()`` or a start hook raises.

        """
        if self._loop is not None:
            raise RuntimeError(f"{self._sketch.name} was started before; construct it again to run it again")
        self._loop = asyncio.get_running_loop()
        self._watchdog = Watchdog(self._log.warning, self._names())
        self._watchdog.start()
        try:
            try:
                async with asyncio.timeout(None) as self._starting:
                    if self._stop_wanted:
                        self._begin_to_stop()
                    await self._start(socket, port)
            except (TimeoutError, HookError) as exc:
                # A start that is cut short by a stop has not failed.
                if not self._stopping.is_set():
                    raise
                if isinstance(exc, HookError):
                    self._log.debug(str(exc))
            finally:
                self._starting = None
        except BaseException:
            await self.finish()
            raise

    async def _start(self, socket: str | None, port: int | None) -> None:
        if self._setup is not None:
            setup, self._setup = self._setup, None
            try:
                await self._hook("setup", lambda: setup)
            except HookError as exc:
                error = SetupError if refuses_arguments(exc.__cause__) else HookError
                raise error(f"{self.args_at}{exc}") from exc.__cause__
        if self._stopping.is_set():
            return
        wanted = wirings(self._sketch.me, self._sketch.grid, self._plan)
        if not self._plan.is_client_only:
            await self._serve(socket, port)
        else:
            self._aim(socket, port)
            if self._sketch.me.is_server:
                # It has a port for those that subscribe to it.
                await self._serve(None, None)
        self._subscribe(wanted)
        if self._door is not None and self.circulating.is_wanted:
            self.circulating.rings.start()
        self._hooks_begun = True
        for name in self._plan.on_start:
            if not self._stopping.is_set():
                await self._hook(name, getattr(self._sketch, name))
        if not self._stopping.is_set():
            for name, rhythm in self._plan.rhythms:
                self._rhythms.append(asyncio.create_task(self._beat(name, rhythm), name=f"rhythm {name}()"))

    def _subscribe(self, wanted: list[Wiring]) -> None:
        sketch = self._sketch
        callers = wired_to(sketch.me, sketch.grid)
        if not wanted and not callers:
            return
        self._subscribing = Subscribing(self.hub, notice=self._log.info)
        for wiring in wanted:
            if not wiring.source.is_server and self._door is None:
                self._log.warning(
                    f"{wiring.source.name} has no port and {sketch.name} does not serve, "
                    f"so that channel {wiring.channel!r} will not come; give one of them a `port:`"
                )
        subscribe_all(wanted, self._subscribing, self._handling.values, self._say, self._log.warning)
        for node in callers:
            self._subscribing.keep(node)

    def stop(self) -> None:
        """Ask for the end; safe from any thread, at any time and any number of times."""
        # In this order: whichever comes first here and in start(), one of the two sees it.
        self._stop_wanted = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # closed, so the end is here already
                loop.call_soon_threadsafe(self._begin_to_stop)

    def _begin_to_stop(self) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        self.when_stopping()
        self.publishing.stop()
        if self._by_keyboard:
            self._say("Keyboard interruption, aborting.")
        if self._peers is not None:
            self._peers.give_up()
        if self._hub is not None:
            self._hub.give_up()
        if self._starting is not None:
            self._starting.reschedule(asyncio.get_running_loop().time())

    async def wait_stopped(self) -> None:
        """Return when the worker was asked to stop."""
        await self._stopping.wait()

    async def finish(self) -> None:
        """Drain, then stop, in about ``DRAIN`` + ``STOP_HOOKS`` seconds at the most.

        Once begun it goes on to its end, even if the caller is cancelled meanwhile, who
        learns of the cancellation then.
        """
        if self._finishing is None:
            self._finishing = asyncio.create_task(self._finish(), name=f"end of {self._sketch.name}")
        await _to_its_end(self._finishing)

    async def _finish(self) -> None:
        self._begin_to_stop()
        drain = [asyncio.create_task(self._door.drain(), name="drain")] if self._door is not None else []
        # The rhythms end first: what they stream goes over the links.
        begun = asyncio.get_running_loop().time()
        asks = []
        if self._hub is not None and self._hub.refuse_asks():
            asks.append(asyncio.create_task(self._hub.end_asks(ASKS), name="end asks"))
        late = await _wait([*self._rhythms, *asks], DRAIN)
        if self._hub is not None:
            drain.append(asyncio.create_task(self._hub.drain(STOPPING), name="drain links"))
        drain.append(asyncio.create_task(self.circulating.leave(), name="leave the rings"))
        left = max(begun + DRAIN - asyncio.get_running_loop().time(), 0.1)
        await _wait(drain, left)
        slow = {*self._in_hand(), *(task.get_name() for task in self._rhythms if task in late)}
        if slow:
            self._log.warning(
                f"gave up after {DRAIN:g} s on {listing(sorted(slow))}"
                f"{'; what it had in hand is not acknowledged' if self._in_hand() else ''}"
            )
        await self._cancel([*drain, *asks, *self._rhythms])
        await self._within(CLOSING, self.circulating.close(), "closing the rings")
        if self._door is not None:
            await self._within(CLOSING, self._door.close(), "closing the door")
        hooks = self._run_stop_hooks()
        if not await self._within(STOP_HOOKS, hooks, "stop hooks"):
            self._log.warning(f"gave up on the stop hooks after {STOP_HOOKS:g} s")
        if self._subscribing is not None:
            await self._within(CLOSING, self._subscribing.close(), "closing the subscriptions")
        if self._hub is not None:
            await self._within(CLOSING, self._close_links(self._hub), "closing the links")
        if self._peers is not None:
            await self._within(CLOSING, self._peers.close(), "closing the peers")
        await self._cancel(list(self._telling))
        self._threads.close()
        if self._watchdog is not None:
            self._watchdog.stop()

    async def _close_links(self, hub: Hub) -> None:
        # Stop hooks may have dialled anew, and those links have not said goodbye.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSING / 2):
                await hub.drain(STOPPING)
        await hub.close()

    async def _run_stop_hooks(self) -> None:
        for name in self._plan.on_stop if self._hooks_begun else ():
            try:
                await self._hook(name, getattr(self._sketch, name))
            except HookError as exc:
                self._log.error(str(exc))

    async def _within(self, limit: float, work: Coroutine[Any, Any, None], name: str) -> bool:
        """Run some work and return whether it ended in time; what goes wrong in it is logged."""
        task = asyncio.create_task(work, name=name)
        late = await _wait([task], limit)
        await self._cancel([task])
        return not late

    async def _cancel(self, tasks: Collection[asyncio.Task[None]]) -> None:
        """Cancel tasks and tell their errors; what takes no notice is abandoned."""
        for task in tasks:
            task.cancel()
        await _wait(tasks, CANCELLED)
        for task in tasks:
            if task.done() and not task.cancelled() and (exc := task.exception()) is not None:
                self._report(f"{task.get_name()} failed", exc)

    @property
    def is_stuck(self) -> bool:
        """Whether a thread of this worker still runs, which nothing in Python can end."""
        return self._threads.busy > 0

    # -- where it serves and whom it dials ----------------------------------------

    @property
    def address(self) -> Node:
        """This node with the host and port that it really serves on."""
        if self._door is None or not self._door.port:
            raise NotAServerError(self._sketch.name)
        return Node(self._sketch.name, self._door.host, self._door.port)

    @property
    def outgoing(self) -> Outgoing:
        """What sends to other nodes."""
        if self._outgoing is None:
            self._peers = Peers(notice=self._log.info, patience=self._sketch.patience)
            self._outgoing = Outgoing(self.hub, self._peers)
            if self._stopping.is_set():
                self._peers.give_up()
                self.hub.give_up()
        return self._outgoing

    @property
    def hub(self) -> Hub:
        """The links to other processes; made when the first is needed."""
        if self._hub is None:
            self._hub = Hub(
                self._sketch.name, self._handling, notice=self._log.info, changed=self._peer_changed
            )
            self._hub.followers.append(self.publishing)
        return self._hub

    def books(self) -> dict[str, object]:
        """Return the ledger of this worker: by peer, ``sent`` and ``received``, by channel.

        It has its limit; of very many lines, those that do not balance are there for certain.
        """
        shown, omitted = bounded(self._books())
        return {"node": self._sketch.name, "peers": shown, "omitted": omitted}

    def _books(self) -> Books:
        whole = self._hub.books() if self._hub is not None else {}
        if self._peers is not None:
            whole = joined(whole, self._peers.books(), mark="sent to")
        if self._door is not None:
            clients = merged(self._door.books.books(), self._feeds.books())
            whole = joined(whole, clients, mark="of the door")
        return whole

    @property
    def balanced(self) -> bool:
        """Whether every line of the ledger balances."""
        return is_balanced(self._books())

    def _peer_changed(self, peer: str, state: str, reason: str) -> None:
        self._handling.peer_changed(peer, state, reason)
        try:
            told = self._sketch.on_peer(peer, state, reason)
        except BaseException as exc:
            self._report("on_peer() failed", exc)
            return
        if inspect.isawaitable(told):
            task = asyncio.create_task(self._hook("on_peer", lambda: told), name="on_peer()")
            self._telling.add(task)
            task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._log.warning(str(exc))

    def _in_hand(self) -> list[str]:
        links = self._hub.in_hand() if self._hub is not None else []
        return [
            *self._handling.in_hand.values(),
            *(f"channel {channel!r} of {peer}" for peer, channel in links),
        ]

    async def _serve(self, socket: str | None, port: int | None) -> None:
        me = self._sketch.me
        host = socket or me.host
        if port is None:
            port = me.port if me.port is not None else self._port_of_environment() or DEFAULT_PORT
        if self.circulating.is_wanted:
            self.circulating.rings.prepare()
        self._door = door = Door(
            self._handling,
            own_hosts={host, me.host},
            allowed_origins=self._sketch.grid.origins,
            link=self.hub.accept,
            ring=self.circulating.rings.accept if self.circulating.is_wanted else None,
            reserved={"$ledger", "$ring"},
            feeds=self._feeds,
        )
        # To its end, for of a door that is half open nobody could give back the port.
        await _to_its_end(asyncio.create_task(door.open(host, port), name="opening the door"))
        self._say(f"serving on {endpoint(host, door.port)}")
        if me.port is not None and door.port != me.port:
            self._log.warning(
                f"the grid has {me.name} on port {me.port}; that is where its peers will look for it"
            )

    def _aim(self, socket: str | None, port: int | None) -> None:
        """Settle the target of a client-only sketch: as told, else as the grid says, else the default."""
        sketch = self._sketch
        target = sketch.node(sketch.target) if isinstance(sketch.target, str) else sketch.target
        if socket is None and port is None and target is not None:
            return
        host = _first(socket, target.host if target else None, "localhost")
        number = _first(port, target.port if target else None, DEFAULT_PORT)
        known = next((node for node in sketch.grid if (node.host, node.port) == (host, number)), None)
        tls = target is not None and target.tls
        sketch.target = known or Node(endpoint(host, number), host, number, tls=tls)

    def _port_of_environment(self) -> int | None:
        """Return ``$PORT``, which runners such as foreman set for each process."""
        text = os.environ.get("PORT", "")
        if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536:
            return int(text)
        if text:
            self._log.warning(f"$PORT is {text!r}, which is no port; it is not used")
        return None

    # -- messages ------------------------------------------------------------------

    def _say(self, text: str) -> None:
        # A sketch may have an out() of its own; what that raises must not end a connection.
        try:
            self._sketch.out(text)
        except BaseException as exc:
            self._report("out() failed", exc)

    async def to_thread(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a function in one of this worker's threads and await its result."""
        return await self._threads.run(function, *args, **kwargs)

    # -- rhythms and hooks -----------------------------------------------------------

    async def _beat(self, name: str, rhythm: Rhythm) -> None:
        loop = asyncio.get_running_loop()
        method = getattr(self._sketch, name)
        due = loop.time()
        trouble = ""
        while not self._stopping.is_set():
            failed: BaseException | None = None
            try:
                if inspect.iscoroutinefunction(method):
                    await method()
                elif inspect.isawaitable(result := await self.to_thread(method)):
                    await result
            except BaseException as exc:
                if is_cancellation(exc):
                    raise
                failed = exc
            try:
                period = seconds(
                    getattr(self._sketch, rhythm.period) if isinstance(rhythm.period, str) else rhythm.period
                )
            except BaseException as exc:
                failed, period = failed or exc, 1.0
            # The same trouble at every beat is told once.
            known, trouble = trouble, named(failed) if failed else ""
            if failed and trouble != known:
                self._report(f"rhythm {name}() failed and goes on", failed)
            due += period
            late = loop.time() - due
            if late > 0:
                due += math.ceil(late / period) * period
            try:
                async with asyncio.timeout_at(due):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _hook(self, name: str, method: Callable[[], object]) -> None:
        try:
            await self._call(method)
        except BaseException as exc:
            if is_cancellation(exc):
                raise
            self._log.debug(f"hook {name}() failed", exc_info=exc)
            raise HookError(f"{name}() raised {named(exc)}{place(exc)}") from exc

    async def _call(self, method: Callable[[], object]) -> None:
        result = method()
        if inspect.isawaitable(result):
            await result

    # -- reports -----------------------------------------------------------------------

    def _report(self, what: str, exc: BaseException) -> None:
        # While a fleet stops, peers go away in any order; that is no news.
        expected = self._stopping.is_set() and isinstance(exc, PeerDownError)
        level = logging.DEBUG if expected else logging.WARNING
        where = "" if isinstance(exc, MeshError) else place(exc)
        detail = exc if self._log.isEnabledFor(logging.DEBUG) else None
        self._log.log(level, f"{what}: {named(exc)}{where}", exc_info=detail)

    def _names(self) -> dict[CodeType, str]:
        names: dict[CodeType, str] = {}
        for kind, methods in (
            ("handler", [handler.name for handler in self._plan.all_handlers]),
            ("rhythm", [name for name, _ in self._plan.rhythms]),
            ("hook", [*self._plan.on_start, *self._plan.on_stop, "setup"]),
        ):
            for name in methods:
                function = getattr(type(self._sketch), name)
                # Under a decorator with functools.wraps lies what the author wrote.
                for layer in (function, inspect.unwrap(function)):
                    names[layer.__code__] = f"{kind} {name}()"
        return names

    def name_what_is_in_hand(self) -> str:
        """Say which handlers hold a message right now."""
        return listing(sorted(set(self._in_hand()))) or "nothing in hand"

    def interrupt(self, by_keyboard: bool) -> None:
        """Stop because of a signal; called in the midst of any code, so it only hands the word on."""
        self._by_keyboard = by_keyboard
        self.stop()


def run_until_stopped(sketch: FactoryLoop, worker: Worker, socket: str | None, port: int | None) -> None:
    """Run a sketch in an event loop of its own until a signal or ``stop()`` ends it.

    Raises:
        SystemExit: With 1, after one line that says why, if it cannot run; with 2 if that
            is because ``async def setup()`` raised ``ValueError``.
        RuntimeError: If it was started before.

    """
    log = logging.LoggerAdapter(logging.getLogger("factory.worker"), {"node": sketch.name})

    def overdue() -> None:
        log.error(f"did not stop in time ({worker.name_what_is_in_hand()}); ends by force")

    code = 0
    with StopSignals(worker.interrupt, overdue) as signals:
        worker.when_stopping = signals.arm
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(sketch.arun(socket, port))
        except (MeshError, FactoryError) as exc:
            log.error(str(exc))
            # What setup() says of its arguments is for whoever gave them.
            code = 2 if isinstance(exc, SetupError) else 1
        if not worker.balanced:
            log.error(f"the books do not balance: {json.dumps(worker.books())}")
            code = code or UNBALANCED
        if worker.is_stuck and threading.current_thread() is threading.main_thread():
            # The interpreter would wait for the thread for ever.
            log.error("a handler's thread still runs and cannot be ended; leaving without it")
            leave_now(1)
    if code:
        raise SystemExit(code)


def refuses_arguments(exc: BaseException | None) -> bool:
    """Say whether this is what ``setup()`` raises when its arguments are wrong."""
    return isinstance(exc, ValueError) and not isinstance(exc, MeshError)


def _first(*candidates: Any) -> Any:
    return next(candidate for candidate in candidates if candidate is not None)


async def _to_its_end(task: asyncio.Task[None]) -> None:
    """Await a task that nothing may cut short; a cancellation comes out when it is done."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # asked for, so that asyncio does not complain
        raise cancelled
    task.result()


async def _wait(tasks: Collection[asyncio.Task[None]], limit: float) -> Collection[asyncio.Task[None]]:
    """Wait for tasks, but no longer than that, and return those that still run."""
    return (await asyncio.wait(tasks, timeout=limit))[1] if tasks else tasks
