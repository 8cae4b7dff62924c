"""Commands whose input or outputs were closed before they began, as some runners have it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, ROOT

pytestmark = pytest.mark.fleet


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["list", "top --once --every 10ms"])
def test_a_command_does_its_work_where_nobody_can_see_it(tmp_path: Path, words: str, closed: str) -> None:
    (port,) = free_ports(1)
    (tmp_path / "grid.yaml").write_text(f"nodes: {{one: {{port: {port}}}}}")
    (tmp_path / "run").mkdir(mode=0o700)
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m factory.cli.fleet {words} {closed}', sys.executable],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SKETCHMESH_RUNTIME": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) is (" >&-" not in f" {closed}")
