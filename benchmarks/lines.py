"""What a line costs at the door of a sketch, beside a ``readline`` loop: ``python -m benchmarks.lines``.

The two servers are processes of their own and do the same: they answer each line with ``You sent: ...``,
one with the streams of asyncio, one as the shipped sketch ``echo`` behind ``--tcp``. They take turns, both
in the same event loop. A client in a third process sends and counts what comes back.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.machine import describe
from mesh.protocol.lines import LineSplitter

README = Path(__file__).with_name("README.md")
ROOT = Path(__file__).resolve().parents[1]
LINE = b"hello 12345\r\n"
ANSWER = b"You sent: hello 12345\r\n"

STREAMS = """
import asyncio

async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(b"You sent: " + line.rstrip(b"\\r\\n") + b"\\r\\n")
        await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(f"serving on tcp://localhost:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

SERVERS = {
    "`asyncio` streams, `readline` and `drain`": [sys.executable, "-c", STREAMS],
    "`./arduino.py echo --tcp`": [sys.executable, str(ROOT / "arduino.py"), "echo", "-q", "--tcp", "0"],
}


@contextmanager
def serving(command: list[str]) -> Iterator[int]:
    """Run a server for as long as the block lasts, and give its port."""
    environment = {**os.environ, "SKETCHMESH_UVLOOP": "0"}
    popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)  # noqa: S603
    with popen as server:
        try:
            assert server.stdout is not None
            found = re.search(rb"tcp://localhost:(\d+)", server.stdout.readline())
            assert found is not None, f"{command} does not serve"
            # What it goes on to say would fill the pipe.
            threading.Thread(target=server.stdout.read, daemon=True).start()
            yield int(found[1])
        finally:
            server.kill()


def at_once(port: int, count: int) -> float:
    """Return the lines per second of a client that sends without waiting."""
    with socket.create_connection(("127.0.0.1", port)) as connection:

        def send() -> None:
            connection.sendall(LINE * count)
            connection.shutdown(socket.SHUT_WR)

        sending = threading.Thread(target=send)
        begin = time.perf_counter()
        sending.start()
        size = 0
        while piece := connection.recv(2**18):
            size += len(piece)
        took = time.perf_counter() - begin
        sending.join()
    assert size == len(ANSWER) * count, "an answer is missing"
    return count / took


def one_by_one(port: int, count: int) -> float:
    """Return the lines per second of a client that waits for each answer."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = time.perf_counter()
        for _ in range(max(count // 50, 1)):
            connection.sendall(LINE)
            assert connection.recv(100) == ANSWER
        return max(count // 50, 1) / (time.perf_counter() - begin)


WORK: dict[str, Callable[[int, int], float]] = {"at once": at_once, "one by one": one_by_one}

Figures = dict[tuple[str, str], list[float]]


def byte_by_byte(count: int) -> list[tuple[int, float]]:
    """Return the nanoseconds for each byte of a line that comes in reads of one, for growing lines."""
    found = []
    for size in (count // 16, count // 4, count):
        splitter = LineSplitter(max_line=count)
        begin = time.perf_counter()
        for _ in range(size):
            splitter.runs(b"x")
        assert len(splitter.feed(b"\n")[0]) == size
        found.append((size, (time.perf_counter() - begin) / size * 1e9))
    return found


def measure(rounds: int, count: int) -> Figures:
    """Return lines per second by server and work, one figure for each round."""
    figures: Figures = {}
    for _ in range(rounds):
        for name, command in SERVERS.items():
            with serving(command) as port:
                for work, run in WORK.items():
                    run(port, count // 20)
                    figures.setdefault((name, work), []).append(run(port, count))
    return figures


def table(figures: Figures, bytewise: list[tuple[int, float]]) -> str:
    """Return the medians as Markdown: of lines per second, and of their ratios within a round."""
    lines = [f"| lines per second | {' | | '.join(WORK)} | |", "|---" * (1 + 2 * len(WORK)) + "|"]
    first, *_ = SERVERS
    for name in SERVERS:
        cells = [name]
        for work in WORK:
            mine = figures[name, work]
            ratio = median(one / other for one, other in zip(mine, figures[first, work], strict=True))
            cells += [f"{median(mine):,.0f}", f"x {ratio:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    growth = ", ".join(f"{size:,} bytes {each:.0f} ns" for size, each in bytewise)
    return "\n".join([*lines, "", f"A line in reads of one byte, for each byte of it: {growth}."])


def main() -> int:
    """Measure, print, and keep if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lines", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--count", type=int, default=200_000, help="lines in one measurement (200000)")
    parser.add_argument("--update-readme", action="store_true", help="put the table into the README")
    arguments = parser.parse_args()
    figures = measure(arguments.rounds, arguments.count)
    machine = describe()
    text = (
        f"Lines per second, median of {arguments.rounds} rounds; the factor is against the first row of the "
        f"same round. {machine['processor']}, {machine['python']}, {machine['date']}, "
        f"commit {machine['commit']}.\n\n{table(figures, byte_by_byte(1_000_000))}"
    )
    print(text)
    if arguments.update_readme:
        from benchmarks.__main__ import update_block

        update_block(README, "lines", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
