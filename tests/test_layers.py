"""The layers of docs/explanation/architecture.md, proved on the syntax trees.

The table in that file is read, not copied: a row that changes there changes what is
checked here. Imports under ``if TYPE_CHECKING:`` are excused; imports inside functions
count for the layers, but not for cycles, since they run when both modules are there.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = ("mesh", "factory", "sketches", "arduino")

# Modules that the table does not name; the table wins where it does.
UNNAMED = {
    "mesh": 3,  # the facade: whoever may import all of mesh may import this
}

# What a sans-I/O core must not know: its callers hand it the clock, the chance and the bytes.
EFFECTS = {
    "asyncio", "concurrent", "contextvars", "http", "io", "logging", "multiprocessing", "os", "pathlib",
    "queue", "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver",
    "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
EFFECT_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}


@dataclass(frozen=True)
class Import:
    """One import: who imports what, on which line, and when it runs."""

    importer: str
    imported: str
    line: int
    deferred: bool

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}, imports {self.imported}"


# -- reading ---------------------------------------------------------------------------


def source_files() -> dict[str, Path]:
    """Return every module of ours and its file."""
    found = {"arduino": ROOT / "arduino.py"}
    for package in ("mesh", "factory", "sketches"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(source_files()[module].read_text(encoding="utf-8"))


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports_of(
    module: str, parsed: ast.Module, known: Mapping[str, object], *, package: bool
) -> list[Import]:
    """Return what a module imports, each name resolved to the deepest module that exists."""
    found: list[Import] = []

    def walk(nodes: list[ast.stmt] | list[ast.AST], *, deferred: bool) -> None:
        for node in nodes:
            if isinstance(node, ast.If) and is_type_checking(node.test):
                walk(node.orelse, deferred=deferred)
            elif isinstance(node, ast.Import):
                found.extend(Import(module, name.name, node.lineno, deferred) for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = _base(node)
                for name in node.names:
                    whole = f"{base}.{name.name}"
                    imported = whole if whole in known else base
                    found.append(Import(module, imported, node.lineno, deferred))
            else:
                inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                walk(list(ast.iter_child_nodes(node)), deferred=deferred or inside)

    def _base(node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parts = module.split(".")
        parts = parts[: len(parts) - node.level + (1 if package else 0)]
        return ".".join([*parts, *([node.module] if node.module else [])])

    walk(parsed.body, deferred=False)
    return found


@cache
def all_imports() -> tuple[Import, ...]:
    files = source_files()
    return tuple(
        entry
        for module, path in files.items()
        for entry in imports_of(module, tree(module), files, package=path.name == "__init__.py")
    )


@cache
def table() -> dict[str, int]:
    """Return the patterns of module names in the document's table, with their layers."""
    text = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    rows = {}
    for layer, modules in re.findall(r"^\| (\d) \| ([^|]+) \|", text, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", modules):
            name = name.removesuffix(".py")
            rows[name] = int(layer)
            rows[name.removesuffix(".*")] = int(layer)
            if not name.endswith(".*"):
                rows[f"{name}.*"] = int(layer)
    return rows


def layer_of(module: str, rows: Mapping[str, int]) -> int | None:
    """Return the layer of the longest pattern that fits."""
    fitting = [name for name in rows if fnmatchcase(module, name)]
    return rows[max(fitting, key=len)] if fitting else None


def layer(module: str) -> int:
    found = layer_of(module, table())
    if found is None:
        found = layer_of(module, UNNAMED)
    assert found is not None, f"{module} stands in no layer; add it to docs/explanation/architecture.md"
    return found


def ours(module: str) -> bool:
    return module.split(".")[0] in OURS


def upward(imports: tuple[Import, ...]) -> list[str]:
    return [
        f"{entry} (layer {layer(entry.importer)} to layer {layer(entry.imported)})"
        for entry in imports
        if ours(entry.imported) and layer(entry.imported) > layer(entry.importer)
    ]


def cycle(imports: tuple[Import, ...]) -> list[str] | None:
    graph: dict[str, set[str]] = {}
    for entry in imports:
        if ours(entry.imported) and not entry.deferred and entry.imported != entry.importer:
            graph.setdefault(entry.importer, set()).add(entry.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return list(exc.args[1])
    return None


# -- the proof ---------------------------------------------------------------------------


def test_the_table_is_found() -> None:
    assert set(table().values()) == set(range(7))


@pytest.mark.parametrize("module", source_files())
def test_every_module_stands_in_a_layer(module: str) -> None:
    assert 0 <= layer(module) <= 6


def test_an_import_goes_down_or_sideways() -> None:
    assert upward(all_imports()) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert cycle(all_imports()) is None


def test_the_network_knows_nothing_of_sketches() -> None:
    foreign = [
        str(entry)
        for entry in all_imports()
        if entry.importer.split(".")[0] == "mesh"
        and ours(entry.imported)
        and entry.imported.split(".")[0] != "mesh"
    ]
    assert foreign == []


def test_layer_0_needs_nothing_but_the_standard_library() -> None:
    foreign = [
        str(entry)
        for entry in all_imports()
        if layer(entry.importer) == 0
        and not ours(entry.imported)
        and entry.imported.split(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []


PROTOCOL = [module for module in source_files() if module.startswith("mesh.protocol")]
BOARDS = [module for module in source_files() if module.startswith("factory.boards") and layer(module) == 1]
SANS_IO = PROTOCOL + BOARDS


@pytest.mark.parametrize("module", SANS_IO)
def test_the_protocol_is_sans_io(module: str) -> None:
    for entry in all_imports():
        if entry.importer == module and not ours(entry.imported):
            top = entry.imported.split(".")[0]
            assert top not in EFFECTS, entry
            assert top in sys.stdlib_module_names or top == "msgspec", entry


@pytest.mark.parametrize("module", SANS_IO)
def test_the_protocol_awaits_nothing_and_opens_nothing(module: str) -> None:
    for node in ast.walk(tree(module)):
        where = f"{module}, line {getattr(node, 'lineno', 0)}"
        assert not isinstance(
            node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith | ast.Global
        ), where
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in EFFECT_CALLS, where


def test_the_protocol_knows_of_mesh_only_what_is_below_it() -> None:
    below = {entry.imported for entry in all_imports() if entry.importer in PROTOCOL and ours(entry.imported)}
    assert {layer(module) for module in below} <= {0, 1}


def test_boards_know_nothing_of_the_protocol_of_the_mesh() -> None:
    imports = [entry for entry in all_imports() if entry.importer in BOARDS and ours(entry.imported)]
    assert BOARDS
    assert [str(e) for e in imports if e.imported not in BOARDS and layer(e.imported) != 0] == []


def test_the_document_names_every_module_and_no_other() -> None:
    files = source_files()
    unnamed = [module for module in files if layer_of(module, table()) is None]
    stale = [name for name in table() if "*" not in name and name not in files and name.split(".")[0] in OURS]
    assert (unnamed, stale) == (["mesh"], [])


# -- the proof can fail --------------------------------------------------------------------


def parsed(module: str, source: str, *, package: bool = False) -> tuple[Import, ...]:
    return tuple(imports_of(module, ast.parse(source), source_files(), package=package))


@pytest.mark.parametrize(
    "source",
    [
        "import factory.loop",
        "from factory import loop",
        "from factory.loop import FactoryLoop",
        "import mesh.errors, mesh.door",
        "def f():\n    import mesh.peers",
        "class A:\n    def f(self):\n        if True:\n            from mesh import door",
        "try:\n    import mesh.node\nexcept ImportError:\n    pass",
        "from .. import node",
        "from ..door import Door",
        "if not TYPE_CHECKING:\n    import mesh.door",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import mesh.door",
    ],
)
def test_an_import_that_goes_up_is_found(source: str) -> None:
    assert upward(parsed("mesh.protocol.patterns", source))


@pytest.mark.parametrize(
    "source",
    [
        "from mesh.errors import PayloadError",
        "from mesh.protocol import values",
        "from . import values",
        "from ..errors import MeshError",
        "import asyncio",
        "if TYPE_CHECKING:\n    from mesh.door import Door",
        "import typing\nif typing.TYPE_CHECKING:\n    from factory import loop",
    ],
)
def test_other_imports_are_not(source: str) -> None:
    assert not upward(parsed("mesh.protocol.patterns", source))


def test_a_relative_import_of_a_package_is_resolved() -> None:
    (entry,) = parsed("mesh", "from .node import Node", package=True)
    assert entry.imported == "mesh.node"


def _pair(one: str, other: str) -> tuple[Import, ...]:
    return parsed("mesh.door", one) + parsed("mesh.peers", other)


def test_a_circle_is_found() -> None:
    found = cycle(_pair("import mesh.peers", "from mesh.door import Door"))
    assert found is not None
    assert set(found) == {"mesh.door", "mesh.peers"}


def test_a_circle_that_never_runs_is_none() -> None:
    assert cycle(_pair("import mesh.peers", "if TYPE_CHECKING:\n    import mesh.door")) is None
    assert cycle(_pair("import mesh.peers", "def f():\n    import mesh.door")) is None


def _lines(entries: Iterator[Import]) -> list[int]:
    return [entry.line for entry in entries]


def test_a_finding_names_its_line() -> None:
    source = "'''text'''\n\nimport mesh.errors\nimport mesh.door\n"
    assert _lines(iter(parsed("mesh.protocol.values", source))) == [3, 4]
    assert "mesh.protocol.values, line 4, imports mesh.door (layer 1 to layer 3)" in upward(
        parsed("mesh.protocol.values", source)
    )
