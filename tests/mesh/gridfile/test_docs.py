"""The reference of the grid says what is true."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import mesh.gridfile
from mesh.errors import GridError
from mesh.gridfile import parse_grid
from mesh.gridfile.model import GridFile, GroupEntry, NodeEntry
from mesh.gridfile.scalars import Ambiguous, meaning
from mesh.gridfile.yaml_text import MAX_BYTES
from mesh.gridfile.yaml_tree import MAX_DEPTH, MAX_NODES

ROOT = Path(mesh.gridfile.__file__).parents[2]
TEXT = (ROOT / "docs" / "reference" / "grid.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def test_the_example_is_the_grid_at_the_root() -> None:
    example = blocks("yaml")[0]
    assert parse_grid(example.encode()) == parse_grid((ROOT / "grid.yaml").read_bytes())


def test_the_doors_it_shows_are_read_as_it_says() -> None:
    buzzer = parse_grid(blocks("yaml")[1].encode()).node("buzzer")
    assert [(door.speaks, door.layers, door.channel) for door in buzzer.doors] == [
        ("messages", ("line",), ""),
        ("messages", ("line",), "bits"),
        ("link", ("len32le", "zlib"), ""),
    ]
    assert buzzer.link_uri == "tcp://localhost:9011"


def test_every_field_is_in_a_table_and_no_other() -> None:
    tabled = re.findall(r"^\| `(\w+)` \|", TEXT.partition("## Rules")[0], re.MULTILINE)
    assert tabled == [*NodeEntry.__struct_fields__, *GroupEntry.__struct_fields__]
    for info in msgspec.structs.fields(GridFile):
        assert f"`{info.name}`" in TEXT


def test_limits() -> None:
    assert f"at most {MAX_BYTES // 1024} KiB, {MAX_NODES:,} values and {MAX_DEPTH} levels" in TEXT


def test_the_values_it_calls_refused_are_refused() -> None:
    rows = re.findall(r"^\| (.*) \| refused: .*\|$", TEXT, re.MULTILINE)
    words = [word for row in rows for word in re.findall(r"`([^`]+)`", row)]
    assert len(words) > 10
    for word in words:
        assert isinstance(meaning(word), Ambiguous), word


def test_the_messages_it_shows_are_the_real_ones() -> None:
    (shown,) = blocks("text")
    broken = "nodes:\n  blink:\n    port: 0\n  clock:\n    sketch: clock\n    target: blik\n"
    with pytest.raises(GridError) as caught:
        parse_grid(broken.encode())
    assert str(caught.value) == shown.strip()


def test_the_program_it_shows_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (program,) = (block for block in blocks("python") if 'node("buzzer")' in block)
    names: dict[str, object] = {}
    exec(compile(program, "grid.md", "exec"), names)
    shown = dict(line.split("  # ") for line in program.splitlines() if "  # " in line)
    for code, value in shown.items():
        if value.startswith("ws://"):
            assert eval(code, names) == value
        elif value.startswith("["):
            assert eval(code, names) == eval(value)
