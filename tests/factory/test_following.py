"""A worker takes up another grid while it runs: moved peers, new ones, and what it subscribes to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import factory
import mesh
from mesh.node import Wire
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch import Recorder, Sender, as_node


class News(factory.FactoryLoop):
    """Publishes."""

    publishes = ("tick", "tock")

    @factory.on_start
    async def begin(self) -> None:
        """Be more than nothing."""


class Reader(Recorder):
    """Notes what it prints as well."""

    def setup(self) -> None:  # type: ignore[override]
        super().setup()
        self.lines: list[str] = []

    def out(self, text: object) -> None:
        self.lines.append(str(text))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - lines and links tell nobody
            await asyncio.sleep(0.01)


def links(sketch: factory.FactoryLoop) -> list[Any]:
    return [(link["peer"], link["where"], link["state"]) for link in sketch._worker.links()]


async def test_what_was_not_answered_goes_to_the_peer_where_it_is_now() -> None:
    async with Recorder().running(port=0) as old, Recorder().running(port=0) as new:
        sender = as_node(Sender, {"sink": old}, target="sink")
        async with sender.running(port=0):
            await sender.stream("sink", "one", quiet=True)
            old.gate.clear()
            old.arrived.clear()
            waiting = asyncio.ensure_future(sender.request("sink", "two"))
            await until(lambda: len(old.seen) == 2)
            grid = mesh.Grid([replace(new.serving, name="sink")])
            sender._worker.take_grid(grid)
            assert await waiting == "ok"
            await sender.stream("sink", "three", quiet=True)
            assert [message for _, message in new.seen] == ["two", "three"]
            assert sender.node("sink").port == new.serving.port
            assert isinstance(sender.target, mesh.Node)
            assert sender.target.port == new.serving.port
            assert links(sender) == [("sink", new.serving.uri(), "up")]
            old.gate.set()


async def test_who_is_where_it_was_keeps_its_link() -> None:
    async with Recorder().running(port=0) as sink, Recorder().running(port=0) as other:
        sender = as_node(Sender, {"sink": sink})
        async with sender.running(port=0):
            await sender.stream("sink", "one", quiet=True)
            (link,) = sender._worker.hub._links.values()
            session = link.core.session
            nodes = [replace(sink.serving, name="sink", aliases=("s",)), replace(other.serving, name="other")]
            sender._worker.take_grid(mesh.Grid(nodes))
            await sender.stream("s", "two", quiet=True)
            await sender.stream("other", "hello", quiet=True)
            assert sender._worker.hub.link("sink", sink.serving.uri()) is link
            assert link.core.session == session
            assert other.seen == [("", "hello")]


async def test_subscriptions_come_and_go_with_the_grid() -> None:
    news_at, me_at = free_ports(2)
    news = mesh.Node("news", port=news_at)
    me = mesh.Node("me", port=me_at, subscribes=(Wire("tick", "news"),))
    publisher = News.as_node(news, mesh.Grid([news, me]))
    reader = Reader.as_node(me, mesh.Grid([news, me]))
    async with publisher.running(), reader.running():
        await until(lambda: "** subscribed to 'tick' of news" in reader.lines)
        both = replace(me, subscribes=(Wire("tick", "news"), Wire("tock", "news")))
        reader._worker.take_grid(mesh.Grid([news, both]))
        await until(lambda: "** subscribed to 'tock' of news" in reader.lines)
        # The one that was there goes on as it was.
        assert reader.lines.count("** subscribed to 'tick' of news") == 1
        reader._worker.take_grid(mesh.Grid([news, replace(me, subscribes=(Wire("tock", "news"),))]))
        assert "** no longer subscribed to 'tick' of news" in reader.lines
        await publisher.publish("tick", 1)
        await publisher.publish("tock", 2)
        await until(lambda: reader.seen)
        assert reader.seen == [("tock", "2")]
        assert [wire["channel"] for wire in reader._worker.subscriptions()] == ["tock"]


async def test_a_publisher_that_moves_is_subscribed_to_where_it_is_now() -> None:
    before, after, me_at = free_ports(3)
    news = mesh.Node("news", port=before)
    me = mesh.Node("me", port=me_at, subscribes=(Wire("tick", "news"),))
    reader = Reader.as_node(me, mesh.Grid([news, me]))
    async with reader.running():
        async with News.as_node(news, mesh.Grid([news, me])).running():
            await until(lambda: "** subscribed to 'tick' of news" in reader.lines)
        moved = mesh.Node("news", port=after)
        reader._worker.take_grid(mesh.Grid([moved, me]))
        async with News.as_node(moved, mesh.Grid([moved, me])).running() as publisher:
            await until(
                lambda: any(line.startswith("** subscribed to 'tick' of news again") for line in reader.lines)
            )
            await publisher.publish("tick", 1)
            await until(lambda: reader.seen)


async def test_wires_that_no_handler_takes_leave_the_others_as_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Narrow(factory.FactoryLoop):
        @factory.reactive("tick")
        async def tick(self, channel: str, msg: object) -> None:
            """Take ticks."""

    news_at, me_at = free_ports(2)
    news = mesh.Node("news", port=news_at)
    me = mesh.Node("me", port=me_at, subscribes=(Wire("tick", "news"),))
    narrow = Narrow.as_node(me, mesh.Grid([news, me]))
    async with narrow.running():
        other = mesh.Node("other", port=news_at + 1)
        narrow._worker.take_grid(mesh.Grid([news, other, replace(me, subscribes=(Wire("tock", "news"),))]))
        assert "what me subscribes to stays as it was" in caplog.text
        assert narrow.node("other") == other
        assert [wire["channel"] for wire in narrow._worker.subscriptions()] == ["tick"]


async def test_a_node_that_the_new_grid_does_not_have_goes_on(tmp_path: Path) -> None:
    sender = as_node(Sender, {"sink": mesh.Node("sink", port=1)})
    async with sender.running(port=0):
        sender._worker.take_grid(mesh.Grid([mesh.Node("other", port=2)]))
        assert sender.name == "sender"
        assert [node.name for node in sender.grid] == ["other"]
