"""Each broken grid is refused with its line, its column and words that help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import mesh.gridfile.schema
from mesh.errors import GridError
from mesh.gridfile import parse_grid
from mesh.gridfile.problems import MOST_KEPT, MOST_SHOWN
from tests.mesh.gridfile.broken import BROKEN, SEVERAL, Broken

SHIPPED = Path(mesh.gridfile.schema.__file__).with_name("grid.schema.json")


@pytest.mark.parametrize("broken", [pytest.param(broken, id=broken.id) for broken in BROKEN])
def test_says_where_and_what_to_do(broken: Broken) -> None:
    with pytest.raises(GridError) as caught:
        parse_grid(broken.text.encode(), "my.yaml")
    problems = caught.value.problems
    assert [(problem.line, problem.column) for problem in problems] == broken.places, str(caught.value)
    for problem, words in zip(problems, broken.words, strict=True):
        for word in (words,) if isinstance(words, str) else words:
            assert word in str(problem)
        assert str(problem) in str(caught.value)
        assert str(problem).startswith(f"my.yaml:{problem.line}:{problem.column}: ")
        assert problem.fix


def test_there_are_enough_kinds() -> None:
    assert len({broken.id for broken in BROKEN}) == len(BROKEN) >= 50


@pytest.mark.parametrize("broken", [pytest.param(b, id=b.id) for b in BROKEN if b.schema_too])
def test_the_schema_refuses_it_as_well(broken: Broken) -> None:
    value: Any = yaml.safe_load(broken.text)
    assert not jsonschema.Draft202012Validator(json.loads(SHIPPED.read_text("utf-8"))).is_valid(value)


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    (broken,) = SEVERAL
    with pytest.raises(GridError) as caught:
        parse_grid(broken.text.encode())
    lines = str(caught.value).splitlines()
    assert lines[0] == f"grid.yaml has {len(broken.places)} mistakes:"
    assert [line.strip() for line in lines[1:]] == [str(problem) for problem in caught.value.problems]


def test_one_mistake_is_one_line() -> None:
    with pytest.raises(GridError) as caught:
        parse_grid(b"nodes: {a: {port: 0}}")
    assert str(caught.value) == (
        "grid.yaml:1:19: `port` is the number 0; "
        "write a whole number from 1 to 65535, or leave `port` out if it only dials others"
    )


def test_very_many_mistakes_are_counted_but_not_all_shown() -> None:
    fields = "".join(f"  n{number}: {{port: 0}}\n" for number in range(500))
    with pytest.raises(GridError) as caught:
        parse_grid(f"nodes:\n{fields}".encode())
    assert len(caught.value.problems) == MOST_KEPT
    lines = str(caught.value).splitlines()
    assert lines[0] == "grid.yaml has 500 mistakes:"
    assert lines[-1] == f"  and {500 - MOST_SHOWN} more"
    assert len(lines) == MOST_SHOWN + 2


def test_a_mistake_is_not_blamed_twice() -> None:
    # The port of `b` is wrong, which does not make it useless or its dialler wrong.
    text = "nodes:\n  a: {sketch: x, target: b}\n  b: {port: 0}\n  c: 5\n  d: {sketch: y, target: c}\n"
    with pytest.raises(GridError) as caught:
        parse_grid(text.encode())
    assert [problem.line for problem in caught.value.problems] == [3, 4]
    # Whoever writes `aliases: x` for `aliases: [x]` has made one mistake, not three.
    text = "nodes:\n  a: {sketch: x, target: x, peers: [x]}\n  b: {port: 1, aliases: x}\n"
    with pytest.raises(GridError, match=r"^grid\.yaml:3:25: `aliases` is the text 'x'"):
        parse_grid(text.encode())


def test_names_in_messages_cannot_control_a_terminal() -> None:
    with pytest.raises(GridError) as caught:
        parse_grid(b'nodes: {"\\e[2J\\u202e": {port: 1}}', "evil\x1b[2J.yaml")
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)
    assert "\\x1b[2J" in str(caught.value)
