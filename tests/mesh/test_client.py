"""``mesh.connect``: by name, URI and node, over a link or to a plain websocket server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

import factory
import mesh
from mesh import client as client_module
from mesh.protocol.link import LinkSettings
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch_bench import made


class Echo(factory.FactoryLoop):
    @factory.reactive("echo")
    async def echo(self, channel: str, msg: Any) -> Any:
        if msg == "bad":
            raise ValueError("is bad")
        return msg

    @factory.reactive("never")
    async def never(self, channel: str, msg: Any) -> Any:
        await asyncio.Event().wait()


@pytest.fixture
async def worker() -> AsyncIterator[Echo]:
    worker = made(Echo)
    async with worker.running(port=0):
        yield worker


async def test_by_node_uri_name_and_alias(worker: Echo, tmp_path: Any) -> None:
    node = worker.serving
    named = mesh.Node("echo", node.host, node.port, aliases=("e",))
    file = tmp_path / "grid.yaml"
    file.write_text(f"nodes:\n  - name: echo\n    socket: {node.host}\n    port: {node.port}\n")
    for target, grid in (
        (node, None),
        (f"ws://{node.host}:{node.port}", None),
        (f"ws://{node.host}:{node.port}/", None),
        ("echo", mesh.Grid([named])),
        ("e", mesh.Grid([named])),
    ):
        async with mesh.connect(target, grid=grid) as peer:
            assert await peer.stream(["a", "b"], "echo") == ["a", "b"]
            assert [ack async for ack in peer.stream(range(3), "echo")] == [0, 1, 2]
            (line,) = [lines["sent"]["echo"] for lines in peer.ledger().values()]
            assert line["acked"] == 5
            assert line["balanced"]


async def test_of_a_peer_that_hangs_it_is_said_that_it_does_not_answer() -> None:
    # As a frozen process: the system takes the connection, and that is all.
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        async with mesh.connect(f"ws://127.0.0.1:{frozen.getsockname()[1]}", patience=0.2) as peer:
            with pytest.raises(mesh.PeerDownError) as caught:
                await peer.request("x")
    assert caught.value.why == "it does not answer"


async def test_options_and_refusals(worker: Echo) -> None:
    async with mesh.connect(worker.serving) as peer:
        with pytest.raises(mesh.NackedError, match="is bad") as caught:
            await peer.stream(["good", "bad", "more"], "echo")
        assert caught.value.acks == ["good"]
        answers = await peer.stream(["bad", "good"], "echo", on_nack="yield", window=1)
        assert isinstance(answers[0], mesh.NackedError)
        assert answers[1] == "good"
        with pytest.raises(mesh.NackedError, match="no handler takes channel"):
            await peer.stream(1, "nowhere")
        with pytest.raises(ValueError, match="delivery must be"):
            _ = peer.stream(1, delivery="exactly-once")
        with pytest.raises(mesh.PayloadError):
            await peer.stream(object(), "echo")
        assert await peer.stream("still", "echo", delivery="at-most-once") == ["still"]


async def test_an_ack_timeout_and_a_cancelled_stream(worker: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "GOODBYE", 0.05)
    async with mesh.connect(worker.serving, settings=LinkSettings(heartbeat=0.1)) as peer:
        with pytest.raises(mesh.AckTimeoutError):
            await peer.stream(1, "never", ack_timeout=0.05)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await peer.stream([1, 2], "never")
        assert await peer.stream("x", "echo") == ["x"]


async def test_a_script_says_goodbye(worker: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    async with mesh.connect(worker.serving) as peer:
        await peer.stream("x", "echo")
    shown = ""
    async with asyncio.timeout(DEADLINE):
        while "the peer closed it (1000 the link was closed)" not in shown:
            await asyncio.sleep(0.001)
            shown += capsys.readouterr().out


async def test_a_plain_websocket_server_gets_plain_messages() -> None:
    paths = []

    async def plain(connection: ServerConnection) -> None:
        assert connection.request is not None
        paths.append(connection.request.path)
        async for message in connection:
            await connection.send(f"ack {message!r}")

    async with serve(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with mesh.connect(f"ws://127.0.0.1:{port}", patience=3.0) as peer:
            assert await peer.stream(["a", 1, b"x"], "some/channel") == ["ack 'a'", "ack '1'", "ack b'x'"]
            assert await peer.stream("b", "some/channel") == ["ack 'b'"]
    assert paths.count("/some/channel") == 1
    assert len(paths) == 2, "asked once whether it speaks our protocol, and not again"


async def test_an_absent_node_is_awaited_for_the_patience(unused_tcp: int) -> None:
    async with mesh.connect(f"ws://127.0.0.1:{unused_tcp}", patience=0.2) as peer:
        with pytest.raises(mesh.PeerDownError, match="nobody listens there"):
            await peer.stream("x")


@pytest.fixture
async def unused_tcp() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ("http://localhost:1", mesh.GridError, "write ws://HOST:PORT"),
        ("ws://localhost:1/channel", mesh.GridError, "the channel apart"),
        ("ws://:1", mesh.GridError, "no address"),
        ("ws://localhost:99999", mesh.GridError, "no address"),
        ("ech", mesh.UnknownNodeError, "did you mean 'echo'"),
        ("client", mesh.NotAServerError, "client"),
    ],
)
async def test_a_wrong_target_is_told_at_once(target: str, error: type[Exception], words: str) -> None:
    grid = mesh.Grid([mesh.Node("echo", "localhost", 1), mesh.Node("client")])
    with pytest.raises(error, match=words):
        async with mesh.connect(target, grid=grid):
            raise AssertionError("never reached")


async def test_a_script_takes_no_messages(worker: Echo) -> None:
    handler = client_module._NoSketch()
    handle, *_ = handler.opened("b", "c")
    with pytest.raises(LookupError, match="takes no messages") as caught:
        await handle("c", 1)
    assert (await handler.recover("b", "c", 1, caught.value)).type == "LookupError"
    async with mesh.connect(worker.serving) as peer:
        assert await peer.stream("x", "echo") == ["x"]
