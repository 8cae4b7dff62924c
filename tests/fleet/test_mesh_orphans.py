"""Nothing is orphaned: whatever a node has started, in whatever session, ends with it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.helpers.meshes import mesh, pids, write_fleet
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc

# Many processes start, which takes its time on a machine that has other things to do.
pytestmark = [
    pytest.mark.fleet,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs a system with /proc"),
]


def parent(folder: Path, more: str) -> Path:
    (port,) = free_ports(1)
    return write_fleet(folder, f"  parent: {{sketch: 'crew.py:Parent', port: {port}{more}}}\n")


def alone(proc: Proc, within: float = DEADLINE) -> bool:
    """Return whether nothing of a family is left, within some seconds."""
    end = time.monotonic() + within
    while proc.family():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("deaf", ["false", "true"])
def test_the_crash_of_a_node_is_noticed_though_its_child_still_has_its_output(
    tmp_path: Path, deaf: str
) -> None:
    grid = parent(tmp_path, f", restart: never, args: {{deaf: {deaf}}}")
    with mesh("up", "--grid", grid) as up:
        up.wait_for("born")
        os.kill(pids(grid)["parent"], signal.SIGKILL)
        up.wait_for("parent was killed by SIGKILL; given up")
        assert up.wait() == 1
        assert alone(up, within=0)


def test_ctrl_c_ends_the_children_of_other_sessions_too(tmp_path: Path) -> None:
    with mesh("up", "--grid", parent(tmp_path, "")) as up:
        up.wait_for("born")
        assert up.stop(within=DEADLINE) == 0
        assert alone(up, within=0)


def test_a_second_ctrl_c_ends_all_at_once(tmp_path: Path) -> None:
    with mesh("up", "--grid", parent(tmp_path, ", args: {hang: true, deaf: true}")) as up:
        up.wait_for("born")
        up.wait_for("hangs")
        up.send_signal(signal.SIGINT)
        up.wait_for("SIGINT: stopping, Ctrl-C once more kills")
        assert up.stop(within=DEADLINE) == 130
        # Else it would have been granted its five seconds.
        assert up.count("did not stop in time") == 0
        assert alone(up, within=0)


def test_when_the_supervisor_is_killed_the_guard_ends_the_children_of_other_sessions_too(
    tmp_path: Path,
) -> None:
    with mesh("up", "--grid", parent(tmp_path, ", args: {deaf: true}")) as up:
        up.wait_for("born")
        up.send_signal(signal.SIGKILL)
        assert alone(up)
