"""``mesh stop``, ``start``, ``restart``, ``is-ready``, ``logs`` and ``plan`` on a fleet that runs."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh import runtime
from tests.helpers.fleet import trio_grid
from tests.helpers.meshes import done, mesh, pids, told, write_fleet
from tests.helpers.ports import free_ports
from tests.helpers.proc import Proc

pytestmark = pytest.mark.fleet


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    return trio_grid(tmp_path)[0]


@pytest.fixture
def up(grid: Path) -> Iterator[Proc]:
    with mesh("up", "--grid", grid) as up:
        up.wait_for("3 nodes are up")
        yield up
        assert up.stop() == 0, up


def test_a_node_is_stopped_and_started_and_the_others_wait_for_it(up: Proc, grid: Path) -> None:
    before = pids(grid)
    stopped = done("stop", "buzzer", "--grid", grid)
    assert (stopped.stdout, stopped.stderr) == ([], ["buzzer has stopped"])
    up.wait_for(r"blink  \| \[ blink \] waiting for buzzer")
    assert done("is-ready", "--grid", grid, code=1).stderr == ["buzzer is stopped"]
    done("is-ready", "blink", "clock", "--grid", grid)
    started = told("start", "buzzer", "--json", "--grid", grid)
    assert [(node["node"], node["state"], node["run"]) for node in started] == [("buzzer", "ready", 2)]
    up.wait_for(r"blink  \| \[ blink \] buzzer is there")
    after = pids(grid)
    assert after["buzzer"] != before["buzzer"]
    assert {**after, "buzzer": 0} == {**before, "buzzer": 0}


def test_a_node_is_restarted_by_an_alias(up: Proc, grid: Path) -> None:
    before = pids(grid)
    assert done("restart", "iopin", "--grid", grid).stderr == ["blink is ready"]
    assert pids(grid)["blink"] != before["blink"]
    mark = up.mark
    up.wait_for(r"clock  \| \[ clock \] < acknowledged", since=mark)


def test_a_node_that_is_stopped_by_a_signal_is_not_ready(up: Proc, grid: Path) -> None:
    pid = pids(grid)["buzzer"]
    os.kill(pid, signal.SIGSTOP)
    try:
        why = f"is stopped by a signal (pid {pid}); `kill -CONT {pid}` lets it go on"
        assert done("is-ready", "--grid", grid, code=1).stderr == [f"buzzer {why}"]
        shown = told("is-ready", "--wait", "buzzer", "--json", "--grid", grid, code=1)
        assert [(node["node"], node["frozen"]) for node in shown["nodes"]] == [("buzzer", why)]
        done("is-ready", "clock", "--grid", grid)
    finally:
        os.kill(pid, signal.SIGCONT)
    done("is-ready", "--wait", "--grid", grid)


def test_a_supervisor_that_is_stopped_by_a_signal_is_named(up: Proc, grid: Path) -> None:
    up.send_signal(signal.SIGSTOP)
    try:
        what = f"the supervisor of the fleet (pid {up.pid}) is stopped by a signal"
        for verb in ("is-ready", "down", "plan"):
            (line,) = done(verb, "--grid", grid, code=124).stderr
            assert line == f"Error: {what}; `kill -CONT {up.pid}` lets it go on"
        assert done("doctor", "--grid", grid, code=1).stdout[:2] == [
            f"M11  {what}",
            f"    next: kill -CONT {up.pid}",
        ]
    finally:
        up.send_signal(signal.SIGCONT)
    done("is-ready", "--wait", "--grid", grid)


def test_a_name_that_the_fleet_does_not_have(up: Proc, grid: Path) -> None:
    for verb in ("stop", "start", "restart", "is-ready"):
        (line,) = done(verb, "buzzr", "--grid", grid, code=4).stderr
        assert line == "Error: the fleet does not run 'buzzr', did you mean 'buzzer'?"


def test_a_node_that_is_given_up_can_be_mended_and_started(tmp_path: Path) -> None:
    ports = free_ports(2)
    grid = write_fleet(
        tmp_path,
        f"  quiet: {{sketch: 'crew.py:Quiet', port: {ports[0]}}}\n"
        f"  crash: {{sketch: 'crew.py:Crash', port: {ports[1]}, restart: never}}\n",
    )
    with mesh("up", "--grid", grid) as up:
        up.wait_for("crash failed with exit code 7; given up")
        (line,) = done("start", "crash", "--grid", grid, code=1).stderr
        assert line.startswith("Error: crash failed with exit code 7; given up")
        crew = (tmp_path / "crew.py").read_text()
        (tmp_path / "crew.py").write_text(crew.replace("os._exit(code)", "pass"))
        assert done("start", "crash", "--grid", grid).stderr == ["crash is ready"]
        assert up.stop() == 0


def test_is_ready_waits_for_a_fleet_that_is_about_to_come(grid: Path) -> None:
    with mesh("is-ready", "--wait", "--grid", grid) as waiting, mesh("up", "--grid", grid) as up:
        assert waiting.wait() == 0, waiting
        up.wait_for("3 nodes are up")


def test_is_ready_waits_no_longer_than_told(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_fleet(tmp_path, f"  never: {{sketch: 'crew.py:Never', port: {port}}}\n")
    with mesh("up", "--grid", grid) as up:
        up.wait_for("serving on")
        late = done("is-ready", "--wait", "--timeout", "3s", "--grid", grid, code=124)
        assert "did not answer within" in late.stderr[0]


def test_a_node_that_is_never_ready_is_tried_again(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_fleet(
        tmp_path, f"  never: {{sketch: 'crew.py:Never', port: {port}, restart: {{most: 2}}}}\n"
    )
    up = done("up", "--start-within", "1s", "--grid", grid, code=1)
    assert any(line.endswith("never was not ready within 1 s; starts again in 0.5 s") for line in up.stderr)
    assert any("never was not ready within 1 s; given up: it has ended 2 times" in line for line in up.stderr)


def test_a_frozen_fleet_is_told_from_one_that_is_down(up: Proc, grid: Path) -> None:
    up.send_signal(signal.SIGSTOP)
    frozen = done("stop", "blink", "--timeout", "500ms", "--grid", grid, code=124)
    assert "is stopped by a signal" in frozen.stderr[0]
    up.send_signal(signal.SIGCONT)


def test_the_control_socket_is_for_this_user_alone(up: Proc, grid: Path) -> None:
    folder = runtime.fleet_folder(grid)
    assert (folder / "control.sock").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


# -- logs ------------------------------------------------------------------------------------------


def test_logs_of_all_or_some_by_time_and_content(up: Proc, grid: Path) -> None:
    up.wait_for(r"\[ blink \] < (buzz|\.\.\.)")
    every = done("logs", "--grid", grid)
    assert every.stderr == []
    assert all(re.match(r"\d\d:\d\d:\d\d (clock |blink |buzzer|mesh  ) \|", line) for line in every.stdout)
    only = done("logs", "--node", "buzzer", "--grep", "serving", "--grid", grid).stdout
    assert len(only) == 1
    assert re.match(r"\d\d:\d\d:\d\d buzzer \| \[ buzzer \] serving on localhost:\d+$", only[0])
    assert len(done("logs", "--tail", "2", "--grid", grid).stdout) == 2
    assert done("logs", "--tail", "0", "--grid", grid).stdout == []
    assert (
        done("logs", "--since", "1ms", "--node", "buzzer", "--grep", "serving", "--grid", grid).stdout == []
    )
    lines = [json.loads(line) for line in done("logs", "--json", "--tail", "3", "--grid", grid).stdout]
    assert [set(line) for line in lines] == [{"time", "node", "text"}] * 3


def test_logs_are_there_when_the_fleet_is_down(up: Proc, grid: Path) -> None:
    done("down", "--grid", grid)
    assert any("serving on" in line for line in done("logs", "--node", "blink", "--grid", grid).stdout)
    assert "did you mean 'blink'?" in done("logs", "--node", "blnk", "--grid", grid, code=4).stderr[0]


def test_logs_are_followed_without_a_gap_until_the_fleet_is_down(up: Proc, grid: Path) -> None:
    with mesh("logs", "-f", "--node", "clock", "--grid", grid) as logs:
        logs.wait_for(r"\[ clock \] > 30$")
        done("down", "--grid", grid)
        assert logs.wait() == 0
        ticks = [int(found[1]) for line in logs.stdout if (found := re.search(r"\[ clock \] > (\d+)$", line))]
        assert ticks == list(range(len(ticks)))
        assert logs.stderr == ["the fleet is down"]
    up.wait()


# -- plan --------------------------------------------------------------------------------------------


def test_plan_shows_what_a_grid_would_start(grid: Path) -> None:
    shown = done("plan", "--grid", grid)
    assert [line.split(":")[0] for line in shown.stdout] == ["+ blink", "+ clock", "+ buzzer"]
    assert shown.stderr == ["no fleet of this grid is up; `mesh up` would start these"]


def test_plan_tells_mistakes(tmp_path: Path) -> None:
    grid = write_fleet(tmp_path, "  a: {sketch: nope, prot: 1}\n")
    shown = done("plan", "--grid", grid, code=1)
    assert shown.stdout == [f"{grid}:2:21: unknown field 'prot'; did you mean `port`?"]
    assert not told("plan", "--json", "--grid", grid, code=1)["ok"]


def test_plan_of_a_fleet_that_runs_what_the_grid_says(up: Proc, grid: Path) -> None:
    assert done("plan", "--grid", grid).stderr == ["the fleet runs what the grid says"]
    assert told("plan", "--json", "--grid", grid) == {"up": True, "changes": [], "rolled_back": None}
