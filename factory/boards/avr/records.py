"""What engines and the simulators behind them say to each other: commands in, records of events out.

Both are rows of 32-bit integers, so that a slice with thousands of events costs little on its way through
shared memory or a pipe:

- A command is ``command * 256 + pin, value``. A simulator obeys all that it is given, then runs.
- A record is ``cycles since the origin of the piece, kind * 256 + pin, value``.

``js/chip.js`` has the same numbers, and so has ``simavr_process``.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from factory.boards.avr.engine import (
    ANALOG_COUNT,
    HERTZ,
    PIN_COUNT,
    DutyEvent,
    Event,
    PinEvent,
    PinState,
    Restarted,
    Slice,
    Stopped,
    UartEvent,
)
from factory.boards.avr.errors import EngineError

# Commands.
LEVEL, VOLTS, FEED, RESET = 1, 2, 3, 4
# Kinds of records.
PIN, DUTY, UART, RESTARTED, STOPPED = 1, 2, 3, 4, 5

# Numbers of the states of a pin.
STATES = (PinState.INPUT, PinState.PULLUP, PinState.LOW, PinState.HIGH)
# Why the firmware stands still; the record's value is the address in bytes.
WHY = {
    1: "there is no such instruction as the one at {address:#06x}",
    2: "it ran into erased flash at {address:#06x}",
    3: "endless loop with interrupts off at {address:#06x}",
    4: "it sleeps with interrupts off at {address:#06x}, so nothing can wake it",
    5: "it jumped out of the flash, to {address:#06x}",
    6: "it used memory that the chip has not, at {address:#06x}",
}
BITTEN = "the watchdog was not reset in time"

COMMAND_ROOM = 16_384  # commands that wait for the next piece
EVENT_ROOM = 16_384  # events after which a slice ends
RX_ROOM = 65_536  # bytes that wait for their turn on the serial line
LONGEST = 2**24  # cycles in one piece, so that it ends soon

# How pieces go through a pipe.
SIZE = struct.Struct("<I")
REQUEST = struct.Struct("<qI")  # until, bytes of commands that follow
ANSWER = struct.Struct("<qqqI")  # cycle, origin, dropped, bytes of records that follow
FAILED = -1  # in place of the cycle: what follows is a text


class Piece(NamedTuple):
    """What a simulator answers.

    Attributes:
        cycle: How far it has come.
        origin: The cycle from which the records count.
        dropped: Bytes for RX for which there was no room, since it was started.
        records: Three integers each.

    """

    cycle: int
    origin: int
    dropped: int
    records: Sequence[int]


def decode(origin: int, records: Sequence[int]) -> list[Event]:
    """Make events of records."""
    events: list[Event] = []
    for at in range(0, len(records), 3):
        since, what, value = records[at : at + 3]
        cycle, kind, pin = origin + since, what >> 8, what & 0xFF
        if kind == PIN:
            events.append(PinEvent(cycle, pin, STATES[value]))
        elif kind == DUTY:
            events.append(DutyEvent(cycle, pin, value if value >= 0 else None))
        elif kind == UART:
            events.append(UartEvent(cycle, bytes((value,))))
        elif kind == RESTARTED:
            events.append(Restarted(cycle, BITTEN))
        elif kind == STOPPED:
            events.append(Stopped(cycle, WHY[pin].format(address=value)))
        else:
            raise EngineError(
                f"the simulator made an event of kind {kind}, which is none; please report this"
            )
    return events


class RecordingEngine(ABC):
    """An engine that sends commands to a simulator and gets records from it.

    Attributes:
        dropped: Bytes that were fed and for which there was no room: 65,536 wait at most.

    """

    name: ClassVar[str]
    hertz: ClassVar[int] = HERTZ

    def __init__(self) -> None:
        self.dropped = 0
        self._cycle = 0
        self._commands = array("i")
        self._events: list[Event] = []

    @abstractmethod
    def _exchange(self, until: int, commands: array[int]) -> Piece:
        """Have the simulator obey the commands and run to a cycle, or for as long as it does at once."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what the engine holds. May be called twice."""

    def run(self, until: int) -> Slice:
        """Run to a cycle, or until there are too many events to keep."""
        self._advance(until)
        while self._cycle < until and len(self._events) < EVENT_ROOM:
            self._advance(until)
        events, self._events = self._events, []
        return Slice(self._cycle, events)

    def level(self, pin: int, level: int | None) -> None:
        """Set what the outside world does to a digital input."""
        if not 0 <= pin < PIN_COUNT or level not in (0, 1, None):
            raise ValueError(f"pins are 0 to {PIN_COUNT - 1} and levels 0, 1 or None, not {pin} and {level}")
        self._command(LEVEL, pin, -1 if level is None else level)

    def volts(self, channel: int, volts: float) -> None:
        """Set the voltage at an input of the ADC."""
        if not 0 <= channel < ANALOG_COUNT:
            raise ValueError(f"channels are 0 to {ANALOG_COUNT - 1}, not {channel}")
        self._command(VOLTS, channel, round(min(max(volts, 0.0), 100.0) * 1e6))

    def feed(self, data: bytes) -> None:
        """Send bytes to RX."""
        for byte in data:
            self._command(FEED, 0, byte)

    def reset(self) -> None:
        """Press the reset button."""
        self._command(RESET, 0, 0)

    def _command(self, command: int, pin: int, value: int) -> None:
        if len(self._commands) >= 2 * COMMAND_ROOM:
            self._advance(self._cycle)  # obeys and does not run
        self._commands.extend((command * 256 + pin, value))

    def _advance(self, until: int) -> None:
        commands, self._commands = self._commands, array("i")
        piece = self._exchange(until, commands)
        self._cycle, self.dropped = piece.cycle, piece.dropped
        self._events += decode(piece.origin, piece.records)
