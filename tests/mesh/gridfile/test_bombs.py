"""What could hang or explode a loader is refused because of its shape, not by a clock."""

from __future__ import annotations

import random

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from mesh.errors import GridError
from mesh.gridfile import Grid, parse_grid
from mesh.gridfile.yaml_text import MAX_BYTES
from mesh.gridfile.yaml_tree import MAX_NODES
from tests.mesh.gridfile.broken import BROKEN


def alias_bomb(levels: int) -> str:
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merge_bomb(levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(alias_bomb(9), "alias 'a0'", id="aliases"),
        pytest.param(merge_bomb(7), "merge key <<", id="merge keys"),
        pytest.param("nodes: &a [*a]", "alias 'a'", id="alias to itself"),
        pytest.param("[" * 100_000, "deeper than 16", id="flow lists"),
        pytest.param("{a: " * 60_000, "deeper than 16", id="flow mappings"),
        pytest.param("- " * 100_000, "deeper than 16", id="block lists"),
        pytest.param("? " * 100_000, "deeper than 16", id="block keys"),
        pytest.param("".join(" " * n + "a:\n" for n in range(500)), "deeper than 16", id="block mappings"),
        pytest.param(f"nodes: {'1' * 200_000}", "too large for a number", id="integer"),
        pytest.param(f"nodes: -{'1' * 200_000}.5", "too long", id="float"),
        pytest.param(f"nodes: 1{':01' * 60_000}", "minutes", id="sexagesimal"),
        pytest.param("nodes: " + "1" * 1_000_000, "larger than 256 KiB", id="integer of 10^6 digits"),
        pytest.param("# x\n" * 100_000, "larger than 256 KiB", id="large file"),
        pytest.param(
            f"nodes: {{{', '.join(f'a{n}: 1' for n in range(20_000))}}}", "more than 20000", id="keys"
        ),
        pytest.param("nodes: [" + "a," * 100_000, "more than 20000", id="items"),
        pytest.param("a:\n" * 50_000, "more than 20000", id="the same key"),
        pytest.param(f"nodes: {{{'a' * 1000}: {{target: {'b' * 100_000}}}}}", "64 at most", id="long names"),
        pytest.param(f"nodes: {{a: {{host: '{'1.' * 100_000}'}}}}", "not a host", id="long host"),
        pytest.param(f"nodes: {{a: {{sketch: '{'a/' * 100_000}'}}}}", "not a sketch", id="long sketch"),
        pytest.param(f"nodes: {{a: {{sketch: {'a.' * 100_000}}}}}", "not a sketch", id="long module"),
        pytest.param(f"origins: ['http://{'a.' * 100_000}/']", "not an origin", id="long origin"),
        pytest.param(f"%YAML 1.{'1' * 10_000}\n---\n", "out of range", id="version"),
        pytest.param('nodes: "\\UFFFFFFFF"', "out of range", id="escape"),
        pytest.param('nodes: "\\U00110000"', "out of range", id="escape past Unicode"),
        pytest.param("!<" + "%41" * 80_000 + "> x", "tag", id="long tag"),
        pytest.param(f"{'x' * 200_000}: 1", "a colon where", id="long key"),
    ],
)
def test_a_bomb_is_refused(text: str, words: str) -> None:
    with pytest.raises(GridError, match=words.replace("^", r"\^")) as caught:
        parse_grid(text.encode())
    assert caught.value.problems
    assert len(str(caught.value)) < 20_000


def test_very_many_similar_names_do_not_make_suggestions_slow() -> None:
    words = [f"{'ab' * 28}{number:04}" for number in range(900)]
    nodes = "\n".join(f"  {word}: {{sketch: x, target: {word[::-1]}z}}" for word in words)
    with pytest.raises(GridError, match="has 900 mistakes"):
        parse_grid(f"nodes:\n{nodes}\n".encode())


def test_the_largest_grid_is_allowed_and_one_byte_more_is_not() -> None:
    good = b"nodes: {a: {port: 1}}\n"
    padded = good + b"#" * (MAX_BYTES - len(good))
    assert parse_grid(padded).names() == ["a"]
    with pytest.raises(GridError, match="larger than 256 KiB"):
        parse_grid(padded + b"#")


def test_as_many_values_as_allowed() -> None:
    # Of this grid, 11 values are not items: four mappings, a list, five keys and a port.
    text = "nodes: {a: {port: 1, args: {x: [%s]}}}"
    most = ["1"] * (MAX_NODES - 11)
    assert len(parse_grid((text % ",".join(most)).encode())[0].args["x"]) == len(most)
    with pytest.raises(GridError, match="more than 20000"):
        parse_grid((text % ",".join([*most, "1"])).encode())


def test_sixteen_levels_are_allowed() -> None:
    levels = 16 - 4  # the file, nodes, a and args are levels as well
    grid = parse_grid(f"nodes: {{a: {{port: 1, args: {{x: {'[' * levels}{']' * levels}}}}}}}".encode())
    value = grid[0].args["x"]
    for _ in range(levels - 1):
        (value,) = value
    assert value == []


@pytest.mark.parametrize(
    ("data", "place", "words"),
    [
        (b"nodes:\n  \xff: 1", (2, 3), "byte 0xff is not UTF-8"),
        (b"nodes:\n  a\xed\xa0\x80: 1", (2, 4), "byte 0xed is not UTF-8"),
        (b"\xc3", (1, 1), "byte 0xc3 is not UTF-8"),
        ("nodes:".encode("utf-16"), (1, 1), "UTF-16"),
        ("nodes:".encode("utf-16-be"), (1, 1), "U+0000"),
        (b"\xef\xbb\xbfnodes: 5", (1, 8), "`nodes` is the number 5"),
        (b"nodes:\r\n  a: 5\r\n", (2, 6), "'a' is the number 5"),
    ],
)
def test_encodings(data: bytes, place: tuple[int, int], words: str) -> None:
    with pytest.raises(GridError) as caught:
        parse_grid(data)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == place
    assert words in str(problem)


def test_a_byte_order_mark_and_windows_line_ends_are_fine() -> None:
    grid = parse_grid(b"\xef\xbb\xbfnodes:\r\n  a:\r\n    port: 1\r\n")
    assert grid.names() == ["a"]
    assert grid[0].where("port") == "grid.yaml:3:11"


def refused_or_grid(data: bytes) -> None:
    """Fail unless the bytes are a grid, or refused with places inside the file."""
    try:
        grid = parse_grid(data)
    except GridError as exc:
        problems = exc.problems
    else:
        assert isinstance(grid, Grid)
        return
    assert problems
    for problem in problems:
        assert 1 <= problem.line <= data.count(b"\n") + 1
        assert problem.column >= 1


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_grid_error(data: bytes) -> None:
    refused_or_grid(data)


@given(st.text(max_size=200))
@example('"\\UFFFFFFFF"')
@example("%YAML 1.1\n---\n\ud800")
def test_no_text_raises_anything_but_a_grid_error(text: str) -> None:
    refused_or_grid(text.encode("utf-8", "surrogatepass"))


PIECES = [
    *(
        "&a ",
        "*a ",
        "!x ",
        "!!int ",
        "<<: ",
        "? ",
        "- ",
        "|",
        ">-",
        "'",
        '"',
        "\\",
        "\\u",
        "[",
        "]",
        "{",
        "}",
    ),
    *(
        ",",
        ": ",
        "#",
        " #",
        "%",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "\n",
        "\n  ",
        "\t",
        "\r\n",
        "0",
        "1e5",
        "null",
    ),
    *("nodes:", "a: ", "sketch: ", "port: ", "@", "`", "=", "~", "\u2028", "é", "\\UFFFFFFFF", "x" * 1100),
]


@given(st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_no_pieces_of_yaml_raise_anything_but_a_grid_error(text: str) -> None:
    refused_or_grid(text.encode())


@given(st.sampled_from([b.text for b in BROKEN if len(b.text) < 1000]), st.randoms(use_true_random=False))
def test_no_damaged_grid_raises_anything_but_a_grid_error(text: str, dice: random.Random) -> None:
    for _ in range(dice.randint(1, 4)):
        at = dice.randint(0, len(text))
        text = text[:at] + dice.choice(PIECES) + text[at + dice.randint(0, 4) :]
    refused_or_grid(text.encode())


def test_the_parser_is_the_only_part_of_pyyaml_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def constructs(*args: object, **kwargs: object) -> None:
        pytest.fail("a grid must never be constructed by PyYAML")

    monkeypatch.setattr(yaml.constructor.BaseConstructor, "construct_document", constructs)
    monkeypatch.setattr(yaml.composer.Composer, "compose_node", constructs)
    assert parse_grid(b"nodes: {a: {port: 1}}").names() == ["a"]
