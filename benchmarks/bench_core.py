"""Two link cores in one process: what the protocol itself costs, without any I/O.

Prints acked messages per second of sender and receiver together, and the time of
one message. ``python -m benchmarks.bench_core [--profile]`` from the root.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import time
from collections.abc import Callable

from mesh.protocol.link import Acked, Link, Received, read_hello


def pair() -> tuple[Link, Link]:
    """Return two links that are attached to each other."""
    a = Link("a", "1", 0.0, peer="b")
    b = Link("b", "1", 0.0)
    a.dial(0.0)
    (hello,) = a.data_to_send(0.0)
    b.accept(read_hello(hello), 0.0, session="s")
    for end, other in ((b, a), (a, b)):
        for frame in end.data_to_send(0.0):
            other.receive(frame, 0.0)
        end.events()
    return a, b


def backlog(payload: object, messages: int, batch: int, channels: int = 1) -> float:
    """Stream from a backlog and return the seconds it took; every ack is counted."""
    a, b = pair()
    items = [payload] * batch
    names = [f"channel-{n}" for n in range(channels)]
    sent = acked = turn = 0
    begin = time.perf_counter()
    while acked < messages:
        for _ in range(min(channels, 64)):
            if sent < messages:
                channel = names[turn]
                turn = (turn + 1) % channels
                room = a.room(channel)
                if room:
                    sent += a.send(channel, items[:room] if room < batch else items, 0.0, owner=names)
        for frame in a.data_to_send(0.0):
            b.receive(frame, 0.0)
        for event in b.events():
            if type(event) is Received:
                b.ack(event.work, ["ok" for _ in event.items], 0.0)
        for frame in b.data_to_send(0.0):
            a.receive(frame, 0.0)
        for event in a.events():
            if type(event) is Acked:
                acked += len(event.values)
    seconds = time.perf_counter() - begin
    assert acked == sent
    assert a.balanced()
    assert b.balanced()
    return seconds


CASES: dict[str, Callable[[], tuple[int, float]]] = {
    "64 B, batches of 1000": lambda: (2_000_000, backlog("x" * 64, 2_000_000, 1000)),
    "64 B, batches of 64": lambda: (1_000_000, backlog("x" * 64, 1_000_000, 64)),
    "64 B, batches of 16": lambda: (500_000, backlog("x" * 64, 500_000, 16)),
    "64 B, one by one": lambda: (50_000, backlog("x" * 64, 50_000, 1)),
    "64 B, batches of 16, 1,000 channels": lambda: (500_000, backlog("x" * 64, 500_000, 16, 1000)),
    "64 B, batches of 16, 10,000 channels": lambda: (500_000, backlog("x" * 64, 500_000, 16, 10_000)),
    "dict of 3, batches of 1000": lambda: (
        500_000,
        backlog({"pin": 13, "value": True, "name": "led"}, 500_000, 1000),
    ),
    "64 KiB bytes, batches of 16": lambda: (20_000, backlog(bytes(65536), 20_000, 16)),
}


def main() -> None:
    """Run every case and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", action="store_true", help="profile the first case instead")
    options = parser.parse_args()
    if options.profile:
        with cProfile.Profile() as profile:
            CASES["64 B, batches of 64"]()
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    rows: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(options.rounds):
        for name, case in CASES.items():
            count, seconds = case()
            rows[name].append(count / seconds)
    if options.json:
        print(json.dumps({name: statistics.median(rates) for name, rates in rows.items()}, indent=2))
        return
    print(f"{'acked messages, both ends in one process':44} {'median/s':>12} {'us each':>8}   range")
    for name, rates in rows.items():
        median = statistics.median(rates)
        print(f"{name:44} {median:12,.0f} {1e6 / median:8.3f}   {min(rates):,.0f} to {max(rates):,.0f}")


if __name__ == "__main__":
    main()
