"""Fan-out: one publisher, one process with many connections, and a handler awaited for every delivery.

The publisher is the process that measures; it starts the subscribing one. What they have to tell
each other goes the way of the messages: a *probe*, which is no message, until everybody gets it, and
then messages by number, of which the last one says so. The subscribing process tells in lines of
JSON that all are there, and that all have had the last one.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.api import ID_LENGTH, At, Figures, WrongAckError, make_messages
from benchmarks.processes import START_TIMEOUT, Child, running

if TYPE_CHECKING:
    from benchmarks.registry import Variant

FANOUT = ("fanout", "fanout_growth")
"""The workloads: to few connections, and to few and many one after the other."""

FEW, MANY = 100, 1000
"""Connections of the subscribing process."""

SIZE = 64

MOST = 200_000
"""Messages of one run, at most."""

CHANNEL = "bench"

PROBE = "probe"

SETTLING = 0.5
"""Seconds for the last probes to arrive."""

Handler = Callable[[Any], Awaitable[None]]


class Publisher(Protocol):
    """The publishing end.

    Attributes:
        port: Where subscribers connect to.

    """

    port: int

    async def publish(self, messages: Iterator[Any]) -> None:
        """Publish messages as fast as they are taken, and lose none."""
        ...


class FanModule(Protocol):
    """The functions of a ``peer_*.py`` module that takes part in the fan-out."""

    def publisher(self, at: At) -> AbstractAsyncContextManager[Publisher]:
        """Be ready to publish; ``at.port`` is that of the broker, if there is one."""
        ...

    def subscribe(self, at: At, audience: Audience) -> AbstractAsyncContextManager[None]:
        """Hold a connection for each handler of the audience, which is awaited for each message there."""
        ...


class Audience:
    """All handlers of the subscribing process, and what they got.

    Args:
        count: How many.
        text: Whether messages are ``str``.
        say: Takes what there is to tell.

    """

    def __init__(self, count: int, text: bool, say: Callable[[dict[str, object]], None]) -> None:
        self.count = count
        self._wanted = make_messages(MOST, SIZE, text)
        self._text = text
        self._say = say
        self._probed: set[int] = set()
        self._done = 0

    def handlers(self, every: int = 0, reached: Callable[[int], None] | None = None) -> list[Handler]:
        """Return a handler for each connection.

        Args:
            every: How often ``reached`` is called.
            reached: Called with the number of a message that all connections have had: for peers
                that have no flow control of their own.

        """
        passed: dict[int, int] = {}

        def pass_by(number: int) -> None:
            count = passed[number] = passed.get(number, 0) + 1
            if count == self.count:
                del passed[number]
                assert reached is not None
                reached(number)

        return [self._handler(which, every, pass_by) for which in range(self.count)]

    def _handler(self, which: int, every: int, pass_by: Callable[[int], None]) -> Handler:
        wanted = self._wanted
        at = 0

        async def handle(message: Any) -> None:
            nonlocal at
            if message == wanted[at]:
                at += 1
            else:
                at = self._odd(which, at, message)

        if not every:
            return handle

        async def handle_and_tell(message: Any) -> None:
            nonlocal at
            if message == wanted[at]:
                at += 1
                if not at % every:
                    pass_by(at)
            else:
                at = self._odd(which, at, message)

        return handle_and_tell

    def _odd(self, which: int, at: int, message: Any) -> int:
        """Take what is not the next message; return the number of the next one."""
        text = message if self._text else bytes(message).decode()
        if text == PROBE:
            if which not in self._probed and len(self._probed) == self.count - 1:
                self._say({"ready": self.count})
            self._probed.add(which)
        elif text == last_message(at):
            self._done += 1
            if self._done == self.count:
                self._done = 0
                self._say({"messages": at + 1})
            return 0
        else:
            self._say({"wrong": f"connection {which} got {text[: ID_LENGTH + 1]!r} as message {at}"})
        return at


def last_message(number: int) -> str:
    """Return the last message of a run, which has this number."""
    return f"{number:0{ID_LENGTH}d}".ljust(SIZE, ".")


async def subscribers(
    module: FanModule, at: At, count: int, text: bool, say: Callable[[object], None]
) -> None:
    """Be the subscribing process, until it is ended."""
    async with module.subscribe(at, Audience(count, text, say)):
        await asyncio.Event().wait()


async def fanout(module: FanModule, variant: Variant, at: At, *, seconds: float, uvloop: bool) -> Figures:
    """Return deliveries per second to few connections."""
    return {"fanout": await _deliveries(module, variant, at, FEW, seconds, uvloop)}


async def fanout_growth(
    module: FanModule, variant: Variant, at: At, *, seconds: float, uvloop: bool
) -> Figures:
    """Return deliveries per second to many connections, and as a share of those to few a moment before."""
    few = await _deliveries(module, variant, at, FEW, seconds, uvloop)
    many = await _deliveries(module, variant, at, MANY, seconds, uvloop)
    return {"fanout_many": many, "fanout_growth": many / few}


async def _deliveries(
    module: FanModule, variant: Variant, at: At, count: int, seconds: float, uvloop: bool
) -> float:
    """Publish to so many connections and return the deliveries per second."""
    async with module.publisher(at) as publisher:
        command = [sys.executable, "-m", "benchmarks.child", "subscribe", variant.name]
        command += ["--port", str(publisher.port), "--count", str(count)]
        async with running(*command, *["--no-uvloop"] * (not uvloop)) as child:
            ready = asyncio.create_task(child.line(START_TIMEOUT + count / 20))
            probe: Any = PROBE if variant.text else PROBE.encode()
            while not ready.done():
                await publisher.publish(iter([probe]))
                await asyncio.wait([ready], timeout=0.1)
            _check(await ready, "ready", count)
            await asyncio.sleep(SETTLING)
            messages = make_messages(MOST, SIZE, variant.text)
            # The first run warms up.
            await _run(publisher, child, messages, min(seconds / 3, 0.2), variant.text)
            return count * await _run(publisher, child, messages, seconds, variant.text)


async def _run(
    publisher: Publisher, child: Child, messages: Sequence[Any], seconds: float, text: bool
) -> float:
    """Publish for so long, and return the messages per second that all have had."""
    run = _Run(messages, seconds, text)
    begin = time.perf_counter()
    done = asyncio.create_task(child.line(START_TIMEOUT + 10 * seconds))
    publishing = asyncio.create_task(publisher.publish(iter(run)))
    try:
        # A message that is wrong is known before the publisher waits in vain.
        line = await done
        taken = time.perf_counter() - begin
        _check(line, "messages", run.sent)
        await publishing
    finally:
        publishing.cancel()
    return run.sent / taken


def _check(line: bytes, word: str, wanted: int) -> None:
    said = json.loads(line)
    if said.get(word) != wanted:
        raise WrongAckError(said.get("wrong") or f"{word} should have been {wanted}: {said}")


class _Run:
    """Messages for so many seconds, the last of which says that it is."""

    def __init__(self, messages: Sequence[Any], seconds: float, text: bool) -> None:
        self.sent = 0
        self._messages = messages
        self._seconds = seconds
        self._text = text

    def __iter__(self) -> Iterator[Any]:
        clock = time.perf_counter
        end = clock() + self._seconds
        at = 0
        # Handlers know as many messages as there are; the last one is of its own.
        for message in self._messages[:-1]:
            if clock() >= end:
                break
            yield message
            at += 1
        self.sent = at + 1
        last = last_message(at)
        yield last if self._text else last.encode()
