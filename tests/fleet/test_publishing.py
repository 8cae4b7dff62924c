"""Publishers and subscribers as real processes that are killed, restarted, late, or never read."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.clients import client, serving_port
from tests.helpers.fleet import write_grid
from tests.helpers.link_fleet import RawLink, ledger, rss
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc, arduino

pytestmark = pytest.mark.fleet

TICKER = """\
import factory

class Ticker(factory.FactoryLoop):
    publishes = ("tick", "once", "bulk")

    def setup(self, size: int = 0):
        self.number = 0
        self.size = size

    @factory.on_start
    async def begin(self):
        await self.publish("once", "kept", latch=True)

    @factory.every("10ms")
    async def tick(self):
        self.number += 1
        await self.publish("tick", self.number)
        for _ in range(10 if self.size else 0):
            await self.publish("bulk", bytes(self.size))
"""

# The same without a port of its own: it dials those that the grid wires to it.
DARK = TICKER.replace('    publishes = ("tick", "once", "bulk")\n\n', "")

EAR = """\
import factory

class Ear(factory.FactoryLoop):
    @factory.reactive("tick"%s)
    async def tick(self, channel, msg: int):
        self.last = getattr(self, "last", None)
        if self.last is not None and msg != self.last + 1:
            self.out(f"gap from {self.last} to {msg}")
        self.last = msg
        if msg %% 20 == 0:
            self.out(f"heard {msg}")

    @factory.reactive("once"%s)
    async def once(self, channel, msg):
        self.out(f"once {msg}")

    def on_peer(self, name, state, reason):
        self.out(f"peer {name} {state}")
"""

SOURCED = ', source="ticker", policy="block", limit=50'


def nodes(folder: Path, port: int) -> Path:
    """Write a grid of a ticker with a port, and an ear without."""
    (folder / "ticker.py").write_text(TICKER, encoding="utf-8")
    (folder / "ear.py").write_text(EAR % (SOURCED, ', source="ticker"'), encoding="utf-8")
    return write_grid(
        folder,
        f"nodes:\n  ticker: {{sketch: 'ticker.py:Ticker', port: {port}}}\n  ear: {{sketch: 'ear.py:Ear'}}\n",
    )


def dark_nodes(folder: Path, port: int) -> Path:
    """Write a grid of a ticker without a port, and an ear that is wired to it."""
    (folder / "ticker.py").write_text(DARK, encoding="utf-8")
    (folder / "ear.py").write_text(EAR % ("", ""), encoding="utf-8")
    return write_grid(
        folder,
        f"nodes:\n  ticker: {{sketch: 'ticker.py:Ticker'}}\n"
        f"  ear: {{sketch: 'ear.py:Ear', port: {port}, subscribes: {{tick: ticker, once: ticker}}}}\n",
    )


def start(folder: Path, grid: Path, name: str, *more: str) -> Proc:
    return arduino(f"{name}.py", "--grid", grid, *more, cwd=folder)


def kill(proc: Proc) -> None:
    proc.send_signal(signal.SIGKILL)
    proc.wait()


def test_a_publisher_that_is_killed_and_restarted_is_a_gap_that_can_be_seen(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = nodes(tmp_path, port)
    with start(tmp_path, grid, "ear") as ear:
        with start(tmp_path, grid, "ticker") as ticker:
            ear.wait_for(r"\*\* subscribed to 'tick' of ticker$")
            ear.wait_for("heard ")
            kill(ticker)
        ear.wait_for("peer ticker down$")
        mark = ear.mark
        with start(tmp_path, grid, "ticker") as ticker:
            ear.wait_for(r"\*\* subscribed to 'tick' of ticker again, ", since=mark)
            ear.wait_for("peer ticker up$", since=mark)
            ear.wait_for("gap from ", since=mark)
            ear.wait_for("heard ", since=mark)
            assert ear.count("gap from ") == 1
            assert ear.stop(signal.SIGTERM) == 0, ear
            assert ticker.stop(signal.SIGTERM) == 0, ticker


def test_a_subscriber_that_is_killed_does_not_hold_up_its_publisher(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = nodes(tmp_path, port)
    with start(tmp_path, grid, "ticker") as ticker:
        serving_port(ticker)
        with client(port, "tick?subscribe") as plain:
            plain.close_timeout = 0.1  # it has much that it did not read
            with start(tmp_path, grid, "ear") as ear:
                ear.wait_for("heard ")
                ear.send_signal(signal.SIGSTOP)  # it is alive, and takes nothing
                time.sleep(0.5)
                kill(ear)
            before = int(plain.recv(DEADLINE))
            with start(tmp_path, grid, "ear") as ear:
                ear.wait_for(r"\*\* subscribed to 'tick' of ticker$")
                ear.wait_for("heard ")
                while int(plain.recv(DEADLINE)) < before + 50:
                    pass
                books = ledger(port)["peers"]["ear"]["published"]["tick"]
                assert books["balanced"]
                assert books["delivered"] > 0
                assert ear.stop(signal.SIGTERM) == 0, ear
        assert ticker.stop(signal.SIGTERM) == 0, ticker


def test_who_comes_late_gets_the_value_that_is_kept(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = nodes(tmp_path, port)
    with start(tmp_path, grid, "ticker") as ticker:
        serving_port(ticker)
        with client(port, "once?subscribe") as plain:
            assert plain.recv(DEADLINE) == "kept"
        with start(tmp_path, grid, "ear") as ear:
            ear.wait_for("once kept$")
            assert ear.stop(signal.SIGTERM) == 0, ear
        assert ticker.stop(signal.SIGTERM) == 0, ticker


@pytest.mark.parametrize("first", ["ear", "ticker"])
def test_a_publisher_without_a_port(tmp_path: Path, first: str) -> None:
    (port,) = free_ports(1)
    grid = dark_nodes(tmp_path, port)
    procs: dict[str, Any] = {}
    second = {"ear": "ticker", "ticker": "ear"}[first]
    with start(tmp_path, grid, first) as procs[first]:
        time.sleep(0.5)
        with start(tmp_path, grid, second) as procs[second]:
            procs["ear"].wait_for("once kept$")
            procs["ear"].wait_for("heard ")
            kill(procs["ticker"])
            procs["ear"].wait_for("peer ticker down$")
            mark = procs["ear"].mark
            with start(tmp_path, grid, "ticker") as again:
                procs["ear"].wait_for(r"\*\* subscribed to 'tick' of ticker again, ", since=mark)
                procs["ear"].wait_for("heard ", since=mark)
                assert again.stop(signal.SIGTERM) == 0, again
            assert procs["ear"].stop(signal.SIGTERM) == 0, procs["ear"]


def dropped(port: int) -> int:
    """Return how many values idle plain clients have missed."""
    line = ledger(port)["peers"]["(plain clients)"]["published"]["bulk"]
    return int(line["dropped"].get("drop_oldest", 0))


def test_plain_clients_that_never_read_cost_bounded_memory(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid = nodes(tmp_path, port)
    with start(tmp_path, grid, "ticker", "--size", "20000") as ticker:
        serving_port(ticker)
        idle = []
        for policy in ("drop_oldest", "drop_newest", "latest") * 10:
            sock = socket.create_connection(("localhost", port))
            sock.sendall(
                f"GET /bulk?subscribe&policy={policy} HTTP/1.1\r\nHost: localhost:{port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            idle.append(sock)
        before = rss(ticker.pid)
        end = time.monotonic() + 5
        size = 0
        with client(port, "bulk?subscribe") as busy:
            # Somebody reads, and gets it, while much is dropped for the others.
            while time.monotonic() < end or size < 10_000_000 or dropped(port) < 1000:
                for _ in range(100):
                    size += len(busy.recv(DEADLINE))
        assert ledger(port)["peers"]["(plain clients)"]["published"]["bulk"]["balanced"]
        assert rss(ticker.pid) - before < 60_000_000
        for sock in idle:
            sock.close()
        assert ticker.stop(signal.SIGTERM) == 0, ticker


def test_a_stranger_subscribes_by_the_wire_alone(tmp_path: Path) -> None:
    """What ``docs/explanation/patterns.md`` says, as a client in another language does it."""
    (port,) = free_ports(1)
    grid = nodes(tmp_path, port)
    with start(tmp_path, grid, "ticker") as ticker:
        serving_port(ticker)
        with RawLink(port) as link:
            link.hello()
            link.send([3, "$subscribe", 1, 1, [{"channel": "once"}, {"channel": "tick", "limit": 5, "x": 1}]])
            answers: list[Any] = []
            values: dict[str, list[Any]] = {"$pub/once": [], "$pub/tick": []}
            told: dict[str, int] = {}
            while len(values["$pub/tick"]) < 20:
                for kind, channel, first, *rest in link.next_records():
                    if kind == 4:
                        assert channel == "$subscribe"
                        answers += rest[0]
                    elif kind == 3:
                        values[channel] += rest[1]
                        told[channel] = first + len(rest[1])
                        # Each is answered with nil.
                        link.send([4, channel, first, [None] * len(rest[1])])
            assert answers[0] == {"next": 2, "latched": True}
            assert values["$pub/once"] == [[1, "kept"]]
            begin = answers[1]["next"]
            assert [number for number, _ in values["$pub/tick"]][:20] == list(range(begin, begin + 20))
            assert all(number == value for number, value in values["$pub/tick"])
            link.send([3, "$unsubscribe", 1, 1, [{"channel": "tick"}]])
            while not any(record[:2] == [4, "$unsubscribe"] for record in link.next_records()):
                pass
        assert ticker.stop(signal.SIGTERM) == 0, ticker
