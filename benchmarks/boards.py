"""What boards cost: ``python -m benchmarks.boards`` from the root prints a table.

- A pin changes on a board in another process. How long until a handler here has it, and
  until pymata4, a Firmata client of others, has it? Both by the stamp of the edge: processes
  of one machine share the monotonic clock.
- 100,000 edges a second for three seconds: are all of them logged, and does what an observer
  in another process gets, with what it is told it missed, add up to what was made? Each gap in
  the numbers of the edges has to have a cause that was declared: by the log, or by the subscription.
- The memory of a process with 20 boards.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mesh
from factory.boards.modes import Mode
from sketches import Board

CHANGES = 400
GOAL = 100_000
RATE = 110_000  # a little more, so that the rhythm of the making is not what limits
SECONDS = 3.0
BOARDS = 20
Row = tuple[str, str, str, bool]

PULL_UP = {"2": Mode.INPUT_PULLUP.value}


# -- the other process -----------------------------------------------------------------------


def made(name: str, **arguments: Any) -> Board:
    """Return a board that knows nobody."""
    return Board.as_node(mesh.Node(name), mesh.Grid([]), **arguments)


async def serve(count: int) -> None:
    """Serve boards until the input ends; ``flood`` on the input has the first one make edges."""
    boards = [made(f"uno{n}", modes=PULL_UP, firmata_tcp=0) for n in range(count)]
    loop = asyncio.get_running_loop()
    async with Together(boards):
        first = boards[0]
        say({"port": first.serving.port, "firmata": first.board.firmata_port, "memory": memory()})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if line.strip() == "flood":
                say(await flood(boards[0]))


class Together:
    """Run several sketches at once."""

    def __init__(self, boards: list[Board]) -> None:
        self._runs = [board.running(port=0) for board in boards]

    async def __aenter__(self) -> None:
        for run in self._runs:
            await run.__aenter__()

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.gather(*(run.__aexit__(None, None, None) for run in self._runs))


async def flood(board: Board) -> dict[str, float]:
    """Make edges at the rate, and return how many there were and how long it took."""
    node = board.board
    pin = node.board.pin(13)
    log = node.board.log
    before, begin, level = log.made, time.monotonic(), pin.digital_read()
    while (elapsed := time.monotonic() - begin) < SECONDS:
        due = int(elapsed * RATE) - (log.made - before)
        for _ in range(due):
            level = 1 - level
            with node.clock:
                pin.digital_write(level)
        await asyncio.sleep(0.001)
    return {"made": log.made - before, "seconds": time.monotonic() - begin}


def say(what: object) -> None:
    """Tell the other process something."""
    print(json.dumps(what), flush=True)


def memory() -> float:
    """Return the resident memory of this process in MB."""
    [line] = [row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmRSS")]
    return int(line.split()[1]) * 1024 / 1e6


# -- this process ----------------------------------------------------------------------------


class Other:
    """The process with the boards."""

    def __init__(self, count: int) -> None:
        command = [sys.executable, "-m", "benchmarks.boards", "--serve", str(count)]
        self.process = subprocess.Popen(  # noqa: S603 - it is this very module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.facts = self.told()

    def told(self) -> dict[str, Any]:
        """Return the next thing it says, past what the sketches print."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise RuntimeError("the process with the boards has ended")

    def ask(self, word: str) -> None:
        """Have it do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()


@contextmanager
def other(count: int) -> Iterator[Other]:
    """Run the process with the boards."""
    child = Other(count)
    try:
        yield child
    finally:
        assert child.process.stdin is not None
        child.process.stdin.close()
        child.process.wait(20)


async def stamps(peer: mesh.Peer, pin: int) -> list[float]:
    """Return the stamps of all levels of one pin."""
    found: list[float] = []
    since = 0
    while True:
        answer = await peer.request(since, "edges")
        since += answer["missed"] + len(answer["edges"])
        found += [edge[1] for edge in answer["edges"] if edge[2] == pin]
        if since >= answer["made"]:
            return found


async def to_a_handler(port: int) -> list[float]:
    """Return the seconds that each change took to get to a subscriber here."""
    seen: list[float] = []

    async def watch(peer: mesh.Peer) -> None:
        async for _ in peer.subscribe("pin/13"):
            seen.append(time.monotonic())
            if len(seen) == CHANGES:
                return

    async with mesh.connect(f"ws://localhost:{port}", name="watcher") as peer:
        watching = asyncio.create_task(watch(peer))
        await asyncio.sleep(0.2)
        for turn in range(CHANGES):
            await peer.request(1 - turn % 2, "pin/13")
            await asyncio.sleep(0.002)
        await asyncio.wait_for(watching, 20)
        return [after - before for before, after in zip(await stamps(peer, 13), seen, strict=True)]


async def to_pymata4(port: int, firmata: int) -> list[float]:
    """Return the seconds that each change took to get to the callback of pymata4."""
    from pymata4.pymata4 import Pymata4

    seen: list[float] = []

    def changed(_data: object) -> None:
        seen.append(time.monotonic())

    client = await asyncio.to_thread(Pymata4, ip_address="127.0.0.1", ip_port=firmata)
    try:
        client.set_pin_mode_digital_input_pullup(2, callback=changed)
        async with mesh.connect(f"ws://localhost:{port}") as peer:
            await asyncio.sleep(0.5)
            seen.clear()
            before = len(await stamps(peer, 2))
            for turn in range(CHANGES):
                await peer.request(turn % 2, "pin/2")
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.5)
            made = (await stamps(peer, 2))[before:]
        return [after - before for before, after in zip(made, seen, strict=True)]
    finally:
        await asyncio.to_thread(client.shutdown)


class Books:
    """What an observer of a board's edges gets, and what it is told that it misses.

    Edges and batches have numbers of their own. A gap in the numbers of edges has to have a cause that was
    declared: the board says how many edges its log no longer had for a batch, and the subscription
    says how many batches it dropped. A gap without a cause is a loss in silence.

    Args:
        last: Number of the last edge before it began.

    Attributes:
        last: Number of the edge that came last.
        observed: Edges that came.
        declared: Edges that are missing, with a cause.
        silent: Edges that are missing without one, that came twice, or that were declared and came.

    """

    def __init__(self, last: int) -> None:
        self.last = last
        self.observed = 0
        self.declared = 0
        self.silent = 0
        self._seq: int | None = None
        self._dropped = 0

    def take(self, batch: dict[str, Any], seq: int) -> None:
        """Take a batch.

        Args:
            batch: Its edges, and how many are missing before them.
            seq: Its number, as the publisher counts.

        """
        dropped = 0 if self._seq is None else seq - self._seq - 1
        self._seq = seq
        self._dropped += dropped
        self.observed += len(batch["edges"])
        left_out, last = batch["missed"], self.last
        for number, *_ in batch["edges"]:
            if number != last + 1 or dropped or left_out:
                self._explain(number - last - 1, left_out, dropped)
                dropped = left_out = 0
            last = number
        self.last = last

    def _explain(self, gap: int, left_out: int, dropped: int) -> None:
        if dropped:
            # Each batch that was dropped had an edge or more; how many, only the numbers tell.
            self.silent += max(left_out + dropped - gap, 0)
            self.declared += max(gap, 0)
        else:
            self.silent += abs(gap - left_out)
            self.declared += max(min(gap, left_out), 0)

    def balance(self, made: int, dropped: int) -> bool:
        """Say whether all edges were observed or declared as missing.

        Args:
            made: Edges that the board made meanwhile.
            dropped: Batches that the subscription says it dropped.

        """
        return not self.silent and self._dropped == dropped and self.observed + self.declared == made


async def observe(child: Other) -> dict[str, Any]:
    """Have edges made at the rate, and return what was made, observed and declared as missing."""
    async with mesh.connect(f"ws://localhost:{child.facts['port']}", name="observer") as peer:
        before = (await peer.request(2**53, "edges"))["made"]
        books = Books(before)
        batches = peer.subscribe("edges", limit=64)

        async def watch(total: asyncio.Future[int]) -> None:
            async for batch in batches:
                books.take(batch, batches.seq)
                if total.done() and books.last >= total.result():
                    return

        async with batches:
            # A link keeps the order: what is answered now comes after the subscription has begun.
            await peer.request(2**53, "edges")
            total: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            watching = asyncio.create_task(watch(total))
            child.ask("flood")
            outcome = await asyncio.to_thread(child.told)
            await peer.request(0, "pin/12")
            await peer.request(1, "pin/12")  # one edge more, whose batch shows any gap before it
            made = (await peer.request(2**53, "edges"))["made"] - before
            total.set_result(before + made)
            if books.last < before + made:
                await asyncio.wait_for(watching, 30)
            watching.cancel()
            return {
                **outcome,
                "all": made,
                "observed": books.observed,
                "declared": books.declared,
                "silent": books.silent,
                "balanced": books.balance(made, batches.missed),
            }


def latency(name: str, times: list[float], goal: float) -> Row:
    """Return the row of some seconds, with a goal in milliseconds."""
    p50, p99 = statistics.median(times) * 1000, sorted(times)[int(len(times) * 0.99)] * 1000
    return name, f"p50 < {goal:g} ms", f"{p50:.2f} ms (p99 {p99:.2f})", p50 < goal


def figures() -> list[Row]:
    """Measure everything, and return for each figure its name, goal, value and verdict."""
    rows: list[Row] = []
    with other(1) as child:
        times = asyncio.run(to_a_handler(child.facts["port"]))
        rows.append(latency("pin change to another process's handler", times, 2))
        times = asyncio.run(to_pymata4(child.facts["port"], child.facts["firmata"]))
        rows.append(latency("... to pymata4 over TCP", times, 5))
    with other(1) as child:
        found = asyncio.run(observe(child))
        rate = found["made"] / found["seconds"]
        rows.append(("edges logged per second", "at least 100,000", f"{rate:,.0f}", rate >= GOAL))
        parts = {word: f"{found[word]:,}" for word in ("observed", "declared", "all", "silent")}
        words = "{observed} + {declared} of {all}, {silent} in silence".format_map(parts)
        rows.append(("observed + declared skipped = made", "equal", words, found["balanced"]))
    with other(BOARDS) as child:
        megabytes = child.facts["memory"]
        rows.append((f"{BOARDS} boards in one process", "under 60 MB", f"{megabytes:.1f} MB", megabytes < 60))
    return rows


def main() -> None:
    """Print the table, or serve boards for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(arguments.serve))
        return
    print("| figure | goal | measured | |\n|---|---|---|---|")
    for name, goal, value, good in figures():
        print(f"| {name} | {goal} | {value} | {'pass' if good else 'FAIL'} |")


if __name__ == "__main__":
    main()
