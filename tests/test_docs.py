"""The docs are true: their blocks run, their links lead somewhere, they leave no public name out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import factory
import mesh
from factory.cli.launch import common_options
from factory.find import shipped
from factory.options import setup_options
from tests.conftest import RequireTool
from tests.helpers.doc_blocks import (
    LANGUAGES,
    Block,
    Newcomer,
    blocks,
    checkout,
    documents,
    line_pattern,
    pattern,
)
from tests.helpers.proc import ROOT

DOCS = documents()
WITH_BLOCKS = [path for path in DOCS if any(blocks(path))]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _prose(path: Path) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.fleet
@pytest.mark.parametrize("path", WITH_BLOCKS, ids=_name)
def test_every_block_does_what_it_says(path: Path, tmp_path: Path, require_tool: RequireTool) -> None:
    with Newcomer(checkout(tmp_path), require_tool) as newcomer:
        for block in blocks(path):
            try:
                newcomer.do(block)
            except (AssertionError, mesh.MeshError, OSError, ValueError) as exc:
                raise AssertionError(f"{block.place}: {exc}") from exc


@pytest.mark.parametrize("path", WITH_BLOCKS, ids=_name)
def test_no_block_is_of_a_kind_that_nobody_runs(path: Path) -> None:
    for block in blocks(path):
        assert block.language in LANGUAGES or (not block.language and "stop" in block.notes), (
            f"{block.place}: write it as one of {', '.join(sorted(LANGUAGES))}"
        )


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    text = _prose(path)
    for target in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), f"{_name(path)} links to {target}, which is not there"
        if anchor:
            assert anchor in set(_anchors(found)), (
                f"{_name(path)} links to {target}, which has no such heading"
            )


def _anchors(path: Path) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", _prose(path), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCS, ids=_name)
def test_every_make_target_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"(?:`|^\$ )make ([a-z]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= targets


def test_the_readme_has_a_picture_that_loads_fast() -> None:
    picture = ROOT / "docs" / "assets" / "fleet.svg"
    assert 'src="docs/assets/fleet.svg"' in (ROOT / "README.md").read_text(encoding="utf-8")
    assert picture.stat().st_size < 60_000
    # Nothing from elsewhere: it is shown where scripts, fonts and other files are not loaded.
    assert not re.search(r"<script|<image|url\(|@import", picture.read_text(encoding="utf-8"))


def test_every_document_is_on_its_shelf_and_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for path in DOCS:
        name = path.relative_to(ROOT / "docs").as_posix() if path.is_relative_to(ROOT / "docs") else None
        assert name in (None, "README.md") or f"({name})" in index, f"docs/README.md does not list {name}"


@pytest.mark.parametrize(
    ("module", "page"), [(factory, "sketch-api.md"), (mesh, "mesh-api.md")], ids=["factory", "mesh"]
)
def test_every_public_name_is_in_the_reference(module: object, page: str) -> None:
    text = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    public = list(module.__all__)  # type: ignore[attr-defined]
    assert [name for name in public if not re.search(rf"`(@|{module.__name__}\.)?{name}\b", text)] == []  # type: ignore[attr-defined]


def test_every_option_of_the_launcher_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    for sketch in shipped().values():
        common = common_options(client_only=sketch.plan.is_client_only)
        for option in [*common, *setup_options(sketch, taken=set())]:
            for flag in option.opts:
                assert f"`{flag}" in page or not flag.startswith("--"), f"{flag} is not in the reference"


@pytest.mark.source("B5")
def test_b05_the_decorator_is_factory_reactive_and_the_tutorial_says_so() -> None:
    tutorial = "\n".join(_prose(path) for path in sorted((ROOT / "docs" / "tutorial").glob("*.md")))
    assert re.search(r"`@protocol\.reactive`.*slip", tutorial, re.DOTALL)
    for path in DOCS:
        for block in blocks(path):
            assert "protocol.reactive" not in block.text, block.place


@pytest.mark.source("B18", "B32")
def test_b18_the_docs_say_how_to_back_the_grid_by_consul() -> None:
    howto = (ROOT / "docs" / "howto" / "service-discovery.md").read_text(encoding="utf-8")
    assert "../reference/grid.md" in howto
    assert "consul" in howto


class TestTheConvention:
    """What the words of ``tests/helpers/doc_blocks.py`` promise."""

    def test_an_ellipsis_alone_stands_for_lines_and_three_dots_for_themselves(self) -> None:
        assert re.fullmatch(pattern("one\n…\nfour\n"), "one\ntwo\nthree\nfour\n")
        assert re.fullmatch(pattern("one\n…\ntwo\n"), "one\ntwo\n")
        assert not re.fullmatch(pattern("< ...\n"), "< buzz\n")
        assert re.fullmatch(pattern("at …, yes\n"), "at last, yes\n")

    def test_times_bits_and_ports_vary_but_nothing_else(self) -> None:
        assert re.fullmatch(line_pattern("08:00:01 [0, 1] on 8765"), "23:59:59 [1, 1, 0] on 31234")
        assert not re.fullmatch(line_pattern("tick 1"), "tick 2")

    def test_a_comment_counts_for_the_block_right_below_it(self, tmp_path: Path) -> None:
        path = tmp_path / "x.md"
        path.write_text(
            "<!-- test: exit=2 -->\n\n```console\n$ false\n```\n\n<!-- test: stop=up -->\nText.\n"
        )
        found = list(blocks(path, tmp_path))
        assert [(block.language, block.text, block.notes) for block in found] == [
            ("console", "$ false\n", {"exit": "2"}),
            ("", "", {"stop": "up"}),
        ]

    def test_a_block_that_says_what_is_not_so_is_found_out(
        self, tmp_path: Path, require_tool: RequireTool
    ) -> None:
        lies = [
            Block("x:1", "console", "$ echo one\ntwo\n"),
            Block("x:1", "console", "$ false\n"),
            Block("x:1", "python", "raise ValueError\n"),
            Block("x:1", "yaml", "nodes: {a: {port: 0}}\n"),
            Block("x:1", "diff", "-  nobody\n+  somebody\n"),
            Block("x:1", "json", "{"),
            Block("x:1", "python", "class Nobody: ...\n", {"from": "sketches/buzzer.py"}),
            Block("x:1", "python", "pass\n", {"skp": "misspelled"}),
            Block("x:1", "console", "$ true\n", {"skip": ""}),
        ]
        with Newcomer(checkout(tmp_path), require_tool) as newcomer:
            for lie in lies:
                with pytest.raises((AssertionError, mesh.MeshError, ValueError)):
                    newcomer.do(lie)
