"""The page about scenarios names every step, with every time that it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from factory.boards.edges import DEFAULT_LIMIT
from factory.scenarios import KINDS, read_scenario
from factory.scenarios.expecting import MOST_BYTES, SETTLED
from factory.scenarios.running import WAIT
from factory.scenarios.steps import LONGEST_PULSE, MOST_COUNTED

PAGE = (Path(__file__).resolve().parents[3] / "docs/reference/scenarios.md").read_text(encoding="utf-8")
[GRAMMAR] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
[EXAMPLE] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_grammar_has_every_step_and_no_other() -> None:
    assert re.findall(r'"- ([a-z-]+):', GRAMMAR) == list(KINDS)


@pytest.mark.parametrize("word", KINDS)
def test_the_grammar_has_its_times_and_the_tables_say_what_it_does(word: str) -> None:
    [rest] = re.findall(rf'"- {word}:(.*?)(?:\||$)', GRAMMAR, re.MULTILINE)
    named = re.findall(r'\[ (within|for) \]|", ([a-z-]+):"', rest)
    assert sorted(one or other for one, other in named) == sorted(KINDS[word].times)
    assert re.search(rf"^\|[^|]*`{word}`[^|]*\|", PAGE, re.MULTILINE)


def test_the_example_has_every_step() -> None:
    steps = read_scenario(EXAMPLE.encode(), "example")
    assert list(dict.fromkeys(step.kind for step in steps)) == list(KINDS)


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"for {WAIT:g} seconds unless" in PAGE
    assert f"for {SETTLED * 1000:g} ms" in PAGE
    assert f"keeps {DEFAULT_LIMIT:,} edges" in PAGE
    assert f"{MOST_BYTES:,} bytes since the last action" in PAGE
    assert f"0 to {MOST_COUNTED}" in GRAMMAR
    assert f"1 to {LONGEST_PULSE}" in GRAMMAR
