"""The decorators of a sketch: they mark methods and add nothing hidden.

A decorated method is the very same function, with a note attached that says when the
worker shall call it. ``factory.plan`` reads the notes when the class is made.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from factory.errors import SketchError
from mesh.protocol.fanout import DEFAULT_LIMIT, Policy, settled_policy
from mesh.protocol.patterns import Pattern, PatternError
from mesh.text import seconds

F = TypeVar("F", bound=Callable[..., Any])

_MARKS = "__factory_marks__"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the messages of a handler are published.

    Attributes:
        name: Name or alias of the node.
        policy: What it does when this sketch is slow.
        limit: Values that may wait there.

    """

    name: str
    policy: str
    limit: int


@dataclass(frozen=True, slots=True)
class Reaction:
    """This method handles messages.

    Attributes:
        pattern: The channels it takes; ``None`` for all that no pattern takes.
        exclusive: Whether no other handler of the worker runs meanwhile.
        source: Who publishes them; ``None`` if anybody may send them.

    """

    pattern: Pattern | None
    exclusive: bool
    source: Source | None = None

    def __str__(self) -> str:
        inside = [f'"{self.pattern.text}"'] if self.pattern else []
        inside += ["exclusive=True"] if self.exclusive else []
        inside += [f'source="{self.source.name}"'] if self.source else []
        return f"@factory.reactive({', '.join(inside)})" if inside else "@factory.reactive"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """This method runs again and again.

    Attributes:
        period: Seconds from start to start, or the attribute that holds them.

    """

    period: float | str

    def __str__(self) -> str:
        period = f'"self.{self.period}"' if isinstance(self.period, str) else f"{self.period:g}"
        return f"@factory.every({period})"


@dataclass(frozen=True, slots=True)
class Hook:
    """This method runs once, at ``start`` or at ``stop``."""

    when: str

    def __str__(self) -> str:
        return f"@factory.on_{self.when}"


Mark = Reaction | Rhythm | Hook


def marks(function: object) -> tuple[Mark, ...]:
    """Return what the decorators noted on a function, the innermost first."""
    noted: tuple[Mark, ...] = getattr(function, _MARKS, ())
    return noted


def _note(function: F, mark: Mark) -> F:
    try:
        setattr(function, _MARKS, (*marks(function), mark))
    except AttributeError:
        raise SketchError(
            f"at {_line_of_caller()}: decorate a plain method, not a {type(function).__name__}"
        ) from None
    return function


def _line_of_caller() -> str:
    """Say which line outside of this file runs now: that of the decorator."""
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


@overload
def reactive(handler: F, /) -> F: ...
@overload
def reactive(
    pattern: str | None = None,
    /,
    *,
    exclusive: bool = False,
    source: str | None = None,
    policy: str = Policy.DROP_OLDEST.value,
    limit: int = DEFAULT_LIMIT,
) -> Callable[[F], F]: ...
def reactive(
    pattern: F | str | None = None,
    /,
    *,
    exclusive: bool = False,
    source: str | None = None,
    policy: str = Policy.DROP_OLDEST.value,
    limit: int = DEFAULT_LIMIT,
) -> F | Callable[[F], F]:
    """Mark a method as the handler of messages.

    Bare, ``@reactive`` takes every channel that no pattern takes. With a pattern,
    ``@reactive("pin/{number:int}")``, it takes the channels that fit and receives the
    captured values by name. What the method returns is the acknowledgement; if it
    raises, that one message is refused. A plain ``def`` runs in a thread.

    Args:
        pattern: Which channels; see ``mesh.protocol.patterns``.
        exclusive: Let no other handler of this worker run meanwhile.
        source: Subscribe to the channel of this node, and handle what it publishes there and
            nothing else. The channel is then a plain name.
        policy: What the source does when ``limit`` values wait for this sketch: ``block``,
            ``drop_oldest``, ``drop_newest``, ``latest`` or ``error``.
        limit: Values that may wait at the source.

    Raises:
        SketchError: If the pattern is malformed.

    """
    if callable(pattern):
        return _note(pattern, Reaction(None, exclusive=False))
    if pattern is not None and not isinstance(pattern, str):
        raise SketchError(
            f"@reactive at {_line_of_caller()} takes a channel pattern, "
            f'as in @reactive("pin/{{number:int}}"), not {pattern!r}'
        )
    try:
        parsed = None if pattern is None else Pattern.parse(pattern)
    except PatternError as exc:
        raise SketchError(f"@reactive at {_line_of_caller()}: {exc}") from exc
    found = _source(parsed, source, policy, limit)
    return lambda function: _note(function, Reaction(parsed, exclusive=exclusive, source=found))


def _source(pattern: Pattern | None, source: str | None, policy: str, limit: int) -> Source | None:
    try:
        wanted, most = settled_policy(policy, limit)
        if source is None:
            if (policy, limit) != (Policy.DROP_OLDEST.value, DEFAULT_LIMIT):
                raise ValueError("policy and limit are those of a subscription, which needs a source=")
            return None
        if not source:
            raise ValueError(f"source is the name of a node, not {source!r}")
        if pattern is None or not pattern.is_literal or not pattern.text:
            raise ValueError(f'a source publishes on one channel, as in @reactive("tick", source="{source}")')
    except ValueError as exc:
        raise SketchError(f"@reactive at {_line_of_caller()}: {exc}") from exc
    return Source(source, wanted.value, most)


def every(period: str | float) -> Callable[[F], F]:
    """Mark a method as a rhythm of the worker's own.

    The first beat comes at once, the next one period after it, and so on; beats that
    a slow method misses are skipped, not made up for. A method that raises is logged,
    and the rhythm goes on. A plain ``def`` runs in a thread.

    Args:
        period: ``"100ms"``, ``"2s"``, a number of seconds, or ``"self.delay"`` for the
            attribute of the sketch that holds either.

    Raises:
        SketchError: If the period is no duration.

    """
    try:
        if callable(period):
            raise ValueError('it needs a period, as in @every("100ms")')
        attribute = period.removeprefix("self.") if isinstance(period, str) else ""
        parsed = attribute if attribute != period and attribute.isidentifier() else seconds(period)
    except (TypeError, ValueError) as exc:
        raise SketchError(f"@every at {_line_of_caller()}: {exc}") from exc
    return lambda function: _note(function, Rhythm(parsed))


def on_start(function: F) -> F:
    """Mark a method to run once when the worker serves, before its rhythms begin.

    What it raises ends the worker. A plain ``def`` runs on the event loop, where it
    must not block. A stop that is asked for meanwhile cancels an ``async def``.
    """
    return _note(function, Hook("start"))


def on_stop(function: F) -> F:
    """Mark a method to run once when the last message in hand is answered.

    A worker that never came to its start hooks does not run it.
    """
    return _note(function, Hook("stop"))
