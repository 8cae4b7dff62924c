"""Names of users and rooms: which ones are taken, and which two are too much alike.

Two users whose names look the same are one user to whoever reads them. So a name is refused if
another one has the same *looks*: the same letters but for case and accents, or letters that are
drawn alike. The latter follow Unicode Technical Standard 39, "Unicode Security Mechanisms": of its
confusables those of Latin, Greek and Cyrillic are here, and names that mix the three are refused,
as its "highly restrictive" profile has it.
"""

# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import unicodedata
from typing import Final

_SCRIPTS: Final = ("LATIN", "GREEK", "CYRILLIC")
_MOST_MARKS: Final = 2
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

# What is drawn like a Latin letter, by that letter, in lower case (confusables.txt of UTS 39).
_DRAWN_LIKE: Final = {
    "a": "аα",
    "b": "ьβ",
    "c": "с",
    "e": "еє",
    "h": "һн",
    "i": "іι",
    "j": "ј",
    "k": "кκ",
    "l": "ӏ1|",
    "m": "м",
    "n": "η",
    "o": "оοσ0",
    "p": "рρ",
    "q": "ԛ",
    "s": "ѕ",
    "t": "тτ",
    "u": "υ",
    "v": "ν",
    "w": "ԝω",
    "x": "хχ",
    "y": "уγ",
}
_ALIKE: Final = str.maketrans({other: latin for latin, others in _DRAWN_LIKE.items() for other in others})


class NameRefusedError(ValueError):
    """A name cannot be had; says why."""


def settled_name(text: object, what: str, most: int) -> str:
    """Return a name as it is shown from now on.

    Args:
        text: What was asked for; spaces around it do not count.
        what: What it is the name of, for people: ``username`` or ``room``.
        most: Characters that it may have.

    Raises:
        NameRefusedError: If it cannot be a name.

    """
    if not isinstance(text, str):
        raise NameRefusedError(f"{what} is a text, as in {what!r}: 'ann'")
    name = unicodedata.normalize("NFC", text.strip())
    if not name:
        raise NameRefusedError(f"{what} is empty")
    if len(name) > most:
        raise NameRefusedError(f"{what} has {len(name)} characters; {most} are the most")
    scripts: set[str] = set()
    marks = 0
    for char in name:
        category = unicodedata.category(char)
        if category in _HIDDEN or (category == "Zs" and char != " "):
            raise NameRefusedError(f"{what} has a character that cannot be seen (U+{ord(char):04X})")
        marks = marks + 1 if category.startswith("M") else 0
        if marks > _MOST_MARKS:
            raise NameRefusedError(f"{what} has more than {_MOST_MARKS} accents on one letter")
        if category.startswith("L"):
            word = unicodedata.name(char, "").split(" ", 1)[0]
            if word in _SCRIPTS:
                scripts.add(word.capitalize())
    if len(scripts) > 1:
        raise NameRefusedError(f"{what} mixes {' and '.join(sorted(scripts))} letters, which look alike")
    return name


def looks(name: str) -> frozenset[str]:
    """Return what a name looks like: two names with anything in common here are too much alike."""
    bare = "".join(
        char for char in unicodedata.normalize("NFKD", name) if not unicodedata.category(char).startswith("M")
    )
    # A capital I is drawn like an l, which its lower case is not.
    drawn = bare.replace("I", "l").casefold().translate(_ALIKE)
    return frozenset({f"letters:{bare.casefold()}", f"drawn:{drawn.replace('rn', 'm').replace('vv', 'w')}"})
