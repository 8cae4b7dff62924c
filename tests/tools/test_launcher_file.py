"""The file arduino.py: it finds the right Python, or says in one sentence what is missing."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.tooling import DEADLINE, ROOT, copy, stub, write

pytestmark = pytest.mark.fleet

# Stands in for the launcher: says who runs it, and how.
LAUNCH = """
import os, sys
import click
def main():
    guard = "guarded" if "SKETCHMESH_REEXECUTED" in os.environ else "clean"
    print(sys.prefix, sys.argv, os.getcwd(), os.environ.get("KEPT"), guard, sep="|")
    sys.exit(5)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = copy(tmp_path / "check out", "arduino.py")
    write(root / "factory/__init__.py", "")
    write(root / "factory/cli/__init__.py", "")
    write(root / "factory/cli/launch.py", LAUNCH)
    return root


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Make a Python of a fitting version that has no packages at all."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    return tmp_path / "bare/bin/python"


@pytest.fixture
def venv(checkout: Path) -> Path:
    """Make the checkout's own .venv, with stand-ins of the packages in it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    site = next((checkout / ".venv/lib").glob("python*/site-packages"))
    for module in ("click.py", "yaml.py", "websockets/asyncio.py"):
        write(site / module, "")
    return checkout / ".venv/bin/python"


def run(
    python: Path | str, script: Path, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, script, *arguments],
        cwd=cwd or script.parent,
        env=os.environ | {"KEPT": "yes"},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def test_it_is_executable_and_starts_with_env_python3(checkout: Path) -> None:
    assert os.access(checkout / "arduino.py", os.X_OK)
    assert (checkout / "arduino.py").read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")


def test_the_python_of_venv_goes_straight(checkout: Path, venv: Path) -> None:
    done = run(venv, checkout / "arduino.py", "clock")
    assert done.returncode == 5, done.stderr
    assert done.stdout.split("|")[0] == str(checkout / ".venv")


def test_missing_packages_lead_to_the_python_of_venv(
    checkout: Path, venv: Path, bare: Path, tmp_path: Path
) -> None:
    arguments = ["buzzer", "--port", "8766", "a b", "*", ""]
    done = run(bare, checkout / "arduino.py", *arguments, cwd=tmp_path)
    assert done.returncode == 5, done.stderr
    prefix, argv, cwd, kept, guard = done.stdout.strip().split("|")
    assert prefix == str(checkout / ".venv")
    assert argv == str([str(checkout / "arduino.py"), *arguments])
    assert (cwd, kept, guard) == (str(tmp_path), "yes", "clean")


def test_a_symbolic_link_finds_venv_beside_the_real_file(
    checkout: Path, venv: Path, bare: Path, tmp_path: Path
) -> None:
    link = tmp_path / "arduino"
    link.symlink_to(checkout / "arduino.py")
    done = run(bare, link, "clock")
    assert done.returncode == 5, done.stderr
    assert done.stdout.startswith(str(checkout / ".venv"))


def test_without_venv_it_says_what_is_missing(checkout: Path, bare: Path) -> None:
    done = run(bare, checkout / "arduino.py", "clock")
    assert done.returncode == 1
    assert done.stdout == ""
    assert (
        done.stderr
        == f"arduino.py: the package click is missing or too old; run `make setup` in {checkout}\n"
    )


def test_a_venv_that_lacks_the_package_too_is_no_endless_loop(checkout: Path, venv: Path, bare: Path) -> None:
    next((checkout / ".venv/lib").glob("python*/site-packages/click.py")).unlink()
    for python in (bare, venv):
        done = run(python, checkout / "arduino.py", "clock")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "click is missing" in done.stderr


@pytest.mark.parametrize(
    ("lacking", "package"),
    [("websockets", "websockets"), ("websockets/asyncio.py", "websockets"), ("yaml.py", "pyyaml")],
)
def test_a_package_that_is_imported_late_is_missed_at_once(
    checkout: Path, venv: Path, lacking: str, package: str
) -> None:
    write(checkout / "factory/cli/launch.py", "")  # which imports none of them
    site = next((checkout / ".venv/lib").glob("python*/site-packages"))
    (site / lacking).rename(site / "gone")
    done = run(venv, checkout / "arduino.py", "clock")
    assert done.returncode == 1
    assert (
        done.stderr
        == f"arduino.py: the package {package} is missing or too old; run `make setup` in {checkout}\n"
    )


@pytest.mark.parametrize(
    "mistake", ["import no_such_module_of_ours", "from factory import nothing_of_that_name", "1 / 0"]
)
def test_a_mistake_of_ours_is_not_masked(checkout: Path, bare: Path, mistake: str) -> None:
    write(checkout / "factory/cli/launch.py", mistake)
    done = run(bare, checkout / "arduino.py", "clock")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert mistake in done.stderr


def test_a_name_that_a_package_lacks_means_too_old_but_not_in_our_own_venv(
    checkout: Path, venv: Path, bare: Path
) -> None:
    write(checkout / "factory/cli/launch.py", "from click import nothing_of_that_name")
    write(checkout / "click.py", "")  # what a system's old package would be
    done = run(venv, checkout / "arduino.py")
    assert "Traceback" in done.stderr
    (checkout / ".venv").rename(checkout / "gone")
    done = run(bare, checkout / "arduino.py")
    assert "click is missing or too old" in done.stderr


def test_an_older_python_finds_venv_or_says_what_it_needs(checkout: Path) -> None:
    # Plays an old Python, as far as the file can see: the version it is told.
    script = checkout / "arduino.py"
    old = "import runpy, sys; sys.version_info = (3, 8, 10, 'final', 0); sys.argv = sys.argv[1:]; "
    play = [
        sys.executable,
        "-c",
        old + "runpy.run_path(sys.argv[0], run_name='__main__')",
        str(script),
        "clock",
    ]
    done = subprocess.run(play, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 1
    assert done.stderr == (
        f"arduino.py: Python 3.11 or newer is needed, and this is 3.8; run `make setup` in {checkout}\n"
    )
    stub(checkout / ".venv/bin/python", 'echo "venv: $1 $2"')
    done = subprocess.run(play, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.stdout == f"venv: {script} clock\n"


def test_it_can_be_imported_as_a_module(checkout: Path, venv: Path) -> None:
    done = subprocess.run(
        [venv, "-c", "import arduino; arduino.main()"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 5, done.stderr


def test_old_pythons_can_read_it() -> None:
    newer = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.AsyncFunctionDef, ast.Nonlocal)
    tree = ast.parse((ROOT / "arduino.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        assert not isinstance(node, newer), f"line {node.lineno}: too new for an old Python"
        if isinstance(node, ast.FunctionDef):
            assert node.returns is None
            assert not node.args.kwonlyargs
            assert not any(argument.annotation for argument in node.args.args)
    (ROOT / "arduino.py").read_bytes().decode("ascii")  # Python 2 wants a declaration for more


def test_the_old_pythons_of_this_machine_say_what_is_needed(checkout: Path) -> None:
    for name in ("python2", "python2.7", "python3.6", "python3.8", "python3.10"):
        python = shutil.which(name)
        if python is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
            continue
        done = run(python, checkout / "arduino.py", "clock")
        assert done.returncode == 1
        assert done.stderr.startswith("arduino.py: Python 3.11 or newer is needed")
        assert done.stderr.count("\n") == 1
