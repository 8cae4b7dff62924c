"""Firmata clients that others wrote, unchanged, on both doors of a simulated board.

Each has one script in ``peers/``, which lights an LED, reads a knob, waits for a button, dims a
second LED and turns a servo. It says what it sees, and stays until it is told to go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factory.boards import Mode, SimBoard
from factory.boards.modes import Signal
from factory.boards.parts import Button, Potentiometer
from tests.helpers.firmata import pty_door, tcp_door
from tests.helpers.peers import peer, pull_up
from tests.helpers.proc import DEADLINE

pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(params=["tcp", "pty"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[SimBoard, list[str]]]:
    """Return a board, and what tells a script where it is."""
    if request.param == "tcp":
        async with tcp_door() as (uno, door):
            yield uno, ["tcp", f"127.0.0.1:{door.port}"]
    else:
        async with pty_door(tmp_path / "uno") as (uno, _):
            yield uno, ["pty", str(tmp_path / "uno")]


async def test_it_drives_the_board(script: list[str], served: tuple[SimBoard, list[str]]) -> None:
    uno, where = served
    Potentiometer("knob", uno.pin("A0"), position=0.5)
    button = Button("button", uno.pin(2), bounce=0)
    pull_up(uno.pin(2))
    async with peer([*script, *where]) as client, asyncio.timeout(DEADLINE):
        await client.until_done(button.press)
        if where[0] == "pty" and "firmware" in client.said[0]:
            # It never asks, so it has seen the reset. On TCP it drops what came before it looked.
            assert client.said[0] == "firmware StandardFirmata.ino"
        # johnny-five sends 1500 microseconds, which are 93 degrees to the servo library.
        while uno.pin(10).values.get(Signal.ANGLE) not in (90, 93):  # noqa: ASYNC110 - it is on its way
            await asyncio.sleep(0.01)
        assert (uno.pin(13).mode, uno.pin(13).digital_read()) == (Mode.OUTPUT, 1)
        assert uno.pin(9).values[Signal.DUTY] == 128
        assert uno.pin(13).owner is not None
        await client.leave()
        while uno.pin(13).owner is not None:  # noqa: ASYNC110 - the board has still to notice
            await asyncio.sleep(0.01)
        assert uno.pin(13).digital_read() == 0


async def test_a_program_of_johnny_five_runs_unchanged(node_folder: Path, tmp_path: Path) -> None:
    async with pty_door(tmp_path / "uno") as (uno, _):
        blinks = asyncio.Event()
        uno.pin(13).watch(lambda edge: blinks.set() if edge.number == 3 else None)
        program = await asyncio.create_subprocess_exec(
            "node",
            "-r",
            str(node_folder / "serialport8.js"),
            str(node_folder / "blink.js"),
            cwd=tmp_path,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(DEADLINE):
                await blinks.wait()
            # Half a second apart, by the stamps.
            edges = uno.log.since(0)[0]
            assert edges[2].time - edges[1].time > 0.4
        finally:
            program.kill()
            await program.communicate()
