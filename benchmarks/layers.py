"""What each layer and each tap costs: ``python -m benchmarks.layers``.

Both ends run in one process, over a unix socket: what is measured is the work of both, and no waiting.
The rows take turns, so that whatever else the machine does hits all of them alike.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.machine import describe
from mesh.transport.base import Transport, TransportClosedError
from mesh.transport.endpoints import dial, listen
from mesh.transport.layers import Layer, LayerSpec
from mesh.transport.tapping import Tap, tap_process

README = Path(__file__).with_name("README.md")
SIZES = (64, 4096)


class Seal(Layer):
    """The layer of one's own of docs/reference/transports.md: HMAC with SHA-256, and 32 bytes more."""

    def outbound(self, message: bytes) -> list[bytes]:
        """Seal a message."""
        return [hmac.digest(b"the key", message, hashlib.sha256) + message]

    def inbound(self, data: bytes) -> list[bytes]:
        """Take a seal off, if it is the right one."""
        seal, message = data[:32], data[32:]
        assert hmac.compare_digest(seal, hmac.digest(b"the key", message, hashlib.sha256))
        return [message]


@dataclass(frozen=True, slots=True)
class Row:
    """One stack to be measured.

    Attributes:
        name: What the table calls it.
        layers: The layers at both ends.
        tapped: Whether there is a tap on the process, as with ``--wire``.
        scheme: Where it runs.

    """

    name: str
    layers: Sequence[LayerSpec]
    tapped: bool = False
    scheme: str = "unix"


ROWS = (
    Row("`len32le`, the least for messages", ("len32le",)),
    Row("`line` instead", ("line",)),
    Row("no layer, on `ws+unix`", (), scheme="ws+unix"),
    Row("`len32le, zlib`", ("len32le", "zlib")),
    Row("`len32le, logging`, written to a file", ("len32le", "logging")),
    Row("`len32le`, a seal of one's own", ("len32le", Seal)),
    Row("`len32le`, `--wire` on, written to a file", ("len32le",), tapped=True),
)


async def measure(row: Row, size: int, count: int, folder: Path, sink: Path) -> float:
    """Return the microseconds of a message through a stack, there and back, at both ends."""

    async def echo(transport: Transport) -> None:
        while True:
            await transport.send(await transport.recv())

    # Text that compresses as well as text does, without line breaks.
    message = (os.urandom(size // 4).hex() + "x" * size)[:size].encode()
    with sink.open("w") as lines:
        tap_process(Tap(lambda line: lines.write(line + "\n")) if row.tapped else None)
        handler = logging.StreamHandler(lines)
        wire = logging.getLogger("mesh.wire")
        wire.addHandler(handler)
        wire.setLevel(logging.INFO)
        wire.propagate = False
        try:
            url = f"{row.scheme}://{folder}/x.sock"
            async with await listen(url, echo, layers=row.layers):
                transport = await dial(url, layers=row.layers)
                await _exchange(transport, message, count // 10 + 1)
                begin = time.perf_counter()
                await _exchange(transport, message, count)
                took = time.perf_counter() - begin
                transport.abort()
        finally:
            tap_process(None)
            wire.removeHandler(handler)
    return took / count * 1e6


async def _exchange(transport: Transport, message: bytes, count: int) -> None:
    async def take() -> None:
        for _ in range(count):
            answer = await transport.recv()
            if answer != message:
                raise TransportClosedError("the answer is another one")

    taking = asyncio.create_task(take())
    # Many in flight, so that the wake-ups are shared and the layers show.
    for number in range(count):
        await transport.send(message)
        if number % 64 == 63:
            await asyncio.sleep(0)
    await taking


def table(figures: dict[tuple[str, int], list[float]]) -> str:
    """Return the medians as a Markdown table."""
    heads = ["", *(f"us at {size} B | more" for size in SIZES)]
    lines = [f"| {' | '.join(heads)} |", "|---" * (1 + 2 * len(SIZES)) + "|"]
    for row in ROWS:
        cells = [row.name]
        for size in SIZES:
            mine, first = figures[row.name, size], figures[ROWS[0].name, size]
            more = median(one - other for one, other in zip(mine, first, strict=True))
            cells += [f"{median(mine):.1f}", "" if row is ROWS[0] else f"{more:+.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and keep if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="how often everything is measured (7)")
    parser.add_argument("--count", type=int, default=4000, help="messages in one measurement (4000)")
    parser.add_argument("--update-readme", action="store_true", help="put the table into the README")
    arguments = parser.parse_args()
    figures: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for _ in range(arguments.rounds):
            for size in SIZES:
                for row in ROWS:
                    figure = asyncio.run(measure(row, size, arguments.count, place, place / "lines"))
                    figures.setdefault((row.name, size), []).append(figure)
    machine = describe()
    text = (
        f"Microseconds of a message there and back, both ends in one process, median of {arguments.rounds} "
        f"rounds; *more* is against the first row of the same round. {machine['processor']}, "
        f"{machine['python']}, {machine['date']}, commit {machine['commit']}.\n\n{table(figures)}"
    )
    print(text)
    if arguments.update_readme:
        from benchmarks.__main__ import update_block

        update_block(README, "layers", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
