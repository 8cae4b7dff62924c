"""`make setup`: scripts/setup finds a Python, makes .venv, and says in one sentence why it cannot."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

import pytest

from tests.tools.tooling import DEADLINE, Program, copy, stub, write

pytestmark = pytest.mark.fleet

# Stands in for hatchling, so that an installation needs no network. It writes down
# each time it is asked.
BACKEND = """
import pathlib, zipfile
METADATA = "Metadata-Version: 2.1\\nName: toy\\nVersion: 1\\nProvides-Extra: dev\\n"
WHEEL = "Wheel-Version: 1.0\\nGenerator: toy\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
root = pathlib.Path(__file__).parent
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    with (root / "built.log").open("a") as log:
        log.write("built\\n")
    info = "toy-1.dist-info"
    name = "toy-1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as wheel:
        wheel.writestr("toy.py", "")
        wheel.writestr(f"{info}/METADATA", METADATA)
        wheel.writestr(f"{info}/WHEEL", WHEEL)
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
TOY = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "toy"
"""
VERSION = 'case "$*" in *version_info*) echo {}; exit;; esac\n'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return copy(tmp_path / "check out", "scripts/setup", "scripts/make_venv.py", "pyproject.toml")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    root = copy(tmp_path / "check out", "scripts/setup", "scripts/make_venv.py")
    write(root / "pyproject.toml", TOY)
    write(root / "backend.py", BACKEND)
    return root


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Make a folder to be the whole PATH: what the script needs, but no Python."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sh", "cat", "cmp", "dirname"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def setup(checkout: Path, **env: str) -> tuple[int, list[str]]:
    with Program([checkout / "scripts/setup"], env={"PYTHON": sys.executable} | env) as run:
        return run.end(within=DEADLINE), run.lines


def built(root: Path) -> int:
    return len((root / "built.log").read_text(encoding="utf-8").splitlines())


def test_a_python_that_is_too_old_is_named(checkout: Path, tmp_path: Path) -> None:
    old = stub(tmp_path / "python3", VERSION.format("3.9.2") + "exit 1")
    code, lines = setup(checkout, PYTHON=str(old))
    assert code == 1
    [line] = lines
    assert line == (
        f"setup: Python 3.11 or newer is needed, and the one found is 3.9.2 ({old}); "
        "install a newer one, or name it with PYTHON=/path/to/python3"
    )
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("version", ["2.7.18", "3.10.99", "3.3.0"])
def test_every_old_version_is_too_old(checkout: Path, tmp_path: Path, version: str) -> None:
    old = stub(tmp_path / "python3", VERSION.format(version) + "exit 1")
    code, lines = setup(checkout, PYTHON=str(old))
    assert (code, len(lines)) == (1, 1)
    assert version in lines[0]


def test_a_python_without_venv_names_the_package_to_install(checkout: Path, tmp_path: Path) -> None:
    bare = stub(
        tmp_path / "python3", VERSION.format("3.12.3") + 'echo "No module named ensurepip" >&2; exit 1'
    )
    code, lines = setup(checkout, PYTHON=str(bare))
    assert code == 1
    assert lines == [
        f"setup: Python 3.12.3 ({bare}) lacks the venv module; install it with: apt-get install python3-venv"
    ]


def test_a_python_that_does_not_run_is_named(checkout: Path) -> None:
    code, lines = setup(checkout, PYTHON="/no/such/python")
    assert code == 1
    assert lines == [
        "setup: PYTHON is set to '/no/such/python', which is no Python that runs; correct it, or unset it"
    ]


def test_no_python_at_all_is_one_sentence(checkout: Path, programs: Path) -> None:
    code, lines = setup(checkout, PYTHON="", PATH=str(programs))
    assert code == 1
    assert lines == [
        "setup: no Python was found; install Python 3.11 or newer, or name it with PYTHON=/path/to/python3"
    ]


def test_the_first_that_will_do_is_taken(checkout: Path, programs: Path) -> None:
    # A shim that finds no such version, one without venv, one that works, and an old one.
    stub(programs / "python3.13", 'echo "command not found" >&2; exit 127')
    stub(programs / "python3.12", VERSION.format("3.12.0") + "exit 1")
    stub(programs / "python3.11", VERSION.format("3.11.4") + 'case "$1" in -c) ;; *) echo "taken: $1";; esac')
    stub(programs / "python3", VERSION.format("3.8.10") + "exit 1")
    code, lines = setup(checkout, PYTHON="", PATH=str(programs))
    assert (code, lines) == (0, [f"taken: {checkout / 'scripts/make_venv.py'}"])


def test_without_a_network_it_says_so(checkout: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    pip = {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "0",
        "PIP_NO_CACHE_DIR": "1",
    }
    code, lines = setup(checkout, **pip)
    assert code == 1
    assert lines[-1] == (
        "setup: pip cannot download what sketchmesh needs: is there a network? "
        "It is needed once; connect, then run `make setup` again"
    )
    assert [line.split(":")[0] for line in lines] == ["setup"] * 3
    # What was made is kept: the next run goes on from there.
    assert (checkout / ".venv/bin/python").exists()
    code, lines = setup(checkout, **pip)
    assert (code, len(lines)) == (1, 2)


def test_it_installs_once_and_again_when_pyproject_changes(toy: Path) -> None:
    code, lines = setup(toy)
    assert (code, len(lines)) == (0, 2), lines
    assert built(toy) == 1
    assert setup(toy) == (0, [])
    assert built(toy) == 1
    write(toy / "pyproject.toml", TOY + '\ndescription = "changed"\n')
    code, lines = setup(toy)
    assert (code, len(lines)) == (0, 1), lines
    assert built(toy) == 2


def test_a_moved_or_broken_environment_is_mended(toy: Path) -> None:
    assert setup(toy)[0] == 0
    moved = toy.rename(toy.with_name("moved"))
    assert setup(moved)[0] == 0
    assert built(moved) == 2
    (moved / ".venv/bin/python").unlink()
    code, lines = setup(moved)
    assert code == 0
    assert "rebuilding .venv" in lines[0]
    assert built(moved) == 3


def test_two_at_once_do_the_work_once(toy: Path) -> None:
    command, env = [toy / "scripts/setup"], {"PYTHON": sys.executable}
    with Program(command, env=env) as first, Program(command, env=env) as second:
        assert (first.end(within=DEADLINE), second.end()) == (0, 0), first.lines + second.lines
    assert built(toy) == 1


def test_what_pip_says_is_shown_when_it_is_not_the_network(toy: Path) -> None:
    write(toy / "backend.py", "raise RuntimeError('a broken backend')")
    code, lines = setup(toy)
    assert code == 1
    assert any("a broken backend" in line for line in lines)
    assert lines[-1] == "setup: pip could not install sketchmesh into .venv; its words are above"
    assert not (toy / ".venv/sketchmesh-setup.stamp").exists()
