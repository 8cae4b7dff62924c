"""Rings over real sockets: what the kernel tells of a neighbour, and what its door lets in."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import pytest

import factory
import mesh
from mesh.dialling import AbsentError
from mesh.rings.dialling import dial_ring
from mesh.transport.base import Transport
from tests.helpers.ports import free_ports

pytestmark = pytest.mark.integration


class Echo(factory.FactoryLoop):
    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        return msg


def member(*others: str) -> tuple[Echo, mesh.Node]:
    node = mesh.Node("ann", port=free_ports(1)[0])
    nodes = [node, *(mesh.Node(name, port=1) for name in others)]
    group = mesh.Group("chat", tuple(one.name for one in nodes), "ring")
    grid = mesh.Grid(nodes, groups={"chat": group} if others else {})
    return Echo.as_node(node, grid), node


@pytest.fixture
async def wire() -> AsyncIterator[tuple[Echo, Transport]]:
    sketch, node = member("bob")
    async with sketch.running():
        transport = await dial_ring(node, 5.0)
        yield sketch, transport
        transport.abort()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
async def test_the_kernel_counts_what_arrives(wire: tuple[Echo, Transport]) -> None:
    _, transport = wire
    before = transport.arrivals()
    assert before is not None
    transport.hasten()
    await transport.send(b"\x91\x01")
    await transport.recv()  # refused
    after = transport.arrivals()
    assert after is not None
    assert after > before


async def test_a_broken_hello_is_refused_and_the_member_goes_on(wire: tuple[Echo, Transport]) -> None:
    sketch, transport = wire
    await transport.send(b"\x91\x01")
    assert (await transport.recv())[:3] == b"\x91\x93\x02"
    assert (await sketch.circulate("chat", "still here")).seen == ()


async def test_a_stranger_who_says_nothing_does_not_hold_up_the_end(
    wire: tuple[Echo, Transport], caplog: pytest.LogCaptureFixture
) -> None:
    sketch, _ = wire
    await sketch._worker.finish()
    assert "gave up" not in caplog.text


async def test_who_is_in_no_ring_says_so_to_who_dials() -> None:
    sketch, node = member()
    async with sketch.running():
        with pytest.raises((AbsentError, mesh.DeliveryError)):
            await dial_ring(node, 5.0)
