"""Arguments that cannot be used are told by name, before anything is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import factory
import mesh
from mesh.arguments import check_channel, check_count, check_seconds
from tests.helpers.sketch_bench import made


@pytest.mark.parametrize("value", [None, 1, 0.001, float("inf"), Fraction(1, 2)])
def test_a_number_of_seconds(value: object) -> None:
    check_seconds("timeout", value)


@pytest.mark.parametrize("value", ["5", [1], True, b"5", Decimal(1), object])
def test_no_number_of_seconds(value: object) -> None:
    with pytest.raises(TypeError, match=r"^timeout must be a number of seconds, or None for no limit; got "):
        check_seconds("timeout", value)


@pytest.mark.parametrize("value", [0, -1, float("nan"), -0.0])
def test_too_few_seconds(value: object) -> None:
    with pytest.raises(ValueError, match=r"^timeout must be above 0 seconds, or None for no limit; got "):
        check_seconds("timeout", value)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("2", TypeError),
        (1.5, TypeError),
        (True, TypeError),
        ([], TypeError),
        (0, ValueError),
        (4, ValueError),
    ],
)
def test_no_count(value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^count must be a whole number from 1 to 3, the nodes; got "):
        check_count("count", value, 3, what="the nodes")


def test_a_count() -> None:
    for value in (None, 1, 3):
        check_count("count", value, 3, what="the nodes")
    check_count("window", 10**9, what="messages")


@pytest.mark.parametrize("value", [5, None, b"tick", ["tick"]])
def test_a_channel_is_text(value: object) -> None:
    with pytest.raises(TypeError, match=r"^a channel is named by text, such as 'tick' or 'pin/7'; got "):
        check_channel(value)


def test_what_came_is_shown_in_short_and_without_controls() -> None:
    with pytest.raises(TypeError) as caught:
        check_channel(b"\x1b[31m" * 1000)
    assert len(str(caught.value)) < 150
    assert "\x1b" not in str(caught.value)


Call = Callable[[Any], Any]

OF_A_PEER: list[tuple[str, Call]] = [
    ("timeout must be a number", lambda peer: peer.request("x", timeout="5")),
    ("timeout must be a number", lambda peer: peer.request("x", timeout=[1])),
    ("timeout must be a number", lambda peer: peer.request("x", timeout=True)),
    ("ack_timeout must be a number", lambda peer: peer.stream("x", ack_timeout="5")),
    ("window must be a whole number of at least 1", lambda peer: peer.stream("x", window="5")),
    ("channel is named by text", lambda peer: peer.stream("x", 5)),
    ("channel is named by text", lambda peer: peer.request("x", 5)),
    ("channel is named by text", lambda peer: peer.request("x", ["a"])),
    ("channel is named by text", lambda peer: peer.ask("x", None)),
    ("channel is named by text", lambda peer: peer.subscribe(5)),
    ("channel is named by text", lambda peer: peer.publish(None, "x")),
]


@pytest.mark.parametrize(("words", "call"), OF_A_PEER)
async def test_a_peer_tells_which_argument_is_wrong(words: str, call: Call) -> None:
    async with mesh.connect(mesh.Node("absent", port=1)) as peer:
        with pytest.raises(TypeError, match=words):
            await _done(call(peer))


untyped: Any = mesh

OF_A_SCRIPT: list[tuple[str, Call]] = [
    (
        "count must be a whole number from 1 to 1, the nodes that are asked",
        lambda node: untyped.gather(node, "x", count="1"),
    ),
    (
        "count must be a whole number from 1 to 1, the nodes that are asked",
        lambda node: untyped.gather(node, "x", count=1.5),
    ),
    ("deadline must be a number", lambda node: untyped.gather(node, "x", deadline="1")),
    ("stall must be a number", lambda node: untyped.gather(node, "x", stall=[1])),
    ("patience must be a number", lambda node: untyped.gather(node, "x", patience="1")),
    (
        "targets are the name of a group, a node, or several of them, not None",
        lambda _: untyped.gather(None, "x"),
    ),
    ("a target is the name of a node or a node, not 5", lambda node: untyped.gather([node, 5], "x")),
    ("a target is the name of a node or a node, not 5", lambda _: untyped.connect(5).__aenter__()),
    ("patience must be a number", lambda node: untyped.connect(node, patience="1").__aenter__()),
]


@pytest.mark.parametrize(("words", "call"), OF_A_SCRIPT)
async def test_a_script_is_told_which_argument_is_wrong(words: str, call: Call) -> None:
    with pytest.raises(TypeError, match=words):
        await _done(call(mesh.Node("absent", port=1)))


def test_a_blocking_script_is_told_as_well() -> None:
    with pytest.raises(TypeError, match="not 5"):
        untyped.sync.connect(5)
    with untyped.sync.connect(mesh.Node("absent", port=1)) as peer:
        for begin in (peer.ask, peer.subscribe):
            with pytest.raises(TypeError, match="timeout must be a number"):
                begin("tick", timeout="5")


async def test_a_sketch_is_told_as_well() -> None:
    class Sketch(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, msg: str) -> None:
            """Take anything."""

    sketch: Any = made(Sketch)
    async with sketch.running(port=0):
        with pytest.raises(TypeError, match="targets are the name of a group"):
            await sketch.gather(None, "x")
        with pytest.raises(TypeError, match="peer_timeout must be a number"):
            await sketch.stream(mesh.Node("absent", port=1), "x", peer_timeout="5")


class Lonely(factory.FactoryLoop):
    """Sends to itself, which it cannot."""

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        return msg


async def test_a_sketch_does_not_send_to_itself() -> None:
    me = mesh.Node("lonely", port=1)
    lonely = Lonely.as_node(me, mesh.Grid([me]))
    calls: list[Callable[[Any], Any]] = [
        lambda target: lonely.request(target, "x"),
        lambda target: lonely.ask(target, "x"),
        lambda target: lonely.stream(target, "x"),
        lambda target: lonely.gather([target], "x"),
    ]
    async with lonely.running(port=0):
        for call in calls:
            for target in ("lonely", me, lonely.serving):
                with pytest.raises(
                    mesh.GridError, match=r"lonely is this sketch itself.*as a method instead"
                ):
                    await _done(call(target))


async def test_another_process_of_the_same_name_is_not_oneself() -> None:
    other = made(Lonely)
    async with other.running(port=0):
        lonely = made(Lonely)
        async with lonely.running(port=0):
            with pytest.raises(mesh.NameTakenError, match="give the other process another one"):
                await lonely.request(other.serving, "x")


async def _done(result: Any) -> None:
    if isinstance(result, Awaitable):
        await result
