"""The Procfile means the same to honcho and foreman; and the shipped one names the three."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from honcho.environ import parse, parse_procfile

from tests.conftest import RequireTool
from tests.tools.tooling import ROOT, Program, copy, stub, write

pytestmark = pytest.mark.fleet

# Stands in for the launcher: says what it was called with, then waits for SIGTERM.
LAUNCHER = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("stopped", flush=True) or 0))
print(f"args={sys.argv[1:]} unbuffered={os.environ.get('PYTHONUNBUFFERED')}", flush=True)
while True:
    signal.pause()
"""
SKETCHES = {"buzzer": "buzzer", "blink": "iopin", "clock": "clock"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    copy(tmp_path, "Procfile", ".env")
    write(tmp_path / "launcher.py", LAUNCHER)
    stub(tmp_path / "arduino.py", f'exec "{sys.executable}" launcher.py "$@"')
    return tmp_path


def test_it_names_the_three_sketches() -> None:
    commands = parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes
    assert commands == {name: f"./arduino.py {sketch}" for name, sketch in SKETCHES.items()}


def test_output_is_unbuffered() -> None:
    assert parse((ROOT / ".env").read_text(encoding="utf-8")) == {"PYTHONUNBUFFERED": "1"}


def test_foreman_and_honcho_find_no_fault_with_it(require_tool: RequireTool) -> None:
    foreman = require_tool("foreman", package="ruby-foreman")
    for command in ([foreman, "check"], [sys.executable, "-m", "honcho", "check"]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        assert all(name in done.stdout + done.stderr for name in SKETCHES)


@pytest.mark.parametrize("runner", ["honcho", "foreman"])
def test_every_runner_starts_all_and_stops_all(
    checkout: Path, runner: str, require_tool: RequireTool
) -> None:
    commands: dict[str, list[str | Path]] = {"honcho": [sys.executable, "-m", "honcho", "start"]}
    if runner == "foreman":
        commands["foreman"] = [require_tool("foreman", package="ruby-foreman"), "start"]
    with Program(commands[runner], cwd=checkout, env={"PATH": os.environ["PATH"]}) as fleet:
        started = sorted(fleet.wait_for("args=") for _ in SKETCHES)
        for name, sketch in SKETCHES.items():
            assert any(f" {name}" in s and f"args=['{sketch}'] unbuffered=1" in s for s in started), started
        fleet.signal(signal.SIGTERM)
        code = fleet.end()
        assert sum("| stopped" in line for line in fleet.lines) == len(SKETCHES), fleet.lines
        # honcho reports the signal that it got; foreman a success.
        assert code == (143 if runner == "honcho" else 0), fleet.lines
