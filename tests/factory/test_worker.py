"""The life of a worker: messages, order, rhythms, hooks, draining, and what it survives."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

import factory
import mesh
from factory import doors as doors_module
from factory import threads as threads_module
from factory import worker as worker_module
from factory.errors import SetupError
from tests.helpers.log import Log
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch import Recorder, as_node, tell
from tests.helpers.sketch_bench import in_no_time, logged, made


def error(reply: object) -> dict[str, str]:
    assert isinstance(reply, str)
    found = json.loads(reply)
    assert list(found) == ["error"]
    body: dict[str, str] = found["error"]
    return body


# -- messages ----------------------------------------------------------------------------


class BadTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class OwnBaseError(BaseException):
    """What no `except Exception` catches."""


class Mode(enum.Enum):
    ON = "on"
    OFF = "off"


@dataclass
class Point:
    x: int
    y: int = 0

    def __post_init__(self) -> None:
        if self.x == 13:
            raise KeyError("unlucky")


class Shape(msgspec.Struct):
    name: str
    points: list[Point]


class Desk(factory.FactoryLoop):
    """One handler of every kind."""

    @factory.reactive("echo")
    async def echo(self, channel, msg):  # type: ignore[no-untyped-def]
        return msg

    @factory.reactive("answers/{kind}")
    async def answers(self, channel: str, msg: str, kind: str) -> object:
        known: dict[str, object] = {
            "none": None,
            "empty": "",
            "zero": 0,
            "bytes": b"\x00",
            "dict": {"a": [1]},
            "point": Point(1),
            "object": object(),
        }
        return known[kind]

    @factory.reactive("thread")
    def thread(self, channel, msg):  # type: ignore[no-untyped-def]
        return f"{msg} in {threading.current_thread().name.rpartition('_')[0]}"

    @factory.reactive("wrapped")
    def wrapped(self, channel, msg):  # type: ignore[no-untyped-def]
        return asyncio.sleep(0, msg)

    @factory.reactive("raise/{kind}")
    async def fails(self, channel: str, msg: str, kind: str) -> None:
        await asyncio.sleep(0)
        if kind == "cancelled":
            task = asyncio.create_task(asyncio.sleep(60))
            task.cancel()
            await task
        exc = RAISES[kind]()
        raise exc

    @factory.reactive("raise-in-thread/{kind}")
    def fails_in_thread(self, channel: str, msg: str, kind: str) -> None:
        exc = RAISES[kind]()
        raise exc

    @factory.reactive("int")
    async def int(self, channel: str, msg: int) -> str:
        return f"{type(msg).__name__} {msg}"

    @factory.reactive("text")
    async def text(self, channel: str, msg: str) -> str:
        return f"{type(msg).__name__} {msg}"

    @factory.reactive("bytes")
    async def bytes(self, channel: str, msg: bytes) -> str:
        return f"{type(msg).__name__} {msg!r}"

    @factory.reactive("mode")
    async def mode(self, channel: str, msg: Mode) -> str:
        return str(msg)

    @factory.reactive("switch")
    async def switch(self, channel: str, msg: Literal["on", "off"]) -> str:
        return f"switched {msg}"

    @factory.reactive("point")
    async def point(self, channel: str, msg: Point) -> str:
        return repr(msg)

    @factory.reactive("shape")
    async def shape(self, channel: str, msg: Shape) -> str:
        return repr(msg)


RAISES: dict[str, Callable[[], BaseException]] = {
    "value": lambda: ValueError("too \x1b[2J loud"),
    "empty": RuntimeError,
    "wordless": BadTextError,
    "exit": lambda: SystemExit(3),
    "keyboard": KeyboardInterrupt,
    "stop-iteration": StopIteration,
    "timeout": TimeoutError,
    "cancelled": asyncio.CancelledError,
    "generator-exit": GeneratorExit,
    "own": lambda: OwnBaseError("mine"),
    "group": lambda: BaseExceptionGroup("both", [OwnBaseError("a"), ValueError("b")]),
}


@pytest.mark.source("B8", "B39")
async def test_what_a_handler_returns_is_the_acknowledgement() -> None:
    desk = made(Desk)
    async with desk.running(port=0):
        replies: dict[str, object] = {
            "none": "n/a",
            "empty": "",
            "zero": "0",
            "bytes": b"\x00",
            "dict": '{"a":[1]}',
            "point": '{"x":1,"y":0}',
        }
        for kind, expected in replies.items():
            assert await tell(desk.serving, ["x"], f"answers/{kind}") == [expected]
        (reply,) = await tell(desk.serving, ["x"], "answers/object")
        assert error(reply)["type"] == "PayloadError"
        assert await tell(desk.serving, ["a", b"\x00"], "echo") == ["a", b"\x00"]


@pytest.mark.source("B34")
async def test_a_channel_is_decoded_and_has_no_leading_slash() -> None:
    class Path(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, msg: str) -> str:
            return repr(channel)

    sketch = made(Path)
    async with sketch.running(port=0):
        for path, channel in {"": "", "a/b": "a/b", "ä b": "ä b", "/a": "a"}.items():
            assert await tell(sketch.serving, ["x"], path) == [repr(channel)]


async def test_a_plain_def_runs_in_a_thread_of_the_worker() -> None:
    desk = made(Desk)
    async with desk.running(port=0):
        assert await tell(desk.serving, ["x"], "thread") == ["x in desk"]
        assert await tell(desk.serving, ["x"], "wrapped") == ["x"], "what it returns may be awaitable"
        assert await desk.to_thread(sum, [1, 2], start=3) == 6


@pytest.mark.parametrize("where", ["raise", "raise-in-thread"])
@pytest.mark.parametrize(
    ("kind", "type", "message"),
    [
        ("value", "ValueError", "too \x1b[2J loud"),
        ("empty", "RuntimeError", ""),
        ("wordless", "BadTextError", "(its text cannot be had: RuntimeError)"),
        ("exit", "SystemExit", "3"),
        ("keyboard", "KeyboardInterrupt", ""),
        ("stop-iteration", "RuntimeError", "coroutine raised StopIteration"),
        ("timeout", "TimeoutError", ""),
        ("cancelled", "CancelledError", ""),
        ("generator-exit", "GeneratorExit", ""),
        ("own", "OwnBaseError", "mine"),
        ("group", "BaseExceptionGroup", "both (2 sub-exceptions)"),
    ],
)
async def test_what_a_handler_raises_refuses_one_message_and_is_logged_once(
    where: str, kind: str, type: str, message: str
) -> None:
    desk = made(Desk)
    with logged() as log:
        async with desk.running(port=0), asyncio.timeout(DEADLINE):
            async with desk.serving.connection(f"{where}/{kind}") as websocket:
                for _ in range(2):
                    await websocket.send("x")
                    assert error(await websocket.recv()) == {"type": type, "message": message}
            assert await tell(desk.serving, ["lives"], "echo") == ["lives"]
    assert len(log.having("refused a message")) == 2
    (line, _) = log.having("refused a message")
    assert line.startswith(f"warning: handler {'fails' if where == 'raise' else 'fails_in_thread'}() refused")
    assert f"on channel '{where}/{kind}'" in line
    assert type in line
    assert "test_worker.py:" in line


@pytest.mark.parametrize("where", ["raise", "raise-in-thread"])
@pytest.mark.parametrize("kind", ["exit", "generator-exit", "own", "group"])
async def test_over_a_link_too_one_message_is_refused(where: str, kind: str) -> None:
    desk = made(Desk)
    async with desk.running(port=0), asyncio.timeout(DEADLINE):
        teller = as_node(Recorder, {"desk": desk})
        async with teller.running(port=0):
            answers = await teller.stream("desk", ["x", "y"], f"{where}/{kind}", on_nack="yield", quiet=True)
            assert [type(answer).__name__ for answer in answers] == ["NackedError", "NackedError"]
            assert await teller.stream("desk", "lives", "echo", quiet=True) == ["lives"]


@pytest.mark.parametrize(
    ("channel", "message", "reply"),
    [
        ("int", "5", "int 5"),
        ("int", b"5", "int 5"),
        ("text", "5", "str 5"),
        ("text", b"5", "str 5"),
        ("bytes", "5", "bytes b'5'"),
        ("mode", "on", "Mode.ON"),
        ("mode", '"off"', "Mode.OFF"),
        ("switch", "on", "switched on"),
        ("point", '{"x": 1}', "Point(x=1, y=0)"),
        ("shape", '{"name": "a", "points": [{"x": 1}]}', "Shape(name='a', points=[Point(x=1, y=0)])"),
    ],
)
async def test_a_typed_handler_gets_the_value(channel: str, message: str | bytes, reply: str) -> None:
    desk = made(Desk)
    async with desk.running(port=0):
        assert await tell(desk.serving, [message], channel) == [reply]


@pytest.mark.parametrize(
    ("channel", "message", "parts"),
    [
        ("int", "five", ["int"]),
        ("int", "5.5", ["int"]),
        ("text", b"\xff", ["not UTF-8"]),
        ("mode", "dim", []),
        ("switch", "dim", []),
        ("point", '{"x": "1.5"}', ["field x", "int"]),
        ("point", '{"y": 1}', ["x"]),
        ("point", "[", []),
        ("point", '{"x": 13}', []),
        ("shape", '{"name": "a", "points": [{"x": 1}, {"x": null}]}', ["field points[1].x", "int"]),
        ("shape", '{"name": 5, "points": []}', ["field name", "str"]),
        ("shape", "[" * 100_000, []),
    ],
)
async def test_a_message_that_does_not_fit_is_refused_and_the_field_named(
    channel: str, message: str | bytes, parts: list[str]
) -> None:
    desk = made(Desk)
    with logged() as log:
        async with desk.running(port=0):
            refused, *rest = await tell(desk.serving, [message, "x"], channel)
            assert error(refused)["type"] in {"PayloadError", "KeyError"}
            for part in parts:
                assert part in error(refused)["message"]
            assert len(rest) == 1, "the connection stays"
    assert not log.having("Traceback")


async def test_an_unknown_channel_is_refused_with_the_channels_there_are() -> None:
    class Two(factory.FactoryLoop):
        @factory.reactive("pin/{number:int}")
        async def pin(self, channel: str, msg: str, number: int) -> int:
            return number

        @factory.reactive("light")
        async def light(self, channel: str, msg: str) -> None: ...

    two = made(Two)
    async with two.running(port=0):
        replies = await tell(two.serving, ["a", "b"], "pin/one")
        assert [error(reply)["type"] for reply in replies] == ["UnknownChannelError"] * 2
        words = error(replies[0])["message"]
        assert words == "no handler takes channel 'pin/one'; two takes 'light' or 'pin/{number:int}'"
        assert await tell(two.serving, ["x"], "pin/1") == ["1"]


@pytest.mark.source("B39")
async def test_clients_are_told_of_as_they_come_and_go(capsys: pytest.CaptureFixture[str]) -> None:
    desk = made(Desk)
    async with desk.running(port=0):
        await tell(desk.serving, ["x"], "echo/ä")
        await _until(lambda: not desk._worker._handling._ways)
    out = capsys.readouterr().out
    assert "[ desk ] ** new client connected, path=/echo/ä\n" in out
    assert "[ desk ] done processing messages: client closed the connection (1000" in out


async def test_an_out_that_raises_ends_no_connection() -> None:
    class Mute(Desk):
        def out(self, text: object) -> None:
            raise RuntimeError("no voice")

    mute = made(Mute)
    with logged() as log:
        async with mute.running(port=0):
            assert await tell(mute.serving, ["x"], "echo") == ["x"]
            await _until(lambda: not mute._worker._handling._ways)
    assert log.having("out() failed: RuntimeError: no voice")


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - of what has no event
            await asyncio.sleep(0.001)


# -- order -----------------------------------------------------------------------------------


class Tide(factory.FactoryLoop):
    """Notes when each message is begun and ended; ends it when told."""

    def setup(self) -> None:
        self.log: Log[str] = Log()
        self.inside: set[str] = set()
        self.together: set[frozenset[str]] = set()
        self.go: dict[str, asyncio.Event] = {}

    async def handle(self, msg: str) -> str:
        self.inside.add(msg)
        self.together.add(frozenset(self.inside))
        self.log.add(f"+{msg}")
        await self.go.setdefault(msg, asyncio.Event()).wait()
        self.inside.remove(msg)
        self.log.add(f"-{msg}")
        return msg

    def let(self, *msgs: str) -> None:
        for msg in msgs:
            self.go.setdefault(msg, asyncio.Event()).set()

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        return await self.handle(msg)

    @factory.reactive("alone", exclusive=True)
    async def alone(self, channel: str, msg: str) -> str:
        return await self.handle(msg)


async def test_messages_of_one_sender_are_handled_in_order_one_at_a_time() -> None:
    tide = made(Tide)
    async with tide.running(port=0), tide.serving.connection("x") as websocket:
        for msg in "abc":
            await websocket.send(msg)
        await tide.log.until(1)
        tide.let("c", "b")
        # Were the others handled before a, they would be noted by now.
        for _ in range(50):
            await asyncio.sleep(0)
        assert list(tide.log) == ["+a"]
        tide.let("a")
        assert [await websocket.recv() for _ in range(3)] == ["a", "b", "c"]
        assert list(tide.log) == ["+a", "-a", "+b", "-b", "+c", "-c"]


async def test_a_thread_sees_the_context_variables_of_its_caller() -> None:
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    threads = threads_module.Threads("x")
    who.set("me")
    assert await threads.run(who.get) == "me"
    await threads.run(who.set, "the thread")
    assert who.get() == "me"
    threads.close()


async def test_an_exclusive_handler_that_waits_for_its_own_worker_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Circle(factory.FactoryLoop):
        @factory.reactive("alone", exclusive=True)
        async def alone(self, channel: str, msg: str) -> object:
            return await tell(self.serving, [msg], "other")

        @factory.reactive("other")
        async def other(self, channel: str, msg: str) -> str:
            return msg

    monkeypatch.setattr("factory.gate.PATIENCE", 0.05)
    circle = made(Circle)
    with logged() as log:
        async with circle.running(port=0):
            asking = asyncio.create_task(tell(circle.serving, ["x"], "alone"))
            await asyncio.to_thread(
                log.wait_for, "handler other() has waited for 0.05 s, because alone() runs"
            )
            asking.cancel()
            await asyncio.wait([asking])


async def test_different_senders_interleave_at_awaits() -> None:
    tide = made(Tide)
    async with (
        tide.running(port=0),
        tide.serving.connection("x") as one,
        tide.serving.connection("x") as other,
    ):
        await one.send("a")
        await tide.log.until(1)
        await other.send("b")
        await tide.log.until(2)
        assert tide.inside == {"a", "b"}
        tide.let("b")
        assert await other.recv() == "b"
        tide.let("a")
        assert await one.recv() == "a"


async def test_an_exclusive_handler_runs_alone() -> None:
    tide = made(Tide)
    async with (
        tide.running(port=0),
        tide.serving.connection("x") as one,
        tide.serving.connection("alone") as alone,
        tide.serving.connection("x") as later,
    ):
        await one.send("a")
        await tide.log.until(["+a"].__eq__)
        await alone.send("b")
        await _until(lambda: len(tide._worker._handling.in_hand) == 2)
        await later.send("c")
        await _until(lambda: len(tide._worker._handling.in_hand) == 3)
        assert list(tide.log) == ["+a"]
        tide.let("a", "b", "c")
        assert [await connection.recv() for connection in (one, alone, later)] == ["a", "b", "c"]
        assert list(tide.log) == ["+a", "-a", "+b", "-b", "+c", "-c"]
        assert not any(len(group) > 1 for group in tide.together)


# -- rhythms, with a clock that leaps -----------------------------------------------------------


class Beats(factory.FactoryLoop):
    def setup(self, times: list[Any], delay: object = 1.0) -> None:
        self.times = times
        self.delay = delay
        self.starts: list[float] = []

    @factory.every("self.delay")
    async def beat(self) -> None:
        self.starts.append(round(asyncio.get_running_loop().time(), 6))
        if not self.times:
            self.stop()
            return
        what = self.times.pop(0)
        if isinstance(what, BaseException):
            raise what
        if callable(what):
            what = what(self)
        if isinstance(what, int | float):
            await asyncio.sleep(what)


def beats(times: list[Any], delay: object = 1.0) -> list[float]:
    sketch = made(Beats, times=times, delay=delay)
    in_no_time(sketch.arun)
    return sketch.starts


def test_the_first_beat_comes_at_once_and_then_one_each_period() -> None:
    assert beats([0, 0, 0]) == [0, 1, 2, 3]


def test_a_beat_takes_nothing_from_the_period() -> None:
    assert beats([0.9, 0.5, 0]) == [0, 1, 2, 3]


def test_missed_beats_are_skipped_and_the_rhythm_keeps_its_time() -> None:
    assert beats([2.5, 0, 0]) == [0, 3, 4, 5]
    assert beats([0, 10.25, 0]) == [0, 1, 12, 13]


@pytest.mark.parametrize("delay", [0.25, "250ms", "0.25s"])
def test_the_period_may_be_written_in_every_way(delay: object) -> None:
    assert beats([0, 0], delay) == [0, 0.25, 0.5]


def test_a_period_that_changes_counts_from_the_next_beat() -> None:
    def slower(sketch: Beats) -> None:
        sketch.delay = "1m"

    assert beats([0, slower, 0]) == [0, 1, 61, 121]


def test_a_beat_that_fails_keeps_the_period_of_the_sketch() -> None:
    with logged():
        assert beats([ValueError("x"), ValueError("y"), 0], 60) == [0, 60, 120, 180]


def test_the_same_trouble_is_told_once_until_it_is_over() -> None:
    same = [ValueError("no sensor") for _ in range(5)]
    with logged() as log:
        beats([*same, 0, ValueError("no sensor"), KeyError("k"), KeyError("k"), ValueError("no sensor")])
    assert [line.partition(" (at ")[0] for line in log.having("goes on")] == [
        "warning: rhythm beat() failed and goes on: ValueError: no sensor",
        "warning: rhythm beat() failed and goes on: ValueError: no sensor",
        "warning: rhythm beat() failed and goes on: KeyError: 'k'",
        "warning: rhythm beat() failed and goes on: ValueError: no sensor",
    ]
    assert "test_worker.py:" in log.having("goes on")[0]


def test_a_beat_survives_whatever_it_raises() -> None:
    odd = [SystemExit(2), KeyboardInterrupt(), asyncio.CancelledError(), BadTextError()]
    odd += [GeneratorExit(), OwnBaseError(), BaseExceptionGroup("both", [OwnBaseError()])]
    with logged() as log:
        assert beats([*odd]) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert len(log.having("goes on")) == 7


@pytest.mark.parametrize("delay", ["fast", 0, -1, None])
def test_a_period_that_is_none_is_told_once_and_taken_for_a_second(delay: object) -> None:
    with logged() as log:
        assert beats([0, 0, 0], delay) == [0, 1, 2, 3]
    assert len(log.having("rhythm beat() failed and goes on")) == 1


def test_an_attribute_that_is_missing_is_told() -> None:
    class Lacking(factory.FactoryLoop):
        count = 0

        @factory.every("self.delay")
        async def beat(self) -> None:
            self.count += 1
            if self.count == 3:
                self.stop()

    with logged() as log:
        in_no_time(made(Lacking).arun)
    (line,) = log.having("goes on")
    assert "AttributeError" in line
    assert "'delay'" in line


async def test_a_plain_def_beats_in_a_thread_and_does_not_block_the_loop() -> None:
    class Blocking(factory.FactoryLoop):
        def setup(self) -> None:
            self.begun = asyncio.Event()
            self.release = threading.Event()
            self.names: list[str] = []

        @factory.every(0.001)
        def beat(self) -> None:
            self.names.append(threading.current_thread().name.rpartition("_")[0])
            self.loop_of_test.call_soon_threadsafe(self.begun.set)
            assert self.release.wait(DEADLINE)

        loop_of_test: asyncio.AbstractEventLoop

    sketch = made(Blocking)
    sketch.loop_of_test = asyncio.get_running_loop()
    async with sketch.running(), asyncio.timeout(DEADLINE):
        await sketch.begun.wait()
        # The loop is free though the beat is not over.
        assert sketch.names == ["blocking"]
        sketch.release.set()


def test_a_stop_waits_for_the_beat_in_hand_but_not_for_the_next_one() -> None:
    ended = []

    class Slow(factory.FactoryLoop):
        @factory.every("1h")
        async def beat(self) -> None:
            self.stop()
            await asyncio.sleep(2)
            ended.append(asyncio.get_running_loop().time())

    in_no_time(made(Slow).arun)
    assert ended == [2.0]


def test_a_beat_that_never_ends_is_named_and_given_up() -> None:
    class Endless(factory.FactoryLoop):
        @factory.every(1)
        async def beat(self) -> None:
            self.stop()
            await asyncio.Event().wait()

    async def main() -> float:
        await made(Endless).arun()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return asyncio.get_running_loop().time()

    with logged() as log:
        assert in_no_time(main) == worker_module.DRAIN
    assert log.having("gave up") == ["warning: gave up after 3 s on rhythm beat()"]


# -- hooks -----------------------------------------------------------------------------------------


class Hooked(factory.FactoryLoop):
    def setup(self, **raises: BaseException) -> None:
        self.raises = raises
        self.calls: list[str] = ["setup"]

    def call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.raises:
            raise self.raises[name]

    @factory.on_start
    async def first(self) -> None:
        self.call("first")

    @factory.on_start
    def second(self) -> None:
        self.call("second")

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        self.call("loop")
        return "ok"

    @factory.on_stop
    def end(self) -> None:
        self.call("end")

    @factory.on_stop
    async def last(self) -> None:
        self.call("last")


async def test_hooks_run_in_order_sync_or_async() -> None:
    sketch = made(Hooked)
    async with sketch.running(port=0):
        assert sketch.calls == ["setup", "first", "second"]
        await tell(sketch.serving, ["x"])
    assert sketch.calls == ["setup", "first", "second", "loop", "end", "last"]


@pytest.mark.parametrize("name", ["first", "second"])
@pytest.mark.parametrize(
    "exc", [ValueError("no board"), SystemExit(1), asyncio.CancelledError(), GeneratorExit()]
)
async def test_a_start_hook_that_raises_ends_the_worker(name: str, exc: BaseException) -> None:
    sketch = made(Hooked, **{name: exc})
    with pytest.raises(factory.HookError) as caught:
        await sketch.arun(port=0)
    assert f"{name}() raised {type(exc).__name__}" in str(caught.value)
    assert "test_worker.py:" in str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    assert sketch.calls[-2:] == ["end", "last"], "what the first hook opened can be closed"


async def test_a_start_hook_ends_the_worker_with_a_sentence() -> None:
    sketch = made(Hooked, first=SystemExit("there is no board; plug one in"))
    with pytest.raises(factory.HookError) as caught:
        await sketch.arun(port=0)
    assert str(caught.value) == "there is no board; plug one in"


async def test_a_stop_hook_that_raises_is_told_and_the_others_run() -> None:
    sketch = made(Hooked, end=OSError("stuck"))
    with logged() as log:
        async with sketch.running(port=0):
            pass
    assert sketch.calls[-1] == "last"
    assert log.having("error: end() raised OSError: stuck")


async def test_without_a_port_nothing_is_started_and_nothing_stopped() -> None:
    taken = made(Hooked)
    async with taken.running(port=0):
        sketch = made(Hooked)
        with pytest.raises(mesh.ServeError, match="Is the server already running"):
            await sketch.arun(port=taken.serving.port)
        assert sketch.calls == ["setup"]


async def test_an_async_setup_is_awaited_before_the_worker_serves() -> None:
    class Slow(factory.FactoryLoop):
        async def setup(self, value: int = 1) -> None:
            await asyncio.sleep(0)
            self.value = value
            with pytest.raises(mesh.NotAServerError):
                _ = self.serving

        @factory.reactive
        async def loop(self, channel: str, msg: str) -> int:
            return self.value

    sketch = made(Slow, value=7)
    async with sketch.running(port=0):
        assert await tell(sketch.serving, ["x"]) == ["7"]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ValueError("no config"), SetupError, "^no config$"),
        (ValueError(), SetupError, r"setup\(\) raised ValueError \(at "),
        (OSError("no config"), factory.HookError, r"setup\(\) raised OSError: no config \(at "),
    ],
    ids=["arguments", "mute", "another"],
)
async def test_an_async_setup_that_raises_ends_the_worker(
    error: Exception, kind: type[Exception], words: str
) -> None:
    class Broken(factory.FactoryLoop):
        async def setup(self) -> None:
            raise error

        @factory.reactive
        async def loop(self, channel: str, msg: str) -> None: ...

    with pytest.raises(kind, match=words):
        await made(Broken).arun(port=0)


def test_stop_hooks_have_a_second_together() -> None:
    class Endless(factory.FactoryLoop):
        @factory.on_start
        def begin(self) -> None:
            self.stop()

        @factory.on_stop
        async def end(self) -> None:
            await asyncio.Event().wait()

    async def main() -> float:
        await made(Endless).arun()
        return asyncio.get_running_loop().time()

    with logged() as log:
        assert in_no_time(main) == worker_module.STOP_HOOKS
    assert log.having("gave up on the stop hooks after 1 s")


async def test_a_stop_during_a_start_hook_cuts_it_short_without_an_error() -> None:
    class Waiting(factory.FactoryLoop):
        def setup(self) -> None:
            self.log: Log[str] = Log()

        @factory.on_start
        async def begin(self) -> None:
            self.log.add("begin")
            try:
                await asyncio.Event().wait()
            finally:
                self.log.add("cut short")

        @factory.on_start
        async def never(self) -> None:
            self.log.add("never")

        @factory.every(1)
        async def beat(self) -> None:
            self.log.add("beat")

        @factory.on_stop
        async def end(self) -> None:
            self.log.add("end")

    sketch = made(Waiting)
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        group.create_task(sketch.arun())
        await sketch.log.until(1)
        sketch.stop()
    assert list(sketch.log) == ["begin", "cut short", "end"]


async def test_a_start_hook_that_waits_for_an_absent_peer_is_no_error_at_a_stop() -> None:
    class Calls(factory.FactoryLoop):
        patience = None

        @factory.on_start
        async def begin(self) -> None:
            await self.stream("nobody", "x")

    sketch = made(Calls, mesh.Node("nobody", "localhost", 1))
    with logged() as log:
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
            group.create_task(sketch.arun())
            await asyncio.to_thread(log.wait_for, "waiting for nobody")
            sketch.stop()
    assert not log.having("raised")


# -- draining ----------------------------------------------------------------------------------------


async def _closed(websocket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as caught:
        await websocket.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def test_a_drain_finishes_the_message_in_hand_and_gives_up_the_port_first() -> None:
    tide = made(Tide)
    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
        running = group.create_task(tide.arun(port=(port := free_ports(1)[0])))
        await _until(lambda: tide._worker._doors.web is not None and bool(tide._worker._doors.web._servers))
        node = tide.serving
        async with node.connection("x") as busy, node.connection("x") as idle:
            await busy.send("a")
            await tide.log.until(1)
            tide.stop()
            assert await _closed(idle) == (1001, "worker is stopping")
            with pytest.raises(OSError, match=r"."):
                await asyncio.open_connection("127.0.0.1", port)
            assert not running.done()
            tide.let("a")
            assert await busy.recv() == "a"
            assert await _closed(busy) == (1001, "worker is stopping")


@pytest.fixture
def short_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "DRAIN", 0.1)


@pytest.mark.usefixtures("short_drain")
async def test_what_came_round_a_ring_and_was_not_handled_in_time_is_told() -> None:
    begun = asyncio.Event()

    class Busy(factory.FactoryLoop):
        @factory.reactive("chat")
        async def hear(self, channel: str, msg: str) -> None:
            begun.set()
            await asyncio.Event().wait()

    nodes = [mesh.Node(name, port=port) for name, port in zip(("ann", "bob"), free_ports(2), strict=True)]
    grid = mesh.Grid(nodes, groups={"chat": mesh.Group("chat", ("ann", "bob"), "ring")})
    ann, bob = (Busy.as_node(node, grid) for node in nodes)
    with logged() as log:
        async with asyncio.timeout(DEADLINE), ann.running(), bob.running():
            while not (await ann.circulate("chat", "hello")).seen:
                pass
            await begun.wait()
    (told,) = (line for line in log.having("gave up") if "on the ring" in line)
    assert told.startswith("warning: gave up after 0.1 s on the ring chat: 1 messages were not handled")
    assert "receipts that name bob" in told
    assert not log.having("lost the")


@pytest.mark.usefixtures("short_drain")
async def test_a_message_that_takes_too_long_is_named_and_given_up() -> None:
    tide = made(Tide)
    with logged() as log:
        async with tide.running(port=0):
            websocket = await tide.serving.connection("x")
            await websocket.send("a")
            await tide.log.until(1)
    assert log.having("gave up") == [
        "warning: gave up after 0.1 s on handler loop(); what it had in hand is not acknowledged"
    ]
    await websocket.close()


@pytest.mark.usefixtures("short_drain")
async def test_a_handler_that_takes_no_notice_of_cancellation_does_not_hold_up_the_end() -> None:
    release = asyncio.Event()
    deaf: list[asyncio.Task[Any] | None] = []

    class Deaf(factory.FactoryLoop):
        def setup(self) -> None:
            self.ended = False

        @factory.reactive
        async def loop(self, channel: str, msg: str) -> None:
            deaf.append(asyncio.current_task())
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        @factory.on_stop
        async def end(self) -> None:
            self.ended = True

    sketch = made(Deaf)
    with logged() as log:
        async with asyncio.timeout(DEADLINE), sketch.running(port=0):
            websocket = await sketch.serving.connection("x")
            await websocket.send("a")
            await _until(lambda: bool(deaf))
    assert sketch.ended
    assert log.having("gave up after 0.1 s on handler loop()")
    release.set()
    await websocket.close()
    assert deaf[0] is not None
    await asyncio.wait([deaf[0]])


@pytest.mark.usefixtures("short_drain")
async def test_a_thread_that_is_stuck_is_abandoned_and_counted_until_it_ends() -> None:
    class Stuck(factory.FactoryLoop):
        def setup(self) -> None:
            self.begun = threading.Event()
            self.release = threading.Event()

        @factory.reactive
        def loop(self, channel: str, msg: str) -> None:
            self.begun.set()
            assert self.release.wait(DEADLINE)

    sketch = made(Stuck)
    with logged():
        async with sketch.running(port=0):
            websocket = await sketch.serving.connection("x")
            await websocket.send("a")
            await asyncio.to_thread(sketch.begun.wait, DEADLINE)
    assert sketch._worker.is_stuck
    sketch.release.set()
    await _until(lambda: not sketch._worker.is_stuck)
    await websocket.close()


async def test_more_threads_than_there_are_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "MAX_THREADS", 2)
    threads = threads_module.Threads("x")
    busy: list[int] = []
    await asyncio.gather(*(threads.run(lambda: busy.append(threads.busy)) for _ in range(20)))
    assert len(busy) == 20
    assert max(busy) <= 2
    threads.close()
    assert threads.busy == 0


async def test_cancelling_the_wait_for_a_thread_leaves_no_complaint(
    capsys: pytest.CaptureFixture[str],
) -> None:
    threads = threads_module.Threads("x")
    begun, release = threading.Event(), threading.Event()

    def fail() -> None:
        begun.set()
        release.wait(DEADLINE)
        raise ValueError("nobody waits for me")

    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    task = asyncio.create_task(threads.run(fail))
    await asyncio.to_thread(begun.wait, DEADLINE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    await _until(lambda: threads.busy == 0)
    threads.close()
    assert complaints == []


async def test_a_first_stream_during_the_drain_does_not_wait_for_an_absent_peer() -> None:
    class Late(factory.FactoryLoop):
        patience = None

        @factory.on_start
        async def begin(self) -> None: ...

        @factory.on_stop
        async def end(self) -> None:
            try:
                await self.stream("nobody", "x")
            except mesh.PeerDownError:
                self.told = True

    sketch = made(Late, mesh.Node("nobody", "localhost", 1))
    with logged():
        async with sketch.running():
            pass
    assert sketch.told


@pytest.mark.usefixtures("short_drain")
@pytest.mark.parametrize("times", [1, 3])
async def test_cancelled_however_often_a_worker_ends_in_order(times: int) -> None:
    sketch = made(Hooked)
    task = asyncio.create_task(sketch.arun(port=0))
    await _until(lambda: "second" in sketch.calls)
    node = sketch.serving
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sketch.calls[-1] == "last"
    with pytest.raises(OSError, match=r"."):
        await asyncio.open_connection(node.host, node.port)


async def test_cancelled_while_it_starts_it_gives_back_the_port() -> None:
    """Cancelled after n turns of the loop, for every n until it is up."""
    port = free_ports(1)[0]
    turns = 0
    up = False
    while not up:
        sketch = made(Hooked)
        task = asyncio.create_task(sketch.arun(port=port))
        for _ in range(turns):
            await asyncio.sleep(0)
        up = "second" in sketch.calls
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (await asyncio.start_server(lambda *_: None, "127.0.0.1", port)).close()
        turns += 1
    assert turns > 2


# -- where it serves ------------------------------------------------------------------------------------


class Server(factory.FactoryLoop):
    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        return "ok"


async def _port(
    option: int | None, grid: int | None, environment: str | None, monkeypatch: pytest.MonkeyPatch
) -> int | None:
    if environment is not None:
        monkeypatch.setenv("PORT", environment)
    sketch = Server.as_node(mesh.Node("server", "localhost", grid), mesh.Grid())
    async with sketch.running(port=option):
        return sketch.serving.port


@pytest.mark.source("B24")
async def test_the_port_is_the_options_else_the_grids_else_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two, three = free_ports(3)
    with logged() as log:
        assert await _port(one, two, str(three), monkeypatch) == one
        assert log.having(f"the grid has server on port {two}; that is where its peers will look for it")
        log.lines.clear()
        assert await _port(None, two, str(three), monkeypatch) == two
        assert await _port(None, None, str(three), monkeypatch) == three
        assert await _port(one, None, str(three), monkeypatch) == one
        assert await _port(0, None, str(three), monkeypatch) not in {0, one, two, three}
        assert log.having("the grid has") == []


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "http", "80 80", "٣٣٣", "1" * 5000, "0000000001"])
async def test_a_port_of_the_environment_that_is_none_is_told_and_not_used(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_ports(1)[0]
    monkeypatch.setattr(doors_module, "DEFAULT_PORT", port)
    with logged() as log:
        assert await _port(None, None, text, monkeypatch) == port
    assert len(log.having("$PORT is")) == (1 if text else 0)


def test_the_default_port_is_that_of_the_source() -> None:
    assert doors_module.DEFAULT_PORT == 8765


class Client(factory.FactoryLoop):
    @factory.on_start
    async def begin(self) -> None:
        self.aimed = self.target


BLINK = mesh.Node("blink", "localhost", 8765)
FAR = mesh.Node("far", "pi.local", 9000, tls=True)


@pytest.mark.source("B17", "B25", "B36")
@pytest.mark.parametrize(
    ("target", "socket", "port", "name", "uri"),
    [
        (None, None, None, "blink", "ws://localhost:8765/"),
        (None, None, 8765, "blink", "ws://localhost:8765/"),
        (None, None, 9999, "localhost:9999", "ws://localhost:9999/"),
        (None, "10.0.0.1", None, "10.0.0.1:8765", "ws://10.0.0.1:8765/"),
        ("far", None, None, "far", "wss://pi.local:9000/"),
        ("far", None, 9001, "pi.local:9001", "wss://pi.local:9001/"),
        ("far", "localhost", 8765, "blink", "ws://localhost:8765/"),
    ],
)
async def test_the_target_of_a_client(
    target: str | None,
    socket: str | None,
    port: int | None,
    name: str,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Runners set it for everybody; a client-only sketch never reads it.
    monkeypatch.setenv("PORT", "5000")
    sketch = Client.as_node(mesh.Node("client", target=target), mesh.Grid([BLINK, FAR]))
    with logged() as log:
        async with sketch.running(socket, port):
            assert isinstance(sketch.aimed, mesh.Node)
            assert (sketch.aimed.name, sketch.aimed.uri()) == (name, uri)
            with pytest.raises(mesh.NotAServerError):
                _ = sketch.serving
    assert not log.having("PORT")


async def test_a_target_may_be_set_by_its_name() -> None:
    sketch = made(Client, BLINK, FAR)
    sketch.target = "far"
    async with sketch.running():
        assert sketch.target == "far"
    other = made(Client, BLINK, FAR)
    other.target = "fra"
    with pytest.raises(mesh.UnknownNodeError, match="did you mean 'far'"):
        await other.arun(port=1)


async def test_time_of_a_free_end() -> None:
    """An idle worker ends at once: nothing of the drain is waited out."""
    sketch = made(Hooked)
    async with sketch.running(port=0):
        begin = time.monotonic()
    assert time.monotonic() - begin < worker_module.DRAIN


async def test_peers_that_came_and_went_are_not_remembered_without_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("factory.handling.MOST_PEERS", 3)
    handling = made(Hooked)._worker._handling
    for number in range(10):
        handling.opened(f"$script-{number}", "x")
    assert list(handling._talking) == ["$script-7", "$script-8", "$script-9"]
