"""What is read from a sketch class, and every mistake that can be seen in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest

import factory
from factory.plan import read_plan
from tests.helpers.sketch_bench import define, made, wrapping

if TYPE_CHECKING:
    from nowhere import Unknown  # type: ignore[import-not-found]


class Many(factory.FactoryLoop):
    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        return "bare"

    @factory.reactive("pin/{number:int}")
    async def pin(self, channel: str, msg: str, number: int) -> str:
        return f"pin {number}"

    @factory.reactive("on")
    @factory.reactive("off")
    def switch(self, channel: str, msg: str) -> str:
        return channel

    @factory.reactive("alone", exclusive=True)
    async def alone(self, channel: str, msg: str) -> None: ...

    @factory.every("100ms")
    async def tick(self) -> None: ...

    @factory.every(1)
    def tock(self, times: int = 1, **more: object) -> None: ...

    @factory.on_start
    async def open(self) -> None: ...

    @factory.on_start
    def open_more(self) -> None: ...

    @factory.on_stop
    def close(self) -> None: ...


def test_a_class_is_read_when_it_is_made() -> None:
    plan = Many.plan
    assert plan.fallback is not None
    assert plan.fallback.name == "loop"
    assert {pattern.text: handler.name for pattern, handler in plan.handlers} == {
        "pin/{number:int}": "pin",
        "on": "switch",
        "off": "switch",
        "alone": "alone",
    }
    assert {handler.name: handler.is_async for handler in plan.all_handlers}["switch"] is False
    assert [handler.name for handler in plan.all_handlers if handler.exclusive] == ["alone"]
    assert [(name, rhythm.period) for name, rhythm in plan.rhythms] == [("tick", 0.1), ("tock", 1.0)]
    assert plan.on_start == ["open", "open_more"]
    assert plan.on_stop == ["close"]
    assert not plan.is_client_only
    assert not plan.is_idle


@pytest.mark.parametrize(
    ("channel", "name", "captured"),
    [
        ("pin/7", "pin", {"number": 7}),
        ("pin/seven", "loop", {}),
        ("", "loop", {}),
        ("on", "switch", {}),
        ("off", "switch", {}),
        ("alone", "alone", {}),
        ("alone/more", "loop", {}),
    ],
)
def test_a_channel_goes_to_its_handler(channel: str, name: str, captured: dict[str, int]) -> None:
    found = Many.plan.find(channel)
    assert found is not None
    assert (found[0].name, found[1]) == (name, captured)


def test_the_channels_for_people() -> None:
    assert sorted(Many.plan.channels) == [
        "'alone'",
        "'off'",
        "'on'",
        "'pin/{number:int}'",
        "any other channel",
    ]


def test_without_a_bare_handler_a_channel_may_have_none() -> None:
    class Only(factory.FactoryLoop):
        @factory.reactive("x")
        async def x(self, channel: str, msg: str) -> None: ...

    assert Only.plan.find("y") is None
    assert Only.plan.channels == ["'x'"]


# -- inheritance -----------------------------------------------------------------------


def test_what_is_inherited_counts_and_what_is_overridden_counts_as_it_is_now() -> None:
    class Child(Many):
        @factory.reactive("pin/{number:int}/{what}")
        async def pin(self, channel: str, msg: str, number: int, what: str) -> str:  # type: ignore[override]
            return what

        tick = None  # type: ignore[assignment]

        @factory.on_stop
        def close_more(self) -> None: ...

    assert {pattern.text for pattern, _ in Child.plan.handlers} == {
        "pin/{number:int}/{what}",
        "on",
        "off",
        "alone",
    }
    assert [name for name, _ in Child.plan.rhythms] == ["tock"]
    # Those of the parent first.
    assert Child.plan.on_stop == ["close", "close_more"]
    assert [name for name, _ in Many.plan.rhythms] == ["tick", "tock"], "the parent is as it was"


def test_a_mixin_may_bring_handlers_and_none_removes_one() -> None:
    class Pings:
        @factory.reactive("ping")
        async def ping(self, channel: str, msg: str) -> str:
            return "pong"

    class Mixed(Pings, factory.FactoryLoop):
        @factory.reactive("x")
        async def x(self, channel: str, msg: str) -> None: ...

    class Without(Mixed):
        ping = None  # type: ignore[assignment]

    assert Mixed.plan.channels == ["'x'", "'ping'"] or Mixed.plan.channels == ["'ping'", "'x'"]
    assert Without.plan.channels == ["'x'"]


def test_a_diamond_enters_a_method_once() -> None:
    class Left(Many): ...

    class Right(Many): ...

    class Bottom(Left, Right): ...

    assert Bottom.plan.channels == Many.plan.channels
    assert Bottom.plan.on_start == Many.plan.on_start


def test_a_decorator_of_the_users_own_may_stand_on_either_side() -> None:
    class Wrapped(factory.FactoryLoop):
        @factory.reactive("in/{n:int}")
        @wrapping
        async def inside(self, channel: str, msg: int, n: int) -> int:
            return n

        @wrapping
        @factory.reactive("out/{n:int}")
        async def outside(self, channel: str, msg: int, n: int) -> int:
            return n

    assert {handler.name: handler.is_async for handler in Wrapped.plan.all_handlers} == {
        "inside": True,
        "outside": True,
    }
    assert [handler.decoder()("5") for handler in Wrapped.plan.all_handlers] == [5, 5]


# -- mistakes --------------------------------------------------------------------------

# What stands in the class from line 3 of sketch.py on; the line that is blamed; parts of what is said.
MISTAKES: dict[str, tuple[str, int, list[str]]] = {
    "no decorator": (
        "async def loop(self, channel, msg): ...",
        3,
        ["X.loop()", "is not decorated", "@factory.reactive above it"],
    ),
    "only a rhythm on loop": (
        "@factory.every(1)\n    async def loop(self): ...",
        3,
        ["is not decorated"],
    ),
    "no message": (
        "@factory.reactive\n    async def loop(self, channel): ...",
        3,
        ["must take a channel and a message", "expected: async def loop(self, channel, msg)"],
    ),
    "no self": (
        "@factory.reactive\n    async def loop(channel, msg): ...",
        3,
        ["must take a channel and a message", "expected: async def loop(self, channel, msg)"],
    ),
    "message by keyword only": (
        "@factory.reactive\n    async def loop(self, channel, *, msg): ...",
        3,
        ["expected: async def loop(self, channel, msg)"],
    ),
    "a capture is missing": (
        '@factory.reactive("pin/{number:int}/{what}")\n    async def pin(self, channel, msg, number): ...',
        3,
        ["does not take 'what'", "expected: async def pin(self, channel, msg, number, what)"],
    ),
    "a capture is positional only": (
        '@factory.reactive("{a}")\n    async def pin(self, channel, msg, a, /): ...',
        3,
        ["does not take 'a'"],
    ),
    "a capture has a fixed name": (
        '@factory.reactive("{msg}")\n    async def pin(self, channel, msg): ...',
        3,
        ["captured value has the name of a fixed parameter"],
    ),
    "a parameter too many": (
        "@factory.reactive\n    async def loop(self, channel, msg, speed): ...",
        3,
        ["nothing gives parameter 'speed' its value", "expected: async def loop(self, channel, msg)"],
    ),
    "yields without async": (
        "@factory.reactive\n    def loop(self, channel, msg):\n        yield 1",
        3,
        ["yields, but is no async def", "async generator", "expected: async def loop(self, channel, msg)"],
    ),
    "static": (
        "@factory.reactive\n    @staticmethod\n    async def loop(channel, msg): ...",
        3,
        ["X.loop()", "decorate a plain method, not a staticmethod"],
    ),
    "two bare handlers": (
        (
            "@factory.reactive\n    async def loop(self, channel, msg): ...\n"
            "    @factory.reactive\n    async def other(self, channel, msg): ..."
        ),
        5,
        ["X has two bare handlers, loop() and other()", '@reactive("other")'],
    ),
    "a clash": (
        (
            '@factory.reactive("{a}/x")\n    async def one(self, channel, msg, a): ...\n'
            '    @factory.reactive("x/{b}")\n    async def two(self, channel, msg, b): ...'
        ),
        5,
        ["X.two()", "'{a}/x' and 'x/{b}' clash", "'x/x' fits both"],
    ),
    "the same pattern twice": (
        (
            '@factory.reactive("a")\n    async def one(self, channel, msg): ...\n'
            '    @factory.reactive("a")\n    async def two(self, channel, msg): ...'
        ),
        5,
        ["clash"],
    ),
    "a rhythm with arguments": (
        "@factory.every(1)\n    async def tick(self, count): ...",
        3,
        ["needs arguments that @every has not", "expected: def tick(self)"],
    ),
    "a rhythm without self": (
        "@factory.every(1)\n    async def tick(): ...",
        3,
        ["does not take self", "expected: def tick(self)"],
    ),
    "a rhythm that is a handler": (
        "@factory.every(1)\n    @factory.reactive\n    async def loop(self, channel, msg): ...",
        3,
        ["needs arguments that @every has not"],
    ),
    "a start hook with arguments": (
        "@factory.on_start\n    def begin(self, when): ...",
        3,
        ["needs arguments that @on_start has not", "expected: def begin(self)"],
    ),
    "a stop hook with a required keyword": (
        "@factory.on_stop\n    def end(self, *, why): ...",
        3,
        ["needs arguments that @on_stop has not"],
    ),
    "a rhythm that yields": (
        "@factory.every(1)\n    async def tick(self):\n        yield",
        3,
        ["yields, which @every makes no use of"],
    ),
    "a hook that yields": (
        "@factory.on_start\n    def begin(self):\n        yield",
        3,
        ["yields, which @on_start makes no use of"],
    ),
    "a handler that hides stream()": (
        "@factory.reactive\n    async def stream(self, channel, msg): ...",
        3,
        [
            "X.stream()",
            "is @factory.reactive, but 'stream' is a name of factory.FactoryLoop itself",
            "rename",
        ],
    ),
    "a rhythm that hides out()": (
        '@factory.every("1s")\n    def out(self): ...',
        3,
        ["is @factory.every(1), but 'out' is a name"],
    ),
    "a hook that hides running()": (
        "@factory.on_stop\n    def running(self): ...",
        3,
        ["is @factory.on_stop, but 'running' is a name"],
    ),
    "a handler that hides an attribute": (
        '@factory.reactive("x", exclusive=True)\n    def grid(self, channel, msg): ...',
        3,
        ["is @factory.reactive(\"x\", exclusive=True), but 'grid' is a name"],
    ),
    "setup without self": (
        "def setup(): ...",
        3,
        ["X.setup()", "does not take self", "expected: def setup(self, ...)"],
    ),
    "setup with keywords only": (
        "def setup(**options): ...",
        3,
        ["does not take self"],
    ),
    "setup that yields": (
        "def setup(self):\n        yield",
        3,
        ["yields, so it would never run"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_class_is_told_with_place_and_signature(name: str) -> None:
    body, line, parts = MISTAKES[name]
    with pytest.raises(factory.SketchError) as caught:
        define(f"class X(factory.FactoryLoop):\n    {body}")
    for part in parts:
        assert part in str(caught.value)
    assert f"sketch.py:{line}" in str(caught.value)


def test_setup_must_be_a_method() -> None:
    with pytest.raises(factory.SketchError, match=r"X\.setup is a staticmethod; expected: def setup\(self"):
        define("class X(factory.FactoryLoop):\n    @staticmethod\n    def setup(sound): ...")


def test_a_mistake_below_a_wrapper_is_told_with_the_place_of_what_is_wrapped() -> None:
    source = """
        import functools
        def twice(f):
            @functools.wraps(f)
            async def wrapper(*a, **k):
                return await f(*a, **k)
            return wrapper
        class X(factory.FactoryLoop):
            @factory.reactive
            @twice
            async def loop(self, channel): ...
    """
    with pytest.raises(factory.SketchError, match=r"X\.loop\(\) at sketch\.py:9"):
        define(source)


def test_a_subclass_that_overrides_loop_must_decorate_it_again() -> None:
    with pytest.raises(factory.SketchError, match=r"Child\.loop\(\) at .*test_plan\.py:\d+ is not decorated"):

        class Child(Many):
            async def loop(self, channel: str, msg: str) -> str:
                return "x"


# -- what is refused when it is constructed ----------------------------------------------


@pytest.mark.source("B38")
def test_a_class_that_does_nothing_is_refused() -> None:
    class Nothing(factory.FactoryLoop):
        def setup(self) -> None: ...

        @factory.on_stop
        def end(self) -> None: ...

    for sketch in (Nothing, factory.FactoryLoop):
        with pytest.raises(factory.SketchError) as caught:
            made(sketch)
        assert f"{sketch.__name__} does nothing" in str(caught.value)
        assert "@factory.reactive above async def loop(self, channel, msg)" in str(caught.value)
        assert "@factory.every" in str(caught.value)


@pytest.mark.source("B17")
def test_a_rhythm_or_a_start_hook_is_enough_for_a_client() -> None:
    class Rhythmic(factory.FactoryLoop):
        @factory.every(1)
        async def tick(self) -> None: ...

    class Starting(factory.FactoryLoop):
        @factory.on_start
        async def begin(self) -> None: ...

    for sketch in (Rhythmic, Starting):
        assert made(sketch).plan.is_client_only
        assert not sketch.plan.is_idle


class Loud(factory.FactoryLoop):
    def setup(self, sound: str, times: int = 1, *, bell: bool = False) -> None:
        self.given = (sound, times, bell)

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> None: ...


@pytest.mark.source("B3")
def test_arguments_go_to_setup() -> None:
    assert Loud("x", 2).given == ("x", 2, False)
    assert Loud(sound="x", bell=True).given == ("x", 1, True)


SIGNATURE = "Loud.setup(sound: str, times: int = 1, *, bell: bool = False): "


@pytest.mark.source("B3")
@pytest.mark.parametrize(
    ("args", "kwargs", "parts"),
    [
        ((), {"sond": "x"}, ["did you mean 'sound'?"]),
        (("x",), {"tiems": 1}, ["unexpected keyword argument 'tiems'", "did you mean 'times'?"]),
        (("x",), {"zzz": 1}, ["unexpected keyword argument 'zzz'"]),
        ((), {}, ["missing a required argument: 'sound'"]),
        (("x", 1, True), {}, ["too many positional arguments"]),
        (("x",), {"sound": "y"}, ["multiple values for argument 'sound'"]),
    ],
)
def test_wrong_arguments_name_the_signature(
    args: tuple[Any, ...], kwargs: dict[str, Any], parts: list[str]
) -> None:
    with pytest.raises(factory.SketchError) as caught:
        Loud(*args, **kwargs)
    for part in [SIGNATURE, *parts]:
        assert part in str(caught.value)
    assert caught.value.__suppress_context__, "the TypeError below would say it twice"


# -- types of messages -------------------------------------------------------------------


@dataclass
class Point:
    x: int
    y: int


class Shape(msgspec.Struct):
    name: str
    points: list[Point] = []


def test_a_decoder_of_what_the_handler_asks_for() -> None:
    class Typed(factory.FactoryLoop):
        @factory.reactive("none")
        async def none(self, channel, msg):  # type: ignore[no-untyped-def]
            ...

        @factory.reactive("int")
        async def int(self, channel: str, msg: int) -> None: ...

        @factory.reactive("shape")
        async def shape(self, channel: str, msg: Shape) -> None: ...

        @factory.reactive("mode")
        async def mode(self, channel: str, msg: Literal["on", "off"]) -> Unknown:
            """Its return type exists for type checkers only, which is no concern of messages."""

    decode = {handler.name: handler.decoder() for handler in Typed.plan.all_handlers}
    assert decode["none"]("5") == "5"
    assert decode["int"]("5") == 5
    assert decode["shape"]('{"name": "a", "points": [{"x": 1, "y": 2}]}') == Shape("a", [Point(1, 2)])
    assert decode["mode"]("on") == "on"


@pytest.mark.parametrize(
    "annotation", ["Nowhere", "Unknown", "int or", "int | 5", "factory.Nope", "object()"]
)
def test_a_type_that_cannot_be_had_is_refused_at_construction(annotation: str) -> None:
    names = define(f"""
        class X(factory.FactoryLoop):
            @factory.reactive
            async def loop(self, channel, msg: {annotation!r}): ...
    """)
    with pytest.raises(factory.SketchError) as caught:
        made(names["X"])
    assert "X.loop() at sketch.py:3: parameter 'msg'" in str(caught.value)
    assert "a dataclass or a msgspec.Struct" in str(caught.value)


def test_a_type_may_be_defined_after_the_class() -> None:
    names = define("""
        import dataclasses
        class X(factory.FactoryLoop):
            @factory.reactive
            async def loop(self, channel, msg: "Later"): ...
        @dataclasses.dataclass
        class Later:
            x: int
    """)
    assert made(names["X"]).plan.fallback.decoder()('{"x": 1}') == names["Later"](1)


def test_a_type_is_looked_for_where_the_method_was_written_not_its_wrapper() -> None:
    names = define("""
        from tests.helpers.sketch_bench import wrapping
        class Mine:
            x: int
        import dataclasses
        Mine = dataclasses.dataclass(Mine)
        class X(factory.FactoryLoop):
            @factory.reactive
            @wrapping
            async def loop(self, channel, msg: "Mine"): ...
    """)
    assert made(names["X"]).plan.fallback.decoder()('{"x": 1}') == names["Mine"](1)


def test_reading_a_plan_twice_gives_the_same() -> None:
    assert read_plan(Many).channels == Many.plan.channels


@pytest.mark.parametrize("name", ["stop", "run", "arun", "node", "to_thread", "on_peer", "setup", "_worker"])
def test_no_handler_hides_what_a_sketch_has(name: str) -> None:
    with pytest.raises(factory.SketchError, match=f"'{name}' is a name of factory.FactoryLoop"):
        define(f"class X(factory.FactoryLoop):\n    @factory.on_start\n    def {name}(self): ...")


def test_out_and_on_peer_may_be_overridden() -> None:
    define(
        """
        class X(factory.FactoryLoop):
            def out(self, text): ...
            async def on_peer(self, name, state, reason): ...
        """
    )


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("pin", ['overrides Many.pin(), which is @factory.reactive("pin/{number:int}")', "or pin = None"]),
        ("tick", ["overrides Many.tick(), which is @factory.every(0.1)", "write @factory.every(0.1) above"]),
        ("open", ["overrides Many.open(), which is @factory.on_start"]),
        ("close", ["overrides Many.close(), which is @factory.on_stop"]),
    ],
)
def test_an_override_without_its_decorator_is_refused(name: str, parts: list[str]) -> None:
    with pytest.raises(factory.SketchError) as caught:
        type("Child", (Many,), {name: lambda self, channel="", msg="", number=0: None})
    for part in parts:
        assert part in str(caught.value)


def test_what_was_dropped_may_be_an_ordinary_method_again() -> None:
    class Without(Many):
        tick = None  # type: ignore[assignment]

    class Again(Without):
        def tick(self) -> None:  # type: ignore[override]
            """No rhythm."""

    assert [name for name, _ in Again.plan.rhythms] == ["tock"]
