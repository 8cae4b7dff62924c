"""Node and Chromium under test, and a publisher for them that is made of the link's core."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from mesh.errors import RemoteProtocolError
from mesh.protocol.link import (
    SUBPROTOCOL,
    Acked,
    ConnectionRefused,
    ConnectionSilent,
    Inbound,
    Link,
    LinkSettings,
    Received,
    Refused,
    SessionEnded,
    read_hello,
)
from tests.conftest import RequireTool
from tests.helpers.proc import DEADLINE, ROOT, Proc

MODULE = ROOT / "mesh" / "web" / "mesh.js"
NODE = "--experimental-websocket"
"""Node 20 has a WebSocket, but hides it."""

PROLOGUE = f"""\
import {{ connect, encode, decode, MeshError }} from {json.dumps(MODULE.as_uri())};
const say = (value) => console.log(JSON.stringify(value));
const [url, ...args] = process.argv.slice(2);
const sleep = (seconds) => new Promise((wake) => setTimeout(wake, 1000 * seconds));
const typed = () => new Promise((wake) => process.stdin.once("data", () => wake(process.stdin.destroy())));
"""


def find_node(require_tool: RequireTool) -> str:
    """Return the path of a Node that is new enough for the client; else the test is skipped."""
    program = require_tool("node", package="nodejs")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").split(".")[0]) < 20:
        pytest.skip(f"needs Node 20, and this is {version.strip()}")
    return program


def node(program: str, folder: Path, source: str, *arguments: object) -> Proc:
    """Run a script that has the client, ``url``, ``args``, ``say()``, ``sleep()`` and ``typed()``."""
    path = folder / f"script-{time.monotonic_ns()}.mjs"
    path.write_text(PROLOGUE + source, encoding="utf-8")
    return Proc(program, NODE, "--no-warnings", path, *map(str, arguments), cwd=folder, interactive=True)


def said(proc: Proc) -> list[Any]:
    """Return everything that a script said, when it has ended well."""
    assert proc.wait() == 0, proc
    return [json.loads(line) for line in proc.stdout]


class StandIn:
    """Plays the worker: echoes, publishes and streams, on the protocol's own core.

    Handlers get the channel and the item, and return the answer; one that raises refuses,
    one that returns ``HOLD`` leaves the message in hand.

    Attributes:
        got: Channel and item of every message that was handled, in order.
        answers: By channel, what came back for what was sent; refusals as tuples.
        frames: Frames that came, by connection.

    """

    HOLD = object()

    def __init__(self, settings: LinkSettings | None = None, *, name: str = "standin") -> None:
        self.name = name
        self.incarnation = f"i{time.monotonic_ns()}"
        self.settings = settings
        self.links: dict[str, Link] = {}
        self.got: list[tuple[str, Any]] = []
        self.answers: dict[str, list[Any]] = {}
        self.frames: list[list[bytes]] = []
        self.connections: dict[str, ServerConnection] = {}
        self.held: deque[Inbound] = deque()
        self.ended: list[str] = []
        self.errors: list[str] = []
        self.deaf = False
        self.news = asyncio.Event()

    def handle(self, channel: str, item: Any) -> Any:
        """Return the answer to a message; for a test to replace."""
        return item

    # -- what a test does

    @property
    def link(self) -> Link:
        """The link with the only client."""
        (link,) = self.links.values()
        return link

    async def until(self, ready: Any) -> Any:
        """Wait until a function gives something true, and return it."""
        async with asyncio.timeout(DEADLINE):
            while not (result := ready()):
                self.news.clear()
                await self.news.wait()
        return result

    async def send(self, channel: str, *items: Any) -> None:
        """Send to the only client."""
        left = list(items)
        while left:
            taken = self.link.send(channel, left, time.monotonic(), owner=channel)
            del left[:taken]
            await self.pump()
            if left:
                await asyncio.sleep(0.005)

    async def release(self) -> None:
        """Answer what was held, in order."""
        while self.held:
            self.link.ack(self.held.popleft(), ["released"], time.monotonic())
        await self.pump()

    def cut(self) -> None:
        """Lose every connection without a goodbye."""
        for connection in self.connections.values():
            connection.transport.abort()

    def restart(self) -> None:
        """Become another incarnation, that has forgotten everything."""
        self.incarnation += "'"
        self.links.clear()
        self.held.clear()
        self.cut()

    # -- the shell

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        frames: list[bytes] = []
        self.frames.append(frames)
        peer = None
        try:
            hello = read_hello(await self._recv(connection))
            peer = hello.name
            link = self.links.get(peer) or Link(
                self.name, self.incarnation, time.monotonic(), settings=self.settings
            )
            no = link.accept(hello, time.monotonic(), session=f"s{time.monotonic_ns()}")
            if no is not None:
                await connection.send(no)
                return
            self.links[peer] = link
            self.connections[peer] = connection
            await self.pump()
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.1):
                        frame = await self._recv(connection)
                    frames.append(frame)
                    if self.deaf:
                        continue
                    link.receive(frame, time.monotonic())
                link.handle_timer(time.monotonic())
                if not self.deaf:
                    await self.pump()
        except RemoteProtocolError as exc:
            self.errors.append(str(exc))
            await self.pump()
        except ConnectionClosed:
            pass
        finally:
            if peer is not None and self.connections.get(peer) is connection:
                del self.connections[peer]
                if peer in self.links:
                    self.links[peer].connection_lost(time.monotonic())
            self.news.set()

    async def _recv(self, connection: ServerConnection) -> bytes:
        frame = await connection.recv()
        assert isinstance(frame, bytes), frame
        return frame

    async def pump(self) -> None:
        """Act on what happened and send what there is to send."""
        for peer, link in list(self.links.items()):
            for event in link.events():
                if isinstance(event, Received):
                    for item in event.items:
                        self._answer(link, event.work, item)
                elif isinstance(event, Acked):
                    self.answers.setdefault(event.owner, []).extend(event.values)
                elif isinstance(event, Refused):
                    self.answers.setdefault(event.owner, []).extend(
                        [(event.type, event.message)] * event.count
                    )
                elif isinstance(event, SessionEnded):
                    self.ended.append(event.reason)
                elif isinstance(event, ConnectionSilent | ConnectionRefused):
                    self.errors.append(repr(event))
            connection = self.connections.get(peer)
            if connection is not None:
                while frames := link.data_to_send(time.monotonic()):
                    for frame in frames:
                        with suppress(ConnectionClosed):
                            await connection.send(frame)
        self.news.set()

    def _answer(self, link: Link, work: Inbound, item: Any) -> None:
        self.got.append((work.channel, item))
        try:
            answer = self.handle(work.channel, item)
        except Exception as exc:
            link.nack(work, type(exc).__name__, str(exc), time.monotonic())
            return
        if answer is self.HOLD:
            self.held.append(work)
        else:
            link.ack(work, [answer], time.monotonic())


@asynccontextmanager
async def standing_in(made: StandIn, *, port: int = 0) -> AsyncIterator[tuple[str, Server]]:
    """Serve a stand-in, and give its URL and server."""
    async with serve(
        made.serve,
        "127.0.0.1",
        port,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        max_size=2**25,
        close_timeout=0.2,
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}", server
