"""A worker runs in uvloop's event loop if that is installed, and behaves there as it does in asyncio's."""

from __future__ import annotations

import importlib.util
import signal
from pathlib import Path

import pytest

from tests.helpers.clients import ask, serving_port
from tests.helpers.fleet import trio, trio_grid, wait_until_they_talk
from tests.helpers.proc import arduino

pytestmark = pytest.mark.fleet

WHICH = '''\
import asyncio

import factory


class Which(factory.FactoryLoop):
    """Say which event loop this is."""

    @factory.reactive
    async def loop(self, channel, msg):
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]
'''


@pytest.mark.parametrize(("switch", "wanted"), [("0", "asyncio"), (None, "uvloop"), ("", "uvloop")])
def test_which_loop_it_is(tmp_path: Path, switch: str | None, wanted: str) -> None:
    if wanted == "uvloop" and importlib.util.find_spec("uvloop") is None:
        wanted = "asyncio"
    (tmp_path / "which.py").write_text(WHICH, encoding="utf-8")
    with arduino("which.py", "--port", "0", cwd=tmp_path, env={"SKETCHMESH_UVLOOP": switch}) as proc:
        assert ask(serving_port(proc), "?") == [wanted]


@pytest.mark.usefixtures("each_loop")
def test_the_fleet_talks_loses_one_and_stops_in_time(tmp_path: Path) -> None:
    grid, _, _ = trio_grid(tmp_path)
    with trio(grid) as fleet:
        wait_until_they_talk(fleet)
        mark = fleet["iopin"].mark
        fleet["buzzer"].send_signal(signal.SIGKILL)
        fleet["iopin"].wait_for("waiting for buzzer at ", since=mark)
        with arduino("buzzer", env={"MESH_GRID": str(grid)}) as again:
            fleet["iopin"].wait_for(r"buzzer is there at .*, after \d+\.\d s", since=mark)
            again.wait_for(r"signal [01] received -> ")
            # Who does not stop in time ends by force, and with 1.
            assert again.stop() == 0, again
            for name in ("clock", "iopin"):
                assert fleet[name].stop() == 0, fleet[name]
