"""What a message costs as its link gets more channels, and as its receiver gets more peers.

The work is always the same: so many messages in streams of 64, and each turn belongs to the
next *lane*. A lane is a channel of one link, or a peer with a name and a link of its own. All
that changes is how many lanes there are.

It is done in two ways. With one stream at a time every frame has 64 messages, whatever the
lanes: that is what lanes cost by themselves. With 64 streams under way at any time those of a
single channel go together in large frames, which those of many lanes cannot.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from benchmarks.api import ID_LENGTH, At, Figures, Lane, WideModule, WrongAckError, make_messages

COUNTS = {"channels": (1, 100, 1000, 10_000), "peers": (1, 10, 100, 1000)}
"""How many lanes, the fewest first: what a receiver remembers of many would burden the few."""

STREAM = 64
"""Messages of one stream."""

AT_ONCE = 64
"""Streams that are under way at any time, where it is more than one."""

SCALING = {
    f"{kind}{ending}": (kind, at_once)
    for kind in COUNTS
    for ending, at_once in (("", AT_ONCE), ("_single", 1))
}
"""The workloads: what there is more and more of, and how many streams there are at once."""

MESSAGES = 640_000
"""Messages of one measurement: a stream for each of 10,000 channels."""


async def scaling(name: str, module: WideModule, at: At, pids: Sequence[int], *, quick: bool) -> Figures:
    """Return the cost with so many lanes each, and how many times the first is the last one's.

    Args:
        name: One of ``SCALING``.
        module: The peer.
        at: Where its receiver is.
        pids: The receiving processes.
        quick: Whether to take the fewest and the most lanes only.

    """
    kind, at_once = SCALING[name]
    counts = COUNTS[kind]
    figures: Figures = {}
    for count in (counts[0], counts[-1]) if quick else counts:
        async with module.lanes(at, kind, count) as lanes:
            # Every lane is known at both ends before anything counts.
            await _spread(lanes, 1, max(count, 1000), AT_ONCE)
            begin, used = time.perf_counter(), cpu_seconds(pids)
            await _spread(lanes, STREAM, MESSAGES // STREAM, at_once)
            used, taken = cpu_seconds(pids) - used, time.perf_counter() - begin
        figures[f"{name}_{count}_us"] = used / MESSAGES * 1e6
        figures[f"{name}_{count}_rate"] = MESSAGES / taken
    figures[name] = figures[f"{name}_{counts[-1]}_us"] / figures[f"{name}_{counts[0]}_us"]
    return figures


async def _spread(lanes: Sequence[Lane], length: int, streams: int, at_once: int) -> None:
    messages = make_messages(64 * STREAM, 64, text=True)
    batches = [messages[begin : begin + length] for begin in range(0, len(messages), length)]
    work = [(batch, [message[:ID_LENGTH] for message in batch]) for batch in batches]
    turns = iter(range(streams))

    async def one_after_the_other() -> None:
        for turn in turns:
            batch, wanted = work[turn % len(work)]
            acks = await lanes[turn % len(lanes)](batch)
            if acks != wanted:
                raise WrongAckError(f"messages from {wanted[0]} on were acked with {acks[:3]}...")

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_the_other())


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the processor time that this process and others have used so far.

    Of others Linux tells it to the nanosecond, by a clock whose number is made of theirs
    (``clock_getcpuclockid(3)``); ``/proc`` would tell it in hundredths of a second.
    """
    return time.process_time() + sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)
