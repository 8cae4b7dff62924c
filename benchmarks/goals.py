"""What the product promises, as ratios within one run, and whether it keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.fanout import FEW, MANY
from benchmarks.rounds import Results
from benchmarks.scaling import AT_ONCE, SCALING
from benchmarks.silent import NOT_READING, SILENT, SUBSCRIBERS
from benchmarks.soak import SOAKS

OURS = "sketchmesh"
PLAIN = "websockets"
CEILING = "asyncio-batched"

SILENT_MEMORY = {f"{name}_memory": load.text for name, load in SILENT.items()}
SILENT_P99 = {f"{name}_p99": load.text for name, load in SILENT.items()}

LOWER_IS_BETTER = frozenset(
    {
        "p50",
        "p99",
        "request_p50",
        "request_p99",
        "idle",
        "crowd",
        *SCALING,
        *SOAKS,
        *SILENT_MEMORY,
        *SILENT_P99,
    }
)


FLAT = 4.0
"""MiB by which the memory of either end may grow in a soak and still be called flat."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One promise.

    Attributes:
        text: What it is about.
        figure: The figure that is judged.
        bound: The least it may be, or the most for a figure of which less is better.
        against: The best of these is what it is divided by; nothing stands for the figure itself.
        unit: The unit of a figure that is not divided.

    """

    text: str
    figure: str
    bound: float
    against: tuple[str, ...] = ()
    unit: str = ""


_PLAIN = (PLAIN, f"{PLAIN}-stdloop")

GOALS: tuple[Goal, ...] = (
    Goal("64 B from a backlog, against the batched asyncio.Protocol", "backlog", 0.5, (CEILING,)),
    Goal(
        "... against the best peer batched by hand",
        "backlog",
        1.0,
        ("pyzmq-batched", "zenoh-batched", "nats-batched"),
    ),
    Goal("... against nats-py as its users write it", "backlog", 15, ("nats", "nats-request")),
    Goal("... against zenoh put + reply", "backlog", 4, ("zenoh",)),
    Goal("... against plain websockets", "backlog", 18, _PLAIN),
    Goal("64 B with a window of 16, against plain websockets", "window", 2.5, _PLAIN),
    Goal("round trip p50, against asyncio.Protocol", "p50", 1.4, ("asyncio",)),
    Goal("... against nats-py", "p50", 0.5, ("nats", "nats-request")),
    Goal("p50 of a request, against nats-py request()", "request_p50", 0.5, ("nats-request",)),
    Goal(f"fan-out of 64 B to {FEW} connections, against zenoh", "fanout", 1.0, ("zenoh",)),
    Goal("... against nats-py", "fanout", 1.5, ("nats",)),
    Goal("... against websockets.broadcast", "fanout", 2, ("websockets-broadcast",)),
    Goal(f"... to {MANY:,} connections, of those to {FEW}", "fanout_growth", 0.7),
    Goal("64 KiB payloads, against plain websockets", "payload64k", 0.8, _PLAIN),
    Goal("memory of an idle link", "idle", 24, unit="KiB"),
    Goal("memory of 10,000 idle plain connections", "crowd", 250, unit="MB"),
    Goal("cost per message, 10,000 channels to 1, one stream at a time", "channels_single", 1.5),
    Goal(f"... {AT_ONCE} streams at once", "channels", 1.5),
    Goal("cost per message, 1,000 peers to 1, one stream at a time", "peers_single", 1.5),
    Goal(f"... {AT_ONCE} streams at once", "peers", 1.5),
    *(Goal(f"growth of memory in a soak {how}", name, FLAT, unit="MiB") for name, how in SOAKS.items()),
    *(
        Goal(
            f"memory, {NOT_READING} of {SUBSCRIBERS:,} subscribers not reading, {text}", name, 100, unit="MB"
        )
        for name, text in SILENT_MEMORY.items()
    ),
    *(
        Goal(f"p99 of the others, against without those, {text}", name, 2)
        for name, text in SILENT_P99.items()
    ),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a goal was met.

    Attributes:
        goal: The goal.
        values: The ratio, or the figure, of each round that has both sides.
        best: The peer that was the strongest of those it is compared with, in the median.

    """

    goal: Goal
    values: tuple[float, ...]
    best: str

    @property
    def word(self) -> str:
        """``pass``, ``FAIL`` or ``not measured in this run``."""
        if not self.values:
            return "not measured in this run"
        if self.goal.figure in LOWER_IS_BETTER:
            return "pass" if median(self.values) <= self.goal.bound else "FAIL"
        return "pass" if median(self.values) >= self.goal.bound else "FAIL"


def judge(results: Results) -> list[Verdict]:
    """Return the verdict on every goal."""
    return [_judge(goal, results) for goal in GOALS]


def _judge(goal: Goal, results: Results) -> Verdict:
    ours = results.figures.get(goal.figure, {}).get(OURS, [])
    if not goal.against:
        return Verdict(goal, tuple(value for value in ours if value is not None), "")
    theirs = {name: results.figures.get(goal.figure, {}).get(name, []) for name in goal.against}
    medians = {
        name: median(value for value in values if value is not None)
        for name, values in theirs.items()
        if any(value is not None for value in values)
    }
    if not medians:
        return Verdict(goal, (), "")
    choose = min if goal.figure in LOWER_IS_BETTER else max
    best = choose(medians, key=lambda name: medians[name])
    return Verdict(goal, ratios(ours, theirs[best]), best)


def ratios(ours: Sequence[float | None], theirs: Sequence[float | None]) -> tuple[float, ...]:
    """Return the ratio of each round in which both were measured."""
    pairs = zip(ours, theirs, strict=False)  # a round may have been cut short
    return tuple(a / b for a, b in pairs if a is not None and b)
