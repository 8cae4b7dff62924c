"""The parts of engines that need no simulator: records, registers, and what simavr is told."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factory.boards.avr.engine import (
    DutyEvent,
    Event,
    PinEvent,
    PinState,
    Restarted,
    Stopped,
    UartEvent,
)
from factory.boards.avr.errors import EngineError
from factory.boards.avr.records import (
    COMMAND_ROOM,
    DUTY,
    EVENT_ROOM,
    LEVEL,
    PIN,
    RESET,
    RESTARTED,
    STOPPED,
    UART,
    WHY,
    Piece,
    RecordingEngine,
    decode,
)
from factory.boards.avr.registers import PORTS, TIMERS, Timer, duty, port_of
from factory.boards.avr.simavr_process import millivolts

# On a busy machine anything may take long.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Recorder(RecordingEngine):
    """An engine whose simulator does nothing but tell what it was told."""

    name = "recorder"

    def __init__(self, pieces: list[Piece] | None = None) -> None:
        super().__init__()
        self.asked: list[tuple[int, list[int]]] = []
        self.pieces = pieces or []

    def _exchange(self, until: int, commands: array[int]) -> Piece:
        self.asked.append((until, commands.tolist()))
        return self.pieces.pop(0) if self.pieces else Piece(until, self._cycle, 0, [])

    def close(self) -> None:
        pass


# -- records ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "event"),
    [
        ((5, PIN << 8 | 13, 3), PinEvent(1005, 13, PinState.HIGH)),
        ((0, PIN << 8 | 0, 1), PinEvent(1000, 0, PinState.PULLUP)),
        ((1, DUTY << 8 | 9, 127), DutyEvent(1001, 9, 127)),
        ((1, DUTY << 8 | 9, -1), DutyEvent(1001, 9, None)),
        ((2, UART << 8, 0xFF), UartEvent(1002, b"\xff")),
        ((3, RESTARTED << 8, 0), Restarted(1003, "the watchdog was not reset in time")),
        ((4, STOPPED << 8 | 3, 0x8C), Stopped(1004, "endless loop with interrupts off at 0x008c")),
    ],
)
def test_a_record_is_an_event(record: tuple[int, int, int], event: Event) -> None:
    assert decode(1000, record) == [event]


@pytest.mark.parametrize("why", WHY)
def test_each_reason_has_its_address(why: int) -> None:
    [event] = decode(0, (0, STOPPED << 8 | why, 0x1234))
    assert isinstance(event, Stopped)
    assert "0x1234" in event.why


def test_an_unknown_record_is_an_error() -> None:
    with pytest.raises(EngineError, match="an event of kind 9, which is none"):
        decode(0, (0, 9 << 8, 0))


def test_commands_go_in_their_order_with_the_next_piece() -> None:
    engine = Recorder()
    engine.level(2, 0)
    engine.level(2, None)
    engine.reset()
    engine.run(10)
    engine.run(20)
    assert engine.asked == [(10, [LEVEL << 8 | 2, 0, LEVEL << 8 | 2, -1, RESET << 8, 0]), (20, [])]


def test_more_commands_than_there_is_room_for_go_before_and_nothing_is_run() -> None:
    told = Piece(0, 0, 7, [0, PIN << 8 | 13, 2])
    engine = Recorder([told])
    engine.feed(bytes(COMMAND_ROOM + 1))
    assert [(until, len(commands)) for until, commands in engine.asked] == [(0, 2 * COMMAND_ROOM)]
    assert engine.dropped == 7
    assert engine.run(5).events == [PinEvent(0, 13, PinState.LOW)], "what happened then is not lost"


def test_a_slice_is_made_of_as_many_pieces_as_it_takes() -> None:
    engine = Recorder([Piece(4, 0, 0, []), Piece(8, 4, 0, [1, PIN << 8 | 13, 2])])
    assert engine.run(10) == (10, [PinEvent(5, 13, PinState.LOW)])
    assert [until for until, _ in engine.asked] == [10, 10, 10]


def test_a_slice_ends_when_there_is_too_much_to_keep() -> None:
    engine = Recorder([Piece(4, 0, 0, [1, PIN << 8 | 13, 2] * EVENT_ROOM)])
    cycle, events = engine.run(10)
    assert (cycle, len(events)) == (4, EVENT_ROOM)


# -- registers -------------------------------------------------------------------------------


def test_each_arduino_pin_is_in_its_port() -> None:
    assert [PORTS[port_of(pin)].letter for pin in range(20)] == [*"DDDDDDDD", *"BBBBBB", *"CCCCCC"]
    assert all(0 <= pin - PORTS[port_of(pin)].first < PORTS[port_of(pin)].pins for pin in range(20))


NARROW, WIDE, _ = TIMERS


@pytest.mark.parametrize(
    ("timer", "registers", "expected"),
    [
        (NARROW, {"tccra": 0x83, "tccrb": 3, "ocra": 0}, 0),
        (NARROW, {"tccra": 0x83, "tccrb": 3, "ocra": 128}, 128),
        (NARROW, {"tccra": 0xC3, "tccrb": 3, "ocra": 128}, 127),
        (NARROW, {"tccra": 0x81, "tccrb": 1, "ocra": 255}, 255),
        (NARROW, {"tccra": 0x83, "tccrb": 0, "ocra": 128}, None),  # it has no clock
        (NARROW, {"tccra": 0x82, "tccrb": 3, "ocra": 128}, None),  # it clears, and makes no PWM
        (NARROW, {"tccra": 0x43, "tccrb": 3, "ocra": 128}, None),  # it toggles
        (NARROW, {"tccra": 0x03, "tccrb": 3, "ocra": 128}, None),  # the output is not connected
        (WIDE, {"tccra": 0x81, "tccrb": 3, "ocra": 64}, 64),
        (WIDE, {"tccra": 0x82, "tccrb": 0x1A, "ocra": 20_000, "icr": 40_000}, 128),
        (WIDE, {"tccra": 0x82, "tccrb": 0x12, "ocra": 50_000, "icr": 40_000}, 255),
        (WIDE, {"tccra": 0x80, "tccrb": 0x12, "ocra": 0, "icr": 0}, 0),
    ],
)
def test_the_duty_is_in_the_registers(timer: Timer, registers: dict[str, int], expected: int | None) -> None:
    memory: dict[int, int] = {}
    for name, value in registers.items():
        address = getattr(timer, name)
        memory[address] = value & 0xFF
        if name in ("ocra", "icr") and timer.wide:
            memory[address + 1] = value >> 8
    assert duty(timer, 0, lambda address: memory.get(address, 0)) == expected


def test_the_other_output_has_its_own_duty() -> None:
    memory = {NARROW.tccra: 0x33, NARROW.tccrb: 0x0B, NARROW.ocra: 99, NARROW.ocrb: 49}
    read = memory.__getitem__
    assert duty(NARROW, 0, read) is None
    assert duty(NARROW, 1, read) == 255 - round(49 * 255 / 99)


# -- simavr ----------------------------------------------------------------------------------


@unhurried
@given(st.integers(0, 5_500_000))
def test_simavr_reads_what_the_chip_reads(microvolts: int) -> None:
    told = millivolts(microvolts)
    assert told * 1023 // 5000 == microvolts * 1024 // 5_000_000
    assert abs(told - microvolts / 1000) < 7
