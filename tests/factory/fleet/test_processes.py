"""One process of a node, between its start and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from factory.fleet import processes
from factory.fleet.processes import NodeProcess
from factory.supervised import Terms, grid_file
from mesh.node import Node
from tests.helpers.meshes import SKETCHES
from tests.helpers.proc import DEADLINE

pytestmark = pytest.mark.timeout(300)


class Ended(asyncio.Event):
    """Is told what becomes of a process, and keeps how it ended."""

    failed: bool | None = None
    why = ""

    def __init__(self) -> None:
        super().__init__()
        self.ready = asyncio.Event()

    def is_ready(self, name: str, run: int, where: str | None) -> None:
        self.ready.set()

    def printed(self, name: str, text: str) -> None: ...

    def has_ended(self, name: str, run: int, *, failed: bool, why: str) -> None:
        self.failed, self.why = failed, why
        self.set()


class NoGuard(processes.Guard):
    """Guards nobody."""

    async def _start(self) -> None: ...


def made(folder: Path, told: Ended) -> NodeProcess:
    (folder / "crew.py").write_text(SKETCHES)
    grid_file(folder, 0).write_text("nodes:\n  quiet: {sketch: 'crew.py:Quiet'}\n")

    def terms(ready: int, lifeline: int) -> Terms:
        return Terms(
            fleet="f",
            run=1,
            ready=ready,
            lifeline=lifeline,
            folder=str(folder),
            number=0,
            path=str(folder / "grid.yaml"),
            shown="grid.yaml",
        )

    return NodeProcess(Node("quiet", sketch="crew.py:Quiet"), terms, told, NoGuard(f"f-{folder}"), folder)


def is_gone(pid: int) -> None:
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.01)


@pytest.mark.parametrize("by_force", [False, True])
async def test_who_is_asked_to_end_while_it_is_spawned_hears_of_it(tmp_path: Path, by_force: bool) -> None:
    told = Ended()
    process = made(tmp_path, told)
    life = asyncio.create_task(process.live())
    await asyncio.sleep(0)
    assert process.pid is None, "it is on its way"
    process.kill() if by_force else process.ask_to_end()
    async with asyncio.timeout(DEADLINE):
        await told.wait()
        await life
    assert (told.failed, told.why) == (False, f"was killed by SIG{'KILL' if by_force else 'TERM'}")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a system with /proc")
async def test_who_cannot_be_killed_is_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Ended()
    process = made(tmp_path, told)
    life = asyncio.create_task(process.live())
    async with asyncio.timeout(DEADLINE):
        await told.ready.wait()
        assert process.pid is not None
        with monkeypatch.context() as patched:
            for name in ("kill", "killpg"):
                patched.setattr(os, name, lambda *_: None)
            patched.setattr(processes, "UNKILLABLE", 0.05)
            patched.setattr(processes, "LEFTOVERS", 0.05)
            process.kill()
            await life
        assert told.failed
        assert told.why == f"could not be killed: process {process.pid} is left, and hangs in the system"
        os.killpg(process.pid, signal.SIGKILL)
        await asyncio.to_thread(is_gone, process.pid)
