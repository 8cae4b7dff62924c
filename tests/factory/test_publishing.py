"""Sketches that publish and subscribe, over real sockets in one process; and plain clients that do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

import factory
import mesh
from factory.errors import SketchError
from mesh.errors import GridError, UnknownNodeError
from mesh.feeds import BUFFER
from mesh.gridfile import parse_grid
from mesh.links.publishing import Publication
from mesh.node import Wire
from mesh.protocol.books import CLIENTS
from mesh.protocol.link.packing import CHUNK
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE
from tests.helpers.server import server
from tests.helpers.sketch import tell
from tests.helpers.sketch_bench import define, logged


class Blink(factory.FactoryLoop):
    """Publishes, and takes no messages."""

    publishes = ("tick",)

    def setup(self) -> None:
        self.lines: list[str] = []

    def out(self, text: object) -> None:
        self.lines.append(str(text))

    @factory.on_start
    async def begin_to_blink(self) -> None:
        """Be more than nothing."""


class Listener(factory.FactoryLoop):
    """Notes what it gets."""

    def setup(self) -> None:
        self.got: list[tuple[str, Any]] = []
        self.lines: list[str] = []
        self.changes: list[tuple[str, str]] = []

    def out(self, text: object) -> None:
        self.lines.append(str(text))

    def on_peer(self, name: str, state: str, reason: str) -> None:
        self.changes.append((name, state))


class Ear(Listener):
    """Subscribes by its class."""

    @factory.reactive("tick", source="blink")
    async def tick(self, channel, msg):  # type: ignore[no-untyped-def]
        if msg == "bad":
            raise ValueError("no such tick")
        self.got.append((channel, msg))
        return "this goes nowhere"


class Plain(Listener):
    """Subscribes because the grid says so."""

    @factory.reactive("tick")
    async def loop(self, channel, msg: dict[str, int]):  # type: ignore[no-untyped-def]
        self.got.append((channel, msg))

    @factory.reactive("other")
    def other(self, channel, msg):  # type: ignore[no-untyped-def]
        self.got.append((channel, msg))


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - lines, links and books tell nobody
            await asyncio.sleep(0.005)


def subscribers(blink: Blink) -> int:
    """Return how many have subscribed, says the publisher."""
    return sum(line.startswith("** ") and "subscribe" in line for line in blink.lines)


def sent(publication: Publication) -> int:
    """Return to how many a value went, without waiting."""
    return publication.reached


@asynccontextmanager
async def blinking() -> AsyncIterator[Blink]:
    """Run a publisher on a free port."""
    blink = Blink.as_node(mesh.Node("blink"), mesh.Grid())
    async with blink.running(port=0):
        yield blink


def ear_of(blink: factory.FactoryLoop, sketch: type[Any] = Ear, **options: Any) -> Any:
    """Return a subscriber that knows a publisher."""
    node = mesh.Node("blink", blink.serving.socket, blink.serving.port, aliases=("led",))
    return sketch.as_node(mesh.Node(sketch.__name__.lower(), **options), mesh.Grid([node]))


async def test_a_handler_with_a_source_gets_what_is_published() -> None:
    async with blinking() as blink, ear_of(blink).running() as ear:
        await until(lambda: subscribers(blink))
        assert blink.lines[1:] == ["** ear subscribed to 'tick'"]
        for value in ("a", "b", {"n": 1}, None, b"\x00"):
            assert await blink.publish("tick", value) == 1
        await until(lambda: len(ear.got) == 5)
        # As they come over a plain websocket, for the handler has no annotation.
        assert [msg for _, msg in ear.got] == ["a", "b", '{"n":1}', "null", b"\x00"]
        assert {channel for channel, _ in ear.got} == {"tick"}
        assert ear.lines == ["** subscribed to 'tick' of blink"]
        books = blink._worker.books()["peers"]["ear"]["published"]["tick"]  # type: ignore[index]
        await until(
            lambda: blink._worker.books()["peers"]["ear"]["published"]["tick"]["pending"] == 0  # type: ignore[index]
        )
        assert books["published"] == 5
        mine = ear._worker.books()["peers"]["blink"]["subscribed"]["tick"]
        assert mine == {"values": 5, "missed": 0, "restarts": 0, "balanced": True}
    assert blink._worker.balanced
    assert ear._worker.balanced


async def test_a_handler_that_raises_refuses_and_the_subscription_goes_on() -> None:
    with logged() as log:
        async with blinking() as blink, ear_of(blink).running() as ear:
            await until(lambda: subscribers(blink))
            for value in ("good", "bad", "good"):
                await blink.publish("tick", value)
            await until(lambda: len(ear.got) == 2)
            line = blink._worker.books()["peers"]["ear"]["published"]["tick"]  # type: ignore[index]
            await until(
                lambda: blink._worker.books()["peers"]["ear"]["published"]["tick"]["refused"] == 1  # type: ignore[index]
            )
            assert line["balanced"]
    assert log.having("handler tick() refused a message on channel 'tick'")


async def test_the_grid_wires_a_channel_to_the_handler_that_takes_it() -> None:
    wires = (Wire("tick", "blink", "latest"), Wire("other", "blink"))
    async with blinking() as blink, ear_of(blink, Plain, subscribes=wires).running(port=0) as plain:
        await until(lambda: subscribers(blink) == 2)
        await blink.publish("tick", {"n": 1})
        await until(lambda: plain.got)
        await blink.publish("other", 7)
        await until(lambda: len(plain.got) == 2)
        assert plain.got == [("tick", {"n": 1}), ("other", "7")]


async def test_a_source_without_a_port_dials_those_that_are_wired_to_it() -> None:
    port, _ = free_ports(2)
    grid = parse_grid(
        f"nodes:\n  blink: {{sketch: x}}\n  plain: {{port: {port}, subscribes: {{tick: blink}}}}".encode()
    )

    class Dark(factory.FactoryLoop):
        @factory.on_start
        async def begin(self) -> None:
            self.count = 0

    async with Plain.as_node(grid.node("plain"), grid).running() as plain:
        async with Dark.as_node(grid.node("blink"), grid).running() as dark:
            await until(lambda: sent(dark.publish("tick", {"n": 1})))
            await until(lambda: plain.got)
        await until(lambda: ("blink", "down") in plain.changes)
        async with Dark.as_node(grid.node("blink"), grid).running() as dark:
            before = len(plain.got)
            await until(lambda: sent(dark.publish("tick", {"n": 2})))
            await until(lambda: len(plain.got) > before)
    assert plain.lines[0] == f"serving on localhost:{port}"
    assert "** subscribed to 'tick' of blink" in plain.lines
    assert any(line.startswith("** subscribed to 'tick' of blink again") for line in plain.lines)


async def test_a_late_joiner_gets_the_kept_value() -> None:
    async with blinking() as blink:
        assert await blink.publish("tick", "kept", latch=True) == 0
        async with ear_of(blink).running() as ear:
            await until(lambda: ear.got)
            assert ear.got == [("tick", "kept")]


async def test_a_script_subscribes_and_leaves() -> None:
    async with blinking() as blink, mesh.connect(f"ws://localhost:{blink.serving.port}") as peer:
        values: list[Any] = []

        async def read() -> None:
            async for value in peer.subscribe("tick", policy="block", limit=10):
                values.append(value)
                if value == 4999:
                    return

        reading = asyncio.create_task(read())
        await until(lambda: subscribers(blink))
        for number in range(5000):
            await blink.publish("tick", number)
        await reading
        assert values == list(range(5000))
        await until(lambda: sent(blink.publish("tick", "nobody")) == 0)
        assert all(
            line["balanced"]
            for lines in peer.ledger().values()
            for channels in lines.values()
            for line in channels.values()
        )


async def test_a_script_with_a_name_publishes() -> None:
    (port,) = free_ports(1)
    grid = parse_grid(
        f"nodes:\n  sensor: {{sketch: x}}\n  plain: {{port: {port}, subscribes: {{other: sensor}}}}".encode()
    )
    async with (
        Plain.as_node(grid.node("plain"), grid).running() as plain,
        mesh.connect("plain", grid=grid, name="sensor") as peer,
    ):
        await until(lambda: sent(peer.publish("other", "21 degrees")))
        await until(lambda: plain.got)
        assert set(plain.got) == {("other", "21 degrees")}


async def test_a_source_that_speaks_no_link_is_an_error_for_a_script() -> None:
    async def nothing(connection: Any, message: Any) -> None: ...

    async with server(nothing) as there, mesh.connect(f"ws://localhost:{there.node.port}") as peer:
        with pytest.raises(mesh.DeliveryError, match="speaks no sketchmesh"):
            await anext(peer.subscribe("tick"))


async def test_that_a_plain_server_gets_nothing_published_is_said_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mesh.links.subscribing.RETRY", 0.01)
    dialled = 0

    async def plain(socket: ServerConnection) -> None:
        nonlocal dialled
        dialled += 1
        await socket.wait_closed()

    async with serve(plain, "localhost", 0) as there:
        node = mesh.Node("board", port=next(iter(there.sockets)).getsockname()[1])
        with logged() as log:
            async with mesh.connect(node, name="sensor") as peer:
                assert await peer.publish("tick", 1) == 0
                await until(lambda: dialled > 2)
                assert await peer.publish("tick", 2) == 0
        (line,) = log.having("board")
        assert line.startswith("warning: cannot publish to board: board at ws://localhost:")
        assert "speaks no sketchmesh.v1; send to a plain websocket server with stream() or request()" in line


# -- plain clients ---------------------------------------------------------------------------


@asynccontextmanager
async def subscribed(
    blink: Blink, query: str = "subscribe", channel: str = "tick"
) -> AsyncIterator[ClientConnection]:
    """Subscribe as any websocket client would."""
    count = subscribers(blink)
    uri = f"ws://localhost:{blink.serving.port}/{channel}?{query}"
    async with connect(uri, proxy=None, max_size=None) as client:
        await until(lambda: subscribers(blink) > count)
        yield client


def clients(blink: Blink, channel: str = "tick") -> dict[str, Any]:
    """Return the line of all plain clients."""
    return dict(blink._worker.books()["peers"][CLIENTS]["published"][channel])  # type: ignore[index]


async def test_a_plain_client_gets_one_message_for_each_value() -> None:
    async with blinking() as blink, subscribed(blink) as client:
        values = ["text", b"\x00\xff", 42, None, {"on": True}, "x" * 200, "y" * 100_000]
        for value in values:
            assert await blink.publish("tick", value) == 1
        got = [await client.recv() for _ in values]
        assert got == ["text", b"\x00\xff", "42", "n/a", '{"on":true}', "x" * 200, "y" * 100_000]
        assert clients(blink) == {
            "published": 7, "delivered": 7, "refused": 0, "dropped": {}, "pending": 0, "balanced": True,
        }  # fmt: skip


async def test_plain_clients_and_links_get_the_same() -> None:
    many = "subscribe&policy=drop_newest&limit=5000"
    async with blinking() as blink, ear_of(blink).running() as ear:
        await until(lambda: subscribers(blink))
        async with subscribed(blink, many) as one, subscribed(blink, many) as other:
            for number in range(3000):
                assert await blink.publish("tick", str(number)) == 3
                if number % 100 == 0:
                    await asyncio.sleep(0.001)
            expected = [str(number) for number in range(3000)]
            assert [await other.recv() for _ in range(3000)] == expected
            assert [await one.recv() for _ in range(3000)] == expected
            await until(lambda: ear.got and ear.got[-1] == ("tick", "2999"))


async def test_the_kept_value_comes_first_for_plain_clients_too() -> None:
    async with blinking() as blink:
        await blink.publish("tick", "kept", latch=True)
        async with subscribed(blink) as client:
            assert await client.recv() == "kept"


async def test_what_a_subscribed_client_sends_is_refused() -> None:
    async with blinking() as blink, subscribed(blink) as client:
        await client.send("hello")
        answer = json.loads(await client.recv())
        assert answer["error"]["type"] == "SubscribedError"
        assert "takes no messages" in answer["error"]["message"]
        await blink.publish("tick", "still here")
        assert await client.recv() == "still here"
        lines = blink._worker.books()["peers"][CLIENTS]  # type: ignore[index]
        assert lines["received"]["tick"]["refused"] == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("subscribe&policy=never", "policy must be block, drop_oldest"),
        ("subscribe&policy=block", "cannot make a publisher wait"),
        ("subscribe&limit=0", "limit must be a whole number from 1 to 65536"),
        ("subscribe&limit=many", "limit must be a whole number"),
        ("subscribe&limit=1&limit=2", "limit is there 2 times"),
        ("subscribe&polcy=latest", "no 'polcy'"),
    ],
)
async def test_a_query_that_makes_no_sense_is_answered_with_400(query: str, words: str) -> None:
    async with blinking() as blink:
        with pytest.raises(InvalidStatus) as caught:
            await connect(f"ws://localhost:{blink.serving.port}/tick?{query}", proxy=None)
        assert caught.value.response.status_code == 400
        assert words in (caught.value.response.body or b"").decode()


async def test_a_query_of_another_kind_is_of_no_account() -> None:
    class Echo(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel, msg):  # type: ignore[no-untyped-def]
            return msg

    async with Echo.as_node(mesh.Node("echo"), mesh.Grid()).running(port=0) as echo:
        uri = f"ws://localhost:{echo.serving.port}/x?unsubscribed=1&subscriber=2"
        async with connect(uri, proxy=None) as client:
            await client.send("hello")
            assert await client.recv() == "hello"


async def test_a_client_that_never_reads_slows_nobody_and_costs_little() -> None:
    async with blinking() as blink:
        idle = []
        for policy in ("drop_oldest", "drop_newest", "latest"):
            uri = f"ws://localhost:{blink.serving.port}/tick?subscribe&policy={policy}"
            client = await connect(uri, proxy=None, max_queue=1)
            client.transport.pause_reading()
            idle.append(client)
        async with subscribed(blink) as busy:
            value = "x" * 10_000
            for _ in range(300):
                for _ in range(10):
                    await blink.publish("tick", value)
                for _ in range(10):
                    assert await busy.recv() == value
            line = clients(blink)
            assert line["balanced"]
            assert set(line["dropped"]) == {"drop_oldest", "drop_newest", "latest"}
            assert line["pending"] < 2500
            for transport in [connection.transport for connection in blink._worker._doors.web._talks]:  # type: ignore[union-attr]
                # What came last may go beyond it, by a batch.
                assert transport.get_write_buffer_size() < BUFFER + CHUNK + 1000
        for client in idle:
            client.transport.abort()
            await client.wait_closed()
        await until(lambda: clients(blink)["pending"] == 0)
        assert clients(blink)["dropped"]["client gone"] > 0


async def test_a_client_that_reads_on_gets_what_waited() -> None:
    async with blinking() as blink, subscribed(blink) as client:
        client.transport.pause_reading()
        values = [f"{number:<10000}" for number in range(700)]
        for value in values:
            await blink.publish("tick", value)
        assert clients(blink)["pending"] > 0
        client.transport.resume_reading()
        assert [await client.recv() for _ in values] == values
        assert clients(blink)["delivered"] == 700


async def test_a_client_with_the_policy_error_is_cut_off() -> None:
    async with blinking() as blink, subscribed(blink, "subscribe&policy=error&limit=5") as client:
        for number in range(10):
            _ = blink.publish("tick", number)
        got = [await client.recv() for _ in range(5)]
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
        assert got == ["0", "1", "2", "3", "4"]
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1013
        assert "QueueFullError" in caught.value.rcvd.reason


async def test_a_worker_that_stops_lets_nobody_wait_for_room() -> None:
    class Pusher(factory.FactoryLoop):
        publishes = ("tick",)
        sent = 0

        @factory.every(1)
        async def push(self) -> None:
            while True:
                await self.publish("tick", "x")
                self.sent += 1
                if self._worker._stopping.is_set():
                    return

    pusher = Pusher.as_node(mesh.Node("blink"), mesh.Grid())
    async with pusher.running(port=0), mesh.connect(f"ws://localhost:{pusher.serving.port}") as peer:
        subscription = peer.subscribe("tick", policy="block", limit=3)
        assert await anext(subscription) == "x"
        await until(lambda: pusher.sent >= 5)
        stopping = asyncio.create_task(pusher._worker.finish())
        await asyncio.sleep(0.2)
        await subscription.aclose()
        async with asyncio.timeout(DEADLINE):
            await stopping
    assert pusher._worker.balanced


async def test_asking_for_the_books_shows_what_was_published() -> None:
    async with blinking() as blink, subscribed(blink) as client:
        await blink.publish("tick", 1)
        await client.recv()
        (reply,) = await tell(blink.serving, ["please"], "$ledger")
        assert isinstance(reply, str)
        peers = json.loads(reply)["peers"]
        assert peers[CLIENTS]["published"]["tick"]["delivered"] == 1


# -- mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            '@factory.reactive(source="blink")\n    async def f(self, c, m): ...',
            "a source publishes on one channel",
        ),
        (
            '@factory.reactive("p/{n:int}", source="blink")\n    async def f(self, c, m, n): ...',
            "a source publishes on one channel",
        ),
        (
            '@factory.reactive("t", source="")\n    async def f(self, c, m): ...',
            "source is the name of a node",
        ),
        (
            '@factory.reactive("t", source="b", policy="never")\n    async def f(self, c, m): ...',
            "policy must be",
        ),
        ('@factory.reactive("t", source="b", limit=0)\n    async def f(self, c, m): ...', "limit must be"),
        (
            '@factory.reactive("t", policy="latest")\n    async def f(self, c, m): ...',
            "which needs a source=",
        ),
        (
            '@factory.reactive("t", source="b")\n    async def f(self, c, m):\n        yield 1',
            "nobody asks a handler with a source for parts",
        ),
        ('publishes = ("$x",)\n    @factory.on_start\n    def f(self): ...', "names that begin with"),
    ],
)
def test_mistakes_in_a_class_are_found_at_once(source: str, words: str) -> None:
    with pytest.raises(SketchError, match=words):
        define(f"class S(factory.FactoryLoop):\n    {source}\n")


async def test_a_source_that_is_not_in_the_grid_is_named() -> None:
    ear = Ear.as_node(mesh.Node("ear"), mesh.Grid([mesh.Node("blnk", port=1)]))
    with pytest.raises(UnknownNodeError, match="did you mean 'blnk'"):
        await ear.arun()


async def test_a_channel_that_no_handler_takes_is_named_with_its_place() -> None:
    grid = parse_grid(b"nodes:\n  blink: {port: 1}\n  plain: {port: 2, subscribes: {tock: blink}}", "g.yaml")
    with pytest.raises(GridError, match=r"g.yaml:3:\d+: plain subscribes to channel 'tock' of blink"):
        await Plain.as_node(grid.node("plain"), grid).arun()


async def test_nobody_is_his_own_source() -> None:
    grid = mesh.Grid([mesh.Node("blink", port=1)])
    with pytest.raises(GridError, match="itself as its source"):
        await Ear.as_node(grid.node("blink"), grid).arun()


def test_what_cannot_be_published_is_refused_at_the_call() -> None:
    blink = Blink.as_node(mesh.Node("blink"), mesh.Grid())
    with pytest.raises(ValueError, match="reserved"):
        _ = blink.publish("$x", 1)
    with pytest.raises(mesh.PayloadError, match="object cannot be sent"):
        _ = blink.publish("x", object(), latch=True)


async def test_a_thread_is_told_that_it_cannot_publish() -> None:
    async with blinking() as blink:
        with pytest.raises(RuntimeError, match="belongs on the event loop"):
            await asyncio.to_thread(lambda: sent(blink.publish("tick", 1)))
