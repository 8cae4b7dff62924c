"""Whether the sketches that a grid names are there, and its ``args:`` fit them.

Nobody's code is run for it: of a sketch in a file it is only seen that the file is there
and can be parsed, and a sketch in a module is taken on trust.
"""

from __future__ import annotations

import ast
from pathlib import Path

import mesh
from factory.find import CORE, shipped
from factory.identity import grid_folder
from factory.options import read_arguments
from mesh.gridfile.problems import Mark, Problems, shown
from mesh.text import closest, listing


def check_sketches(grid: mesh.Grid) -> None:
    """Look for the sketch of each node.

    Raises:
        GridError: With every sketch that is not there or cannot be parsed, and every
            argument that does not fit.

    """
    known = shipped()
    file = next((node.file for node in grid if node.file), str(grid.path or "the grid"))
    problems = Problems(file)
    for node in grid:
        if node.sketch is None:
            continue
        place, _, name = node.sketch.partition(":")
        mark = Mark(*node.marks.get(("sketch",), (1, 1)))
        if place.endswith(".py"):
            _check_file(grid_folder(grid) / place, mark, problems)
        elif not name and place.lower() in known:
            sketch = known[place.lower()]
            values, misfits = read_arguments(sketch, node)
            for problem in misfits:
                problems.add(problem, problem.what, problem.fix)
            for path, what in sketch.check_arguments(values, node, grid):
                words, _, fix = what.partition("; ")
                problems.add(_mark(node, path), words, fix or "see docs/reference/boards.md")
        elif not name:
            near = closest(place, known)
            problems.add(
                mark,
                f"no sketch is called {shown(place)}",
                f"did you mean {near!r}?"
                if near
                else f"choose {listing(CORE, 'or')}, or write file.py:Class",
            )
    problems.raise_if_any()


def _mark(node: mesh.Node, path: tuple[str, ...]) -> Mark:
    """Return where an argument stands, or the nearest thing around it that has a place."""
    for end in range(len(path), -1, -1):
        mark = node.marks.get(("args", *path[:end]))
        if mark is not None:
            return Mark(*mark)
    return Mark(1, 1)


def _check_file(path: Path, mark: Mark, problems: Problems) -> None:
    try:
        ast.parse(path.read_bytes(), str(path))
    except FileNotFoundError:
        near = closest(path.name, [file.name for file in path.parent.glob("*.py")])
        fix = f"did you mean {near!r}?" if near else "a sketch's file is looked for beside the grid"
        problems.add(mark, f"there is no file {path}", fix)
    except OSError as exc:
        problems.add(mark, f"{path} cannot be read", f"{exc.strerror}")
    except SyntaxError as exc:
        problems.add(mark, f"{path}:{exc.lineno or 1}: {exc.msg}", "mend the file")
    except (ValueError, RecursionError, MemoryError) as exc:
        problems.add(mark, f"{path} is no Python", str(exc))
