"""Rounds: every peer once for each workload, side by side in time, and all of it again.

A figure of one round is compared only with the figures of the same round, which were taken
within a minute of it; the medians of these ratios do not care that a machine has good and
bad minutes.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.fanout import FANOUT
from benchmarks.machine import Disturbance
from benchmarks.processes import START_TIMEOUT, Child, ChildError, broker, running
from benchmarks.registry import Variant
from benchmarks.scaling import SCALING
from benchmarks.silent import SILENT
from benchmarks.soak import SOAKS

SPEED = ("backlog", "window", "roundtrip", "request", "payload4k", "payload64k")

ALONE = ("idle", *SCALING, "crowd")
"""Measured on receivers that have done nothing else: what they freed, or still remember, would count."""

GRACE = 12.0
"""Seconds that a measurement under way at the limit gets."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    Attributes:
        rounds: How many rounds.
        seconds: How long one measurement takes.
        limit: Seconds after which no further measurement is begun.
        quick: Whether a sender takes its workloads in one go, and opens fewer connections.
        uvloop: Whether uvloop is used where a peer takes it.

    """

    rounds: int
    seconds: float
    limit: float
    quick: bool
    uvloop: bool


@dataclass(slots=True)
class Results:
    """What was measured.

    Attributes:
        figures: By figure and variant, one value for each round, ``None`` where it failed.
        errors: What failed, by variant and workload.
        rounds: Rounds that were begun and not interrupted.
        cut_short: Whether the last of them ran out of time, and has only some of the figures.
        others: Cores that other programs, or other guests of the host, kept busy in each round.

    """

    figures: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    cut_short: bool = False
    others: list[float | None] = field(default_factory=list)

    def add(self, variant: Variant, figures: dict[str, float]) -> None:
        """Keep the figures of one measurement of the round under way."""
        for name, value in figures.items():
            values = self.figures.setdefault(name, {}).setdefault(variant.name, [])
            values.extend([None] * (self.rounds - len(values)))
            values.append(value)


class _Receiver:
    """A receiver, with its broker."""

    def __init__(self, variant: Variant, port: int, children: Sequence[Child]) -> None:
        self.variant = variant
        self.port = port
        self.pids = ",".join(str(child.pid) for child in children)


@asynccontextmanager
async def _receiver(variant: Variant, plan: Plan, *, alone: bool = False) -> AsyncIterator[_Receiver]:
    """Run a receiver and its broker; or the broker alone, if it has one."""
    async with AsyncExitStack() as stack:
        children: list[Child] = []
        port = 0
        options = [] if plan.uvloop else ["--no-uvloop"]
        if variant.broker is not None:
            child, port = await stack.enter_async_context(broker(variant.broker))
            children.append(child)
            options += ["--port", str(port)]
        if alone:
            yield _Receiver(variant, port, children)
            return
        command = [sys.executable, "-m", "benchmarks.child", "receive", variant.name, *options]
        child = await stack.enter_async_context(running(*command))
        ready = json.loads(await child.line(START_TIMEOUT))
        yield _Receiver(variant, ready["port"], [*children, child])


async def run_rounds(variants: Sequence[Variant], plan: Plan, say: Callable[[str], None]) -> Results:
    """Measure everything.

    Args:
        variants: Those that are installed.
        plan: How much.
        say: Takes a line on how far it is.

    """
    results = Results()
    begin = time.monotonic()
    longest = 0.0
    try:
        # Every step is bounded by itself; this is for a machine on which all of them go wrong.
        async with asyncio.timeout(plan.limit + GRACE):
            for number in range(1, plan.rounds + 1):
                at = time.monotonic()
                if at - begin + longest > plan.limit:
                    say(f"no time for round {number}: one takes {longest:.0f} s")
                    break
                watch = Disturbance()
                await _Step(plan, results, number, begin + plan.limit, say).run(variants)
                results.rounds = number
                results.others.append(watch.cores())
                longest = max(longest, time.monotonic() - at)
    except TimeoutError:
        results.cut_short = True
    return results


class _Step:
    """One round."""

    def __init__(
        self, plan: Plan, results: Results, number: int, deadline: float, say: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._results = results
        self._number = number
        self._deadline = deadline
        self._say = say

    async def run(self, variants: Sequence[Variant]) -> None:
        """Measure every workload of these variants once."""
        await self._measure_speed(variants)
        await self.measure_alone("fanout", variants)
        # Memory does not change from round to round, and processor time not by much.
        if self._number <= 2:
            for workload in ("fanout_growth", *ALONE):
                if not self._is_left_out(workload):
                    await self.measure_alone(workload, variants)

    def _is_left_out(self, workload: str) -> bool:
        if workload == "crowd":
            return self._plan.quick or self._number > 1
        return self._plan.quick and workload.endswith(("_single", "_growth"))

    async def _measure_speed(self, variants: Sequence[Variant]) -> None:
        async with AsyncExitStack() as stack:
            receivers: list[_Receiver] = []
            for variant in variants:
                if not set(SPEED) & set(variant.workloads):
                    continue
                try:
                    receivers.append(await stack.enter_async_context(_receiver(variant, self._plan)))
                except ChildError as exc:
                    self._results.errors[f"{variant.name}: receiver"] = str(exc)
            for workloads in [SPEED] if self._plan.quick else [[workload] for workload in SPEED]:
                for receiver in receivers:
                    await self._measure(receiver, workloads)

    async def measure_alone(self, workload: str, variants: Sequence[Variant]) -> None:
        """Measure one workload, for each variant on a receiver of its own."""
        for variant in variants:
            if workload not in variant.workloads:
                continue
            try:
                # Those that take a fan-out are started by who publishes, for they connect to it.
                async with _receiver(variant, self._plan, alone=workload in (*FANOUT, *SILENT)) as receiver:
                    await self._measure(receiver, [workload])
            except ChildError as exc:
                self._results.errors[f"{variant.name}: receiver"] = str(exc)

    async def _measure(self, receiver: _Receiver, workloads: Sequence[str]) -> None:
        plan, results, variant = self._plan, self._results, receiver.variant
        workloads = [workload for workload in workloads if workload in variant.workloads]
        if not workloads:
            return
        left = self._deadline - time.monotonic()
        if left <= 0:
            results.cut_short = True
            return
        if workloads[0] in SOAKS:
            patience = 60 + 1.5 * plan.seconds
        elif workloads[0] in SILENT:
            patience = 240 + 2.5 * plan.seconds
        else:
            patience = 60.0 if workloads[0] in ("crowd", *SCALING, *FANOUT) else 10 + 10 * plan.seconds
        command = [sys.executable, "-m", "benchmarks.child", "send", variant.name]
        command += ["--port", str(receiver.port), "--workloads", ",".join(workloads), "--pids", receiver.pids]
        command += ["--seconds", str(plan.seconds), "--patience", str(patience)]
        command += ["--quick"] * plan.quick + ["--no-uvloop"] * (not plan.uvloop)
        self._say(f"round {self._number}: {', '.join(workloads)}: {variant.title}")
        try:
            async with running(*command) as child:
                outcome = json.loads(await child.line(min(5 + patience * len(workloads), left + GRACE)))
        except ChildError as exc:
            outcome = {workload: {"error": str(exc)} for workload in workloads}
        for workload, found in outcome.items():
            if "figures" in found:
                results.add(variant, found["figures"])
            else:
                results.errors[f"{variant.name}: {workload}"] = found["error"]


async def run_soaks(
    variants: Sequence[Variant],
    plan: Plan,
    say: Callable[[str], None],
    names: Sequence[str] = tuple(SOAKS),
) -> Results:
    """Let those that can run for minutes, one after the other, and watch their memory.

    Args:
        variants: Those that are installed.
        plan: Its seconds are those of one soak, its limit those of all.
        say: Takes a line on how far it is.
        names: Which soaks.

    """
    results = Results()
    watch = Disturbance()
    step = _Step(plan, results, 1, time.monotonic() + plan.limit, say)
    for name in names:
        await step.measure_alone(name, variants)
    results.rounds = 1
    results.others.append(watch.cores())
    return results


Work = Callable[[Sequence[Variant], Plan, Callable[[str], None]], Coroutine[Any, Any, Results]]


def measure_all(variants: Sequence[Variant], plan: Plan, say: Callable[[str], None], work: Work) -> Results:
    """Run the rounds, or the soaks, in an event loop of their own.

    Raises:
        KeyboardInterrupt: After Ctrl-C or SIGTERM, when all processes have been ended.

    """

    async def run() -> Results:
        task = asyncio.current_task()
        assert task is not None
        # Not left to the defaults: a program in the background of a shell has SIGINT ignored.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work(variants, plan, say)

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
