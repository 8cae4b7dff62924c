"""Which pattern takes a channel: the language, what is narrower, what clashes."""

from __future__ import annotations

import itertools
import random
import re
from functools import cache

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mesh.protocol.patterns import Kind, Pattern, PatternError, PatternTable, clash

# -- the language -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "channel", "captured"),
    [
        ("", "", {}),
        ("", "a", None),
        ("pin/led", "pin/led", {}),
        ("pin/led", "pin/LED", None),
        ("pin/led", "pin/led/", None),
        ("pin/led", "pin", None),
        ("a//b", "a//b", {}),
        ("a//b", "a/b", None),
        ("pin/{number:int}", "pin/13", {"number": 13}),
        ("pin/{number:int}", "pin/-1", {"number": -1}),
        ("pin/{number:int}", "pin/007", {"number": 7}),
        ("pin/{number:int}", "pin/", None),
        ("pin/{number:int}", "pin/1.5", None),
        ("pin/{number:int}", "pin/+1", None),
        ("pin/{number:int}", "pin/ 1", None),
        ("pin/{number:int}", "pin/1_0", None),
        ("pin/{number:int}", "pin/\u0663", None),
        ("pin/{number:int}", "pin/1\n", None),
        ("pin/{number:int}", "pin/" + "9" * 18, {"number": 10**18 - 1}),
        ("pin/{number:int}", "pin/" + "9" * 19, None),
        ("pin/{name}", "pin/led", {"name": "led"}),
        ("pin/{name}", "pin/13", {"name": "13"}),
        ("pin/{name}", "pin/", None),
        ("pin/{name}", "pin/a/b", None),
        ("pin/{name:str}", "pin/led", {"name": "led"}),
        ("pin/{name}", "pin/a b\n\u2028", {"name": "a b\n\u2028"}),
        ("pin/*", "pin/led", {}),
        ("pin/*", "pin/", None),
        ("*/*", "pin/led", {}),
        ("files/{rest:path}", "files/a", {"rest": "a"}),
        ("files/{rest:path}", "files/a/b/c", {"rest": "a/b/c"}),
        ("files/{rest:path}", "files/a//b/", {"rest": "a//b/"}),
        ("files/{rest:path}", "files/", None),
        ("files/{rest:path}", "files", None),
        ("{rest:path}", "a/b", {"rest": "a/b"}),
        ("{rest:path}", "", None),
        ("{a}/{b:int}/{c:path}", "x/2/y/z", {"a": "x", "b": 2, "c": "y/z"}),
        ("pin.led", "pinxled", None),
        ("caf\xe9", "caf\xe9", {}),
    ],
)
def test_what_a_pattern_takes(pattern: str, channel: str, captured: dict[str, int | str] | None) -> None:
    assert Pattern.parse(pattern).match(channel) == captured


def test_captures_are_named_from_left_to_right() -> None:
    assert Pattern.parse("{z}/*/{a:int}/{m:path}").captures == ("z", "a", "m")
    assert Pattern.parse("pin/*").captures == ()


@pytest.mark.parametrize(
    ("pattern", "literal"), [("", True), ("pin/led", True), ("pin/*", False), ("pin/{n:int}", False)]
)
def test_a_literal_pattern_has_no_placeholder(pattern: str, literal: bool) -> None:
    assert Pattern.parse(pattern).is_literal is literal


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("/pin", "begins with a slash; channels have none, write 'pin'"),
        ("$status", "reserved for the mesh itself"),
        ("{rest:path}/end", "it can only stand last"),
        ("pin/{number:float}", "unknown type 'float'; there are int, str and path"),
        ("{a}/{a:int}", "captures 'a' twice"),
        ("pin/x{a}", "'x{a}' is neither plain text nor one placeholder"),
        ("pin/{a}{b}", "neither plain text nor one placeholder"),
        ("pin/{}", "neither plain text nor one placeholder"),
        ("pin/{1a}", "neither plain text nor one placeholder"),
        ("pin/{a:}", "neither plain text nor one placeholder"),
        ("pin/{a", "neither plain text nor one placeholder"),
        ("pin/a}", "neither plain text nor one placeholder"),
        ("pin/**", "neither plain text nor one placeholder"),
        ("pin/led*", "neither plain text nor one placeholder"),
    ],
)
def test_a_malformed_pattern_says_what_is_wrong(pattern: str, words: str) -> None:
    with pytest.raises(PatternError, match=re.escape(words)) as caught:
        Pattern.parse(pattern)
    assert repr(pattern) in str(caught.value)


@given(st.text(st.characters(categories=None)))
def test_any_text_is_a_pattern_or_a_pattern_error(text: str) -> None:
    try:
        pattern = Pattern.parse(text)
    except PatternError:
        return
    assert pattern.text == text
    if pattern.is_literal:
        assert pattern.match(text) == {}


# -- an oracle: the rules of the module's text, spelled out another way -----------

WORDS = ("", "a", "1", "-2", "b")
PIECES = (*WORDS, "{%d:int}", "{%d}", "*")


def spell(pieces: list[str], *, path: bool) -> str:
    if path:
        pieces = [*pieces, "{%d:path}"]
    return "/".join(
        piece.replace("%d", f"n{index}") if "%d" in piece else piece for index, piece in enumerate(pieces)
    )


@cache
def expression(text: str) -> re.Pattern[str]:
    """Return the pattern as a regular expression."""
    parts = []
    for piece in text.split("/"):
        if piece.endswith(":int}"):
            parts.append("-?[0-9]{1,18}")
        elif piece.endswith(":path}"):
            parts.append("(?s:.+)")
        elif piece == "*" or piece.startswith("{"):
            parts.append("[^/]+")
        else:
            parts.append(re.escape(piece))
    return re.compile("/".join(parts))


def kinds(text: str) -> list[int]:
    """Return how wide each segment is, from left to right."""

    def kind(piece: str) -> int:
        if piece.endswith(":int}"):
            return 1
        if piece.endswith(":path}"):
            return 3
        return 2 if piece == "*" or piece.startswith("{") else 0

    return [kind(piece) for piece in text.split("/")]


def compare(one: str, other: str) -> set[str]:
    """Return which of two overlapping patterns is narrower somewhere: a set of "one", "other"."""
    found = set()
    for a, b in zip(kinds(one), kinds(other), strict=False):  # a path covers the rest
        if a != b:
            found.add("one" if a < b else "other")
        if 3 in (a, b):
            break
    return found


CHANNELS = [
    "/".join(parts)
    for length in range(1, 5)
    for parts in itertools.product(("", "a", "1", "-2", "b", "x"), repeat=length)
]

pieces = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3)
texts = (
    st.builds(spell, pieces, path=st.booleans()) | st.builds(spell, st.just([]), path=st.just(True))
).filter(lambda text: not text.startswith("/"))
channels = st.sampled_from(CHANNELS) | st.text("a1-/x$\n", max_size=8)


@given(texts, channels)
def test_a_match_is_what_the_regular_expression_takes(text: str, channel: str) -> None:
    taken = Pattern.parse(text).match(channel) is not None
    assert taken == (expression(text).fullmatch(channel) is not None)


def _written(text: str, values: dict[str, int | str]) -> str:
    return re.sub(r"\{(n\d+)(:[a-z]+)?\}", lambda found: str(values[found[1]]), text)


@given(texts, channels)
def test_captured_values_put_back_give_the_channel(text: str, channel: str) -> None:
    captured = Pattern.parse(text).match(channel)
    assume(captured is not None and "*" not in text)
    assert captured is not None
    assert _written(text, captured) == channel


@given(texts, texts)
def test_a_clash_is_exactly_an_overlap_without_a_narrower_one(one: str, other: str) -> None:
    both = [
        channel
        for channel in CHANNELS
        if expression(one).fullmatch(channel) and expression(other).fullmatch(channel)
    ]
    example = clash(Pattern.parse(one), Pattern.parse(other))
    if example is not None:
        assert expression(one).fullmatch(example)
        assert expression(other).fullmatch(example)
    assert (example is not None) == (bool(both) and len(compare(one, other)) != 1)


@given(texts, texts)
def test_a_clash_does_not_depend_on_who_comes_first(one: str, other: str) -> None:
    there, back = (
        clash(Pattern.parse(one), Pattern.parse(other)),
        clash(Pattern.parse(other), Pattern.parse(one)),
    )
    assert (there is None) == (back is None)


@given(st.lists(texts, min_size=2, max_size=6), st.sampled_from(CHANNELS), st.randoms(use_true_random=False))
def test_the_narrower_pattern_is_found_whatever_the_order(
    candidates: list[str], channel: str, chance: random.Random
) -> None:
    table: PatternTable[str] = PatternTable()
    kept = []
    for text in candidates:
        try:
            table.add(Pattern.parse(text), text)
        except PatternError:
            continue
        kept.append(text)
    found = table.find(channel)

    fitting = [text for text in kept if expression(text).fullmatch(channel)]
    assert (found is not None) == bool(fitting)
    if found is not None:
        for rival in fitting:
            assert rival == found[0] or compare(found[0], rival) == {"one"}
        assert found[1] == Pattern.parse(found[0]).match(channel)

    chance.shuffle(kept)
    again: PatternTable[str] = PatternTable()
    for text in kept:
        again.add(Pattern.parse(text), text)
    assert again.find(channel) == found


# -- precedence and clashes, by example ----------------------------------------------


@pytest.mark.parametrize(
    ("channel", "winner"),
    [
        ("pin/led", "pin/led"),
        ("pin/13", "pin/{n:int}"),
        ("pin/x", "pin/{name}"),
        ("pin/x/y", "pin/{rest:path}"),
        ("other", "{all:path}"),
        ("pin", "{all:path}"),
        ("", None),
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_literal_before_int_before_any_before_path(channel: str, winner: str | None, backwards: bool) -> None:
    texts = ["{all:path}", "pin/{rest:path}", "pin/{name}", "pin/{n:int}", "pin/led"]
    table: PatternTable[str] = PatternTable()
    for text in reversed(texts) if backwards else texts:
        table.add(Pattern.parse(text), text)
    found = table.find(channel)
    assert (found and found[0]) == winner


@pytest.mark.parametrize(
    ("one", "other", "channel"),
    [
        ("pin/led", "pin/led", "pin/led"),
        ("pin/{a}", "pin/*", "pin/x"),
        ("pin/{a:int}", "pin/{b:int}", "pin/1"),
        ("{a}/led", "pin/{b}", "pin/led"),
        ("{a}/{b:int}", "pin/{c}", "pin/1"),
        ("{a}/b/c", "a/{rest:path}", "a/b/c"),
        ("{a}//c", "a/{rest:path}", "a//c"),  # an empty segment is no obstacle to a path
        ("{a:path}", "{b:path}", "x"),
    ],
)
def test_patterns_that_clash_are_refused_with_a_channel_that_fits_both(
    one: str, other: str, channel: str
) -> None:
    table: PatternTable[int] = PatternTable()
    table.add(Pattern.parse(one), 1)
    with pytest.raises(PatternError) as caught:
        table.add(Pattern.parse(other), 2)
    assert str(caught.value) == (
        f"channel patterns {one!r} and {other!r} clash: {channel!r} fits both; make one of them narrower"
    )
    # The one that was refused is not half in.
    assert [value for _, value in table] == [1]
    assert table.find(channel) == (1, Pattern.parse(one).match(channel))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pin/{a:int}", "pin/led"),
        ("a/{b}", "b/{b}"),
        ("{a}", "{a}/{b}"),
        ("a", "a/{rest:path}"),
        ("a/", "a/{rest:path}"),
        ("{a}/", "a/{rest:path}"),
    ],
)
def test_patterns_without_a_common_channel_do_not_clash(one: str, other: str) -> None:
    assert clash(Pattern.parse(one), Pattern.parse(other)) is None


def test_kinds_are_ordered_from_narrow_to_wide() -> None:
    assert sorted(Kind) == [Kind.LITERAL, Kind.INT, Kind.SEGMENT, Kind.PATH]


def test_an_empty_table_takes_nothing() -> None:
    table: PatternTable[int] = PatternTable()
    assert table.find("") is None
    assert list(table) == []
