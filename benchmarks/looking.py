"""What it costs to look inside: `mesh list` when a node is silent, `mesh echo` and `hz` at full speed.

The cost to a channel is a ratio within one run: its rate with somebody looking on, against the mean
of its rates just before and just after, again and again. The bench process itself is the one who
sends or subscribes, so it, the worker and the command share the machine as they do in life.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count, pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import mesh
from mesh import runtime

SKETCHES = '''\
import time
import factory


class Sink(factory.FactoryLoop):
    """Acknowledges, publishes and blocks, as it is told to."""

    publishes = ("values",)

    @factory.reactive("messages")
    async def messages(self, channel, msg):
        return msg[:8]

    @factory.reactive("publish")
    async def go(self, channel, msg: int):
        for number in range(msg):
            await self.publish("values", f"{number:08}, and so on until it is 64 bytes, as all others")

    @factory.reactive("block")
    async def block(self, channel, msg: float):
        time.sleep(msg)
'''

PHASE = 1.0
"""Seconds of one rate."""

SETTLE = 0.5
"""Seconds that are not counted after somebody has begun or ended to look on."""

AT_ONCE = 50_000
"""Publications that are asked for at a time."""

Counter = Callable[[], int]


def grid(port: int) -> str:
    """Return the node that is looked into."""
    return f"  sink: {{sketch: 'bench_sketches.py:Sink', port: {port}}}\n"


def write_sketches(folder: Path) -> None:
    """Write what that node runs beside the grid."""
    (folder / "bench_sketches.py").write_text(SKETCHES, encoding="utf-8")


def pid_of(name: str) -> int:
    """Return the process of a node that runs."""
    return next(record.pid for record in runtime.workers() if record.name == name)


@contextlib.contextmanager
def frozen(name: str) -> Iterator[None]:
    """Stop a node by a signal for as long as the block lasts."""
    pid = pid_of(name)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def blocked(port: int, seconds: float) -> Iterator[None]:
    """Let the event loop of the sink be blocked for that long; it is not waited for."""

    async def ask() -> None:
        async with mesh.connect(f"ws://localhost:{port}") as sink:
            with contextlib.suppress(mesh.MeshError):
                await sink.request(seconds, "block", timeout=0.2)

    asyncio.run(ask())
    yield


def costs(port: int, path: Path, pairs: int) -> dict[str, float]:
    """Return by what share of its rate a channel is slower when somebody looks on, in percent.

    Args:
        port: Where the sink is.
        path: Its grid.
        pairs: How often each is measured.

    """
    return asyncio.run(_costs(port, path, pairs))


async def _costs(port: int, path: Path, pairs: int) -> dict[str, float]:
    found = {}
    for kind, load, channel in (("messages", _sending, "messages"), ("publications", _hearing, "values")):
        async with load(port) as counter:
            await asyncio.sleep(2 * SETTLE)
            for verb in ("echo", "hz"):
                found[f"`mesh {verb}` costs {kind} at full speed"] = 100 * await _cost(
                    counter, [verb, f"sink/{channel}", "--grid", str(path)], pairs
                )
    return found


async def _cost(counter: Counter, words: list[str], pairs: int) -> float:
    alone = [await _rate(counter)]
    watched = []
    for _ in range(pairs):
        async with _looking(words):
            watched.append(await _rate(counter))
        alone.append(await _rate(counter))
    return share_lost(alone, watched)


def share_lost(alone: Sequence[float], watched: Sequence[float]) -> float:
    """Return by what share rates are lower than the mean of those before and after; the median.

    Args:
        alone: One more than of the others, in turn with them.
        watched: The others.

    """
    around = [mean(pair) for pair in pairwise(alone)]
    return 1 - median(rate / usual for rate, usual in zip(watched, around, strict=True))


async def _rate(counter: Counter) -> float:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(SETTLE)
    begin, before = loop.time(), counter()
    await asyncio.sleep(PHASE)
    return (counter() - before) / (loop.time() - begin)


@asynccontextmanager
async def _looking(words: list[str]) -> AsyncIterator[None]:
    """Run a command that looks on for as long as the block lasts, from when it does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "factory.cli.fleet",
        *words,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        said = await process.stderr.readline()
        if not said.startswith(b"looking on"):
            raise RuntimeError(said.decode())
        # What it says of skipped messages is little, and fits into the pipe.
        yield
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


@asynccontextmanager
async def _sending(port: int) -> AsyncIterator[Counter]:
    """Send to the sink as fast as it takes it; gives how many it has acknowledged."""
    acked = 0

    async def send() -> None:
        nonlocal acked
        messages = (f"{number:08}, and so on until it is 64 bytes, as all the others" for number in count())
        async for _ in sink.stream(messages, "messages"):
            acked += 1

    async with mesh.connect(f"ws://localhost:{port}") as sink, _running(send()):
        yield lambda: acked


@asynccontextmanager
async def _hearing(port: int) -> AsyncIterator[Counter]:
    """Subscribe to what the sink publishes as fast as it is heard; gives how many values have come."""
    heard = 0

    async def ask() -> None:
        while True:
            await sink.request(AT_ONCE, "publish", timeout=60)

    async def hear() -> None:
        nonlocal heard
        async for _ in sink.subscribe("values", policy="block"):
            heard += 1

    async with mesh.connect(f"ws://localhost:{port}") as sink, _running(hear(), ask()):
        yield lambda: heard


@asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
