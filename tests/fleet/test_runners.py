"""The shipped fleet under foreman, honcho and `mesh up`: a real run, and a clean stop."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RequireTool
from tests.helpers.meshes import mesh
from tests.helpers.ports import SHIPPED, shipped_ports
from tests.helpers.proc import Proc, arduino

pytestmark = pytest.mark.fleet

RUNNERS = ["foreman", "honcho", "up"]
PREFIX = re.compile(r"\d\d:\d\d:\d\d (?P<name>\w+)(\.1)? +\| ")
# honcho reports the signal that it got; the other two a success.
EXIT = {
    ("honcho", signal.SIGINT): 130,
    ("honcho", signal.SIGTERM): 143,
}


@pytest.fixture(autouse=True)
def _ports() -> Iterator[None]:
    with shipped_ports():
        yield


def start(runner: str, require_tool: RequireTool) -> Proc:
    # make, a shell or an IDE may have activated the environment or not.
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    if runner == "foreman":
        return Proc(require_tool("foreman", package="ruby-foreman"), "start", env={"PATH": path})
    if runner == "honcho":
        return Proc(sys.executable, "-m", "honcho", "start", env={"PATH": path})
    return Proc(sys.executable, "-m", "factory.cli.fleet", "up", env={"PATH": path})


def wait_until_it_buzzes(fleet: Proc) -> None:
    fleet.wait_for(r" clock(\.1)? +\| \[ clock \] < acknowledged$")
    fleet.wait_for(r" blink(\.1)? +\| \[ blink \] toggling pin state: \[[01], [01], [01]\]$")
    fleet.wait_for(r" buzzer(\.1)? +\| \[ buzzer \] signal [01] received -> ")


def check_the_end(fleet: Proc, runner: str, number: signal.Signals) -> None:
    # Each of them kills who does not stop within five seconds, and says so.
    assert fleet.wait() == EXIT.get((runner, number), 0), fleet
    assert fleet.family() == []
    text = repr(fleet)
    for word in ("Traceback", "SIGKILL", "killed", "did not stop", "failed"):
        assert word not in text, text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("runner", RUNNERS)
def test_the_fleet_runs_and_stops(runner: str, number: signal.Signals, require_tool: RequireTool) -> None:
    with start(runner, require_tool) as fleet:
        wait_until_it_buzzes(fleet)
        for port in SHIPPED:  # and not the $PORT that the runner gives to everybody
            fleet.wait_for(rf"serving on localhost:{port}$")
        assert len(fleet.family()) >= 4
        fleet.send_signal(number)
        check_the_end(fleet, runner, number)
        lines = [line.text for line in fleet.lines]
        assert all(PREFIX.match(line) for line in lines if line), lines
        assert {"buzzer", "blink", "clock"} <= {
            found["name"] for line in lines if (found := PREFIX.match(line))
        }
        # Line by line as they are printed, not in heaps when a buffer is full.
        ticks = [line.at for line in fleet.lines if re.search(r"\[ clock \] [<>] ", line.text)]
        assert ticks == sorted(ticks)


@pytest.mark.parametrize("runner", ["foreman", "up"])
def test_ctrl_c_in_a_terminal_reaches_everybody_and_stops_cleanly(
    runner: str, require_tool: RequireTool
) -> None:
    with start(runner, require_tool) as fleet:
        wait_until_it_buzzes(fleet)
        fleet.send_signal_to_group(signal.SIGINT)
        check_the_end(fleet, runner, signal.SIGINT)


def test_a_clock_that_comes_first_takes_nobody_with_it() -> None:
    # The clock alone: it waits for the pin, and neither ends nor fails.
    with mesh("up", "clock", "--no-deps") as fleet:
        fleet.wait_for("waiting for blink at ws://localhost:8765/")
        with arduino("iopin"), arduino("buzzer"):
            fleet.wait_for("blink is there at ws://localhost:8765/")
            fleet.wait_for("< acknowledged$")
        assert fleet.stop() == 0
