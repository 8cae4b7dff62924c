"""The further doors of a worker: who comes in there, how many, and how they are drained and counted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import factory
import mesh
from mesh.node import NodeDoor
from mesh.protocol.books import CLIENTS
from mesh.streamdoor import StreamDoor
from mesh.transport.endpoints import dial
from tests.helpers.lines import say_async
from tests.helpers.log import Log
from tests.helpers.proc import DEADLINE
from tests.helpers.responder import RecordingResponder
from tests.helpers.sketch import Recorder, tell

pytestmark = pytest.mark.integration


def with_doors(*doors: NodeDoor, port: int | None = None) -> Recorder:
    node = mesh.Node("recorder", port=port, doors=doors)
    return Recorder.as_node(node, mesh.Grid([node]))


def addresses(sketch: factory.FactoryLoop) -> list[str]:
    return [door.address for door in sketch._worker._doors._streams]


async def test_a_door_of_the_grid_takes_lines_for_its_channel() -> None:
    sketch = with_doors(NodeDoor("tcp://localhost:0", ("line",), channel="light"))
    async with sketch.running():
        (address,) = addresses(sketch)
        assert await say_async(address, b"1\r\n0\r\n") == b"ok\r\nok\r\n"
        assert sketch.seen == [("light", "1"), ("light", "0")]
        with pytest.raises(mesh.NotAServerError):
            _ = sketch.serving  # no port, so no websocket
    assert sketch._worker.balanced


async def test_a_unix_socket_and_a_websocket_side_by_side(tmp_path: Path) -> None:
    sketch = with_doors(NodeDoor(f"unix://{tmp_path}/x.sock", ("line",)), port=0)
    async with sketch.running(port=0):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "x.sock"))
        writer.write(b"hello\n")
        assert await reader.readline() == b"ok\n"
        assert await tell(sketch.serving, ["hello"]) == ["ok"]
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("layers", [("len32le",), ("len32le", "zlib")])
async def test_layers_make_messages_of_what_comes(layers: tuple[str, ...]) -> None:
    sketch = with_doors(NodeDoor("tcp://localhost:0", layers))
    async with sketch.running():
        transport = await dial(addresses(sketch)[0], layers=layers)
        for text in (b"one\nline or two", b"", b"\xff"):
            await transport.send(text)
        async with asyncio.timeout(DEADLINE):
            assert [await transport.recv() for _ in range(3)] == [b"ok"] * 3
        assert [msg for _, msg in sketch.seen] == ["one\nline or two", "", b"\xff"]
        await transport.close()


async def test_what_came_in_at_each_door_is_in_one_ledger() -> None:
    sketch = with_doors(NodeDoor("tcp://localhost:0", ("line",)), NodeDoor("tcp://localhost:0", ("line",)))
    sketch.fail = "no"
    async with sketch.running(port=0):
        for address in addresses(sketch):
            await say_async(address, b"yes\nno\nyes")
        await tell(sketch.serving, ["yes"])
        books: Any = sketch._worker.books()
    line = books["peers"][CLIENTS]["received"][""]
    assert (line["received"], line["handled"], line["refused"]) == (5, 3, 2)
    assert line["balanced"]


async def test_one_client_too_many_is_told_so(tmp_path: Path) -> None:
    responder = RecordingResponder()
    door = StreamDoor(responder, max_clients=3, others=lambda: 1)
    await door.open("tcp://localhost:0")
    port = int(door.address.rpartition(":")[2])
    try:
        there = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await responder.opened.until(2)
        refusal = json.loads(await say_async(door.address, b"hello\n"))
        assert refusal["error"]["message"] == "there are 3 clients already, and no more are let in"
        assert door.turned_away == 1
        assert door.connections == 2
        _, first = there[0]
        first.close()
        await first.wait_closed()
        await responder.closed.until(1)
        assert await say_async(door.address, b"hello\n") == b"hello\n"
        there[1][1].close()
    finally:
        await door.close()


async def test_a_message_in_hand_is_answered_before_the_worker_ends() -> None:
    sketch = with_doors(NodeDoor("tcp://localhost:0", ("line",)))
    said: Log[bytes] = Log()
    async with sketch.running():
        sketch.gate.clear()
        port = int(addresses(sketch)[0].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"one\ntwo\n")
        await sketch.arrived.wait()
        sketch.stop()
        await asyncio.sleep(0)
        sketch.gate.set()
    said.add(await reader.read())
    assert list(said) == [b"ok\nok\n"]
    writer.close()
    assert sketch._worker.balanced


async def test_a_door_that_cannot_be_opened_is_told_in_a_sentence() -> None:
    async with with_doors(NodeDoor("tcp://localhost:0", ("line",))).running() as first:
        taken = with_doors(NodeDoor(addresses(first)[0], ("line",)))
        with pytest.raises(mesh.ServeError, match="Is the server already running"):
            async with taken.running():
                pass


async def test_a_client_can_be_told_what_it_did_not_ask_for() -> None:
    class Herald(factory.FactoryLoop):
        def on_client(self, client: factory.Client, state: str, reason: str) -> None:
            if state == "up":
                assert client.tell({"hear": "ye"})
            else:
                assert not client.tell("too late")
                self.stop()

        @factory.reactive
        async def loop(self, channel: str, msg: str) -> str:
            return msg

    node = mesh.Node("herald")
    herald = Herald.as_node(node, mesh.Grid([node]))
    herald.line_door = "tcp://localhost:0"
    async with herald.running():
        assert await say_async(herald.line_door, b"x\n") == b'{"hear":"ye"}\nx\n'
        await herald._worker.wait_stopped()
