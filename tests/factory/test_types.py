"""Values keep their types on every way over a link into a handler with an annotation."""

from __future__ import annotations

import asyncio
import datetime
import math
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import factory
import mesh
from mesh.node import Wire
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch_bench import logged, made

VALUE: dict[Any, Any] = {
    "bytes": b"bytes",
    "infinite": math.inf,
    1: 2,
    "when": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "list": [1.0, 1, True, None, b"x"],
}


class Types(factory.FactoryLoop):
    """Keeps what its handlers got, and gives it back."""

    def setup(self) -> None:
        self.got: list[Any] = []
        self.arrived = asyncio.Event()

    @factory.reactive("dict")
    async def whole(self, channel: str, msg: dict[Any, Any]) -> Any:
        self.got.append(msg)
        self.arrived.set()
        return msg

    @factory.reactive("thread")
    def in_a_thread(self, channel: str, msg: dict[Any, Any]) -> Any:
        return msg

    @factory.reactive("captured/{word}")
    async def captured(self, channel: str, msg: Any, word: str) -> Any:
        return msg

    @factory.reactive("parts")
    async def parts(self, channel: str, msg: list[Any]) -> AsyncGenerator[Any, None]:
        for part in msg:
            yield part

    @factory.reactive("any")
    async def any(self, channel: str, msg: Any) -> Any:
        return msg

    @factory.reactive("mixed")
    async def mixed(self, channel: str, msg: float | str | None) -> Any:
        return msg

    @factory.reactive("int")
    async def number(self, channel: str, msg: int) -> Any:
        return msg

    @factory.reactive("text/{word}")
    async def text(self, channel, msg, word):  # type: ignore[no-untyped-def]
        return msg

    @factory.reactive("again")
    async def again(self, channel: str, msg: dict[Any, Any]) -> Any:
        self.got.append(msg)
        if len(self.got) < 2:
            raise factory.Nack("not yet", retry_in=0.001)
        return msg


@pytest.mark.parametrize("channel", ["dict", "thread", "captured/word", "any", "again"])
async def test_a_request_takes_its_value_there_as_it_is(channel: str) -> None:
    types = made(Types)
    async with types.running(port=0), mesh.connect(types.serving) as peer:
        answer = await peer.request(VALUE, channel)
        assert answer == VALUE
        assert [type(item) for item in answer["list"]] == [type(item) for item in VALUE["list"]]


async def test_so_do_asks_and_streams() -> None:
    types = made(Types)
    async with types.running(port=0), mesh.connect(types.serving) as peer:
        assert [part async for part in peer.ask([VALUE, b"x", None], "parts")] == [VALUE, b"x", None]
        assert [part async for part in peer.ask(VALUE, "dict")] == [VALUE]
        assert await peer.stream([VALUE, VALUE], "dict") == [VALUE, VALUE]


async def test_text_is_read_only_for_who_takes_no_text() -> None:
    types = made(Types)
    async with types.running(port=0), mesh.connect(types.serving) as peer:
        assert await peer.stream(["5", "null", 5, None], "mixed") == ["5", "null", 5, None]
        assert await peer.stream(["5", 5], "int") == [5, 5]
        # Without annotation it is what a plain websocket gives.
        assert await peer.stream(["5", 5, None], "text/x") == ["5", "5", "null"]
        with logged(), pytest.raises(mesh.NackedError, match="expected int, got float"):
            await peer.request(1.5, "int")


async def test_so_does_what_is_published() -> None:
    class Source(factory.FactoryLoop):
        publishes = ("dict",)

        @factory.reactive
        async def loop(self, channel: str, msg: Any) -> None:
            """Only for others to send to."""

    source = made(Source)
    async with source.running(port=0):
        await source.publish("dict", VALUE, latch=True)
        wire = Wire("dict", "source")
        types = Types.as_node(mesh.Node("types", subscribes=(wire,)), mesh.Grid([source.serving]))
        async with types.running(port=0):
            await asyncio.wait_for(types.arrived.wait(), DEADLINE)
        assert types.got == [VALUE]
