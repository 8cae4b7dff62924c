"""How a worker ends: what is in hand is finished, and the exit code tells how it went."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.helpers.clients import client, serving_port
from tests.helpers.fleet import write_grid
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc, arduino

pytestmark = pytest.mark.fleet

SLOW = '''\
import asyncio
import time

import factory


class Slow(factory.FactoryLoop):
    """Take one's time."""

    @factory.reactive("brief")
    async def brief(self, channel, msg):
        self.out("in hand")
        await asyncio.sleep(0.3)
        return "done"

    @factory.reactive("endless")
    async def endless(self, channel, msg):
        self.out("in hand")
        await asyncio.Event().wait()

    @factory.reactive("blocking")
    async def blocking(self, channel, msg):
        self.out("in hand")
        time.sleep(60)

    @factory.on_stop
    async def bye(self):
        self.out("bye")
'''
STOPS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def slow(tmp_path: Path) -> Proc:
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    return arduino("slow.py", "--port", "0", cwd=tmp_path)


@pytest.mark.parametrize("number", [*STOPS, signal.SIGHUP])
def test_an_idle_worker_ends_with_0_and_closes_its_clients_politely(number: signal.Signals) -> None:
    with arduino("buzzer", "--port", "0") as buzzer, client(serving_port(buzzer)) as websocket:
        websocket.send("1")
        websocket.recv(DEADLINE)
        assert buzzer.stop(number) == 0, buzzer
        assert buzzer.count("Keyboard interruption, aborting.") == (number == signal.SIGINT)
        assert buzzer.lines[-1].text.startswith(
            "[ buzzer ] done processing messages: this worker closed the connection "
            "(1001 worker is stopping), after "
        )
        with pytest.raises(Exception, match="1001"):
            websocket.recv(DEADLINE)


@pytest.mark.parametrize("number", STOPS)
def test_what_is_in_hand_is_finished_and_acknowledged(slow: Proc, number: signal.Signals) -> None:
    with slow, client(serving_port(slow), "brief") as websocket:
        websocket.send("x")
        slow.wait_for("in hand")
        slow.send_signal(number)
        assert websocket.recv(DEADLINE) == "done"
        assert slow.wait() == 0, slow
        assert slow.count("bye") == 1


def test_what_never_ends_is_given_up_within_5_seconds(slow: Proc) -> None:
    with slow, client(serving_port(slow), "endless") as websocket:
        websocket.send("x")
        slow.wait_for("in hand")
        # Who does not stop in time ends by force, and with 1.
        assert slow.stop(signal.SIGTERM) == 0, slow
        slow.wait_for(r"warning: gave up after 3 s on handler endless\(\)")


def test_a_second_ctrl_c_ends_at_once_with_130(slow: Proc) -> None:
    with slow, client(serving_port(slow), "endless") as websocket:
        websocket.send("x")
        slow.wait_for("in hand")
        slow.send_signal(signal.SIGINT)
        slow.wait_for("Keyboard interruption, aborting.")
        assert slow.stop(signal.SIGINT) == 130, slow
        assert slow.count("gave up") == 0, "it was not waited for"


def test_a_second_ctrl_c_also_ends_a_handler_that_blocks(slow: Proc) -> None:
    with slow, client(serving_port(slow), "blocking") as websocket:
        websocket.send("x")
        slow.wait_for("in hand")
        # Who blocks cannot say that the first one has arrived: press until it works.
        end = time.monotonic() + DEADLINE
        while slow.process.poll() is None and time.monotonic() < end:
            slow.send_signal(signal.SIGINT)
            try:
                slow.wait(within=0.1)
            except AssertionError:
                continue
        assert slow.wait() == 130, slow


@pytest.mark.parametrize("number", STOPS)
def test_who_waits_for_a_peer_stops_as_well(number: signal.Signals) -> None:
    (nobody,) = free_ports(1)
    with arduino("clock", "--port", str(nobody)) as clock:
        clock.wait_for("waiting for localhost")
        assert clock.stop(number) == 0, clock
        assert not any("Traceback" in line.text for line in clock.lines)


def test_the_port_is_free_at_once_for_the_next(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = write_grid(tmp_path, f"nodes: {{buzzer: {{sketch: buzzer, port: {port}}}}}")
    for number in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM):
        with arduino("buzzer", "--grid", grid) as buzzer, client(serving_port(buzzer)) as websocket:
            websocket.send("1")
            websocket.recv(DEADLINE)
            buzzer.stop(number)


def test_a_reader_that_goes_away_is_no_error() -> None:
    line = "./arduino.py clock --port 1 --tacks 1 2>&1 | head -n 1"
    with Proc("sh", "-c", line) as pipe:
        pipe.wait_for("registering")
