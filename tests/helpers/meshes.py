"""The ``mesh`` command under test, and the sketches that its fleets run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.helpers.proc import DEADLINE, ROOT, Proc, finished

SKETCHES = '''\
import os, signal, sys, time
import factory


class Quiet(factory.FactoryLoop):
    """Takes messages and says nothing."""

    @factory.reactive
    async def loop(self, channel, msg):
        return msg


class Crash(factory.FactoryLoop):
    """Ends at once, with many words."""

    def setup(self, code: int = 7, lines: int = 30):
        for number in range(lines):
            print("line", number, flush=True)
        os._exit(code)

    @factory.reactive
    async def loop(self, channel, msg):
        return msg


class Never(Quiet):
    """Is never ready."""

    @factory.on_start
    async def hang(self):
        import asyncio
        await asyncio.sleep(600)


class Deaf(Quiet):
    """Heeds no SIGTERM, and neither does its child."""

    @factory.on_start
    async def shut_ears(self):
        import subprocess
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("deaf", flush=True)

    @factory.on_stop
    def hang(self):
        time.sleep(600)


class Parent(Quiet):
    """Has a child in a session of its own that gets all that it prints; may hang itself."""

    def setup(self, hang: bool = False, deaf: bool = False):
        self.hang, self.deaf = hang, deaf

    @factory.on_start
    async def beget(self):
        import subprocess
        code = "import signal, sys, time; signal.signal(15, int(sys.argv[1])); print('born', flush=True)"
        deaf = str(int(signal.SIG_IGN if self.deaf else signal.SIG_DFL))
        command = [sys.executable, "-c", code + "; time.sleep(600)", deaf]
        subprocess.Popen(command, start_new_session=True)

    @factory.every("1h")
    async def hold_up(self):
        if self.hang:
            print("hangs", flush=True)
            time.sleep(600)


class Gated(Quiet):
    """Is ready when there is a file `gate`."""

    @factory.on_start
    async def wait(self):
        import asyncio, pathlib
        while not pathlib.Path("gate").exists():
            await asyncio.sleep(0.01)


class Raw(Quiet):
    """Prints what no terminal should get."""

    @factory.on_start
    async def talk(self):
        write = lambda data: os.write(1, data)
        write(b"bell\\x07 and \\x1b]0;title\\x07 and \\xff\\xfe\\n")
        write(b"\\x1b[31mred\\x1b[0m\\n")
        write(b"long " + b"x" * 100_000 + b"\\n")
        write(b"no end")


class Source(factory.FactoryLoop):
    """Sends numbers to its target, one after the other, as fast as they are taken."""

    def setup(self, every: float = 0.01):
        self.every = every
        self.sent = 0

    patience = None

    @factory.every("10ms")
    async def beat(self):
        await self.stream(self.target, self.sent, quiet=True)
        self.sent += 1
        if self.sent % 20 == 0:
            self.out(f"sent {self.sent}")
'''


def mesh(
    *arguments: str | Path,
    cwd: Path = ROOT,
    env: Mapping[str, str | None] | None = None,
    interactive: bool = False,
) -> Proc:
    """Run ``mesh`` with the Python of the tests."""
    # From another folder it is found by its path, as it is when it is installed.
    found = {"PYTHONPATH": str(ROOT)} if cwd != ROOT else {}
    return Proc(
        sys.executable,
        "-m",
        "factory.cli.fleet",
        *arguments,
        cwd=cwd,
        env={**found, **(env or {})},
        interactive=interactive,
    )


def done(*arguments: str | Path, code: int = 0, within: float = DEADLINE, cwd: Path = ROOT) -> Proc:
    """Run ``mesh`` to its end and return it, if it has ended with that exit code."""
    proc = finished(mesh(*arguments, cwd=cwd), within=within)
    assert proc.process.returncode == code, proc
    return proc


def told(*arguments: str | Path, code: int = 0) -> Any:
    """Run ``mesh`` to its end and return the one JSON document that it prints."""
    return json.loads("\n".join(done(*arguments, code=code).stdout))


def write_fleet(folder: Path, nodes: str) -> Path:
    """Write a grid, and the sketches beside it; return the grid."""
    (folder / "crew.py").write_text(SKETCHES, encoding="utf-8")
    return save(folder / "grid.yaml", nodes)


def save(grid: Path, nodes: str) -> Path:
    """Save a grid."""
    return put(grid, f"nodes:\n{nodes}")


def put(path: Path, text: str) -> Path:
    """Save a file as editors do, so that nobody sees half of it: another file, put in its place."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
    return path


def pids(grid: Path) -> dict[str, int]:
    """Return the processes of a fleet, by node."""
    return {
        node["node"]: node["pid"] for node in told("is-ready", "--wait", "--json", "--grid", grid)["nodes"]
    }
