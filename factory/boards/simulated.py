"""A board on a bench: pins that are terminals of nets."""

from __future__ import annotations

from factory.boards.bench import Bench, Net, Source
from factory.boards.board import Board, FailSafe, Pin
from factory.boards.edges import DEFAULT_LIMIT
from factory.boards.errors import BoardError
from factory.boards.modes import Mode, Signal
from factory.boards.profiles import PinSpec, Profile

OUTPUT_OHMS = 25.0
PULL_UP_OHMS = 35_000.0
OUTSIDE_OHMS = 1_000.0
"""The outside world as a channel plays it: wins over a pull-up, and harms no output."""

BRIDGE_OHMS = 0.1
"""A solder bridge, or a closed contact."""

# Of the supply: what an AVR takes for 0 and for 1. In between, it stays what it was.
_LOW = 0.3
_HIGH = 0.6
_STEPS = 1023


class SimPin(Pin):
    """A pin that is simulated.

    Attributes:
        net: The net that it is on.
        source: What it drives its net with.

    """

    __slots__ = ("_level", "_number", "_supply", "net", "source")

    board: SimBoard

    def __init__(self, board: SimBoard, spec: PinSpec) -> None:
        super().__init__(board, spec)
        self._level = 0
        self._number = spec.number
        self._supply = board.profile.volts
        self.source: Source | None = None
        self.net: Net = board.bench.net(self)

    @property
    def flutters(self) -> bool:
        """Whether it shows the noise of a net that floats: only an input does."""
        return self.mode is Mode.INPUT and self.board.lost is None

    @property
    def net_level(self) -> int | None:
        """What it would read, whatever its mode; ``None`` if nothing drives its net."""
        return None if self.net.volts is None else self._level

    def see(self, volts: float | None, chance: float) -> None:
        """Take note of the voltage of its net."""
        mode = self.mode
        board = self.board
        if board.lost is not None:
            return
        if volts is None:
            if mode is Mode.INPUT:
                self._level = int(chance < 0.5)
                board._note(self, Signal.LEVEL, self._level)
            return
        if volts <= _LOW * self._supply:
            self._level = 0
        elif volts >= _HIGH * self._supply:
            self._level = 1
        if mode is Mode.OUTPUT or mode is Mode.INPUT or mode is Mode.INPUT_PULLUP:
            board._note(self, Signal.LEVEL, self._level)
        elif mode is Mode.ANALOG:
            board._note(self, Signal.ANALOG, self.steps(volts))

    def steps(self, volts: float) -> int:
        """Return what the converter makes of a voltage."""
        return min(max(round(volts / self._supply * _STEPS), 0), _STEPS)


class SimBoard(Board):
    """A simulated board.

    Args:
        name: What it is called.
        profile: What it has.
        bench: The world that it is in.
        log_limit: Edges that its log keeps.

    """

    pins: tuple[SimPin, ...]

    def __init__(self, name: str, profile: Profile, bench: Bench, log_limit: int = DEFAULT_LIMIT) -> None:
        self.bench = bench
        super().__init__(name, profile, lambda: bench.time, log_limit)
        self._levels = (Source(0.0, OUTPUT_OHMS), Source(profile.volts, OUTPUT_OHMS))
        self._pull_up = Source(profile.volts, PULL_UP_OHMS)

    def _make_pins(self, profile: Profile) -> tuple[SimPin, ...]:
        return tuple(SimPin(self, spec) for spec in profile.pins)

    def pin(self, ref: int | str) -> SimPin:
        """Return a pin by number or name; see ``Board.pin``."""
        return self.pins[self.profile.number(ref, self.name)]

    # -- from outside --------------------------------------------------------------------

    def unplug(self) -> None:
        """Take the power away: nothing drives anything, and whoever writes is told."""
        self.lose("it is unplugged")
        for pin in self.pins:
            if pin.source is not None:
                pin.source = None
                self.bench.changed(pin.net)

    def plug(self) -> None:
        """Give it power again; modes and watchers are as before."""
        self.restore()

    def hear(self, number: int, data: bytes) -> bool:
        """Take bytes that come to a UART, and say whether there is firmware to take them."""
        return False

    def stick(self, ref: int | str, level: FailSafe) -> None:
        """Bridge a pin to ground or to the supply with solder; ``None`` takes the bridge off.

        Raises:
            UnknownPinError: If there is no such pin.

        """
        pin = self.pin(ref)
        key = f"the solder bridge at {pin}"
        if level is None:
            pin.net.sources.pop(key, None)
        else:
            pin.net.sources[key] = Source(self.profile.volts * level, BRIDGE_OHMS)
        self.bench.changed(pin.net)

    def outside(self, pin: SimPin, volts: float | None) -> None:
        """Play the outside world at a pin; ``None`` lets go of it."""
        key = f"the outside world at {pin}"
        if volts is None:
            pin.net.sources.pop(key, None)
        else:
            pin.net.sources[key] = Source(volts, OUTSIDE_OHMS)
        self.bench.changed(pin.net)

    # -- backend -------------------------------------------------------------------------

    def _apply_mode(self, pin: Pin) -> None:
        assert isinstance(pin, SimPin)
        if self.lost is not None:
            return  # without power it drives nothing; restore() makes up for it
        mode = pin.mode
        if mode is Mode.OUTPUT:
            pin.source = self._levels[pin.written]
        elif mode is Mode.INPUT_PULLUP:
            pin.source = self._pull_up
        elif mode is Mode.PWM or mode is Mode.SERVO:
            pin.source = self._levels[0]
        else:
            pin.source = None
        self.bench.changed(pin.net)

    def _write(self, pin: Pin, signal: Signal, value: int) -> None:
        assert isinstance(pin, SimPin)
        if self.lost is not None:
            return
        if signal is Signal.LEVEL:
            pin.source = self._levels[value]
        elif signal is Signal.DUTY:
            pin.source = Source(self.profile.volts * value / signal.highest, OUTPUT_OHMS)
        elif signal is Signal.TONE:
            volts = self.profile.volts / 2 if value else self.profile.volts * pin.written
            pin.source = Source(volts, OUTPUT_OHMS)
        else:
            return  # the pulses of a servo are at most an eighth of the time: their average is low
        self.bench.changed(pin.net)

    def _convert(self, pin: Pin) -> int:
        assert isinstance(pin, SimPin)
        volts = pin.net.volts
        if self.lost is not None or volts is None:
            # A floating input reads about the middle, and never the same twice.
            tick = int(self.bench.time * 1e6)
            return 300 + int(400 * self.bench.chance(pin.net.number, tick))
        return pin.steps(volts)

    def _drive(self, pin: Pin, value: int | None) -> None:
        assert isinstance(pin, SimPin)
        highest = _STEPS if pin.mode is Mode.ANALOG else 1
        self.outside(pin, None if value is None else self.profile.volts * value / highest)


def wire(*pins: SimPin) -> None:
    """Join pins, of one board or of several on the same bench.

    Raises:
        BoardError: If the boards are not on one bench.

    """
    bench = pins[0].board.bench
    if any(pin.board.bench is not bench for pin in pins):
        raise BoardError(
            f"a wire joins boards of one bench; {', '.join(map(str, pins))} are on several, "
            f"and only the mesh can carry a level from one to the other"
        )
    net = bench.join(pin.net for pin in pins)
    for terminal in net.terminals:
        if isinstance(terminal, SimPin):
            terminal.net = net
    bench.changed(net)
