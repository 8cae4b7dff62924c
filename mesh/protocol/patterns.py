"""Which pattern takes a channel.

A pattern is read segment by segment, as the channel's path is:

======================  ====================================================
``pin/led``             literal text
``pin/{number:int}``    a whole number, captured as ``int``
``pin/{name}``          any one segment that is not empty, captured as ``str``
``pin/*``               any one segment that is not empty, not captured
``files/{rest:path}``   all that follows, at least one segment; only at the end
======================  ====================================================

The narrower pattern wins: literal before ``int`` before any segment before
``path``. Two patterns of which neither is the narrower *clash* when one channel
fits both; a table refuses the second one, naming such a channel, so that which
handler runs never depends on the order of the source file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")

RESERVED = "$"
"""What a channel begins with that belongs to the mesh itself."""

_PLACEHOLDER = re.compile(r"\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:(?P<kind>[a-z]+))?\}")
# Bounded, for int() of text of any length is quadratic (and refused past 4300 digits).
_WHOLE = re.compile(r"-?[0-9]{1,18}")


class PatternError(ValueError):
    """A channel pattern is malformed, or clashes with another."""


class Kind(IntEnum):
    """How narrow a segment is; the smaller the narrower."""

    LITERAL = 0
    INT = 1
    SEGMENT = 2
    PATH = 3


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a pattern: its kind, its text if literal, its name if captured."""

    kind: Kind
    text: str = ""
    name: str | None = None

    def takes(self, part: str) -> bool:
        """Say whether one part of a channel fits this segment."""
        if self.kind is Kind.LITERAL:
            return part == self.text
        if self.kind is Kind.INT:
            return _WHOLE.fullmatch(part) is not None
        return part != ""

    @property
    def example(self) -> str:
        """Some text that this segment takes."""
        return self.text if self.kind is Kind.LITERAL else "1" if self.kind is Kind.INT else "x"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed channel pattern; see the module's text for its language."""

    text: str
    segments: tuple[Segment, ...]

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read a pattern.

        Raises:
            PatternError: If it is malformed, begins with a slash or the reserved
                ``$``, or captures one name twice.

        """
        if text.startswith("/"):
            raise PatternError(
                f"channel pattern {text!r} begins with a slash; channels have none, write {text[1:]!r}"
            )
        if text.startswith(RESERVED):
            raise PatternError(
                f"channel pattern {text!r} begins with '$', which is reserved for the mesh itself"
            )
        parts = text.split("/")
        segments = tuple(
            _segment(text, part, last=index == len(parts) - 1) for index, part in enumerate(parts)
        )
        names = [segment.name for segment in segments if segment.name]
        for name in names:
            if names.count(name) > 1:
                raise PatternError(
                    f"channel pattern {text!r} captures {name!r} twice; give each its own name"
                )
        return cls(text, segments)

    @property
    def captures(self) -> tuple[str, ...]:
        """Names that a match gives values to, from left to right."""
        return tuple(segment.name for segment in self.segments if segment.name)

    @property
    def is_literal(self) -> bool:
        """Whether this pattern takes exactly one channel: its own text."""
        return all(segment.kind is Kind.LITERAL for segment in self.segments)

    def match(self, channel: str) -> dict[str, int | str] | None:
        """Return the captured values if the channel fits, else ``None``."""
        parts = channel.split("/")
        last = self.segments[-1]
        if last.kind is Kind.PATH and len(parts) >= len(self.segments):
            head = len(self.segments) - 1
            parts = [*parts[:head], "/".join(parts[head:])]
        if len(parts) != len(self.segments):
            return None
        values: dict[str, int | str] = {}
        for segment, part in zip(self.segments, parts, strict=True):
            if not segment.takes(part):
                return None
            if segment.name:
                values[segment.name] = int(part) if segment.kind is Kind.INT else part
        return values


def _segment(pattern: str, part: str, *, last: bool) -> Segment:
    if part == "*":
        return Segment(Kind.SEGMENT)
    found = _PLACEHOLDER.fullmatch(part)
    if found is None:
        if "{" in part or "}" in part or "*" in part:
            raise PatternError(
                f"channel pattern {pattern!r}: {part!r} is neither plain text nor one placeholder; "
                f"write a whole segment as {{name}}, {{name:int}}, {{name:path}} or *"
            )
        return Segment(Kind.LITERAL, part)
    kinds = {None: Kind.SEGMENT, "str": Kind.SEGMENT, "int": Kind.INT, "path": Kind.PATH}
    if found["kind"] not in kinds:
        raise PatternError(
            f"channel pattern {pattern!r}: unknown type {found['kind']!r}; there are int, str and path"
        )
    kind = kinds[found["kind"]]
    if kind is Kind.PATH and not last:
        raise PatternError(
            f"channel pattern {pattern!r}: a path takes all that follows, so it can only stand last"
        )
    return Segment(kind, name=found["name"])


def clash(one: Pattern, other: Pattern) -> str | None:
    """Return a channel that both take though neither is narrower, or ``None``."""
    one_narrower = other_narrower = False
    example: list[str] = []
    for index in range(max(len(one.segments), len(other.segments))):
        if index >= len(one.segments) or index >= len(other.segments):
            return None
        a, b = one.segments[index], other.segments[index]
        narrow, wide, narrower = (a, b, one) if a.kind <= b.kind else (b, a, other)
        one_narrower |= a.kind < b.kind
        other_narrower |= b.kind < a.kind
        if wide.kind is Kind.PATH:
            # The path takes all that the narrower one has from here on, unless that is
            # nothing; a first segment that is empty is no obstacle.
            rest = [segment.example for segment in narrower.segments[index:]]
            if not wide.takes("/".join(rest)):
                return None
            example += rest
            break
        if not wide.takes(narrow.example):
            return None
        example.append(narrow.example)
    return None if one_narrower != other_narrower else "/".join(example)


class PatternTable(Generic[T]):
    """Patterns and what they stand for, looked up by channel."""

    def __init__(self) -> None:
        self._literal: dict[str, T] = {}
        self._entries: list[tuple[Pattern, T]] = []

    def __iter__(self) -> Iterator[tuple[Pattern, T]]:
        return iter(self._entries)

    def add(self, pattern: Pattern, value: T) -> None:
        """Add a pattern.

        Raises:
            PatternError: If some channel fits this pattern and an earlier one, and
                neither is the narrower.

        """
        for earlier, _ in self._entries:
            channel = clash(earlier, pattern)
            if channel is not None:
                raise PatternError(
                    f"channel patterns {earlier.text!r} and {pattern.text!r} clash: "
                    f"{channel!r} fits both; make one of them narrower"
                )
        self._entries.append((pattern, value))
        # Narrow before wide: comparing kinds from left to right is enough once
        # patterns that clash are kept out.
        self._entries.sort(key=lambda entry: [segment.kind for segment in entry[0].segments])
        if pattern.is_literal:
            self._literal[pattern.text] = value

    def find(self, channel: str) -> tuple[T, dict[str, int | str]] | None:
        """Return what takes this channel, with the captured values, or ``None``."""
        if channel in self._literal:
            return self._literal[channel], {}
        for pattern, value in self._entries:
            captured = pattern.match(channel)
            if captured is not None:
                return value, captured
        return None
