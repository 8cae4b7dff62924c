"""What asking nodes takes is imported before their time runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.ports import free_ports
from tests.helpers.proc import ROOT

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(90)]

CODE = """
import asyncio, sys
from factory.looking.places import Place, prepare
from factory.looking.survey import survey
from mesh.node import Node
from mesh.runtime import WorkerRecord

down = Place("down", Node("down", "localhost", {port}))
gone = Place("gone", None, WorkerRecord(pid=1, start="0", name="gone", control="{socket}"))
prepare([down, gone])
before = set(sys.modules)
seen = asyncio.run(survey([down, gone], 2.0))
print(*(one.state.value for one in seen))
print(*sorted(name for name in set(sys.modules) - before if name.split(".")[0] in ("mesh", "websockets")))
"""


def test_nothing_large_is_imported_while_nodes_are_waited_for(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(port=port, socket=tmp_path / "none.sock")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    states, imported = done.stdout.splitlines()
    assert states.split()[0] == "down"
    assert imported == ""
