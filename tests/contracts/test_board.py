"""What every board promises: simulated, on TCP, and on a serial port."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random

import pytest

from factory.boards import (
    Bench,
    Board,
    BoardError,
    BoardLostError,
    Mode,
    PinInUseError,
    PinModeError,
    PinUnsupportedError,
    PinValueError,
    Profile,
    Signal,
    SimBoard,
    UnknownPinError,
)
from factory.boards.firmata.session import Session
from factory.boards.io import remote
from factory.boards.io.clock import BenchClock
from factory.boards.io.remote import Remote, address_of, serial_ports
from factory.boards.io.tcp import TcpDoor
from tests.helpers.boards import board
from tests.helpers.firmata import pty_door, tcp_door
from tests.helpers.proc import DEADLINE

pytestmark = pytest.mark.integration


@dataclass
class Rig:
    """A board under test, and the simulated one that is really there."""

    board: Board
    far: SimBoard
    said: list[str]

    @property
    def is_remote(self) -> bool:
        return self.board is not self.far


async def until(ready: Callable[[], object]) -> None:
    """Wait for what is on its way."""
    async with asyncio.timeout(DEADLINE):
        while not ready():  # noqa: ASYNC110 - bytes and timers of several ends bring it about
            await asyncio.sleep(0.002)


def _reads(read: Callable[[], int], value: int) -> bool:
    return read() == value


@asynccontextmanager
async def reached(url: str, far: SimBoard) -> AsyncIterator[Rig]:
    said: list[str] = []
    line = Remote("near", url, said.append)
    try:
        yield Rig(await line.connect(), far, said)
    finally:
        await line.close()


@asynccontextmanager
async def rigged(kind: str, folder: Path) -> AsyncIterator[Rig]:
    if kind == "sim":
        uno = board()
        yield Rig(uno, uno, [])
    elif kind == "tcp":
        async with tcp_door() as (uno, door), reached(f"tcp:127.0.0.1:{door.port}", uno) as made:
            yield made
    else:
        async with pty_door(folder / "uno") as (uno, _), reached(f"serial:{folder / 'uno'}", uno) as made:
            yield made


@pytest.fixture(params=["sim", "tcp", "serial"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(request.param, tmp_path) as made:
        yield made


async def test_it_knows_what_it_has(rig: Rig) -> None:
    profile = rig.board.profile
    assert (profile.name, len(profile.pins)) == ("uno", 20)
    assert rig.board.pin("LED").spec.number == 13
    assert rig.board.pin("A5").spec.analog == 5
    assert Mode.PWM in rig.board.pin(9).spec.modes
    with pytest.raises(UnknownPinError):
        rig.board.pin(20)
    with pytest.raises(PinUnsupportedError, match=r"cannot be PWM"):
        rig.board.pin(13).set_mode(Mode.PWM)


async def test_outputs(rig: Rig) -> None:
    rig.board.pin(13).digital_write(1)
    rig.board.pin(9).analog_write(200)
    rig.board.pin(10).servo_write(45)
    await until(lambda: rig.far.pin(10).values.get(Signal.ANGLE) == 45)
    assert rig.far.pin(13).digital_read() == 1
    assert rig.far.pin(9).values[Signal.DUTY] == 200
    assert [rig.board.pin(n).mode for n in (13, 9, 10)] == [Mode.OUTPUT, Mode.PWM, Mode.SERVO]
    edges, missed = rig.board.log.since(0)
    assert missed == 0
    assert [(e.number, e.pin, e.value) for e in edges] == [(1, 13, 1), (2, 9, 200), (3, 10, 45)]


async def test_inputs(rig: Rig) -> None:
    seen: list[int] = []
    pin = rig.board.pin(2)
    pin.watch(lambda edge: seen.append(edge.value))
    pin.set_mode(Mode.INPUT_PULLUP)
    await until(lambda: seen == [1])
    for level in (0, 1, 0):
        rig.far.pin(2).drive(level)
        await until(partial(_reads, pin.digital_read, level))
    assert seen == [1, 0, 1, 0]


async def test_analog_inputs(rig: Rig) -> None:
    pin = rig.board.pin("A0")
    pin.set_mode(Mode.ANALOG)
    await until(lambda: rig.far.pin("A0").mode is Mode.ANALOG)
    for value in (0, 204, 1023):
        rig.far.pin("A0").drive(value)
        await until(partial(_reads, pin.analog_read, value))


async def test_owners_and_ranges(rig: Rig) -> None:
    pin = rig.board.pin(13)
    pin.set_mode(Mode.OUTPUT, by="blink")
    pin.digital_write(1, by="blink")
    with pytest.raises(PinInUseError, match=r"belongs to blink"):
        pin.digital_write(0, by="clock")
    with pytest.raises(PinValueError, match=r"out of range"):
        pin.digital_write(2, by="blink")
    await until(lambda: rig.far.pin(13).digital_read() == 1)
    rig.board.leave("blink")
    await until(lambda: rig.far.pin(13).digital_read() == 0)
    rig.board.pin(2).set_mode(Mode.INPUT)
    with pytest.raises(PinModeError, match=r"outside world"):
        rig.board.pin(2).digital_write(1)


async def test_what_only_a_simulated_board_can_do(rig: Rig) -> None:
    pin = rig.board.pin(2)
    pin.set_mode(Mode.INPUT_PULLUP)
    if rig.is_remote:
        with pytest.raises(PinUnsupportedError, match=r"is one of a board that is not simulated here"):
            pin.drive(0)
        with pytest.raises(PinUnsupportedError, match=r"near makes no tones"):
            rig.board.pin(3).tone(440)
        assert rig.board.log.since(0)[0] == [] or rig.board.log.since(0)[0][0].pin == 2
    else:
        pin.drive(0)
        rig.board.pin(3).tone(440)
        assert (pin.digital_read(), rig.board.pin(3).values[Signal.TONE]) == (0, 440)


async def test_unplugged_and_back(rig: Rig) -> None:
    told: list[str | None] = []
    rig.board.watch_state(told.append)
    led, button = rig.board.pin(13), rig.board.pin(2)
    led.digital_write(1, by="blink")
    button.set_mode(Mode.INPUT_PULLUP)
    await until(lambda: rig.far.pin(13).digital_read() and button.digital_read())
    seen: list[int] = []
    button.watch(lambda edge: seen.append(edge.value))
    rig.far.unplug()
    await until(lambda: rig.board.lost)
    with pytest.raises(BoardLostError, match=r"is lost"):
        led.digital_write(1, by="blink")
    assert led.digital_read() == 0
    rig.far.plug()
    await until(lambda: told[-1] is None)
    assert [reason is None for reason in told] == [False, True]
    await until(lambda: rig.far.pin(2).mode is Mode.INPUT_PULLUP)
    assert (led.mode, led.owner, led.digital_read()) == (Mode.OUTPUT, "blink", 0)
    led.digital_write(1, by="blink")
    await until(lambda: rig.far.pin(13).digital_read() == 1)
    rig.far.pin(2).drive(0)
    await until(lambda: seen and seen[-1] == 0)


# -- lines that hang, and other boards at their end ----------------------------------------------


@pytest.mark.parametrize("kind", ["tcp", "serial"])
async def test_a_line_that_hangs_is_lost_until_the_board_answers(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PATIENCE", 0.7)
    monkeypatch.setattr(remote, "GREETING", 1.0)
    hear = Session.receive
    async with rigged(kind, tmp_path) as rig:
        told: list[str | None] = []
        rig.board.watch_state(told.append)
        rig.board.pin(13).digital_write(1, by="blink")
        rig.board.pin(2).set_mode(Mode.INPUT_PULLUP)
        await until(lambda: rig.far.pin(13).digital_read() and rig.board.pin(2).digital_read())
        # Nothing is closed: from now on the board takes no byte to heart.
        monkeypatch.setattr(Session, "receive", lambda *_: None)
        await until(lambda: told)
        assert told[0] == "it has not answered for 1.4 s; does it hang, or was a cable pulled?"
        assert rig.board.pin(13).digital_read() == 0
        with pytest.raises(BoardLostError, match="it has not answered"):
            rig.board.pin(13).digital_write(1, by="blink")
        monkeypatch.setattr(Session, "receive", hear)
        monkeypatch.setattr(remote, "PATIENCE", 60.0)
        await until(lambda: told[-1] is None)
        rig.board.pin(13).digital_write(1, by="blink")
        await until(lambda: rig.far.pin(13).digital_read() == 1)
        await until(lambda: rig.far.pin(2).mode is Mode.INPUT_PULLUP)


@asynccontextmanager
async def at_port(port: int, far: SimBoard) -> AsyncIterator[int]:
    clock = BenchClock(far.bench)
    door = TcpDoor(far, clock)
    await door.open("127.0.0.1", port)
    try:
        yield door.port
    finally:
        await door.close()
        clock.close()


def _less_able() -> SimBoard:
    """A board as the Uno, but that its pin 9 has no PWM."""
    uno = board().profile
    pins = [replace(pin, modes=pin.modes - {Mode.PWM}) if pin.number == 9 else pin for pin in uno.pins]
    return SimBoard("uno", Profile("uno", uno.title, tuple(pins)), Bench())


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: board("mega"), "Arduino Mega 2560 with StandardFirmata.ino 2.5; "),
        (_less_able, "another Arduino Uno with StandardFirmata.ino 2.5, with other pins; "),
    ],
    ids=["mega", "less able"],
)
async def test_another_board_in_its_place_is_refused_by_name(
    other: Callable[[], SimBoard], words: str
) -> None:
    async with AsyncExitStack() as stack:
        async with at_port(0, board()) as port:
            near = (await stack.enter_async_context(reached(f"tcp:127.0.0.1:{port}", board()))).board
        await until(lambda: near.lost)
        async with at_port(port, other()):
            await until(lambda: near.lost and near.lost.startswith(f"another board is there now: {words}"))
            assert "; plug in the Arduino Uno with StandardFirmata.ino 2.5, or start anew" in str(near.lost)
        async with at_port(port, board()):
            await until(lambda: near.lost is None)
            near.pin(13).digital_write(1)


# -- lines that lead nowhere -------------------------------------------------------------------


async def refused(url: str) -> str:
    with pytest.raises(BoardLostError) as caught:
        await Remote("near", url, print).connect()
    return str(caught.value)


async def test_a_board_that_is_not_there(tmp_path: Path, unused_tcp_port: int) -> None:
    words = await refused(f"serial:{tmp_path}/ttyACM7")
    assert "ttyACM7: there is no such device; is it plugged in?; serial ports here: " in words
    assert "nobody listens there" in await refused(f"tcp:127.0.0.1:{unused_tcp_port}")


@pytest.mark.parametrize(
    "url", ["tcp:localhost:99999", "tcp:localhost:abc", "serial:/dev/x?baud=x"], ids=["port", "word", "baud"]
)
async def test_an_address_that_makes_no_sense(url: str) -> None:
    with pytest.raises(BoardError, match=f"^{re.escape(f'board {url!r}: ')}.*; write serial:") as caught:
        await Remote("near", url, print).connect()
    assert "sketches" not in str(caught.value)
    assert "://" not in str(caught.value)


async def test_a_port_that_another_program_holds(tmp_path: Path) -> None:
    async with pty_door(tmp_path / "uno") as (uno, _), reached(f"serial:{tmp_path / 'uno'}", uno):
        assert "another program holds it" in await refused(f"serial:{tmp_path / 'uno'}")


async def test_something_that_does_not_speak_firmata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.boards.io.remote.GREETING", 0.2)

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 welcome to my mail server\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        words = await refused(f"tcp:127.0.0.1:{port}")
    assert "does not speak Firmata: no answer within 0.2 s that makes sense (31 bytes that belong" in words
    assert words.endswith("skipped); is StandardFirmata on the board?")


async def test_noise_is_no_board(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.boards.io.remote.GREETING", 0.5)
    noise = Random(7)

    async def hiss(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(noise.randbytes(4096))
                await writer.drain()

    server = await asyncio.start_server(hiss, "127.0.0.1", 0)
    async with server:
        words = await refused(f"tcp:127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert "does not speak Firmata: no answer within 0.5 s that makes sense (" in words


def test_ports_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serial_ports(tmp_path) == []
    for name in ("ttyUSB1", "ttyACM0", "tty1", "null"):
        (tmp_path / name).touch()
    ports = serial_ports(tmp_path)
    assert ports == [f"{tmp_path}/ttyACM0", f"{tmp_path}/ttyUSB1"]
    for found, words in (
        ([], "there is no serial port; plug a board in"),
        (ports, "several serial ports; choose one"),
    ):
        monkeypatch.setattr("factory.boards.io.remote.serial_ports", lambda found=found: found)
        with pytest.raises(BoardError, match=words):
            address_of("serial:")
    monkeypatch.setattr("factory.boards.io.remote.serial_ports", lambda: ports[:1])
    assert address_of("serial:") == f"serial://{ports[0]}?baud=57600"
    assert address_of("serial:/dev/x?baud=9600") == "serial:///dev/x?baud=9600"
    with pytest.raises(BoardError, match=r"choose sim:uno, avr:FIRMWARE.hex, serial:.* or tcp:HOST:PORT"):
        address_of("usb:1")
