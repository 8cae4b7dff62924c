"""What a supervisor does with what it hears, without any process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import cast

from factory.fleet.actions import Settings, State
from factory.fleet.processes import NodeProcess
from factory.fleet.screen import Screen
from factory.fleet.supervisor import Supervisor
from mesh.gridfile import Grid
from mesh.node import Node
from mesh.runtime import FleetRecord


class Said:
    """Keeps what is said instead of showing it."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def say(self, text: str) -> None:
        self.texts.append(text)

    def line(self, name: str, text: str, when: datetime) -> None: ...


class Waiting:
    """A process whose word that it is ready waits in its pipe."""

    run = number = 1
    pid = None

    def __init__(self, tell: Callable[[], object]) -> None:
        self.hear = tell
        self.asked = False

    def ask_to_end(self) -> None:
        self.asked = True


async def test_who_has_said_in_time_that_it_is_ready_is_not_too_late_because_nobody_has_read_it(
    tmp_path: Path,
) -> None:
    grid = Grid([Node("clock", sketch="clock")], path=tmp_path / "grid.yaml")
    record = FleetRecord(pid=1, start="1", id="f", grid=str(grid.path), started_at=0.0)
    said = Said()
    # As long as it takes to come back here it has had all its time.
    supervisor = Supervisor(grid, b"", record, tmp_path, cast(Screen, said), settings=Settings(start=0.0))
    fleet = supervisor._fleet
    fleet.begin(grid, supervisor._now())
    fleet.take_actions()
    process = Waiting(lambda: supervisor.is_ready("clock", 1, "localhost:1"))
    supervisor._processes["clock"] = cast(NodeProcess, process)
    assert fleet.state("clock") is State.STARTING
    supervisor._on_timer()
    assert fleet.state("clock") is State.READY
    assert not process.asked
    assert said.texts[0] == "clock is ready on localhost:1"
    for log in supervisor._logs.values():
        log.close()
