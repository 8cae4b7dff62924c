"""``mesh up`` and what ends it: real fleets, their output and exit codes, and who is left."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.fleet import trio_grid
from tests.helpers.meshes import done, mesh, pids, told, write_fleet
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, ROOT, Proc

pytestmark = pytest.mark.fleet


def gone(proc: Proc, within: float = DEADLINE) -> bool:
    """Return whether nothing of a family is left, within some seconds."""
    end = time.monotonic() + within
    while proc.family():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def living(proc: Proc) -> list[int]:
    """Return the nodes' processes of a family."""
    return [
        pid for pid in proc.family() if b"factory.cli.launch" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def test_all_nodes_run_in_order_and_ctrl_c_stops_them(tmp_path: Path) -> None:
    grid, pin, buzzer = trio_grid(tmp_path)
    with mesh("up", "--grid", grid) as up:
        up.wait_for(r"mesh   \| 3 nodes are up after \d+\.\d s$")
        up.wait_for(r"^\d\d:\d\d:\d\d clock  \| \[ clock \] < acknowledged$")
        assert up.stop() == 0, up
        assert gone(up)
    ready = [found[1] for line in up.stderr if (found := re.search(r"\| (\w+) is ready", line))]
    assert sorted(ready) == ["blink", "buzzer", "clock"]
    assert ready.index("blink") < ready.index("clock")
    assert any(line.endswith(f"blink is ready on localhost:{pin}") for line in up.stderr)
    assert any(line.endswith(f"| [ buzzer ] serving on localhost:{buzzer}") for line in up.stdout)
    assert up.stderr[-1].endswith("has stopped")
    assert all(re.match(r"\d\d:\d\d:\d\d (clock |blink |buzzer) \| ", line) for line in up.stdout)
    assert "\x1b" not in "".join(up.stdout + up.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_stop_it_as_well(tmp_path: Path, number: signal.Signals) -> None:
    grid, *_ = trio_grid(tmp_path)
    with mesh("up", "--grid", grid) as up:
        up.wait_for("3 nodes are up")
        assert up.stop(number) == 0
        assert any(line.endswith(f"{number.name}: stopping") for line in up.stderr)
        assert gone(up)


def test_a_second_ctrl_c_kills_and_exits_130(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_fleet(tmp_path, f"  deaf: {{sketch: 'crew.py:Deaf', port: {port}}}\n")
    with mesh("up", "--grid", grid) as up:
        up.wait_for("1 node is up")
        up.send_signal(signal.SIGINT)
        up.wait_for("SIGINT: stopping, Ctrl-C once more kills")
        assert up.stop() == 130
        assert gone(up)


def test_who_does_not_stop_is_killed_with_its_children_and_named(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_fleet(tmp_path, f"  deaf: {{sketch: 'crew.py:Deaf', port: {port}}}\n")
    with mesh("up", "--grid", grid) as up:
        up.wait_for("1 node is up")
        assert up.stop(within=DEADLINE) == 1
        assert up.stderr[-1].endswith("deaf did not stop in time and was killed")
        assert gone(up)


def test_a_second_up_of_the_same_grid_says_that_it_runs(tmp_path: Path) -> None:
    grid, *_ = trio_grid(tmp_path)
    with mesh("up", "--grid", grid) as up:
        up.wait_for("3 nodes are up")
        (line,) = done("up", "--grid", grid, code=1).stderr
        assert f"the fleet of {grid} runs already, pid {up.pid}, since " in line
        (line,) = done("up", "-d", "--grid", grid, "buzzer", code=1).stderr
        assert "runs already" in line
        assert "or see `mesh start buzzer`, `mesh restart NODE`" in line
        assert up.stop() == 0


def test_detached_it_returns_when_all_are_ready_and_runs_on(tmp_path: Path) -> None:
    grid, *_ = trio_grid(tmp_path)
    with mesh("--grid", grid, "up", "-d") as up:
        assert up.wait() == 0, up
        assert up.stdout == []
        assert "3 nodes are up" in up.stderr[-1]
        ready = told("is-ready", "--json", "--grid", grid)
        assert ready["ready"]
        assert [node["state"] for node in ready["nodes"]] == ["ready"] * 3
        down = done("down", "--grid", grid)
        assert (down.stdout, down.stderr) == ([], ["the fleet is down"])
        assert gone(up)
    again = done("down", "--grid", grid)
    assert "nothing to do: no fleet of" in again.stderr[0]


def test_detached_it_says_which_node_failed(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_fleet(
        tmp_path,
        f"  quiet: {{sketch: 'crew.py:Quiet', port: {port}}}\n"
        "  crash: {sketch: 'crew.py:Crash', target: quiet, restart: never}\n",
    )
    with mesh("up", "-d", "--grid", grid) as up:
        assert up.wait() == 1
        assert any("crash failed with exit code 7; given up" in line for line in up.stderr)
        not_ready = done("is-ready", "--grid", grid, code=1)
        assert not_ready.stderr == [
            "crash is failed (failed with exit code 7; given up: it is never started again (restart: never))"
        ]
        # It is the only one that failed, so the others run on; the end tells of it.
        done("down", "--grid", grid)
        assert gone(up)


def test_a_crash_loop_ends_in_a_verdict_and_takes_nobody(tmp_path: Path) -> None:
    ports = free_ports(2)
    grid = write_fleet(
        tmp_path,
        f"  quiet: {{sketch: 'crew.py:Quiet', port: {ports[0]}}}\n"
        f"  crash: {{sketch: 'crew.py:Crash', port: {ports[1]}, restart: {{delay: 10ms, most: 3}}}}\n",
    )
    with mesh("up", "--grid", grid) as up:
        up.wait_for(r"crash failed with exit code 7; given up: it has ended 3 times within 60 s$")
        up.wait_for(r"the last 20 lines of crash:$")
        up.wait_for(r"\|   line 29$")
        assert up.count(r"crash failed with exit code 7; starts again in 0\.0[12] s$") == 2
        assert sum(line.endswith(" | line 0") for line in up.stdout) == 3
        verdict = [line for line in up.stderr if re.search(r"\|   line \d+$", line)]
        assert len(verdict) == 20
        assert len(living(up)) == 1
        assert up.stop() == 1


def test_when_nothing_is_left_it_ends(tmp_path: Path) -> None:
    grid = write_fleet(tmp_path, "  crash: {sketch: 'crew.py:Crash', port: 1, restart: never}\n")
    up = done("up", "--grid", grid, code=1)
    assert up.stderr[-1].endswith("| nothing is left running")
    well = write_fleet(tmp_path, "  crash: {sketch: 'crew.py:Crash', port: 1, args: {code: 0, lines: 0}}\n")
    assert done("up", "--grid", well).stderr[-1].endswith("| nothing is left running")


def test_nobody_is_orphaned_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    ports = free_ports(3)
    grid = write_fleet(
        tmp_path,
        f"  quiet: {{sketch: 'crew.py:Quiet', port: {ports[0]}}}\n"
        f"  deaf: {{sketch: 'crew.py:Deaf', port: {ports[1]}}}\n"
        f"  frozen: {{sketch: 'crew.py:Quiet', port: {ports[2]}}}\n",
    )
    with mesh("up", "--grid", grid) as up:
        up.wait_for("3 nodes are up")
        os.kill(pids(grid)["frozen"], signal.SIGSTOP)
        assert len(up.family()) == 6  # with the guard, and the child of the deaf one
        up.send_signal(signal.SIGKILL)
        assert gone(up), up
    # What it has left in the runtime directory is in nobody's way.
    assert "no fleet of" in done("is-ready", "--grid", grid, code=4).stderr[0]
    with mesh("up", "--grid", grid) as up:
        up.wait_for("3 nodes are up")


def test_nobody_is_orphaned_when_guard_and_supervisor_are_killed(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_fleet(tmp_path, f"  quiet: {{sketch: 'crew.py:Quiet', port: {port}}}\n")
    with mesh("up", "--grid", grid) as up:
        up.wait_for("1 node is up")
        guards = [pid for pid in up.family() if b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        for pid in (up.pid, *guards):
            os.kill(pid, signal.SIGKILL)
        assert gone(up), up


def test_a_guard_that_dies_is_replaced(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_fleet(tmp_path, f"  deaf: {{sketch: 'crew.py:Deaf', port: {port}}}\n")

    def guards() -> list[int]:
        return [pid for pid in up.family() if b"guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    with mesh("up", "--grid", grid) as up:
        up.wait_for("1 node is up")
        (first,) = guards()
        os.kill(first, signal.SIGKILL)
        end = time.monotonic() + DEADLINE
        while guards() in ([], [first]) and time.monotonic() < end:
            time.sleep(0.02)
        assert len(guards()) == 1
        up.send_signal(signal.SIGKILL)
        assert gone(up), up


def test_only_the_named_nodes_and_what_they_need(tmp_path: Path) -> None:
    grid, pin, _ = trio_grid(tmp_path)
    planned = [f"+ blink: iopin on localhost:{pin}; starts", "+ clock: clock; starts"]
    dry = done("up", "clock", "--dry-run", "--grid", grid)
    assert (dry.stdout, dry.stderr) == (planned, [])
    assert done("up", "clock", "--no-deps", "--dry-run", "--grid", grid).stdout == planned[1:]
    assert done("up", "iopin", "--dry-run", "--grid", grid).stdout == planned[:1]
    assert [one["node"] for one in told("up", "clock", "--dry-run", "--json", "--grid", grid)["changes"]] == [
        "blink",
        "clock",
    ]
    with mesh("up", "iopin", "--grid", grid) as up:
        up.wait_for("1 node is up")
        assert list(pids(grid)) == ["blink"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["up", "blnk"], 4, "unknown node 'blnk', did you mean 'blink'?"),
        (["up", "far"], 2, "far runs on pi.local; start it there"),
        (["up", "other"], 2, "other has no sketch in "),
        (["up", "--start-within", "soon"], 2, "'soon' is no duration"),
        (["stop", "blink"], 4, "no fleet of "),
        (["restart", "blink"], 4, "`mesh up` or `mesh up -d` starts it"),
        (["start", "blink"], 4, "no fleet of "),
        (["is-ready"], 4, "no fleet of "),
        (["is-ready", "--wait", "--timeout", "100ms"], 4, "no fleet of "),
        (["logs", "--node", "blink"], 4, "there is no log of 'blink'"),
        (["logs", "--grep", "("], 2, "is no regular expression"),
    ],
)
def test_mistakes_are_told_with_the_exit_code_for_them(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    more = "  far: {sketch: buzzer, host: pi.local, port: 1}\n  other: {port: 2}\n"
    grid, *_ = trio_grid(tmp_path, more=more)
    ended = done(*arguments, "--grid", grid, code=code)
    assert words in "\n".join(ended.stderr)
    assert ended.stdout == []


def test_a_grid_with_mistakes_is_not_brought_up(tmp_path: Path) -> None:
    grid = write_fleet(tmp_path, "  a: {sketch: nope, prot: 1}\n  b: {port: 1}\n")
    (line,) = done("up", "--grid", grid, code=2).stderr
    assert f"{grid}:2:21: unknown field 'prot'; did you mean `port`?" in line
    (line,) = done("up", "--grid", write_fleet(tmp_path, "  b: {port: 1}\n"), code=2).stderr
    assert "has no node with a sketch and a local host" in line


def test_what_nodes_print_can_do_nothing_to_a_terminal(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_fleet(tmp_path, f"  raw: {{sketch: 'crew.py:Raw', port: {port}}}\n")
    with mesh("up", "--grid", grid) as up:
        up.wait_for(r"raw  \| bell\\x07 and \\x1b\]0;title\\x07 and \\xff\\xfe$")
        up.wait_for(r"raw  \| red$")
        up.wait_for(r"raw  \| long x{8187}… \(\+91813 bytes\)$")
        assert up.stop() == 0
        # What has no end is shown when nothing more can come.
        assert any(line.endswith("raw  | no end") for line in up.stdout)


def on_a_terminal(grid: Path, **env: str) -> str:
    """Return what a fleet shows on a terminal, which is closed once it is up."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "factory.cli.fleet", "up", "--grid", str(grid)],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    while b"is up after" not in shown or b"red" not in shown:
        shown += os.read(ours, 65536)
    os.close(ours)
    try:
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
    return shown.decode()


def test_colours_are_for_terminals_that_want_them(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_fleet(tmp_path, f"  raw: {{sketch: 'crew.py:Raw', port: {port}}}\n")
    shown = on_a_terminal(grid)
    assert re.search("\x1b\\[36m\\d\\d:\\d\\d:\\d\\d raw  \\|\x1b\\[0m \x1b\\[31mred", shown)
    assert "\x1b" not in on_a_terminal(grid, NO_COLOR="1")


def test_the_fleet_ends_when_nobody_reads_though_it_has_nothing_to_say(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_fleet(tmp_path, f"  quiet: {{sketch: 'crew.py:Quiet', port: {port}}}\n")
    command = f"{sys.executable} -m factory.cli.fleet up --grid {grid} | (read line; echo got $line)"
    with Proc("sh", "-c", command) as piped:
        assert piped.wait() == 0
        assert len(piped.stdout) == 1
        assert gone(piped)


def test_the_fleet_ends_when_nobody_reads_on(tmp_path: Path) -> None:
    grid, *_ = trio_grid(tmp_path)
    command = f"{sys.executable} -m factory.cli.fleet up --grid {grid} | head -n 3"
    with Proc("sh", "-c", command) as piped:
        assert piped.wait() == 0
        assert len(piped.stdout) == 3
        assert gone(piped)
