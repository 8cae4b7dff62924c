"""What a sketch class asks for, read once when the class is made.

Every mistake that can be seen in the class is raised here, where its author looks:
at the import, naming the method, the file and line, and the signature expected.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, get_type_hints

from factory.errors import SketchError
from factory.marking import Hook, Reaction, Rhythm, Source, marks
from mesh.links.publishing import checked_channel
from mesh.protocol.patterns import Pattern, PatternError, PatternTable
from mesh.protocol.values import message_decoder

Decoder = Callable[[Any], object]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


SENDER = "sender"
"""A parameter of this name gets the name of the peer on whose link a message came."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A method that takes messages.

    Attributes:
        name: Name of the method.
        pattern: The channels it takes; ``None`` for all that no pattern takes.
        exclusive: Whether no other handler of the worker runs meanwhile.
        function: The function itself, to be called with the sketch first.
        is_async: Whether it is ``async def``; else it runs in a thread.
        gives_parts: Whether it is an async generator, which answers asks.
        source: Who publishes what it takes; ``None`` if anybody may send it.
        takes_sender: Whether it wants to be told, as ``sender``, the name of the peer that sends.

    """

    name: str
    pattern: Pattern | None
    exclusive: bool
    function: Callable[..., Any]
    is_async: bool
    gives_parts: bool = False
    source: Source | None = None
    takes_sender: bool = False

    def decoder(self, make: Callable[[object], Decoder] = message_decoder) -> Decoder:
        """Return what turns a message into the type this handler asked for.

        Not done when the class is made, for the types may be defined after it.

        Args:
            make: What makes it for an annotation: ``message_decoder`` for what plain clients send,
                ``value_decoder`` for what comes over a link.

        Raises:
            SketchError: If the annotation cannot be resolved or decoded to.

        """
        parameter = list(inspect.signature(self.function).parameters.values())[2]
        if parameter.annotation is inspect.Parameter.empty:
            return make(None)
        # This one alone: the others may be names that exist for type checkers only.
        alone = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
        scope = getattr(inspect.unwrap(self.function), "__globals__", {})
        try:
            return make(get_type_hints(alone, scope, include_extras=True)[parameter.name])
        except Exception as exc:  # evaluating an annotation can raise anything
            raise SketchError(
                f"{_place(self.function)}: parameter {parameter.name!r} has a type that messages "
                f"cannot be decoded to ({exc}); "
                f"use str, bytes, int, float, dict, list, Literal, an enum, a dataclass or a msgspec.Struct"
            ) from exc


@dataclass(slots=True)
class Plan:
    """What the worker of a sketch class shall do.

    Attributes:
        setup: Signature of ``setup()``, without ``self``.
        fallback: The bare handler, if there is one.
        handlers: Handlers with a pattern, by channel.
        sourced: Handlers of what others publish.
        publishes: Channels that the class says it publishes on.
        rhythms: Methods that run again and again, with their period.
        on_start: Names of the methods that run once at the start.
        on_stop: Names of the methods that run once at the end.

    """

    setup: inspect.Signature
    fallback: Handler | None = None
    handlers: PatternTable[Handler] = field(default_factory=PatternTable)
    sourced: list[Handler] = field(default_factory=list)
    publishes: tuple[str, ...] = ()
    rhythms: list[tuple[str, Rhythm]] = field(default_factory=list)
    on_start: list[str] = field(default_factory=list)
    on_stop: list[str] = field(default_factory=list)

    @property
    def all_handlers(self) -> list[Handler]:
        """Every handler, those with a pattern first."""
        plain = [handler for _, handler in self.handlers] + ([self.fallback] if self.fallback else [])
        return [*plain, *self.sourced]

    @property
    def is_client_only(self) -> bool:
        """Whether nobody can send to this sketch or subscribe to it, so that it needs no port."""
        return not self.publishes and len(self.all_handlers) == len(self.sourced)

    @property
    def is_idle(self) -> bool:
        """Whether the class asks for nothing at all."""
        return not self.all_handlers and not self.rhythms and not self.on_start

    @property
    def channels(self) -> list[str]:
        """The channels this sketch takes, for people."""
        named = [repr(pattern.text) for pattern, _ in self.handlers]
        return [*named, "any other channel"] if self.fallback else named

    def find(self, channel: str) -> tuple[Handler, dict[str, int | str]] | None:
        """Return the handler for a channel with its captured values, or ``None``."""
        found = self.handlers.find(channel)
        if found is not None:
            return found
        return None if self.fallback is None else (self.fallback, {})


def read_plan(sketch: type, taken: Collection[str] = ()) -> Plan:
    """Read the decorated methods of a sketch class.

    Args:
        sketch: The class.
        taken: Names that no decorated method may have.

    Raises:
        SketchError: If a signature is wrong, two patterns clash, two methods are bare
            handlers, a method lacks its decorator, or one has a name that is taken.

    """
    plan = Plan(_setup_signature(sketch), publishes=_published(sketch))
    # A method that is overridden counts as its last definition says, in the place of
    # its first one.
    names = dict.fromkeys(name for base in reversed(sketch.__mro__) for name in vars(base))
    for name in names:
        function = inspect.getattr_static(sketch, name, None)
        noted = marks(function)
        if (
            name == "loop"
            and inspect.isfunction(function)
            and not any(isinstance(mark, Reaction) for mark in noted)
        ):
            raise SketchError(f"{_place(function)} is not decorated; write @factory.reactive above it")
        if function is not None and not noted:
            _check_override(sketch, name, function)
        if noted and name in taken:
            raise SketchError(
                f"{_place(function)} is {noted[0]}, but {name!r} is a name of factory.FactoryLoop itself, "
                f"which it would hide; rename it"
            )
        for mark in noted:
            if not inspect.isfunction(function):
                raise SketchError(
                    f"{_place(function)}: decorate a plain method, not a {type(function).__name__}"
                )
            _enter(plan, sketch, name, function, mark)
    return plan


def _published(sketch: type) -> tuple[str, ...]:
    """Return the channels that a class says it publishes on."""
    written = getattr(sketch, "publishes", ())
    channels = (written,) if isinstance(written, str) else tuple(written)
    for channel in channels:
        try:
            checked_channel(channel)
        except (ValueError, AttributeError) as exc:
            raise SketchError(
                f'{sketch.__name__}.publishes: {exc}; expected: publishes = ("tick", …)'
            ) from None
    return channels


def _check_override(sketch: type, name: str, function: object) -> None:
    """Refuse a method without decorator in the place of one with: it would never be called."""
    _, *hidden = (base for base in sketch.__mro__ if name in vars(base))
    for base in hidden:
        if vars(base)[name] is None:
            return
        for mark in marks(vars(base)[name]):
            where = _place(function) if callable(function) else f"{sketch.__name__}.{name}"
            raise SketchError(
                f"{where} overrides {base.__name__}.{name}(), which is {mark}, and is not decorated; "
                f"write {mark} above it, or {name} = None if it shall not run"
            )


class _Unquoted(str):
    """An annotation that was not evaluated, shown in errors as its author wrote it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _setup_signature(sketch: type) -> inspect.Signature:
    """Return the signature of ``setup()`` without its first parameter."""
    function = inspect.getattr_static(sketch, "setup")
    if not inspect.isfunction(function):
        raise SketchError(
            f"{sketch.__name__}.setup is a {type(function).__name__}; expected: def setup(self, ...)"
        )
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if not parameters or parameters[0].kind not in _POSITIONAL:
        raise SketchError(f"{_place(function)} does not take self; expected: def setup(self, ...)")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise SketchError(f"{_place(function)} yields, so it would never run; expected: def setup(self, ...)")
    return signature.replace(
        parameters=[
            parameter.replace(annotation=_Unquoted(parameter.annotation))
            if isinstance(parameter.annotation, str)
            else parameter
            for parameter in parameters[1:]
        ],
        return_annotation=signature.empty,
    )


def _enter(plan: Plan, sketch: type, name: str, function: Callable[..., Any], mark: object) -> None:
    if isinstance(mark, Rhythm):
        _check_no_arguments(function, "@every")
        plan.rhythms.append((name, mark))
    elif isinstance(mark, Hook):
        _check_no_arguments(function, f"@on_{mark.when}")
        (plan.on_start if mark.when == "start" else plan.on_stop).append(name)
    elif isinstance(mark, Reaction):
        _check_handler(function, mark.pattern)
        handler = Handler(
            name,
            mark.pattern,
            mark.exclusive,
            function,
            inspect.iscoroutinefunction(function),
            inspect.isasyncgenfunction(function),
            mark.source,
            SENDER in inspect.signature(function).parameters,
        )
        if mark.source is not None:
            if handler.gives_parts:
                raise SketchError(
                    f"{_place(function)} yields, but nobody asks a handler with a source for parts; "
                    f"expected: async def {name}(self, channel, msg)"
                )
            plan.sourced.append(handler)
            return
        if mark.pattern is None:
            if plan.fallback is not None:
                raise SketchError(
                    f"{_place(function)}: {sketch.__name__} has two bare handlers, "
                    f"{plan.fallback.name}() and {name}(); "
                    f'give one of them a channel, as in @reactive("{name}")'
                )
            plan.fallback = handler
            return
        try:
            plan.handlers.add(mark.pattern, handler)
        except PatternError as exc:
            raise SketchError(f"{_place(function)}: {exc}") from exc


def _check_handler(function: Callable[..., Any], pattern: Pattern | None) -> None:
    captures = pattern.captures if pattern else ()
    extra = "".join(f", {name}" for name in captures)
    expected = f"expected: async def {function.__name__}(self, channel, msg{extra})"
    if inspect.isgeneratorfunction(function):
        raise SketchError(
            f"{_place(function)} yields, but is no async def; a handler returns one value, the "
            f"acknowledgement, or gives parts as an async generator; {expected}"
        )
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    if len(positional) < 3:
        raise SketchError(f"{_place(function)} must take a channel and a message; {expected}")
    if set(captures) & {p.name for p in positional[:3]}:
        raise SketchError(
            f"{_place(function)}: a captured value has the name of a fixed parameter; {expected}"
        )
    named = {p.name: p for p in parameters[3:]}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for name in captures:
        if not takes_any and (name not in named or named[name].kind is inspect.Parameter.POSITIONAL_ONLY):
            raise SketchError(
                f"{_place(function)} does not take {name!r}, which its pattern captures; {expected}"
            )
    for parameter in named.values():
        fixed = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if not fixed and parameter.default is parameter.empty and parameter.name not in captures:
            raise SketchError(
                f"{_place(function)}: nothing gives parameter {parameter.name!r} its value; {expected}"
            )


def _check_no_arguments(function: Callable[..., Any], decorator: str) -> None:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise SketchError(f"{_place(function)} yields, which {decorator} makes no use of")
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
        raise SketchError(f"{_place(function)} does not take self; expected: def {function.__name__}(self)")
    required = [
        p for p in parameters[1:] if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if required:
        raise SketchError(
            f"{_place(function)} needs arguments that {decorator} has not; "
            f"expected: def {function.__name__}(self)"
        )


def _place(function: Any) -> str:
    # Under functools.wraps and staticmethod lies what its author wrote.
    function = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(function, "__code__", None)
    if code is None:
        return f"{getattr(function, '__qualname__', function)}()"
    return f"{function.__qualname__}() at {code.co_filename}:{code.co_firstlineno}"
