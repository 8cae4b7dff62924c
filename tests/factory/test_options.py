"""Arguments of ``setup()`` as options of the command line and as ``args:`` of the grid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Optional

import click
import pytest
from click.testing import CliRunner

import factory
import mesh
from factory.options import SetupValue, grid_arguments, missing, setup_options
from mesh.gridfile import grid as load_grid


class Mode(Enum):
    LOUD = "loud"
    QUIET = "quiet"


@dataclass
class Point:
    x: int
    y: int = 0


class Base(factory.FactoryLoop):
    @factory.reactive
    async def loop(self, channel: str, msg: str) -> None: ...


class Everything(Base):
    """One argument of every type.

    Args:
        nick: Told by the class,
            on two lines.

    """

    def setup(  # type: ignore[no-untyped-def] # noqa: D417
        self,
        sound: str,
        times: int = 3,
        chance: float = 0.5,
        bell: bool = False,
        light: bool = True,
        mode: Mode = Mode.LOUD,
        side: Literal["left", "right"] = "left",
        tacks: int | None = None,
        seed: Optional[int] = None,  # noqa: UP045 - the old way to write it
        maybe: bool | None = None,
        point: Point | None = None,
        guessed=7,
        one: int = 1,
        zero: float = 0.0,
        several: list[int] = [1, 2],  # noqa: B006 - of no consequence, and shown as it is
        anything=None,
        *,
        max_wait: float = 1.0,
        nick: str = "",
        pace: float | Literal["max"] = 1.0,
    ) -> None:
        """Set it all up, with only some of it explained.

        Args:
            sound (str): What to answer.
            times: How often: every
                single time.
            bell: Ring.

        Returns:
            Nothing.

        """


OPTIONS = {option.name: option for option in setup_options(Everything, taken=set())}


def parse(*arguments: str, sketch: type[factory.FactoryLoop] = Everything) -> tuple[dict[str, Any], str]:
    """Parse a command line with the options of a sketch; return the values that were given, and the words."""
    got: dict[str, Any] = {}
    command = click.Command(
        "x",
        params=list(setup_options(sketch, taken=set())),
        callback=lambda **given: got.update({k: v for k, v in given.items() if v is not None}),
    )
    result = CliRunner().invoke(command, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return got, result.output


def test_a_choice_of_types_has_a_name_that_says_so() -> None:
    assert "'fast' is not a valid float|max" in parse("--pace", "fast")[1]


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (("--sound", "buzz buzz"), "sound", "buzz buzz"),
        (("--sound", "5"), "sound", "5"),
        (("--times", "5"), "times", 5),
        (("--times", "-5"), "times", -5),
        (("--chance", "0.25"), "chance", 0.25),
        (("--chance", "1"), "chance", 1.0),
        (("--chance", ".5"), "chance", 0.5),
        (("--several", "[3, 4]"), "several", [3, 4]),
        (("--bell",), "bell", True),
        (("--no-bell",), "bell", False),
        (("--no-light",), "light", False),
        (("--maybe",), "maybe", True),
        (("--mode", "quiet"), "mode", Mode.QUIET),
        (("--side", "right"), "side", "right"),
        (("--tacks", "5"), "tacks", 5),
        (("--seed", "5"), "seed", 5),
        (("--point", '{"x": 1}'), "point", Point(1)),
        (("--guessed", "8"), "guessed", 8),
        (("--anything", "text"), "anything", "text"),
        (("--max-wait", "2.5"), "max_wait", 2.5),
        (("--pace", "2.5"), "pace", 2.5),
        (("--pace", "max"), "pace", "max"),
        (("--nick", ""), "nick", ""),
    ],
)
def test_an_option_gives_the_type_of_the_argument(
    arguments: tuple[str, ...], name: str, value: object
) -> None:
    got, words = parse(*arguments)
    assert got == {name: value}, words
    assert type(got[name]) is type(value)


def test_what_is_not_given_is_left_to_the_grid_and_the_signature() -> None:
    assert parse() == ({}, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--times", "often"), "Invalid value for '--times': 'often' is not a valid int"),
        (("--times", "1.5"), "'1.5' is not a valid int"),
        (("--chance", "high"), "'high' is not a valid float"),
        (("--chance", "nan"), "'nan' is not a valid float"),
        (("--chance", "inf"), "'inf' is not a valid float"),
        (("--side", "up"), "'up' is not a valid left|right"),
        (("--mode", "dim"), "'dim' is not a valid loud|quiet"),
        (("--tacks", "none at all"), "is not a valid int"),
        (("--point", "{}"), "is not a valid point"),
        (("--several", "3, 4"), "'3, 4' is not a valid list; write JSON, as in '[1, 2]'"),
        (("--bell=5",), "--bell"),
        (("--tims", "5"), "No such option"),
    ],
)
def test_a_value_that_does_not_fit_says_so(arguments: tuple[str, ...], words: str) -> None:
    got, output = parse(*arguments)
    assert got == {}
    assert words in output


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sound", "What to answer."),
        ("times", "How often: every single time.  [default: 3]"),
        ("bell", "Ring.  [default: off]"),
        ("light", "[default: on]"),
        ("one", "[default: 1]"),
        ("zero", "[default: 0.0]"),
        ("several", "[default: [1, 2]]"),
        ("nick", "Told by the class, on two lines.  [default: ]"),
        ("chance", "[default: 0.5]"),
        ("tacks", None),
    ],
)
def test_the_help_comes_from_the_docstrings(name: str, words: str | None) -> None:
    assert OPTIONS[name].help == words


def test_the_help_shows_types_and_switches() -> None:
    words = re.sub(r"\s+", " ", parse("--help")[1])
    for part in (
        "--times INT",
        "--chance FLOAT",
        "--bell / --no-bell",
        "--side LEFT|RIGHT",
        "--mode LOUD|QUIET",
        "--max-wait FLOAT",
        "--point POINT",
        "--anything TEXT",
    ):
        assert part in words


def test_a_sketch_without_setup_has_no_options() -> None:
    assert setup_options(Base, taken={"port"}) == []


def test_an_argument_with_a_name_of_the_launcher_is_refused() -> None:
    class Clash(Base):
        def setup(self, port: int = 1) -> None: ...

    with pytest.raises(factory.SketchError, match=r"Clash\.setup\(\) has an argument 'port', but --port is"):
        setup_options(Clash, taken={"port"})


def test_any_further_arguments_are_no_options() -> None:
    class Open(Base):
        def setup(self, first: int = 1, *rest: int, **options: int) -> None: ...

    assert [option.name for option in setup_options(Open, taken=set())] == ["first"]


class Lacking(Base):
    def setup(self, thing: "Nowhere" = None) -> None:  # type: ignore[name-defined] # noqa: F821, UP037
        ...


class Either(Base):
    def setup(self, both: Point | dict[str, int] | None = None) -> None: ...


class Odd(Base):
    def setup(self, path: Path = Path()) -> None: ...


def test_a_type_that_cannot_be_had_is_an_error_of_the_sketch() -> None:
    with pytest.raises(
        factory.SketchError, match=r"Lacking\.setup\(\): a type annotation cannot be resolved"
    ):
        setup_options(Lacking, taken=set())
    with pytest.raises(factory.SketchError, match=r"Odd\.setup\(\): argument 'path' has a type that neither"):
        setup_options(Odd, taken=set())
    node = mesh.Node("x", args={"both": {}})
    with pytest.raises(
        factory.SketchError, match=r"Either\.setup\(\): argument 'both' has a type that neither"
    ):
        grid_arguments(Either, node)


def test_a_value_that_is_no_text_is_taken_as_it_is() -> None:
    assert SetupValue(int).convert(5, None, None) == 5


# -- the grid ---------------------------------------------------------------------------------


def from_grid(tmp_path: Path, args: str, sketch: type[factory.FactoryLoop] = Everything) -> dict[str, Any]:
    path = tmp_path / "grid.yaml"
    path.write_text(f"nodes:\n  x:\n    port: 1\n    sketch: x.py:X\n    args:\n{args}")
    return grid_arguments(sketch, load_grid(path).node("x"))


@pytest.mark.source("B35")
def test_args_of_the_grid_become_the_types_of_the_arguments(tmp_path: Path) -> None:
    args = """
      sound: buzz
      times: 5
      chance: 1
      bell: true
      mode: quiet
      side: right
      tacks: null
      seed: 7
      point: {x: 1}
      anything: [1, {a: b}]
      max_wait: 2
    """
    got = from_grid(tmp_path, args)
    assert got == {
        "sound": "buzz",
        "times": 5,
        "chance": 1.0,
        "bell": True,
        "mode": Mode.QUIET,
        "side": "right",
        "tacks": None,
        "seed": 7,
        "point": Point(1),
        "anything": [1, {"a": "b"}],
        "max_wait": 2.0,
    }
    assert type(got["chance"]) is float


@pytest.mark.parametrize(
    ("args", "place", "parts"),
    [
        ("      times: often\n", "grid.yaml:6:14", ["argument 'times'", "expected int, got str"]),
        ("      sound: a\n      times: 1.5\n", "grid.yaml:7:14", ["argument 'times'"]),
        ("      sound: 5\n", "grid.yaml:6:14", ["expected str, got int"]),
        ("      side: up\n", "grid.yaml:6:13", ["argument 'side'", "'up'"]),
        ("      mode: dim\n", "grid.yaml:6:13", ["argument 'mode'", "'dim'"]),
        ("      tims: 5\n", "grid.yaml:6:13", ["unknown argument 'tims', did you mean 'times'?"]),
        ("      zzz: 5\n", "grid.yaml:6:12", ["unknown argument 'zzz'"]),
    ],
)
def test_a_mistake_in_args_is_told_with_line_column_and_signature(
    tmp_path: Path, args: str, place: str, parts: list[str]
) -> None:
    with pytest.raises(mesh.GridError) as caught:
        from_grid(tmp_path, args)
    words = str(caught.value)
    for part in [place, "Everything.setup(sound: str, times: int = 3, ", *parts]:
        assert part in words


def test_a_setup_that_takes_anything_gets_anything(tmp_path: Path) -> None:
    class Open(Base):
        def setup(self, times: int = 1, **more: object) -> None: ...

    assert from_grid(tmp_path, "      times: 2\n      colour: red\n", Open) == {"times": 2, "colour": "red"}
    with pytest.raises(mesh.GridError, match="expected int"):
        from_grid(tmp_path, "      times: x\n", Open)


def test_what_is_missing_is_what_has_neither_a_value_nor_a_default() -> None:
    assert missing(Everything, {}) == ["sound"]
    assert missing(Everything, {"sound": "x"}) == []
    assert missing(Base, {}) == []


def test_all_mistakes_in_args_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(mesh.GridError) as caught:
        from_grid(tmp_path, "      tims: 5\n      sound: 5\n      times: 1\n      chance: high\n")
    assert [(p.line, p.what) for p in caught.value.problems] == [
        (6, "unknown argument 'tims', did you mean 'times'?"),
        (7, "argument 'sound': expected str, got int"),
        (9, "argument 'chance': expected float, got str"),
    ]
    first, *lines = str(caught.value).split("\n")
    assert first.endswith("grid.yaml has 3 mistakes:")
    assert [line.split(": ")[0].rpartition("/")[2] for line in lines] == [
        f"grid.yaml:{line}:{column}" for line, column in ((6, 13), (7, 14), (9, 15))
    ]


def test_mistakes_in_args_of_a_node_from_no_file() -> None:
    with pytest.raises(mesh.GridError, match=r"node 'x': argument 'times': expected int, got str; Everyth"):
        grid_arguments(Everything, mesh.Node("x", args={"times": "often"}))
