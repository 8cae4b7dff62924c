"""`make up`: scripts/up.py runs a Procfile, and stops all of it."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from tests.tools.tooling import Program, alive, copy, stub, write

pytestmark = pytest.mark.fleet

# Prints its pid, then lives until a signal, which it heeds as a worker does.
WORKER = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("draining", flush=True), sys.exit(int(sys.argv[1]))))
print(f"ready {os.getpid()}\\n", end="", flush=True)
while True:
    signal.pause()
"""
DEAF = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(f"ready {os.getpid()}\\n", end="", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    copy(tmp_path, "scripts/up.py")
    write(tmp_path / "worker.py", WORKER)
    write(tmp_path / "deaf.py", DEAF)
    stub(tmp_path / "python", f'exec "{sys.executable}" "$@"')  # its own path may have blanks in it
    return tmp_path


def up(checkout: Path, procfile: str, *names: str, grace: float | None = None, **env: str) -> Program:
    write(checkout / "Procfile", procfile.replace("python ", "./python "))
    command = [sys.executable, str(checkout / "scripts/up.py"), *names]
    if grace is not None:
        code = (
            f"import sys; sys.path.insert(0, 'scripts'); import up; up.GRACE = {grace}; sys.exit(up.main([]))"
        )
        command = [sys.executable, "-c", code]
    return Program(command, cwd=checkout, env=env)


def pid_of(line: str) -> int:
    return int(line.rpartition(" ")[2])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_and_the_runner_exits_0(checkout: Path, number: signal.Signals) -> None:
    with up(checkout, "one: python worker.py 0\ntwo: python worker.py 0\n") as fleet:
        pids = [pid_of(fleet.wait_for("ready")) for _ in range(2)]
        fleet.signal(number)
        assert fleet.end() == 0, fleet.lines
        assert any(f"up  | {number.name}: stopping" in line for line in fleet.lines)
        for name in ("one", "two"):
            assert any(f"{name} | draining" in line for line in fleet.lines)
    assert not any(alive(pid) for pid in pids)


def test_a_child_that_just_dies_of_the_signal_has_stopped_cleanly(checkout: Path) -> None:
    with up(checkout, "one: echo here; exec sleep 60\n") as fleet:
        fleet.wait_for("here")
        fleet.signal(signal.SIGINT)
        assert fleet.end() == 0, fleet.lines


def test_a_worker_behind_a_shell_may_drain_after_the_shell_is_gone(checkout: Path) -> None:
    with up(checkout, "one: python worker.py 0; true\n") as fleet:
        fleet.wait_for("ready")
        fleet.signal(signal.SIGTERM)
        assert fleet.end() == 0, fleet.lines
        assert any("draining" in line for line in fleet.lines)


def test_a_failing_child_stops_the_others_and_is_named(checkout: Path) -> None:
    with up(checkout, "good: python worker.py 0\nbad: read line; exit 3\n") as fleet:
        assert fleet.end() == 1
        assert "up: bad failed with exit code 3" in fleet.lines


def test_a_killed_child_is_named_with_the_signal(checkout: Path) -> None:
    with up(checkout, "good: python worker.py 0\nbad: kill -KILL $$\n") as fleet:
        assert fleet.end() == 1
        assert "up: bad was killed by SIGKILL" in fleet.lines


def test_a_child_that_fails_while_it_stops_counts(checkout: Path) -> None:
    with up(checkout, "one: python worker.py 7\n") as fleet:
        fleet.wait_for("ready")
        fleet.signal(signal.SIGINT)
        assert fleet.end() == 1
        assert "up: one failed with exit code 7" in fleet.lines


def test_a_child_that_ends_well_stops_the_others(checkout: Path) -> None:
    with up(checkout, "one: true\ntwo: python worker.py 0\n") as fleet:
        assert fleet.end() == 0
        assert fleet.lines[-1].endswith("one ended, so the rest was stopped")


def test_who_does_not_heed_sigterm_is_killed(checkout: Path) -> None:
    with up(checkout, "deaf: python deaf.py\n", grace=0.2) as fleet:
        pid = pid_of(fleet.wait_for("ready"))
        fleet.signal(signal.SIGINT)
        assert fleet.end() == 1
        assert "up: deaf did not stop and was killed" in fleet.lines
    assert not alive(pid)


def test_a_second_signal_kills_at_once(checkout: Path) -> None:
    with up(checkout, "deaf: python deaf.py\n", grace=600) as fleet:
        pid = pid_of(fleet.wait_for("ready"))
        fleet.signal(signal.SIGINT)
        fleet.wait_for("stopping")
        fleet.signal(signal.SIGINT)
        assert fleet.end() == 1
        assert "up: deaf did not stop and was killed" in fleet.lines
    assert not alive(pid)


def test_helpers_of_a_child_are_stopped_with_it(checkout: Path) -> None:
    with up(checkout, "one: python deaf.py & exec python worker.py 0\n", grace=0.2) as fleet:
        pids = [pid_of(fleet.wait_for("ready")) for _ in range(2)]
        fleet.signal(signal.SIGINT)
        assert fleet.end() == 1
    assert not any(alive(pid) for pid in pids)


def test_output_is_prefixed_plain_and_comes_line_by_line(checkout: Path) -> None:
    # The second line is printed only when the first one has arrived.
    gate = checkout / "gate"
    chatty = f"""
import pathlib, time
print("first")
while not pathlib.Path({str(gate)!r}).exists():
    time.sleep(0.01)
print("second")
"""
    write(checkout / "chatty.py", chatty)
    write(checkout / ".env", "# a comment\nPYTHONUNBUFFERED=1\n")
    with up(checkout, "chatty: python chatty.py\nx: python worker.py 0\n") as fleet:
        assert re.fullmatch(r"\d\d:\d\d:\d\d chatty \| first", fleet.wait_for("first"))
        gate.touch()
        assert re.fullmatch(r"\d\d:\d\d:\d\d chatty \| second", fleet.wait_for("second"))
        assert fleet.end() == 0
        assert all("\x1b" not in line for line in fleet.lines)


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colours_unless_no_color_is_set(
    checkout: Path, no_color: str, coloured: bool
) -> None:
    write(checkout / "Procfile", "one: echo here\n")
    run = f"import pty, sys; sys.exit(pty.spawn([{sys.executable!r}, 'scripts/up.py']) >> 8)"
    with Program([sys.executable, "-c", run], cwd=checkout, env={"NO_COLOR": no_color}) as fleet:
        assert ("\x1b[36m" in fleet.wait_for("here")) is coloured
        assert fleet.end() == 0


def test_errors_and_output_of_a_child_are_merged_and_odd_bytes_survive(checkout: Path) -> None:
    with up(checkout, "one: echo to-stderr >&2; printf 'a\\377b\\n'; printf no-newline\n") as fleet:
        assert fleet.end() == 0
        text = "\n".join(fleet.lines)
        assert "one | to-stderr" in text
        assert "one | a\ufffdb" in text
        assert "one | no-newline" in text


def test_a_line_without_end_does_not_stop_the_fleet(checkout: Path) -> None:
    with up(checkout, "one: head -c 3000000 /dev/zero | tr '\\0' x; echo; echo after\n") as fleet:
        assert fleet.end() == 0, fleet.lines[-1][:200]
        assert any(line.endswith("one | after") for line in fleet.lines)


def test_only_the_named_processes_run(checkout: Path) -> None:
    with up(checkout, "one: echo first\ntwo: echo second\n", "two") as fleet:
        assert fleet.end() == 0
        text = "\n".join(fleet.lines)
        assert "second" in text
        assert "first" not in text


def test_an_unknown_name_is_one_sentence(checkout: Path) -> None:
    with up(checkout, "one: true\ntwo: true\n", "three") as fleet:
        assert fleet.end() == 2
        assert fleet.lines == [f"up: cannot use {checkout / 'Procfile'}: it names no three, only one, two"]


def test_no_procfile_is_one_sentence(checkout: Path) -> None:
    with Program([sys.executable, "scripts/up.py"], cwd=checkout) as fleet:
        assert fleet.end() == 2
        assert len(fleet.lines) == 1
        assert "Procfile" in fleet.lines[0]


def test_a_command_that_is_not_there_is_named(checkout: Path) -> None:
    with up(checkout, "one: ./nothing-here\n") as fleet:
        assert fleet.end() == 1
        assert "up: one failed with exit code 127" in fleet.lines


def test_nobody_reading_on_ends_the_fleet_quietly(checkout: Path) -> None:
    write(checkout / "Procfile", "one: while echo tick; do :; done\ntwo: ./python worker.py 0\n")
    with Program(["sh", "-c", "./python scripts/up.py | head -n 1"], cwd=checkout) as fleet:
        assert fleet.end() == 0
        assert len(fleet.lines) == 1
