"""A pulse: a pin at its other level for a while, and back.

The way back is not a write of whoever asked for the pulse, who may be gone by then: it belongs to
the pin, and changes nothing about who owns that. Whatever else is done to the pin ends the pulse,
so what was written last counts; a fail-safe level above all.
"""

from __future__ import annotations

from collections.abc import Callable

from factory.boards.bench import Timer
from factory.boards.board import Pin
from factory.boards.errors import BoardLostError, PinModeError
from factory.boards.modes import Mode

After = Callable[[float, Callable[[], object]], Timer]
"""Has something happen in so many seconds."""

_AGAIN = 0.01


def pulse(pin: Pin, seconds: float, after: After, *, by: str | None = None, force: bool = False) -> None:
    """Turn a pin to its other level, and back later.

    A pin that is in a pulse already goes on with that one, which ends as the new one would have.

    Args:
        pin: The pin; an input is driven from outside.
        seconds: How long.
        after: What times it.
        by: Who turns it, and may own it by this.
        force: Do it even if somebody else owns it.

    Raises:
        PinError: If the pin cannot be written, or driven, to a level.
        BoardLostError: If the board is not there.

    """
    if pin.mode is Mode.ANALOG:
        raise PinModeError(
            f"pin {pin} is ANALOG and has no other level; set its mode to INPUT or OUTPUT to pulse it",
            str(pin),
        )
    rest = _rest(pin)
    _turn(pin, 1 - rest, by, force)
    pin.pulse = _Pulse(pin, rest, seconds, after)


def _rest(pin: Pin) -> int:
    if pin.pulse is not None:
        return pin.pulse.rest
    # Of a shorted output not what is there, but what was meant.
    return pin.digital_read() if pin.mode.is_input else pin.written


class _Pulse:
    """A pulse that has begun."""

    def __init__(self, pin: Pin, rest: int, seconds: float, after: After) -> None:
        self.rest = rest
        self._pin = pin
        self._after = after
        self._timer = after(seconds, self._end)

    def cancel(self) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        pin = self._pin
        try:
            # In the name of whoever owns it now, so that nobody is refused and nobody comes to own it.
            _turn(pin, self.rest, pin.owner, False)
        except BoardLostError:
            # The line is full; of a board that is gone the pulse was cancelled.
            self._timer = self._after(_AGAIN, self._end)


def _turn(pin: Pin, level: int, by: str | None, force: bool) -> None:
    if pin.mode.is_input:
        pin.drive(level)
    else:
        pin.digital_write(level, by=by, force=force)
