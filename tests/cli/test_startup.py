"""What the two commands import: nothing that they do not need, so that they are there at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.proc import DEADLINE

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).resolve().parents[2]
# What only a process that sends or serves has a use for.
NETWORK = {
    "factory.worker",
    "mesh.client",
    "mesh.dialling",
    "mesh.door",
    "mesh.links.hub",
    "mesh.peers",
    "mesh.sync",
    "mesh.transport.endpoints",
    "mesh.transport.websocket",
    "prompt_toolkit",
    "python_socks",
    "uvloop",
    "websockets",
}
GRIDS = {"mesh.gridfile", "yaml"}
MESH = "from factory.cli.fleet import main; main()"
ARDUINO = "import runpy; runpy.run_path('arduino.py', run_name='__main__')"
# Last, on a line of its own, after whatever the command has to say.
AND_TELL = "import sys, atexit; atexit.register(lambda: print(chr(10), *sys.modules, file=sys.stderr)); "


def imported(code: str, *arguments: str, **environment: str) -> set[str]:
    """Return the names of all modules that some code has imported when it ends."""
    done = subprocess.run(
        [sys.executable, "-c", AND_TELL + code, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["buzzer", "--help"],
        ["line", "--help"],
        ["buzzer", "--no-such-option"],
        ["buzzer", "--port", "many"],
    ],
    ids=" ".join,
)
def test_what_the_launcher_says_of_itself_needs_neither_network_nor_grid(arguments: list[str]) -> None:
    assert not imported(ARDUINO, *arguments) & (NETWORK | GRIDS)


def test_completion_needs_neither_network_nor_grid() -> None:
    words = {"_ARDUINO_PY_COMPLETE": "bash_complete", "COMP_WORDS": "arduino.py b", "COMP_CWORD": "1"}
    assert not imported(ARDUINO, **words) & (NETWORK | GRIDS)


def test_the_help_of_mesh_needs_no_sketches_either() -> None:
    assert not imported(MESH, "--help") & (NETWORK | GRIDS | {"asyncio", "factory.loop", "rich", "sketches"})


def test_an_unknown_sketch_needs_no_network() -> None:
    assert not imported(ARDUINO, "no-such-sketch") & NETWORK


def test_a_grid_is_checked_without_the_network() -> None:
    assert not imported(MESH, "validate") & NETWORK


def test_a_grid_is_read_without_the_network() -> None:
    assert not imported("import mesh; mesh.grid()") & (NETWORK | {"asyncio"})


def test_a_package_that_is_too_old_is_not_put_down_to_the_sketch(tmp_path: Path) -> None:
    package = tmp_path / "websockets/asyncio"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "arduino.py", "buzzer", "--port", "0"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 1
    assert "setup()" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: No module named 'websockets.")


def test_the_network_would_be_seen() -> None:
    assert imported("import mesh; mesh.connect") >= {"mesh.client", "mesh.links.hub", "websockets"}
    assert imported("import mesh; mesh.grid()") >= GRIDS
