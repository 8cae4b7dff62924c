"""Boards 2: a board with firmware as a node of the mesh."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import mesh
from factory.boards.avr.board import AvrBoard
from factory.boards.avr.engine import HERTZ, DutyEvent, Event, PinEvent, PinState, Stopped
from factory.boards.avr.engines import ENGINES
from factory.boards.avr.image import Image
from factory.boards.io import firmware
from factory.errors import SetupError
from factory.fitting import check_sketches
from sketches import Board
from tests.helpers.avr import MS, ScriptedEngine
from tests.helpers.firmware import EXAMPLES
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, arduino
from tests.helpers.serial import tcp_wire

pytestmark = pytest.mark.integration

BLINK = f"avr:{EXAMPLES / 'blink.hex'}"


class Engines:
    """Stands in for the engines: each board gets one that plays the script."""

    def __init__(self) -> None:
        self.script: list[Event] = []
        self.made: list[ScriptedEngine] = []

    def start(self, image: Image, name: str | None) -> ScriptedEngine:
        self.made.append(ScriptedEngine(self.script, echo=True))
        return self.made[-1]


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Engines:
    made = Engines()
    monkeypatch.setattr(firmware, "start_engine", made.start)
    return made


@asynccontextmanager
async def running(board: str = BLINK, **arguments: Any) -> AsyncIterator[Board]:
    """Run a board that is called ``uno``."""
    uno = Board.as_node(mesh.Node("uno"), mesh.Grid([]), board=board, **arguments)
    async with uno.running(port=0):
        yield uno


async def until(ready: Callable[[], object]) -> None:
    """Wait for what the firmware or another node brings about."""
    async with asyncio.timeout(DEADLINE):
        while not ready():  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.005)


async def refusal(peer: mesh.Peer, value: object, channel: str) -> str:
    """Return why a message is refused."""
    with pytest.raises(mesh.NackedError) as caught:
        await peer.request(value, channel)
    return f"{caught.value.type}: {caught.value.reason}"


async def first(peer: mesh.Peer, channel: str) -> Any:
    """Return the next value of a channel, or the latest if it is latched."""
    async with asyncio.timeout(DEADLINE):
        return await anext(aiter(peer.subscribe(channel)))


async def test_what_the_firmware_does_is_published_with_its_own_times(engines: Engines) -> None:
    engines.script = [
        PinEvent(MS, 13, PinState.HIGH),
        DutyEvent(2 * MS, 9, 77),
        PinEvent(4 * MS, 13, PinState.LOW),
    ]
    async with running() as uno, mesh.connect(uno.serving, name="watcher") as peer:
        await until(lambda: uno.board.board.log.made >= 3)
        assert await first(peer, "pin/13") == 0
        assert await first(peer, "pin/9/pwm") == 77
        rows = (await peer.request(0, "edges"))["edges"]
        times = [row[1] for row in rows]
        assert [row[2:] for row in rows] == [[13, "level", 1], [9, "duty", 77], [13, "level", 0]]
        assert [later - times[0] for later in times] == pytest.approx([0, 0.001, 0.003], abs=1e-9)
        state = await peer.request("", "pins")
        assert state["title"] == "Arduino Uno with blink.hex"
        assert state["firmware"]["engine"] == "scripted"
        assert state["pins"][13]["owner"] == "firmware blink.hex"


async def test_inputs_are_driven_and_outputs_are_not_written(engines: Engines) -> None:
    engines.script = [PinEvent(1, 13, PinState.LOW), PinEvent(1, 2, PinState.PULLUP)]
    async with running() as uno, mesh.connect(uno.serving, name="ann") as peer:
        await until(lambda: uno.board.board.pin(13).owner)
        for channel, value in (
            ("pin/13", 1),
            ("pin/13/level/force", 1),
            ("pin/9/mode", "OUTPUT"),
            ("pin/13/tone", 440),
        ):
            assert (await refusal(peer, value, channel)).startswith(
                f"Reject: pin uno.{channel.split('/')[1]} is set by the firmware blink.hex alone"
            )
        assert await peer.request(0, "pin/2") == 0
        assert await peer.request(700, "analog/1") == 700
        assert await peer.request(300, "pin/A2/analog") == 300
        assert "out of range" in await refusal(peer, 1024, "analog/1")
        [engine] = engines.made
        await until(lambda: {("level", 2, 0)} <= {tuple(row[1:]) for row in engine.told})
        await until(lambda: {row[2] for row in engine.told if row[1] == "volts"} >= {1, 2})


async def test_the_uart_is_a_channel_of_bytes_and_lines(engines: Engines) -> None:
    async with running() as uno, mesh.connect(uno.serving, name="ann") as peer:
        lines, raw = aiter(peer.subscribe("uart/0/lines")), aiter(peer.subscribe("uart/0"))
        async with asyncio.timeout(DEADLINE):
            assert await peer.request("one", "uart/0/lines") == 4
            assert await anext(lines) == "one"
            got = await anext(raw)
            assert await peer.request(b"\xfftwo\n", "uart/0") == 5
            assert await anext(lines) == "�two"
            while got != b"one\n\xfftwo\n":
                got += await anext(raw)
        assert "RX of uno takes" in await refusal(peer, b"x" * 5000, "uart/0")
        assert "uno has no UART 1; the Arduino Uno has 0" in await refusal(peer, b"x", "uart/1")


async def test_firmware_that_crashes_is_reported_and_reset(engines: Engines) -> None:
    engines.script = [PinEvent(1, 13, PinState.HIGH), Stopped(MS, "it ran into erased flash at 0x0100")]
    async with running() as uno, mesh.connect(uno.serving, name="ann") as peer:
        why = "the firmware stands still: it ran into erased flash at 0x0100; a reset brings it back"
        assert await first(peer, "state") == why
        assert (await peer.request("", "pins"))["firmware"]["stopped"] == "it ran into erased flash at 0x0100"
        assert uno.board.board.pin(13).digital_read() == 1
        await peer.request("", "reset")
        assert await first(peer, "state") == ""
        [engine] = engines.made
        await until(lambda: "reset" in [row[1] for row in engine.told])


async def test_a_simulator_that_fails_loses_the_board_and_power_makes_another(engines: Engines) -> None:
    async with running() as uno, mesh.connect(uno.serving, name="ann") as peer:
        engines.made[0].fails = "it fell over"
        await until(lambda: uno.board.board.lost)
        assert engines.made[0].is_closed
        assert "its simulator failed: it fell over; power 1 tries again" in await refusal(peer, 0, "pin/2")
        engines.script = [PinEvent(MS, 13, PinState.HIGH)]
        await peer.request(1, "power")
        await until(lambda: uno.board.board.pin(13).digital_read())
    assert [engine.is_closed for engine in engines.made] == [True, True]


async def test_power_off_and_on_boots_it_again(engines: Engines) -> None:
    async with running(serial_tcp=0) as uno, mesh.connect(uno.serving, name="ann") as peer:
        node = uno.board
        assert isinstance(node, firmware.FirmwareNode)
        async with tcp_wire(node.serial_port or 0) as wire:
            await until(lambda: node.serial.client)
            await peer.request(0, "power")
            await until(lambda: wire.is_over)
            assert (await refusal(peer, 1, "reset")).startswith("Nack: uno is lost: it is unplugged")
        await peer.request(1, "power")
        await until(lambda: [row[1] for row in engines.made[0].told].count("reset") == 2)


async def test_as_fast_as_it_goes(engines: Engines) -> None:
    engines.script = [PinEvent(3600 * HERTZ, 13, PinState.HIGH)]
    async with running(speed="max", parts={"key": {"button": "2"}}) as uno, mesh.connect(uno.serving) as peer:
        board = uno.board.board
        assert isinstance(board, AvrBoard)
        await until(lambda: board.pacer.reached > 100 * MS)
        before = board.bench.time
        await peer.request("press", "part/key")
        await until(lambda: board.bench.time > before + 1)
        assert (await peer.request("", "pins"))["firmware"]["speed"] is None
        assert uno.board.board.pin(2).digital_read() == 0


async def test_firmware_on_one_board_and_none_on_the_other_talk_over_a_wire(engines: Engines) -> None:
    engines.script = [PinEvent(1, 12, PinState.HIGH)]
    port, other = free_ports(2)
    grid = mesh.Grid([mesh.Node("desk", port=port), mesh.Node("shelf", port=other)])
    wires = [["TX0", "shelf.RX0"], ["RX0", "shelf.TX0"], [12, "shelf.2"]]
    desk = Board.as_node(grid.node("desk"), grid, board=BLINK, wires=wires)
    shelf = Board.as_node(grid.node("shelf"), grid, modes={"2": "INPUT"})
    async with desk.running(), shelf.running(), mesh.connect(shelf.serving, name="ann") as peer:
        await until(lambda: shelf.board.board.pin(2).digital_read())
        await until(lambda: len(shelf.board.harness) == 3)
        heard = aiter(peer.subscribe("uart/0"))
        got = b""
        async with asyncio.timeout(DEADLINE):
            assert await peer.request(b"ping", "uart/0") == 1
            while got != b"ping":
                got += await anext(heard)


# -- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"board": "avr:"}, r"write which firmware, as in avr:blink\.hex"),
        ({"board": "avr:nowhere.hex"}, r"nowhere\.hex: there is no such file"),
        ({"board": f"avr+pic:{EXAMPLES / 'blink.hex'}"}, r"no engine is called 'pic'"),
        ({"modes": {"2": "INPUT"}}, r"modes: the firmware sets the modes of its pins"),
        ({"failsafe": {"2": 1}}, r"failsafe: the firmware is the only owner"),
        ({"firmata_tcp": 0}, r"firmata_tcp: the firmware itself speaks; serial_tcp opens its serial port"),
        ({"speed": 0.0}, r"write a number from 0\.001 to 1000"),
        ({"serial_tcp": 70_000}, r"the port of the serial port is from 0 .* to 65535, not 70000"),
        ({"board": "sim:uno", "serial": "x"}, r"serial: only boards with firmware \(avr:FILE\) have"),
        ({"board": "sim:uno", "speed": "max"}, r"speed: only boards with firmware \(avr:FILE\) have a speed"),
        ({"parts": {"a": {"led": "99"}}}, r"uno has no pin '99'"),
    ],
)
async def test_a_board_that_cannot_be_built(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(SetupError, match=words):
        async with running(**arguments):
            pass


async def test_only_firmware_has_a_reset_button() -> None:
    async with running("sim:uno") as uno, mesh.connect(uno.serving, name="ann") as peer:
        assert "uno has no reset button: no firmware is simulated in it" in await refusal(peer, 1, "reset")


def test_a_grid_with_firmware_is_checked_before_anything_runs(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(
        """\
nodes:
  uno:
    sketch: board
    port: 8770
    args:
      board: avr:blink.hex
      modes: {"2": INPUT}
      parts: {key: {button: "99"}}
      speed: max
  sim: {sketch: board, port: 8771, args: {board: "sim:uno", serial: ./uno}}
""",
        encoding="utf-8",
    )
    with pytest.raises(mesh.GridError) as caught:
        check_sketches(mesh.grid(str(path)))
    found = [(problem.line, problem.what) for problem in caught.value.problems]
    assert found == [
        (7, "modes: the firmware sets the modes of its pins"),
        (8, "board has no pin '99'"),
        (10, "serial: only boards with firmware (avr:FILE) have a serial port of their own"),
    ]


async def test_an_engine_that_is_not_there_is_told_before_anything_serves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ENGINES, "avr8js", (lambda: False, ENGINES["avr8js"][1]))
    with pytest.raises(SetupError, match=r'avr8js is not installed; to install it: pip install "sketchmesh'):
        async with running(f"avr+avr8js:{EXAMPLES / 'blink.hex'}"):
            pass


def record(address: int, data: bytes, kind: int = 0) -> str:
    """Return a line of Intel HEX."""
    body = bytes([len(data), address >> 8, address & 0xFF, kind]) + data
    return f":{(body + bytes([-sum(body) & 0xFF])).hex().upper()}"


def bad(what: str) -> bytes:
    """Return a file that is wrong in some way."""
    good = (EXAMPLES / "blink.hex").read_text(encoding="ascii").splitlines()
    if what == "checksum":
        good[2] = good[2][:-2] + ("00" if good[2][-2:] != "00" else "01")
    elif what == "truncated":
        good[-1:] = []
    elif what == "large":
        good.insert(1, record(0x8000, b"too far"))
    elif what == "chip":
        # An ELF of an ARM: class, order and machine are all that is looked at.
        return b"\x7fELF\1\1\1" + bytes(9) + b"\2\0\x28\0" + bytes(32)
    elif what == "text":
        return b"void setup() {\n}\n"
    return "\n".join(good).encode()


BAD = [
    ("checksum", r"bad\.hex, line 3: .*checksum"),
    ("truncated", r"bad\.hex.*end"),
    ("large", r"bad\.hex, line 2: .*32"),
    ("chip", r"bad\.hex.*(ARM|machine|AVR)"),
    ("text", r"bad\.hex, line 1: "),
]


@pytest.mark.parametrize(("what", "words"), BAD, ids=[what for what, _ in BAD])
async def test_a_file_that_is_no_firmware_is_refused_with_its_line(
    what: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.hex").write_bytes(bad(what))
    with pytest.raises(SetupError, match=words):
        async with running(f"avr:{tmp_path / 'bad.hex'}"):
            pass


def test_the_command_says_what_is_wrong_with_a_file_once_and_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "bad.hex").write_bytes(bad("checksum"))
    with arduino("board", "--board", f"avr:{tmp_path / 'bad.hex'}", "--port", "0") as proc:
        assert proc.wait() == 2
        said = [line.text for line in proc.lines if "bad.hex" in line.text]
    assert len(said) == 1
    assert re.search(r"error: .*bad\.hex, line 3: .*checksum", said[0])
