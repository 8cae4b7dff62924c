"""Pin modes, and the signals that pins carry."""

from __future__ import annotations

from enum import IntEnum, StrEnum, unique


@unique
class Mode(StrEnum):
    """What a pin is set to; the value is how people and the mesh write it."""

    UNSET = "UNSET"
    INPUT = "INPUT"
    INPUT_PULLUP = "INPUT_PULLUP"
    OUTPUT = "OUTPUT"
    ANALOG = "ANALOG"
    PWM = "PWM"
    SERVO = "SERVO"

    @property
    def is_output(self) -> bool:
        """Whether the pin drives its net, and so can have an owner."""
        return self in _OUTPUTS

    @property
    def is_input(self) -> bool:
        """Whether the outside world drives the pin."""
        return self in _INPUTS


_OUTPUTS = frozenset((Mode.OUTPUT, Mode.PWM, Mode.SERVO))
_INPUTS = frozenset((Mode.INPUT, Mode.INPUT_PULLUP, Mode.ANALOG))


@unique
class Signal(IntEnum):
    """What changes at a pin. Each has a channel of its own on the mesh, and a range.

    The value of each member is its place in a packed entry of the edge log.
    """

    LEVEL = 0
    """0 or 1."""
    DUTY = 1
    """PWM, 0 to 255."""
    ANGLE = 2
    """Servo, 0 to 180 degrees."""
    TONE = 3
    """Hz; 0 is silence."""
    ANALOG = 4
    """What the converter reads, 0 to 1023."""

    @property
    def highest(self) -> int:
        """The largest value; the smallest is 0."""
        return _HIGHEST[self]

    @property
    def word(self) -> str:
        """What people call it."""
        return _WORDS[self]


_HIGHEST = {Signal.LEVEL: 1, Signal.DUTY: 255, Signal.ANGLE: 180, Signal.TONE: 65_535, Signal.ANALOG: 1023}
_WORDS = {
    Signal.LEVEL: "a level",
    Signal.DUTY: "a PWM duty",
    Signal.ANGLE: "a servo angle in degrees",
    Signal.TONE: "a tone in Hz",
    Signal.ANALOG: "an analog value",
}
