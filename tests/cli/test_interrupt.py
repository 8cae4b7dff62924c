"""Ctrl-C in the first moments of a command, while it still imports what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.proc import DEADLINE, LAUNCHER, ROOT

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

# Every Python imports it first of all: has Ctrl-C come just when a certain module is looked for.
CUSTOM = """
import os, signal, sys

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
"""
FLEET = ["-m", "factory.cli.fleet", "up"]
MESH = ["-c", "from factory.cli.starting import mesh; mesh()", "up"]
SKETCH = ["-c", "from factory.cli.starting import sketch; sketch()", "buzzer", "--port", "0"]
FILE = [str(LAUNCHER), "buzzer", "--port", "0"]


@pytest.mark.parametrize(
    ("command", "module"),
    [
        (MESH, "typing"),
        (MESH, "click"),
        (MESH, "factory.fleet.supervisor"),
        (FLEET, "typing"),
        (FLEET, "factory.cli.running"),
        (SKETCH, "click"),
        (SKETCH, "factory.worker"),
        (FILE, "factory.cli.launch"),
        (FILE, "factory.worker"),
    ],
)
def test_ctrl_c_while_a_command_begins_is_130_and_no_traceback(
    tmp_path: Path, command: list[str], module: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(CUSTOM)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "INTERRUPTED_AT": module},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    said = [line for line in done.stderr.splitlines() if "registering new node" not in line]
    assert (done.returncode, done.stdout, said) == (130, "", [])
