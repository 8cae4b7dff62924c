"""The code blocks of a Markdown file, and a newcomer who does what they say.

A reader sees plain Markdown. What a test needs besides stands in HTML comments of the
form ``<!-- test: WORDS -->``, either just above a block or by themselves.

What a block is says its language:

===========  ========================================================================
``console``  Each line with ``$ `` is run, and must print just what stands beneath it
             and exit with 0. Below a websocket client, lines with ``> `` are typed.
             ``^C`` is Ctrl-C. Runs in the folder of the checkout.
``python``   Is run as a script.
``yaml``     Is a grid, or a scenario if its file is ``*.scenario.yaml``, and has no mistakes.
``diff``     Replaces lines of ``grid.yaml`` that are there exactly once.
``json``     Can be read.
``text``     What the Python block above it prints, if so marked; else it is only read.
``mermaid``  A drawing; only read. ``js``, ``html`` and ``cpp`` likewise.
===========  ========================================================================

In what is printed, ``…`` stands for anything (alone on its line: for any lines), because
``...`` is what a buzzer says. Times of day, waiting times, lists of bits and the ports 87xx
and 8007 stand for any others.

The words of a comment:

====================  ===============================================================
``skip="why"``        Is not run.
``terminal=NAME``     The last command goes on running; waits for what it is to print.
``leaves``            The last command ends, and what it has started runs on, to the end of the page.
``prints=NAME``       What that terminal has printed by now, or does soon.
``stop=NAME``         First of all, Ctrl-C in that terminal (Ctrl-D if something was typed there);
                      may stand by itself.
``any-order``         The lines are printed, no matter when, and others may be, too.
``types="a|b"``       These lines are typed, as they stand there: below a program without a prompt.
``exit=N``            The exit code of the last command.
``needs=PROG:PKG``    A program, and the Debian package that has it.
``file=NAME``         The block is written to that file.
``into=NAME``         The block is added to that file, in a grid below ``nodes:``.
``from=NAME``         The block stands in that file of the checkout, word for word.
``output``            What the block before it prints.
``broken``            A grid with mistakes, of course.
====================  ===============================================================
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import mesh
from factory.scenarios import read_scenario
from tests.helpers.meshes import put
from tests.helpers.ports import free_ports
from tests.helpers.proc import ROOT, Proc

LANGUAGES = {"console", "python", "yaml", "diff", "json", "text", "mermaid", "js", "html", "cpp"}
WORDS = {
    "skip",
    "terminal",
    "leaves",
    "prints",
    "stop",
    "any-order",
    "types",
    "exit",
    "needs",
    "file",
    "into",
    "from",
    "output",
    "broken",
}
GAP = "…"
# What make says when one of its commands was interrupted, by version and shell.
INTERRUPTED_MAKE = {2, 130, -2}

_FENCE = re.compile(r" *```(\w*)$")
_COMMENT = re.compile(r" *<!-- test: (.+) -->$")
_PORT = re.compile(r"\b(?:87\d\d|8007)\b")
_ANSI = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[78])")
_VARYING = re.compile(r"(…|\b\d\d:\d\d:\d\d\b|\[[01](?:, [01])*\]|\b(?:87\d\d|8007)\b|after \d+\.\d s\b)")
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".cache", ".ruff_cache", ".mypy_cache", ".hypothesis", "tests", "build", "dist"
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block, or a comment by itself (then without language and text).

    Attributes:
        place: File and line, for people.
        language: What stands behind the fence.
        text: What is inside.
        notes: The words of the comment above it.

    """

    place: str
    language: str = ""
    text: str = ""
    notes: dict[str, str] = field(default_factory=dict)


def documents() -> list[Path]:
    """Return the README and all of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path, root: Path = ROOT) -> Iterator[Block]:
    """Give the blocks of a Markdown file in order, placed relative to ``root``."""
    notes: dict[str, str] | None = None
    noted = 0
    inside: list[str] | None = None
    language, start = "", 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fence, comment = _FENCE.match(line), _COMMENT.match(line)
        if inside is not None:
            if line.strip() == "```":
                text = textwrap.dedent("\n".join(inside)) + "\n"
                yield Block(f"{path.relative_to(root)}:{start}", language, text, notes or {})
                notes = inside = None
            else:
                inside.append(line)
        elif fence:
            inside, language, start = [], fence[1], number
        elif line.strip() and notes is not None:
            yield Block(f"{path.relative_to(root)}:{noted}", notes=notes)
            notes = None
        if inside is None and comment:
            notes, noted = _words(comment[1]), number
    assert inside is None, f"{path}:{start}: the block does not end"
    if notes is not None:
        yield Block(f"{path.relative_to(root)}:{noted}", notes=notes)


def _words(text: str) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in shlex.split(text))}


def pattern(expected: str) -> str:
    """Return the regular expression of what a block says is printed."""
    return "".join(
        r"(?:[^\n]*\n)*?" if line.strip() == GAP else line_pattern(line) + r"[ ]*\n"
        for line in expected.splitlines()
    )


def line_pattern(line: str) -> str:
    """Return the regular expression of one line."""
    parts = []
    for part in _VARYING.split(line.rstrip()):
        if part == GAP:
            parts.append(r"[^\n]*?")
        elif part.startswith("[") and _VARYING.fullmatch(part):
            parts.append(r"\[[01](?:, [01])*\]")
        elif _PORT.fullmatch(part):
            parts.append(r"\d{4,5}")
        elif part.startswith("after ") and _VARYING.fullmatch(part):
            parts.append(r"after \d+\.\d s")
        elif _VARYING.fullmatch(part):
            parts.append(r"\d\d:\d\d:\d\d")
        else:
            parts.append(re.escape(part))
    return "".join(parts)


def checkout(folder: Path) -> Path:
    """Make a copy of the checkout in which ``make setup`` has been run, and return it.

    What it runs is the copy, with the packages of this environment.
    """
    root = folder / "sketchmesh"
    shutil.copytree(ROOT, root, ignore=_LEFT_OUT)
    venv = root / ".venv"
    (venv / "bin").mkdir(parents=True)
    here = Path(sys.prefix)
    for name in ("lib", "lib64", "pyvenv.cfg"):
        if (here / name).exists():
            (venv / name).symlink_to(here / name)
    settings = (root / "pyproject.toml").read_text(encoding="utf-8")
    scripts = tomllib.loads(settings)["project"]["scripts"]
    for program in (here / "bin").iterdir():
        if program.name not in scripts:
            (venv / "bin" / program.name).symlink_to(program)
    for name, target in scripts.items():
        module, function = target.split(":")
        script = venv / "bin" / name
        script.write_text(
            f"#!{venv}/bin/python\nimport sys\nsys.path[0] = {str(root)!r}\n"
            f"from {module} import {function}\nsys.exit({function}())\n",
            encoding="utf-8",
        )
        script.chmod(0o755)
    # As scripts/setup knows that there is nothing left to do.
    (venv / "sketchmesh-setup.stamp").write_text(f"{root.resolve()}\n{settings}", encoding="utf-8")
    return root


class Newcomer:
    """Does what a document says, block by block, in a checkout of their own.

    Use as a context manager: at its end every terminal is closed, and must have
    been able to stop cleanly.

    Args:
        root: The checkout; its ports are changed to free ones.
        require_tool: The fixture of that name.

    """

    def __init__(self, root: Path, require_tool: Callable[..., str]) -> None:
        self.root = root
        self._require_tool = require_tool
        self._ports: dict[str, str] = {}
        self._terminals: dict[str, Proc] = {}
        self._left: list[Proc] = []
        self._printed = ""
        self._rewrite(root / "grid.yaml", lambda text: text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if kind is None:
                # All at once, for each takes its time.
                for proc in self._terminals.values():
                    self._ask_to_stop(proc)
                for name in list(self._terminals):
                    self._stop(name, asked=True)
        finally:
            for proc in (*self._terminals.values(), *self._left):
                proc.__exit__()

    def do(self, block: Block) -> None:
        """Do what one block says.

        Raises:
            AssertionError: If something else happens than the block says.

        """
        unknown = set(block.notes) - WORDS
        assert not unknown, f"unknown words in the comment: {unknown}"
        if "needs" in block.notes:
            program, _, package = block.notes["needs"].partition(":")
            self._require_tool(program, package=package)
        if "stop" in block.notes:
            self._stop(block.notes["stop"])
        if "skip" in block.notes:
            assert block.notes["skip"], "a skip needs a reason"
        elif "prints" in block.notes:
            self._await_in_order(self._terminals[block.notes["prints"]], block.text)
        elif block.language == "console":
            self._shell(block)
        elif "from" in block.notes:
            source = (ROOT / block.notes["from"]).read_text(encoding="utf-8")
            assert _is_part(block.text, source), f"{block.notes['from']} does not have these lines"
        elif "file" in block.notes:
            path = self.root / block.notes["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, self._real(block.text))
            if "broken" not in block.notes:
                self._check(path)
        elif "into" in block.notes:
            path = self.root / block.notes["into"]
            self._rewrite(path, lambda text: _added(text, block.text))
            self._check(path)
        elif block.language == "python":
            path = self.root / "block.py"
            path.write_text(self._real(block.text), encoding="utf-8")
            self._printed = self._run("block.py", "block.py")
        elif block.language == "yaml":
            path = self.root / "block.yaml"
            path.write_text(block.text, encoding="utf-8")
            mesh.grid(path)
        elif block.language == "diff":
            self._edit(block.text)
        elif block.language == "json":
            json.loads(block.text)
        elif "output" in block.notes:
            _compare(block.text, self._printed)

    # -- files --------------------------------------------------------------------

    def _real(self, text: str) -> str:
        """Put free ports in the place of those of the docs."""

        def real(match: re.Match[str]) -> str:
            if match[0] not in self._ports:
                self._ports[match[0]] = str(free_ports(1)[0])
            return self._ports[match[0]]

        return _PORT.sub(real, text)

    def _rewrite(self, path: Path, change: Callable[[str], str]) -> None:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        put(path, self._real(change(text)))

    def _edit(self, diff: str) -> None:
        before = [self._real(line[1:]) for line in diff.splitlines() if line.startswith("-")]
        after = [self._real(line[1:]) for line in diff.splitlines() if line.startswith("+")]
        assert len(before) == len(after), "each - line needs its + line"
        path = self.root / "grid.yaml"
        lines = path.read_text(encoding="utf-8").splitlines()
        for old, new in zip(before, after, strict=True):
            assert lines.count(old) == 1, f"grid.yaml has {lines.count(old)} lines {old!r}"
            lines[lines.index(old)] = new
        put(path, "\n".join(lines) + "\n")
        self._check(path)

    def _check(self, path: Path) -> None:
        if path.name.endswith(".scenario.yaml"):
            read_scenario(path.read_bytes(), path.name)
        elif path.suffix == ".yaml":
            mesh.grid(path)

    def _run(self, name: str, *arguments: str) -> str:
        python = self.root / ".venv" / "bin" / "python"
        with Proc(
            python, "-W", "error", *arguments, cwd=self.root, env={"PYTHONPATH": str(self.root)}
        ) as proc:
            assert proc.wait() == 0, f"{name} failed\n{proc}"
            return "".join(f"{line}\n" for line in proc.stdout)

    # -- terminals ----------------------------------------------------------------

    def _shell(self, block: Block) -> None:
        commands = list(_commands(block.text))
        for number, (command, expected) in enumerate(commands, 1):
            is_last = number == len(commands)
            code = int(block.notes.get("exit", 0)) if is_last else 0
            if is_last and "terminal" in block.notes:
                name = block.notes["terminal"]
                assert name not in self._terminals, f"terminal {name} is in use"
                typed = bool(re.search("^> ", expected, re.MULTILINE))
                self._terminals[name] = proc = self._start(command, interactive=typed)
                if typed:
                    self._converse(proc, expected)
                else:
                    self._await(proc, expected, any_order="any-order" in block.notes)
            elif is_last and "leaves" in block.notes:
                self._left.append(proc := self._start(command))
                assert proc.wait() == code, f"the exit code is not {code}\n{proc}"
                _compare(expected, _text(proc))
            elif re.search("^> ", expected, re.MULTILINE) or (is_last and "types" in block.notes):
                if "types" in block.notes:
                    expected = _marked(expected, block.notes["types"].split("|"))
                with self._start(command, interactive=True) as proc:
                    self._converse(proc, expected)
                    self._ask_to_stop(proc)
                    assert proc.wait() == 0, f"the client failed\n{proc}"
            elif "^C\n" in expected:
                shown, _, after = expected.partition("^C\n")
                with self._start(command) as proc:
                    self._await(proc, shown, any_order=False)
                    proc.send_signal_to_group(signal.SIGINT)
                    assert proc.wait() == code, f"the exit code is not {code}\n{proc}"
                    _compare(shown + f"{GAP}\n" + after, _text(proc))
            else:
                with self._start(command) as proc:
                    assert proc.wait() == code, f"the exit code is not {code}\n{proc}"
                    _compare(expected, _text(proc))

    def _start(self, command: str, *, interactive: bool = False) -> Proc:
        # One pipe for both outputs, as a terminal has it; and no shell between us and a single program.
        line = self._real(command)
        if not re.search(r"[|;]|&&", line):
            line = f"exec env {line}"
        return Proc("sh", "-c", f"exec 2>&1; {line}", cwd=self.root, interactive=interactive)

    def _await(self, proc: Proc, expected: str, *, any_order: bool) -> None:
        for line in expected.splitlines():
            if line.strip() != GAP:
                proc.wait_for(line_pattern(line))
        if not any_order:
            # A line that comes twice was waited for once only.
            try:
                proc.until(lambda: re.match(pattern(expected), _text(proc)))
            except AssertionError:
                raise AssertionError(f"not in this order:\n{expected}\nbut\n{_text(proc)}") from None

    def _await_in_order(self, proc: Proc, expected: str) -> None:
        since = 0
        for line in expected.splitlines():
            if line.strip() != GAP:
                found = proc.wait_for(rf"^{line_pattern(line)}$", since=since)
                since = next(i for i in range(since, proc.mark) if proc.lines[i].text == found.string) + 1

    def _converse(self, proc: Proc, expected: str) -> None:
        since = 0
        for line in expected.splitlines():
            if line.startswith("> "):
                since = proc.mark
                proc.type(f"{line[2:]}\n")
            elif line.strip() != GAP:
                # The client draws its prompt anew around each line that it prints.
                proc.wait_for(rf"(^|[KL]){line_pattern(line)}\r?$", since=since)

    def _ask_to_stop(self, proc: Proc) -> None:
        if proc.process.stdin is not None:
            proc.process.stdin.close()
        else:
            proc.send_signal_to_group(signal.SIGINT)

    def _stop(self, name: str, *, asked: bool = False) -> None:
        proc = self._terminals.pop(name)
        with proc:
            if not asked:
                self._ask_to_stop(proc)
            code = proc.wait()
        accepted = INTERRUPTED_MAKE if " make " in f" {proc.command[-1]} " else {0}
        # Who runs a fleet for us may say in its own way that it was interrupted.
        accepted = accepted | ({0, 130} if re.search("foreman|honcho", proc.command[-1]) else set())
        assert code in accepted, f"terminal {name} ended with {code}\n{proc}"


def _commands(text: str) -> Iterator[tuple[str, str]]:
    command, shown = "", ""
    for line in text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, shown
            command, shown = line[2:], ""
        else:
            assert command, f"a console block begins with a command, not {line!r}"
            shown += f"{line}\n"
    yield command, shown


def _marked(expected: str, typed: list[str]) -> str:
    """Put a prompt before the lines that are typed into a program that shows none."""
    lines = expected.splitlines()
    at = 0
    for word in typed:
        at = lines.index(word, at)
        lines[at] = f"> {word}"
    return "".join(f"{line}\n" for line in lines)


def _text(proc: Proc) -> str:
    return "".join(f"{_ANSI.sub('', line.text).rstrip()}\n" for line in list(proc.lines))


def _compare(expected: str, shown: str) -> None:
    assert re.fullmatch(pattern(expected), shown), f"expected:\n{expected}\nbut it printed:\n{shown}"


def _is_part(text: str, source: str) -> bool:
    # Indented alike: a method stands in the docs as it stands in its class, or further left.
    wanted = text.rstrip("\n").splitlines()
    lines = source.splitlines()
    for start in range(len(lines) - len(wanted) + 1):
        window = textwrap.dedent("\n".join(lines[start : start + len(wanted)])).splitlines()
        if [line.rstrip() for line in window] == [line.rstrip() for line in wanted]:
            return True
    return False


def _added(text: str, more: str) -> str:
    if "nodes:\n" not in text:
        return text + more
    head, nodes, rest = text.partition("nodes:\n")
    return head + nodes + textwrap.indent(textwrap.dedent(more), "  ") + rest
