"""Where the registers of an ATmega328P are, and what those of its timers mean for its pins."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Port(NamedTuple):
    """Eight pins at most: the registers' addresses, and Arduino's number of its lowest pin."""

    letter: str
    pin: int
    ddr: int
    port: int
    first: int
    pins: int


PORTS = (
    Port("B", pin=0x23, ddr=0x24, port=0x25, first=8, pins=6),
    Port("C", pin=0x26, ddr=0x27, port=0x28, first=14, pins=6),
    Port("D", pin=0x29, ddr=0x2A, port=0x2B, first=0, pins=8),
)


class Timer(NamedTuple):
    """One timer: the registers' addresses, and Arduino's numbers of the pins at its two outputs."""

    tccra: int
    tccrb: int
    ocra: int
    ocrb: int
    icr: int
    wide: bool
    pins: tuple[int, int]

    def registers(self) -> list[int]:
        """Return the addresses of which the duty depends; of wide ones the low byte, written last."""
        return [self.tccra, self.tccrb, self.ocra, self.ocrb, *([self.icr] if self.wide else [])]


TIMERS = (
    Timer(tccra=0x44, tccrb=0x45, ocra=0x47, ocrb=0x48, icr=0, wide=False, pins=(6, 5)),
    Timer(tccra=0x80, tccrb=0x81, ocra=0x88, ocrb=0x8A, icr=0x86, wide=True, pins=(9, 10)),
    Timer(tccra=0xB0, tccrb=0xB1, ocra=0xB3, ocrb=0xB4, icr=0, wide=False, pins=(11, 3)),
)

MCUSR, WDTCSR = 0x54, 0x60
UCSR0A, UCSR0B, UBRR0L, UBRR0H = 0xC0, 0xC1, 0xC4, 0xC5
POWER_ON_RESET, EXTERNAL_RESET, WATCHDOG_ENABLED = 0x01, 0x02, 0x08
RECEIVED, DOUBLE_SPEED, RECEIVER_ON = 0x80, 0x02, 0x10

# By the timer's mode of waveform generation: whether it makes PWM, and the fixed ends of its count.
PWM_NARROW = frozenset({1, 3, 5, 7})
PWM_WIDE = frozenset({1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 14, 15})
TOPS_WIDE = {1: 0xFF, 2: 0x1FF, 3: 0x3FF, 5: 0xFF, 6: 0x1FF, 7: 0x3FF}


def port_of(pin: int) -> int:
    """Return the index in ``PORTS`` of an Arduino pin."""
    return 2 if pin < 8 else 0 if pin < 14 else 1


def duty(timer: Timer, output: int, read: Callable[[int], int]) -> int | None:
    """Return the duty, 0 to 255, that a timer's registers make at an output; ``None`` if it makes no PWM.

    Args:
        timer: The timer.
        output: 0 for its output A, 1 for B.
        read: Reads a register.

    """

    def value(address: int) -> int:
        return read(address) | (read(address + 1) << 8 if timer.wide else 0)

    control, clock = read(timer.tccra), read(timer.tccrb)
    compare = control >> (4 if output else 6) & 3
    mode = control & 3 | (clock & (0x18 if timer.wide else 0x08)) >> 1
    if compare < 2 or not clock & 7 or mode not in (PWM_WIDE if timer.wide else PWM_NARROW):
        return None
    if timer.wide:
        top = TOPS_WIDE.get(mode) or value(timer.ocra if mode & 1 else timer.icr)
    else:
        top = value(timer.ocra) if mode > 3 else 0xFF
    level = min(value(timer.ocrb if output else timer.ocra), top)
    share = (level * 510 + top) // (2 * top) if top else 0
    return 255 - share if compare == 3 else share
