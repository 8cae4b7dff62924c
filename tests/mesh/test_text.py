"""Words for people: suggestions, safe printing, lists and durations."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.text import closest, did_you_mean, listing, printable, seconds

NAMES = ["buzzer", "clock", "iopin", "Blink"]
ANY_TEXT = st.text(st.characters(categories=None))


@pytest.mark.parametrize(
    ("word", "near"),
    [("buzer", "buzzer"), ("CLOCK", "clock"), ("blnik", "Blink"), ("thermostat", None), ("", None)],
)
def test_the_closest_name(word: str, near: str | None) -> None:
    assert closest(word, NAMES) == near


def test_nothing_is_close_when_nothing_is_known() -> None:
    assert closest("buzzer", []) is None


def test_a_suggestion_can_be_put_behind_a_sentence() -> None:
    assert did_you_mean("buzer", NAMES) == ", did you mean 'buzzer'?"
    assert did_you_mean("thermostat", NAMES) == ""


@given(st.sampled_from(NAMES))
def test_a_known_name_is_closest_to_itself(name: str) -> None:
    assert closest(name, NAMES) == name


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, caf\xe9 \U0001f514", "plain text, caf\xe9 \U0001f514"),
        ("tab\tstays", "tab\tstays"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("one\ntwo\r", "one\\x0atwo\\x0d"),
        ("\x7f\x85\x9b", "\\x7f\\x85\\x9b"),
        ("\u2028\u2029", "\\u2028\\u2029"),
        ("\u202eevil\u2066", "\\u202eevil\\u2066"),
        ("half \ud83d", "half \\ud83d"),
        ("\0", "\\x00"),
    ],
)
def test_what_could_control_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY_TEXT)
def test_whatever_is_printed_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert all(character == "\t" or unicodedata.category(character) != "Cc" for character in shown)
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("words", "prose"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_a_listing_reads_as_prose(words: list[str], prose: str) -> None:
    assert listing(iter(words)) == prose


def test_the_last_word_of_a_listing_is_a_choice() -> None:
    assert listing(["a", "b", "c"], "or") == "a, b or c"


@pytest.mark.parametrize(
    ("duration", "value"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("2.5", 2.5),
        (" 1.5s ", 1.5),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_a_duration_is_seconds(duration: str | float, value: float) -> None:
    assert seconds(duration) == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["", "s", "soon", "1 s", "-1s", "1.s", ".5s", "1d", "1e3", "nan", "inf", "1S"]
)
def test_what_is_no_duration_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 500ms, 30s, 5m or 1h"):
        seconds(text)


@pytest.mark.parametrize("value", ["0", "0ms", 0, -1, float("nan"), float("inf"), "9" * 400])
def test_a_duration_is_above_zero_and_finite(value: str | float) -> None:
    with pytest.raises(ValueError, match="must be above zero"):
        seconds(value)


@given(st.integers(1, 10**6), st.sampled_from([("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]))
def test_units_are_exact_to_the_millisecond(number: int, unit: tuple[str, int]) -> None:
    assert round(seconds(f"{number}{unit[0]}") * 1000) == number * unit[1]
