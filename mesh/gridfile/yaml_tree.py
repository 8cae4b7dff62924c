"""Read YAML as a bounded tree that remembers every line and column.

``yaml.safe_load`` does not protect a program from its input: aliases and merge
keys explode, deep nesting ends in RecursionError, duplicate keys vanish. So
this reader takes only the events of PyYAML's parser, which never constructs an
object and never recurses, and builds a tree of three kinds of node with a
stack of its own. Limits are on structure (bytes, depth, nodes), not on time,
so the same file always gives the same answer.

Anchors, aliases, merge keys and tags are noted and reading goes on, that all
mistakes come out at once; syntax errors and broken limits end it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from mesh.gridfile.problems import Mark, Problems, shown
from mesh.gridfile.yaml_words import explain

MAX_DEPTH = 16
MAX_NODES = 20_000
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. ``plain`` is true when it is written without quotes."""

    line: int
    column: int
    text: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    line: int
    column: int
    items: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with their values, in the order of the file; each key is there once."""

    line: int
    column: int
    entries: tuple[tuple[Scalar, Tree], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that is a mistake already noted; nobody need complain again."""

    line: int
    column: int


Tree = Scalar | Sequence | Mapping | Refused


@dataclass(slots=True)
class _Open:
    mark: Mark
    is_mapping: bool
    children: list[Tree]


def parse(text: str, problems: Problems) -> Tree | None:
    """Return the tree of one YAML document, or ``None`` when there is none.

    Raises:
        GridError: If the text is no YAML, or too deep or too large.

    """
    opened: list[_Open] = []
    root: Tree | None = None
    count = documents = 0
    for event in _events(text, problems):
        assert event.start_mark is not None  # the parser marks every event
        place = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
        done: Tree
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if event.start_mark.index < len(text) and text[event.start_mark.index] == "%":
                problems.stop(place, "a directive", "directives are not allowed; remove the line with %")
            if documents > 1:
                problems.stop(place, "a second document", "a grid is one document; remove what follows ---")
            continue
        if isinstance(event, yaml.NodeEvent):
            count += 1
            if count > MAX_NODES:
                problems.stop(place, f"more than {MAX_NODES} values", "keep data out of the grid")
        if isinstance(event, yaml.CollectionStartEvent):
            _refuse_extras(event, place, problems)
            if len(opened) == MAX_DEPTH:
                problems.stop(place, f"nested deeper than {MAX_DEPTH} levels", "make it flatter")
            opened.append(_Open(place, isinstance(event, yaml.MappingStartEvent), []))
            continue
        if isinstance(event, yaml.ScalarEvent):
            _refuse_extras(event, place, problems)
            done = _scalar(event, place, problems)
        elif isinstance(event, yaml.AliasEvent):
            name = shown(str(event.anchor))
            problems.add(place, f"alias {name}", "aliases are not allowed; write the value out")
            done = Refused(*place)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = _closed(opened.pop(), problems)
        else:
            continue
        if opened:
            opened[-1].children.append(done)
        else:
            root = done
    return root


def _events(text: str, problems: Problems) -> Iterator[yaml.Event]:
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_event():
            yield loader.get_event()  # type: ignore[no-untyped-call]
    except yaml.YAMLError as exc:
        problems.stop(*explain(exc, text))
    except (ValueError, OverflowError):
        # Numbers that PyYAML converts unguarded: "\UFFFFFFFF", %YAML 1.<10,000 digits>.
        mark = loader.get_mark()
        problems.stop(
            Mark(mark.line + 1, mark.column + 1),
            "a number in an escape or a directive is out of range",
            "write the character itself, and no directives",
        )
    finally:
        loader.dispose()


def _refuse_extras(
    event: yaml.ScalarEvent | yaml.CollectionStartEvent, place: Mark, problems: Problems
) -> None:
    if event.anchor is not None:
        name = shown(str(event.anchor))
        problems.add(place, f"anchor {name}", "anchors are not allowed; remove it and write values out")
    if event.tag is not None:
        tag = shown(str(event.tag))
        fix = "tags are not allowed; remove it, or put text that starts with ! in quotes"
        problems.add(place, f"tag {tag}", fix)


def _scalar(event: yaml.ScalarEvent, place: Mark, problems: Problems) -> Scalar | Refused:
    half = _SURROGATE.search(event.value)
    if half:
        problems.add(
            place,
            f"the escape \\u{ord(half[0]):04x} is half of a character",
            "write the character itself, or its code as \\U and eight digits",
        )
        return Refused(*place)
    return Scalar(*place, event.value, event.style is None)


def _closed(made: _Open, problems: Problems) -> Sequence | Mapping:
    if not made.is_mapping:
        return Sequence(*made.mark, tuple(made.children))
    entries: dict[str, tuple[Scalar, Tree]] = {}
    for key, value in zip(made.children[::2], made.children[1::2], strict=True):
        if isinstance(key, Refused):
            continue
        if not isinstance(key, Scalar):
            problems.add(key, "a key that is a list or a mapping", "write a key as text")
        elif key.plain and key.text == "<<":
            problems.add(key, "merge key <<", "merge keys are not allowed; write the fields out")
        elif key.text in entries:
            first = entries[key.text][0]
            problems.add(
                key, f"duplicate key {shown(key.text)}", f"keep one; the first is on line {first.line}"
            )
        else:
            entries[key.text] = key, value
    return Mapping(*made.mark, tuple(entries.values()))
