"""What a room costs, beside a bare ``websockets.broadcast``: ``python -m benchmarks.rooms``.

One member of a room of many says something, and all others get it. The servers are processes of their own,
and take turns within a round: a dozen lines with ``websockets.broadcast``, the shipped sketch ``rooms``,
and the same with TLS. All members are connections of this process, which counts what comes and parses
nothing of it; with TLS it has to decipher it, though.

The memory of a server and the time that a message takes to the others are looked at twice: while all read,
and while a tenth does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, cast

from websockets.asyncio.client import connect

from benchmarks.machine import describe
from benchmarks.processes import START_TIMEOUT, Child, running
from factory import authority

ROOT = Path(__file__).resolve().parents[1]
README = Path(__file__).with_name("README.md")
SIZE = 100
"""Characters of a message, as people write them."""

LARGE = 4000
"""Characters of a message where memory is looked at."""

MARK = b'"message"'

PACED = 100
"""Messages of which the time is taken."""

PING = b"\x89\x04"

BARE = """
import asyncio
from websockets.asyncio.server import broadcast, serve
try:
    from uvloop import run
except ImportError:
    from asyncio import run

members = set()

async def member(websocket):
    members.add(websocket)
    async for message in websocket:
        broadcast(members - {websocket}, message)

async def main():
    async with serve(member, "localhost", 0, compression=None, max_queue=None) as server:
        print(f"serving on localhost:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()

run(main())
"""

ROOMS = [str(ROOT / "arduino.py"), "rooms", "--port", "0", "--rate", "1000000", "--strangers", "100000"]


@dataclass
class Members:
    """The members of one room.

    Attributes:
        wires: Their connections; the first one talks.
        latencies: Seconds from saying a message to each arrival.

    """

    wires: list[asyncio.Transport] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    said_at: list[float] = field(default_factory=list)
    arrived: int = 0
    wanted: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, text: str) -> None:
        """Have the first member say something."""
        self.said_at.append(time.perf_counter())
        body = json.dumps({"action": "chat", "room": "lobby", "message": text}).encode()
        # A frame with a mask of zeros, which changes nothing.
        head = bytes([0x81, 0xFE]) + len(body).to_bytes(2, "big") + bytes(4)
        self.wires[0].write(head + body)

    async def reached(self, count: int) -> None:
        """Return when so many have arrived since ``expect()``."""
        self.wanted = count
        if self.arrived < count:
            self.done.clear()
            await self.done.wait()

    def expect(self) -> None:
        """Begin to count anew."""
        self.said_at.clear()
        self.latencies.clear()
        self.arrived = 0
        for wire in self.wires:
            cast("Member", wire.get_protocol()).heard = 0


class Member(asyncio.Protocol):
    """Counts the messages of one connection."""

    def __init__(self, members: Members, wire: asyncio.Transport) -> None:
        self._members = members
        self._wire = wire
        self._tail = b""
        self.heard = 0

    def data_received(self, data: bytes) -> None:
        """Count the messages in what came."""
        members = self._members
        data = self._tail + data
        count = data.count(MARK)
        self._tail = data[-len(MARK) + 1 :]
        ping = data.find(PING)
        if ping >= 0:
            # Else the server would hang up. With a mask of zeros, again.
            self._wire.write(b"\x8a\x84" + bytes(4) + data[ping + len(PING) : ping + len(PING) + 4])
        if not count:
            return
        now = time.perf_counter()
        members.latencies += [now - at for at in members.said_at[self.heard : self.heard + count]]
        self.heard += count
        members.arrived += count
        if members.arrived >= members.wanted:
            members.done.set()


@asynccontextmanager
async def room(
    command: list[str], count: int, *, trusted: ssl.SSLContext | None = None
) -> AsyncIterator[Any]:
    """Run a server with a room of so many members, and give it with them."""
    async with running(sys.executable, *command) as server:
        port = await _port(server)
        members = Members()
        for begin in range(0, count, 50):
            numbers = range(begin, min(begin + 50, count))
            is_rooms = command[0] != "-c"
            members.wires += await asyncio.gather(
                *(_enter(members, port, number, trusted, is_rooms=is_rooms) for number in numbers)
            )
        yield server, members
        for wire in members.wires:
            wire.abort()


async def _port(server: Child) -> int:
    while True:
        found = re.search(rb"serving on localhost:(\d+)", await server.line(START_TIMEOUT))
        if found is not None:
            return int(found[1])


async def _enter(
    members: Members, port: int, number: int, trusted: ssl.SSLContext | None, *, is_rooms: bool
) -> asyncio.Transport:
    uri = f"{'ws' if trusted is None else 'wss'}://localhost:{port}/"
    websocket = await connect(
        uri, ssl=trusted, compression=None, proxy=None, open_timeout=60, ping_interval=None, max_queue=None
    )
    if is_rooms:
        await websocket.send(json.dumps({"action": "connect", "username": f"user {number}x"}))
        await websocket.send('{"action": "joinroom", "room": "lobby"}')
        while json.loads(await websocket.recv())["action"] != "joined":
            pass
    wire = websocket.transport
    wire.set_protocol(Member(members, wire))
    return wire


async def deliveries(members: Members, messages: int) -> float:
    """Return deliveries per second of messages that are said one after the other."""
    others = len(members.wires) - 1
    # A few at first, that both ends are warm.
    members.expect()
    for _ in range(5):
        members.say("x" * SIZE)
    await members.reached(5 * others)
    members.expect()
    begin = time.perf_counter()
    for number in range(messages):
        members.say("x" * SIZE)
        if number % 10 == 9:
            await asyncio.sleep(0)
    async with asyncio.timeout(120):
        await members.reached(messages * others)
    return messages * others / (time.perf_counter() - begin)


async def flood(members: Members, messages: int, readers: int) -> None:
    """Say large messages, no faster than those take them that read."""
    members.expect()
    for _ in range(messages):
        members.say("x" * LARGE)
        async with asyncio.timeout(60):
            await members.reached((len(members.said_at) - 10) * readers)


async def paced(members: Members, messages: int, readers: int) -> float:
    """Return the 99th percentile of seconds that messages take which are said now and then."""
    members.expect()
    for _ in range(messages):
        members.say("x" * LARGE)
        async with asyncio.timeout(60):
            # The next when this one is through, and a moment later: for that is what is measured.
            await members.reached(len(members.said_at) * readers)
        await asyncio.sleep(0.02)
    return quantiles(members.latencies, n=100)[98]


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    found = re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def busy(pid: int) -> float:
    """Return the processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def speeds(
    count: int, messages: int, rounds: int, folder: Path
) -> dict[str, list[tuple[float, float]]]:
    """Return by server, for each round, deliveries per second and per processor second of the server."""
    authority.init(folder, ())
    trusted = ssl.create_default_context(cafile=folder / authority.AUTHORITY)
    files = ["--tls-cert", str(folder / authority.CERT), "--tls-key", str(folder / authority.KEY)]
    servers: dict[str, tuple[list[str], ssl.SSLContext | None]] = {
        "`websockets.broadcast`": (["-c", BARE], None),
        "`rooms`": (ROOMS, None),
        "`rooms` with TLS": ([*ROOMS, *files], trusted),
    }
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for name, (command, trust) in servers.items():
            async with room(command, count, trusted=trust) as (server, members):
                used = busy(server.pid)
                speed = await deliveries(members, messages)
                worked = busy(server.pid) - used
            each = (messages + 5) * (count - 1) / worked
            found.setdefault(name, []).append((speed, each))
    return found


async def dropped(port: int) -> int:
    """Return how many copies the rooms have dropped, says their own channel for that."""
    async with connect(f"ws://localhost:{port}/books", proxy=None, open_timeout=60) as books:
        await books.send("")
        return int(json.loads(await books.recv())["dropped"])


async def silence(count: int, messages: int) -> dict[str, float]:
    """Return what a tenth that does not read changes: for the others, and in memory."""
    async with room(ROOMS, count) as (server, members):
        everybody = await paced(members, PACED, count - 1)
        before = resident(server.pid)
        silent = members.wires[-(count // 10) :]
        for wire in silent:
            wire.pause_reading()
            # Else the system would take megabytes for each before a mailbox fills.
            wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # Until what they do not read has filled all that may be filled.
        readers = count - 1 - len(silent)
        await flood(members, messages, readers)
        full = resident(server.pid)
        others = await paced(members, PACED, readers)
        await flood(members, messages // 3, readers)
        return {
            "all": everybody * 1000,
            "others": others * 1000,
            "before": before,
            "full": full,
            "after": resident(server.pid),
            "dropped": await dropped(members.wires[0].get_extra_info("peername")[1]),
        }


def table(found: dict[str, list[tuple[float, float]]], quiet: dict[str, float], count: int) -> str:
    """Return the figures as Markdown."""
    first, second, third = found

    def ratio(one: str, other: str, which: int) -> float:
        return median(a[which] / b[which] for a, b in zip(found[one], found[other], strict=True))

    words = ("deliveries per second", "against", "per processor second of the server", "against")
    lines = [f"| {count:,} members | {' | '.join(words)} |", "|---" * 5 + "|"]
    for name, against in ((first, first), (second, first), (third, second)):
        speed, each = (median(figures[which] for figures in found[name]) for which in (0, 1))
        cells = [f"{speed:,.0f}", f"x {ratio(name, against, 0):.2f} of {against}"]
        cells += [f"{each:,.0f}", f"x {ratio(name, against, 1):.2f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    text = (
        f"A tenth not reading: the 99th percentile of a message's time to the others is "
        f"{quiet['others']:.1f} ms, x {quiet['others'] / quiet['all']:.2f} of {quiet['all']:.1f} ms while "
        f"all read. The server has {quiet['before']:.0f} MiB before, {quiet['full']:.0f} MiB when their "
        f"mailboxes are full, and {quiet['after']:.0f} MiB after a third as many messages more; "
        f"{quiet['dropped']:,.0f} copies for those who did not read were dropped, and nobody else missed one."
    )
    return "\n".join([*lines, "", text])


def main() -> int:
    """Measure, print, and keep if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rooms", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--members", type=int, default=1000, help="members of the room (1000)")
    parser.add_argument("--messages", type=int, default=100, help="messages in one measurement (100)")
    parser.add_argument("--silent-messages", type=int, default=1500, help="until mailboxes are full (1500)")
    parser.add_argument("--update-readme", action="store_true", help="put the table into the README")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(
            speeds(arguments.members, arguments.messages, arguments.rounds, Path(folder) / "certs")
        )
    quiet = asyncio.run(silence(arguments.members, arguments.silent_messages))
    machine = describe()
    text = (
        f"Median of {arguments.rounds} rounds; ratios are taken within a round. {machine['processor']}, "
        f"{machine['python']}, {machine['date']}, commit {machine['commit']}.\n\n"
        f"{table(found, quiet, arguments.members)}"
    )
    print(text)
    if arguments.update_readme:
        from benchmarks.__main__ import update_block

        update_block(README, "rooms", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
