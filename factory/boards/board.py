"""Boards and pins: the interface that a simulated board and a real one have in common.

What is the same everywhere is here: modes and what a pin can do, who owns an output, ranges,
the edge log and who watches it. What a write really does is the backend's: it fills in the
methods with a leading underscore.

Rules:

- Who sets the mode of an output by name owns it until it leaves; so does who writes an output
  first that nobody owns. Without a name one may write what nobody owns, and owns nothing.
- An unset pin becomes an output on its first write.
- An input is driven by the outside world (``drive``), never written.
- When its owner leaves, an output goes to its fail-safe level; so it does while the board is lost.
- Nothing here reads a clock: the board is handed one, and every edge has its stamp.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, Protocol

from factory.boards.edges import DEFAULT_LIMIT, Edge, EdgeLog
from factory.boards.errors import (
    BoardLostError,
    PinInUseError,
    PinModeError,
    PinUnsupportedError,
    PinValueError,
)
from factory.boards.modes import Mode, Signal
from factory.boards.profiles import PinSpec, Profile
from mesh.text import listing

Watcher = Callable[[Edge], object]
Unwatch = Callable[[], None]
FailSafe = Literal[0, 1] | None
"""Level of an output whose owner has gone; ``None`` sets the pin free."""


class RunningPulse(Protocol):
    """A pulse that a pin is in; ``factory.boards.pulses`` makes them."""

    @property
    def rest(self) -> int:
        """The level that the pin goes back to."""

    def cancel(self) -> None:
        """Have it not go back."""


class Pin:
    """One line of a board.

    Attributes:
        board: The board that it belongs to.
        spec: What it can do.
        mode: What it is set to.
        owner: Who owns it as an output; ``None`` if nobody does.
        failsafe: Its level as an output when its owner has gone.
        written: The level that was last written to it.
        values: By signal, the latest value of each.
        pulse: The pulse that it is in; whatever else is done to the pin ends it.

    """

    __slots__ = (
        "_watchers", "board", "failsafe", "label", "mode", "owner", "pulse", "spec", "values", "written",
    )  # fmt: skip

    def __init__(self, board: Board, spec: PinSpec) -> None:
        self.board = board
        self.spec = spec
        self.label = f"{board.name}.{spec.name}"
        self.mode = Mode.UNSET
        self.owner: str | None = None
        self.failsafe: FailSafe = 0
        self.written = 0
        self.values: dict[Signal, int] = {}
        self.pulse: RunningPulse | None = None
        self._watchers: list[Watcher] = []

    def __str__(self) -> str:
        return self.label

    # -- modes ---------------------------------------------------------------------------

    def set_mode(self, mode: Mode, *, by: str | None = None, force: bool = False) -> None:
        """Set the mode; whoever names an output's mode owns it from then on.

        Args:
            mode: The mode.
            by: Who sets it.
            force: Take it from its owner.

        Raises:
            PinInUseError: If somebody else owns the pin.
            PinUnsupportedError: If the pin has not the hardware.
            BoardLostError: If the board is not there.

        """
        self._admit(by, force)
        self.require(mode)
        self.owner = by if mode.is_output else None
        self._change(mode)

    def require(self, mode: Mode) -> None:
        """Make sure that the pin can be set to a mode.

        Raises:
            PinUnsupportedError: If it cannot, with those pins that can.

        """
        if mode is not Mode.UNSET and mode not in self.spec.modes:
            able = [spec.name for spec in self.board.profile.pins if mode in spec.modes]
            raise PinUnsupportedError(
                f"pin {self.label} cannot be {mode.value}; of the {self.board.profile.title}, "
                f"these can: {listing(able) or 'none'}",
                self.label,
            )

    def _change(self, mode: Mode) -> None:
        if mode is self.mode:
            return
        self.end_pulse()
        before, self.mode = self.mode, mode
        note = self.board._note
        if self.values.get(Signal.TONE):
            note(self, Signal.TONE, 0)
        if before is Mode.PWM and self.values.get(Signal.DUTY):
            note(self, Signal.DUTY, 0)
        self.written = 0
        self.board._apply_mode(self)

    def _admit(self, by: str | None, force: bool) -> None:
        self.board._check_there()
        if self.owner is not None and by != self.owner and not force:
            raise PinInUseError(self.label, self.owner)

    def _to_write(self, mode: Mode, by: str | None, force: bool) -> None:
        """Make sure that ``by`` may write, and that the pin is in that output mode."""
        if self.mode is mode:
            self._admit(by, force)
            self.end_pulse()
            if self.owner is None:
                self.owner = by
            return
        if self.mode.is_input:
            raise PinModeError(
                f"pin {self.label} is set to {self.mode.value}, which the outside world drives; "
                f"set its mode to {mode.value} to write it",
                self.label,
            )
        self._admit(by, force)
        self.require(mode)
        if self.owner is None:
            self.owner = by
        self._change(mode)

    def check(self, signal: Signal, value: int) -> int:
        """Return a value that is in the range of a signal.

        Raises:
            PinValueError: If it is not.

        """
        if type(value) is bool:
            value = int(value)
        if type(value) is not int or not 0 <= value <= signal.highest:
            raise PinValueError(
                f"{str(value)[:20]!r} is out of range for pin {self.label}: "
                f"{signal.word} is a whole number from 0 to {signal.highest}",
                self.label,
            )
        return value

    # -- outputs -------------------------------------------------------------------------

    def digital_write(self, level: int, *, by: str | None = None, force: bool = False) -> None:
        """Set an output to 0 or 1; a pin that is unset, PWM or SERVO becomes OUTPUT.

        Args:
            level: 0 or 1.
            by: Who writes; ``None`` for nobody in particular, who never owns a pin.
            force: Write even if somebody else owns it, who goes on owning it.

        Raises:
            PinInUseError: If somebody else owns it.
            PinModeError: If it is an input.
            PinUnsupportedError: If it cannot be an output.
            PinValueError: If the level is neither 0 nor 1.
            BoardLostError: If the board is not there.

        """
        level = self.check(Signal.LEVEL, level)
        self._to_write(Mode.OUTPUT, by, force)
        if self.values.get(Signal.TONE):
            self.board._note(self, Signal.TONE, 0)
        self.written = level
        self.board._write(self, Signal.LEVEL, level)

    def analog_write(self, duty: int, *, by: str | None = None, force: bool = False) -> None:
        """Give out PWM with a duty of 0 to 255; a pin that is unset or another output becomes PWM.

        Raises:
            PinInUseError: If somebody else owns it.
            PinModeError: If it is an input.
            PinUnsupportedError: If it has no PWM.
            PinValueError: If the duty is out of range.
            BoardLostError: If the board is not there.

        """
        duty = self.check(Signal.DUTY, duty)
        self._to_write(Mode.PWM, by, force)
        self.board._note(self, Signal.DUTY, duty)
        self.board._write(self, Signal.DUTY, duty)

    def servo_write(self, degrees: int, *, by: str | None = None, force: bool = False) -> None:
        """Send a servo to an angle of 0 to 180 degrees; raises what ``analog_write`` does."""
        degrees = self.check(Signal.ANGLE, degrees)
        self._to_write(Mode.SERVO, by, force)
        self.board._note(self, Signal.ANGLE, degrees)
        self.board._write(self, Signal.ANGLE, degrees)

    def tone(self, hertz: int, *, by: str | None = None, force: bool = False) -> None:
        """Give out a square wave of that frequency; 0 ends it. Raises what ``digital_write`` does."""
        hertz = self.check(Signal.TONE, hertz)
        if not self.board.has_tone:
            raise PinUnsupportedError(
                f"pin {self.label}: {self.board.name} makes no tones, for Firmata has no message for them",
                self.label,
            )
        self._to_write(Mode.OUTPUT, by, force)
        self.board._note(self, Signal.TONE, hertz)
        self.board._write(self, Signal.TONE, hertz)

    # -- inputs --------------------------------------------------------------------------

    def digital_read(self) -> int:
        """Return the level that the pin is at, whatever its mode.

        Raises:
            PinUnsupportedError: If the pin has no digital side.

        """
        self.require(Mode.INPUT)
        return self.values.get(Signal.LEVEL, 0)

    def analog_read(self) -> int:
        """Return what the converter reads, 0 to 1023; an unset pin becomes ANALOG.

        Raises:
            PinUnsupportedError: If the pin has no converter.
            PinModeError: If it is set to something else.

        """
        self.require(Mode.ANALOG)
        if self.mode is Mode.UNSET:
            self._change(Mode.ANALOG)
        if self.mode is not Mode.ANALOG:
            raise PinModeError(
                f"pin {self.label} is {self.mode.value}; set its mode to ANALOG to read it so", self.label
            )
        return self.board._convert(self)

    def drive(self, value: int | None) -> None:
        """Play the outside world at an input: a level, or at ANALOG what the converter shall read.

        Args:
            value: 0 or 1, or 0 to 1023; ``None`` lets go, and what else there is counts again.

        Raises:
            PinModeError: If the pin is no input.
            PinValueError: If the value is out of range.
            PinUnsupportedError: If the outside world of this board is the real one.
            BoardLostError: If the board is not there.

        """
        if not self.mode.is_input:
            raise PinModeError(
                f"pin {self.label} is {self.mode.value}, and the outside world drives inputs only; "
                f"set its mode to INPUT, INPUT_PULLUP or ANALOG",
                self.label,
            )
        self._admit(None, force=False)
        if value is not None:
            value = self.check(Signal.ANALOG if self.mode is Mode.ANALOG else Signal.LEVEL, value)
        self.board._drive(self, value)
        self.end_pulse()

    def sample(self, value: int) -> None:
        """Set what the converter reads; an unset pin becomes ANALOG. Raises what ``drive`` does."""
        if self.mode is Mode.UNSET:
            self.set_mode(Mode.ANALOG)
        self.drive(value)

    def watch(self, watcher: Watcher) -> Unwatch:
        """Call ``watcher`` with every edge of this pin; returns what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def end_pulse(self) -> None:
        """Stay as it is, if it is in a pulse."""
        if self.pulse is not None:
            self.pulse.cancel()
            self.pulse = None

    # -- its owner ------------------------------------------------------------------------

    def fail_safe(self) -> None:
        """Forget the owner, and go to the level that is safe without one."""
        self.owner = None
        self.end_pulse()
        if self.failsafe is None:
            self._change(Mode.UNSET)
            return
        if self.mode is not Mode.OUTPUT:
            self._change(Mode.OUTPUT)
        if self.values.get(Signal.TONE):
            self.board._note(self, Signal.TONE, 0)
        self.written = self.failsafe
        self.board._write(self, Signal.LEVEL, self.failsafe)


class Board(ABC):
    """A board with its pins.

    Args:
        name: What it is called, for errors and owners.
        profile: What it has.
        clock: Returns the time, in seconds, for the stamps of edges.
        log_limit: Edges that the log keeps.

    Attributes:
        pins: By number.
        log: Every change of every pin.
        lost: Why the board is not there; ``None`` if it is.
        has_tone: Whether its pins can give out tones.

    """

    has_tone = True

    def __init__(
        self, name: str, profile: Profile, clock: Callable[[], float], log_limit: int = DEFAULT_LIMIT
    ) -> None:
        self.name = name
        self.profile = profile
        self.log = EdgeLog(log_limit)
        self.lost: str | None = None
        self._clock = clock
        self._watchers: list[Watcher] = []
        self._state_watchers: list[Callable[[str | None], object]] = []
        self.pins: tuple[Pin, ...] = self._make_pins(profile)

    def pin(self, ref: int | str) -> Pin:
        """Return a pin by number or name: 13, ``"13"``, ``"D13"``, ``"A0"``, ``"LED"``, ``"SDA"``.

        Raises:
            UnknownPinError: If there is none.

        """
        return self.pins[self.profile.number(ref, self.name)]

    def watch(self, watcher: Watcher) -> Unwatch:
        """Call ``watcher`` with every edge of every pin, in order; returns what ends that.

        It is called in the midst of the change: it must not raise, and what it does should be short.
        """
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def watch_state(self, watcher: Callable[[str | None], object]) -> Unwatch:
        """Call ``watcher`` when the board is lost, with the reason, and when it is back, with ``None``."""
        self._state_watchers.append(watcher)
        return lambda: self._state_watchers.remove(watcher)

    def leave(self, owner: str) -> list[Pin]:
        """Send every output of an owner that has gone to its fail-safe level, and return them."""
        theirs = [pin for pin in self.pins if pin.owner == owner]
        for pin in theirs:
            pin.fail_safe()
        return theirs

    def lose(self, reason: str) -> None:
        """Take note that the board is gone. Its outputs are at their fail-safe level until it is back.

        Of one that is gone already, take note that the reason is another one now.
        """
        if self.lost == reason:
            return
        self.lost = reason
        for pin in self.pins:
            pin.end_pulse()
            for signal in (Signal.DUTY, Signal.TONE):
                self._note(pin, signal, 0)
            if pin.mode.is_output and pin.failsafe is not None:
                self._note(pin, Signal.LEVEL, pin.failsafe)
        for watcher in list(self._state_watchers):
            watcher(reason)

    def restore(self) -> None:
        """Take note that the board is back: modes as before, outputs at their fail-safe level."""
        if self.lost is None:
            return
        self.lost = None
        for pin in self.pins:
            if pin.mode is Mode.UNSET:
                continue
            pin.written = pin.failsafe or 0
            self._apply_mode(pin)
            if pin.mode is Mode.OUTPUT:
                self._write(pin, Signal.LEVEL, pin.written)
        for watcher in list(self._state_watchers):
            watcher(None)

    def _note(self, pin: Pin, signal: Signal, value: int) -> None:
        """Enter a change in the log and tell who watches; what is no change is no edge."""
        values = pin.values
        if values.get(signal, 0 if signal is not Signal.ANALOG else None) == value:
            values[signal] = value
            return
        values[signal] = value
        edge = self.log.add(self._clock(), pin.spec.number, signal, value)
        for watcher in self._watchers:
            watcher(edge)
        for watcher in pin._watchers:
            watcher(edge)

    # -- for backends --------------------------------------------------------------------

    def _check_there(self) -> None:
        """Make sure that the board can be written to now.

        Raises:
            BoardLostError: If it cannot.

        """
        if self.lost is not None:
            raise BoardLostError(
                f"{self.name} is lost: {self.lost}; it can be written to again when it is back"
            )

    def _make_pins(self, profile: Profile) -> tuple[Pin, ...]:
        """Return the pins; a backend may have a class of its own for them."""
        return tuple(Pin(self, spec) for spec in profile.pins)

    @abstractmethod
    def _apply_mode(self, pin: Pin) -> None:
        """Make ``pin.mode`` real."""

    @abstractmethod
    def _write(self, pin: Pin, signal: Signal, value: int) -> None:
        """Give out a value on an output that is in the right mode."""

    @abstractmethod
    def _convert(self, pin: Pin) -> int:
        """Return what the converter reads at an ANALOG pin."""

    @abstractmethod
    def _drive(self, pin: Pin, value: int | None) -> None:
        """Drive an input from outside, or refuse with ``PinUnsupportedError``."""
