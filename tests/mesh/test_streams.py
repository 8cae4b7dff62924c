"""A stream: what is one item, what is many, what comes back, and what is closed when it ends early."""

from __future__ import annotations

import asyncio
import gc
from array import array
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

import factory
import mesh
from mesh import streams as stream_module
from mesh.errors import NackedError
from mesh.protocol.values import Refusal
from mesh.streams import Answers, OnNack, Parts, Stream, each, items_of
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch_bench import logged, made


class Peer:
    """Takes what a stream sends; refuses what it is told to, and says when it was asked."""

    def __init__(self, *refuses: object) -> None:
        self.refuses = refuses
        self.got: list[object] = []
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def send(self, item: object) -> object | Refusal:
        self.got.append(item)
        self.asked.set()
        await self.answers.wait()
        return Refusal("ValueError", f"no {item}") if item in self.refuses else f"ack {item}"

    def stream(self, data: object, on_nack: OnNack = "raise") -> Stream:
        async def start() -> Parts:
            return Given(self, each(items_of(data)))

        return Stream("peer", start, on_nack=on_nack)


class Given:
    """The answers to items, one by one."""

    def __init__(self, peer: Peer, items: AsyncGenerator[object, None]) -> None:
        self.peer = peer
        self.items = items

    async def next(self) -> Answers | None:
        async for item in self.items:
            answer = await self.peer.send(item)
            if isinstance(answer, Refusal):
                return NackedError("peer", answer.type, answer.message)
            return [answer]
        return None

    async def aclose(self) -> None:
        await self.items.aclose()


class Mode(Enum):
    ON = "on"


@dataclass
class Point:
    x: int = 1


class Shape(msgspec.Struct):
    name: str = "a"


@pytest.mark.source("B21", "B22")
@pytest.mark.parametrize(
    "item",
    [
        "text",
        "",
        b"bytes",
        bytearray(b"b"),
        memoryview(b"m"),
        0,
        1.5,
        True,
        None,
        1j,
        Decimal("1.5"),
        Fraction(1, 2),
        {"a": 1},
        {},
        MappingProxyType({"a": 1}),
        Mode.ON,
        Point(),
        Shape(),
        object(),
    ],
    ids=lambda item: type(item).__name__,
)
async def test_one_item_of_every_kind(item: object) -> None:
    peer = Peer()
    assert await peer.stream(item) == [f"ack {item}"]
    assert len(peer.got) == 1
    assert peer.got[0] is item


def generator() -> Iterator[int]:
    yield from (1, 2, 3)


async def async_generator() -> AsyncIterator[int]:
    for item in (1, 2, 3):
        await asyncio.sleep(0)
        yield item


class Sequence:
    """Iterable by the old way, which has no ``__iter__``, and by the new one."""

    def __iter__(self) -> Iterator[int]:
        return generator()


class AsyncIterable:
    def __aiter__(self) -> AsyncIterator[int]:
        return async_generator()


@pytest.mark.source("B21")
@pytest.mark.parametrize(
    "make",
    [
        lambda: [1, 2, 3],
        lambda: (1, 2, 3),
        lambda: range(1, 4),
        lambda: deque([1, 2, 3]),
        lambda: array("i", [1, 2, 3]),
        lambda: {1: "a", 2: "b", 3: "c"}.keys(),
        lambda: iter([1, 2, 3]),
        lambda: (number for number in (1, 2, 3)),
        lambda: map(int, "123"),
        generator,
        async_generator,
        Sequence,
        AsyncIterable,
    ],
)
async def test_many_items_one_ack_each_in_order(make: Any) -> None:
    peer = Peer()
    assert await peer.stream(make()) == ["ack 1", "ack 2", "ack 3"]
    assert peer.got == [1, 2, 3]
    acks = []
    async for ack in peer.stream(make()):
        acks.append(ack)
        assert len(peer.got) == 3 + len(acks), "each ack comes before the next item is sent"
    assert acks == ["ack 1", "ack 2", "ack 3"]


async def test_nothing_at_all_is_sent_of_what_is_empty() -> None:
    peer = Peer()
    assert await peer.stream([]) == []
    assert [ack async for ack in peer.stream(iter(()))] == []
    assert peer.got == []


async def test_items_within_items_are_not_taken_apart() -> None:
    peer = Peer()
    await peer.stream([[1, 2], "ab", {"a": 1}])
    assert peer.got == [[1, 2], "ab", {"a": 1}]


# -- refusals ----------------------------------------------------------------------------


async def test_a_refusal_raises_at_its_position_with_the_acks_before_it() -> None:
    peer = Peer(2)
    with pytest.raises(mesh.NackedError) as caught:
        await peer.stream([0, 1, 2, 3])
    assert caught.value.acks == ["ack 0", "ack 1"]
    assert (caught.value.peer, caught.value.type, caught.value.reason) == ("peer", "ValueError", "no 2")
    assert peer.got == [0, 1, 2], "nothing is sent after the refusal"


async def test_a_refusal_raises_while_iterating_too() -> None:
    peer = Peer(2)
    acks = []
    with pytest.raises(mesh.NackedError) as caught:  # noqa: PT012 - the loop is what raises
        async for ack in peer.stream(range(9)):
            acks.append(ack)  # noqa: PERF401 - a comprehension would keep none
    assert caught.value.acks == acks == ["ack 0", "ack 1"]


async def test_with_yield_the_error_stands_in_the_place_of_the_ack() -> None:
    peer = Peer(0, 2)
    first, one, second, three = await peer.stream(range(4), on_nack="yield")
    assert (one, three) == ("ack 1", "ack 3")
    for error, reason in ((first, "no 0"), (second, "no 2")):
        assert isinstance(error, mesh.NackedError)
        assert error.reason == reason
        assert error.acks == [], "they are in the list already; the error must not hold itself"
    kinds = [type(ack).__name__ async for ack in peer.stream(range(4), on_nack="yield")]
    assert kinds == ["NackedError", "str", "NackedError", "str"]


async def test_an_endless_stream_that_is_iterated_does_not_keep_every_ack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_module, "MOST_KEPT", 3)
    with pytest.raises(mesh.NackedError) as caught:
        async for _ in Peer(7).stream(range(9)):
            pass
    assert caught.value.acks == ["ack 4", "ack 5", "ack 6"]
    with pytest.raises(mesh.NackedError) as caught:
        await Peer(7).stream(range(9))
    assert len(caught.value.acks) == 7, "who awaits gets them all"


def test_on_nack_is_one_of_two_words() -> None:
    with pytest.raises(ValueError, match="on_nack must be 'raise' or 'yield', got 'ignore'"):
        _ = Peer().stream([1], on_nack="ignore")  # type: ignore[arg-type]
    # What is refused has nothing to warn of when it is thrown away.
    gc.collect()


# -- ends early --------------------------------------------------------------------------


class Source:
    """Generators that note whether they were closed."""

    def __init__(self) -> None:
        self.closed = 0

    def sync(self) -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            self.closed += 1

    async def other(self) -> AsyncIterator[int]:
        try:
            for item in range(100):
                yield item
        finally:
            await asyncio.sleep(0)
            self.closed += 1


@pytest.mark.parametrize("kind", ["sync", "other"])
async def test_the_source_is_closed_before_the_caller_meets_the_refusal(kind: str) -> None:
    source = Source()
    with pytest.raises(mesh.NackedError):
        await Peer(2).stream(getattr(source, kind)())
    assert source.closed == 1
    with pytest.raises(mesh.NackedError):
        async for _ in Peer(2).stream(getattr(source, kind)()):
            pass
    assert source.closed == 2


@pytest.mark.parametrize("kind", ["sync", "other"])
async def test_the_source_is_closed_when_the_loop_is_broken_off(kind: str) -> None:
    source = Source()
    async for ack in Peer().stream(getattr(source, kind)()):
        if ack == "ack 3":
            break
    # The interpreter hands an abandoned iteration to the event loop.
    async with asyncio.timeout(DEADLINE):
        while not source.closed:
            gc.collect()
            await asyncio.sleep(0)
    assert source.closed == 1


@pytest.mark.parametrize("kind", ["sync", "other"])
async def test_the_source_is_closed_when_the_stream_is_cancelled(kind: str) -> None:
    source, peer = Source(), Peer()
    peer.answers.clear()

    async def run() -> None:
        await peer.stream(getattr(source, kind)())

    task = asyncio.create_task(run())
    await peer.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.closed == 1


async def test_what_the_source_raises_comes_out() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("sensor")

    peer = Peer()
    with pytest.raises(KeyError, match="sensor"):
        await peer.stream(broken())
    assert peer.got == [1]


async def test_a_file_is_read_to_its_end_and_left_open(tmp_path: Any) -> None:
    path = tmp_path / "lines"
    path.write_text("a\nb\n")
    with path.open() as file:
        await Peer().stream(file)
        assert not file.closed


# -- once, and not forgotten ---------------------------------------------------------------


async def test_a_stream_runs_once() -> None:
    stream = Peer().stream([1])
    await stream
    with pytest.raises(RuntimeError, match="to 'peer' has run already; call stream\\(\\) again"):
        await stream
    with pytest.raises(RuntimeError, match="has run already"):
        async for _ in stream:
            pass


def test_a_stream_that_is_never_awaited_is_warned_of() -> None:
    peer = Peer()
    with pytest.warns(RuntimeWarning, match="stream to 'peer' was never awaited, so nothing was sent"):
        peer.stream([1])  # type: ignore[unused-awaitable]  # gone at once, for nothing refers to it
    assert peer.got == []


async def test_streams_can_be_gathered() -> None:
    peer = Peer()
    one, two = await asyncio.gather(peer.stream([1]), peer.stream(2))
    assert (one, two) == (["ack 1"], ["ack 2"])


# -- over the wire ---------------------------------------------------------------------------


class Echo(factory.FactoryLoop):
    @factory.reactive("echo")
    async def echo(self, channel, msg):  # type: ignore[no-untyped-def]
        if msg == "bad":
            raise ValueError("is \x1b[2Jbad")
        return msg

    @factory.reactive("none")
    async def none(self, channel, msg):  # type: ignore[no-untyped-def]
        return None

    @factory.reactive("bytes")
    async def bytes(self, channel, msg):  # type: ignore[no-untyped-def]
        return b"\x00\x01"

    @factory.reactive("number")
    async def number(self, channel: str, msg: int) -> int:
        return msg + 1


class Sender(factory.FactoryLoop):
    @factory.on_start
    async def begin(self) -> None: ...


def lines(text: str, name: str) -> list[str]:
    return [
        line.removeprefix(f"[ {name} ] ") for line in text.splitlines() if line.startswith(f"[ {name} ] ")
    ]


@pytest.mark.source("B10", "B21", "B22")
async def test_the_lines_that_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    echo = made(Echo)
    async with echo.running(port=0):
        sender = made(Sender, echo.serving)
        async with sender.running():
            stream = sender.stream("echo", [0, "a\nb", b"\x00\xff", {"x": 1}], "echo")
            assert "starting" not in capsys.readouterr().out, "nothing is said before anything is done"
            assert await stream == ["0", "a\nb", b"\x00\xff", '{"x":1}']
            assert lines(capsys.readouterr().out, "sender") == [
                "starting to stream message to echo",
                "> sending payload: 0",
                "< 0",
                "> sending payload: a\\x0ab",
                "< a\\x0ab",
                "> sending payload: 2 bytes",
                "< 2 bytes",
                '> sending payload: {"x":1}',
                '< {"x":1}',
            ]
            assert await sender.stream("echo", [None, True], "none") == [None, None]
            assert lines(capsys.readouterr().out, "sender")[1:] == [
                "> sending payload: null",
                "< n/a",
                "> sending payload: true",
                "< n/a",
            ]
            with pytest.raises(mesh.NackedError) as caught:
                await sender.stream(echo.serving, ["good", "bad", "more"], "echo")
            assert caught.value.acks == ["good"]
            assert lines(capsys.readouterr().out, "sender") == [
                "starting to stream message to echo",
                "> sending payload: good",
                "< good",
                "> sending payload: bad",
                "< ValueError: is \\x1b[2Jbad",
            ]
            assert await sender.stream("echo", [], "echo") == []
            assert lines(capsys.readouterr().out, "sender") == ["starting to stream message to echo"]
            assert await sender.stream("echo", range(2), "number", quiet=True) == [1, 2]
            assert lines(capsys.readouterr().out, "sender") == []


@pytest.mark.source("B10")
async def test_the_default_channel_is_the_empty_one() -> None:
    class Root(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, msg: str) -> str:
            return repr(channel)

    root = made(Root)
    async with root.running(port=0):
        sender = made(Sender, root.serving)
        async with sender.running():
            assert await sender.stream("root", 1) == ["''"]
            assert await sender.stream("root", 1, "/a b/ä?%") == ["'a b/ä?%'"]


async def test_what_cannot_be_sent_says_so_and_ends_the_stream() -> None:
    echo = made(Echo)
    async with echo.running(port=0):
        sender = made(Sender, echo.serving)
        async with sender.running():
            with pytest.raises(mesh.PayloadError, match="a value of type object cannot be sent"):
                await sender.stream("echo", ["fine", object()], "echo")
            coroutine = asyncio.sleep(0)
            with pytest.raises(mesh.PayloadError, match="of type coroutine cannot be sent"):
                await sender.stream("echo", coroutine, "echo")
            coroutine.close()
            with pytest.raises(mesh.PayloadError, match="surrogates"):
                await sender.stream("echo", "\ud800", "echo")


class Port(factory.FactoryLoop):
    @factory.on_start
    async def begin(self) -> None: ...


async def test_a_wrong_target_is_told_at_the_call() -> None:
    nodes = (mesh.Node("buzzer", "localhost", 8766), mesh.Node("clock"))
    sketch = made(Port, *nodes)
    with pytest.raises(mesh.GridError, match="port has no target; give it one: `target:` in the grid"):
        await sketch.stream(sketch.target, "x")
    with pytest.raises(mesh.UnknownNodeError, match="unknown node 'buzer', did you mean 'buzzer'"):
        await sketch.stream("buzer", "x")
    with pytest.raises(mesh.NotAServerError, match="clock"):
        await sketch.stream("clock", "x")
    with pytest.raises(TypeError, match="a target is the name of a node or a node, not 8766"):
        await sketch.stream(8766, "x")  # type: ignore[arg-type]


async def test_an_absent_peer_is_awaited_no_longer_than_the_patience() -> None:
    class Impatient(Port):
        patience = 0.1

    sketch = made(Impatient, mesh.Node("nobody", "localhost", 1))
    with logged() as log:
        async with sketch.running():
            with pytest.raises(mesh.PeerDownError, match="nobody could not be reached"):
                await sketch.stream("nobody", "x")
    assert len(log.having("waiting for nobody")) == 1
