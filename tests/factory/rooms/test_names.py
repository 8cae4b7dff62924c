"""Names of users and rooms."""

# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import pytest

from factory.rooms.names import NameRefusedError, looks, settled_name


@pytest.mark.parametrize(
    "name", ["ann", "Ann-Marie", "Zoë", "日本", "a b", "Наташа", "user_1", "😀", "O'Neil"]
)
def test_names_of_people_are_taken(name: str) -> None:
    assert settled_name(f"  {name} ", "username", 32) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "username is empty"),
        ("  ", "username is empty"),
        (7, "username is a text"),
        ("x" * 33, "has 33 characters; 32 are the most"),
        ("a\x1b[2J", r"cannot be seen \(U\+001B\)"),
        ("a\nb", r"U\+000A"),
        ("a\u200bb", r"U\+200B"),
        ("\u202eann", r"U\+202E"),
        ("a\u3000b", r"U\+3000"),
        ("a\ud800", r"U\+D800"),
        ("q\u0301\u0302\u0303", "more than 2 accents"),
        ("p\u0430ul", "mixes Cyrillic and Latin"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(name: object, why: str) -> None:
    with pytest.raises(NameRefusedError, match=why):
        settled_name(name, "username", 32)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann", "ANN"),
        ("zoe", "Zoë"),
        ("cop", "сор"),
        ("bill", "biIl"),
        ("bob", "b0b"),
        ("modern", "modem"),
        ("\u212bke", "Åke"),
        ("ｂｏｂ", "bob"),
    ],
)
def test_names_that_look_alike_have_a_look_in_common(one: str, other: str) -> None:
    assert looks(one) & looks(other)


@pytest.mark.parametrize(
    ("one", "other"), [("ann", "anna"), ("anni", "annl"), ("bob", "rob"), ("日本", "日木")]
)
def test_names_that_differ_have_none(one: str, other: str) -> None:
    assert not looks(one) & looks(other)
