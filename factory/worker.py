"""The life of one sketch: serve, start, run, drain, stop.

States: made, starting, running, draining, stopped; see docs/explanation/architecture.md.
The worker owns every task, thread and connection of its sketch.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeGuard

from factory.circulating import Circulating
from factory.doors import DEFAULT_PORT, Doors
from factory.ending import cancel, to_its_end, wait_at_most, within
from factory.errors import HookError, SetupError
from factory.handling import Handling
from factory.inspection import Inspection
from factory.plan import Plan
from factory.rhythms import beat
from factory.threads import Threads
from factory.trouble import is_cancellation, named, place, words
from factory.watchdog import Watchdog
from factory.wiring import Wires, moved, wired_to, wirings
from mesh.conversation import STOPPING, Client
from mesh.dialling import dial_link
from mesh.errors import GridError, MeshError, PeerDownError
from mesh.feeds import Feeds
from mesh.gridfile import Grid
from mesh.links.hub import Hub
from mesh.links.publishing import Publishing
from mesh.links.subscribing import Subscribing
from mesh.node import Node
from mesh.outgoing import Outgoing
from mesh.peers import Peers
from mesh.protocol.books import Books, bounded, is_balanced, joined
from mesh.protocol.values import Wire
from mesh.text import endpoint, listing

if TYPE_CHECKING:
    from factory.loop import FactoryLoop

DRAIN = 3.0
"""Seconds that messages in hand may take once the worker is asked to stop."""

ASKS = 1.0
"""Seconds of those that the generators that answer asks may take; then they are closed."""

STOP_HOOKS = 1.0
"""Seconds that all stop hooks together may take."""

CLOSING = 0.2
"""Seconds that closing the connections may take, those inbound and then those outbound."""


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
        self._hub: Hub | None = None
        self._peers: Peers | None = None
        self._outgoing: Outgoing | None = None
        self._rhythms: list[asyncio.Task[None]] = []
        self._threads = Threads(sketch.name)
        self._stopping = asyncio.Event()
        self.publishing = Publishing(patience=sketch.patience, say=self._say)
        self.publishing.subscribed = self._subscribed
        self.inspection = Inspection(sketch, self)
        self._handling = Handling(
            sketch,
            plan,
            self._threads,
            self._stopping,
            say=self._say,
            tell=self._client_changed,
            report=self._report,
            note=self._log.info,
            warn=self._log.warning,
            inspection=self.inspection,
            whence=lambda peer: self.hub.whence(peer),
        )
        self.circulating = Circulating(sketch.name, sketch.grid, self._handling, self._log.info)
        self._doors = Doors(
            sketch,
            self._handling,
            Feeds(self.publishing),
            lambda: self.hub,
            self.circulating,
            say=self._say,
            note=self._log.info,
            warn=self._log.warning,
        )
        self._wires = Wires(
            sketch.name,
            lambda: Subscribing(self.hub, warn=self._log.warning),
            route=self._handling.values,
            say=self._say,
            warn=self._log.warning,
        )
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
            EndpointError: If ``line_door`` is no address.
            ServeError: If the worker cannot listen there.
            HookError: If ``setup()`` or a start hook raises.

        """
        if self._loop is not None:
            raise RuntimeError(f"{self._sketch.name} was started before; construct it again to run it again")
        self._loop = asyncio.get_running_loop()
        self.publishing.begin()
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
                cause = exc.__cause__
                if refuses_arguments(cause):
                    # What it says of its arguments is for whoever gave them, not about a line of the sketch.
                    raise SetupError(f"{self.args_at}{words(cause) or exc}") from cause
                raise HookError(f"{self.args_at}{exc}") from cause
        if self._stopping.is_set():
            return
        self._doors.prepare()
        wanted = wirings(self._sketch.me, self._sketch.grid, self._plan)
        lines = self._sketch.line_door
        if self._plan.is_client_only:
            self._aim(socket, port)
            if self._sketch.me.port:
                # It has a port for those that subscribe to it.
                await self._doors.serve(None, None)
        else:
            # Who has another door needs no port for websockets, unless one is asked for.
            asked = socket or port is not None or self._sketch.me.port is not None
            if asked or (lines is None and not self._sketch.me.doors):
                await self._doors.serve(socket, port)
            if lines:
                self._sketch.line_door = await self._doors.serve_lines(lines)
        await self._doors.serve_further()
        callers = wired_to(self._sketch.me, self._sketch.grid)
        self._wires.settle(wanted, callers, serves=self._doors.takes_links)
        if self._doors.web is not None and self.circulating.is_wanted:
            self.circulating.rings.start()
        self._hooks_begun = True
        for name in self._plan.on_start:
            if not self._stopping.is_set():
                await self._hook(name, getattr(self._sketch, name))
        if not self._stopping.is_set():
            for name, rhythm in self._plan.rhythms:
                beating = beat(
                    self._sketch,
                    name,
                    rhythm,
                    stopping=self._stopping,
                    threads=self._threads,
                    report=self._report,
                )
                self._rhythms.append(asyncio.create_task(beating, name=f"rhythm {name}()"))

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
        await to_its_end(self._finishing)

    def _tell_of_rings(self) -> None:
        for group, count in self.circulating.in_hand().items():
            self._log.warning(
                f"gave up after {DRAIN:g} s on the ring {group}: {count} messages were not handled, though "
                f"their senders may have receipts that name {self._sketch.name}; make the handler quicker"
            )

    async def _finish(self) -> None:
        self._begin_to_stop()
        drain = [asyncio.create_task(self._doors.drain(), name="drain")]
        # The rhythms end first: what they stream goes over the links.
        begun = asyncio.get_running_loop().time()
        asks = []
        if self._hub is not None and self._hub.refuse_asks():
            asks.append(asyncio.create_task(self._hub.end_asks(ASKS), name="end asks"))
        late = await wait_at_most([*self._rhythms, *asks], DRAIN)
        if self._hub is not None:
            drain.append(asyncio.create_task(self._hub.drain(STOPPING), name="drain links"))
        drain.append(asyncio.create_task(self.circulating.leave(), name="leave the rings"))
        left = max(begun + DRAIN - asyncio.get_running_loop().time(), 0.1)
        await wait_at_most(drain, left)
        slow = {*self._in_hand(), *(task.get_name() for task in self._rhythms if task in late)}
        if slow:
            self._log.warning(
                f"gave up after {DRAIN:g} s on {listing(sorted(slow))}"
                f"{'; what it had in hand is not acknowledged' if self._in_hand() else ''}"
            )
        self._tell_of_rings()
        await cancel([*drain, *asks, *self._rhythms], self._report)
        await within(CLOSING, self.circulating.close(), "closing the rings", self._report)
        await within(CLOSING, self._doors.close(), "closing the doors", self._report)
        hooks = self._run_stop_hooks()
        if not await within(STOP_HOOKS, hooks, "stop hooks", self._report):
            self._log.warning(f"gave up on the stop hooks after {STOP_HOOKS:g} s")
        await within(CLOSING, self._wires.close(), "closing the subscriptions", self._report)
        if self._hub is not None:
            await within(CLOSING, self._close_links(self._hub), "closing the links", self._report)
        await within(CLOSING, self._doors.close_links(), "closing the doors for links", self._report)
        if self._peers is not None:
            await within(CLOSING, self._peers.close(), "closing the peers", self._report)
        await cancel(list(self._telling), self._report)
        self._handling.awaiting.end()
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

    @property
    def is_stuck(self) -> bool:
        """Whether a thread of this worker still runs, which nothing in Python can end."""
        return self._threads.busy > 0

    # -- where it serves and whom it dials ----------------------------------------

    @property
    def address(self) -> Node:
        """This node with the host and port that it really serves on."""
        return self._doors.address

    @property
    def where(self) -> tuple[str | None, int | None]:
        """Host and port that it serves on, if it does."""
        web = self._doors.web
        return (web.host, web.port) if web is not None and web.port else (None, None)

    def links(self) -> list[dict[str, object]]:
        """Return what is known of each link."""
        return self._hub.peers() if self._hub is not None else []

    def show_published(self, on: bool) -> None:
        """Show what is published to who looks on, or no longer."""
        self.publishing.watcher = self.inspection.taps.published if on else None

    def subscriptions(self) -> list[dict[str, object]]:
        """Return what is subscribed to."""
        return self._wires.known()

    def take_grid(self, grid: Grid) -> None:
        """Use another grid from now on: for look-ups, and for what is subscribed to.

        Links to nodes that are where they were are not touched; one that has moved is dialled at
        its new address.

        Args:
            grid: All nodes, before ``peers:`` hides some.

        """
        sketch = self._sketch
        me = next((node for node in grid if node.name == sketch.name), sketch.me)
        seen, before = grid.visible_to(me), sketch.grid
        try:
            wanted = wirings(me, seen, self._plan)
        except GridError as exc:
            wanted = None
            self._log.warning(f"what {sketch.name} subscribes to stays as it was: {exc}")
        sketch.me, sketch.grid = me, seen
        if isinstance(sketch.target, Node):
            sketch.target = seen.get(sketch.target.name) or sketch.target
        for old, new in moved(before, seen):
            self._log.info(f"{new.name} has moved to {new.link_uri}")
            if self._hub is not None:
                self._hub.moved(new.name, old.link_uri, new.link_uri, partial(dial_link, new))
            self._wires.moved(new)
        self.circulating.take_grid(seen)
        if self._doors.web is not None:
            self._doors.web.allowed_origins = frozenset(grid.origins)
        if wanted is not None:
            self._wires.settle(wanted, wired_to(me, seen), serves=self._doors.takes_links)

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
        whole = joined(whole, self.circulating.books(), mark="of the rings")
        whole = joined(whole, self._doors.books(), mark="of the door")
        return joined(whole, self._books_of_sketch(), mark="of the sketch")

    def _books_of_sketch(self) -> Books:
        if not self._hooks_begun:
            return {}  # it has nothing to count yet, and perhaps nothing to count with
        try:
            return self._sketch.ledger()
        except Exception as exc:
            self._report("ledger() failed", exc)
            return {}

    @property
    def balanced(self) -> bool:
        """Whether every line of the ledger balances."""
        return is_balanced(self._books())

    def _peer_changed(self, peer: str, state: str, reason: str) -> None:
        self._handling.peer_changed(peer, state, reason)
        self._tell("on_peer", lambda: self._sketch.on_peer(peer, state, reason))

    def _subscribed(self, channel: str) -> None:
        self._tell("on_subscriber", lambda: self._sketch.on_subscriber(channel))

    def _client_changed(self, client: Client, state: str, reason: str) -> bool:
        return self._tell("on_client", lambda: self._sketch.on_client(client, state, reason)) is True

    def _tell(self, name: str, call: Callable[[], object]) -> object:
        try:
            told = call()
        except BaseException as exc:
            self._report(f"{name}() failed", exc)
            return None
        if inspect.isawaitable(told):
            task = asyncio.create_task(self._hook(name, lambda: told), name=f"{name}()")
            self._telling.add(task)
            task.add_done_callback(self._told)
        return told

    def _told(self, task: asyncio.Task[None]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            self._log.warning(str(exc))

    def _in_hand(self) -> list[str]:
        links = self._hub.in_hand() if self._hub is not None else []
        return [
            *(f"handler {name}()" for name in self._handling.in_hand.values()),
            *(f"channel {channel!r} of {peer}" for peer, channel in links),
        ]

    def _aim(self, socket: str | None, port: int | None) -> None:
        """Settle the target of a client-only sketch: as told, else as the grid says, else the default."""
        sketch = self._sketch
        target = sketch.node(sketch.target) if isinstance(sketch.target, str) else sketch.target
        if socket is None and port is None and target is not None:
            return
        host = _first(socket, target.host if target else None, "localhost")
        number = _first(port, target.port if target else None, DEFAULT_PORT)
        known = next((node for node in sketch.grid if (node.host, node.port) == (host, number)), None)
        tls = False if target is None else target.tls
        sketch.target = known or Node(endpoint(host, number), host, number, tls=tls)

    # -- messages ------------------------------------------------------------------

    def _say(self, text: str) -> None:
        # A sketch may have an out() of its own; what that raises must not end a connection.
        try:
            self._sketch.out(text)
        except BaseException as exc:
            self._report("out() failed", exc)

    def next_message(self, channel: str | None) -> asyncio.Future[Wire]:
        """Return a future for the next message of a channel, or of any one."""
        return self._handling.awaiting.next(channel)

    async def to_thread(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a function in one of this worker's threads and await its result."""
        return await self._threads.run(function, *args, **kwargs)

    # -- hooks -----------------------------------------------------------------------

    async def _hook(self, name: str, method: Callable[[], object]) -> None:
        try:
            await self._call(method)
        except BaseException as exc:
            if is_cancellation(exc):
                raise
            self._log.debug(f"hook {name}() failed", exc_info=exc)
            if isinstance(exc, SystemExit) and isinstance(exc.code, str):
                # As Python has it: a sentence for people, which says everything.
                raise HookError(exc.code) from exc
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


def refuses_arguments(exc: BaseException | None) -> TypeGuard[ValueError]:
    """Say whether this is what ``setup()`` raises when its arguments are wrong."""
    return isinstance(exc, ValueError) and not isinstance(exc, MeshError)


def _first(*candidates: Any) -> Any:
    return next(candidate for candidate in candidates if candidate is not None)
