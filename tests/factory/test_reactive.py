"""The decorators: they only take notes, and refuse what cannot work where it is written."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import factory
from factory.marking import Hook, Reaction, Rhythm, marks
from mesh.protocol.patterns import Pattern
from tests.helpers.sketch_bench import define


async def handler(self: object, channel: str, msg: str) -> None: ...


@pytest.mark.source("B4")
def test_a_decorated_function_is_the_very_same_function() -> None:
    for decorator in (
        factory.reactive,
        factory.reactive("x"),
        factory.reactive(exclusive=True),
        factory.every(1),
        factory.on_start,
        factory.on_stop,
    ):

        async def function(self: object, channel: str, msg: str) -> None: ...

        assert decorator(function) is function
        assert inspect.iscoroutinefunction(function)
        assert len(marks(function)) == 1


@pytest.mark.parametrize(
    ("decorator", "mark"),
    [
        (factory.reactive, Reaction(None, exclusive=False)),
        (factory.reactive(), Reaction(None, exclusive=False)),
        (factory.reactive(exclusive=True), Reaction(None, exclusive=True)),
        (factory.reactive("pin/{n:int}"), Reaction(Pattern.parse("pin/{n:int}"), exclusive=False)),
        (factory.reactive("", exclusive=True), Reaction(Pattern.parse(""), exclusive=True)),
        (factory.every("100ms"), Rhythm(0.1)),
        (factory.every("2s"), Rhythm(2.0)),
        (factory.every("1m"), Rhythm(60.0)),
        (factory.every("0.5"), Rhythm(0.5)),
        (factory.every(0.25), Rhythm(0.25)),
        (factory.every(3), Rhythm(3.0)),
        (factory.every("self.delay"), Rhythm("delay")),
        (factory.on_start, Hook("start")),
        (factory.on_stop, Hook("stop")),
    ],
)
def test_what_a_decorator_notes(decorator: Callable[[Any], Any], mark: object) -> None:
    async def function(self: object, channel: str, msg: str) -> None: ...

    assert marks(decorator(function)) == (mark,)


def test_decorators_stack_and_are_read_from_the_inside_out() -> None:
    @factory.reactive("b")
    @factory.reactive("a")
    async def function(self: object, channel: str, msg: str) -> None: ...

    assert [mark.pattern.text for mark in marks(function) if isinstance(mark, Reaction) and mark.pattern] == [
        "a",
        "b",
    ]


def test_an_undecorated_function_has_no_notes() -> None:
    assert marks(handler) == ()
    assert marks(None) == ()


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("@factory.reactive(5)", ["takes a channel pattern", '@reactive("pin/{number:int}")', "not 5"]),
        ('@factory.reactive("/x")', ["begins with a slash", "write 'x'"]),
        ('@factory.reactive("$x")', ["reserved"]),
        ('@factory.reactive("{a}/{a}")', ["captures 'a' twice"]),
        ('@factory.reactive("{a:float}")', ["unknown type 'float'", "int, str and path"]),
        ('@factory.reactive("x{a}")', ["whole segment"]),
        ('@factory.every("fast")', ["'fast' is no duration", "500ms"]),
        ("@factory.every", ["needs a period", '@every("100ms")']),
        ("@factory.every(0)", ["above zero"]),
        ("@factory.every(-1)", ["above zero", "-1"]),
        ('@factory.every("0s")', ["above zero"]),
        ('@factory.every(float("nan"))', ["above zero"]),
        ('@factory.every(float("inf"))', ["above zero"]),
        ("@factory.every(None)", ["@every"]),
        ('@factory.every("self.")', ["no duration"]),
        ('@factory.every("self.a b")', ["no duration"]),
        ('@factory.every("selfish")', ["no duration"]),
        ("@factory.reactive\n    @property", ["takes a channel pattern", "property"]),
        ("@factory.on_start\n    @property", ["plain method", "property"]),
        ("@factory.reactive\n    @classmethod", ["classmethod"]),
    ],
)
def test_a_wrong_decorator_is_refused_with_its_line(line: str, parts: list[str]) -> None:
    source = f"class X(factory.FactoryLoop):\n    {line}\n    async def loop(self, channel, msg): ..."
    with pytest.raises(factory.SketchError) as caught:
        define(source)
    for part in parts:
        assert part in str(caught.value)
    # Line 1 is the import, line 2 the class.
    assert "sketch.py:3" in str(caught.value)
    assert isinstance(caught.value, TypeError)


def test_slots_and_builtins_cannot_be_decorated() -> None:
    with pytest.raises(factory.SketchError, match="decorate a plain method, not a builtin_function"):
        factory.reactive(len)
