"""What boards with firmware cost in real time: ``python -m benchmarks.firmware`` prints a table.

- One board, and four at once, each a process of its own as in a fleet: how much of a core do they
  take, and is simulated time behind after a while?
- The firmware of a button answers a change at pin 2 by one at pin 13. How long from that edge, by its
  stamp, until a handler in this process has it?
- A burst of 200 bytes to StandardFirmata, which answers each with three: how many answers are there?
  The real chip has room for about 150. The tests fetch the file, into ``.cache``.

``python -m benchmarks.avr`` has the engines by themselves.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import mesh
from factory.boards.avr.engine import HERTZ
from factory.boards.avr.engines import installed_engines

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples" / "firmware"
FIRMATA = ROOT / ".cache" / "firmata" / "StandardFirmata.cpp.hex"
WARM_UP = 2.0
SECONDS = 10.0
CHANGES = 200
BURST = 200
Row = tuple[str, str, str, bool]


class Board:
    """A board in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.uri = f"ws://localhost:{port}"
        self._process = process

    def core_seconds(self) -> float:
        """Return the time of a core that it has used, with the process of its simulator if it has one."""
        ours = {str(self._process.pid)}
        total = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text("ascii").rsplit(")", 1)[1].split()
            except (OSError, UnicodeError):
                continue  # it has just ended
            if stat.parent.name in ours or fields[1] in ours:
                total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    async def reset(self) -> None:
        """Press its reset button."""
        async with mesh.connect(self.uri, name="benchmark") as peer:
            await peer.request("", "reset")

    async def firmware(self) -> dict[str, Any]:
        """Return how its firmware fares."""
        async with mesh.connect(self.uri, name="benchmark") as peer:
            found: dict[str, Any] = (await peer.request("", "pins"))["firmware"]
            return found


@asynccontextmanager
async def board(firmware: Path, engine: str) -> AsyncIterator[Board]:
    """Run a board with firmware."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "arduino.py"), "board", "--port", "0"),
        *("--board", f"avr+{engine}:{firmware}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        while not (line := (await process.stdout.readline()).decode()).count("serving on"):
            if not line:
                raise RuntimeError("the board has not started; start it by hand and see why")
        # Nobody reads the rest; there is little of it.
        yield Board(process, int(line.rsplit(":", 1)[1]))
    finally:
        process.terminate()
        await process.communicate()


async def real_time(count: int, engine: str) -> Row:
    """Measure what boards need to hold real time."""
    async with AsyncExitStack() as stack:
        boards = [
            await stack.enter_async_context(board(EXAMPLES / "blink.hex", engine)) for _ in range(count)
        ]
        await asyncio.sleep(WARM_UP)
        begun = time.monotonic()
        before = [(each.core_seconds(), (await each.firmware())["cycle"]) for each in boards]
        await asyncio.sleep(SECONDS)
        after = [(each.core_seconds(), (await each.firmware())["cycle"]) for each in boards]
        took = time.monotonic() - begun
    used = [(now[0] - was[0]) / took for now, was in zip(after, before, strict=True)]
    held = [(now[1] - was[1]) / HERTZ / took for now, was in zip(after, before, strict=True)]
    name = f"{'1 board' if count == 1 else f'{count} boards'} in {engine}"
    goal = "real time with half a core" if count == 1 else "real time"
    words = f"{min(held):.2f} of real time, {max(used):.2f} of a core each"
    return name, goal, words, min(held) > 0.98 and (count > 1 or max(used) <= 0.5)


async def to_a_handler(engine: str) -> Row:
    """Measure the way of an edge from the chip to a handler here."""
    seen: list[float] = []

    async def watch(peer: mesh.Peer) -> None:
        async for _ in peer.subscribe("pin/13", policy="block"):
            now = time.monotonic()
            seen.append(now)

    async with (
        board(EXAMPLES / "button.hex", engine) as uno,
        mesh.connect(uno.uri, name="watcher") as peer,
    ):
        await asyncio.sleep(WARM_UP)
        watching = asyncio.create_task(watch(peer))
        await asyncio.sleep(0.5)
        seen.clear()
        since = (await peer.request(2**53, "edges"))["made"]
        for turn in range(CHANGES):
            await peer.request(turn % 2, "pin/2")
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        edges = (await peer.request(since, "edges"))["edges"]
        watching.cancel()
        # What was given up while it started, the clock of the board is behind ours.
        offset = (await uno.firmware())["given_up"]
    made = [edge[1] + offset for edge in edges if edge[2] == 13]
    times = sorted(after - before for before, after in zip(made, seen, strict=True))
    p50, p99 = statistics.median(times) * 1000, times[int(len(times) * 0.99)] * 1000
    return (
        f"edge in {engine} to another process's handler",
        "p50 < 5 ms",
        f"{p50:.2f} ms (p99 {p99:.2f})",
        p50 < 5,
    )


async def burst(engine: str) -> Row:
    """Count the answers to a burst that nobody paces."""
    got = bytearray()

    async def read(peer: mesh.Peer) -> None:
        async for data in peer.subscribe("uart/0", policy="block"):
            got.extend(data)

    async with board(FIRMATA, engine) as uno, mesh.connect(uno.uri, name="watcher") as peer:
        reading = asyncio.create_task(read(peer))
        await asyncio.sleep(0.5)  # so that it is heard
        await uno.reset()
        while not got.endswith(b"\xf7"):  # noqa: ASYNC110 - it boots for two seconds, and says who it is
            await asyncio.sleep(0.1)
        got.clear()
        await peer.request(b"\xf9" * BURST, "uart/0")
        await asyncio.sleep(2)
        reading.cancel()
    answers = got.count(b"\xf9\x02\x04")
    words = f"{answers} answers"
    return f"{BURST} bytes at once in {engine}", "140 to 160 answers", words, 140 <= answers <= 160


async def figures() -> AsyncIterator[Row]:
    """Measure everything, and give for each figure its name, goal, value and verdict."""
    for engine in installed_engines():
        for count in (1, 4):
            yield await real_time(count, engine)
        yield await to_a_handler(engine)
        if FIRMATA.exists():
            yield await burst(engine)


async def main() -> None:
    """Print the table."""
    print("| figure | goal | measured | |\n|---|---|---|---|")
    async for name, goal, value, good in figures():
        print(f"| {name} | {goal} | {value} | {'pass' if good else 'FAIL'} |", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
