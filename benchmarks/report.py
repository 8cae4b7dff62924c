"""Results as Markdown tables, which are read as well in a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.fanout import FEW, MANY
from benchmarks.goals import (
    CEILING,
    LOWER_IS_BETTER,
    OURS,
    PLAIN,
    SILENT_MEMORY,
    SILENT_P99,
    Verdict,
    judge,
    ratios,
)
from benchmarks.registry import VARIANTS, Variant
from benchmarks.rounds import Plan, Results
from benchmarks.scaling import COUNTS, SCALING, STREAM
from benchmarks.silent import NOT_READING, SILENT, SUBSCRIBERS
from benchmarks.soak import ENDS, SOAKS

Cell = Callable[[Variant], str]

QUIET = 0.1
"""Cores that others may keep busy without making the figures doubtful."""


def as_markdown(results: Results, missing: dict[str, str], machine: dict[str, str], plan: Plan) -> str:
    """Return everything there is to say, in Markdown."""
    parts = [
        _machine(machine, plan, results),
        "64-byte messages, each acked; in brackets the lowest and the highest round:",
        _table(
            results,
            {
                "acked msg/s from a backlog": _figure(results, "backlog"),
                "x websockets": _against(results, "backlog", PLAIN),
                "of the ceiling": _against(results, "backlog", CEILING),
                "acked msg/s, window of 16": _figure(results, "window"),
                "x websockets ": _against(results, "window", PLAIN),
            },
        ),
        "One message at a time, large messages, and connections that do nothing:",
        _table(
            results,
            {
                "round trip p50, us": _figure(results, "p50"),
                "p99, us": _figure(results, "p99"),
                "request p50, us": _figure(results, "request_p50"),
                "request p99, us": _figure(results, "request_p99"),
                "MB/s at 4 KiB": _figure(results, "payload4k"),
                "MB/s at 64 KiB": _figure(results, "payload64k"),
                "KiB per idle connection": _figure(results, "idle"),
            },
        ),
        *_fanout(results),
        *_growth(results),
        "Goals of the project, as medians of the ratios within each round:",
        _goals(judge(results)),
    ]
    if missing:
        parts.append("\n".join(f"- {name} is missing: {why}" for name, why in missing.items()))
    if results.errors:
        parts.append("\n".join(f"- {where} FAILED: {why}" for where, why in results.errors.items()))
    return "\n\n".join(part for part in parts if part)


def as_json(results: Results, missing: dict[str, str], machine: dict[str, str], plan: Plan) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "machine": machine,
        "plan": asdict(plan),
        "rounds": results.rounds,
        "cut_short": results.cut_short,
        "others": results.others,
        "figures": results.figures,
        "goals": [
            {**asdict(verdict.goal), "best": verdict.best, "values": verdict.values, "verdict": verdict.word}
            for verdict in judge(results)
        ],
        "missing": missing,
        "errors": results.errors,
    }


def soak_markdown(results: Results, machine: dict[str, str], plan: Plan) -> str:
    """Return what the soaks have shown, in Markdown."""
    columns = {"first": "first", "last": "last", "most": "most", "growth": "growth", "slope": "KiB per min"}
    rows = [
        [
            f"{end}, {how}",
            *(_ours(results, f"{name}_{end}_{word}") for word in columns),
            _ours(results, f"{name}_rate"),
        ]
        for name, how in SOAKS.items()
        for end in ENDS
    ]
    alone = _ours(results, "soak_slow_alone")
    parts = [
        _machine(machine, plan, results),
        "Resident memory in MiB, and the slope of the straight line through all the looks at it:",
        aligned(["", *columns.values(), "acked msg/s"], rows),
        f"Before it was slowed down the sender of the second soak got {alone} acks per second.",
        _goals([verdict for verdict in judge(results) if verdict.goal.figure in SOAKS]),
        "\n".join(f"- {where} FAILED: {why}" for where, why in results.errors.items()),
    ]
    return "\n\n".join(part for part in parts if part)


def silent_markdown(results: Results, machine: dict[str, str], plan: Plan) -> str:
    """Return what subscribers that do not read have cost, in Markdown."""
    columns = {
        "payload": "MB/s published",
        "share": "share got by the others",
        "p50": "their p50, ms",
        "p99": "p99, ms",
        "most": "memory, MB",
    }
    rows = [
        [
            f"{load.text}, {silent_ones} not reading",
            *(_ours(results, f"{name}_{how}_{word}") for word in columns),
        ]
        for name, load in SILENT.items()
        for how, silent_ones in (("alone", 0), ("beside", NOT_READING))
    ]
    judged = (*SILENT_MEMORY, *SILENT_P99)
    parts = [
        _machine(machine, plan, results),
        f"{SUBSCRIBERS - NOT_READING} subscribers that read, and the publisher's largest resident memory:",
        aligned(["", *columns.values()], rows),
        _goals([verdict for verdict in judge(results) if verdict.goal.figure in judged]),
        "\n".join(f"- {where} FAILED: {why}" for where, why in results.errors.items()),
    ]
    return "\n\n".join(part for part in parts if part)


def _fanout(results: Results) -> list[str]:
    """Return the table on what one publishes for many."""
    if "fanout" not in results.figures:
        return []
    return [
        f"Fan-out: messages of 64 bytes to {FEW} connections, and to {MANY:,}, of one process:",
        _table(
            results,
            {
                f"deliveries/s to {FEW}": _figure(results, "fanout"),
                "x websockets.broadcast": _against(results, "fanout", "websockets-broadcast"),
                f"deliveries/s to {MANY:,}": _figure(results, "fanout_many"),
                f"of those to {FEW}": _figure(results, "fanout_growth"),
            },
            short=True,
        ),
    ]


def _ours(results: Results, figure: str) -> str:
    return spread(results.figures.get(figure, {}).get(OURS, []))


def _growth(results: Results) -> list[str]:
    """Return the tables on what a message costs with more channels and more peers."""
    parts = []
    for kind, counts in COUNTS.items():
        rows = []
        for name, (what, at_once) in SCALING.items():
            if what != kind or name not in results.figures:
                continue
            streams = f"{at_once} streams at once" if at_once > 1 else "one stream at a time"
            for word, title in (("us", "us per message"), ("rate", "acked msg/s")):
                cells = [_ours(results, f"{name}_{count}_{word}") for count in counts]
                rows.append([f"{title}, {streams}", *cells])
        if rows:
            titles = (f"{count:,} {kind if count > 1 else kind[:-1]}" for count in counts)
            parts += [
                f"As {kind} grow: processor time of both ends, messages of 64 bytes in streams of {STREAM}:",
                aligned(["", *titles], rows),
            ]
    return parts


def number(value: float) -> str:
    """Return a number with three digits that count."""
    for limit, unit, name in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if value >= limit:
            return f"{_digits(value / unit)}{name}"
    return _digits(value)


def _digits(value: float) -> str:
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def spread(values: Sequence[float | None]) -> str:
    """Return the median, and the range in brackets when there is one."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return number(known[0])
    return f"{number(median(known))} ({number(min(known))} to {number(max(known))})"


def _figure(results: Results, name: str) -> Cell:
    return lambda variant: spread(results.figures.get(name, {}).get(variant.name, []))


def _against(results: Results, name: str, base: str) -> Cell:
    def cell(variant: Variant) -> str:
        figures = results.figures.get(name, {})
        found = ratios(figures.get(variant.name, []), figures.get(base, []))
        return number(median(found)) if found else "-"

    return cell


def _table(results: Results, columns: dict[str, Cell], *, short: bool = False) -> str:
    """Return a row for each peer that has a figure; short titles leave out how a peer acks."""
    measured = {name for figures in results.figures.values() for name in figures}
    rows = [
        [
            variant.title.partition(",")[0] if short else variant.title,
            *(cell(variant) for cell in columns.values()),
        ]
        for variant in VARIANTS
        if variant.name in measured
    ]
    rows = [row for row in rows if any(cell != "-" for cell in row[1:])]
    return aligned(["", *(title.strip() for title in columns)], rows) if rows else ""


def _goals(verdicts: Sequence[Verdict]) -> str:
    rows = []
    for verdict in verdicts:
        goal = verdict.goal
        word = "at most" if goal.figure in LOWER_IS_BETTER else "at least"
        bound = f"{word} {goal.bound:g} {goal.unit}".strip()
        rows.append([goal.text, bound, spread(verdict.values), verdict.best or "-", verdict.word])
    return aligned(["goal", "bound", "measured", "compared with", ""], rows)


def _machine(machine: dict[str, str], plan: Plan, results: Results) -> str:
    what = dict(machine)
    loops = "uvloop wherever a peer takes it" if plan.uvloop else "no uvloop"
    cut = ", the last one cut short for want of time" if results.cut_short else ""
    what["measured"] = f"{results.rounds} rounds of {plan.seconds:g} s per figure{cut}, {loops}"
    others = [cores for cores in results.others if cores is not None]
    if others:
        what["cores that others kept busy"] = ", ".join(f"{cores:g}" for cores in others)
        if max(others) > QUIET:
            what["DISTURBED"] = f"above {QUIET:g} the figures of a round are to be taken again"
    return "\n".join(f"- {name}: {value}" for name, value in what.items())


def aligned(titles: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown that is read as well as it is."""
    widths = [max(len(row[at]) for row in [titles, *rows]) for at in range(len(titles))]
    lines = [titles, ["-" * max(width, 3) for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )
