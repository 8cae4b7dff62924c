"""Both engines run the same firmware (sources in ``firmware/``), and each is the oracle of the other."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from factory.boards.avr import avr8js, engines, simavr
from factory.boards.avr.engine import (
    HERTZ,
    DutyEvent,
    Engine,
    Event,
    PinEvent,
    PinState,
    Restarted,
    Stopped,
    UartEvent,
)
from factory.boards.avr.engines import installed_engines, start_engine
from factory.boards.avr.errors import EngineError, EngineMissingError
from factory.boards.avr.image import Image, read_image
from factory.boards.avr.records import RX_ROOM
from tests.conftest import RequireTool

FIRMWARE = Path(__file__).parent / "firmware"
MS = HERTZ // 1000
NAMES = ["avr8js", "simavr"]


def needs(name: str) -> None:
    """Skip without the engine; under CI fail, so that no skip can pass for a success there."""
    if name not in installed_engines():
        reason = f"needs {name}; to run this test: {engines.INSTALL[name]}"
        if os.environ.get("CI"):
            pytest.fail(f"{reason} (CI is set, so this is no skip)", pytrace=False)
        pytest.skip(reason)


class Lab:
    """A chip on a desk: keeps all that it did."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.cycle = 0
        self.events: list[Event] = []

    def run(self, milliseconds: float) -> list[Event]:
        """Run on, and return what happened."""
        until = self.cycle + round(milliseconds * MS)
        found: list[Event] = []
        while self.cycle < until:
            self.cycle, events = self.engine.run(until)
            found += events
        self.events += found
        return found

    def ask(self, question: bytes, size: int) -> bytes:
        """Send bytes, and return the answer."""
        self.engine.feed(question)
        answer = b""
        for _ in range(200):
            answer += sent(self.run(1))
            if len(answer) >= size:
                return answer
        raise AssertionError(f"{question!r} was answered by {answer!r} in 200 ms")

    def states(self, pin: int) -> list[PinState]:
        return [e.state for e in self.events if isinstance(e, PinEvent) and e.pin == pin]

    def duties(self, pin: int) -> list[int | None]:
        return [e.duty for e in self.events if isinstance(e, DutyEvent) and e.pin == pin]

    def of(self, kind: type[Stopped | Restarted]) -> list[Stopped | Restarted]:
        return [event for event in self.events if isinstance(event, kind)]


def sent(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, UartEvent))


@pytest.fixture
def start() -> Iterator[Callable[..., Lab]]:
    """Start engines, and close them."""
    started: list[Engine] = []

    def start(name: str, image: Image | str = "probe.hex") -> Lab:
        needs(name)
        engine = start_engine(read_image(FIRMWARE / image) if isinstance(image, str) else image, name)
        started.append(engine)
        return Lab(engine)

    yield start
    for engine in started:
        engine.close()


@pytest.fixture(params=NAMES)
def probe(request: pytest.FixtureRequest, start: Callable[..., Lab]) -> Lab:
    """Return a chip with probe.hex that listens to the serial line."""
    lab = start(request.param)
    lab.run(1)
    return lab


def code(*words: int) -> Image:
    """Make firmware of instructions."""
    return Image(b"".join(word.to_bytes(2, "little") for word in words), "words")


# -- pins ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)  # half a minute of two cores, if nobody else wants them
def test_over_a_minute_the_edges_of_pin_13_agree(start: Callable[..., Lab]) -> None:
    labs = [start(name, "blink.hex") for name in NAMES]
    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(lab.run, 60_000) for lab in labs]:
            done.result()
    ours, theirs = ([event.cycle for event in lab.events if isinstance(event, PinEvent)] for lab in labs)
    assert len(ours) == len(theirs) > 1190
    assert max(abs(one - other) for one, other in zip(ours, theirs, strict=True)) <= 60 * HERTZ * 0.0001
    # 49 times the 256 steps of a timer that counts each 64th cycle; an interrupt may have to wait a little.
    assert all(abs(b - a - 49 * 256 * 64) < 100 for a, b in pairwise(ours[2:]))


@pytest.mark.parametrize("name", NAMES)
def test_what_the_registers_do_to_a_pin_is_told(start: Callable[..., Lab], name: str) -> None:
    # sbi DDRB,5; sbi PORTB,5; cbi DDRB,5; cbi PORTB,5; rjmp .
    lab = start(name, code(0x9A25, 0x9A2D, 0x9825, 0x982D, 0xCFFF))
    lab.run(0.1)
    assert lab.states(13) == [PinState.LOW, PinState.HIGH, PinState.PULLUP, PinState.INPUT]


def test_an_input_is_what_drives_it_or_its_pull_up_or_what_it_was(probe: Lab) -> None:
    pin = probe.engine.level

    def read() -> int:
        return probe.ask(b"d", 1)[0] >> 4 & 1

    assert read() == 0
    probe.engine.feed(b"u")
    probe.run(1)
    assert read() == 1, "pulled up"
    pin(4, 0)
    assert read() == 0, "driven against the pull-up"
    probe.engine.feed(b"hl")  # writing to another port, and to this one, changes nothing
    assert probe.ask(b"uu", 0) == b""
    assert read() == 0
    pin(4, None)
    assert read() == 1, "pulled up again"
    probe.engine.feed(b"U")
    pin(4, 1)
    assert read() == 1
    pin(4, None)
    assert read() == 1, "it floats and keeps what it was"
    pin(4, 0)
    pin(4, None)
    assert read() == 0


def test_interrupts_of_pins_come_once_for_each_edge(probe: Lab) -> None:
    probe.engine.level(2, 1)
    probe.run(1)
    for _ in range(3):
        probe.engine.level(2, 0)
        probe.run(0.1)
        probe.engine.level(2, 1)
        probe.engine.level(4, 1)
        probe.run(0.1)
        probe.engine.level(4, 0)
        probe.run(0.1)
    assert probe.ask(b"n", 2) == bytes([3, 6])


def test_levels_set_one_after_the_other_are_all_seen(probe: Lab) -> None:
    probe.engine.level(2, 1)
    probe.engine.level(2, 0)
    probe.run(1)
    assert probe.ask(b"n", 2)[0] == 1


@pytest.mark.parametrize(("order", "pin"), [(b"p", 6), (b"q", 9)])
def test_pwm_is_told_as_a_duty(probe: Lab, order: bytes, pin: int) -> None:
    for duty in (1, 127, 200, 255):
        probe.engine.feed(order + bytes([duty]))
        probe.run(5)
        assert probe.duties(pin)[-1] == duty
    states = len(probe.states(pin))
    probe.run(20)
    assert len(probe.states(pin)) == states, "its edges are not told"
    probe.engine.feed(b"P")
    probe.run(1)
    assert probe.duties(pin)[-1] is None
    assert len(probe.states(pin)) == states + 1, "then the level of its port is"


def test_inverted_pwm_is_the_rest_of_the_duty(probe: Lab) -> None:
    probe.engine.feed(b"r\x40")
    probe.run(5)
    assert probe.duties(3)[-1] == 255 - 0x40


# -- the converter ---------------------------------------------------------------------------


def test_volts_are_converted(probe: Lab) -> None:
    for volts, reading in ((0, 0), (1, 204), (2.5, 512), (4.995, 1022), (5, 1023), (7, 1023), (-1, 0)):
        probe.engine.volts(3, volts)
        assert int.from_bytes(probe.ask(b"3", 2), "little") == reading
    probe.engine.volts(3, 5)
    assert probe.ask(b"2", 2) == b"\0\0", "the other channels are apart"


def test_the_converter_runs_freely(probe: Lab) -> None:
    probe.engine.volts(0, 1.5)
    assert int.from_bytes(probe.ask(b"f", 2), "little") == 307


# -- the serial line -------------------------------------------------------------------------


def test_bytes_come_back(probe: Lab) -> None:
    assert probe.ask(b"\xff\x00ab", 4) == b"\xff\x00ab"


def test_a_byte_takes_its_time_on_the_line(probe: Lab) -> None:
    began = probe.cycle
    probe.ask(b"ABCD", 4)
    arrived = [e.cycle for e in probe.events if isinstance(e, UartEvent)]
    character = 10 * HERTZ / 115_200
    assert arrived[0] - began >= 2 * character
    # simavr always sends a bit of parity too, and a real line is two percent off at this speed.
    assert all(0.95 * character < b - a < 1.2 * character for a, b in pairwise(arrived))


def test_a_burst_is_cut_as_the_real_firmware_cuts_it(probe: Lab) -> None:
    burst = bytes(b"ABCDFGHIJKLMNOQRSTVWXY"[n % 22] for n in range(300))
    probe.engine.feed(b"t" + burst)  # it is busy for 10 ms; its own 64 bytes are full before that
    probe.run(80)
    answer = sent(probe.events)
    assert 200 < len(answer) < len(burst)
    assert answer[:50] == burst[:50]
    assert answer[-50:] == burst[-50:]


def test_what_nobody_reads_is_lost_and_counted(start: Callable[..., Lab]) -> None:
    lab = start("avr8js", code(0xCFFF))
    for _ in range(2):
        lab.engine.feed(bytes(RX_ROOM))
    lab.run(0.001)
    assert getattr(lab.engine, "dropped", 0) > RX_ROOM - 1000


# -- resets, and what ends a program ---------------------------------------------------------


def test_the_button_starts_it_again(probe: Lab) -> None:
    probe.engine.feed(b"h")
    probe.run(1)
    probe.ask(b"m", 1)
    before = probe.cycle
    probe.engine.reset()
    probe.run(1)
    assert probe.states(13) == [PinState.LOW, PinState.HIGH, PinState.INPUT, PinState.LOW]
    assert all(event.cycle >= before for event in probe.events[-2:]), "time does not go back"
    assert probe.ask(b"m", 1) == b"\x02", "it can tell which reset it was"


def test_what_is_outside_survives_a_reset(probe: Lab) -> None:
    probe.engine.level(4, 1)
    probe.engine.volts(1, 2.5)
    probe.engine.feed(b"E\x5a")
    probe.run(10)
    probe.engine.reset()
    probe.run(1)
    assert probe.ask(b"d", 1)[0] & 0x10
    assert int.from_bytes(probe.ask(b"1", 2), "little") == 512
    assert probe.ask(b"e", 1) == b"\x5a"
    assert probe.ask(b"n", 2) == b"\0\0", "and makes no interrupt"


def test_a_pull_up_works_after_a_reset(probe: Lab) -> None:
    probe.engine.feed(b"u")
    probe.run(1)
    probe.engine.reset()
    probe.run(1)
    probe.engine.feed(b"u")
    probe.run(1)
    assert probe.ask(b"d", 1)[0] & 0x10


def test_the_watchdog_restarts_it(probe: Lab) -> None:
    probe.engine.feed(b"hw")
    probe.run(100)
    [restart] = probe.of(Restarted)
    assert "watchdog" in restart.why
    assert probe.states(13) == [PinState.LOW, PinState.HIGH, PinState.INPUT, PinState.LOW]
    assert probe.ask(b"m", 1)[0] & 8
    assert not probe.of(Stopped)


@pytest.mark.parametrize(
    ("order", "why"),
    [
        (b"c", "endless loop with interrupts off at 0x0"),
        (b"s", "sleeps with interrupts off at 0x0"),
        (b"x", ""),
    ],
)
def test_what_can_go_on_no_more_is_told_and_a_reset_helps(probe: Lab, order: bytes, why: str) -> None:
    probe.engine.feed(order)
    probe.run(50)
    [stopped] = probe.of(Stopped)
    assert why in stopped.why
    before = probe.cycle
    assert probe.run(1000) == []
    assert probe.cycle >= before + 1000 * MS, "time goes on meanwhile"
    probe.engine.reset()
    probe.run(1)
    assert probe.ask(b"k", 1) == b"k"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([0x0000, 0xFFFF], "erased flash at 0x0002"),
        ([0x0000, 0x0001], "no such instruction as the one at 0x0002"),
        ([0x940C, 0x5000], "jumped out of the flash, to 0xa000"),
    ],
)
def test_avr8js_says_where_it_went_wrong(start: Callable[..., Lab], words: list[int], why: str) -> None:
    lab = start("avr8js", code(*words))
    lab.run(1)
    [stopped] = lab.of(Stopped)
    assert why in stopped.why


@pytest.mark.parametrize("name", NAMES)
def test_sleep_ends_with_an_interrupt(start: Callable[..., Lab], name: str) -> None:
    lab = start(name)
    lab.run(1)
    lab.engine.feed(b"Z")
    lab.engine.level(2, 1)
    assert sent(lab.run(20)) == b""
    lab.engine.level(2, 0)
    assert sent(lab.run(1)) == b"z"


# -- slices ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_flood_of_edges_comes_in_slices_with_none_missing(start: Callable[..., Lab], name: str) -> None:
    # sbi DDRB,5; sbi PINB,5; rjmp .-4: an edge every four cycles
    lab = start(name, code(0x9A25, 0x9A1D, 0xCFFE))
    cycle, events = lab.engine.run(50 * MS)
    assert cycle < 50 * MS, "a slice ends when there is too much to keep"
    cycles = [event.cycle for event in events]
    while cycle < 10 * MS:
        cycle, events = lab.engine.run(10 * MS)
        cycles += [event.cycle for event in events]
    assert {b - a for a, b in pairwise(cycles[1:])} == {4}


@pytest.mark.parametrize("name", NAMES)
def test_slices_of_any_length_add_up(start: Callable[..., Lab], name: str) -> None:
    whole = start(name, "blink.hex")
    whole.run(500)
    parts = start(name, "blink.hex")
    for n in range(500):
        parts.run(0.5 + n % 2)
    assert [e for e in parts.events if e.cycle < 499 * MS] == [e for e in whole.events if e.cycle < 499 * MS]


def test_wrong_pins_levels_and_channels_are_refused(probe: Lab) -> None:
    for pin, level in ((20, 1), (-1, 0), (3, 2)):
        with pytest.raises(ValueError, match="pins are 0 to 19"):
            probe.engine.level(pin, level)
    with pytest.raises(ValueError, match="channels are 0 to 7"):
        probe.engine.volts(8, 1)


def test_a_closed_engine_says_so(probe: Lab) -> None:
    probe.engine.close()
    probe.engine.close()
    with pytest.raises(EngineError, match="closed"):
        probe.engine.run(probe.cycle + 1)


@pytest.mark.parametrize("name", NAMES)
async def test_it_is_made_and_closed_on_an_event_loop_and_runs_on_a_thread(name: str) -> None:
    needs(name)
    engine = start_engine(code(0x9A25, 0xCFFF), name)
    try:
        assert (await asyncio.to_thread(engine.run, 100)).events[0] == PinEvent(0, 13, PinState.LOW)
    finally:
        engine.close()


# -- finding one -----------------------------------------------------------------------------


def test_the_one_without_system_packages_is_preferred(start: Callable[..., Lab]) -> None:
    needs("avr8js")
    engine = start_engine(code(0xCFFF))
    engine.close()
    assert engine.name == "avr8js"


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {name: (lambda: False, start) for name, (_, start) in engines.ENGINES.items()}
    monkeypatch.setattr(engines, "ENGINES", nothing)
    both = r'pip install "sketchmesh\[avr\]", or apt-get install libsimavr2'
    with pytest.raises(EngineMissingError, match=both):
        start_engine(code(0))
    with pytest.raises(EngineMissingError, match="simavr is not installed; to install it: apt-get"):
        start_engine(code(0), "simavr")
    with pytest.raises(EngineMissingError, match="no engine is called 'qemu'; there are avr8js and simavr"):
        start_engine(code(0), "qemu")


# -- simavr's process ------------------------------------------------------------------------


@pytest.mark.integration
def test_simavr_is_in_a_process_of_its_own_which_ends_with_the_input(start: Callable[..., Lab]) -> None:
    lab = start("simavr")
    assert "simavr" not in Path("/proc/self/maps").read_text() if Path("/proc/self/maps").exists() else True
    assert isinstance(lab.engine, simavr.SimavrEngine)
    process = lab.engine._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0


@pytest.mark.integration
def test_simavr_that_dies_is_an_error_of_the_engine(start: Callable[..., Lab]) -> None:
    lab = start("simavr")
    assert isinstance(lab.engine, simavr.SimavrEngine)
    assert lab.engine._process is not None
    lab.engine._process.send_signal(signal.SIGKILL)
    with pytest.raises(EngineError, match="the process of simavr failed"):
        lab.run(1)


@pytest.mark.integration
def test_simavr_that_hangs_is_an_error_of_the_engine(
    start: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = start("simavr")
    assert isinstance(lab.engine, simavr.SimavrEngine)
    process = lab.engine._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(simavr, "DEADLINE", 0.05)
    with pytest.raises(EngineError, match="no answer for"):
        lab.run(1)
    assert process.poll() is not None, "and it is gone"


@pytest.mark.integration
def test_a_library_that_is_another_is_an_error_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("simavr")
    monkeypatch.setattr(simavr, "find_library", lambda: "libc.so.6")
    with pytest.raises(EngineError, match="the process of simavr failed: AttributeError"):
        simavr.SimavrEngine(code(0xCFFF))


# -- avr8js ----------------------------------------------------------------------------------


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(150)
def test_the_bundle_is_what_the_script_makes_of_the_package(require_tool: RequireTool) -> None:
    require_tool("npm", package="npm")
    root = Path(__file__).resolve().parents[4]
    done = subprocess.run(
        [sys.executable, root / "scripts/bundle_avr8js.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=140,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_timers_that_are_woken_seldom_do_what_they_do_if_woken_for_each_count(
    start: Callable[..., Lab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom = start("avr8js", "timers.hex")
    script = (Path(avr8js.__file__).parent / "js/chip.js").read_text("utf-8")
    assert "return Math.max(least, 1);" in script
    each = tmp_path / "chip.js"
    each.write_text(script.replace("return Math.max(least, 1);", "return 1;"), "utf-8")
    monkeypatch.setattr(avr8js, "SCRIPTS", ("avr8js.js", str(each)))
    often = start("avr8js", "timers.hex")
    assert seldom.run(1000) == often.run(1000)
    for pin, edges in ((4, 976), (8, 300), (7, 122), (13, 5)):
        assert len(seldom.states(pin)) >= edges


def test_a_broken_installation_is_an_error_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("avr8js")

    def fail() -> None:
        raise OSError("libmini_racer.so: cannot open shared object file")

    monkeypatch.setattr(avr8js, "MiniRacer", fail)
    with pytest.raises(EngineError, match="mini-racer cannot start V8 here: libmini_racer"):
        avr8js.Avr8jsEngine(code(0xCFFF))


def test_an_error_in_javascript_is_an_error_of_the_engine(start: Callable[..., Lab]) -> None:
    lab = start("avr8js")
    assert isinstance(lab.engine, avr8js.Avr8jsEngine)
    lab.engine._evaluate("chip.run = () => { throw new Error('broken'); }")
    with pytest.raises(EngineError, match=r"avr8js failed: .*broken"):
        lab.run(1)
