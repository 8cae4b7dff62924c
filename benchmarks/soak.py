"""Memory over minutes: of both ends at full speed, and with a receiver much slower than its sender."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import linear_regression, median

from benchmarks.api import ID_LENGTH, At, Endless, Figures, WideModule, WrongAckError, make_messages

SOAKS = {"soak_full": "at full speed", "soak_slow": "with a receiver 100 times slower"}

ENDS = ("sender", "receiver")

SLOWER = 100
"""How many times slower the slow receiver is than its sender."""

LOOK = 2.0
"""Seconds for which the sender shows how fast it could be."""

EVERY = 1.0
"""Seconds between two looks at the memory; less in a soak so short that it would have few."""

MIB = 2**20


async def soak(name: str, module: WideModule, at: At, pids: Sequence[int], seconds: float) -> Figures:
    """Stream without end and watch the resident memory of both ends.

    Args:
        name: One of ``SOAKS``.
        module: The peer.
        at: Where its receiver is.
        pids: The receiving processes.
        seconds: How long to watch. A tenth of it goes before, 20 s at most, to warm up.

    Returns:
        What ``summary()`` says of each end, the acked messages per second, and under the
        soak's own name the growth, in MiB, of the end that grew more.

    """
    figures: Figures = {}
    pace = 0.0
    if name == "soak_slow":
        async with module.endless(at, 0.0) as sender:
            figures[f"{name}_alone"] = await _stream(sender, LOOK)
        pace = SLOWER / figures[f"{name}_alone"]
    warm_up = min(seconds / 10, 20.0)
    samples: dict[str, list[tuple[float, int]]] = {end: [] for end in ENDS}
    processes = {"sender": [os.getpid()], "receiver": pids}
    async with module.endless(at, pace) as sender:
        watch = asyncio.create_task(_watch(processes, samples, warm_up, min(EVERY, seconds / 20)))
        figures[f"{name}_rate"] = await _stream(sender, warm_up + seconds)
        watch.cancel()
        await asyncio.wait([watch])
    for end, seen in samples.items():
        figures |= {f"{name}_{end}_{word}": value for word, value in summary(seen).items()}
    figures[name] = max(figures[f"{name}_{end}_growth"] for end in ENDS)
    return figures


async def _stream(sender: Endless, seconds: float) -> float:
    """Stream for so long, compare each ack with its message, and return how many came per second."""
    # More than a link has in flight, so that an ack that is not its message's is always seen.
    messages = make_messages(10_000, 64, text=True)
    begin = time.perf_counter()

    def source() -> Iterator[str]:
        while time.perf_counter() < begin + seconds:
            yield from messages

    wanted = cycle([message[:ID_LENGTH] for message in messages])
    count = 0
    async for ack in sender.acks(source()):
        if ack != next(wanted):
            raise WrongAckError(f"message {count} was acked with {ack!r}")
        count += 1
    if not count or count % len(messages):
        raise WrongAckError(f"{count} acks came, and that is no whole number of turns of {len(messages)}")
    return count / (time.perf_counter() - begin)


async def _watch(
    processes: Mapping[str, Sequence[int]],
    samples: Mapping[str, list[tuple[float, int]]],
    warm_up: float,
    every: float,
) -> None:
    await asyncio.sleep(warm_up)
    while True:
        for end, pids in processes.items():
            samples[end].append((time.monotonic(), memory(pids)))
        await asyncio.sleep(every)


def summary(samples: Sequence[tuple[float, int]]) -> Figures:
    """Say what became of a process's memory.

    Args:
        samples: Second and bytes of each look at it.

    Returns:
        ``first``, ``last`` and ``most`` in MiB; ``slope``, the straight line through all of them,
        in KiB per minute; ``growth``, from the median of the first fifth to that of the last, in MiB.

    """
    times = [second for second, _ in samples]
    sizes = [size for _, size in samples]
    fifth = max(len(sizes) // 5, 1)
    return {
        "first": sizes[0] / MIB,
        "last": sizes[-1] / MIB,
        "most": max(sizes) / MIB,
        "slope": linear_regression(times, sizes).slope * 60 / 1024,
        "growth": (median(sizes[-fifth:]) - median(sizes[:fifth])) / MIB,
    }


def memory(pids: Sequence[int]) -> int:
    """Return the resident bytes of processes.

    Raises:
        FileNotFoundError: If the system has no ``/proc``.

    """
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")
