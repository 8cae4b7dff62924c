"""The three terminals of the source: any order of start, and any one killed and started again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations

import pytest

from tests.helpers.fleet import UP, VERBATIM, marks, wait_until_they_talk
from tests.helpers.ports import shipped_ports
from tests.helpers.proc import Proc, verbatim

pytestmark = pytest.mark.fleet


@pytest.fixture(autouse=True)
def _ports() -> Iterator[None]:
    with shipped_ports():
        yield


@pytest.mark.parametrize("order", [pytest.param(order, id="-".join(order)) for order in permutations(UP)])
def test_the_three_commands_meet_in_any_order(order: tuple[str, ...]) -> None:
    with ExitStack() as stack:
        fleet: dict[str, Proc] = {}
        for name in order:
            fleet[name] = stack.enter_context(verbatim(VERBATIM[name]))
            fleet[name].wait_for(UP[name])
        wait_until_they_talk(fleet)
        for name, proc in fleet.items():
            # Whoever waits for somebody says so once, and not at every try.
            assert proc.count("waiting for") <= 1, proc
            assert proc.stop() == 0, proc
            assert not any("Traceback" in line.text for line in proc.lines), name


@pytest.mark.parametrize("victim", list(UP))
def test_whoever_is_killed_comes_back_and_the_others_never_left(victim: str) -> None:
    with ExitStack() as stack:
        fleet = {name: stack.enter_context(verbatim(VERBATIM[name])) for name in UP}
        wait_until_they_talk(fleet)
        others = {name: proc.pid for name, proc in fleet.items() if name != victim}
        before = marks(fleet)

        fleet[victim].send_signal(signal.SIGKILL)
        assert fleet[victim].wait() == -signal.SIGKILL
        # The others notice, and say so.
        if victim == "buzzer":
            fleet["iopin"].wait_for("waiting for buzzer at ws://localhost:8766/", since=before["iopin"])
        elif victim == "iopin":
            fleet["clock"].wait_for("waiting for blink at ws://localhost:8765/", since=before["clock"])
            fleet["buzzer"].wait_for("done processing messages: connection lost", since=before["buzzer"])
        else:
            fleet["iopin"].wait_for("done processing messages: connection lost", since=before["iopin"])
        before = marks(fleet)

        fleet[victim] = stack.enter_context(verbatim(VERBATIM[victim]))
        wait_until_they_talk(fleet, {**before, victim: 0})
        for name, pid in others.items():
            assert fleet[name].process.poll() is None, fleet[name]
            assert fleet[name].pid == pid
        if victim != "clock":
            waiting = "clock" if victim == "iopin" else "iopin"
            fleet[waiting].wait_for(
                r"is there at ws://localhost:\d+/, after \d+\.\d s", since=before[waiting]
            )


def test_all_three_killed_and_started_again_in_turn() -> None:
    with ExitStack() as stack:
        fleet = {name: stack.enter_context(verbatim(VERBATIM[name])) for name in UP}
        wait_until_they_talk(fleet)
        for victim in UP:
            fleet[victim].send_signal(signal.SIGKILL)
            fleet[victim].wait()
            before = {**marks(fleet), victim: 0}
            fleet[victim] = stack.enter_context(verbatim(VERBATIM[victim]))
            wait_until_they_talk(fleet, before)
