"""``python -m benchmarks.ring_hosts``: how soon real processes are a ring again; needs root, for namespaces.

Sixteen members of ``ringchat``, each on a host of its own that is made for it. Two neighbours at a
time are killed, frozen or cut off. The time runs from the signal or the cut until this program has
read the line in which a member tells of it, so the pipes and this program's threads are in it.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.ring import percentile
from tests.helpers.ring_fleet import Hosts, Member, is_ring

KINDS = ("killed", "frozen", "parted")
PATIENCE = 30.0


class Fleet:
    """The members, and what is done to them."""

    def __init__(self, hosts: Hosts, grid: Path, stack: ExitStack) -> None:
        self._hosts = hosts
        self._grid = grid
        self._stack = stack
        self.members: dict[str, Member] = {}
        for name in hosts.names:
            self.start(name)
        self.wait_for_ring(hosts.names)

    def start(self, name: str) -> None:
        """Start a member, or start it again."""
        if name in self.members:
            self.members[name].__exit__(None, None, None)
        self.members[name] = self._stack.enter_context(self._hosts.member(name, self._grid))

    def wait_for_ring(self, names: list[str]) -> None:
        """Wait until some are a ring, and say nothing new for a while."""
        end = time.monotonic() + PATIENCE
        while not is_ring((self.members[name] for name in names), names):
            if time.monotonic() > end:
                raise AssertionError("\n".join(repr(member.proc) for member in self.members.values()))
            time.sleep(0.02)
        time.sleep(random.uniform(0.3, 0.6))

    def trial(self, kind: str, at: int) -> tuple[float, float]:
        """Do it to two neighbours; return the seconds until it was noticed, and until the ring was whole."""
        names = self._hosts.names
        count = len(names)
        gone = [names[at], names[(at + 1) % count]]
        before, behind = self.members[names[at - 1]], self.members[names[(at + 2) % count]]
        begun = time.monotonic()
        if kind == "parted":
            self._hosts.cut(gone)
        for name in gone if kind != "parted" else ():
            self.members[name].proc.send_signal(signal.SIGKILL if kind == "killed" else signal.SIGSTOP)
        wanted = (
            (before, rf"lost the successor {gone[0]}: "),
            (behind, rf"lost the predecessor {gone[1]}: "),
            (before, rf" me -> {behind.name}$"),
            (behind, rf": {before.name} -> me "),
        )
        noticed_before, noticed_behind, *whole = (self._told(*one, begun) for one in wanted)
        if kind == "parted":
            self._hosts.heal()
        for name in gone:
            if kind == "killed":
                self.start(name)
            elif kind == "frozen":
                self.members[name].proc.send_signal(signal.SIGCONT)
        self.wait_for_ring(names)
        return max(noticed_before, noticed_behind) - begun, max(whole) - begun

    def _told(self, member: Member, pattern: str, since: float) -> float:
        end = time.monotonic() + PATIENCE
        while True:
            lines = reversed(list(member.proc.lines))
            found = [line.at for line in lines if line.at >= since and re.search(pattern, line.text)]
            if found:
                return found[-1]
            if time.monotonic() > end:
                raise AssertionError(f"{pattern!r} was not said\n{member.proc!r}")
            time.sleep(0.1)  # seldom, so that this does not take the time that is measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ring_hosts", description=__doc__)
    parser.add_argument("--trials", type=int, default=200, help="trials of each fault (200)")
    parser.add_argument("--kind", choices=KINDS, action="append", help="one fault only; may be repeated")
    given = parser.parse_args()
    ip, nft = shutil.which("ip"), shutil.which("nft")
    if ip is None or nft is None:
        sys.exit("this needs the programs ip and nft: install iproute2 and nftables")
    print(describe(), flush=True)
    hosts = Hosts(ip, nft, count=16)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.callback(hosts.tear_down)
        why = hosts.set_up()
        if why is not None:
            sys.exit(f"no network namespaces can be made here: {why}")
        fleet = Fleet(hosts, hosts.grid(Path(folder)), stack)
        print("| fault | trials | noticed p50 | p99 | most | whole again p50 | p99 | most |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for kind in given.kind or KINDS:
            results = [fleet.trial(kind, 5 * number % 16) for number in range(given.trials)]
            cells = [
                f"{1000 * percentile([one[which] for one in results], share):.0f} ms"
                for which in (0, 1)
                for share in (0.5, 0.99, 1.0)
            ]
            print(f"| two neighbours are {kind} | {len(results)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
