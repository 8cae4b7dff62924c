"""The library simavr 1.6, bound with ctypes; for ``simavr_process`` only: it is GPL, and no part of ours.

What its interface does not give is found without knowing the layout of its structures, which differ between
builds: ``Chip`` runs a few known instructions first, and looks where in memory the counts of cycles, the
program counter and the flags turn up.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import (
    CFUNCTYPE,
    POINTER,
    c_char_p,
    c_int,
    c_size_t,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)

from factory.boards.avr.engine import HERTZ

NOTIFY = CFUNCTYPE(None, c_void_p, c_uint32, c_void_p)
TIMER = CFUNCTYPE(c_uint64, c_void_p, c_uint64, c_void_p)
RESET = CFUNCTYPE(None, c_void_p)

FLASH_BYTES = 32_768
MILLIVOLTS = 5_000
SEARCHED = 512  # bytes of its structure, in which all that we look for stands
FREQUENCY_OFFSET = 64  # in elf_firmware_t: frequency and three voltages, behind a name of 64 bytes
IRQ_VALUE_OFFSET = 20  # in avr_irq_t: two pointers and a number stand before

NOP, BSET = 0x0000, 0x9408
# Indices of what a port, the UART and the converter raise.
ALL_DDR, ALL_PORT = 9, 10
UART_INPUT, UART_OUTPUT = 0, 1
REGISTER_WRITTEN = 8
FILTERED = 2  # a flag: say nothing if the value is the same
STOPPED_STATES = (1, 6, 7)  # stopped, done, crashed
ASLEEP = 6  # done: asleep with interrupts off


def tag(text: str) -> int:
    """Return the number that simavr makes of four characters."""
    return int.from_bytes(text.encode("ascii"), "big")


class _Module(ctypes.Structure):
    """A module of simavr; ours only wants to know of resets."""

    _fields_ = (
        ("next", c_void_p),
        ("avr", c_void_p),
        ("kind", c_char_p),
        ("irq_names", c_void_p),
        ("irq_ioctl_get", c_uint32),
        ("irq_count", c_int),
        ("irq", c_void_p),
        ("reset", RESET),
        ("ioctl", c_void_p),
        ("dealloc", c_void_p),
    )


class Chip:
    """An ATmega328P in simavr.

    Args:
        library: The name of the library.
        flash: What is in its flash; the rest is erased.
        on_reset: Called at each reset, while the registers are zero.

    Raises:
        OSError: The library cannot be loaded.
        RuntimeError: It does not behave as simavr 1.6 does.

    """

    def __init__(self, library: str, flash: bytes, on_reset: Callable[[], None]) -> None:
        self._lib = _load(library)
        libc = ctypes.CDLL(None)
        # Silence: it would write for each unknown instruction.
        self._lib.avr_global_logger_set(ctypes.cast(libc.labs, c_void_p))
        self._avr = self._lib.avr_make_mcu_by_name(b"atmega328p")
        if not self._avr:
            raise RuntimeError(f"{library} does not know the ATmega328P")
        self._lib.avr_init(self._avr)
        self._set_supply()
        self._find_out(flash)
        # Or it would sleep for real whenever the firmware does.
        self._replace_pointer(self._lib.avr_callback_sleep_raw, libc.labs)
        for interrupt in (0, 1):
            # Else it looks at the pin in every cycle while it is low.
            self._lib.avr_extint_set_strict_lvl_trig(self._avr, interrupt, 0)
        self._lib.avr_ioctl(self._avr, tag("uas0"), ctypes.byref(c_uint32(0)))  # no waiting, no printing
        self._kept: list[object] = []
        self._module = _Module(kind=b"sketchmesh", reset=RESET(lambda _: on_reset()))
        # simavr's own search loop is the inner loop of ours: it runs one instruction per "comparison".
        self._loop = libc.lfind
        self._loop.argtypes = [c_void_p, c_void_p, POINTER(c_size_t), c_size_t, c_void_p]
        self._step = ctypes.cast(self._lib.avr_run, c_void_p)
        self._left = c_size_t(0)
        self._alarm = TIMER(self._ring)
        self._lib.avr_register_io(self._avr, ctypes.byref(self._module))

    # -- running -------------------------------------------------------------------------------

    @property
    def cycle(self) -> int:
        """How many cycles there have been."""
        return self._cycle.value - self._started

    @property
    def address(self) -> int:
        """Where it is in the flash, in bytes."""
        return self._counter.value

    @property
    def interrupts_on(self) -> bool:
        """Whether interrupts are allowed."""
        return self._flags[7] != 0

    def run(self, until: int) -> int | None:
        """Run to a cycle, to a reset or until ``interrupt`` is called.

        Returns:
            The state in which it has stopped for good, if it has.

        """
        while (distance := until - self.cycle) > 0:
            before = self.cycle
            # No instruction takes less than one cycle, so this many are enough, and an end in any case.
            self._left.value = distance + 1
            self._interrupted = False
            self._lib.avr_cycle_timer_register(self._avr, distance, self._alarm, None)
            self._loop(self._avr, None, ctypes.byref(self._left), 0, self._step)
            self._lib.avr_cycle_timer_cancel(self._avr, self._alarm, None)
            if self._interrupted:
                return None
            if self.cycle == before:
                state = int(self._lib.avr_run(self._avr))
                return state if state in STOPPED_STATES else None
        return None

    def interrupt(self) -> None:
        """Have ``run`` end after this instruction."""
        self._left.value = 0
        self._interrupted = True

    def reset(self) -> None:
        """Press the button."""
        self._lib.avr_reset(self._avr)

    # -- registers, pins and other modules -------------------------------------------------------

    def read(self, address: int) -> int:
        """Return what is in a register, without side effects."""
        return int(self._lib.avr_core_watch_read(self._avr, address))

    def write(self, address: int, value: int) -> None:
        """Set a register, without side effects."""
        self._lib.avr_core_watch_write(self._avr, address, value)

    def source(self, what: str, index: int) -> int:
        """Return what raises, or takes, a value: ``iogB`` are the pins of port B, ``uar0`` is the UART."""
        return int(self._lib.avr_io_getirq(self._avr, tag(what), index))

    def register(self, address: int) -> int:
        """Return what raises the value that the firmware writes to a register."""
        return int(self._lib.avr_iomem_getirq(self._avr, address, None, REGISTER_WRITTEN))

    def listen(self, source: int, heard: Callable[[int], None]) -> None:
        """Have each value heard, the same one again as well."""
        callback = NOTIFY(lambda _, value, __: heard(value))
        self._kept.append(callback)
        self._lib.avr_irq_set_flags(source, self._lib.avr_irq_get_flags(source) & ~FILTERED)
        self._lib.avr_irq_register_notify(source, callback, None)

    def give(self, source: int, value: int) -> None:
        """Raise a value."""
        self._lib.avr_raise_irq(source, value)

    def forget(self, source: int, value: int) -> None:
        """Make believe that a value was the last one raised, without raising it."""
        c_uint32.from_address(source + IRQ_VALUE_OFFSET).value = value

    def hold(self, letter: str, mask: int, value: int) -> None:
        """Tell a port which of its pins are driven from outside, and to what."""
        self._lib.avr_ioctl(
            self._avr, tag(f"iop{letter}"), ctypes.byref(c_uint64(mask << 7 | (value & mask) << 15))
        )

    # -- making --------------------------------------------------------------------------------

    def _ring(self, avr: int, when: int, param: object) -> int:
        self._left.value = 0
        return 0

    def _set_supply(self) -> None:
        firmware = ctypes.create_string_buffer(16_384)  # larger than its structure, and all zero
        values = (c_uint32 * 4)(HERTZ, MILLIVOLTS, MILLIVOLTS, MILLIVOLTS)
        ctypes.memmove(ctypes.addressof(firmware) + FREQUENCY_OFFSET, values, ctypes.sizeof(values))
        self._lib.avr_load_firmware(self._avr, firmware)

    def _find_out(self, flash: bytes) -> None:
        steps = [NOP] * 16 + [BSET | flag << 4 for flag in range(8)]
        self._load(b"".join(word.to_bytes(2, "little") for word in steps))
        seen = []
        for count in range(1, 12):
            self._lib.avr_run(self._avr)
            seen.append((count, self._snapshot()))
        self._cycle = c_uint64.from_address(self._avr + _place(seen, 8, 1, "cycles"))
        self._counter = c_uint32.from_address(self._avr + _place(seen, 4, 2, "program counter"))
        while self._counter.value < 2 * len(steps):
            self._lib.avr_run(self._avr)
        flags = self._snapshot().find(b"\x01" * 8)
        if flags < 0 or seen[-1][1][flags : flags + 8] != b"\0" * 8:
            raise RuntimeError("this simavr keeps its flags where they cannot be found")
        self._flags = (c_uint8 * 8).from_address(self._avr + flags)
        self._lib.avr_reset(self._avr)
        self._load(flash.ljust(FLASH_BYTES, b"\xff"))
        self._started = self._cycle.value

    def _load(self, flash: bytes) -> None:
        self._lib.avr_loadcode(self._avr, flash, len(flash), 0)

    def _snapshot(self) -> bytes:
        return ctypes.string_at(self._avr, SEARCHED)

    def _replace_pointer(self, old: object, new: object) -> None:
        before = ctypes.cast(old, c_void_p).value  # type: ignore[arg-type]
        for offset in range(0, SEARCHED, ctypes.sizeof(c_void_p)):
            place = c_void_p.from_address(self._avr + offset)
            if place.value == before:
                place.value = ctypes.cast(new, c_void_p).value  # type: ignore[arg-type]
                return
        raise RuntimeError("this simavr keeps its way to sleep where it cannot be found")


def _place(seen: list[tuple[int, bytes]], size: int, factor: int, what: str) -> int:
    """Return the one offset at which there was each time that many, or twice."""
    places = [
        at
        for at in range(0, SEARCHED - size + 1, 4)
        if all(int.from_bytes(memory[at : at + size], "little") == count * factor for count, memory in seen)
    ]
    if len(places) != 1:
        raise RuntimeError(f"this simavr keeps its {what} where it cannot be found")
    return places[0]


def _load(library: str) -> ctypes.CDLL:
    lib = ctypes.CDLL(library)
    prototypes: dict[str, tuple[object, list[object]]] = {
        "avr_make_mcu_by_name": (c_void_p, [c_char_p]),
        "avr_init": (c_int, [c_void_p]),
        "avr_reset": (None, [c_void_p]),
        "avr_run": (c_int, [c_void_p]),
        "avr_loadcode": (None, [c_void_p, c_char_p, c_uint32, c_uint32]),
        "avr_load_firmware": (None, [c_void_p, c_void_p]),
        "avr_global_logger_set": (None, [c_void_p]),
        "avr_callback_sleep_raw": (None, [c_void_p, c_uint64]),
        "avr_register_io": (None, [c_void_p, c_void_p]),
        "avr_ioctl": (c_int, [c_void_p, c_uint32, c_void_p]),
        "avr_io_getirq": (c_void_p, [c_void_p, c_uint32, c_int]),
        "avr_iomem_getirq": (c_void_p, [c_void_p, c_uint16, c_char_p, c_int]),
        "avr_irq_get_flags": (c_uint8, [c_void_p]),
        "avr_irq_set_flags": (None, [c_void_p, c_uint8]),
        "avr_irq_register_notify": (None, [c_void_p, NOTIFY, c_void_p]),
        "avr_raise_irq": (None, [c_void_p, c_uint32]),
        "avr_core_watch_read": (c_uint8, [c_void_p, c_uint16]),
        "avr_core_watch_write": (None, [c_void_p, c_uint16, c_uint8]),
        "avr_cycle_timer_register": (None, [c_void_p, c_uint64, TIMER, c_void_p]),
        "avr_cycle_timer_cancel": (None, [c_void_p, TIMER, c_void_p]),
        "avr_extint_set_strict_lvl_trig": (None, [c_void_p, c_uint8, c_uint8]),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib
