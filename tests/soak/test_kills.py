"""The shipped fleet, whose nodes are killed and started again in turn for as long as one likes."""

from __future__ import annotations

import random
import signal
import time
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

from tests.helpers.clients import ask
from tests.helpers.fleet import UP, marks, trio_grid, wait_until_they_talk
from tests.helpers.proc import Proc, arduino
from tests.soak.limits import SOAK

pytestmark = SOAK


def test_whoever_is_killed_comes_back_for_ever(tmp_path: Path, soak_seconds: float) -> None:
    grid, pin, buzzer = trio_grid(tmp_path)
    chance = random.Random(7)
    kills = 0
    with ExitStack() as stack:

        def start(name: str) -> Proc:
            # Each process has a stack of its own, so that the dead do not pile up.
            mine = own[name] = stack.enter_context(ExitStack())
            return mine.enter_context(arduino(name, env={"MESH_GRID": str(grid)}))

        own: dict[str, ExitStack] = {}
        fleet = {name: start(name) for name in UP}
        wait_until_they_talk(fleet)
        end = time.monotonic() + soak_seconds
        for victim in cycle(UP):
            if time.monotonic() > end and kills >= len(UP):
                break
            time.sleep(chance.uniform(0, 0.2))  # at any point of its work
            fleet[victim].send_signal(signal.SIGKILL)
            assert fleet[victim].wait() == -signal.SIGKILL
            own[victim].close()
            before = {**marks(fleet), victim: 0}
            fleet[victim] = start(victim)
            kills += 1
            wait_until_they_talk(fleet, before)
            # A plain client is served at once, whoever else was killed.
            assert ask(buzzer, "1", "0") == ["buzz buzz buzz", "..."]
            assert ask(pin, "1", channel="probe")
            for name, proc in fleet.items():
                assert proc.process.poll() is None, name
        print(f"{kills} kills")
        for name, proc in fleet.items():
            assert proc.stop() == 0, proc
            assert not any("Traceback" in line.text for line in proc.lines), name
