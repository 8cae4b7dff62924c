"""The measurements, made in the sending process: each takes a connected sender and returns figures."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from statistics import quantiles
from typing import Any, cast

from benchmarks.api import (
    ID_LENGTH,
    Asker,
    At,
    Figures,
    PeerModule,
    Sender,
    WideModule,
    WrongAckError,
    make_messages,
)
from benchmarks.fanout import FANOUT, FanModule, fanout, fanout_growth
from benchmarks.registry import Variant
from benchmarks.scaling import SCALING, scaling
from benchmarks.silent import SILENT, silent
from benchmarks.soak import SOAKS, memory, soak

MOST_MESSAGES = 200_000
"""Messages of one exchange, at most; a longer measurement repeats it."""

MOST_IN_FLIGHT = 4 * 2**20
"""Bytes in flight with large payloads, which keeps a broker's buffers out of it."""

CROWD = 10_000


async def exchange(peer: Sender, messages: Sequence[Any], window: int) -> float:
    """Return the seconds that an exchange takes; each ack is then compared with its message.

    Raises:
        WrongAckError: If one is not right.

    """
    begin = time.perf_counter()
    acks = await peer.exchange(messages, window)
    taken = time.perf_counter() - begin
    if len(acks) != len(messages):
        raise WrongAckError(f"{len(messages)} messages were sent and {len(acks)} acks came back")
    for message, ack in zip(messages, acks, strict=True):
        if ack != message[:ID_LENGTH]:
            raise WrongAckError(f"message {message[:ID_LENGTH]!r} was acked with {ack!r}")
    return taken


async def rate(peer: Sender, seconds: float, size: int, window: int | None, text: bool) -> float:
    """Return acked messages per second.

    Args:
        peer: The connected sender.
        seconds: How long to measure.
        size: Bytes of a message.
        window: Most messages in flight; ``None`` sends a whole backlog at once.
        text: Whether messages are ``str``.

    """
    count = 64
    most = min(MOST_MESSAGES, max(256, 2**28 // size))
    while True:
        # Warms up, and finds how many messages take a fifth of the time.
        messages = make_messages(count, size, text)
        taken = await exchange(peer, messages, window or count)
        if taken >= seconds / 10 or count == most:
            break
        # From a short run one learns little, so it is followed by one that is at most 8 times as long.
        count = min(most, count * min(8, 1 + math.ceil(seconds / 5 / taken)))
    total, sent = 0.0, 0
    while total < seconds:
        total += await exchange(peer, messages, window or count)
        sent += count
    return sent / total


async def round_trips(peer: Sender, seconds: float, text: bool) -> Figures:
    """Return median and 99th percentile of single messages, in microseconds."""
    messages = make_messages(1000, 64, text)
    for message in messages[:100]:
        await exchange(peer, [message], 1)
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(samples) < 100:
        samples.append(await exchange(peer, [messages[len(samples) % 1000]], 1))
    cuts = quantiles(samples, n=100)
    return {"p50": cuts[49] * 1e6, "p99": cuts[98] * 1e6}


async def requests(peer: Asker, seconds: float, text: bool) -> Figures:
    """Return median and 99th percentile of single requests, in microseconds."""
    messages = make_messages(1000, 64, text)
    samples: list[float] = []
    clock = time.perf_counter
    end = clock() + seconds
    while clock() < end or len(samples) < 200:
        message = messages[len(samples) % 1000]
        begin = clock()
        answer = await peer.request(message)
        samples.append(clock() - begin)
        if answer != message[:ID_LENGTH]:
            raise WrongAckError(f"request {message[:ID_LENGTH]!r} was answered with {answer!r}")
    cuts = quantiles(samples[100:], n=100)  # the first ones warm up
    return {"request_p50": cuts[49] * 1e6, "request_p99": cuts[98] * 1e6}


async def idle(module: PeerModule, variant: Variant, port: int, pids: Sequence[int], count: int) -> Figures:
    """Return what a connection that does nothing costs the receiving process, broker included, in KiB."""
    at = At(variant.name, port)
    async with module.idle(at, 20):
        await asyncio.sleep(0.3)
        before = memory(pids)
        async with module.idle(at, count):
            # Two heartbeats of a link: by then each end has told the other what it may forget.
            await asyncio.sleep(1.2)
            after = memory(pids)
    return {"idle": (after - before) / count / 1024}


async def crowd(module: WideModule, variant: Variant, port: int, pids: Sequence[int], count: int) -> Figures:
    """Return the whole memory of a receiver with very many connections, in MB."""
    async with module.crowd(At(variant.name, port), count):
        await asyncio.sleep(1.0)
        return {"crowd": memory(pids) / 1e6}


async def measure(
    workload: str,
    module: PeerModule,
    variant: Variant,
    port: int,
    *,
    seconds: float,
    pids: Sequence[int],
    quick: bool,
    uvloop: bool,
) -> Figures:
    """Run one workload and return its figures by name."""
    if workload == "idle":
        return await idle(module, variant, port, pids, variant.idle // 5 if quick else variant.idle)
    wide = cast("WideModule", module)
    if workload == "crowd":
        return await crowd(wide, variant, port, pids, CROWD)
    if workload in SCALING:
        return await scaling(workload, wide, At(variant.name, port), pids, quick=quick)
    if workload in SOAKS:
        return await soak(workload, wide, At(variant.name, port), pids, seconds)
    if workload in FANOUT:
        fan = cast("FanModule", module)
        measure_fan = fanout if workload == "fanout" else fanout_growth
        return await measure_fan(fan, variant, At(variant.name, port), seconds=seconds, uvloop=uvloop)
    if workload in SILENT:
        return await silent(workload, cast("FanModule", module), variant.name, seconds, uvloop=uvloop)
    async with module.sender(At(variant.name, port)) as peer:
        if workload == "backlog":
            return {"backlog": await rate(peer, seconds, 64, None, variant.text)}
        if workload == "window":
            return {"window": await rate(peer, seconds, 64, 16, variant.text)}
        if workload == "roundtrip":
            return await round_trips(peer, seconds, variant.text)
        if workload == "request":
            return await requests(cast("Asker", peer), seconds, variant.text)
        size = {"payload4k": 4096, "payload64k": 65536}[workload]
        per_second = await rate(peer, seconds, size, MOST_IN_FLIGHT // size, text=False)
        return {workload: per_second * size / 1e6}
