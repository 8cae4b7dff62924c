"""What simulated firmware costs: ``python -m benchmarks.avr`` from the root prints a table.

Each engine runs firmware for a while as fast as it can. Simulated cycles for each second of a core's time,
divided by the 16 million of the real chip, is how many boards one core could hold in real time. The time of a
core counts and not that of the clock, so that a busy machine gives the same figures.
"""

from __future__ import annotations

import argparse
import os
import resource
from pathlib import Path

from factory.boards.avr.engine import HERTZ, Engine
from factory.boards.avr.engines import ENGINES, installed_engines, start_engine
from factory.boards.avr.image import read_image
from factory.boards.avr.simavr import SimavrEngine

ROOT = Path(__file__).resolve().parents[1]
FIRMWARE = ROOT / "tests/factory/boards/avr/firmware"
SLICE = HERTZ // 200  # 5 ms
WARM_UP = 2  # seconds of simulated time, in which V8 compiles what it runs


def core_seconds(engine: Engine) -> float:
    """Return the time of a core that an engine has used, with its other process if it has one."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    total = used.ru_utime + used.ru_stime
    if isinstance(engine, SimavrEngine):
        fields = Path(f"/proc/{engine.pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def ratio(name: str, firmware: Path, seconds: int) -> float:
    """Return how many times faster than the real chip an engine is on one core."""
    engine = start_engine(read_image(firmware), name)
    try:
        cycle = 0
        while cycle < WARM_UP * HERTZ:
            cycle, _ = engine.run(cycle + SLICE)
        began, before = cycle, core_seconds(engine)
        while cycle < began + seconds * HERTZ:
            cycle, _ = engine.run(cycle + SLICE)
        return (cycle - began) / HERTZ / (core_seconds(engine) - before)
    finally:
        engine.close()


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("firmware", nargs="*", type=Path, help="what to run; by default that of the tests")
    parser.add_argument("--seconds", type=int, default=10, help="of simulated time, for each")
    options = parser.parse_args()
    print("| engine | firmware | simulated MHz | times real time, on one core |")
    print("|---|---|---|---|")
    for name in ENGINES:
        if name not in installed_engines():
            print(f"| {name} | not installed | | |")
            continue
        for path in options.firmware or sorted(FIRMWARE.glob("*.hex")):
            times = ratio(name, path, options.seconds)
            print(f"| {name} | {path.name} | {times * HERTZ / 1e6:.0f} | {times:.1f} |")


if __name__ == "__main__":
    main()
