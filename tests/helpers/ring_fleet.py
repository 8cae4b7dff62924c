"""Members of a ring as real processes: on this host, or each on a host of its own that is made for it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from tests.helpers.fleet import write_grid
from tests.helpers.proc import LAUNCHER, ROOT, Proc, finished

NAMES = [
    "ann",
    "bob",
    "cat",
    "dan",
    "eve",
    "fay",
    "gil",
    "hal",
    "ivy",
    "jon",
    "kim",
    "leo",
    "max",
    "ned",
    "oda",
    "pam",
]


def ring_grid(folder: Path, addresses: Iterable[tuple[str, str, int]]) -> Path:
    """Write a grid with a ring of these names, hosts and ports."""
    entries = list(addresses)
    nodes = "".join(
        f"  {name}: {{sketch: ringchat, host: {host}, port: {port}}}\n" for name, host, port in entries
    )
    members = ", ".join(name for name, _, _ in entries)
    return write_grid(folder, f"nodes:\n{nodes}groups:\n  chat: {{topology: ring, members: [{members}]}}\n")


class Member:
    """One process that runs ``ringchat``."""

    def __init__(self, name: str, grid: Path, *before: str) -> None:
        self.name = name
        self.proc = Proc(
            *before,
            sys.executable,
            LAUNCHER,
            "ringchat",
            "--name",
            name,
            "--grid",
            grid,
            cwd=grid.parent,
            interactive=True,
        )

    def __enter__(self) -> Self:
        self.proc.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self.proc.__exit__(*exc)

    @property
    def view(self) -> tuple[str, str] | None:
        """Its predecessor and successor, as it has said last."""
        for line in reversed(list(self.proc.lines)):
            if found := re.search(r"ring chat: (\S+) -> me -> (\S+)$", line.text):
                return found[1], found[2]
            if "ring chat: nobody else is there" in line.text:
                return self.name, self.name
        return None

    def said_at(self, pattern: str, since: float) -> float | None:
        """Return when it first said something after a moment."""
        lines = list(self.proc.lines)
        return next((line.at for line in lines if line.at >= since and re.search(pattern, line.text)), None)


def mesh_ring(*arguments: str | Path) -> Proc:
    """Run ``mesh ring`` to its end, as the console script does once the package is installed."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[0] = 'mesh'"
    code += "; from factory.cli.fleet import main; main()"
    return finished(Proc(sys.executable, "-c", code, "ring", *arguments))


def wanted(names: list[str]) -> dict[str, tuple[str, str]]:
    """Return who stands between whom in a ring of these."""
    return {name: (names[at - 1], names[(at + 1) % len(names)]) for at, name in enumerate(names)}


def is_ring(members: Iterable[Member], names: list[str]) -> bool:
    """Say whether these members say that they are a ring."""
    should = wanted(names)
    return all(member.view == should[member.name] for member in members if member.name in should)


class Hosts:
    """Network namespaces, each with an address, on one switch. Needs root."""

    def __init__(self, ip: str, nft: str, count: int) -> None:
        self._ip, self._nft = ip, nft
        self._prefix = f"smring-{os.getpid()}"
        self.names = NAMES[:count]

    def place(self, name: str) -> str:
        """Return the name of a host's namespace."""
        return f"{self._prefix}-{name}"

    def address(self, name: str) -> str:
        return f"10.213.8.{NAMES.index(name) + 1}"

    def set_up(self) -> str | None:
        """Make the hosts; return why it cannot be done."""
        switch = self.place("switch")
        commands = [
            f"netns add {switch}",
            f"-n {switch} link add hub type bridge",
            f"-n {switch} link set hub up",
        ]
        for at, name in enumerate(self.names):
            here, port = self.place(name), f"p{at}"
            commands += [
                f"netns add {here}",
                f"link add eth0 netns {here} type veth peer name {port} netns {switch}",
                f"-n {switch} link set {port} master hub up",
                f"-n {here} addr add {self.address(name)}/24 dev eth0",
                f"-n {here} link set eth0 up",
                f"-n {here} link set lo up",
            ]
        for command in commands:
            done = subprocess.run([self._ip, *command.split()], capture_output=True, text=True, check=False)
            if done.returncode:
                return f"ip {command}: {done.stderr.strip()}"
        done = self._filter(self.names[0], "list ruleset")
        return f"nft: {done.stderr.strip()}" if done.returncode else None

    def tear_down(self) -> None:
        for name in (*self.names, "switch"):
            subprocess.run([self._ip, "netns", "del", self.place(name)], capture_output=True, check=False)

    def _filter(self, name: str, commands: str) -> subprocess.CompletedProcess[str]:
        words = [self._ip, "netns", "exec", self.place(name), self._nft, commands]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def cut(self, inside: Iterable[str]) -> None:
        """Part some hosts from all others: their packets vanish, both ways and without a word."""
        some = set(inside)
        others = ", ".join(self.address(name) for name in self.names if name not in some)
        for name in some:
            self._rules(name, "cut", f"ip saddr {{ {others} }} drop", f"ip daddr {{ {others} }} drop")

    def lose(self, percent: int) -> None:
        """Lose so many of the packets that arrive at each host."""
        for name in self.names:
            self._rules(name, "loss", f"numgen random mod 100 < {percent} drop", "")

    def _rules(self, name: str, table: str, arriving: str, leaving: str) -> None:
        commands = f"add table inet {table}; "
        for way, rule in (("input", arriving), ("output", leaving)):
            commands += f"add chain inet {table} {way} {{ type filter hook {way} priority 0; }}; "
            commands += f"add rule inet {table} {way} {rule}; " if rule else ""
        done = self._filter(name, commands)
        assert done.returncode == 0, done.stderr

    def heal(self, table: str = "cut") -> None:
        """Take the rules away again."""
        for name in self.names:
            self._filter(name, f"delete table inet {table}")

    def bytes_sent(self, name: str) -> int:
        """Return the bytes that a host has sent, on the wire and with all headers."""
        words = [
            self._ip,
            "netns",
            "exec",
            self.place(name),
            "cat",
            "/sys/class/net/eth0/statistics/tx_bytes",
        ]
        return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)

    def member(self, name: str, grid: Path) -> Member:
        """Start a member on its host."""
        return Member(name, grid, self._ip, "netns", "exec", self.place(name))

    def grid(self, folder: Path) -> Path:
        return ring_grid(folder, [(name, self.address(name), 8765) for name in self.names])
