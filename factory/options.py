"""A sketch's ``setup()`` arguments as command-line options, and as ``args:`` of the grid.

Types, defaults and help are taken from the signature and the docstring, so that a
sketch is written once and can be used from everywhere.
"""

from __future__ import annotations

import inspect
import math
import re
import types
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import click
import msgspec

import mesh
from factory.errors import SketchError
from factory.loop import FactoryLoop
from mesh.protocol.values import message_decoder
from mesh.text import did_you_mean

# Only the newest click can be subscripted, and mypy asks for it.
if TYPE_CHECKING:
    _AnyType = click.ParamType[Any]
else:
    _AnyType = click.ParamType

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_JSON = {"dict": """; write JSON, as in '{"a": 1}'""", "list": "; write JSON, as in '[1, 2]'"}


class SetupValue(_AnyType):
    """A value of whatever type a ``setup()`` parameter is annotated with.

    Args:
        annotation: The type.

    Raises:
        TypeError: If it is no type that text can be decoded to.

    """

    def __init__(self, annotation: Any) -> None:
        bare = _without_none(annotation)
        self.name = _word(bare)
        # JSON has no `.5`, and people have.
        self._decode = _number if bare is float else message_decoder(bare)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value, or fail with a sentence that says what was expected."""
        if not isinstance(value, str):
            return value
        try:
            return self._decode(value)
        except ValueError:
            self.fail(f"{value!r} is not a valid {self.name}{_JSON.get(self.name, '')}", param, ctx)


def _word(bare: Any) -> str:
    """Return what a type is called in help and errors."""
    if bare is None:
        return "text"
    if get_origin(bare) is Literal:
        return "|".join(str(choice) for choice in get_args(bare))
    if get_origin(bare) in (Union, types.UnionType):
        return "|".join(_word(each) for each in get_args(bare))
    if isinstance(bare, type) and issubclass(bare, Enum):
        return "|".join(str(choice.value) for choice in bare)
    return getattr(bare, "__name__", "value").lower()


def setup_options(sketch: type[FactoryLoop], taken: set[str]) -> list[click.Option]:
    """Return an option for each named argument of a sketch's ``setup()``.

    Args:
        sketch: The sketch class.
        taken: Names that the launcher itself uses.

    Raises:
        SketchError: If an argument has the name of one of the launcher's own options,
            or a type that no option can have.

    """
    helps = _documented(sketch)
    options = []
    for name, annotation, parameter in _parameters(sketch):
        if name in taken:
            raise SketchError(
                f"{sketch.__name__}.setup() has an argument {name!r}, "
                f"but --{name} is the launcher's own; rename it"
            )
        flag = name.replace("_", "-")
        has_default = parameter.default is not parameter.empty
        words = helps.get(name, "")
        if has_default and parameter.default is not None:
            default = parameter.default
            if isinstance(default, bool):  # and not 1 or 0, which are equal to one
                default = "on" if default else "off"
            words = f"{words}  [default: {default}]".strip()
        is_switch = _without_none(annotation) is bool
        try:
            kind = click.BOOL if is_switch else SetupValue(annotation)
        except TypeError as exc:
            raise _unusable(sketch, name, exc) from exc
        options.append(
            click.Option(
                [f"--{flag}/--no-{flag}" if is_switch else f"--{flag}", name],
                type=kind,
                # None stands for "not given": the grid, then the signature, decide.
                default=None,
                help=words or None,
            )
        )
    return options


def grid_arguments(sketch: type[FactoryLoop], node: mesh.Node) -> dict[str, Any]:
    """Return a node's ``args:`` as the types that ``setup()`` asks for.

    Raises:
        GridError: If some are unknown or do not fit: all of them, with line and column.
        SketchError: If ``setup()`` asks for a type that no argument can have.

    """
    values, problems = read_arguments(sketch, node)
    if not problems:
        return values
    if node.file is None:
        raise mesh.GridError("; ".join(f"{node.where()}: {p.what}; {p.fix}" for p in problems))
    lines = [str(problem) for problem in problems]
    if len(lines) > 1:
        lines.insert(0, f"{node.file} has {len(lines)} mistakes:")
    raise mesh.GridError("\n  ".join(lines), problems)


def read_arguments(
    sketch: type[FactoryLoop], node: mesh.Node
) -> tuple[dict[str, Any], list[mesh.GridProblem]]:
    """Return a node's ``args:`` as the types that ``setup()`` asks for, and every mistake in them.

    Raises:
        SketchError: If ``setup()`` asks for a type that no argument can have.

    """
    known = {name: annotation for name, annotation, _ in _parameters(sketch)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in sketch.plan.setup.parameters.values())
    signature = f"{sketch.__name__}.setup{sketch.plan.setup}"
    values: dict[str, Any] = {}
    problems: list[mesh.GridProblem] = []

    def wrong(name: str, what: str) -> None:
        line, column = node.marks.get(("args", name)) or node.marks.get(("args",)) or (0, 0)
        # The signature says what would be right.
        problems.append(mesh.GridProblem(node.file or "", line, column, what, signature))

    for name, value in (node.args or {}).items():
        if name in known:
            try:
                values[name] = msgspec.convert(value, known[name]) if known[name] is not None else value
            except msgspec.ValidationError as exc:
                wrong(name, f"argument {name!r}: {_plain(exc)}")
            except TypeError as exc:
                raise _unusable(sketch, name, exc) from exc
        elif takes_any:
            values[name] = value
        else:
            wrong(name, f"unknown argument {name!r}{did_you_mean(name, known)}")
    return values, sorted(problems, key=lambda problem: (problem.line, problem.column))


def missing(sketch: type[FactoryLoop], values: Mapping[str, Any]) -> list[str]:
    """Return the arguments of ``setup()`` that have neither a value nor a default."""
    return [
        name
        for name, _, parameter in _parameters(sketch)
        if parameter.default is parameter.empty and name not in values
    ]


def _parameters(sketch: type[FactoryLoop]) -> list[tuple[str, Any, inspect.Parameter]]:
    """Return name, type (``None`` if there is none to be had) and parameter of each argument."""
    try:
        hints = get_type_hints(sketch.setup)
    except Exception as exc:  # evaluating an annotation can raise anything
        raise SketchError(f"{sketch.__name__}.setup(): a type annotation cannot be resolved ({exc})") from exc
    found = []
    for parameter in sketch.plan.setup.parameters.values():
        if parameter.kind in _NAMED:
            guess = None if parameter.default in (None, parameter.empty) else type(parameter.default)
            found.append((parameter.name, hints.get(parameter.name, guess), parameter))
    return found


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number to calculate with")
    return value


def _unusable(sketch: type[FactoryLoop], name: str, exc: TypeError) -> SketchError:
    return SketchError(
        f"{sketch.__name__}.setup(): argument {name!r} has a type that neither an option nor the grid "
        f"can give ({exc}); use str, int, float, bool, Literal, an enum or a dataclass"
    )


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        others = [choice for choice in get_args(annotation) if choice is not type(None)]
        return others[0] if len(others) == 1 else annotation
    return annotation


def _plain(exc: Exception) -> str:
    text = str(exc).replace("`", "").split(" - at ")[0]
    return text[:1].lower() + text[1:]


def _documented(sketch: type[FactoryLoop]) -> dict[str, str]:
    """Return the help of each argument, from the ``Args:`` of ``setup()`` or of the class."""
    found: dict[str, str] = {}
    for source in (sketch, sketch.setup):
        text = inspect.getdoc(source) or ""
        section = re.search(r"^Args:\n(?P<body>(?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
        if section is None:
            continue
        entry = re.compile(r"^ {4}(?P<name>\w+)(?: \([^)]*\))?: (?P<words>.+(?:\n {5,}.+)*)", re.MULTILINE)
        for match in entry.finditer(section["body"]):
            found[match["name"]] = " ".join(match["words"].split())
    return found
