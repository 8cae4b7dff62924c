"""Peers that write websockets as they may, though ours do not: in fragments, with pings between, as text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import factory
import mesh
from mesh.node import Node
from mesh.protocol.link import SUBPROTOCOL, Link, Received, read_hello
from tests.helpers.proc import DEADLINE
from tests.helpers.raw_peer import TERMS
from tests.helpers.sketch_bench import logged, made

pytestmark = pytest.mark.integration

pack = msgspec.msgpack.encode
unpack = msgspec.msgpack.decode


class Echo(factory.FactoryLoop):
    @factory.reactive
    async def loop(self, channel: str, msg: Any) -> Any:
        return msg


async def say(websocket: Connection, frame: bytes, pieces: int) -> None:
    """Send a frame in so many pieces, with a ping after each; 1 is no fragment at all."""
    if pieces == 1:
        await websocket.send(frame)
        return
    ends = [len(frame) * n // pieces for n in range(pieces + 1)]

    async def fragments() -> AsyncIterator[bytes]:
        for start, end in pairwise(ends):
            yield frame[start:end]
            _pong = await websocket.ping()

    await websocket.send(fragments())


async def hear(websocket: Connection) -> list[Any]:
    """Return the records of the next frame that is no heartbeat."""
    async with asyncio.timeout(DEADLINE):
        while True:
            frame = await websocket.recv()
            assert isinstance(frame, bytes)
            if records := unpack(frame):
                return list(records)


@asynccontextmanager
async def dialled(node: Node) -> AsyncIterator[ClientConnection]:
    protocols = [Subprotocol(SUBPROTOCOL)]
    async with connect(
        node.uri("any/path"), subprotocols=protocols, compression=None, proxy=None
    ) as websocket:
        assert websocket.subprotocol == SUBPROTOCOL
        yield websocket


@pytest.mark.parametrize("pieces", [(1, 3, 1), (2, 1, 1), (1, 1, 60), (5, 5, 5)])
async def test_a_dialler_may_write_in_fragments(pieces: tuple[int, int, int]) -> None:
    with logged() as log:
        async with made(Echo).running(port=0) as echo, dialled(echo.serving) as websocket:
            await say(websocket, pack([[0, TERMS]]), pieces[0])
            ((kind, _),) = await hear(websocket)
            assert kind == 1
            await say(websocket, b"\x90", 1)
            for n in range(1, 6):
                large = f"{n}" * 50_000
                await say(websocket, pack([[3, "x", n, n, [large]]]), pieces[1 + n % 2])
                assert await hear(websocket) == [[4, "x", n, [large]]]
                pong = await websocket.ping()
                async with asyncio.timeout(DEADLINE):
                    await pong
            # Others use the same worker all the while.
            async with mesh.connect(echo.serving) as peer:
                assert await peer.stream(range(100), "y") == list(range(100))
            line = echo._worker.books()["peers"]["raw"]["received"]["x"]  # type: ignore[index]
            assert (line["handled"], line["balanced"]) == (5, True)
    assert log.having("warning") == log.having("error") == []


@pytest.mark.parametrize("pieces", [(1, 3), (2, 1), (7, 7)])
async def test_an_acceptor_may_write_in_fragments(pieces: tuple[int, int]) -> None:
    clock = asyncio.get_running_loop().time

    async def accept(websocket: ServerConnection) -> None:
        link = Link("raw", "r1", clock())
        first = await websocket.recv()
        assert isinstance(first, bytes)
        assert link.accept(read_hello(first), clock(), session="s1") is None
        count = 0
        try:
            while True:
                while frames := link.data_to_send(clock()):
                    for frame in frames:
                        await say(websocket, frame, pieces[min(count, 1)])
                        count += 1
                came = await websocket.recv()
                assert isinstance(came, bytes)
                link.receive(came, clock())
                for event in link.events():
                    if isinstance(event, Received):
                        link.ack(event.work, event.items, clock())
        except ConnectionClosed:
            pass

    protocols = [Subprotocol(SUBPROTOCOL)]
    async with serve(accept, "127.0.0.1", 0, subprotocols=protocols, compression=None) as server:
        node = Node("raw", "127.0.0.1", next(iter(server.sockets)).getsockname()[1])
        async with mesh.connect(node) as peer, asyncio.timeout(DEADLINE):
            for _ in range(3):
                assert await peer.stream(range(50), "x") == list(range(50))
            assert await peer.stream("y" * 200_000, "x") == ["y" * 200_000]
            assert [line["balanced"] for line in peer.ledger()["raw"]["sent"].values()] == [True]


@pytest.mark.parametrize("text", ["HELLO", "", "\u0710\u0700", '[[3, "x", 1, 1, ["a"]]]'])
@pytest.mark.parametrize("fragments", [False, True])
async def test_text_is_an_error_wherever_it_comes(text: str, fragments: bool) -> None:
    async with made(Echo).running(port=0) as echo:
        for has_said_hello in (False, True):
            async with dialled(echo.serving) as websocket:
                if has_said_hello:
                    await say(websocket, pack([[0, TERMS]]), 1)
                    await hear(websocket)
                    await say(websocket, b"\x90", 1)
                await websocket.send([text[:1], text[1:]] if fragments else text)
                ((kind, code, _),) = await hear(websocket)
                assert (kind, code) == (2, "protocol")
                with pytest.raises(ConnectionClosed):
                    await hear(websocket)
        async with mesh.connect(echo.serving) as peer:
            assert await peer.stream("alive", "y") == ["alive"]


async def test_what_an_acceptor_answers_to_who_offers_other_subprotocols_or_none() -> None:
    async with made(Echo).running(port=0) as echo:
        for offered in (["chat"], ["sketchmesh.v0", "sketchmesh.v2"], None):
            protocols = [Subprotocol(name) for name in offered] if offered else None
            async with connect(echo.serving.uri("x"), subprotocols=protocols, proxy=None) as websocket:
                assert websocket.subprotocol is None, "a plain client"
                await websocket.send("hello")
                assert await websocket.recv() == "hello"
        protocols = [Subprotocol("chat"), Subprotocol(SUBPROTOCOL)]
        async with connect(echo.serving.uri("$link"), subprotocols=protocols, proxy=None) as websocket:
            assert websocket.subprotocol == SUBPROTOCOL
        assert websocket.protocol.extensions == [], "no compression"
