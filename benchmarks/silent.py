"""Subscribers that stop reading: what they cost the publisher's memory, and the others' time.

A sketch publishes at a steady pace. Half of its subscribers have links, half are plain clients of the
library ``websockets``; the silent ones are in a process of their own, which is stopped by a signal as
soon as they have subscribed: so it neither reads nor answers, and closes nothing. Each value has the
moment at which it was published, by a clock that all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from statistics import quantiles
from typing import Any, Protocol

from benchmarks.api import At, Figures, WrongAckError
from benchmarks.fanout import PROBE, FanModule, Handler
from benchmarks.processes import START_TIMEOUT, Child, running
from benchmarks.soak import memory

SUBSCRIBERS, NOT_READING = 1000, 100

END = "end"

PAYLOAD = 20e6
"""Bytes of payload per second."""

MB = 1e6


@dataclass(frozen=True, slots=True)
class Load:
    """What is published.

    Attributes:
        text: What to call it.
        size: Bytes of a value.
        per_second: Values per second.

    """

    text: str
    size: int
    per_second: float


SILENT = {
    "silent_total": Load("20 MB/s to all of them together", 4000, PAYLOAD / 4000 / SUBSCRIBERS),
    "silent_each": Load(
        "20 MB/s to each of them, which is more than they can take", 16_000, PAYLOAD / 16_000
    ),
}
"""The workloads."""


class Mixed(Protocol):
    """The function of a ``peer_*.py`` module that takes part, besides those of a fan-out."""

    def listen(self, at: At, handlers: list[Handler]) -> Any:
        """Hold half of the subscribers with links, half as plain clients; they may miss values."""
        ...


async def listeners(module: Mixed, at: At, count: int, say: Callable[[dict[str, object]], None]) -> None:
    """Be a subscribing process, until it is ended; tell what came when the end has come."""
    probed: set[int] = set()
    ended: set[int] = set()
    seconds = array("d")
    clock = time.monotonic

    def handler(which: int) -> Handler:
        async def handle(message: str) -> None:
            if message[0] == "0":
                seconds.append(clock() - float(message[:20]))
            elif message == PROBE:
                # Others are probed as well, later.
                if which not in probed and len(probed) == count - 1:
                    _tidy()
                    say({"ready": count})
                probed.add(which)
            elif message == END:
                if which not in ended and len(ended) == count - 1:
                    cuts = quantiles(seconds, n=100)
                    say({"values": len(seconds), "p50": cuts[49], "p99": cuts[98]})
                ended.add(which)

        return handle

    async with module.listen(at, [handler(which) for which in range(count)]):
        await asyncio.Event().wait()


async def silent(name: str, module: FanModule, variant: str, seconds: float, *, uvloop: bool) -> Figures:
    """Publish without and with subscribers that do not read.

    Args:
        name: One of ``SILENT``.
        module: The peer.
        variant: Its name.
        seconds: How long each.
        uvloop: Whether the subscribers use it.

    Returns:
        Memory of the publisher in MB, the others' latency in ms and what share of the values they
        got, each without (``alone``) and with the silent ones; and what the goals are held against.

    """
    figures: Figures = {}
    for word, count in (("alone", 0), ("beside", NOT_READING)):
        found = await _publish(SILENT[name], module, variant, count, seconds, uvloop)
        figures |= {f"{name}_{word}_{figure}": value for figure, value in found.items()}
    figures[f"{name}_memory"] = figures[f"{name}_beside_most"]
    figures[f"{name}_p99"] = figures[f"{name}_beside_p99"] / figures[f"{name}_alone_p99"]
    return figures


async def _publish(
    load: Load, module: FanModule, variant: str, silent_ones: int, seconds: float, uvloop: bool
) -> Figures:
    reading = SUBSCRIBERS - NOT_READING
    async with module.publisher(At(variant, 0)) as publisher, AsyncExitStack() as stack:
        others = await stack.enter_async_context(_subscribed(publisher, variant, reading, uvloop))
        if silent_ones:
            child = await stack.enter_async_context(_subscribed(publisher, variant, silent_ones, uvloop))
            os.kill(child.pid, signal.SIGSTOP)
            stack.callback(_let_go, child)
        _tidy()
        most = 0
        clock = time.monotonic
        padding = "x" * (load.size - 20)
        begin = now = look = clock()
        sent = 0
        while now < begin + seconds:
            due = int((now - begin) * load.per_second) + 1
            # What is late is made up for: a publisher that is slow shall not have less to do.
            await publisher.publish(f"{clock():020.9f}{padding}" for _ in range(due - sent))
            sent = due
            if now >= look:
                most = max(most, memory([os.getpid()]))
                look = now + 0.25
            await asyncio.sleep(max(begin + sent / load.per_second - clock(), 0.0))
            now = clock()
        taken = clock() - begin
        said = await _until_said(publisher, END, others, 60.0)
    if "values" not in said:
        raise WrongAckError(f"the subscribers said {said}")
    return {
        "most": most / MB,
        "p50": said["p50"] * 1e3,
        "p99": said["p99"] * 1e3,
        "share": said["values"] / (sent * reading),
        "payload": sent * load.size / taken / MB,
    }


def _tidy() -> None:
    """Collect what the making of all connections left.

    Else a full collection is due at some moment of the run. It takes 100 ms with a thousand connections,
    which is the p99 of a run if it meets one of a few hundred values and not if it meets none.
    """
    gc.collect()


def _let_go(child: Child) -> None:
    """Let a stopped process go on, which could else be ended by force alone, and that takes a while."""
    with suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGCONT)


@asynccontextmanager
async def _subscribed(publisher: Any, variant: str, count: int, uvloop: bool) -> AsyncIterator[Child]:
    """Run a subscribing process, and wait until all have subscribed."""
    command = [sys.executable, "-m", "benchmarks.child", "listen", variant]
    command += ["--port", str(publisher.port), "--count", str(count)]
    async with running(*command, *["--no-uvloop"] * (not uvloop)) as child:
        said = await _until_said(publisher, PROBE, child, START_TIMEOUT + count / 20)
        if said != {"ready": count}:
            raise WrongAckError(f"the subscribers said {said}")
        yield child


async def _until_said(publisher: Any, message: str, child: Child, timeout: float) -> dict[str, Any]:
    """Publish one message again and again until a process says something."""
    said = asyncio.create_task(child.line(timeout))
    while not said.done():
        await publisher.publish(iter([message]))
        await asyncio.wait([said], timeout=0.1)
    found: dict[str, Any] = json.loads(await said)
    return found
