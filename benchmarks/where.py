"""Where the time of a message goes, layer by layer, in microseconds: ``python -m benchmarks.where``.

Each layer is measured alone, by what it offers to those above it: the link's core call by call
in this process, all else as an echo between two processes. What lies between is the difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple, cast

from benchmarks.api import At, PeerModule, Sender, handle, make_messages
from benchmarks.bench_core import pair
from benchmarks.child import loop_factory
from benchmarks.processes import START_TIMEOUT, running
from benchmarks.registry import BY_NAME
from benchmarks.report import aligned
from benchmarks.scaling import cpu_seconds
from benchmarks.workloads import exchange
from mesh.protocol.link import Acked, Received

CHUNK = 512
"""Messages that the core is given at once where there is a backlog."""

BACKLOG = 100_000

STEPS = (
    "sender: send() takes them into its books",
    "sender: data_to_send() makes the frame",
    "receiver: receive() reads and checks it",
    "receiver: events() hands the messages over",
    "receiver: the handler is awaited for each",
    "receiver: ack() takes its answers",
    "receiver: data_to_send() makes the frame of them",
    "sender: receive() reads and checks it",
    "sender: events() hands the answers over",
)

REST = "rest: streams, tasks, timers between core and wire"


class Cost(NamedTuple):
    """What a message costs, in microseconds: by the clock, and of processors at both ends."""

    clock: float
    processor: float


async def core(batch: int, seconds: float) -> list[float]:
    """Return what each of the steps costs per message: medians, less what looking at the clock costs."""
    a, b = pair()
    items: Sequence[Any] = make_messages(batch, 64, text=True)
    turns: list[list[float]] = []
    clock = time.perf_counter
    end = clock() + seconds
    while (now := clock()) < end:
        at = [clock()]
        assert a.send("bench", items, now, owner=turns) == batch
        at.append(clock())
        there = a.data_to_send(now)
        at.append(clock())
        for frame in there:
            b.receive(frame, now)
        at.append(clock())
        came = [event for event in b.events() if type(event) is Received]
        at.append(clock())
        answers = [[await handle(item) for item in event.items] for event in came]
        at.append(clock())
        for event, values in zip(came, answers, strict=True):
            b.ack(event.work, values, now)
        at.append(clock())
        back = b.data_to_send(now)
        at.append(clock())
        for frame in back:
            a.receive(frame, now)
        at.append(clock())
        acked = sum(len(event.values) for event in a.events() if type(event) is Acked)
        at.append(clock())
        assert acked == batch
        turns.append([after - before for before, after in pairwise(at)])
    blank = median(-(clock() - clock()) for _ in range(10_000))
    return [max(median(step) - blank, 0.0) / batch * 1e6 for step in zip(*turns, strict=True)]


@asynccontextmanager
async def _connected(name: str) -> AsyncIterator[tuple[Sender, list[int]]]:
    variant = BY_NAME[name]
    module = cast("PeerModule", import_module(variant.module))
    async with running(sys.executable, "-m", "benchmarks.child", "receive", name) as child:
        port = json.loads(await child.line(START_TIMEOUT))["port"]
        async with module.sender(At(name, port)) as peer:
            yield peer, [child.pid]


async def echo(name: str, seconds: float, size: int) -> Cost:
    """Exchange so many messages again and again, and return the median by the clock and the mean use."""
    async with _connected(name) as (peer, pids):
        messages = make_messages(size, 64, BY_NAME[name].text)
        for _ in range(3 if size > 1 else 200):
            await exchange(peer, messages, size)
        samples: list[float] = []
        used, end = cpu_seconds(pids), time.perf_counter() + seconds
        while time.perf_counter() < end:
            samples.append(await exchange(peer, messages, size))
        used = cpu_seconds(pids) - used
    return Cost(median(samples) / size * 1e6, used / len(samples) / size * 1e6)


def table(steps: Sequence[float], layers: dict[str, Cost], whole: Cost, wire: Cost) -> str:
    """Return a table of all layers, of the core's steps, and of what is left for everything between."""
    core = Cost(sum(steps), sum(steps))
    rest = Cost(*(a - b - c for a, b, c in zip(whole, core, wire, strict=True)))
    parts = layers | {f"core, {name}": Cost(us, us) for name, us in zip(STEPS, steps, strict=True)}
    parts |= {"core, in all": core, REST: rest, "two sketches": whole}
    rows = [[name, f"{cost.clock:.2f}", f"{cost.processor:.2f}"] for name, cost in parts.items()]
    return aligned(["", "us by the clock", "us of processors"], rows)


async def main(seconds: float) -> None:
    """Measure and print both tables."""
    trips = {name: await echo(name, seconds, 1) for name in ("asyncio", "websockets", "transport")}
    print("One message, and its ack, at a time; 64 bytes:\n")
    print(table(await core(1, seconds), trips, await echo("sketchmesh", seconds, 1), trips["transport"]))
    loads = {name: await echo(name, seconds, BACKLOG) for name in ("asyncio-batched", "websockets-batched")}
    # Of the wire hardly anything is left where hundreds of messages share a frame.
    wire = Cost(0.0, 0.0)
    print(f"\nEach message of a backlog; the core gets {CHUNK} at once, and the wire counts as rest:\n")
    print(table(await core(CHUNK, seconds), loads, await echo("sketchmesh", seconds, BACKLOG), wire))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each layer is measured (2)")
    parser.add_argument("--no-uvloop", action="store_true", help="asyncio's own loop at this end")
    arguments = parser.parse_args()
    factory = loop_factory(BY_NAME["sketchmesh"], arguments.no_uvloop)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(arguments.seconds))
