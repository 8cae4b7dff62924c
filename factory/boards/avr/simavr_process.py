"""simavr in a process of its own: ``python -m factory.boards.avr.simavr_process LIBRARY``.

simavr is GPL, and this program is what is linked with it; ours talks to it through two pipes, and it ends
when its input does. Input: the flash, as a length and its bytes; then requests. Each is answered by a piece
(see ``records``). Before the first one comes an empty piece, which says that all is well; if it is not, a
text comes in place of any piece.
"""

from __future__ import annotations

import os
import sys
import traceback
from array import array
from collections import deque
from collections.abc import Callable
from typing import BinaryIO

from factory.boards.avr.engine import PIN_COUNT
from factory.boards.avr.libsimavr import ALL_DDR, ALL_PORT, ASLEEP, MILLIVOLTS, UART_INPUT, UART_OUTPUT, Chip
from factory.boards.avr.records import (
    ANSWER,
    DUTY,
    EVENT_ROOM,
    FAILED,
    FEED,
    LEVEL,
    LONGEST,
    PIN,
    REQUEST,
    RESET,
    RESTARTED,
    RX_ROOM,
    SIZE,
    STOPPED,
    UART,
    VOLTS,
)
from factory.boards.avr.registers import (
    DOUBLE_SPEED,
    EXTERNAL_RESET,
    MCUSR,
    PORTS,
    POWER_ON_RESET,
    RECEIVED,
    RECEIVER_ON,
    TIMERS,
    UBRR0H,
    UBRR0L,
    UCSR0A,
    UCSR0B,
    WATCHDOG_ENABLED,
    WDTCSR,
    Timer,
    duty,
    port_of,
)

INPUT, PULLUP, LOW, HIGH = range(4)
# Reasons to stand still, as in records.WHY.
ENDLESS, SLEEPS, OUTSIDE, NO_MEMORY = 3, 4, 5, 6
RJMP_SELF = b"\xff\xcf"
FIFO = 3  # two bytes, and a third in the shift register


class Simulator:
    """What simavr does, as records; see ``js/chip.js``, which does the same for avr8js."""

    def __init__(self, library: str, flash: bytes) -> None:
        self._flash = flash
        self._records: list[tuple[int, int, int]] = []  # cycle, what, value
        self._ddr = [0] * len(PORTS)
        self._port = [0] * len(PORTS)
        self._outside: list[int] = [-1] * PIN_COUNT
        self._told = [INPUT] * PIN_COUNT
        self._duties: list[int | None] = [None] * PIN_COUNT
        self._sending: deque[tuple[int, int]] = deque()  # when it has left, byte
        self._line: deque[int] = deque()  # on its way to RX
        self._next_byte = 0
        self._look = 0  # when to look whether the bytes before were read; 0: has looked
        self._behind = False
        self._unread = 0
        self._idle = 0  # cycles that passed while it stood still
        self._stopped = False
        self._bitten = False
        self._pressed = False
        self.dropped = 0
        self._chip = Chip(library, flash, self._on_reset)
        self._chip.write(MCUSR, POWER_ON_RESET)
        self._sources = [[self._chip.source(f"iog{port.letter}", n) for n in range(8)] for port in PORTS]
        self._attach()

    @property
    def cycle(self) -> int:
        """How far it is."""
        return self._chip.cycle + self._idle

    def piece(self, until: int, commands: array[int]) -> tuple[int, array[int]]:
        """Obey, run, and return the origin and the records."""
        origin = self.cycle
        for at in range(0, len(commands), 2):
            self._obey(commands[at] >> 8, commands[at] & 0xFF, commands[at + 1])
        end = min(until, origin + LONGEST)
        while not self._stopped and self.cycle < end and len(self._records) < EVENT_ROOM:
            self._run(end)
        if self._stopped:
            self._idle += max(end - self.cycle, 0)
        now = self.cycle
        while self._sending and self._sending[0][0] <= now:
            left, byte = self._sending.popleft()
            self._records.append((left, UART << 8, byte))
        self._records.sort(key=lambda record: record[0])
        rows = array("i")
        for cycle, what, value in self._records:
            rows.extend((cycle - origin, what, value))
        self._records.clear()
        return origin, rows

    # -- commands ------------------------------------------------------------------------------

    def _obey(self, command: int, pin: int, value: int) -> None:
        if command == LEVEL:
            self._drive(pin, value)
        elif command == VOLTS:
            self._chip.give(self._chip.source("adc ", pin), millivolts(value))
        elif command == FEED:
            if len(self._line) == RX_ROOM:
                self.dropped += 1
            else:
                self._line.append(value)
        elif command == RESET:
            self._pressed = True
            self._chip.reset()
            self._pressed = False
            self._chip.write(MCUSR, EXTERNAL_RESET)
            self._stopped = False

    def _drive(self, pin: int, level: int) -> None:
        self._outside[pin] = level
        number = port_of(pin)
        port = PORTS[number]
        driven = [n for n in range(port.pins) if self._outside[port.first + n] >= 0]
        mask = sum(1 << n for n in driven)
        self._chip.hold(port.letter, mask, sum(self._outside[port.first + n] << n for n in driven))
        bit = 1 << (pin - port.first)
        if self._ddr[number] & bit:
            return  # the chip wins; simavr takes the level when the pin becomes an input
        if level >= 0:
            self._chip.give(self._sources[number][pin - port.first], level)
        elif self._port[number] & bit:
            self._chip.give(self._sources[number][pin - port.first], 1)

    # -- running -------------------------------------------------------------------------------

    def _run(self, end: int) -> None:
        if self._line:
            end = min(end, self._pump())
        state = self._chip.run(end - self._idle)
        if self._bitten:
            # As the boot loader of an Uno leaves it: simavr starts the watchdog again, as a bare chip does.
            self._bitten = False
            self._chip.write(WDTCSR, 0)
        elif state is not None:
            self._explain(state)
        elif self._is_stuck():
            self._stop(ENDLESS, self._chip.address)

    def _is_stuck(self) -> bool:
        at = self._chip.address
        return (
            self._flash[at : at + 2] == RJMP_SELF
            and not self._chip.interrupts_on
            and not self._chip.read(WDTCSR) & WATCHDOG_ENABLED
        )

    def _explain(self, state: int) -> None:
        at = self._chip.address
        if state == ASLEEP:
            self._stop(SLEEPS, at - 2)
        elif at == 0:  # where simavr goes when it has come to the end
            self._stop(OUTSIDE, 0x8000)
        else:
            self._stop(NO_MEMORY, at)

    def _stop(self, why: int, address: int) -> None:
        self._record(STOPPED, why, address)
        self._stopped = True

    def _pump(self) -> int:
        """Do what is due on the line, and return when there is more to do."""
        # simavr keeps 64 bytes where the chip keeps two. In the middle of a byte those before it should have
        # been read; at its end the next one has just come, so then there is nothing to see.
        if self._look and self.cycle >= self._look:
            self._look = 0
            self._behind = self._chip.read(UCSR0A) & RECEIVED != 0
        if self.cycle >= self._next_byte:
            self._receive(self._line.popleft())
        return self._look or self._next_byte

    def _receive(self, byte: int) -> None:
        character = self._character()
        self._next_byte = self.cycle + character
        self._look = self.cycle + character // 2
        if not self._chip.read(UCSR0B) & RECEIVER_ON:
            return
        self._unread = self._unread + 1 if self._behind else 0
        if self._unread < FIFO:
            self._chip.give(self._chip.source("uar0", UART_INPUT), byte)

    def _character(self) -> int:
        """Return how many cycles a character takes; simavr always counts a bit of parity."""
        divisor = self._chip.read(UBRR0L) | self._chip.read(UBRR0H) << 8
        return (divisor + 1) * (8 if self._chip.read(UCSR0A) & DOUBLE_SPEED else 16) * 11

    # -- what simavr calls -----------------------------------------------------------------------

    def _attach(self) -> None:
        for number, port in enumerate(PORTS):
            name = f"iog{port.letter}"
            self._chip.listen(self._chip.source(name, ALL_DDR), self._setter(self._ddr, number))
            self._chip.listen(self._chip.source(name, ALL_PORT), self._setter(self._port, number))
        for timer in TIMERS:
            for address in timer.registers():
                self._chip.listen(self._chip.register(address), self._refresher(timer))
        self._chip.listen(self._chip.source("uar0", UART_OUTPUT), self._send)

    def _setter(self, registers: list[int], number: int) -> Callable[[int], None]:
        def heard(value: int) -> None:
            changed = registers[number] ^ value
            registers[number] = value
            port = PORTS[number]
            for index in range(port.pins):
                if changed >> index & 1:
                    self._tell(port.first + index)
            if changed and registers is self._ddr:
                for timer in TIMERS:
                    self._refresh(timer)

        return heard

    def _refresher(self, timer: Timer) -> Callable[[int], None]:
        return lambda _: self._refresh(timer)

    def _refresh(self, timer: Timer) -> None:
        for output, pin in enumerate(timer.pins):
            number = port_of(pin)
            driven = self._ddr[number] >> (pin - PORTS[number].first) & 1
            found = duty(timer, output, self._chip.read) if driven else None
            if found == self._duties[pin]:
                continue
            self._duties[pin] = found
            self._record(DUTY, pin, -1 if found is None else found)
            if found is None:
                self._told[pin] = -1
                self._tell(pin)

    def _tell(self, pin: int) -> None:
        if self._duties[pin] is not None:
            return
        number = port_of(pin)
        index = pin - PORTS[number].first
        high = self._port[number] >> index & 1
        state = (LOW + high) if self._ddr[number] >> index & 1 else INPUT + high
        if state != self._told[pin]:
            self._told[pin] = state
            self._record(PIN, pin, state)

    def _send(self, byte: int) -> None:
        begins = max(self.cycle, self._sending[-1][0] if self._sending else 0)
        self._sending.append((begins + self._character(), byte))

    def _record(self, kind: int, pin: int, value: int) -> None:
        self._records.append((self.cycle, kind << 8 | pin, value))
        if len(self._records) >= EVENT_ROOM:
            self._chip.interrupt()

    def _on_reset(self) -> None:
        if not self._pressed:
            self._bitten = True
            self._record(RESTARTED, 0, 0)
            self._chip.interrupt()
        while self._sending:
            left, byte = self._sending.popleft()
            if left <= self.cycle:
                self._records.append((left, UART << 8, byte))
        self._unread = self._look = 0
        self._behind = False
        for number, port in enumerate(PORTS):
            self._ddr[number] = self._port[number] = 0
            levels = [max(self._outside[port.first + n], 0) for n in range(port.pins)]
            # All registers are zero now, and what was raised before would not be raised again.
            self._chip.write(port.pin, sum(level << n for n, level in enumerate(levels)))
            for source, level in zip(self._sources[number], levels, strict=False):
                self._chip.forget(source, level)
        for timer in TIMERS:
            self._refresh(timer)
        for pin in range(PIN_COUNT):
            self._tell(pin)


def millivolts(microvolts: int) -> int:
    """Return what to tell simavr, which scales by 1023, so that it reads what the chip reads, which has 1024.

    The reading is right with the supply as the reference, and nearly with the one of 1.1 V.
    """
    reading = microvolts * 1024 // (MILLIVOLTS * 1000)
    lowest, beyond = (-(-steps * MILLIVOLTS // 1023) for steps in (reading, reading + 1))
    return min(max(-(-microvolts * 1024 // 1_023_000), lowest), beyond - 1)


def serve(library: str, requests: BinaryIO, answers: BinaryIO) -> None:
    """Simulate for as long as there are requests."""

    def answer(cycle: int, origin: int, dropped: int, payload: bytes) -> None:
        answers.write(ANSWER.pack(cycle, origin, dropped, len(payload)) + payload)
        answers.flush()

    try:
        (size,) = SIZE.unpack(requests.read(SIZE.size))
        simulator = Simulator(library, requests.read(size))
        answer(0, 0, 0, b"")
        while len(head := requests.read(REQUEST.size)) == REQUEST.size:
            until, size = REQUEST.unpack(head)
            commands = array("i")
            commands.frombytes(requests.read(size))
            origin, records = simulator.piece(until, commands)
            answer(simulator.cycle, origin, simulator.dropped, records.tobytes())
    except (OSError, RuntimeError, AttributeError) as exc:
        answer(FAILED, 0, 0, f"{type(exc).__name__}: {exc}".encode())
    except Exception:
        answer(FAILED, 0, 0, traceback.format_exc().encode())


def main() -> None:
    """Keep the pipe for answers to ourselves: the library prints where it likes."""
    # What goes wrong inside a callback cannot be raised through the library.
    sys.unraisablehook = lambda failure: (traceback.print_exception(failure.exc_value), os._exit(70))[1]
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        serve(sys.argv[1], sys.stdin.buffer, answers)
    except BrokenPipeError:
        os._exit(0)  # nobody wants the answer any more


if __name__ == "__main__":
    main()
