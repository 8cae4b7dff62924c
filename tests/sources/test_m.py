"""The design card, row by row; M1 is in tests/packaging."""

from __future__ import annotations

from pathlib import Path

import pytest

import mesh
from sketches import Buzzer, IOPin
from tests.helpers.fleet import trio_grid, write_grid
from tests.helpers.ports import free_ports
from tests.helpers.proc import ROOT, arduino
from tests.helpers.sketch import Recorder, tell

pytestmark = pytest.mark.integration


@pytest.mark.source("M2")
@pytest.mark.fleet
def test_m2_a_node_is_added_by_editing_the_grid_and_nothing_else(tmp_path: Path) -> None:
    grid, _, _ = trio_grid(tmp_path)
    (port,) = free_ports(1)
    text = grid.read_text(encoding="utf-8")
    write_grid(tmp_path, f"{text}  siren: {{sketch: buzzer, port: {port}, args: {{sound: wee oo}}}}\n")
    with (
        arduino("buzzer", "--name", "siren", "--grid", grid) as siren,
        arduino("clock", "--target", "siren", "--tacks", "1", "--grid", grid) as clock,
    ):
        siren.wait_for(rf"^\[ siren \] serving on localhost:{port}$")
        assert clock.wait() == 0, clock
        assert clock.stdout[-1] == "[ clock ] < ..."


@pytest.mark.source("M3")
async def test_m3_the_simulated_pin_is_a_node_among_the_named_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    shipped = mesh.grid()
    assert shipped.node("blink") is shipped.node("iopin")
    assert shipped.node("blink").sketch == "iopin"

    async with Buzzer(sound="buzz buzz buzz").running(port=0) as buzzer:
        peers = mesh.Grid([mesh.Node("buzzer", "localhost", buzzer.serving.port)])
        pin = IOPin.as_node(mesh.Node("blink", aliases=("iopin",)), peers, chance=0)
        async with pin.running(port=0):
            # By either of its names, like any other node.
            board = mesh.Node("blink", "localhost", pin.serving.port, aliases=("iopin",))
            hub = Recorder.as_node(mesh.Node("hub"), mesh.Grid([board]))
            async with hub.running(port=0):
                assert await hub.stream("blink", ["0"], "datafeed") == ["acknowledged"]
                assert await hub.stream("iopin", ["1"], "datafeed") == ["acknowledged"]
            assert await tell(pin.serving, ["2"], "datafeed") == ["acknowledged"]
