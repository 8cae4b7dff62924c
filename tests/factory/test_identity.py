"""Who am I: the order in which a sketch finds its node."""

from __future__ import annotations

from pathlib import Path

import pytest

import mesh
from factory.identity import grid_folder, identify, mismatch

NODES = [
    mesh.Node("clock", sketch="clock"),
    mesh.Node("blink", "localhost", 8765, sketch="iopin", aliases=("iopin", "led")),
    mesh.Node("kitchen", "localhost", 1, sketch="thermostat.py:Thermostat"),
    mesh.Node("left", "localhost", 2, sketch="motor"),
    mesh.Node("right", "localhost", 3, sketch="motor"),
    mesh.Node("pump", "localhost", 4, sketch="pack.m:Pump"),
    mesh.Node("elsewhere", "pi.local", 5),
]
GRID = mesh.Grid(NODES, path=Path("/home/grid.yaml"))


@pytest.mark.source("B16")
@pytest.mark.parametrize(
    ("reference", "own", "given", "name"),
    [
        # By the name that is given, or its alias, whatever runs there.
        ("iopin", "iopin", "blink", "blink"),
        ("iopin", "iopin", "led", "blink"),
        ("iopin", "iopin", "elsewhere", "elsewhere"),
        # By the sketch's own name, or as an alias.
        ("clock", "clock", None, "clock"),
        ("iopin", "iopin", None, "blink"),
        # As the only one that runs it.
        ("thermostat.py:Thermostat", "thermostat", None, "kitchen"),
        ("/home/thermostat.py:Thermostat", "thermostat", None, "kitchen"),
        ("pack.m:Pump", "waterpump", None, "pump"),
        # Of two that run it neither is the one.
        ("motor", "motor", None, "motor"),
        # Another file of that name is another sketch.
        ("/tmp/thermostat.py:Thermostat", "thermostat", None, "thermostat"),
        # Ad hoc.
        ("buzzer", "buzzer", None, "buzzer"),
        ("buzzer", "buzzer", "doorbell", "doorbell"),
        # A name that is given and unknown is not taken for the only one that runs it.
        ("thermostat.py:Thermostat", "thermostat", "bath", "bath"),
    ],
)
def test_the_order(reference: str, own: str, given: str | None, name: str) -> None:
    node = identify(reference, own, given, GRID, Path("/home"))
    assert node.name == name
    known = next((node for node in NODES if node.name == name), None)
    assert node is known if known else node == mesh.Node(name)


def test_a_name_comes_before_the_only_one_that_runs_it() -> None:
    grid = mesh.Grid([mesh.Node("a", sketch="buzzer"), mesh.Node("buzzer", "localhost", 1, sketch="clock")])
    assert identify("buzzer", "buzzer", None, grid, Path("/")).name == "buzzer"


def test_files_of_a_grid_are_relative_to_it() -> None:
    assert grid_folder(GRID) == Path("/home")
    assert grid_folder(mesh.Grid()) == Path()


def test_a_node_that_runs_something_else_in_the_grid_is_told() -> None:
    blink, kitchen, elsewhere = NODES[1], NODES[2], NODES[6]
    base = Path("/home")
    assert mismatch(blink, "IOPin", GRID, base) is None
    assert mismatch(elsewhere, "buzzer", GRID, base) is None
    assert mismatch(kitchen, "thermostat.py:Thermostat", GRID, base) is None
    words = mismatch(blink, "buzzer", GRID, base)
    assert words == "blink runs 'iopin' in the grid, not 'buzzer'; its args are not used"
    assert mismatch(kitchen, "thermostat.py:Thermostat", GRID, Path("/tmp")) is not None
