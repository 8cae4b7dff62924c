"""``--wire`` on a whole sketch: what it publishes to plain clients, its links, and what it dials."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect

import factory
import mesh
from mesh.transport.tapping import Tap, tap_process

pytestmark = pytest.mark.integration


class Blink(factory.FactoryLoop):
    """Publishes what it is told."""

    publishes = ("tick",)

    def out(self, text: object) -> None:
        pass

    @factory.reactive
    async def loop(self, channel, msg):  # type: ignore[no-untyped-def]
        await self.publish("tick", {"tick": msg, "token": "hunter2"})
        return "published"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    told: list[str] = []
    tap_process(Tap(told.append))
    yield told
    tap_process(None)


@pytest.mark.source("D9", "D11")
async def test_everything_is_told_of_in_both_directions(lines: list[str]) -> None:
    blink = Blink.as_node(mesh.Node("blink"), mesh.Grid([]))
    async with blink.running(port=0):
        where = f"ws://localhost:{blink.serving.port}"
        async with connect(f"{where}/tick?subscribe") as subscriber, mesh.connect(where) as peer:
            assert await peer.request("seven") == "published"
            assert "hunter2" in str(await subscriber.recv())
    text = "\n".join(lines)
    assert "/tick?subscribe Connection open" in text
    (value,) = [line for line in lines if "/tick?subscribe Sending data" in line]
    assert value.endswith('\'{"tick":"seven","token":***}\'')
    # The link, as its frames; each end is in this process.
    assert len([line for line in lines if "|" in line and "seven" in line]) == 2
    assert len([line for line in lines if "|" in line and "published" in line]) == 2
    assert "hunter2" not in text


async def test_without_it_no_connection_is_another_one_than_before() -> None:
    blink = Blink.as_node(mesh.Node("blink"), mesh.Grid([]))
    async with blink.running(port=0), connect(f"ws://localhost:{blink.serving.port}/x"):
        door = blink._worker._doors.web
        assert door is not None
        (connection,) = door._talks
        assert [kind.__name__ for kind in type(connection).__mro__[:2]] == ["Connection", "LinkConnection"]
        assert connection.watch is None  # type: ignore[attr-defined]
