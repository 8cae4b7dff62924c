"""Links at other doors than the websocket: two workers in one process, and what they exchange."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import factory
import mesh
from mesh.errors import ServeError
from mesh.gridfile import parse_grid
from mesh.node import NodeDoor
from mesh.transport.serial import adopt, make_raw
from mesh.transport.stream import StreamTransport
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch_bench import logged

pytestmark = pytest.mark.integration


class Echo(factory.FactoryLoop):
    """Answers with what came, and notes how."""

    def setup(self) -> None:
        self.lines: list[str] = []

    def out(self, text: object) -> None:
        self.lines.append(str(text))

    @factory.reactive
    async def loop(self, channel, msg):  # type: ignore[no-untyped-def]
        return [channel, msg]


@asynccontextmanager
async def running(door: str) -> AsyncIterator[tuple[Echo, mesh.Grid]]:
    grid = parse_grid(f"nodes:\n  echo:\n    sketch: echo\n    doors: [{door}]\n".encode())
    made = Echo.as_node(grid.node("echo"), grid)
    async with made.running():
        yield made, grid


DOORS = {
    "tcp": "{{url: 'tcp://localhost:{port}', speaks: link}}",
    "tcp-zlib": "{{url: 'tcp://127.0.0.1:{port}', layers: [len32le, zlib], speaks: link}}",
    "unix": "{{url: 'unix://{folder}/x.sock', layers: [logging, len32le], speaks: link}}",
    "ws": "{{url: 'ws://localhost:{port}', speaks: link}}",
    "ws+unix": "{{url: 'ws+unix://{folder}/x.sock', speaks: link}}",
    "memory": "{{url: 'memory://{folder}', layers: [zlib], speaks: link}}",
}


@pytest.mark.source("D2", "D12")
@pytest.mark.parametrize("kind", DOORS)
async def test_a_link_goes_through_the_door_that_the_grid_names(kind: str, tmp_path: Path) -> None:
    door = DOORS[kind].format(port=free_ports(1)[0], folder=tmp_path)
    async with running(door) as (echo, grid), mesh.connect("echo", grid=grid) as peer:
        assert await peer.request("41", "numbers") == ["numbers", "41"]
        large = "x" * 300_000
        answers: list[Any] = [answer async for answer in peer.stream([large, "\r\n\x00"], "many")]
        assert answers == [["many", large], ["many", "\r\n\x00"]]
        books = echo._worker.books()
        (lines,) = books["peers"].values()  # type: ignore[attr-defined]
        # A link like any other: counted, and its messages keep their types.
        assert lines["received"]["many"]["handled"] == 2
        assert echo._worker._doors.web is None, "it has no port, so no websocket"
    assert any(line.startswith("serving links on") for line in echo.lines)
    assert echo._worker.balanced


class Copy:
    """Hands everything on to the other side; the user of one end of a cable."""

    def __init__(self, to: StreamTransport) -> None:
        self._to = to

    def messages_came(self, messages: list[bytes]) -> None:
        for message in messages:
            self._to.write(message)

    def writing_resumed(self) -> None:
        pass

    def connection_ended(self, reason: str) -> None:
        pass


@asynccontextmanager
async def null_modem(*links: Path) -> AsyncIterator[None]:
    """Join two devices at these paths by a cable, for as long as the block lasts."""
    ends, slaves = [], []
    for link in links:
        master, slave = os.openpty()
        make_raw(slave)
        link.symlink_to(os.ttyname(slave))
        slaves.append(slave)
        ends.append(adopt(master, str(link)))
    ends[0].start(Copy(ends[1]))
    ends[1].start(Copy(ends[0]))
    try:
        yield
    finally:
        for link, slave, end in zip(links, slaves, ends, strict=True):
            link.unlink()
            os.close(slave)
            end.abort()
            await end.close()


async def test_a_link_over_a_serial_line_survives_that_it_is_unplugged(tmp_path: Path) -> None:
    """Each end has its own device, and so its own grid."""
    here, there = tmp_path / "ttyUSB0", tmp_path / "ttyAMA0"
    door = f"{{url: 'serial://{there}?baud=115200', layers: [len32le, zlib], speaks: link}}"
    mine = mesh.Grid([mesh.Node("echo", doors=(NodeDoor(f"serial://{here}", ("len32le", "zlib"), "link"),))])
    async with running(door) as (echo, _), mesh.connect("echo", grid=mine) as peer:
        for number in ("1", "2"):
            async with null_modem(here, there):
                assert await peer.request(number, "a") == ["a", number]
                assert await peer.request("x" * 100_000, "large") == ["large", "x" * 100_000]
        assert echo._worker.balanced


def test_a_node_without_a_port_is_dialled_at_its_door() -> None:
    node = mesh.Node("echo", doors=(NodeDoor("tcp://localhost:9011", ("len32le",), "link"),))
    assert node.is_server
    assert node.link_uri == "tcp://localhost:9011"
    node.check("any")
    with pytest.raises(mesh.NotAServerError):
        node.uri()
    with pytest.raises(mesh.GridError, match="surrogate"):
        node.check("\ud800")
    with pytest.raises(mesh.NotAServerError):
        mesh.Node("quiet", doors=(NodeDoor("tcp://localhost:9011", ("line",)),)).check()


async def test_who_is_not_there_yet_is_waited_for_and_a_stop_says_goodbye(tmp_path: Path) -> None:
    door = f"{{url: 'unix://{tmp_path}/x.sock', speaks: link}}"
    grid = parse_grid(f"nodes:\n  echo:\n    sketch: echo\n    doors: [{door}]\n".encode())
    async with mesh.connect("echo", grid=grid) as peer:
        asking = asyncio.create_task(peer.request("1", "a"))
        done, _ = await asyncio.wait([asking], timeout=0.05)
        assert not done
        async with running(door) as (echo, _):
            assert await asking == ["a", "1"]
        assert echo._worker.balanced
        assert not (tmp_path / "x.sock").exists()
        async with running(door):
            assert await peer.request("2", "a") == ["a", "2"]


async def test_a_door_that_is_taken_is_told_and_nothing_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    (port,) = free_ports(1)
    doors = (
        f"{{url: 'tcp://localhost:{port}', speaks: link}}, {{url: 'unix://{tmp_path}/file', speaks: link}}"
    )
    with logged(), pytest.raises(ServeError, match="is no socket"):
        async with running(doors):
            pass
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_who_says_nothing_at_a_link_door_does_not_hold_up_the_end(tmp_path: Path) -> None:
    path = f"{tmp_path}/x.sock"
    async with running(f"{{url: 'unix://{path}', speaks: link}}"):
        reader, writer = await asyncio.open_unix_connection(path)
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
