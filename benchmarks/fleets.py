"""How long a fleet takes, and what it costs when idle: ``python -m benchmarks.fleets``.

Real ``mesh`` commands on real fleets, each beside the time that a bare Python takes to start,
for that is what a fleet is mostly made of.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import looking
from benchmarks.__main__ import README, update_block
from benchmarks.machine import describe
from benchmarks.report import aligned
from mesh import runtime

ROOT = Path(__file__).resolve().parents[1]
FIRST_PORT = 24_000
IDLE = 5.0
"""Seconds for which idle workers are watched."""

BARE = "a bare Python starts and ends"

BLOCKED = 1.5
"""Seconds for which an event loop is blocked while `mesh list` is timed, once a round."""

SHIPPED = """
  clock: {{sketch: clock, target: blink}}
  blink: {{sketch: iopin, port: {0}}}
  buzzer: {{sketch: buzzer, port: {1}}}
"""


class Row(NamedTuple):
    """One figure, what it should be at the most, and in what unit."""

    what: str
    value: float
    limit: float | None
    unit: str


def mesh(*arguments: str | Path) -> list[str]:
    """Return a command line of ``mesh``."""
    return [sys.executable, "-m", "factory.cli.fleet", *map(str, arguments)]


def quietly(*command: str) -> None:
    """Run a program to its end."""
    null = subprocess.DEVNULL
    subprocess.run(command, cwd=ROOT, check=True, stdout=null, stderr=null)  # noqa: S603 - our own


def timed(*command: str, rounds: int) -> float:
    """Return the median of the seconds that a program takes from start to end."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        quietly(*command)
        times.append(time.perf_counter() - begin)
    return median(times)


@contextmanager
def fleet(grid: Path) -> Iterator[float]:
    """Bring a fleet up for as long as the block lasts; gives the seconds until it was ready."""
    begin = time.perf_counter()
    quietly(*mesh("up", "-d", "--grid", grid))
    try:
        yield time.perf_counter() - begin
    finally:
        quietly(*mesh("down", "--grid", grid))


def many(count: int, *, first: int = FIRST_PORT) -> str:
    """Return a grid of so many buzzers."""
    return "".join(f"  n{index}: {{sketch: buzzer, port: {first + index}}}\n" for index in range(count))


def write(grid: Path, nodes: str) -> None:
    """Save a grid."""
    grid.write_text(f"nodes:\n{nodes}", encoding="utf-8")


def edit(grid: Path, nodes: str, name: str) -> float:
    """Save a grid; return the seconds until a new node of it has registered, and so is ready."""
    begin = time.perf_counter()
    write(grid, nodes)
    while not any(record.name == name for record in runtime.workers()):
        time.sleep(0.005)
    return time.perf_counter() - begin


def idle() -> tuple[float, float]:
    """Return the MiB and the share of a core that a worker with nothing to do takes."""
    pids = [record.pid for record in runtime.workers()]
    tick = os.sysconf("SC_CLK_TCK")

    def used() -> int:
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        return sum(int(fields[11]) + int(fields[12]) for fields in stats)

    time.sleep(1.0)  # until what a start brings with it is over
    before = used()
    time.sleep(IDLE)
    share = (used() - before) / tick / IDLE / len(pids)
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return median(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20, share


def measure(count: int, rounds: int) -> list[Row]:
    """Return all figures; fleets of ``count`` nodes are the large ones."""
    bare = timed(sys.executable, "-c", "pass", rounds=rounds * 3)
    rows = [
        Row(BARE, bare, None, "s"),
        Row("`mesh --help`", timed(*mesh("--help"), rounds=rounds * 3), 0.2, "s"),
    ]
    grid = Path(os.environ[runtime.VARIABLE], "bench.yaml")
    ups = []
    for _ in range(rounds):
        write(grid, SHIPPED.format(FIRST_PORT, FIRST_PORT + 1))
        with fleet(grid) as seconds:
            ups.append(seconds)
    rows.append(Row("`mesh up` of the shipped fleet, until all are ready", median(ups), 2.0, "s"))
    write(grid, many(2))
    with fleet(grid):
        worker = timed_worker(rounds)
        edits = [edit(grid, many(3 + index), f"n{2 + index}") for index in range(rounds)]
        rows += [
            Row("a worker started by hand, until it is ready", worker, None, "s"),
            Row("an edit, from saving until the new node is ready", median(edits), None, "s"),
            Row("of which the fleet takes", median(edits) - worker, 1.0, "s"),
            Row("`mesh is-ready`", timed(*mesh("is-ready", "--grid", grid), rounds=rounds), 0.5, "s"),
        ]
        size, share = idle()
        rows += [
            Row("memory of an idle worker", size, 40.0, "MiB"),
            Row("an idle worker, of one core", share * 100, 0.5, "%"),
        ]
    rows += measure_looking(grid, rounds)
    write(grid, many(count))
    with fleet(grid) as seconds:
        rows.append(Row(f"`mesh up` of {count} nodes, until all are ready", seconds, 15.0, "s"))
    return rows


def measure_looking(grid: Path, rounds: int) -> list[Row]:
    """Return what looking inside costs, and how long it takes when somebody is silent."""
    sink = FIRST_PORT + 901
    looking.write_sketches(grid.parent)
    write(grid, SHIPPED.format(FIRST_PORT, FIRST_PORT + 1) + looking.grid(sink))
    listed = mesh("list", "--grid", grid)
    with fleet(grid):
        rows = [Row("`mesh list` of four nodes", timed(*listed, rounds=rounds), 0.5, "s")]
        with looking.frozen("buzzer"):
            rows.append(Row("... with one node frozen", timed(*listed, rounds=rounds), 0.5, "s"))
        silent = []
        for _ in range(rounds):
            with looking.blocked(sink, BLOCKED):
                silent.append(timed(*listed, rounds=1))
            time.sleep(BLOCKED)
        rows.append(Row("... with one event loop blocked", median(silent), 0.5, "s"))
        rows += [Row(what, percent, 10.0, "%") for what, percent in looking.costs(sink, grid, rounds).items()]
    return rows


def timed_worker(rounds: int) -> float:
    """Return the median of the seconds that a worker started by hand takes until it has registered."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        command = [sys.executable, "arduino.py", "buzzer", "--name", "alone", "--port", str(FIRST_PORT + 900)]
        null = subprocess.DEVNULL
        worker = subprocess.Popen(command, cwd=ROOT, stdout=null, stderr=null)  # noqa: S603 - our own
        while not any(record.name == "alone" for record in runtime.workers()):
            time.sleep(0.005)
        times.append(time.perf_counter() - begin)
        worker.send_signal(signal.SIGINT)
        worker.wait()
    return median(times)


def table(rows: list[Row]) -> str:
    """Return the figures as a table, with times in starts of a bare Python as well."""
    bare = rows[0].value
    lines = [
        [
            row.what,
            f"{row.value:.3f} s" if row.unit == "s" else f"{row.value:.2f} {row.unit}",
            f"{row.value / bare:.1f}" if row.unit == "s" else "",
            "" if row.limit is None else f"{row.limit:g} {row.unit}",
            "" if row.limit is None else "pass" if row.value <= row.limit else "missed",
        ]
        for row in rows
    ]
    return aligned(["", "measured", "starts of a bare Python", "at most", ""], lines)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=50, help="nodes of the large fleet (50)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (5)")
    parser.add_argument("--only-looking", action="store_true", help="only what looking inside costs")
    parser.add_argument("--update-readme", action="store_true", help="put the table into the README")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sm-") as folder:
        os.environ[runtime.VARIABLE] = folder
        if arguments.only_looking:
            bare = timed(sys.executable, "-c", "pass", rounds=arguments.rounds * 3)
            rows = [Row(BARE, bare, None, "s")]
            rows += measure_looking(Path(folder, "bench.yaml"), arguments.rounds)
        else:
            rows = measure(arguments.nodes, arguments.rounds)
    about = [f"- {name}: {value}" for name, value in describe().items() if name != "nats-server"]
    text = "\n".join([*about, "", table(rows)])
    print(text)
    if arguments.update_readme:
        update_block(README, "fleets", text)


if __name__ == "__main__":
    main()
