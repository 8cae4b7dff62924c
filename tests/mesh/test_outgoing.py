"""By which way a stream goes: over a link, or as plain websocket, and for how long that is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import factory
import mesh
from mesh import outgoing as outgoing_module
from mesh.protocol.books import MAX_NAME
from mesh.protocol.link import LinkSettings
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE
from tests.helpers.server import Behaviour, closes, drops, echoes, keeps_still, server
from tests.helpers.sketch_bench import made

pytestmark = pytest.mark.integration

ASKED = "/%24link"


class Echo(factory.FactoryLoop):
    @factory.reactive
    async def loop(self, channel: str, msg: Any) -> Any:
        return msg


class Other(Echo):
    pass


@pytest.fixture
async def worker() -> AsyncIterator[Echo]:
    worker = made(Echo)
    async with worker.running(port=0):
        yield worker


def sent(peer: mesh.Peer) -> dict[str, dict[str, Any]]:
    """Return what is not nothing of each peer in the books, whose lines all balance."""
    lines = {name: line for name, way in peer.ledger().items() for line in way["sent"].values()}
    assert all(line["balanced"] for line in lines.values())
    return {name: {key: value for key, value in line.items() if value} for name, line in lines.items()}


# -- names of channels ---------------------------------------------------------------------


async def test_a_channel_that_no_link_takes_is_told_before_anything_is_sent(worker: Echo) -> None:
    async with mesh.connect(worker.serving) as peer:
        assert await peer.stream(1, "x" * MAX_NAME) == [1]
        with pytest.raises(mesh.PayloadError, match=r"at most 255 characters, 'xxxx.* has 256;"):
            await peer.stream(1, "x" * (MAX_NAME + 1))
        assert [line["sent"] for line in sent(peer).values()] == [1]
        # A slash before it does not count.
        assert await peer.stream(1, "/" + "y" * MAX_NAME) == [1]
    async with made(Other).running(port=0) as other:
        with pytest.raises(ValueError, match="at most 255"):
            await other.stream(worker.serving, 1, "x" * 300)


async def test_a_plain_server_takes_any_name() -> None:
    async with server(echoes) as there, mesh.connect(there.node) as peer:
        assert await peer.stream("a", "x" * 300) == ["a"]


# -- plain, and for how long -----------------------------------------------------------------


async def test_a_plain_server_that_is_replaced_by_a_worker_becomes_a_link() -> None:
    (port,) = free_ports(1)
    node = mesh.Node("there", "127.0.0.1", port)
    async with mesh.connect(node) as peer:
        async with server(echoes, port=port) as there:
            assert await peer.stream(["a", "b"], "c") == ["a", "b"]
            assert await peer.stream("c", "c") == ["c"]
            assert there.paths == [ASKED, "/c"], "asked once"
        worker = made(Echo)
        async with worker.running("127.0.0.1", port):
            # The stream that finds the connection lost goes on as it was, the next one asks.
            assert await peer.stream("d", "c") == ["d"]
            assert await peer.stream("e", "c") == ["e"]
            assert sent(peer)["there"]["acked"] == 1
            assert sent(peer)["there (plain)"]["acked"] == 4


async def test_a_plain_server_that_refuses_is_asked_again() -> None:
    async with server(echoes, closes(1008, "no")) as there, mesh.connect(there.node) as peer:
        for _ in range(2):
            with pytest.raises(mesh.DeliveryError, match="1008 no"):
                await peer.stream("a", "c")
        assert there.paths == [ASKED, "/c"] * 2


@pytest.mark.parametrize("is_open", [True, False])
async def test_after_a_time_it_is_asked_again_unless_its_connection_holds(
    is_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing_module, "PLAIN_FOR", 0.0)
    async with server(echoes) as there, mesh.connect(there.node) as peer:
        await peer.stream("a", "c")
        await peer.stream("b", "c" if is_open else "d")
        assert there.paths == ([ASKED, "/c"] if is_open else [ASKED, "/c", ASKED, "/d"])


# -- options toward a plain server -------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "options", "error", "reason"),
    [
        (keeps_still, {"ack_timeout": 0.1}, mesh.AckTimeoutError, "ack timeout"),
        (drops, {"delivery": "at-most-once"}, mesh.OutcomeUnknownError, "connection lost"),
    ],
)
async def test_the_options_of_a_stream_are_heeded(
    behaviour: Behaviour, options: dict[str, Any], error: type[mesh.DeliveryError], reason: str
) -> None:
    async with (
        server(echoes, echoes, behaviour) as there,
        mesh.connect(there.node) as peer,
        asyncio.timeout(DEADLINE),
    ):
        assert await peer.stream("x", "other") == ["x"]
        with pytest.raises(error) as caught:
            await peer.stream(["a", "b"], "c", **options)
        assert caught.value.peer == "buzzer"
        assert [message for _, message in there.messages] == ["x", "a"]
        line = peer.ledger()["buzzer (plain)"]["sent"]["c"]
        assert (line["failed"], line["unknown"], line["balanced"]) == ({reason: 1}, 1, True)


async def test_acks_before_an_error_of_a_plain_server_are_kept() -> None:
    count = 0

    async def third_time_unlucky(connection: Any, message: Any) -> None:
        nonlocal count
        count += 1
        await (connection.send(message) if count < 3 else connection.close(1008, "enough"))

    async with server(echoes, third_time_unlucky) as there, mesh.connect(there.node) as peer:
        with pytest.raises(mesh.DeliveryError, match="enough") as caught:
            await peer.stream(["a", "b", "c"], "c")
        assert caught.value.acks == ["a", "b"]


async def test_a_stream_has_its_own_patience_toward_a_plain_server() -> None:
    class Sender(factory.FactoryLoop):
        patience = 60.0

        @factory.reactive
        async def loop(self, channel: str, msg: Any) -> Any:
            return msg

    async with made(Sender).running(port=0) as sender, server(echoes) as there, asyncio.timeout(DEADLINE):
        assert await sender.stream(there.node, "a", "c", quiet=True) == ["a"]
        there.server.close()
        await there.server.wait_closed()
        with pytest.raises(mesh.PeerDownError) as caught:
            await sender.stream(there.node, "b", "c", quiet=True, peer_timeout=0.1)
        assert 0.1 <= caught.value.waited < Sender.patience / 2


# -- requests ------------------------------------------------------------------------------------


async def test_a_request_to_a_plain_server_ends_in_time_even_behind_a_message_without_an_answer() -> None:
    async with (
        server(echoes, keeps_still) as there,
        mesh.connect(there.node) as peer,
        asyncio.timeout(DEADLINE),
    ):
        before = asyncio.ensure_future(peer.stream("never answered", "c"))
        await there.messages.until(1)
        with pytest.raises(mesh.AckTimeoutError) as caught:
            await peer.request("late", "c", timeout=0.1)
        assert caught.value.peer == "buzzer"
        assert [message for _, message in there.messages] == ["never answered"]
        before.cancel()
        await asyncio.gather(before, return_exceptions=True)


async def test_a_request_is_held_to_the_same_names_and_sizes_as_a_stream(worker: Echo) -> None:
    async with mesh.connect(worker.serving, patience=5.0) as peer:
        assert await peer.request("x", "y" * MAX_NAME) == "x"
        with pytest.raises(mesh.PayloadError, match="at most 255 characters"):
            await peer.request("x", "y" * (MAX_NAME + 1))
        with pytest.raises(mesh.FrameTooLargeError) as caught:
            await peer.request(b"x" * (17 * 1024 * 1024))
        assert caught.value.peer == worker.serving.name
        with pytest.raises(mesh.FrameTooLargeError) as asked:
            async for _ in peer.ask(b"x" * (17 * 1024 * 1024)):
                pass
        assert asked.value.peer == caught.value.peer
    async with server(echoes) as there, mesh.connect(there.node) as plain:
        assert await plain.request("x", "y" * 300) == "x"


async def test_a_request_that_never_had_a_place_says_that_it_was_not_sent() -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    class Held(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, msg: Any) -> Any:
            begun.set()
            await gate.wait()

    there = made(Held)
    async with there.running(port=0):
        settings = LinkSettings(window_messages=1)
        async with mesh.connect(there.serving, settings=settings) as peer:
            first = asyncio.ensure_future(peer.request("a"))
            await begun.wait()
            with pytest.raises(mesh.AckTimeoutError) as caught:
                await peer.request("b", timeout=0.1)
            assert not caught.value.transmitted
            gate.set()
            await first
