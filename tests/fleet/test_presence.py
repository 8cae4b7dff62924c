"""A worker can be found and asked, however it was started; and what it leaves behind."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from mesh import runtime
from tests.helpers.asking import ask
from tests.helpers.fleet import trio_grid
from tests.helpers.meshes import mesh
from tests.helpers.ports import free_ports
from tests.helpers.proc import arduino

pytestmark = pytest.mark.fleet


def record(name: str, grid: Path) -> runtime.WorkerRecord | None:
    return next((one for one in runtime.workers() if (one.name, one.grid) == (name, str(grid))), None)


def test_a_worker_started_by_hand_is_found_with_its_real_port_until_it_ends(tmp_path: Path) -> None:
    grid, _, _ = trio_grid(tmp_path)
    (port,) = free_ports(1)
    with arduino("buzzer", "--grid", grid, "--port", str(port)) as buzzer:
        buzzer.wait_for("serving on")
        info = ask_until_there("buzzer", grid)
        found = record("buzzer", grid)
        assert found is not None
        assert (found.port, found.pid, found.fleet, found.sketch) == (port, buzzer.pid, None, "buzzer")
        assert (info["port"], info["pid"], info["any_channel"]) == (port, buzzer.pid, True)
        assert ask("buzzer", "$ledger", grid) == {"node": "buzzer", "peers": {}, "omitted": 0}
        assert buzzer.stop() == 0
        assert found.control is not None
        assert not Path(found.control).exists()
    assert record("buzzer", grid) is None


def ask_until_there(name: str, grid: Path) -> dict[str, object]:
    """Ask a worker that is about to register."""
    while record(name, grid) is None or record(name, grid).control is None:  # type: ignore[union-attr]
        time.sleep(0.01)
    found: dict[str, object] = ask(name, "$info", grid)
    return found


def test_a_client_only_worker_is_found_as_well(tmp_path: Path) -> None:
    grid, pin, _ = trio_grid(tmp_path)
    with arduino("clock", "--grid", grid) as clock, arduino("iopin", "--grid", grid):
        clock.wait_for("starting|waiting for|> 0")
        info = ask_until_there("clock", grid)
        assert (info["port"], info["target"], info["rhythms"]) == (None, "blink", ["tick"])
        clock.wait_for(r"\] > 1$")
        (link,) = ask("clock", "$info", grid)["links"]
        assert (link["peer"], link["state"], link["where"]) == ("blink", "up", f"ws://localhost:{pin}/")


def test_a_worker_of_a_fleet_says_so(tmp_path: Path) -> None:
    grid, *_ = trio_grid(tmp_path)
    with mesh("up", "--grid", grid) as up:
        up.wait_for("3 nodes are up")
        found = record("blink", grid)
        assert found is not None
        assert (found.fleet, found.run) == (runtime.fleet_folder(grid).name, 1)
        assert [fleet.pid for _, fleet in runtime.fleets() if fleet.grid == str(grid)] == [up.pid]


def test_a_worker_that_was_killed_is_not_found_any_more(tmp_path: Path) -> None:
    grid, *_ = trio_grid(tmp_path)
    with arduino("buzzer", "--grid", grid) as buzzer:
        ask_until_there("buzzer", grid)
        buzzer.stop(signal.SIGKILL)
        assert record("buzzer", grid) is None


def test_a_worker_that_cannot_register_warns_and_goes_on(tmp_path: Path) -> None:
    grid, *_ = trio_grid(tmp_path)
    (tmp_path / "file").write_text("")
    env = {"SKETCHMESH_RUNTIME": str(tmp_path / "file")}
    with arduino("buzzer", "--grid", grid, env=env) as buzzer:
        buzzer.wait_for("`mesh` commands will not find this worker: the runtime directory .* cannot be used")
        assert buzzer.stop() == 0
