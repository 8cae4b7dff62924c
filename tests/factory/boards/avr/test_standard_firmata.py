"""StandardFirmata as it is flashed into real boards, driven by those who drive real boards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factory.boards import Board, Mode, Signal
from factory.boards.avr.engines import installed_engines
from factory.boards.io.remote import Remote
from factory.boards.parts import Potentiometer
from tests.helpers.firmware import Desk, firmware
from tests.helpers.peers import peer, pull_up
from tests.helpers.proc import DEADLINE

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HALF = 2.4990
"""Volts of which both engines make 511: one rounds to 1023 steps, the other to 1024, as the chip does."""


@pytest.fixture(params=["tcp", "pty"])
async def served(
    request: pytest.FixtureRequest, standard_firmata: Path, tmp_path: Path
) -> AsyncIterator[tuple[Desk, list[str]]]:
    """Return the board, and what tells a script where it is; each engine has a door."""
    engine = installed_engines()[-1 if request.param == "pty" else 0]
    # It boots for two seconds of its own time, and some clients wait for just four of ours.
    async with firmware(standard_firmata, engine=engine, speed=4, serial=tmp_path / "uno") as desk:
        pull_up(desk.node.board.pin(2))
        if request.param == "tcp":
            yield desk, ["tcp", f"127.0.0.1:{desk.node.serial_port}"]
        else:
            yield desk, ["pty", str(tmp_path / "uno")]


async def test_those_who_drive_a_simulated_board_drive_the_real_firmware(
    script: list[str], served: tuple[Desk, list[str]]
) -> None:
    desk, where = served
    board = desk.node.board
    Potentiometer("knob", board.pin("A0"), position=HALF / 5)

    def press() -> None:
        with desk.node.clock:
            board.outside(board.pin(2), 0.0)

    async with peer([*script, *where]) as client, asyncio.timeout(DEADLINE):
        await client.until_done(press)
        # johnny-five sends 1500 microseconds, which are 93 degrees to the servo library.
        await desk.until(lambda: board.pin(10).values.get(Signal.ANGLE) in (90, 93))
        assert (board.pin(13).mode, board.pin(13).digital_read()) == (Mode.OUTPUT, 1)
        # The servo library takes the timer of pin 9, as it does on the desk: there was PWM, and it has ended.
        assert (9, Signal.DUTY, 128) in [tuple(edge[2:]) for edge in board.log.since(0)[0]]
        assert desk.node.serial.client is not None
        await client.leave()
        await desk.until(lambda: desk.node.serial.client is None)


async def test_our_own_serial_backend_drives_it(
    standard_firmata: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.boards.io.remote.GREETING", 60.0)  # it boots for 2 s of its own time
    async with firmware(standard_firmata, serial=tmp_path / "uno") as desk:
        far = desk.node.board
        remote = Remote("near", f"serial:{tmp_path / 'uno'}", desk.said.append)
        try:
            near: Board = await remote.connect()
            assert near.profile.title == "Arduino Uno with StandardFirmata.ino 2.4"
            near.pin(13).digital_write(1, by="blink")
            near.pin(9).analog_write(100)
            near.pin(2).set_mode(Mode.INPUT)
            near.pin("A0").set_mode(Mode.ANALOG)
            await desk.until(lambda: far.pin(2).mode is Mode.INPUT and far.pin(9).mode is Mode.PWM)
            with desk.node.clock:
                far.pin(2).drive(1)
                far.pin("A0").sample(700)
            await desk.until(lambda: near.pin(2).digital_read() == 1)
            await desk.until(lambda: abs(near.pin("A0").analog_read() - 700) <= 1)
            assert (far.pin(13).digital_read(), far.pin(9).values[Signal.DUTY]) == (1, 100)
        finally:
            await remote.close()
