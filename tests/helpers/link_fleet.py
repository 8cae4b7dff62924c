"""Links between real processes: a receiver that keeps a journal, senders, and a peer made of bytes."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import msgspec
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from mesh.protocol.link.records import SUBPROTOCOL
from tests.helpers.clients import ask
from tests.helpers.fleet import write_grid
from tests.helpers.proc import DEADLINE, ROOT, Proc, arduino
from tests.helpers.raw_peer import TERMS

SINK = '''\
import asyncio
import os
import signal
from pathlib import Path

import factory


class Sink(factory.FactoryLoop):
    """Write down the number of each item before it is answered.

    Args:
        journal: Where.
        kill_at: Dies by its own hand at this item.
        hold_at: Waits at this item until somebody writes to the pipe.
        pipe: That pipe.
        tell_at: Says so at this item.

    """

    def setup(
        self, journal: str = "", kill_at: int = -1, hold_at: int = -1, pipe: str = "", tell_at: int = -1
    ):
        self.kill_at, self.hold_at, self.pipe, self.tell_at = kill_at, hold_at, pipe, tell_at
        self.journal = os.open(journal or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.tries = {}

    @factory.reactive("numbers")
    async def numbers(self, channel, msg):
        number = int(msg.partition(" ")[0])
        if number == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(self.journal, b"%d\\n" % number)
        if number == self.tell_at:
            self.out(f"at {number}")
        if number == self.hold_at:
            self.out("in hand")
            await self.to_thread(Path(self.pipe).read_text)
        return number

    @factory.reactive("same")
    async def same(self, channel, msg):
        return msg

    @factory.reactive("values")
    async def values(self, channel, msg):
        return {"none": None, "dict": {"a": [1, None]}, "bytes": b"x", "number": 7}[msg]

    @factory.reactive("never")
    async def never(self, channel, msg):
        self.out("in hand")
        await asyncio.Event().wait()

    @factory.reactive("odd")
    async def odd(self, channel, msg):
        if int(msg) % 2 == 0:
            raise factory.Reject(f"{msg} is even")
        return int(msg)

    @factory.reactive("nack/{times:int}")
    async def nack(self, channel, msg, times):
        tries = self.tries[msg] = self.tries.get(msg, 0) + 1
        os.write(self.journal, f"{msg}\\n".encode())
        if tries <= times:
            raise factory.Nack(f"{msg} not now", retry_in=0.05)
        return f"{msg} at try {tries}"

    @factory.reactive("later")
    async def later(self, channel, msg):
        self.out("not now")
        raise factory.Nack("not now", retry_in=60.0)

    @factory.reactive("reject")
    async def reject(self, channel, msg):
        tries = self.tries[msg] = self.tries.get(msg, 0) + 1
        raise factory.Reject(f"never {msg}, try {tries}")

    def on_peer(self, name, state, reason):
        self.out(f"peer {name} {state}")
'''

SOURCE = '''\
import asyncio
import json

import factory


class Source(factory.FactoryLoop):
    """Stream items until the peer was lost and has come back, and then some more.

    Args:
        size: Bytes of each.
        more: How many more.

    """

    patience = 60.0

    def setup(self, size: int = 0, more: int = 200):
        self.size, self.more = size, more
        self.ups = 0

    def items(self):
        number = left = 0
        while self.ups < 2 or left < self.more:
            yield f"{number} {'x' * self.size}"
            left += self.ups >= 2
            number += 1

    @factory.every(3600)
    async def send(self):
        count = 0
        async for ack in self.stream("sink", self.items(), channel="numbers", quiet=True):
            assert ack == count, (ack, count)
            count += 1
            if count == 100:
                self.out("at 100")
        self.out("books " + json.dumps({"count": count, **self._worker.books()}))
        self.stop()

    def on_peer(self, name, state, reason):
        self.ups += state == "up"
        self.out(f"peer {name} {state}: {reason}")
'''

STEADY = """\
import asyncio
import json
import socket
import sys

import mesh


async def main(uri):
    wanted = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

    def items():
        number = 0
        while not wanted.done():
            yield number
            number += 1

    async with mesh.connect(uri) as peer:
        count = 0
        async for ack in peer.stream(items(), channel="numbers", window=64):
            assert ack == count, (ack, count)
            count += 1
            if count == 100:
                print("steady", flush=True)
        print(json.dumps({"count": count, "peers": peer.ledger()}), flush=True)


asyncio.run(main(sys.argv[1]))
"""
"""Streams numbers until a line is typed, and checks every answer."""


def start_sink(
    folder: Path, *, port: int = 0, journal: Path | None = None, more: Mapping[str, object] | None = None
) -> Proc:
    """Run a receiver; its journal goes to a file."""
    (folder / "sink.py").write_text(SINK, encoding="utf-8")
    options = {"journal": journal or "", **(more or {})}
    flags = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return arduino("sink.py", "--port", str(port), *flags, cwd=folder)


def start_source(folder: Path, port: int, *, host: str = "localhost", size: int = 0) -> Proc:
    """Run a sketch that sends to the receiver on a port."""
    (folder / "source.py").write_text(SOURCE, encoding="utf-8")
    grid = write_grid(
        folder,
        "nodes:\n"
        f"  sink: {{port: {port}, host: '{host}'}}\n"
        f"  source: {{sketch: 'source.py:Source', target: sink, args: {{size: {size}}}}}\n",
    )
    return arduino("source.py", "--grid", grid, cwd=folder)


def script(folder: Path, source: str, *arguments: object, name: str = "script.py") -> Proc:
    """Run a script of a user's, who has what is under test on the path."""
    (folder / name).write_text(source, encoding="utf-8")
    words = [str(argument) for argument in arguments]
    env = {"PYTHONPATH": str(ROOT)}
    return Proc(sys.executable, folder / name, *words, cwd=folder, env=env, interactive=True)


def steady(folder: Path, port: int) -> Proc:
    """Run a script that streams numbers until ``end_steady()``."""
    proc = script(folder, STEADY, f"ws://localhost:{port}", name="steady.py")
    proc.wait_for("^steady$")
    return proc


def end_steady(proc: Proc) -> int:
    """End the stream; check that nothing was lost; return how many items it had."""
    proc.type("\n")
    assert proc.wait() == 0, proc
    said = json.loads(proc.stdout[-1])
    line = the_line(said["peers"], "sent", "numbers")
    assert line["balanced"]
    assert line["sent"] == line["acked"] == said["count"]
    return int(said["count"])


def result(proc: Proc) -> Any:
    """Return what a script says last, as JSON, when it has ended well."""
    assert proc.wait() == 0, proc
    return json.loads(proc.stdout[-1])


def journal(path: Path) -> list[int]:
    """Return the numbers that a receiver has handled, in order."""
    return [int(line) for line in path.read_text(encoding="utf-8").split()]


def ledger(port: int) -> dict[str, Any]:
    """Read the ledger of a worker as any websocket client would."""
    (reply,) = ask(port, "", channel="$ledger")
    books = json.loads(reply)
    assert isinstance(books, dict)
    for peer in books["peers"].values():
        for direction in ("sent", "received"):
            assert all(line["balanced"] for line in peer[direction].values()), books
    return books


def the_line(peers: Mapping[str, Any], direction: str, channel: str) -> dict[str, Any]:
    """Return the only line that some books have of a channel."""
    (found,) = [peer[direction][channel] for peer in peers.values() if channel in peer[direction]]
    assert isinstance(found, dict)
    return found


def rss(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"{pid} has no memory")


class RawLink:
    """A link of which every byte is the test's own. Use as a context manager."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stack = ExitStack()
        self.welcome: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.websocket: ClientConnection = self._stack.enter_context(
            connect(
                f"ws://localhost:{self._port}/",
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                proxy=None,
                compression=None,
                open_timeout=DEADLINE,
                close_timeout=DEADLINE,
                max_size=None,
            )
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self.lose()
        self._stack.close()

    def lose(self) -> None:
        """End the connection without a goodbye."""
        with suppress(OSError):
            self.websocket.socket.shutdown(socket.SHUT_RDWR)

    def send(self, *records: list[Any]) -> None:
        """Send one frame."""
        self.websocket.send(msgspec.msgpack.encode(list(records)))

    def hello(self, **terms: Any) -> list[Any]:
        """Say HELLO, and return the answer, WELCOME or REFUSED."""
        self.send([0, {**TERMS, **terms}])
        (answer,) = self.next_records()
        if answer[0] == 1:
            self.welcome = answer[1]
            self.send()
        return list(answer)

    def next_records(self) -> list[Any]:
        """Return the records of the next frame that is no heartbeat."""
        while True:
            frame = self.websocket.recv(DEADLINE)
            assert isinstance(frame, bytes)
            if records := msgspec.msgpack.decode(frame):
                return list(records)

    def until(self, kinds: Iterable[int], count: int) -> list[list[Any]]:
        """Return answers until they are answers to that many messages."""
        wanted, found = set(kinds), []
        while count > 0:
            for record in self.next_records():
                assert record[0] in wanted, record
                found.append(record)
                count -= len(record[3]) if record[0] == 4 else record[3]
        return found
