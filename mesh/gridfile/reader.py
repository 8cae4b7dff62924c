"""From a tree of YAML to plain values, guided by the types of the model.

The types say what may stand where; the reader walks them beside the tree. A
value that does not fit is noted and left out, and reading goes on, so that
whoever looks at the rest sees only what is well formed.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import Meta, UnsetType

from mesh.gridfile import yaml_tree
from mesh.gridfile.problems import Mark, Place, Problems, quoted, shown
from mesh.gridfile.scalars import Ambiguous, meaning
from mesh.text import listing

REFUSED: Final = object()
"""Stands for a value that is a mistake already noted."""

Path = tuple[str, ...]
_Explain = Callable[[str], tuple[str, str] | None]


@dataclass(frozen=True)
class _Shape:
    """A type of the model, taken apart."""

    core: Any
    check: Any
    nullable: bool
    least: int
    right: str | None
    explain: _Explain | None
    mapping: Any = None  # what else it may be, if a mapping is written


@dataclass
class Reader:
    """Read values from a tree, and remember where each stands.

    Attributes:
        problems: Takes every mistake.
        marks: Place of each value that is written, refused ones included.
        keys: Place of each key of a mapping, under the same path.
        shortened: Paths of lists from which a mistake was left out.

    """

    problems: Problems
    marks: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    shortened: set[Path] = field(default_factory=set)

    def read(self, tree: yaml_tree.Tree, type_: object, path: Path = ()) -> Any:
        """Return the value as built-in types, or ``REFUSED``.

        Args:
            tree: What is written.
            type_: What the model wants there.
            path: Where that is, from the top of the grid.

        """
        self.marks[path] = Mark(tree.line, tree.column)
        if isinstance(tree, yaml_tree.Refused):
            return REFUSED
        shape = _shape(type_)
        if shape.mapping is not None and isinstance(tree, yaml_tree.Mapping):
            return self.read(tree, shape.mapping, path)
        if shape.core is Any:
            return self._anything(tree, path)
        if isinstance(tree, yaml_tree.Scalar):
            return self._scalar(tree, shape, path)
        if isinstance(tree, yaml_tree.Mapping):
            if get_origin(shape.core) is dict:
                return self._dict(tree, shape, path)
            if isinstance(shape.core, type) and issubclass(shape.core, msgspec.Struct):
                return self._struct(tree, shape.core, path)
            return self._wrong(tree, "a mapping", shape, path)
        if get_origin(shape.core) is tuple:
            return self._list(tree, shape, path)
        return self._wrong(tree, "a list", shape, path)

    def _struct(self, tree: yaml_tree.Mapping, struct: type[msgspec.Struct], path: Path) -> dict[str, Any]:
        fields = {info.encode_name: info for info in msgspec.structs.fields(struct)}
        values: dict[str, Any] = {}
        missing = {name for name, info in fields.items() if info.required}
        for key, value in tree.entries:
            missing.discard(key.text)
            if not self._is_text(key):
                continue
            if key.text not in fields:
                near = self.problems.near(key.text, fields)
                fix = f"did you mean `{near}`?" if near else f"the fields here are {listing(fields)}"
                if not path and not near:
                    fix += "; a node is indented below `nodes:`"
                self.problems.add(key, f"unknown field {shown(key.text)}", fix)
                continue
            self.keys[(*path, key.text)] = Mark(key.line, key.column)
            read = self.read(value, fields[key.text].type, (*path, key.text))
            if read is not REFUSED:
                values[key.text] = read
        for name in sorted(missing):
            right = _shape(fields[name].type).right
            self.problems.add(self.keys.get(path, tree), f"`{name}:` is missing", f"add {right}")
        return values

    def _dict(self, tree: yaml_tree.Mapping, shape: _Shape, path: Path) -> dict[str, Any]:
        key_type, value_type = get_args(shape.core)
        key_shape = _shape(key_type)
        values: dict[str, Any] = {}
        for key, value in tree.entries:
            if not self._is_text(key):
                continue
            complaint = _complaint(key.text, key_shape)
            if complaint:
                self.problems.add(key, *complaint)
            self.keys[(*path, key.text)] = Mark(key.line, key.column)
            read = self.read(value, value_type, (*path, key.text))
            # A refused entry keeps its name, that what refers to it is no mistake as well.
            values[key.text] = read
        if not tree.entries and shape.least:
            self._wrong(tree, "empty", shape, path)
        return values

    def _list(self, tree: yaml_tree.Sequence, shape: _Shape, path: Path) -> list[Any]:
        values: list[Any] = []
        for item in tree.items:
            place = (*path, str(len(values)))
            read = self.read(item, get_args(shape.core)[0], place)
            if read is REFUSED:
                del self.marks[place]
                self.shortened.add(path)
            else:
                values.append(read)
        if not tree.items and shape.least:
            self._wrong(tree, "an empty list", shape, path)
        return values

    def _scalar(self, tree: yaml_tree.Scalar, shape: _Shape, path: Path) -> Any:
        value = self._meaning(tree)
        if value is REFUSED or (value is None and shape.nullable):
            return value
        if isinstance(value, str):
            complaint = _complaint(tree.text, shape)
            if complaint:
                self.problems.add(tree, *complaint)
                return REFUSED
        try:
            return msgspec.convert(value, shape.check)
        except msgspec.ValidationError:
            return self._wrong(tree, _said(value, tree.text), shape, path)

    def _anything(self, tree: yaml_tree.Tree, path: Path) -> Any:
        # Recursion is safe here: the tree has at most yaml_tree.MAX_DEPTH levels.
        if isinstance(tree, yaml_tree.Scalar):
            return self._meaning(tree)
        if isinstance(tree, yaml_tree.Sequence):
            return [self.read(item, Any, (*path, str(index))) for index, item in enumerate(tree.items)]
        if isinstance(tree, yaml_tree.Mapping):
            return {
                key.text: self.read(value, Any, (*path, key.text))
                for key, value in tree.entries
                if self._is_text(key)
            }
        return REFUSED

    def _meaning(self, tree: yaml_tree.Scalar) -> Any:
        value = meaning(tree.text) if tree.plain else tree.text
        if isinstance(value, Ambiguous):
            self.problems.add(tree, value.what, value.fix)
            return REFUSED
        return value

    def _is_text(self, key: yaml_tree.Scalar) -> bool:
        value = self._meaning(key)
        if value is REFUSED or isinstance(value, str):
            return value is not REFUSED
        self.problems.add(
            key,
            f"the key is {_said(value, key.text)}",
            f"a key is text; write {quoted(key.text)} with quotes",
        )
        return False

    def _wrong(self, tree: yaml_tree.Tree, got: str, shape: _Shape, path: Path) -> Any:
        place: Place = tree
        if isinstance(tree, yaml_tree.Scalar) and not tree.text and tree.plain:
            # Nothing is written there, so the name of the field is what can be seen.
            place = self.keys.get(path, tree)
        fix = f"write {shape.right or 'something else'}"
        if isinstance(tree, yaml_tree.Scalar):
            if tree.plain and tree.text and shape.core is str and not _complaint(tree.text, shape):
                fix += f"; put {shown(tree.text)} in quotes if it is text"
            elif (
                not tree.plain
                and shape.core in (int, bool)
                and not isinstance(meaning(tree.text), Ambiguous | str)
            ):
                fix += "; numbers, true and false have no quotes"
        self.problems.add(place, f"{_label(path)} is {got}", fix)
        return REFUSED


def _complaint(text: str, shape: _Shape) -> tuple[str, str] | None:
    """Say what is wrong with a text, where the model wants a text."""
    return shape.explain(text) if shape.core is str and shape.explain else None


def _label(path: Path) -> str:
    if not path:
        return "the grid"
    if path[-1].isdigit():
        return f"an item of `{path[-2]}`"
    return f"`{path[-1]}`" if len(path) != 2 else shown(path[-1])


def _said(value: object, text: str) -> str:
    if value is None:
        return text or "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {shown(value)}"
    return f"the number {value}"


def _is_mapping(type_: Any) -> bool:
    return get_origin(type_) is dict or (isinstance(type_, type) and issubclass(type_, msgspec.Struct))


@functools.cache
def _shape(type_: Any) -> _Shape:
    metas: list[Meta] = []
    nullable = False
    core = type_
    mapping: Any = None
    while True:
        if get_origin(core) is Annotated:
            core, *found = get_args(core)
            metas += (meta for meta in reversed(found) if isinstance(meta, Meta))
        elif get_origin(core) in (Union, types.UnionType):
            options = get_args(core)
            nullable = nullable or type(None) in options
            core, *others = (option for option in options if option not in (type(None), UnsetType))
            mapping = next((other for other in others if _is_mapping(other)), None)
        else:
            break
    extras = [meta.extra for meta in metas if meta.extra]
    return _Shape(
        core=core,
        check=Annotated[(core, *metas)] if metas else core,
        nullable=nullable,
        least=max((meta.min_length or 0 for meta in metas), default=0),
        right=next((extra["right"] for extra in extras if "right" in extra), None),
        explain=next((extra["explain"] for extra in extras if "explain" in extra), None),
        mapping=mapping,
    )
