"""The command: measure, print, keep."""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.goals import OURS
from benchmarks.machine import describe
from benchmarks.plot import as_svg
from benchmarks.registry import BY_NAME, VARIANTS
from benchmarks.report import as_json, as_markdown, silent_markdown, soak_markdown
from benchmarks.rounds import Plan, measure_all, run_rounds, run_soaks
from benchmarks.silent import SILENT
from benchmarks.soak import SOAKS

NAMES = [variant.name for variant in VARIANTS]
README = Path(__file__).with_name("README.md")
# What is watched for a while instead of measured in rounds: the option, and its workloads.
WATCHED = {"soak": tuple(SOAKS), "silent": tuple(SILENT)}


def main() -> int:
    """Run the benchmark; 1 if a measurement failed, for example by a wrong ack."""
    parser = _parser()
    arguments = parser.parse_args()
    watching, wanted, plan = _asked_for(arguments, parser)
    reasons = {name: BY_NAME[name].why_missing() for name in wanted}
    missing = {name: why for name, why in reasons.items() if why is not None}
    variants = [BY_NAME[name] for name in wanted if name not in missing]
    for name, why in missing.items():
        print(f"{name} is missing: {why}", file=sys.stderr)

    machine = describe()
    begin = time.monotonic()
    try:
        work = partial(run_soaks, names=WATCHED[watching]) if watching else run_rounds
        results = measure_all(variants, plan, lambda text: _progress(text, begin), work)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is left running", file=sys.stderr)
        return 130
    _progress("", begin)

    if watching == "soak":
        text = soak_markdown(results, machine, plan)
    elif watching:
        text = silent_markdown(results, machine, plan)
    else:
        text = as_markdown(results, missing, machine, plan)
    figures = json.dumps(as_json(results, missing, machine, plan), indent=1)
    print(f"\n{text}")
    if str(arguments.json) == "-":
        print(figures)
    elif arguments.json:
        arguments.json.write_text(figures + "\n")
    if arguments.plot:
        arguments.plot.write_text(as_svg(results))
    if arguments.update_readme:
        update_block(README, watching or "figures", text)
    return 1 if results.errors else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure sketchmesh beside its peers, in one run.",
        epilog=f"Peers: {', '.join(NAMES)}.",
    )
    parser.add_argument("--rounds", type=int, help="how often everything is measured (5; quick: 1)")
    parser.add_argument("--seconds", type=float, help="how long one measurement takes (0.6; quick: 0.25)")
    parser.add_argument(
        "--soak",
        type=float,
        nargs="?",
        const=300.0,
        metavar="SECONDS",
        help="watch the product's memory instead, in two soaks of so many seconds (300)",
    )
    parser.add_argument(
        "--silent",
        type=float,
        nargs="?",
        const=60.0,
        metavar="SECONDS",
        help="watch what subscribers cost that do not read, in four runs of so many seconds (60)",
    )
    parser.add_argument("--quick", action="store_true", help="under 90 s, for a first look")
    parser.add_argument("--only", metavar="A,B", help="these peers only; a name may end in *")
    parser.add_argument("--no-uvloop", action="store_true", help="asyncio's own loop for all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there; - prints them")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a chart there, as SVG")
    parser.add_argument("--update-readme", action="store_true", help="put the tables into the README")
    return parser


def _asked_for(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> tuple[str, list[str], Plan]:
    """Return what is watched instead of measured, if anything is; which peers; and how much of it."""
    given = [name for name in WATCHED if getattr(arguments, name) is not None]
    wanted = _chosen(arguments.only, parser)
    if not given:
        plan = Plan(
            rounds=arguments.rounds or (1 if arguments.quick else 5),
            seconds=arguments.seconds or (0.25 if arguments.quick else 0.6),
            limit=75.0 if arguments.quick else 840.0,
            quick=arguments.quick,
            uvloop=not arguments.no_uvloop,
        )
        return "", wanted, plan
    watching = given[0]
    others = arguments.quick or arguments.rounds or arguments.seconds or arguments.plot
    if others or len(given) > 1:
        parser.error(f"--{watching} goes with --only, --no-uvloop, --json and --update-readme alone")
    seconds, names = getattr(arguments, watching), WATCHED[watching]
    wanted = [name for name in wanted if set(names) & set(BY_NAME[name].workloads)]
    if not wanted or seconds < 1:
        parser.error(f"--{watching} takes a second at least, and {OURS}: the others have none")
    # More than enough to start, to warm up and to end.
    limit = len(wanted) * len(names) * (240 + 2.5 * seconds)
    return watching, wanted, Plan(1, seconds, limit, quick=False, uvloop=not arguments.no_uvloop)


def _chosen(only: str | None, parser: argparse.ArgumentParser) -> list[str]:
    """Return names of peers in the order of the table."""
    if not only:
        return NAMES
    names: set[str] = set()
    for word in only.split(","):
        found = set(fnmatch.filter(NAMES, word))
        if not found:
            parser.error(f"no peer {word!r}; there are {', '.join(NAMES)}")
        names |= found
    return [name for name in NAMES if name in names]


def _progress(text: str, begin: float) -> None:
    if sys.stderr.isatty():
        words = f"{time.monotonic() - begin:4.0f} s  {text}" if text else ""
        print(f"\r\x1b[K{words}", end="", file=sys.stderr, flush=True)


def update_block(path: Path, name: str, text: str) -> None:
    """Put a text between the markers of a block of a file, and leave its other blocks alone."""
    first, last = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = path.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise SystemExit(f"{path} has lost its markers {first} and {last}")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
