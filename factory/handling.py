"""From a message to its answer, whichever way it came: plain websocket or link.

Rules:

- What a handler returns is the answer. If it raises, that one message is refused, the
  trouble is told once, and the worker lives. ``Nack`` and ``Reject`` are no trouble but answers,
  and told as such.
- ``Nack`` with a delay has the message handled again, ``MOST_TRIES`` times at the most, which
  is told once; meanwhile its sender's channel waits, so that order holds.
- A client comes when its first message does, and goes with its connection: one line each. Of
  a link, which has many channels, the client is the peer.
- A link's messages keep their types on the way to a handler with an annotation. One without gets
  what a plain websocket would give it: ``mesh.protocol.linkvalues``.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic
from types import MethodType
from typing import TYPE_CHECKING, Any, NoReturn

from factory import clients
from factory.awaiting import Awaiting
from factory.errors import Close, Nack, Reject
from factory.gate import Gate
from factory.inspection import Inspection, refusal
from factory.plan import SENDER, Decoder, Handler, Plan
from factory.tap import ACKED, CAME
from factory.threads import Threads
from factory.trouble import is_cancellation, named, words
from mesh.control import Answer, answered_at_once, parts_of
from mesh.conversation import Client, Converse, Ending
from mesh.errors import PayloadError
from mesh.links.answering import RefusedError
from mesh.links.inbox import Handle, Route
from mesh.protocol.linkvalues import all_as_plain, as_plain, value_decoder
from mesh.protocol.values import Refusal, Wire, as_it_comes
from mesh.text import listing

if TYPE_CHECKING:
    from factory.loop import FactoryLoop

MOST_TRIES = 5
"""How often a message is handled again because its handler asked for it."""

MOST_PEERS = 4096
"""Peers that are known by name when they come back; each script that ever sent is one."""

# What needs no decoding, and what is done to all the messages of a frame instead.
_DIRECT: Mapping[Decoder, Callable[[list[Any]], list[Any]] | None] = {
    as_it_comes: None,
    as_plain: all_as_plain,
}


class _MismatchError(PayloadError):
    """A message is not of the type its handler asked for."""


class _NoHandlerError(Exception):
    """A message came on a channel that no handler takes.

    Attributes:
        refusal: The answer.

    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class _Way:
    """Where the messages of one channel go, and how they get there."""

    handler: Handler
    captured: dict[str, int | str]
    decode: Decoder

    @property
    def is_plain(self) -> bool:
        """Whether the handler takes messages as they come, so that it can be called as it is."""
        return self.decode is as_it_comes and self.handler.is_async and not self.captured


_Found = _Way | Refusal | Answer


def _sent_by(peer: str, way: _Found) -> _Found:
    """Return the way of the messages of one peer: a handler that wants to know gets its name."""
    if isinstance(way, _Way) and way.handler.takes_sender:
        return replace(way, captured=way.captured | {SENDER: peer})
    return way


class Handling:
    """Calls the handlers of one sketch.

    Args:
        sketch: The sketch.
        plan: What its class asks for.
        threads: Where plain ``def`` handlers run.
        stopping: Set when the worker is asked to stop; nobody waits for a retry then.
        say: Prints a line of the sketch.
        tell: Tells the sketch that a plain client came or went; returns whether the sketch has
            said so itself.
        report: Logs an error of the sketch, with what it did to what.
        note: Logs what is no error.
        warn: Logs a warning.
        inspection: What answers on the mesh's own channels.
        whence: From where a peer is connected.

    Raises:
        SketchError: If a handler's type annotation cannot be used.

    """

    def __init__(
        self,
        sketch: FactoryLoop,
        plan: Plan,
        threads: Threads,
        stopping: asyncio.Event,
        *,
        say: Callable[[str], None],
        tell: Callable[[Client, str, str], bool],
        report: Callable[[str, BaseException], None],
        note: Callable[[str], object],
        warn: Callable[[str], object],
        inspection: Inspection,
        whence: Callable[[str], list[str]],
    ) -> None:
        self._sketch = sketch
        self._plan = plan
        self._threads = threads
        self._stopping = stopping
        self._say = say
        self._tell = tell
        self._report = report
        self._note = note
        self._reserved = inspection.answers
        self._taps = inspection.taps
        self._whence = whence
        self._gate = Gate(warn) if any(handler.exclusive for handler in plan.all_handlers) else None
        self._plain = {handler.name: handler.decoder() for handler in plan.all_handlers}
        self._linked = {handler.name: handler.decoder(value_decoder) for handler in plan.all_handlers}
        self._ways: dict[int, _Way | Refusal | Answer] = {}
        # In the order of their coming, for the oldest is dropped when there are too many.
        self._talking: dict[str, None] = {}
        self.in_hand: dict[int, str] = {}
        self.awaiting = Awaiting()

    def _way(self, channel: str, *, asked: bool = False, plain: bool = False) -> _Way | Refusal | Answer:
        if channel in self._reserved:
            return self._reserved[channel]
        found = self._plan.find(channel) if not channel.startswith("$") else None
        if found is None:
            channels = listing(self._plan.channels, "or") or "none"
            return Refusal(
                "UnknownChannelError",
                f"no handler takes channel {channel!r}; {self._sketch.name} takes {channels}",
            )
        handler, captured = found
        if handler.gives_parts and not asked:
            return Refusal(
                "AskNeededError",
                f"{handler.name}() of {self._sketch.name} answers in parts, so ask() for them: "
                f"async for part in self.ask({self._sketch.name!r}, msg, {channel!r})",
            )
        return _Way(handler, captured, (self._plain if plain else self._linked)[handler.name])

    # -- plain clients -------------------------------------------------------------------

    def converse(self, client: Client) -> Converse | None:
        """Return what the sketch holds its conversations with, if it does so itself."""
        if client.channel in self._reserved:
            return None
        return self._sketch.converse(client)

    def client_opened(self, client: Client) -> None:
        """Find who handles this client's channel, and tell that it came."""
        clients.enter(client)
        self._ways[client.id] = self._way(client.channel, plain=True)
        if client.channel in self._reserved:
            return
        if not self._tell(client, "up", f"connected from {client.address}"):
            what = "?subscribe" if client.subscribes else ""
            self._say(f"** new client connected, path=/{client.channel}{what}")

    def client_closed(self, client: Client, reason: str) -> None:
        """Forget a client, and tell why it left and after how long."""
        del self._ways[client.id]
        reason += f", after {monotonic() - client.since:.1f} s"
        if client.channel not in self._reserved and not self._tell(client, "down", reason):
            self._say(f"done processing messages: {reason}")

    async def answer(self, client: Client, message: Wire) -> object | Refusal | Ending:
        """Handle one message; its value is the acknowledgement."""
        way = self._ways[client.id]
        if isinstance(way, Refusal):
            return way
        if not isinstance(way, _Way):
            return refusal([client.address]) or way(message)
        if self.awaiting.anybody:
            self.awaiting.came(client.channel, [message])
        if self._taps.anybody:
            self._taps.saw(CAME, client.address, client.channel, (message,))
            answer = await self._answer(way, client, message)
            self._taps.saw(ACKED, client.address, client.channel, (_on_a_link(answer),))
            return answer
        return await self._answer(way, client, message)

    async def _answer(self, way: _Way, client: Client, message: Wire) -> object | Refusal | Ending:
        self.in_hand[client.id] = way.handler.name
        try:
            if way.is_plain and self._gate is None:
                value: object = await way.handler.function(self._sketch, client.channel, message)
                return value
            return await self._handle(way, client.channel, message)
        except BaseException as exc:
            if is_cancellation(exc):
                raise
            return await self._after(way, client.channel, message, exc)
        finally:
            del self.in_hand[client.id]

    # -- links ---------------------------------------------------------------------------

    def opened(self, peer: str, channel: str) -> Route:
        """Return where the messages of a peer on a channel go; of the first channel, say that it came."""
        way = self._way(channel)
        if channel not in self._reserved and peer not in self._talking:
            self._talking[peer] = None
            if len(self._talking) > MOST_PEERS:
                del self._talking[next(iter(self._talking))]
            self._say(f"** new client connected, path=/{channel}")
        return self._route(_sent_by(peer, way), channel, peer)

    def values(self, channel: str, handler: Handler | None) -> Route:
        """Return where the values of a subscription go.

        Args:
            channel: The channel.
            handler: The handler that is for them alone; ``None`` for the one that takes the channel.

        """
        way = self._way(channel) if handler is None else _Way(handler, {}, self._linked[handler.name])

        async def recover(item: Any, error: BaseException) -> Any | Refusal:
            if isinstance(error, _NoHandlerError):
                return error.refusal
            if isinstance(way, _Way):
                return _on_a_link(await self._after(way, channel, item, error))
            return Refusal(type(error).__name__, words(error))

        return self._route(way, channel, None)._replace(recover=recover)

    def _route(self, way: _Way | Refusal | Answer, channel: str, peer: str | None) -> Route:
        if isinstance(way, Refusal):
            return Route(_refusing(way), None)
        if not isinstance(way, _Way):
            return Route(self._answering(way, peer or ""), None)
        handler = way.handler
        if way.decode in _DIRECT and handler.is_async and not way.captured and self._gate is None:
            # The way of most messages: nothing stands between the link and the handler.
            prepare = self._arrivals(channel, peer, _DIRECT[way.decode])
            handle: Handle = MethodType(handler.function, self._sketch)
        else:
            prepare, handle = self._arrivals(channel, peer), self._careful(way)
        return Route(handle, prepare, answered=self._answers(channel, peer))

    def _arrivals(
        self, channel: str, peer: str | None, prepare: Callable[[list[Any]], list[Any]] | None = None
    ) -> Callable[[list[Any]], list[Any]]:
        awaiting, taps = self.awaiting, self._taps

        def arrive(items: list[Any]) -> list[Any]:
            if awaiting.anybody:
                awaiting.came(channel, all_as_plain(items))
            if taps.anybody:
                taps.saw(CAME, peer, channel, items)
            return items if prepare is None else prepare(items)

        return arrive

    def _answers(self, channel: str, peer: str | None) -> Callable[[list[Any]], None]:
        taps = self._taps

        def answered(values: list[Any]) -> None:
            if taps.anybody:
                taps.saw(ACKED, peer, channel, values)

        return answered

    def _answering(self, answer: Answer, peer: str) -> Handle:
        async def handle(_channel: str, message: object) -> object:
            no = refusal(self._whence(peer))
            if no is not None:
                raise _NoHandlerError(no)
            return await answered_at_once(answer, message)

        return handle

    def _careful(self, way: _Way) -> Handle:
        async def handle(channel: str, message: Any) -> object:
            clients.enter(None)
            return await self._handle(way, channel, message)

        return handle

    async def recover(self, peer: str, channel: str, item: Any, error: BaseException) -> Any | Refusal:
        """Return what becomes of a message whose handling raised."""
        if isinstance(error, _NoHandlerError):
            return error.refusal
        way = _sent_by(peer, self._way(channel))
        if isinstance(way, _Way):
            return _on_a_link(await self._after(way, channel, item, error))
        return Refusal(type(error).__name__, words(error))

    def asked(self, peer: str, channel: str, item: Any) -> AsyncGenerator[Any, None] | Refusal:
        """Return what gives the parts of the answer to a message, or why nothing will."""
        way = _sent_by(peer, self._way(channel, asked=True))
        if isinstance(way, Refusal):
            return way
        if not isinstance(way, _Way):
            return refusal(self._whence(peer)) or parts_of(way, item)
        if self._taps.anybody:
            self._taps.saw(CAME, peer, channel, (item,))
        try:
            value = way.decode(item)
        except PayloadError as exc:
            return Refusal(PayloadError.__name__, str(exc))
        if way.handler.gives_parts:
            return self._parts(way, channel, value)
        return self._only_part(way, channel, item)

    async def _parts(self, way: _Way, channel: str, value: object) -> AsyncGenerator[Any, None]:
        handler = way.handler
        async with contextlib.AsyncExitStack() as stack:
            if self._gate is not None:
                await stack.enter_async_context(self._gate.enter(handler.name, exclusive=handler.exclusive))
            parts = handler.function(self._sketch, channel, value, **way.captured)
            try:
                while True:
                    try:
                        part = await anext(parts)
                    except StopAsyncIteration:
                        break
                    except BaseException as exc:
                        if is_cancellation(exc):
                            raise
                        self._report(f"handler {handler.name}() ended an ask on channel {channel!r}", exc)
                        raise RefusedError(Refusal(type(exc).__name__, words(exc))) from exc
                    yield part
            finally:
                try:
                    await parts.aclose()
                except BaseException as exc:
                    if is_cancellation(exc):
                        raise
                    self._report(f"handler {handler.name}() raised when its ask was over", exc)

    async def _only_part(self, way: _Way, channel: str, message: Any) -> AsyncGenerator[Any, None]:
        try:
            answer = await self._handle(way, channel, message)
        except BaseException as exc:
            if is_cancellation(exc):
                raise
            answer = _on_a_link(await self._after(way, channel, message, exc))
        if isinstance(answer, Refusal):
            raise RefusedError(answer)
        yield answer

    def unsendable(self, peer: str, channel: str, what: str, error: Exception) -> None:
        """Tell that an answer could not be sent."""
        self._report(f"{what} for {peer} on channel {channel!r} could not be sent", error)

    def peer_changed(self, peer: str, state: str, reason: str) -> None:
        """Tell that a peer that sends to this sketch came or went."""
        if peer in self._talking:
            self._say(
                f"done processing messages: {reason}" if state == "down" else f"** {peer} is back ({reason})"
            )

    # -- both ------------------------------------------------------------------------------

    async def _handle(self, way: _Way, channel: str, message: Any) -> object:
        try:
            value = way.decode(message)
        except PayloadError as exc:
            raise _MismatchError(str(exc)) from exc
        if self._gate is None:
            return await self._call(way, channel, value)
        async with self._gate.enter(way.handler.name, exclusive=way.handler.exclusive):
            return await self._call(way, channel, value)

    async def _call(self, way: _Way, channel: str, value: object) -> object:
        handler = way.handler
        if handler.is_async:
            return await handler.function(self._sketch, channel, value, **way.captured)
        answer = await self._threads.run(handler.function, self._sketch, channel, value, **way.captured)
        # A decorator may have put a plain def round an async one.
        return await answer if inspect.isawaitable(answer) else answer

    async def _after(
        self, way: _Way, channel: str, message: Any, exc: BaseException
    ) -> object | Refusal | Ending:
        """Return what becomes of a message whose handler raised: an answer after all, or the refusal."""
        tries = 0
        where = f"handler {way.handler.name}()"
        while isinstance(exc, Nack) and exc.retry_in is not None and tries < MOST_TRIES:
            tries += 1
            if tries == 1:
                again = f"wants a message on channel {channel!r} again in {exc.retry_in:g} s"
                self._note(f"{where} {again}: {named(exc)}")
            await self._pause(exc.retry_in)
            if self._stopping.is_set():
                break
            try:
                return await self._handle(way, channel, message)
            except BaseException as another:
                if is_cancellation(another):
                    raise
                exc = another
        if isinstance(exc, _MismatchError):
            # The message is not of the type that was asked for: its sender's trouble, not ours.
            return Refusal(PayloadError.__name__, str(exc))
        if isinstance(exc, Close):
            return Ending(exc.answer, exc.reason)
        refusal = Refusal(type(exc).__name__, words(exc))
        if isinstance(exc, Nack | Reject):
            self._note(f"{where} refused a message on channel {channel!r}: {named(exc)}")
            return refusal
        policy = self._sketch.on_error
        if policy == "ignore":
            self._report(f"{where} failed on a message on channel {channel!r}, which counts as handled", exc)
            return None
        self._report(f"{where} refused a message on channel {channel!r}", exc)
        return Ending(refusal, named(exc)) if policy == "close" else refusal

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


def _on_a_link(outcome: object | Refusal | Ending) -> object | Refusal:
    """Return an outcome without the end of a conversation: a link goes on."""
    return outcome.answer if isinstance(outcome, Ending) else outcome


def _refusing(refusal: Refusal) -> Handle:
    async def handle(_channel: str, _message: object) -> NoReturn:
        raise _NoHandlerError(refusal)

    return handle
