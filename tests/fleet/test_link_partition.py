"""A network that drops every packet: noticed soon, and survived."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import RequireTool
from tests.helpers.fleet import write_grid
from tests.helpers.link_fleet import SINK, SOURCE, journal, the_line
from tests.helpers.proc import LAUNCHER, Proc

pytestmark = pytest.mark.fleet


class Network:
    """Two hosts and the cable between them.

    Attributes:
        near, far: Names of the namespaces.

    """

    FAR = "10.213.7.2"

    def __init__(self, ip: str, nft: str) -> None:
        self._ip, self._nft = ip, nft
        self.near, self.far = (f"sketchmesh-{os.getpid()}-{end}" for end in "ab")

    def set_up(self) -> str | None:
        """Lay the cable; return why it cannot be done."""
        one, other = f"sm{os.getpid() % 10**7}a", f"sm{os.getpid() % 10**7}b"
        for command in (
            f"netns add {self.near}",
            f"netns add {self.far}",
            f"link add {one} netns {self.near} type veth peer name {other} netns {self.far}",
            f"-n {self.near} addr add 10.213.7.1/24 dev {one}",
            f"-n {self.far} addr add {self.FAR}/24 dev {other}",
            f"-n {self.near} link set {one} up",
            f"-n {self.far} link set {other} up",
            f"-n {self.near} link set lo up",
            f"-n {self.far} link set lo up",
        ):
            done = subprocess.run([self._ip, *command.split()], capture_output=True, text=True, check=False)
            if done.returncode:
                return f"ip {command}: {done.stderr.strip()}"
        done = self._filter("list ruleset")
        return f"nft: {done.stderr.strip()}" if done.returncode else None

    def tear_down(self) -> None:
        """Remove it all."""
        for name in (self.near, self.far):
            subprocess.run([self._ip, "netns", "del", name], capture_output=True, check=False)

    def _filter(self, commands: str) -> subprocess.CompletedProcess[str]:
        words = [self._ip, "netns", "exec", self.far, self._nft, commands]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def cut(self) -> None:
        """Drop every packet from now on, in both directions and without a word."""
        chains = "".join(
            f"add chain inet cut {way} {{ type filter hook {way} priority 0; policy drop; }};"
            for way in ("input", "output")
        )
        done = self._filter(f"add table inet cut; {chains}")
        assert done.returncode == 0, done.stderr

    def heal(self) -> None:
        """Let them pass again."""
        done = self._filter("delete table inet cut")
        assert done.returncode == 0, done.stderr

    def run(self, where: str, *command: str | Path, cwd: Path) -> Proc:
        """Run a program on one of the hosts."""
        return Proc(self._ip, "netns", "exec", where, *command, cwd=cwd)


@pytest.fixture
def network(require_tool: RequireTool) -> Iterator[Network]:
    tools = (require_tool("ip", package="iproute2"), require_tool("nft", package="nftables"))
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    made = Network(*tools)
    try:
        why = made.set_up()
        if why is not None:
            pytest.skip(f"network namespaces cannot be made here: {why}")
        yield made
    finally:
        made.tear_down()


@pytest.mark.usefixtures("each_loop")
@pytest.mark.parametrize("size", [0, 64 * 1024])
def test_a_partition_is_noticed_at_both_ends_and_heals(network: Network, tmp_path: Path, size: int) -> None:
    handled = tmp_path / "handled"
    (tmp_path / "sink.py").write_text(SINK, encoding="utf-8")
    (tmp_path / "source.py").write_text(SOURCE, encoding="utf-8")
    grid = write_grid(
        tmp_path,
        "nodes:\n"
        f"  sink: {{sketch: 'sink.py:Sink', host: {network.FAR}, port: 8765}}\n"
        f"  source: {{sketch: 'source.py:Source', target: sink, args: {{size: {size}}}}}\n",
    )
    words = (sys.executable, LAUNCHER)
    with ExitStack() as stack:
        sink = stack.enter_context(
            network.run(network.far, *words, "sink.py", "--grid", grid, "--journal", handled, cwd=tmp_path)
        )
        sink.wait_for(r"serving on .*:8765$")
        source = stack.enter_context(
            network.run(network.near, *words, "source.py", "--grid", grid, cwd=tmp_path)
        )
        source.wait_for("at 100$")
        network.cut()
        cut = time.monotonic()
        source.wait_for("peer sink down: ")
        sink.wait_for("peer source down$")
        times = [
            next(line.at for line in proc.lines if f"peer {name} down" in line.text) - cut
            for proc, name in ((source, "sink"), (sink, "source"))
        ]
        print(f"\n{size} bytes: noticed after {times[0]:.2f} s (sender), {times[1]:.2f} s (receiver)")
        # After two and a half seconds, where the machine has nothing else to do.
        assert max(times) < 15.0
        network.heal()
        books = json.loads(source.wait_for("books (.*)$")[1])
        assert source.wait() == 0, source
        assert source.count("peer sink up: resumed$") == 1
        line = the_line(books["peers"], "sent", "numbers")
        assert line["balanced"]
        assert line["sent"] == line["acked"] == books["count"]
        assert journal(handled) == list(range(books["count"])), "each once, and in order"
