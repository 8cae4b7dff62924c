"""Sketches inside the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

import factory
import mesh
from tests.helpers.proc import DEADLINE

S = TypeVar("S", bound=factory.FactoryLoop)


class Recorder(factory.FactoryLoop):
    """A node that notes what it is told.

    Attributes:
        seen: Channel and message of each message, in order.
        gate: Messages are answered only while this is set.
        arrived: Set when the first message has come.
        has_enough: Set when ``enough`` messages have come.

    """

    def setup(self, answer: object = "ok", fail: str | None = None, enough: int = 1) -> None:
        self.answer = answer
        self.fail = fail
        self.enough = enough
        self.seen: list[tuple[str, object]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.arrived = asyncio.Event()
        self.has_enough = asyncio.Event()

    @factory.reactive
    async def loop(self, channel, msg):  # type: ignore[no-untyped-def]
        self.seen.append((channel, msg))
        self.arrived.set()
        if len(self.seen) >= self.enough:
            self.has_enough.set()
        await self.gate.wait()
        if msg == self.fail:
            raise ValueError(f"no {msg}")
        return self.answer


class Sender(Recorder):
    """The same under another name: over a link, no two ends may have the same one."""


def as_node(
    sketch: type[S],
    peers: Mapping[str, factory.FactoryLoop | mesh.Node],
    *,
    target: str | None = None,
    **arguments: object,
) -> S:
    """Construct a sketch whose grid holds running sketches under the names that are given."""
    nodes = [
        replace(peer if isinstance(peer, mesh.Node) else peer.serving, name=name)
        for name, peer in peers.items()
    ]
    return sketch.as_node(mesh.Node(sketch.__name__.lower(), target=target), mesh.Grid(nodes), **arguments)


async def told(sketch: factory.FactoryLoop, messages: Iterable[object], channel: str = "") -> list[object]:
    """Run a sketch on a free port, send it messages as a plain client would, and return its replies."""
    async with sketch.running(port=0):
        return await tell(sketch.serving, messages, channel)


async def tell(node: mesh.Node, messages: Iterable[object], channel: str = "") -> list[object]:
    """Send messages to a node on one plain connection, and return the reply to each."""
    replies: list[object] = []
    async with asyncio.timeout(DEADLINE), node.connection(channel) as websocket:
        for message in messages:
            await websocket.send(message if isinstance(message, str | bytes) else str(message))
            replies.append(await websocket.recv())
    return replies
