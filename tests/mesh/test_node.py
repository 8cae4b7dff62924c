"""A node knows its address and how to dial it."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle
import subprocess
import sys
import urllib.parse
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from mesh.errors import GridError, NotAServerError
from mesh.node import MAX_MESSAGE, Node, is_loopback


def test_b11_making_a_node_registers_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mesh.node"):
        node = Node("buzzer", "localhost", 8766)
    assert caplog.record_tuples == [("mesh.node", logging.INFO, "registering new node: buzzer")]
    assert (node.name, node.socket, node.host, node.port) == ("buzzer", "localhost", "localhost", 8766)


def test_a_name_in_the_log_cannot_control_a_terminal(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mesh.node"):
        Node("a\x1b[2J\nb")
    assert caplog.messages == ["registering new node: a\\x1b[2J\\x0ab"]


@pytest.mark.parametrize(
    ("node", "path", "uri"),
    [
        (Node("a", port=8766), "", "ws://localhost:8766/"),
        (Node("a", port=8766), "/", "ws://localhost:8766/"),
        (Node("a", port=8766), "any/channel", "ws://localhost:8766/any/channel"),
        (Node("a", port=8766), "/any/channel", "ws://localhost:8766/any/channel"),
        (Node("a", port=8766), "//any", "ws://localhost:8766//any"),
        (Node("a", port=8766), "pin/5?x=1#y", "ws://localhost:8766/pin/5%3Fx%3D1%23y"),
        (Node("a", port=8766), "50%", "ws://localhost:8766/50%25"),
        (Node("a", port=8766), "a b/ä", "ws://localhost:8766/a%20b/%C3%A4"),
        (Node("a", "::1", 8766), "x", "ws://[::1]:8766/x"),
        (Node("a", "[::1]", 8766), "x", "ws://[::1]:8766/x"),
        (Node("a", "fe80::1%eth0", 8766), "", "ws://[fe80::1%25eth0]:8766/"),
        (Node("a", "pi.local", 443, tls=True), "x", "wss://pi.local:443/x"),
        (Node("a", "::1", 443, tls=True), "", "wss://[::1]:443/"),
    ],
)
def test_b12_uri(node: Node, path: str, uri: str) -> None:
    assert node.uri(path) == uri


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_b12_every_channel_comes_back_from_its_uri(channel: str) -> None:
    uri = urllib.parse.urlsplit(Node("a", port=1).uri("/" + channel))
    assert urllib.parse.unquote(uri.path.removeprefix("/"), errors="strict") == channel
    assert (uri.query, uri.fragment, uri.netloc) == ("", "", "localhost:1")


def test_half_a_character_is_no_channel() -> None:
    with pytest.raises(GridError, match="lone surrogate"):
        Node("a", port=1).uri("\ud800")


@pytest.mark.parametrize("port", [None, 0])
def test_b14_a_node_without_a_port_cannot_be_dialled(port: int | None) -> None:
    clock = Node("clock", "localhost", port)
    assert not clock.is_server
    with pytest.raises(NotAServerError, match="node 'clock' has no port") as caught:
        clock.uri("")
    assert caught.value.name == "clock"
    with pytest.raises(NotAServerError):
        clock.connection()  # type: ignore[unused-awaitable]


async def test_b13_connection_enters_the_channel() -> None:
    async def echo(connection: ServerConnection) -> None:
        assert connection.request is not None
        async for message in connection:
            await connection.send(f"{connection.request.path} {message!r}")

    async with serve(echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with Node("echo", "127.0.0.1", port).connection("pin/5 ?") as ws:
            await ws.send("1")
            assert await ws.recv() == "/pin/5%20%3F '1'"
            assert ws.protocol.extensions == []


@pytest.mark.parametrize(
    ("node", "options", "expected"),
    [
        (Node("a", port=1), {}, {"proxy": None}),
        (Node("a", "127.0.0.7", 1), {}, {"proxy": None}),
        (Node("a", "pi.local", 1), {}, {"proxy": True}),
        (Node("a", port=1), {"proxy": "http://p:1"}, {"proxy": "http://p:1"}),
    ],
)
def test_b13_defaults_of_a_connection(node: Node, options: dict[str, Any], expected: dict[str, Any]) -> None:
    made = node.connection("x", **options)
    assert made.uri == node.uri("x")
    for name, value in expected.items():
        assert getattr(made, name) == value


def test_b13_a_zone_is_dialled_as_the_system_writes_it() -> None:
    made = Node("a", "fe80::1%eth0", 1).connection()
    assert made.create_connection_kwargs["host"] == "fe80::1%eth0"


async def test_b13_options_override_defaults() -> None:
    async def talk(connection: ServerConnection) -> None:
        await connection.send("x" * 100)
        await connection.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        node = Node("a", "127.0.0.1", next(iter(server.sockets)).getsockname()[1])
        async with node.connection() as ws:
            assert ws.protocol.max_message_size == MAX_MESSAGE
        async with node.connection(max_size=10, compression="deflate") as ws:
            assert ws.protocol.max_message_size == 10
            assert ws.protocol.extensions


def test_websockets_is_not_imported_before_it_is_needed() -> None:
    code = (
        "import sys; from mesh.node import Node; Node('a', port=1).uri(); "
        "sys.exit('websockets' in sys.modules)"
    )
    loader = "import importlib.util as u, sys, types; sys.modules['mesh'] = m = types.ModuleType('mesh'); "
    loader += "m.__path__ = ['mesh']; "  # without mesh/__init__.py, which may import what it likes
    assert subprocess.run([sys.executable, "-c", loader + code], check=False).returncode == 0


def test_a_node_is_immutable_and_may_be_shared() -> None:
    args = {"sound": "beep"}
    node = Node("a", args=args, aliases=("b",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        node.name = "b"  # type: ignore[misc]
    with pytest.raises(TypeError):
        node.args["sound"] = "x"  # type: ignore[index]
    args["sound"] = "changed"
    assert node.args == {"sound": "beep"}
    assert {node: 1}[Node("a", args={"sound": "beep"}, aliases=("b",))] == 1
    assert dataclasses.replace(node, port=5).args == {"sound": "beep"}


def test_a_node_can_be_copied_and_pickled() -> None:
    node = Node("a", args={"x": [1]}, peers=("b",), file="grid.yaml", marks={(): (1, 2)})
    for other in (copy.deepcopy(node), pickle.loads(pickle.dumps(node))):
        assert other == node
        assert other.where() == "grid.yaml:1:2"


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_is_from_0_to_65535(port: int) -> None:
    with pytest.raises(GridError, match=f"the port of node 'a' is {port}"):
        Node("a", port=port)


def test_a_node_has_a_name() -> None:
    with pytest.raises(GridError, match="needs a name"):
        Node("")


def test_where_falls_back_to_what_is_around() -> None:
    marks = {(): (3, 3), ("args",): (5, 5), ("args", "x"): (6, 9)}
    node = Node("a", file="grid.yaml", marks=marks)
    assert node.where("args", "x") == "grid.yaml:6:9"
    assert node.where("args", "x", "0", "deeper") == "grid.yaml:6:9"
    assert node.where("args", "y") == "grid.yaml:5:5"
    assert node.where("port") == node.where() == "grid.yaml:3:3"
    assert Node("a").where("port") == "node 'a'"


@pytest.mark.parametrize(
    ("host", "is_it"),
    [
        *(
            (host, True)
            for host in ("localhost", "LocalHost.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1")
        ),
        *((host, True) for host in ("[::1]", "::ffff:127.0.0.1", "0.0.0.0", "::")),
        *((host, False) for host in ("pi.local", "192.168.1.1", "fd00::1", "localhost.example.org", "")),
    ],
)
def test_is_loopback(host: str, is_it: bool) -> None:
    assert is_loopback(host) is is_it
