"""Plain clients in crowds: those who come and go, and those who are all there at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from tests.helpers.fleet import write_grid
from tests.helpers.link_fleet import rss
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc, arduino
from tests.soak.limits import SOAK

pytestmark = SOAK

MIB = 2**20
AT_ONCE = 20
# Visits after which the memory of a server grows no more: until then it finds its size.
WARM = 2000
CROWD = 1000


QUIET = """\
import factory


class Quiet(factory.FactoryLoop):
    def setup(self):
        self.taken = 0

    @factory.reactive
    async def loop(self, channel, msg):
        self.taken += 1
        return f"buzz {self.taken}" if msg == "how many" else "buzz"
"""


@contextmanager
def serving(sketch: str, folder: Path) -> Iterator[tuple[Proc, int]]:
    """Run a sketch on a free port."""
    (port,) = free_ports(1)
    grid = write_grid(folder, f"nodes: {{buzzer: {{sketch: buzzer, port: {port}}}}}\n")
    with arduino(sketch, "--name", "buzzer", env={"MESH_GRID": str(grid)}) as proc:
        proc.wait_for(r"serving on .*:\d+$")
        yield proc, port


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def client(port: int) -> connect:
    return connect(f"ws://127.0.0.1:{port}/", proxy=None, compression=None, open_timeout=DEADLINE)


async def buzz(one: ClientConnection) -> None:
    async with asyncio.timeout(2 * DEADLINE):
        await one.send("1")
        assert await one.recv() == "buzz"


async def come_and_go(port: int, count: int) -> None:
    """Connect, send, get the answer and leave; every third one without a goodbye."""
    turns = iter(range(count))

    async def visitor() -> None:
        for number in turns:
            async with client(port) as one:
                if number % 3 == 1:
                    await buzz(one)
                elif number % 3 == 2:
                    one.transport.abort()

    await asyncio.gather(*(visitor() for _ in range(AT_ONCE)))


async def until_descriptors(pid: int, most: int) -> None:
    end = time.monotonic() + DEADLINE
    while descriptors(pid) > most:
        assert time.monotonic() < end, f"{descriptors(pid)} descriptors are open, {most} were before"
        await asyncio.sleep(0.05)


async def test_who_comes_and_goes_leaves_neither_descriptors_nor_memory(
    tmp_path: Path, soak_seconds: float
) -> None:
    rounds, each = (10, 1000) if soak_seconds > 30 else (3, 100)
    with serving("buzzer", tmp_path) as (proc, port):
        await come_and_go(port, each)  # what is made once is made
        await until_descriptors(proc.pid, 40)
        opened, held = descriptors(proc.pid), rss(proc.pid)
        for _ in range(rounds):
            await come_and_go(port, each)
        await until_descriptors(proc.pid, opened)
        grown = rss(proc.pid) - held
        print(f"{rounds * each} visitors: {grown / MIB:+.2f} MiB, {descriptors(proc.pid)} descriptors")
        assert grown < 6 * MIB, f"{rounds * each} visitors left {grown / MIB:.1f} MiB"
        # Each was greeted, and each goodbye told: nobody is remembered.
        assert proc.stop() == 0
        assert proc.count("new client connected") == proc.count("done processing") == (rounds + 1) * each
        assert not any("Traceback" in line.text for line in proc.lines)


async def test_a_thousand_at_once_get_every_message_answered(tmp_path: Path, soak_seconds: float) -> None:
    # One that prints nothing: millions of lines would be a soak of the test.
    (tmp_path / "quiet.py").write_text(QUIET, encoding="utf-8")
    with serving(f"{tmp_path}/quiet.py:Quiet", tmp_path) as (proc, port):
        clients: list[ClientConnection] = []
        try:
            # All knock at once: that is what the listening queue is for.
            clients += await asyncio.gather(*(client(port) for _ in range(CROWD)))
            await asyncio.gather(*(buzz(one) for one in clients))
            held, begin, rounds = rss(proc.pid), time.monotonic(), 1
            while time.monotonic() - begin < soak_seconds:
                await asyncio.gather(*(buzz(one) for one in clients))
                rounds += 1
            grown = rss(proc.pid) - held
            rate = (rounds - 1) * CROWD / (time.monotonic() - begin)
            print(f"{CROWD} clients, {rounds * CROWD} messages, {rate:.0f}/s, {grown / MIB:+.2f} MiB")
            assert grown < 8 * MIB
            await clients[0].send("how many")
            assert await clients[0].recv() == f"buzz {rounds * CROWD + 1}"
        finally:
            await asyncio.gather(*(one.close() for one in clients))
        assert proc.stop() == 0


async def visit_rooms(port: int, numbers: range) -> None:
    """Connect, say a name, join two rooms and leave; every third one without a goodbye."""
    for number in numbers:
        async with client(port) as one:
            for wish in (
                {"action": "connect", "username": f"visitor {number}"},
                {"action": "joinroom", "room": "lobby"},
                {"action": "joinroom", "room": f"room {number}"},
            ):
                await one.send(json.dumps(wish))
            async with asyncio.timeout(DEADLINE):
                while json.loads(await one.recv()).get("room") != f"room {number}":
                    pass
            if number % 3 == 0:
                one.transport.abort()


async def test_who_visits_the_rooms_leaves_nothing_behind(soak_seconds: float) -> None:
    with arduino("rooms", "--port", "0", "--away", "0.2") as rooms:
        port = int(rooms.wait_for(r"serving on localhost:(\d+)$")[1])
        begin = time.monotonic()
        done = 0
        before, files = 0, 0
        while done < 10_000 and (done < 2 * WARM or time.monotonic() - begin < soak_seconds):
            await asyncio.gather(
                *(visit_rooms(port, range(done + one * 10, done + one * 10 + 10)) for one in range(AT_ONCE))
            )
            done += 10 * AT_ONCE
            if not before and done >= WARM:
                before, files = rss(rooms.pid), descriptors(rooms.pid)
        async with client(port) as last:
            await last.send('{"action": "connect", "username": "last"}')
            await last.recv()
            # The others are forgotten within moments, and then nobody else is in the lobby.
            count = 0
            while count != 1:
                await last.send('{"action": "joinroom", "room": "lobby"}')
                while (said := json.loads(await last.recv()))["action"] != "joined":
                    pass
                count = said["count"]
                await asyncio.sleep(0.2)
        assert descriptors(rooms.pid) <= files + 5
        assert rss(rooms.pid) - before < 8 * MIB, f"after {done} visits"
        assert rooms.stop() == 0
