"""What nodes print, cut into lines that are safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.fleet.lines import MOST_BYTES, LineCutter, shown


def cut(*chunks: bytes) -> list[str]:
    cutter = LineCutter()
    return [line for chunk in chunks for line in cutter.feed(chunk)] + cutter.finish()


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b""], []),
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a", b"b\r", b"\nc"], ["ab", "c"]),
        ([b"\n\n"], ["", ""]),
        ([b"\xc3", b"\xa4\n"], ["ä"]),
        ([b"\xff\xfe\n"], ["\\xff\\xfe"]),
        ([b"x" * MOST_BYTES + b"\n"], ["x" * MOST_BYTES]),
        ([b"x" * MOST_BYTES, b"yz", b"!\nnext\n"], ["x" * MOST_BYTES + "… (+3 bytes)", "next"]),
    ],
)
def test_lines_are_cut_wherever_the_bytes_are(chunks: list[bytes], lines: list[str]) -> None:
    assert cut(*chunks) == lines


@given(st.lists(st.binary(max_size=40)))
def test_it_does_not_matter_how_the_bytes_come(chunks: list[bytes]) -> None:
    assert cut(*chunks) == cut(b"".join(chunks))


def test_a_line_without_end_is_bounded_while_it_comes() -> None:
    cutter = LineCutter()
    for _ in range(100):
        assert cutter.feed(b"x" * 100_000) == []
    (line,) = cutter.finish()
    assert len(line) < MOST_BYTES + 40


@pytest.mark.parametrize(
    ("text", "plain", "coloured"),
    [
        ("a", "a", "a"),
        ("\x1b[31mred\x1b[0m!", "red!", "\x1b[31mred\x1b[0m!\x1b[0m"),
        ("\x1b[2Jgone\x07", "\\x1b[2Jgone\\x07", "\\x1b[2Jgone\\x07\x1b[0m"),
        ("\u202eevil", "\\u202eevil", "\\u202eevil"),
    ],
)
def test_only_colours_reach_a_terminal(text: str, plain: str, coloured: str) -> None:
    assert shown(text, colours=False) == plain
    assert shown(text, colours=True) == coloured
