"""A board whose pins are set by firmware: what the chip does reaches the nets, and the nets reach the chip.

Rules:

- The firmware alone sets modes and writes outputs; it owns every pin that it drives, and nobody
  takes one from it. What is outside drives inputs, voltages and the UART.
- What the chip does comes a slice at a time, and happens on the bench when the bench gets there.
  Each edge has the stamp of its cycle.
- What shall happen to the chip waits in ``inputs()`` for whoever runs the engine, until the chip
  sees it. This module never calls an engine, so that it does not matter in which thread it lives.
- Firmware that stands still goes on driving its pins as it did, like the real one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple, NoReturn

from factory.boards.avr.engine import (
    DutyEvent,
    Engine,
    Event,
    PinEvent,
    PinState,
    Restarted,
    Slice,
    Stopped,
    UartEvent,
)
from factory.boards.avr.pacing import Pacer
from factory.boards.avr.signals import PinReader
from factory.boards.avr.uart import Inbox
from factory.boards.bench import Bench, Source
from factory.boards.edges import DEFAULT_LIMIT
from factory.boards.errors import BoardLostError, PinModeError
from factory.boards.modes import Mode, Signal
from factory.boards.profiles import UNO, PinSpec, Profile
from factory.boards.simulated import OUTPUT_OHMS, SimBoard, SimPin

MOST_INPUTS = 4096
"""Changes of inputs that wait for a slice; beyond that only the latest of each pin is kept."""

_MODES: Mapping[PinState, Mode] = {
    PinState.INPUT: Mode.INPUT,
    PinState.PULLUP: Mode.INPUT_PULLUP,
    PinState.LOW: Mode.OUTPUT,
    PinState.HIGH: Mode.OUTPUT,
}


class SetLevel(NamedTuple):
    """Something else drives a digital input."""

    pin: int
    level: int | None

    def apply(self, engine: Engine) -> None:
        """Tell the engine."""
        engine.level(self.pin, self.level)


class SetVolts(NamedTuple):
    """There is another voltage at an input of the converter."""

    channel: int
    volts: float

    def apply(self, engine: Engine) -> None:
        """Tell the engine."""
        engine.volts(self.channel, self.volts)


class Feed(NamedTuple):
    """Bytes come to RX."""

    data: bytes

    def apply(self, engine: Engine) -> None:
        """Tell the engine."""
        engine.feed(self.data)


class Reset(NamedTuple):
    """The reset button is pressed."""

    def apply(self, engine: Engine) -> None:
        """Tell the engine."""
        engine.reset()


Input = SetLevel | SetVolts | Feed | Reset


def _cycle(waiting: tuple[int, Input]) -> int:
    return waiting[0]


class AvrPin(SimPin):
    """A pin of the chip.

    Attributes:
        reader: Finds tones and servo pulses in what the firmware does to it.

    """

    __slots__ = ("_told", "_told_volts", "reader")

    board: AvrBoard

    def __init__(self, board: AvrBoard, spec: PinSpec) -> None:
        super().__init__(board, spec)
        self.mode = Mode.INPUT
        self.reader = PinReader()
        self._told: int | None = None
        self._told_volts: float | None = None

    @property
    def flutters(self) -> bool:
        """Whether it shows the noise of a net that floats: it keeps its last level instead."""
        return False

    def see(self, volts: float | None, chance: float) -> None:
        """Take note of the voltage of its net, and have the chip told."""
        board = self.board
        if volts is not None:
            super().see(volts, chance)
            channel = self.spec.analog
            if channel is not None and board.lost is None:
                if self.mode is not Mode.OUTPUT:
                    board._note(self, Signal.ANALOG, self.steps(volts))
                if volts != self._told_volts:
                    self._told_volts = volts
                    board.put(SetVolts(channel, volts))
        if self.mode.is_input:
            self._tell(None if volts is None else self._level)

    def _tell(self, level: int | None) -> None:
        if level != self._told:
            self._told = level
            self.board.put(SetLevel(self._number, level))

    def did(self, state: PinState) -> None:
        """Take what the chip does to it from now on."""
        mode = _MODES[state]
        board = self.board
        if mode is Mode.OUTPUT:
            level = int(state is PinState.HIGH)
            turned = self.mode is not mode or level != self.written
            self.written = level
            self.source = board.levels[level]
            self._become(mode)
            if turned:
                self._show(self.reader.edge(level, board.now))
        else:
            self.source = board.pull_up if mode is Mode.INPUT_PULLUP else None
            self._become(mode)
        board.bench.changed(self.net)

    def dims(self, duty: int | None) -> None:
        """Take note that a timer makes PWM on it, or does no longer."""
        board = self.board
        if duty is None:
            self._become(Mode.OUTPUT)
            return
        self.source = Source(board.profile.volts * duty / Signal.DUTY.highest, OUTPUT_OHMS)
        self._become(Mode.PWM)
        board._note(self, Signal.DUTY, duty)
        board.bench.changed(self.net)

    def _become(self, mode: Mode) -> None:
        if mode is self.mode:
            return
        before, self.mode = self.mode, mode
        self.owner = self.board.owner if mode.is_output else None
        if before is Mode.PWM:
            self.board._note(self, Signal.DUTY, 0)
        self.silence()

    def forget(self) -> None:
        """Forget what the chip was told: it may be another one."""
        self._told = self._told_volts = None

    def silence(self) -> None:
        """Forget what the edges meant, for they go on no longer."""
        self.reader.forget()
        if self.reader.hertz:
            self.reader.hertz = 0
            self._show((Signal.TONE, 0))

    def expire(self, now: float) -> None:
        """End a tone that is over."""
        self._show(self.reader.expire(now))

    def _show(self, change: tuple[Signal, int] | None) -> None:
        if change is not None:
            self.board._note(self, *change)

    # -- what nobody but the firmware may ------------------------------------------------

    def set_mode(self, mode: Mode, *, by: str | None = None, force: bool = False) -> None:
        """Refuse: the firmware sets modes.

        Raises:
            PinModeError: Always.

        """
        self._refuse()

    def _to_write(self, mode: Mode, by: str | None, force: bool) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise PinModeError(
            f"pin {self} is set by the firmware {self.board.firmware} alone, not by force either; "
            f"what is outside drives its inputs (now {self.mode.value}), analog/0 to 5 and uart/0",
            str(self),
        )

    def fail_safe(self) -> None:
        """Do nothing: the firmware is the owner, and never leaves."""

    # -- what is outside -----------------------------------------------------------------

    def analog_read(self) -> int:
        """Return what the converter would read, whatever the firmware makes of the pin.

        Raises:
            PinUnsupportedError: If the pin has no converter.

        """
        self.require(Mode.ANALOG)
        return self.board._convert(self)

    def sample(self, value: int) -> None:
        """Set what its converter reads, 0 to 1023; raises what ``Pin.sample`` does."""
        self.require(Mode.ANALOG)
        if not self.mode.is_input:
            self._refuse()
        self._admit(None, force=False)
        share = self.check(Signal.ANALOG, value) / Signal.ANALOG.highest
        self.board.outside(self, self.board.profile.volts * share)


class AvrBoard(SimBoard):
    """An Uno with firmware in it.

    Args:
        name: What it is called.
        bench: The world that it is in.
        firmware: Name of the firmware.
        pacer: Knows what a cycle means on the bench.
        log_limit: Edges that its log keeps.

    Attributes:
        firmware: Name of the firmware.
        owner: Who owns the pins that the firmware drives.
        pacer: Knows what a cycle means on the bench.
        stopped: Why the firmware stands still; ``None`` if it does not.
        restarts: How often the chip was reset from inside.
        missed: Changes of inputs that the chip never saw, for there were too many.
        inbox: Bytes that wait for RX.
        sent: Called with bytes that the firmware has sent.
        was_reset: Called when the reset button is pressed; what the firmware has begun to say ends there.
        restarted: Called with the reason when the chip was reset from inside.

    """

    pins: tuple[AvrPin, ...]

    def __init__(
        self, name: str, bench: Bench, firmware: str, pacer: Pacer, log_limit: int = DEFAULT_LIMIT
    ) -> None:
        self.firmware = firmware
        # No node has such a name, so none can leave and take the pins with it.
        self.owner = f"firmware {firmware}"
        self.pacer = pacer
        self.stopped: str | None = None
        self.restarts = 0
        self.missed = 0
        self.inbox = Inbox()
        self.sent: Callable[[bytes], object] = lambda _data: None
        self.was_reset: Callable[[], object] = lambda: None
        self.restarted: Callable[[str], object] = lambda _why: None
        self._inputs: deque[tuple[int, Input]] = deque()
        self._coming: deque[Event] = deque()
        self._playing: float | None = None
        self._last = bench.time
        self._resets = False
        # The cycle of the latest reset; what was sent before it is for nobody.
        self._speaks_from = -1
        super().__init__(name, replace(UNO, title=f"{UNO.title} with {firmware}"), bench, log_limit)
        self.levels = self._levels
        self.pull_up = self._pull_up
        self._clock = self._stamp

    def _make_pins(self, profile: Profile) -> tuple[AvrPin, ...]:
        return tuple(AvrPin(self, spec) for spec in profile.pins)

    def pin(self, ref: int | str) -> AvrPin:
        """Return a pin by number or name; see ``Board.pin``."""
        return self.pins[self.profile.number(ref, self.name)]

    # -- time ----------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The time of the chip: that of the edge which happens right now, or else the bench's."""
        if self._playing is not None:
            return self._playing
        return max(self.bench.time, self._last)

    def _stamp(self) -> float:
        self._last = self.now
        return self._last

    # -- from the chip -------------------------------------------------------------------

    def take(self, done: Slice) -> None:
        """Take what the chip has done, to happen when the bench gets there.

        The pacer has to know already how far the engine has run.
        """
        idle = not self._coming
        self._coming += done.events
        self._expire()
        if idle:
            self._await_next()

    def _expire(self) -> None:
        """End the tones that are over by what is known: no edge comes before the first one that waits."""
        pacer = self.pacer
        known = pacer.stamp(self._coming[0].cycle if self._coming else pacer.reached)
        for pin in self.pins:
            deadline = pin.reader.deadline()
            if deadline is not None and deadline <= known:
                self.bench.at(deadline, partial(pin.expire, deadline))

    def _await_next(self) -> None:
        if self._coming:
            self.bench.at(self.pacer.stamp(self._coming[0].cycle), self._play)

    def _play(self) -> None:
        """Have everything happen whose time has come."""
        pacer, coming = self.pacer, self._coming
        try:
            while coming and pacer.stamp(coming[0].cycle) <= self.bench.time:
                event = coming.popleft()
                self._playing = max(pacer.stamp(event.cycle), self._last)
                self._happen(event)
        finally:
            self._playing = None
        self._await_next()

    def _happen(self, event: Event) -> None:
        if self.lost is not None:
            return  # without power it has not happened
        if isinstance(event, PinEvent):
            self.pins[event.pin].did(event.state)
        elif isinstance(event, UartEvent):
            if not self._resets and event.cycle > self._speaks_from:
                self.sent(event.data)
        elif isinstance(event, DutyEvent):
            self.pins[event.pin].dims(event.duty)
        elif isinstance(event, Stopped):
            self._stand_still(event.why)
        elif isinstance(event, Restarted):
            self.restarts += 1
            self.restarted(event.why)

    def _stand_still(self, why: str | None) -> None:
        if why == self.stopped:
            return
        self.stopped = why
        reason = None if why is None else f"the firmware stands still: {why}; a reset brings it back"
        for watcher in list(self._state_watchers):
            watcher(reason)

    # -- to the chip ---------------------------------------------------------------------

    def put(self, what: Input) -> None:
        """Have something happen to the chip, as soon as it sees it; bytes for RX go to the inbox."""
        self._inputs.append((self.pacer.seen(self.now), what))
        if len(self._inputs) >= MOST_INPUTS:
            latest = {(type(what), what[:1]): (cycle, what) for cycle, what in self._inputs}
            self.missed += len(self._inputs) - len(latest)
            self._inputs = deque(sorted(latest.values(), key=_cycle))

    def next_input(self) -> int | None:
        """Return the cycle at which the chip sees something, besides now; ``None`` if nothing waits."""
        return next((cycle for cycle, _ in self._inputs if cycle > self.pacer.reached), None)

    def receive(self, data: bytes) -> int:
        """Send bytes to RX of the firmware: all of them, or none. Returns how many.

        Raises:
            BoardLostError: If the board is unplugged, or more waits for RX than it takes.

        """
        self._check_there()
        if len(data) > self.inbox.room:
            raise BoardLostError(
                f"RX of {self.name} takes {self.inbox.room} bytes more right now, not {len(data)}; "
                f"send less at a time, or wait a moment"
            )
        return self.inbox.put(data)

    def hear(self, number: int, data: bytes) -> bool:
        """Take bytes that come to RX; what is too much is lost, and counted."""
        self.inbox.put(data)
        return True

    def inputs(self, room: int) -> list[Input]:
        """Return what happens to the chip now, in order; it is then forgotten.

        Args:
            room: Bytes that the UART takes.

        """
        taken: list[Input] = []
        if self._resets:
            self._resets = False
            self._speaks_from = self.pacer.reached
            taken.append(Reset())
        while self._inputs and self._inputs[0][0] <= self.pacer.reached:
            taken.append(self._inputs.popleft()[1])
        data = self.inbox.take(room)
        return [*taken, Feed(data)] if data else taken

    def reset(self) -> None:
        """Press the reset button.

        Raises:
            BoardLostError: If the board is unplugged.

        """
        self._check_there()
        # What waited for RX was meant for a firmware that had not been reset.
        self.inbox.clear()
        self._resets = True
        self.was_reset()
        self._stand_still(None)

    def lose(self, reason: str) -> None:
        """Take note that it has no power: nothing is driven, and nothing is meant by it."""
        for pin in self.pins:
            pin.silence()
        super().lose(reason)
        for pin in self.pins:
            if pin.source is not None:
                pin.source = None
                self.bench.changed(pin.net)

    def restore(self) -> None:
        """Give it power again: the firmware begins anew."""
        if self.lost is None:
            return
        self.lost = None
        for pin in self.pins:
            pin.forget()
            pin.did(PinState.INPUT)
        self.reset()
        for watcher in list(self._state_watchers):
            watcher(None)
