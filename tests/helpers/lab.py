"""Nodes started by hand in a runtime directory of their own, and ``mesh`` commands that look into them."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.helpers import meshes
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc, arduino, finished

T = TypeVar("T")

SKETCHES = '''\
import factory


class Echo(factory.FactoryLoop):
    """Say what was sent, and publish it."""

    publishes = ("said", "crowd")

    @factory.reactive("echo")
    async def echo(self, channel, msg):
        self.publish("said", msg)
        return msg

    @factory.reactive("number")
    async def number(self, channel, msg: float):
        return msg * 2

    @factory.reactive("parts")
    async def parts(self, channel, msg: int):
        for number in range(msg):
            yield number

    @factory.reactive("slow")
    async def slow(self, channel, msg: float):
        import asyncio
        await asyncio.sleep(msg)
        return "at last"


class Crowd(factory.FactoryLoop):
    """Publishes in one go more than anybody can be shown, whenever it is told to."""

    publishes = ("crowd",)

    @factory.reactive
    async def loop(self, channel, msg: int):
        for number in range(msg):
            await self.publish("crowd", number)
        return msg


class Blocker(factory.FactoryLoop):
    """Blocks its event loop until a file is there."""

    @factory.reactive
    async def loop(self, channel, msg: str):
        import pathlib, time
        self.out("blocks")
        while not pathlib.Path(msg).exists():
            time.sleep(0.01)
        return "free"


class Ticker(factory.FactoryLoop):
    """Ticks for its target."""

    patience = None

    @factory.every("50ms")
    async def tick(self):
        await self.stream(self.target, {"tick": 1}, "echo", quiet=True)
'''


class Lab:
    """Nodes that run, and who looks into them.

    Attributes:
        folder: Where the grid is.
        grid: The grid.
        ports: By name, where the servers are.
        env: The variables of its processes.

    """

    def __init__(self, folder: Path, runtime: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.grid = folder / "grid.yaml"
        self.env = {"SKETCHMESH_RUNTIME": str(runtime)}
        self._elsewhere = {"SKETCHMESH_RUNTIME": str(folder / "else")}
        self._stack = stack
        self.ports = dict(zip(("echo", "spare"), free_ports(2), strict=True))
        (folder / "lab.py").write_text(SKETCHES, encoding="utf-8")
        self.grid.write_text(
            "nodes:\n"
            f"  echo: {{sketch: 'lab.py:Echo', port: {self.ports['echo']}, aliases: [parrot]}}\n"
            "  ticker: {sketch: 'lab.py:Ticker', target: echo}\n"
            f"  spare: {{sketch: 'lab.py:Echo', port: {self.ports['spare']}}}\n",
            encoding="utf-8",
        )

    def run(self, name: str, sketch: str, *options: str, elsewhere: bool = False) -> Proc:
        """Run a node by hand until the end, and return it once it can be found.

        Args:
            name: The node to run as.
            sketch: Its class.
            options: Further options.
            elsewhere: Let it register where nobody looks, as if it ran on another machine.

        """
        env = self._elsewhere if elsewhere else self.env
        proc = self._stack.enter_context(
            arduino(
                f"lab.py:{sketch}",
                "--name",
                name,
                "--grid",
                self.grid,
                *options,
                cwd=self.folder,
                env=env,
            )
        )
        while not any(
            (row["pid"], row["state"]) == (proc.pid, "up") for row in self.told("list", "--json", env=env)
        ):
            assert proc.process.poll() is None, proc
        return proc

    def wait_until_answered(self) -> None:
        """Wait until the ticker has one more answer of its target, so that their link is up."""
        before = self._answers()
        while self._answers() == before:
            pass

    def _answers(self) -> int:
        (book,) = self.told("ledger", "ticker", "--json")
        lines = ((book["peers"] or {}).get("echo") or {}).get("sent") or {}
        return sum(line["acked"] for line in lines.values())

    def mesh(
        self, *arguments: str | Path, interactive: bool = False, env: Mapping[str, str] | None = None
    ) -> Proc:
        """Run ``mesh`` on this grid."""
        return meshes.mesh(
            "--grid",
            self.grid,
            *arguments,
            cwd=self.folder,
            env={**self.env, **(env or {})},
            interactive=interactive,
        )

    def bare(self, env: Mapping[str, str]) -> Proc:
        """Run ``mesh`` without a word, as a shell does that completes."""
        return meshes.mesh(cwd=self.folder, env={**self.env, **env})

    def done(self, *arguments: str | Path, code: int = 0, env: Mapping[str, str] | None = None) -> Proc:
        """Run ``mesh`` to its end and return it, if it has ended with that exit code."""
        proc = finished(self.mesh(*arguments, env=env))
        assert proc.process.returncode == code, proc
        return proc

    def told(self, *arguments: str | Path, code: int = 0, env: Mapping[str, str] | None = None) -> Any:
        """Run ``mesh`` to its end and return the one JSON document that it prints."""
        return json.loads("\n".join(self.done(*arguments, code=code, env=env).stdout))

    def rows(self, *arguments: str | Path, code: int = 0) -> list[Any]:
        """Run ``mesh`` to its end and return the JSON objects that it prints, one for each line."""
        return [json.loads(line) for line in self.done(*arguments, code=code).stdout]


def eventually(look: Callable[[], T], wanted: T) -> None:
    """Look again and again until what is wanted is seen, and check it.

    Commands that look at all nodes wait for half a second. Where the machine has much else to
    do, a node that is well may be too late for one look.
    """
    end = time.monotonic() + DEADLINE
    while (seen := look()) != wanted and time.monotonic() < end:
        pass
    assert seen == wanted


@contextmanager
def lab() -> Iterator[Lab]:
    """Have a grid of ``echo``, ``ticker`` and ``spare``, of which none runs yet."""
    # The folder's path is short, for that of a socket has a limit.
    with tempfile.TemporaryDirectory(prefix="lab-") as path, ExitStack() as stack:
        folder = Path(path)
        for name in ("run", "else"):
            (folder / name).mkdir(mode=0o700)
        yield Lab(folder, folder / "run", stack)
