"""Rows of section A that no other test shows: the names of its listings, and the mistakes in them.

What the ring does when members die is in ``tests/mesh/protocol/ring`` and ``tests/fleet/test_ring.py``.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import ModuleType

import pytest

import factory
import mesh
from tests.helpers.ports import free_ports
from tests.helpers.proc import ROOT


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Gossip(factory.FactoryLoop):
    def setup(self) -> None:
        self.heard: list[str] = []

    @factory.reactive("chat")
    async def hear(self, channel: str, msg: str) -> None:
        self.heard.append(msg)


def made(count: int) -> list[Gossip]:
    nodes = [mesh.Node(f"n{at}", port=port) for at, port in enumerate(free_ports(count))]
    grid = mesh.Grid(nodes, groups={"chat": mesh.Group("chat", tuple(n.name for n in nodes), "ring")})
    return [Gossip.as_node(node, grid) for node in nodes]


@pytest.mark.integration
@pytest.mark.source("A2", "A6", "A16", "A17")
async def test_a_member_is_a_class_with_run_and_serves_and_dials_at_once() -> None:
    members = made(3)
    running = [asyncio.create_task(member.arun()) for member in members]
    try:
        await until(lambda: all(member._worker._doors.web is not None for member in members))
        first, second, third = members
        seen: tuple[str, ...] = ()
        while len(seen) < 2:
            seen = (await first.circulate("chat", "hello")).seen
        assert seen == ("n1", "n2")
        await until(lambda: "hello" in second.heard and "hello" in third.heard)
        assert first.heard == []
    finally:
        for member in members:
            member.stop()
        await asyncio.gather(*running)


@pytest.mark.integration
@pytest.mark.source("A15")
async def test_a_member_stops_in_good_order_and_gives_its_port_back() -> None:
    async with AsyncExitStack() as stack:
        (first, second) = made(2)
        await stack.enter_async_context(first.running())
        async with second.running():
            port = second.serving.port
            while not (await first.circulate("chat", "hello")).seen:
                pass
        server = await asyncio.start_server(lambda r, w: w.close(), "localhost", port)
        server.close()
        await server.wait_closed()
        while (await first.circulate("chat", "still here")).seen:
            pass


@pytest.mark.integration
async def test_what_is_no_ring_and_who_is_in_none_is_explained() -> None:
    (lonely,) = made(1)
    async with lonely.running():
        with pytest.raises(mesh.GridError, match="n0 is in no ring 'caht', its rings are: chat"):
            await lonely.circulate("caht", 1)
    stranger = Gossip.as_node(mesh.Node("stranger", port=free_ports(1)[0]), mesh.Grid())
    async with stranger.running():
        with pytest.raises(mesh.GridError, match="stranger is in no ring; in the grid, write it among"):
            await stranger.circulate("chat", 1)


@pytest.fixture
def example() -> ModuleType:
    path = Path(ROOT, "examples/ring/node.py")
    spec = importlib.util.spec_from_file_location("example_of_a_ring_node", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.integration
@pytest.mark.source("A6", "A7", "A10", "A11", "A13", "A14", "A18", "A19")
async def test_a_ring_of_nothing_but_streams(example: ModuleType) -> None:
    ports = sorted(free_ports(3))
    heard: list[tuple[int, str, str]] = []
    nodes = [example.Node("localhost", p, ports, lambda s, t, p=p: heard.append((p, s, t))) for p in ports]
    tasks = [asyncio.create_task(one.run()) for one in nodes]
    try:
        await until(lambda: [one.next_port for one in nodes] == [ports[1], ports[2], ports[0]])
        names = [str(port) for port in ports]
        await until(lambda: [one.ring.predecessor for one in nodes] == [names[2], names[0], names[1]])
        # More than a stream gives at once: each text is whole, and its own.
        texts = ["x" * 100_000, "y", ""]
        for text in texts:
            assert await nodes[0].circulate(text) == (names[1], names[2])
        assert [text for port, _, text in heard if port == ports[1]] == texts
        tasks[1].cancel()
        await asyncio.wait([tasks[1]])
        await until(lambda: nodes[0].next_port == ports[2] and nodes[2].next_port == ports[0])
        assert await nodes[0].circulate("the ring is closed again") == (names[2],)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
