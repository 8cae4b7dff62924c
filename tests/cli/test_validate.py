"""`mesh validate`: every mistake in a grid, for people and for programs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.helpers.fleet import write_grid
from tests.helpers.proc import ROOT, Proc, finished

pytestmark = pytest.mark.fleet

BROKEN = "nodes:\n  a: {sketch: buzzer, port: 99999}\n  b: {prt: 1}\n"
PLACES = [(2, 29), (3, 3), (3, 7)]


def mesh(*arguments: str | Path, cwd: Path = ROOT, env: dict[str, str | None] | None = None) -> Proc:
    # As the console script does, which is there only once the package is installed.
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv[0] = 'mesh'"
    code += "; from factory.cli.fleet import main; main()"
    return finished(Proc(sys.executable, "-c", code, *arguments, cwd=cwd, env=env))


def test_the_shipped_grid_has_none() -> None:
    done = mesh("validate")
    assert done.wait() == 0, done
    assert done.stdout == [f"{ROOT / 'grid.yaml'}: no mistakes; 3 nodes: clock, blink and buzzer"]
    assert done.stderr == []


def test_each_mistake_is_a_line_with_its_place(tmp_path: Path) -> None:
    write_grid(tmp_path, BROKEN)
    done = mesh("validate", cwd=tmp_path)
    assert done.wait() == 1, done
    assert [line.split(": ")[0] for line in done.stdout] == [f"grid.yaml:{x}:{y}" for x, y in PLACES]
    assert done.stderr == []


@pytest.mark.parametrize("before", [True, False])
def test_the_grid_is_named_before_or_behind(tmp_path: Path, before: bool) -> None:
    grid = write_grid(tmp_path, BROKEN, name="other.yaml")
    option: list[str | Path] = ["--grid", grid]
    done = mesh(*option, "validate") if before else mesh("validate", *option)
    assert done.wait() == 1
    assert done.stdout[0].startswith(f"{grid}:2:29: ")


def test_mesh_grid_is_heeded(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, BROKEN, name="other.yaml")
    assert mesh("validate", env={"MESH_GRID": str(grid)}).stdout[0].startswith(f"{grid}:2:29: ")


def test_json_of_a_broken_grid(tmp_path: Path) -> None:
    write_grid(tmp_path, BROKEN)
    done = mesh("validate", "--json", cwd=tmp_path)
    assert done.wait() == 1
    answer = json.loads("\n".join(done.stdout))
    assert answer["ok"] is False
    assert [(p["line"], p["column"]) for p in answer["problems"]] == PLACES
    assert all(p["file"] == "grid.yaml" and p["what"] and p["fix"] for p in answer["problems"])


def test_json_of_a_good_grid() -> None:
    done = mesh("validate", "--json")
    assert done.wait() == 0
    assert json.loads(done.stdout[0]) == {
        "ok": True,
        "grid": str(ROOT / "grid.yaml"),
        "nodes": ["clock", "blink", "buzzer"],
    }


def test_a_grid_that_is_not_there(tmp_path: Path) -> None:
    done = mesh("validate", "--grid", "nowhere.yaml", cwd=tmp_path)
    assert done.wait() == 1
    (line,) = done.stdout
    assert line.startswith("there is no grid nowhere.yaml; correct the path, or leave it out")
    answer = json.loads(mesh("validate", "--grid", "nowhere.yaml", "--json", cwd=tmp_path).stdout[0])
    assert answer["ok"] is False
    assert answer["problems"] == []


def test_a_wrong_word_exits_2() -> None:
    done = mesh("validat")
    assert done.wait() == 2
    assert "No such command 'validat'" in done.stderr[-1]


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "--help"]])
def test_help(arguments: list[str]) -> None:
    done = mesh(*arguments)
    assert done.wait() == 0
    assert done.stdout[0].startswith("Usage: mesh")


def test_one_node_is_one_node(tmp_path: Path) -> None:
    write_grid(tmp_path, "nodes: {a: {port: 1}}")
    assert mesh("validate", cwd=tmp_path).stdout == [f"{tmp_path / 'grid.yaml'}: no mistakes; 1 node: a"]


def test_the_sketches_are_looked_for_and_their_args_checked(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("raise RuntimeError('must not be run')\n")
    (tmp_path / "bad.py").write_text("class X:\n    def\n")
    text = """\
nodes:
  a: {sketch: buzer}
  b: {sketch: buzzer, args: {sond: 1, bell: loud}}
  c: {sketch: good.py:X}
  d: {sketch: bad.py:X}
  e: {sketch: goood.py:X}
  f: {sketch: nowhere.at_all:X}
  g: {sketch: toaster}
"""
    write_grid(tmp_path, text)
    done = mesh("validate", cwd=tmp_path)
    assert done.wait() == 1, done
    found = done.stdout
    for line, part in zip(
        found,
        [
            ":2:15: no sketch is called 'buzer'; did you mean 'buzzer'?",
            ":3:36: unknown argument 'sond', did you mean 'sound'?; Buzzer.setup(",
            ":3:45: argument 'bell': expected bool, got str; Buzzer.setup(",
            f":5:15: {tmp_path / 'bad.py'}:2: ",
            ":6:15: there is no file ",
            ":8:15: no sketch is called 'toaster'; choose clock, iopin, buzzer or ringchat",
        ],
        strict=True,
    ):
        assert part in line
    assert "did you mean 'good.py'?" in found[4]
    assert not done.stderr
    answer = json.loads(mesh("validate", "--json", cwd=tmp_path).stdout[0])
    assert [p["line"] for p in answer["problems"]] == [2, 3, 3, 5, 6, 8]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_in_one_sentence() -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from factory.cli.fleet import main; main()"
    done = finished(
        Proc(
            "sh",
            "-c",
            'exec "$0" "$@" > /dev/full',
            sys.executable,
            "-c",
            code,
            "validate",
            str(ROOT / "grid.yaml"),
        )
    )
    assert done.wait() == 1, done
    assert done.stderr == ["Error: the output cannot be written: No space left on device"]
