"""Requests, asks and gathering between sketches: what handlers give, and what askers get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

import factory
import mesh
from factory.worker import DRAIN
from mesh import gathering
from mesh.dialling import NotALinkError
from mesh.protocol.link import LinkSettings
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch_bench import in_no_time, logged, made


class Archive(factory.FactoryLoop):
    """Gives what it has in parts, and answers in one piece as well."""

    def setup(self) -> None:
        self.closed: list[str] = []
        self.over = asyncio.Event()
        self.entered, self.gate = asyncio.Event(), asyncio.Event()
        self.inside = 0

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        if msg == "bad":
            raise ValueError("is bad")
        return f"{channel}: {msg}"

    @factory.reactive("count/{step:int}")
    async def count(self, channel: str, most: int, step: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(0, most, step):
                yield number
            if most == 13:
                raise ValueError("unlucky")
        finally:
            self.closed.append(channel)

    @factory.reactive("raw")
    async def raw(self, channel, msg):  # type: ignore[no-untyped-def]
        yield msg

    @factory.reactive("alone", exclusive=True)
    async def alone(self, channel: str, msg: int) -> AsyncGenerator[int, None]:
        self.inside += 1
        for number in range(msg):
            await asyncio.sleep(0)
            yield number * self.inside
        self.inside -= 1

    @factory.reactive("forever")
    async def forever(self, channel: str, msg: str) -> AsyncGenerator[int, None]:
        number = 0
        try:
            while True:
                await asyncio.sleep(0.001)
                yield number
                number += 1
        finally:
            self.closed.append(channel)
            self.over.set()
            if msg == "raise":
                raise ValueError("at the end")

    @factory.reactive("exit")
    async def exit(self, channel: str, msg: str) -> AsyncGenerator[int, None]:
        yield 1
        raise SystemExit(3)

    @factory.reactive("again")
    async def again(self, channel: str, msg: str) -> int:
        self.inside += 1
        if self.inside < 3:
            raise factory.Nack("soon", retry_in=0.0)
        return self.inside

    @factory.reactive("held")
    async def held(self, channel: str, msg: str) -> str:
        self.entered.set()
        await self.gate.wait()
        return self.name

    @factory.reactive("slow")
    async def slow(self, channel: str, seconds: float) -> str:
        await asyncio.sleep(seconds)
        return self.name


class Asker(factory.FactoryLoop):
    """Asks; it has no handler."""

    @factory.on_start
    def begin(self) -> None:
        pass


@asynccontextmanager
async def asking() -> AsyncIterator[tuple[Asker, Archive]]:
    """Run an archive, and who asks it as ``archive``."""
    archive = made(Archive)
    async with archive.running(port=0):
        asker = made(Asker, archive.serving)
        async with asker.running():
            yield asker, archive


async def whole(ask: mesh.Ask) -> list[Any]:
    return [part async for part in ask]


# -- ask


@pytest.mark.source("B31")
async def test_b31_parts_of_a_generator() -> None:
    async with asking() as (asker, archive):
        assert await whole(asker.ask("archive", 7, "count/2")) == [0, 2, 4, 6]
        assert await whole(asker.ask("archive", {"a": 1}, "raw")) == ['{"a":1}']
        assert archive.closed == ["count/2"]


async def test_an_ordinary_handler_gives_one_part() -> None:
    async with asking() as (asker, _):
        assert await whole(asker.ask("archive", "x", "any")) == ["any: x"]
        assert await whole(asker.ask("archive", "x", "again")) == [3]
        (books,) = await whole(asker.ask("archive", "please", "$ledger"))
        assert books["node"] == "archive"
        with pytest.raises(mesh.NackedError, match="ValueError: is bad"):
            await whole(asker.ask("archive", "bad"))


async def test_refusals_of_asks() -> None:
    async with asking() as (asker, _):
        with pytest.raises(mesh.NackedError, match="PayloadError"):
            await whole(asker.ask("archive", "x", "count/2"))
        with pytest.raises(mesh.NackedError, match="UnknownChannelError"):
            await whole(asker.ask("archive", "x", "$nothing"))
        with pytest.raises(mesh.UnknownNodeError):
            asker.ask("archiv", 1)


async def test_an_error_after_parts() -> None:
    async with asking() as (asker, archive):
        parts = []
        with logged() as records, pytest.raises(mesh.NackedError, match="unlucky") as caught:  # noqa: PT012
            async for part in asker.ask("archive", 13, "count/5"):
                parts += [part]
        assert parts == [0, 5, 10]
        assert (caught.value.peer, caught.value.type) == ("archive", "ValueError")
        assert len(records.having("handler count() ended an ask on channel 'count/5': ValueError")) == 1
        assert archive.closed == ["count/5"]


async def test_a_sketch_that_exits_ends_its_ask_and_no_more() -> None:
    async with asking() as (asker, _):
        with logged(), pytest.raises(mesh.NackedError, match="SystemExit: 3"):
            await whole(asker.ask("archive", "x", "exit"))
        assert await asker.request("archive", "x") == ": x"


async def test_a_part_that_cannot_be_sent_is_named_by_its_own_type() -> None:
    class Parts(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, msg: str) -> AsyncGenerator[Any, None]:
            yield 1
            yield 2**70 if msg == "int" else object()

    parts = made(Parts)
    async with parts.running(port=0), mesh.connect(parts.serving, name="asker") as peer:
        for msg in ("int", "object"):
            with logged() as records, pytest.raises(mesh.NackedError) as caught:
                await whole(peer.ask(msg))
            assert caught.value.type == "PayloadError"
            assert caught.value.reason.startswith(f"a value of type {msg} cannot be sent (")
            assert records.having("a part of the answer for asker on channel '' could not be sent")
        for value in (object(), 2**70):
            with pytest.raises(
                mesh.PayloadError, match=f"a value of type {type(value).__name__} cannot be sent"
            ):
                await whole(peer.ask(value))


async def test_break_runs_finally() -> None:
    async with asking() as (asker, archive):
        async for part in asker.ask("archive", "x", "forever"):
            if part == 2:
                break
        await asyncio.wait_for(archive.over.wait(), DEADLINE)


async def test_what_finally_raises_is_told() -> None:
    async with asking() as (asker, archive):
        with logged() as records:
            async with asker.ask("archive", "raise", "forever") as ask:
                assert await anext(ask) == 0
        assert archive.closed == ["forever"]
        assert records.having("ValueError: at the end")


async def test_exclusive_generators_take_turns() -> None:
    async with asking() as (asker, _):
        parts = await asyncio.gather(*(whole(asker.ask("archive", 4, "alone")) for _ in range(5)))
        assert parts == [[0, 1, 2, 3]] * 5


async def test_a_generator_wants_to_be_asked() -> None:
    async with asking() as (asker, archive):
        needed = r"AskNeededError: count\(\) of archive .* ask\(\)"
        with pytest.raises(mesh.NackedError, match=needed):
            await asker.request("archive", 1, "count/1")
        with pytest.raises(mesh.NackedError, match=needed):
            await asker.stream("archive", 1, "count/1", quiet=True)
        async with archive.serving.connection("count/1") as socket:
            await socket.send("1")
            assert "AskNeededError" in str(await socket.recv())
        assert archive.closed == []


async def test_asks_end_with_the_worker_in_time() -> None:
    async with asking() as (asker, archive):
        ask = asker.ask("archive", "x", "forever")
        assert await anext(ask) == 0
        begin = asyncio.get_running_loop().time()
        stopping = asyncio.ensure_future(archive._worker.finish())
        with pytest.raises(mesh.NackedError, match="WorkerStoppingError"):
            await whole(ask)
        await stopping
        assert asyncio.get_running_loop().time() - begin < DRAIN, "it was not waited for"
        assert archive.closed == ["forever"]


async def test_the_asker_stops_in_the_midst() -> None:
    async with asking() as (asker, archive):
        ask = asker.ask("archive", "x", "forever")
        assert await anext(ask) == 0
        await asker._worker.finish()
        with pytest.raises(mesh.DeliveryError):
            await whole(ask)
        await asyncio.wait_for(archive.over.wait(), DEADLINE)


# -- request


@pytest.mark.source("B31")
async def test_b31_a_request_keeps_the_type_of_its_answer() -> None:
    async with asking() as (asker, archive):
        assert await asker.request("archive", "x", "any/channel") == "any/channel: x"
        assert await asker.request(archive.serving, "x") == ": x"
        assert (await asker.request("archive", "x", "$ledger"))["node"] == "archive"
        with logged(), pytest.raises(mesh.NackedError, match="is bad") as caught:
            await asker.request("archive", "bad")
        error = caught.value
        assert (error.peer, error.type, error.reason) == ("archive", "ValueError", "is bad")


async def test_a_list_is_one_message_of_a_request() -> None:
    class Lists(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, msg: list[int]) -> list[int]:
            return msg[::-1]

    lists = made(Lists)
    async with lists.running(port=0), mesh.connect(lists.serving) as peer:
        assert await peer.request([1, 2, 3]) == [3, 2, 1]


async def test_a_request_has_a_timeout() -> None:
    async with asking() as (asker, _):
        assert await asker.request("archive", 0.0, "slow") == "archive"  # the link is up
        with pytest.raises(mesh.AckTimeoutError):
            await asker.request("archive", 2.0, "slow", timeout=0.05)
        for wrong in (0, -1):
            with pytest.raises(ValueError, match="timeout must be above 0"):
                await asker.request("archive", 1, timeout=wrong)


async def test_a_request_to_who_is_absent_waits_no_longer_than_its_timeout() -> None:
    asker = made(Asker, mesh.Node("nobody", port=1))
    async with asker.running():
        begin = asyncio.get_running_loop().time()
        with pytest.raises(mesh.PeerDownError):
            await asker.request("nobody", 1, timeout=0.2)
        assert asyncio.get_running_loop().time() - begin < 5.0


async def test_a_cancelled_request_is_in_the_books() -> None:
    async with asking() as (asker, archive):
        task = asyncio.ensure_future(asker.request(archive.serving, "x", "held"))
        await archive.entered.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        archive.gate.set()
        assert await asker.request("archive", "x", "held") == "archive"
        line = asker._worker._books()["archive"]["sent"]["held"]
        assert (line["sent"], line["cancelled"], line["acked"], line["late_acked"]) == (2, 1, 1, 1)


async def test_requests_wait_for_room() -> None:
    async with asking() as (_, archive):
        settings = LinkSettings(window_messages=2)
        async with mesh.connect(archive.serving, settings=settings) as peer:
            answers = await asyncio.gather(*(peer.request(f"{n}", "c") for n in range(20)))
            assert sorted(answers) == sorted(f"c: {n}" for n in range(20))
            with pytest.raises(mesh.AckTimeoutError):
                await asyncio.gather(*(peer.request(1.0, "slow", timeout=0.1) for _ in range(4)))


async def test_a_request_that_cannot_be_sent() -> None:
    async with asking() as (asker, _):
        with pytest.raises(mesh.PayloadError):
            await asker.request("archive", object())


# -- plain websocket servers


@asynccontextmanager
async def plain(answer: str = "pong") -> AsyncIterator[mesh.Node]:
    async def handle(socket: ServerConnection) -> None:
        async for message in socket:
            if message == "late":
                await asyncio.sleep(1.0)
            await socket.send(answer)

    async with serve(handle, "localhost", 0) as server:
        yield mesh.Node("plain", "localhost", next(iter(server.sockets)).getsockname()[1])


async def test_a_plain_server_answers_requests() -> None:
    async with plain() as node, mesh.connect(node) as peer:
        assert await peer.request("ping", "c") == "pong"
        with pytest.raises(mesh.AckTimeoutError):
            await peer.request("late", "c", timeout=0.05)
    async with (
        plain('{"error": {"type": "ValueError", "message": "no"}}') as node,
        mesh.connect(node) as peer,
    ):
        with pytest.raises(mesh.NackedError, match="ValueError: no"):
            await peer.request("ping", "c")


async def test_a_plain_server_cannot_be_asked() -> None:
    async with plain() as node, mesh.connect(node) as peer:
        with pytest.raises(NotALinkError, match=r"plain websocket server.*request\(\) or stream\(\)"):
            await whole(peer.ask("ping"))


# -- gather


@asynccontextmanager
async def several(*names: str) -> AsyncIterator[tuple[Asker, list[mesh.Node]]]:
    """Run archives of those names, and who knows them, as the group ``all``, with a node that is absent."""
    async with AsyncExitStack() as stack:
        nodes = []
        for name in names:
            archive = Archive.as_node(mesh.Node(name), mesh.Grid())
            await stack.enter_async_context(archive.running(port=0))
            nodes.append(archive.serving)
        group = mesh.Group("all", (*names, "asker"))
        known = [*nodes, mesh.Node("absent", port=1), mesh.Node("asker"), mesh.Node("deaf")]
        asker = Asker.as_node(mesh.Node("asker"), mesh.Grid(known, groups={"all": group}))
        await stack.enter_async_context(asker.running())
        yield asker, nodes


@pytest.mark.source("B31")
async def test_b31_gather_from_a_group_and_from_names() -> None:
    async with several("a", "b", "c") as (asker, nodes):
        answers = await asker.gather("all", "x", "ch")
        assert dict(answers) == {"a": "ch: x", "b": "ch: x", "c": "ch: x"}
        assert (answers.errors, answers.missing) == ({}, ())
        assert list(await asker.gather(["c", nodes[0], "a"], "x")) == ["c", "a"]
        assert dict(await asker.gather("b", "x")) == {"b": ": x"}
        assert dict(await asker.gather(nodes[0], "x")) == {"a": ": x"}
        assert "missing=()" in repr(answers)


async def test_gather_stops_at_a_count() -> None:
    async with several("a", "b", "c") as (asker, nodes):
        await asker.gather([node.name for node in nodes], "the links are up from here on")
        slow = Slow({"a": 0.0, "b": 2.5, "c": 0.0})
        answers = await gathering.gather(nodes, slow(asker), count=2, deadline=None, stall=None)
        assert dict(answers) == {"a": "a", "c": "c"}
        assert answers.missing == ("b",)
        line = asker._worker._books()["b"]["sent"]["slow"]
        assert line["cancelled"] == 1


class Slow:
    """Requests that take as long as is said for each node."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds

    def __call__(self, asker: Asker) -> Any:
        return lambda node: asker.request(node, self.seconds[node.name], "slow")


async def test_gather_stops_at_a_deadline() -> None:
    async with several("a", "b") as (asker, _):
        begin = asyncio.get_running_loop().time()
        answers = await asker.gather(["a", "b"], 2.5, "slow", deadline=0.1)
        assert (dict(answers), answers.missing) == ({}, ("a", "b"))
        assert asyncio.get_running_loop().time() - begin < 2.0


def test_gather_stops_when_nothing_comes() -> None:
    takes = {"a": 0.0, "b": 0.5, "c": 1.2}

    async def main() -> mesh.Gathered:
        nodes = [mesh.Node(name, port=1) for name in takes]

        async def request(node: mesh.Node) -> str:
            return await asyncio.sleep(takes[node.name], node.name)

        return await gathering.gather(nodes, request, count=None, deadline=None, stall=0.6)

    answers = in_no_time(main)
    assert (dict(answers), answers.missing) == ({"a": "a", "b": "b"}, ("c",))


async def test_gather_accounts_for_everybody() -> None:
    async with several("a", "b") as (asker, _):
        with logged():
            answers = await asker.gather(["a", "b", "absent", "deaf"], "bad", deadline=2.0)
        assert dict(answers) == {}
        assert {name: type(error) for name, error in answers.errors.items()} == {
            "a": mesh.NackedError,
            "b": mesh.NackedError,
            "deaf": mesh.NotAServerError,
        }
        assert answers.missing == ("absent",)


async def test_mistakes_are_told_before_anything_is_sent() -> None:
    async with several("a", "b") as (asker, nodes):
        with pytest.raises(mesh.UnknownNodeError, match=r"unknown node 'al'.*; its groups are 'all'"):
            await asker.gather("al", "x")
        with pytest.raises(mesh.UnknownNodeError):
            await asker.gather(["a", "nobody"], "x")
        with pytest.raises(mesh.GridError, match="nobody to gather"):
            await asker.gather([], "x")
        with pytest.raises(mesh.GridError, match="two of the nodes are called 'a'"):
            await asker.gather([nodes[0], mesh.Node("a", port=1)], "x")
        with pytest.raises(TypeError, match="not 5"):
            await asker.gather([5], "x")  # type: ignore[list-item]
        for limits in ({"count": 0}, {"count": 3}, {"deadline": 0}, {"stall": -1}):
            with pytest.raises(ValueError, match="must be"):
                await asker.gather("all", "x", **limits)  # type: ignore[arg-type]
        with pytest.raises(mesh.PayloadError):
            await asker.gather("all", object())
        lines = [line for peer in asker._worker._books().values() for line in peer["sent"].values()]
        assert all(line["sent"] == 0 for line in lines)


async def test_a_script_gathers() -> None:
    async with several("a", "b") as (asker, nodes):
        assert dict(await mesh.gather("all", "x", grid=asker.grid, deadline=5)) == {"a": ": x", "b": ": x"}
        uris = [f"ws://localhost:{node.port}" for node in nodes]
        assert list(await mesh.gather(uris, "x")) == [uri.removeprefix("ws://") for uri in uris]
        assert list(await mesh.gather(uris[0], "x")) == [uris[0].removeprefix("ws://")]
        assert list(await mesh.gather(nodes[0], "x")) == ["a"]
