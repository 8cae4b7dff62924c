"""What every simulator of the chip does: the contract between the engines and the board that uses them.

Rules:

- Time is counted in clock cycles of the chip since the engine was made. They never go back, not over
  a reset either.
- An engine belongs to one thread. Its calls block; none of them knows what time it is outside.
- Between two calls of ``run`` the world stands still, so what is set there counts from that very cycle on.
- Pins have Arduino's numbers: 0 to 13 are digital, 14 to 19 are A0 to A5.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol

HERTZ = 16_000_000
PIN_COUNT = 20
ANALOG_COUNT = 8
PWM_PINS = (3, 5, 6, 9, 10, 11)


class PinState(Enum):
    """What the chip does to a pin, by its direction and port registers."""

    INPUT = "input"
    PULLUP = "pullup"
    LOW = "low"
    HIGH = "high"


class PinEvent(NamedTuple):
    """The chip does something else to a pin."""

    cycle: int
    pin: int
    state: PinState


class DutyEvent(NamedTuple):
    """A timer makes PWM on a pin (3, 5, 6, 9, 10 or 11), 0 to 255; ``None``: it does so no longer.

    While it does nothing is said of the pin's state; one follows when it ends.
    """

    cycle: int
    pin: int
    duty: int | None


class UartEvent(NamedTuple):
    """What the firmware has sent; the cycle at which the last of it left the shift register."""

    cycle: int
    data: bytes


class Stopped(NamedTuple):
    """The firmware stands still for good: it crashed, or waits for what cannot come. Only a reset helps."""

    cycle: int
    why: str


class Restarted(NamedTuple):
    """The chip was reset from inside, by its watchdog."""

    cycle: int
    why: str


Event = PinEvent | DutyEvent | UartEvent | Stopped | Restarted


class Slice(NamedTuple):
    """What happened while an engine ran; events in order of their cycles."""

    cycle: int
    events: list[Event]


class Engine(Protocol):
    """A chip with firmware in it."""

    @property
    def name(self) -> str:
        """What simulates it: ``avr8js`` or ``simavr``."""

    @property
    def hertz(self) -> int:
        """Cycles a second."""

    def run(self, until: int) -> Slice:
        """Run to a cycle, or a little beyond.

        Lets go of the interpreter's lock as far as it can. Ends before that cycle when more has happened
        than is kept (the slice says how far it came; call it again), but never later than its bound in
        instructions: a crash or an endless loop does not hold it up. While the firmware is stopped the
        cycles go on.

        Raises:
            EngineError: The simulator itself failed. Only ``close`` may follow.

        """

    def level(self, pin: int, level: int | None) -> None:
        """Set what the outside world does to a digital input: 0, 1, or ``None`` if nothing drives it.

        Then a pull-up makes it 1, else it keeps what it was.
        """

    def volts(self, channel: int, volts: float) -> None:
        """Set the voltage at an input of the ADC, 0 to 7."""

    def feed(self, data: bytes) -> None:
        """Send bytes to RX, one after the other at the baud rate that the firmware has set.

        Nobody waits for the firmware to read: as in the chip, two bytes are kept and what comes
        then is lost.
        """

    def reset(self) -> None:
        """Press the reset button. Inputs, voltages and the EEPROM stay as they are."""

    def close(self) -> None:
        """Let go of what the engine holds. May be called twice."""
