"""Firmata clients that others wrote, unchanged, on both doors of a simulated board.

Each has one script in ``peers/``, which lights an LED, reads a knob, waits for a button, dims a
second LED and turns a servo. It says what it sees, and stays until it is told to go.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factory.boards import Mode, SimBoard
from factory.boards.modes import Signal
from factory.boards.parts import Button, Potentiometer
from tests.conftest import RequireTool
from tests.helpers.firmata import pty_door, tcp_door
from tests.helpers.proc import DEADLINE, ROOT

PEERS = Path(__file__).parent / "peers"
pytestmark = [pytest.mark.integration, pytest.mark.slow]


@pytest.fixture(scope="session")
def node_folder(require_tool: RequireTool) -> Path:
    """Return a folder with the scripts for node and their packages, installed once by their lock file."""
    require_tool("node", package="nodejs")
    npm = require_tool("npm", package="npm")
    lock = PEERS / "js" / "package-lock.json"
    folder = ROOT / ".cache" / f"johnny-five-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(PEERS / "js", folder)
        command = [npm, "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=DEADLINE
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "installed").touch()
    for script in (PEERS / "js").glob("*.js"):
        shutil.copy(script, folder)
    return folder


@pytest.fixture(params=["pyfirmata2", "pymata4", "pymata_express", "johnny_five"])
def script(request: pytest.FixtureRequest) -> list[str]:
    """Return the command of each script."""
    if request.param == "johnny_five":
        return ["node", str(request.getfixturevalue("node_folder") / "johnny_five_script.js")]
    return [sys.executable, str(PEERS / f"{request.param}_script.py")]


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
    client = await asyncio.create_subprocess_exec(
        *script,
        *where,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert client.stdout is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(DEADLINE):
            async for line in client.stdout:
                said.append(line.decode().strip())
                if said[-1] == "button 1":
                    button.press()
                if said[-1] == "done":
                    break
            assert {"analog 511", "button 0", "done"} <= set(said), "\n".join(said)
            if where[0] == "pty" and "firmware" in said[0]:
                # It never asks, so it has seen the reset. On TCP it drops what came before it looked.
                assert said[0] == "firmware StandardFirmata.ino"
            # johnny-five sends 1500 microseconds, which are 93 degrees to the servo library.
            while uno.pin(10).values.get(Signal.ANGLE) not in (90, 93):  # noqa: ASYNC110 - it is on its way
                await asyncio.sleep(0.01)
            assert (uno.pin(13).mode, uno.pin(13).digital_read()) == (Mode.OUTPUT, 1)
            assert uno.pin(9).values[Signal.DUTY] == 128
            assert uno.pin(13).owner is not None
            await client.communicate(b"\n")
            while uno.pin(13).owner is not None:  # noqa: ASYNC110 - the board has still to notice
                await asyncio.sleep(0.01)
            assert uno.pin(13).digital_read() == 0
    finally:
        if client.returncode is None:
            client.kill()
            await client.communicate()


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
