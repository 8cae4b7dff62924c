"""The life of one sketch: serve, start, run, drain, stop.

States: made, starting, running, draining, stopped; see docs/explanation/architecture.md.
The worker owns every task, thread and connection of its sketch.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from factory.errors import HookError
from factory.gate import Gate
from factory.plan import Handler, Plan
from factory.reactive import Rhythm
from factory.signals import StopSignals, leave_now
from factory.watchdog import Watchdog
from mesh.door import Client, Door
from mesh.errors import MeshError, NotAServerError, PayloadError, PeerDownError
from mesh.node import Node
from mesh.peers import Peers
from mesh.protocol.values import Refusal, Wire
from mesh.text import listing, seconds

if TYPE_CHECKING:
    from factory.loop import FactoryLoop

DEFAULT_PORT = 8765
"""The port that a worker serves on, and a client-only sketch sends to, when nothing says otherwise."""

DRAIN = 3.0
"""Seconds that messages in hand may take once the worker is asked to stop."""

STOP_HOOKS = 1.0
"""Seconds that all stop hooks together may take."""

MAX_THREADS = 32
"""Plain ``def`` handlers that run at once; one more waits for its turn."""


@dataclass(frozen=True, slots=True)
class _Route:
    """Where the messages of one client go."""

    handler: Handler
    captured: dict[str, int | str]
    decode: Callable[[Wire], object]


class Worker:
    """Runs one sketch; what a ``Door`` asks for answers.

    Args:
        sketch: The sketch, whose handlers and hooks are called.
        plan: What its class asks for.

    """

    def __init__(self, sketch: FactoryLoop, plan: Plan) -> None:
        self._sketch = sketch
        self._plan = plan
        self._log = logging.LoggerAdapter(logging.getLogger("factory.worker"), {"node": sketch.name})
        self._setup: Awaitable[object] | None = None
        self._door: Door | None = None
        self._peers: Peers | None = None
        self._gate = Gate() if any(handler.exclusive for handler in plan.all_handlers) else None
        self._decoders: dict[str, Callable[[Wire], object]] = {}
        self._routes: dict[int, _Route | Refusal] = {}
        self._in_hand: dict[int, str] = {}
        self._rhythms: list[asyncio.Task[None]] = []
        self._threads: ThreadPoolExecutor | None = None
        self._in_threads = 0
        self._stopping = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watchdog: Watchdog | None = None

    # -- life --------------------------------------------------------------------

    def prepare(self, setup: Awaitable[object]) -> None:
        """Keep an ``async def setup()`` to be awaited at the start."""
        self._setup = setup

    async def start(self, socket: str | None, port: int | None) -> None:
        """Serve, run the start hooks, begin the rhythms.

        Raises:
            ServeError: If the worker cannot listen there.
            HookError: If ``setup()`` or a start hook raises.
            SketchError: If a handler's type annotation cannot be used.

        """
        self._loop = asyncio.get_running_loop()
        self._decoders = {handler.name: handler.decoder() for handler in self._plan.all_handlers}
        self._watchdog = Watchdog(self._log.warning, self._names())
        self._watchdog.start()
        try:
            if self._setup is not None:
                await self._hook("setup", lambda: self._setup)
            if self._plan.is_client_only:
                self._aim(socket, port)
            else:
                await self._serve(socket, port)
            for name in self._plan.on_start:
                await self._hook(name, getattr(self._sketch, name))
            for name, rhythm in self._plan.rhythms:
                self._rhythms.append(asyncio.create_task(self._beat(name, rhythm), name=f"rhythm {name}"))
        except BaseException:
            await self.finish()
            raise

    def stop(self) -> None:
        """Ask for the end; safe from any thread and any number of times."""
        if self._loop is None or self._loop.is_closed():
            self._stopping.set()
        else:
            self._loop.call_soon_threadsafe(self._begin_to_stop)

    def _begin_to_stop(self) -> None:
        self._stopping.set()
        if self._peers is not None:
            self._peers.give_up()

    async def wait_stopped(self) -> None:
        """Return when the worker was asked to stop."""
        await self._stopping.wait()

    async def finish(self) -> None:
        """Drain, then stop. Never takes longer than ``DRAIN`` + ``STOP_HOOKS`` seconds."""
        self._begin_to_stop()
        try:
            async with asyncio.timeout(DRAIN):
                await asyncio.gather(*([self._door.drain()] if self._door else []), *self._rhythms)
        except TimeoutError:
            if self._in_hand:
                self._log.warning(
                    f"gave up after {DRAIN:g} s on {listing(sorted(set(self._in_hand.values())))}; "
                    f"what they had in hand is not acknowledged"
                )
        for rhythm in self._rhythms:
            rhythm.cancel()
        await asyncio.gather(*self._rhythms, return_exceptions=True)
        if self._door is not None:
            await self._door.close()
        try:
            async with asyncio.timeout(STOP_HOOKS):
                for name in self._plan.on_stop:
                    try:
                        await self._hook(name, getattr(self._sketch, name))
                    except HookError as exc:
                        self._log.error(str(exc))
        except TimeoutError:
            self._log.warning(f"gave up on the stop hooks after {STOP_HOOKS:g} s")
        if self._peers is not None:
            await self._peers.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        if self._watchdog is not None:
            self._watchdog.stop()

    @property
    def is_stuck(self) -> bool:
        """Whether a thread of this worker still runs, which nothing in Python can end."""
        return self._in_threads > 0

    # -- where it serves and whom it dials ----------------------------------------

    @property
    def address(self) -> Node:
        """This node with the host and port that it really serves on."""
        if self._door is None or not self._door.port:
            raise NotAServerError(self._sketch.name)
        return Node(self._sketch.name, self._door.host, self._door.port)

    @property
    def peers(self) -> Peers:
        """The outbound connections; made when the first is needed."""
        if self._peers is None:
            self._peers = Peers(notice=self._log.info, patience=self._sketch.patience)
        return self._peers

    async def _serve(self, socket: str | None, port: int | None) -> None:
        me = self._sketch.me
        host = socket or me.host
        door = Door(self, own_hosts={host, me.host}, allowed_origins=self._sketch.grid.origins)
        await door.open(host, _first(port, me.port, _port_of_environment(), DEFAULT_PORT))
        self._door = door
        self._sketch.out(f"serving on {host}:{door.port}")
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
        sketch.target = known or Node(f"{host}:{number}", host, number)

    # -- messages ------------------------------------------------------------------

    def client_opened(self, client: Client) -> None:
        """Find who handles this client's channel, and say that it came."""
        self._sketch.out(f"** new client connected, path=/{client.channel}")
        found = self._plan.find(client.channel)
        if found is None:
            channels = listing(self._plan.channels, "or")
            self._routes[client.id] = Refusal(
                "UnknownChannelError",
                f"no handler takes channel {client.channel!r}; {self._sketch.name} takes {channels}",
            )
        else:
            handler, captured = found
            self._routes[client.id] = _Route(handler, captured, self._decoders[handler.name])

    def client_closed(self, client: Client, reason: str) -> None:
        """Forget a client, and say why it left."""
        del self._routes[client.id]
        self._sketch.out(f"done processing messages: {reason}")

    async def answer(self, client: Client, message: Wire) -> object | Refusal:
        """Handle one message; its value is the acknowledgement."""
        route = self._routes[client.id]
        if isinstance(route, Refusal):
            return route
        try:
            value = route.decode(message)
        except PayloadError as exc:
            return Refusal(type(exc).__name__, str(exc))
        self._in_hand[client.id] = f"handler {route.handler.name}()"
        try:
            if self._gate is None:
                return await self._handle(route, client.channel, value)
            async with self._gate.enter(exclusive=route.handler.exclusive):
                return await self._handle(route, client.channel, value)
        except (Exception, SystemExit) as exc:
            self._report(
                f"handler {route.handler.name}() refused a message on channel {client.channel!r}", exc
            )
            return Refusal(type(exc).__name__, str(exc))
        finally:
            del self._in_hand[client.id]

    async def _handle(self, route: _Route, channel: str, value: object) -> object:
        handler = route.handler
        if handler.is_async:
            return await handler.function(self._sketch, channel, value, **route.captured)
        return await self.to_thread(handler.function, self._sketch, channel, value, **route.captured)

    async def to_thread(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a function in one of this worker's threads and await its result."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=self._sketch.name)
        self._in_threads += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))
        future.add_done_callback(self._left_thread)
        # A thread cannot be cancelled: shielded, it is counted until it really ends.
        return await asyncio.shield(future)

    def _left_thread(self, future: asyncio.Future[Any]) -> None:
        self._in_threads -= 1
        # Retrieved, so that a caller that was cancelled leaves no "never retrieved".
        if not future.cancelled():
            future.exception()

    # -- rhythms and hooks -----------------------------------------------------------

    async def _beat(self, name: str, rhythm: Rhythm) -> None:
        loop = asyncio.get_running_loop()
        method = getattr(self._sketch, name)
        due = loop.time()
        trouble = ""
        while not self._stopping.is_set():
            try:
                await self._call(method)
                trouble = ""
                period = seconds(
                    getattr(self._sketch, rhythm.period) if isinstance(rhythm.period, str) else rhythm.period
                )
            except (Exception, SystemExit) as exc:
                # The same trouble at every beat is told once.
                if trouble != (trouble := f"{type(exc).__name__}: {exc}"):
                    self._report(f"rhythm {name}() failed and goes on", exc)
                period = seconds(rhythm.period) if not isinstance(rhythm.period, str) else 1.0
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
        except (Exception, SystemExit) as exc:
            self._log.debug(f"hook {name}() failed", exc_info=exc)
            raise HookError(f"{name}() raised {type(exc).__name__}: {exc}{_place(exc)}") from exc

    async def _call(self, method: Callable[[], object]) -> None:
        result = method()
        if isinstance(result, Awaitable):
            await result

    # -- reports -----------------------------------------------------------------------

    def _report(self, what: str, exc: BaseException) -> None:
        # While a fleet stops, peers go away in any order; that is no news.
        expected = self._stopping.is_set() and isinstance(exc, PeerDownError)
        level = logging.DEBUG if expected else logging.WARNING
        where = "" if isinstance(exc, MeshError) else _place(exc)
        detail = exc if self._log.isEnabledFor(logging.DEBUG) else None
        self._log.log(level, f"{what}: {type(exc).__name__}: {exc}{where}", exc_info=detail)

    def _names(self) -> dict[CodeType, str]:
        names = {
            handler.function.__code__: f"handler {handler.name}()" for handler in self._plan.all_handlers
        }
        for kind, methods in (
            ("rhythm", [name for name, _ in self._plan.rhythms]),
            ("hook", [*self._plan.on_start, *self._plan.on_stop, "setup"]),
        ):
            for name in methods:
                names[getattr(type(self._sketch), name).__code__] = f"{kind} {name}()"
        return names

    def name_what_is_in_hand(self) -> str:
        """Say which handlers hold a message right now."""
        return listing(sorted(set(self._in_hand.values()))) or "nothing in hand"

    def interrupt(self, by_keyboard: bool) -> None:
        """Stop because of a signal; called in the midst of any code, so it only hands the word on."""
        if self._loop is not None and not self._loop.is_closed():
            if by_keyboard:
                self._loop.call_soon_threadsafe(self._sketch.out, "Keyboard interruption, aborting.")
            self._loop.call_soon_threadsafe(self._begin_to_stop)
        else:
            self._stopping.set()


def run_until_stopped(sketch: FactoryLoop, worker: Worker, socket: str | None, port: int | None) -> None:
    """Run a sketch in an event loop of its own until a signal or ``stop()`` ends it.

    Raises:
        SystemExit: With 1, after one line that says why, if it cannot run.

    """
    log = logging.LoggerAdapter(logging.getLogger("factory.worker"), {"node": sketch.name})

    def overdue() -> None:
        log.error(f"did not stop in time ({worker.name_what_is_in_hand()}); ends by force")

    code = 0
    with StopSignals(worker.interrupt, overdue):
        try:
            asyncio.run(sketch.arun(socket, port))
        except (MeshError, HookError) as exc:
            log.error(str(exc))
            code = 1
        if worker.is_stuck:
            # The interpreter would wait for the thread for ever.
            log.error("a handler's thread still runs and cannot be ended; leaving without it")
            leave_now(1)
    if code:
        raise SystemExit(code)


def _first(*candidates: Any) -> Any:
    return next(candidate for candidate in candidates if candidate is not None)


def _port_of_environment() -> int | None:
    """Return ``$PORT``, which runners such as foreman set for each process."""
    text = os.environ.get("PORT", "")
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536 else None


def _place(exc: BaseException) -> str:
    """Say in which line of the sketch an error arose."""
    frames = traceback.extract_tb(exc.__traceback__)
    # The last frame outside of this package is the sketch's own, or what it called.
    own = str(Path(__file__).parent)
    for frame in frames:
        if (
            not frame.filename.startswith(own)
            and "asyncio" not in frame.filename
            and "concurrent" not in frame.filename
        ):
            return f" (at {frame.filename}:{frame.lineno})"
    return ""
