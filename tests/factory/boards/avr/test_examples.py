"""The shipped firmware in step with a clock that the test moves: the same in every engine, however slow."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from factory.boards import Bench, Mode, Signal
from factory.boards.avr.board import AvrBoard
from factory.boards.avr.engine import HERTZ, Engine
from factory.boards.avr.engines import installed_engines, start_engine
from factory.boards.avr.image import read_image
from factory.boards.avr.pacing import Pacer
from factory.boards.avr.stepping import advance
from factory.boards.parts import Button, Buzzer, Led, Potentiometer
from tests.conftest import RequireTool
from tests.helpers.firmware import EXAMPLES
from tests.helpers.proc import DEADLINE

pytestmark = [pytest.mark.integration]


class Chip:
    """Firmware, its board, and the hand that moves the clock."""

    def __init__(self, path: Path, engine: str, bench: Bench | None = None) -> None:
        self.bench = bench or Bench()
        image = read_image(path)
        self.engine: Engine = start_engine(image, engine)
        self.board = AvrBoard("uno", self.bench, image.name, Pacer(HERTZ, self.bench.time))
        self.sent = b""
        self.board.sent = self._heard

    def _heard(self, data: bytes) -> None:
        self.sent += data

    def to(self, time: float) -> None:
        advance(self.board, self.engine, time)

    def edges(self, pin: int, signal: Signal = Signal.LEVEL) -> list[tuple[float, int]]:
        return [(e.time, e.value) for e in self.board.log.since(0)[0] if (e.pin, e.signal) == (pin, signal)]


@pytest.fixture(params=installed_engines())
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Chips:
    """Makes chips, and closes their engines."""

    def __init__(self, engine: str) -> None:
        self.made: list[Chip] = []
        self._engine = engine

    def __call__(self, path: Path | str, bench: Bench | None = None) -> Chip:
        chip = Chip(path if isinstance(path, Path) else EXAMPLES / f"{path}.hex", self._engine, bench)
        self.made.append(chip)
        return chip


@pytest.fixture
def chips(engine: str) -> Iterator[Chips]:
    made = Chips(engine)
    yield made
    for chip in made.made:
        chip.engine.close()


def test_blink_blinks_twice_a_second(chips: Chips) -> None:
    chip = chips("blink")
    chip.to(2.1)
    edges = chip.edges(13)
    assert [level for _, level in edges] == [1, 0] * 4 + [1]
    # delay() counts microseconds of a timer that ticks every four.
    for (one, _), (next_one, _) in pairwise(edges):
        assert next_one - one == pytest.approx(0.25, abs=60e-6)
    assert chip.board.pin(13).owner == "firmware blink.hex"


def test_make_firmware_builds_what_is_shipped(
    require_tool: RequireTool, tmp_path: Path, chips: Chips
) -> None:
    require_tool("avr-g++", package="arduino-core-avr")
    folder = shutil.copytree(EXAMPLES, tmp_path / "firmware", ignore=shutil.ignore_patterns("*.hex"))
    done = subprocess.run([folder / "build"], capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^blink\.hex: \d{4} bytes of 32768$", done.stdout, re.MULTILINE)
    # Other versions of the toolchain make other code of it, which does the same.
    built, shipped = chips(folder / "blink.hex"), chips("blink")
    for chip in (built, shipped):
        chip.to(0.6)
    assert [level for _, level in built.edges(13)] == [level for _, level in shipped.edges(13)] == [1, 0, 1]
    assert {path.name for path in folder.glob("*.hex")} == {path.name for path in EXAMPLES.glob("*.hex")}


def test_a_button_lights_the_led_by_an_interrupt_however_it_bounces(chips: Chips) -> None:
    chip = chips("button")
    key, lamp = Button("key", chip.board.pin(2), bounce=0.003), Led("lamp", chip.board.pin(13))
    chip.to(0.1)
    assert (chip.board.pin(2).mode, lamp.state) == (Mode.INPUT_PULLUP, "off")
    key.press()
    chip.to(0.2)
    assert lamp.state == "on"
    pressed = [level for _, level in chip.edges(2)].count(0)
    assert len(chip.edges(13)) > pressed > 1
    key.release()
    chip.to(0.3)
    assert lamp.state == "off"


def test_a_knob_dims_the_led_and_at_its_end_the_buzzer_sounds(chips: Chips) -> None:
    chip = chips("analog_to_pwm")
    knob, buzzer = (
        Potentiometer("knob", chip.board.pin("A0"), position=0.5),
        Buzzer("buzzer", chip.board.pin(3)),
    )
    chip.to(0.1)
    assert chip.board.pin(9).mode is Mode.PWM
    assert chip.board.pin(9).values[Signal.DUTY] in (127, 128)
    knob.set(0.8)
    chip.to(0.2)
    assert chip.board.pin(9).values[Signal.DUTY] == 204
    knob.set(0)
    chip.to(0.3)
    assert buzzer.state == "440 Hz"
    knob.set(0.5)
    chip.to(0.4)
    assert buzzer.state == "silent"


def test_serial_says_hello_and_sends_back_what_comes(chips: Chips) -> None:
    chip = chips("serial_echo")
    chip.to(0.1)
    assert chip.sent == b"hello\r\n"
    chip.board.receive(bytes(range(256)))
    chip.to(0.5)
    assert chip.sent == b"hello\r\n" + bytes(range(256))
    chip.board.reset()
    chip.to(0.6)
    assert chip.sent.endswith(b"hello\r\n")


def test_two_firmwares_talk_over_their_uarts(chips: Chips) -> None:
    bench = Bench()
    one, two = chips("serial_echo", bench), chips("serial_echo", bench)
    heard: list[bytes] = []
    one.board.sent = lambda data: two.board.hear(0, data)
    two.board.sent = heard.append
    # What the first one says, the second one sends back; it has said hello itself before.
    for step in range(1, 101):
        one.to(step * 0.001)
        two.to(step * 0.001)
    assert b"".join(heard) in (b"hello\r\nhello\r\n", b"hello\r\nello\r\n")


def test_a_burst_loses_what_the_real_chip_loses(chips: Chips, standard_firmata: Path) -> None:
    chip = chips(standard_firmata)
    chip.to(4.0)
    chip.sent = b""
    # Each byte asks for the version, three bytes. They come three times as fast as the answers go,
    # and the firmware has 64 bytes of room at either end.
    chip.board.receive(b"\xf9" * 200)
    chip.to(4.5)
    answers = chip.sent.count(b"\xf9\x02\x04")
    assert len(chip.sent) == 3 * answers
    assert 140 <= answers <= 160
