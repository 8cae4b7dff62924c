"""Who finds whom: bare commands, no grid, targets by name, and where a worker listens."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.clients import ask, serving_port
from tests.helpers.fleet import marks, trio, trio_grid, wait_until_they_talk, write_grid
from tests.helpers.ports import free_ports, shipped_ports
from tests.helpers.proc import LAUNCHER, ROOT, Proc, arduino, verbatim

pytestmark = pytest.mark.fleet

STRANGERS = "nodes: {thermometer: {port: 8999}}"


def test_bare_iopin_and_clock_meet() -> None:
    with shipped_ports(), verbatim("./arduino.py iopin") as pin, verbatim("./arduino.py clock") as clock:
        pin.wait_for("new tick triggered on datafeed: 0$")
        pin.wait_for("serving on localhost:8765$")
        clock.wait_for("> 0$")


def test_bare_iopin_and_clock_meet_where_the_grid_knows_neither(tmp_path: Path) -> None:
    env = {"MESH_GRID": str(write_grid(tmp_path, STRANGERS))}
    with (
        shipped_ports(),
        verbatim("./arduino.py clock", cwd=tmp_path, env=env) as clock,
        verbatim("./arduino.py iopin", cwd=tmp_path, env=env) as pin,
    ):
        pin.wait_for(r"^\[ iopin \] serving on localhost:8765$")
        pin.wait_for("new tick triggered on datafeed: 0$")
        # There is no buzzer to be told: the clock hears of it, and both live on.
        clock.wait_for("refused the message: UnknownNodeError: unknown node 'buzzer'")
        pin.wait_for("new tick triggered on datafeed: 1$")


def test_an_empty_folder_has_the_grid_that_came_with_the_package(tmp_path: Path) -> None:
    with arduino("buzzer", "--port", "0", cwd=tmp_path) as buzzer:
        assert ask(serving_port(buzzer), "1") == ["buzz buzz buzz"]


def test_a_grid_in_the_current_folder_is_taken(tmp_path: Path) -> None:
    write_grid(tmp_path, "nodes: {buzzer: {sketch: buzzer, args: {sound: moo}}}")
    with arduino("buzzer", "--port", "0", cwd=tmp_path) as buzzer:
        assert ask(serving_port(buzzer), "1") == ["moo"]


def test_the_option_beats_mesh_grid_which_beats_the_current_folder(tmp_path: Path) -> None:
    grids = {}
    for sound in ("here", "variable", "option"):
        (tmp_path / sound).mkdir()
        grids[sound] = write_grid(
            tmp_path / sound, f"nodes: {{buzzer: {{sketch: buzzer, args: {{sound: {sound}}}}}}}"
        )
    env = {"MESH_GRID": str(grids["variable"])}
    cases: list[tuple[list[str | Path], str]] = [([], "variable"), (["--grid", grids["option"]], "option")]
    for arguments, sound in cases:
        with arduino("buzzer", "-p", "0", *arguments, cwd=tmp_path / "here", env=env) as buzzer:
            assert ask(serving_port(buzzer), "1") == [sound]


def test_the_clock_ticks_for_whomever_target_names(tmp_path: Path) -> None:
    grid, _, _ = trio_grid(tmp_path)
    with (
        arduino("buzzer", "--grid", grid) as buzzer,
        arduino("clock", "--target", "buzzer", "--tacks", "1", "--grid", grid) as clock,
    ):
        assert clock.wait() == 0, clock
        buzzer.wait_for(r"new client connected, path=/datafeed$")
        assert clock.stdout[-2:] == ["[ clock ] > 0", "[ clock ] < ..."]


def test_target_takes_an_alias(tmp_path: Path) -> None:
    grid, _, _ = trio_grid(tmp_path)
    with arduino("iopin", "--grid", grid) as pin, arduino("clock", "--target", "iopin", "--grid", grid):
        pin.wait_for("new tick triggered on datafeed: 0$")


def test_socket_and_port_of_the_clock_are_its_targets(tmp_path: Path) -> None:
    with arduino("buzzer", "--port", "0", "--socket", "127.0.0.1") as buzzer:
        buzzer.wait_for(r"serving on 127\.0\.0\.1:\d+$")
        port = serving_port(buzzer)
        with arduino("clock", "-s", "127.0.0.1", "-p", str(port), "-t", "2", "-d", "0.01") as clock:
            assert clock.wait() == 0
            assert clock.count("< ") == 2


# -- where a worker listens ------------------------------------------------------


def test_option_then_grid_then_port_of_the_environment(tmp_path: Path) -> None:
    option, in_grid, environment = free_ports(3)
    with_port = write_grid(tmp_path, f"nodes: {{buzzer: {{sketch: buzzer, port: {in_grid}}}}}")
    without = write_grid(tmp_path, "nodes: {buzzer: {sketch: buzzer}}", name="without.yaml")
    stranger = write_grid(tmp_path, STRANGERS, name="strangers.yaml")
    expected: list[tuple[list[str | Path], int]] = [
        (["--grid", with_port, "--port", str(option)], option),
        (["--grid", with_port], in_grid),
        (["--grid", without], environment),
        (["--grid", stranger], environment),
    ]
    for arguments, port in expected:
        with arduino("buzzer", *arguments, env={"PORT": str(environment)}) as buzzer:
            assert serving_port(buzzer) == port, arguments


@pytest.mark.parametrize("port", [None, "", "none", "0", "70000", "-1"])
def test_8765_when_nothing_says_otherwise(tmp_path: Path, port: str | None) -> None:
    grid = write_grid(tmp_path, STRANGERS)
    with shipped_ports(), arduino("buzzer", "--grid", grid, env={"PORT": port}) as buzzer:
        assert serving_port(buzzer) == 8765


def test_a_client_only_sketch_never_reads_port(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, STRANGERS)
    (foreign,) = free_ports(1)
    with shipped_ports(), arduino("clock", "--grid", grid, env={"PORT": str(foreign)}) as clock:
        clock.wait_for("waiting for localhost:8765 at ws://localhost:8765/")
        assert clock.count(str(foreign)) == 0


def test_a_port_other_than_the_grids_is_remarked(tmp_path: Path) -> None:
    grid, _, port = trio_grid(tmp_path)
    (other,) = free_ports(1)
    with arduino("buzzer", "--grid", grid, "--port", str(other)) as buzzer:
        buzzer.wait_for(f"warning: the grid has buzzer on port {port}")


# -- from anywhere, with or without the environment activated ----------------------


def test_it_works_without_the_environment_and_from_another_folder(tmp_path: Path) -> None:
    if not (ROOT / ".venv/bin/python").exists():
        pytest.skip("needs the checkout's own .venv; to run this test: make setup")
    line = "./arduino.py buzzer --port 0"
    with verbatim(line, cwd=tmp_path, activated=False) as buzzer:
        assert ask(serving_port(buzzer), "1", "0") == ["buzz buzz buzz", "..."]


def test_a_link_to_the_launcher_works(tmp_path: Path) -> None:
    (tmp_path / "launch").symlink_to(LAUNCHER)
    with Proc(sys.executable, tmp_path / "launch", "buzzer", "-p", "0", cwd=tmp_path) as buzzer:
        serving_port(buzzer)


def test_names_with_spaces_and_umlauts_do(tmp_path: Path) -> None:
    folder = tmp_path / "größe 1"
    folder.mkdir()
    grid, _, _ = trio_grid(folder)
    with arduino("buzzer", "--grid", grid, cwd=folder, env={"LC_ALL": "C.UTF-8"}) as buzzer:
        serving_port(buzzer)


# -- the grid as the one place to edit -----------------------------------------------


def test_a_second_buzzer_needs_nothing_but_an_entry(tmp_path: Path) -> None:
    (extra,) = free_ports(1)
    more = f"  siren: {{sketch: buzzer, port: {extra}, args: {{sound: wee oo}}}}\n"
    grid, _, port = trio_grid(tmp_path, more=more)
    with (
        arduino("buzzer", "--grid", grid) as buzzer,
        arduino("buzzer", "--name", "siren", "--grid", grid) as siren,
    ):
        assert (serving_port(buzzer), serving_port(siren)) == (port, extra)
        assert ask(extra, "1") == ["wee oo"]
        siren.wait_for(r"^\[ siren \] signal 1 received -> wee oo$")


def test_the_trio_of_a_grid_of_its_own(tmp_path: Path) -> None:
    grid, _, _ = trio_grid(tmp_path)
    with trio(grid) as fleet:
        wait_until_they_talk(fleet)
        wait_until_they_talk(fleet, marks(fleet))
        for proc in fleet.values():
            assert proc.stop() == 0, proc


def test_the_trio_of_a_copied_checkout_needs_no_folder_of_its_own(tmp_path: Path) -> None:
    for name in ("mesh", "factory", "sketches"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(LAUNCHER, tmp_path)
    grid, _, _ = trio_grid(tmp_path)
    with ExitStack() as stack:
        env = {"MESH_GRID": str(grid)}
        fleet = {
            sketch: stack.enter_context(Proc(sys.executable, tmp_path / "arduino.py", sketch, env=env))
            for sketch in ("clock", "iopin", "buzzer")
        }
        wait_until_they_talk(fleet)
