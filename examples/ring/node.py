#!/usr/bin/env python
"""A ring of nothing but asyncio streams: the core of sketchmesh's rings, and a few lines of sockets.

    .venv/bin/python examples/ring/node.py 8781 8782 8783     # this node's port first, then the others'

What is typed goes round; what comes round is printed. For real use there is `ringchat`, which
speaks websocket, finds its neighbours in the grid and tells what it does.
"""

import asyncio
import secrets
import struct
import sys
from collections.abc import Callable
from random import Random

import msgspec

from factory.typed import typed_lines
from mesh.errors import RemoteProtocolError
from mesh.protocol.ring import Dial, HangUp, Receipted, Ring, Taken

HEAD = struct.Struct("<I")
"""A stream has no messages, so each frame has its length in front."""


class Node:
    """One member: a server and a client at once.

    Args:
        IP: Where it listens.
        port: Its port, which is its name as well.
        others: Ports of all members, its own included, in the order of the ring.
        heard: Called with the sender and the text of what comes round.

    """

    def __init__(self, IP: str, port: int, others: list[int], heard: Callable[[str, str], object]) -> None:  # noqa: N803
        self.IP, self.port, self.heard = IP, port, heard
        names = [str(one) for one in others]
        self.ring = Ring("streams", str(port), secrets.token_hex(8), names, random=Random())
        self.writers: dict[int, asyncio.StreamWriter] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    @property
    def next_port(self) -> int | None:
        """Port of the next one, if there is one."""
        return int(self.ring.successor) if self.ring.successor else None

    async def run(self) -> None:
        """Serve first and dial then, so that the order of starts is of no matter; until cancelled."""
        server = await asyncio.start_server(self.server_callback, self.IP, self.port)
        try:
            async with server:
                self.ring.start(self.now())
                await self.keep_time()
        finally:
            for writer in self.writers.values():
                writer.transport.abort()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

    def now(self) -> float:
        """Return the time by which everything goes."""
        return asyncio.get_running_loop().time()

    async def circulate(self, text: str) -> tuple[str, ...]:
        """Send a text round and return who took it."""
        receipt = asyncio.get_running_loop().create_future()
        self.ring.circulate(receipt, msgspec.msgpack.encode(text), self.now(), None)
        self.pump()
        return await receipt

    async def server_callback(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a neighbour who has dialled."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        await self.read(self.ring.accepted(self.now()), reader, writer)
        self.tasks.discard(task)

    async def client_method(self, number: int, port: int) -> None:
        """Dial a neighbour."""
        try:
            reader, writer = await asyncio.open_connection(self.IP, port)
        except OSError as exc:
            self.ring.connection_lost(number, self.now(), str(exc))
            self.pump()
            return
        self.ring.connected(number, self.now())
        await self.read(number, reader, writer)

    async def read(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take frame after frame, not whatever has arrived, until the other end is gone."""
        self.writers[number] = writer
        self.pump()
        reason = "end of the stream"
        try:
            while True:
                (size,) = HEAD.unpack(await reader.readexactly(HEAD.size))
                self.ring.receive(number, await reader.readexactly(min(size, 2**21)), self.now())
                self.pump()
        except (EOFError, OSError, RemoteProtocolError) as exc:
            reason = str(exc)
        finally:
            self.writers.pop(number, None)
            writer.transport.abort()
        self.ring.connection_lost(number, self.now(), reason)
        self.pump()

    def pump(self) -> None:
        """Send what the core has to send, and do what it says."""
        for number, frame in self.ring.data_to_send(self.now()):
            if (writer := self.writers.get(number)) is not None:
                writer.write(HEAD.pack(len(frame)) + frame)
        while (event := self.ring.next_event()) is not None:
            match event:
                case Dial(number, name):
                    task = asyncio.create_task(self.client_method(number, int(name)))
                    self.tasks.add(task)
                    task.add_done_callback(self.tasks.discard)
                case HangUp(number) if number in self.writers:
                    self.writers[number].close()
                case Taken(sender, incarnation, items):
                    for item in items:
                        self.heard(sender, msgspec.msgpack.decode(item))
                    self.ring.handled(sender, incarnation, len(items), self.now())
                case Receipted(owners, seen):
                    for owner in owners:
                        owner.set_result(seen)
                case _:
                    pass

    async def keep_time(self) -> None:
        """Wake the core when it wants to be woken."""
        while True:
            self.pump()
            pause = min(self.ring.next_deadline() - self.now(), 1.0)
            await asyncio.sleep(max(pause, 0.001))
            self.ring.handle_timer(self.now())


async def main(port: int, *others: int) -> None:
    """Chat."""
    node = Node("localhost", port, sorted({port, *others}), lambda sender, text: print(f"{sender}: {text}"))
    running = asyncio.create_task(node.run())
    async for line in typed_lines():
        print(f"* {line} (seen by {', '.join(await node.circulate(line)) or 'nobody'})")
    await running


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
