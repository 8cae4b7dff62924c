"""Results as a bar chart: an SVG drawn by hand, for a library that draws weighs more than the product."""

from __future__ import annotations

from html import escape
from math import log10
from statistics import median

from benchmarks.goals import LOWER_IS_BETTER, OURS
from benchmarks.registry import VARIANTS
from benchmarks.report import number
from benchmarks.rounds import Results

PANELS = (
    ("backlog", "Acked 64-byte messages per second, from a backlog (logarithmic)", True),
    ("window", "Acked 64-byte messages per second, window of 16", False),
    ("p50", "Round trip, median, microseconds (less is better)", False),
    ("fanout", "Deliveries per second, 64-byte messages to 100 connections (logarithmic)", True),
    ("payload64k", "MB/s with payloads of 64 KiB", False),
    ("idle", "KiB per idle connection (less is better)", False),
)

LABELS, BARS, VALUES, ROW, HEAD = 270, 460, 90, 20, 40

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 14px }
.value { font-size: 11px }
rect { fill: #8c959f }
.ours { fill: #0969da }
line { stroke: #24292f; stroke-width: 1 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } line { stroke: #e6edf3 } }
"""


def as_svg(results: Results) -> str:
    """Return a chart with a panel for each workload, the best peer on top."""
    top = 0
    shapes: list[str] = []
    for figure, title, logarithmic in PANELS:
        rows = _rows(results, figure)
        if rows:
            shapes += _panel(top, title, rows, logarithmic)
            top += HEAD + ROW * len(rows)
    width, height = LABELS + BARS + VALUES, top + 16
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}">\n<title>Benchmark of sketchmesh and its peers</title>\n<style>{_STYLE}</style>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


Row = tuple[str, bool, float, float, float]
"""Title, whether it is ours, median, lowest, highest."""


def _rows(results: Results, figure: str) -> list[Row]:
    rows: list[Row] = []
    for variant in VARIANTS:
        found = results.figures.get(figure, {}).get(variant.name, [])
        values = [value for value in found if value is not None]
        if values:
            # Memory can be measured as less than nothing, when a process happened to give some back.
            shown = max(median(values), 0.0)
            rows.append((variant.title, variant.name == OURS, shown, max(min(values), 0.0), max(values)))
    return sorted(rows, key=lambda row: row[2], reverse=figure not in LOWER_IS_BETTER)


def _panel(top: int, title: str, rows: list[Row], logarithmic: bool) -> list[str]:
    most = max(row[4] for row in rows)
    # One decade below the least, so that the shortest bar still is one.
    floor = min((row[3] for row in rows if row[3] > 0), default=1.0) / 10

    def length(value: float) -> float:
        if logarithmic:
            return BARS * log10(max(value, floor) / floor) / log10(most / floor)
        return BARS * value / most if most else 0.0

    shapes = [f'<text class="title" x="8" y="{top + 28}">{escape(title)}</text>']
    for at, (name, ours, middle, least, greatest) in enumerate(rows):
        y = top + HEAD + ROW * at
        mark = ' class="ours"' if ours else ""
        middle_y, left, right = y + 9.5, LABELS + length(least), LABELS + length(greatest)
        shapes += [
            f'<text x="{LABELS - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>',
            f'<rect{mark} x="{LABELS}" y="{y + 3}" width="{length(middle):.1f}" height="13"/>',
            f'<line x1="{left:.1f}" y1="{middle_y}" x2="{right:.1f}" y2="{middle_y}"/>',
            f'<text class="value" x="{right + 6:.1f}" y="{y + 13}">{number(middle)}</text>',
        ]
    return shapes
