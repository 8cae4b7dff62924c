"""``python -m benchmarks.ring``: how soon a ring is whole again, what it costs idle, and how fast it is.

Detection and healing are measured over the network in memory, with time moved by hand, so they
are those of the algorithm: one millisecond for a packet, and no time for computing. How fast
messages go round is measured with eight real processes on loopback, beside eight plain relays of
``websockets`` that pass each message to the next, in turns in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

import factory
import mesh
from benchmarks.machine import describe
from factory.eventloop import loop_factory
from tests.helpers.ports import free_ports
from tests.helpers.ring_sim import Sim, names

HOPS = 8
PAYLOAD = "x" * 64
AT_ONCE = 512
"""Messages on their way at any time."""


# -- in memory -------------------------------------------------------------------------------


def trial(size: int, kind: str, seed: int) -> tuple[float, float]:
    """Return the seconds until a fault was noticed by all who had to, and until the ring was whole."""
    sim = Sim(names(size), seed)
    sim.start_all(20.0)
    sim.run(sim.random.uniform(0.5, 1.5))
    at = sim.random.randrange(size)
    count = size // 2 if kind == "halves" else 2
    gone = [sim.members[(at + step) % size] for step in range(count)]
    left = [name for name in sim.members if name not in gone]
    begun = sim.now
    sim.losses.clear()
    if kind == "killed":
        for name in gone:
            sim.kill(name)
    elif kind == "frozen":
        for name in gone:
            sim.freeze(name)
    else:
        sim.cut(gone)
    if not sim.run(20.0, lambda: sim.is_ring(left)):
        raise AssertionError(f"no ring\n{sim.picture()}")
    healed = sim.now - begun
    sim.run(0.3)
    noticed = [at - begun for at, who, lost in sim.losses if who in left and lost.name in gone]
    return max(noticed), healed


def idle(size: int) -> float:
    """Return the bytes a second that a member sends that has nothing to do."""
    sim = Sim(names(size), 1)
    sim.start_all(20.0)
    sim.run(3.0)
    before = [one.bytes_sent for one in sim.living]
    sim.run(10.0)
    return max((one.bytes_sent - sent) / 10 for one, sent in zip(sim.living, before, strict=True))


def percentile(values: list[float], share: float) -> float:
    """Return the value that so many do not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def in_memory(trials: int) -> None:
    """Print what faults and idleness cost."""
    print("| fault | members | noticed p50 | p99 | whole again p50 | p99 |\n|---|---|---|---|---|---|")
    for kind in ("killed", "frozen", "parted", "halves"):
        what = "the ring is cut in halves" if kind == "halves" else f"two neighbours are {kind}"
        for size in (8, 32, 128):
            noticed, healed = zip(*(trial(size, kind, seed) for seed in range(trials)), strict=True)
            cells = [
                f"{1000 * percentile(list(values), share):.0f} ms"
                for values in (noticed, healed)
                for share in (0.5, 0.99)
            ]
            print(f"| {what} | {size} | {' | '.join(cells)} |", flush=True)
    print("\n| members | an idle member sends |\n|---|---|")
    for size in (8, 32, 128):
        print(f"| {size} | {idle(size):.0f} B/s |", flush=True)


# -- round eight processes ----------------------------------------------------------------------


class Gossip(factory.FactoryLoop):
    """A member that counts what comes round."""

    count = 0

    def out(self, text: object) -> None:
        """Say nothing: what is printed is the figure."""

    @factory.reactive("ring")
    async def hear(self, channel: str, msg: str) -> None:
        """Count."""
        self.count += 1


async def flow(send: Callable[[int], Awaitable[None]], seconds: float) -> float:
    """Keep so many messages on their way, and return how many came back in a second."""
    numbers = itertools.count()
    begun = time.perf_counter()

    async def one_after_the_other() -> None:
        while time.perf_counter() - begun < seconds:
            await send(next(numbers))

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    return next(numbers) / (time.perf_counter() - begun)


async def ring_member(name: str, ports: list[int], seconds: float) -> None:
    """Be a member; the first one sends, and prints how fast it was."""
    nodes = [mesh.Node(f"n{at}", port=port) for at, port in enumerate(ports)]
    group = mesh.Group("ring", tuple(node.name for node in nodes), "ring")
    grid = mesh.Grid(nodes, groups={"ring": group})
    sketch = Gossip.as_node(grid.node(name), grid)
    async with sketch.running():
        if name != "n0":
            await asyncio.Event().wait()
        while len(await sketch.ring_members("ring", timeout=20)) < HOPS - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

        async def send(number: int) -> None:
            receipt = await sketch.circulate("ring", PAYLOAD)
            if len(receipt.seen) != HOPS - 1:
                raise AssertionError(f"message {number} was seen by {receipt.seen}")

        await flow(send, seconds / 4)
        print(await flow(send, seconds), flush=True)


async def relay_member(at: int, ports: list[int], seconds: float) -> None:
    """Pass each message to the next; the first one sends, and prints how fast it was."""
    waiting: dict[str, asyncio.Future[None]] = {}

    async def patiently() -> object:
        for _ in range(200):
            try:
                return await connect(f"ws://localhost:{ports[(at + 1) % HOPS]}", compression=None, proxy=None)
            except OSError:
                await asyncio.sleep(0.05)
        raise TimeoutError("the next relay is not there")

    onward = asyncio.ensure_future(patiently())

    async def take(connection: ServerConnection) -> None:
        following = await onward
        async for message in connection:
            if at:
                await following.send(message)  # type: ignore[attr-defined]
            else:
                waiting.pop(str(message).partition(" ")[0]).set_result(None)

    async with serve(take, "localhost", ports[at], compression=None):
        following = await onward
        if at:
            await asyncio.Event().wait()
        await asyncio.sleep(1.0)

        async def send(number: int) -> None:
            back = waiting[str(number)] = asyncio.get_running_loop().create_future()
            await following.send(f"{number} {PAYLOAD}")  # type: ignore[attr-defined]
            await back

        print(await flow(send, seconds), flush=True)


def race(kind: str, seconds: float) -> float:
    """Return how many messages a second go once round eight processes."""
    ports = [str(port) for port in free_ports(HOPS)]
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        members = []
        for at in reversed(range(HOPS)):
            words = [
                sys.executable,
                "-m",
                "benchmarks.ring",
                "--member",
                f"{kind}:{at}",
                "--seconds",
                str(seconds),
            ]
            member = subprocess.Popen(  # noqa: S603
                [*words, *ports],
                stdout=subprocess.PIPE,
                stderr=(Path(folder) / f"{at}").open("wb"),
                cwd=Path(__file__).parents[1],
            )
            stack.callback(member.wait)
            stack.callback(member.kill)
            members.append(member)
        out, _ = members[-1].communicate(timeout=60 + 3 * seconds)
        if not out.strip():
            raise AssertionError((Path(folder) / "0").read_text())
        return float(out)


def round_eight(rounds: int, seconds: float) -> None:
    """Print how fast messages go round."""
    speeds: dict[str, list[float]] = {"ring": [], "relay": []}
    for _ in range(rounds):
        for kind, found in speeds.items():
            found.append(race(kind, seconds))
    ratio = statistics.median(a / b for a, b in zip(speeds["ring"], speeds["relay"], strict=True))
    print("\n| once round 8 processes | messages a second |\n|---|---|")
    for kind, what in (("ring", "ring, `circulate()`"), ("relay", "plain `websockets` relays")):
        low, middle, high = min(speeds[kind]), statistics.median(speeds[kind]), max(speeds[kind])
        print(f"| {what} | {middle:,.0f} ({low:,.0f} to {high:,.0f}) |")
    print(f"| the ring is faster by (median of the rounds) | {ratio:.1f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ring", description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="trials of each fault (200)")
    parser.add_argument("--rounds", type=int, default=5, help="how often messages are sent round (5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each time (3)")
    parser.add_argument("--member", help=argparse.SUPPRESS)
    parser.add_argument("ports", nargs="*", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.member:
        kind, _, at = given.member.partition(":")
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            if kind == "ring":
                runner.run(ring_member(f"n{at}", given.ports, given.seconds))
            else:
                runner.run(relay_member(int(at), given.ports, given.seconds))
        return
    print(describe())
    if given.trials:
        in_memory(given.trials)
    if given.rounds:
        round_eight(given.rounds, given.seconds)


if __name__ == "__main__":
    main()
