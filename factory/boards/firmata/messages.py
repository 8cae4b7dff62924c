"""What Firmata says, as values: one class for each message, named after what it means.

The bytes of each are in ``factory.boards.firmata.codec``.
"""

from __future__ import annotations

from dataclasses import dataclass

from factory.boards.modes import Mode

MODE_NUMBERS = {
    Mode.INPUT: 0x00,
    Mode.OUTPUT: 0x01,
    Mode.ANALOG: 0x02,
    Mode.PWM: 0x03,
    Mode.SERVO: 0x04,
    Mode.INPUT_PULLUP: 0x0B,
}
"""The modes that we know, as protocol.md numbers them; there are more (I2C, SPI, ...)."""

MODES = {number: mode for mode, number in MODE_NUMBERS.items()}

RESOLUTIONS = {
    Mode.INPUT: 1,
    Mode.OUTPUT: 1,
    Mode.ANALOG: 10,
    Mode.PWM: 8,
    Mode.SERVO: 14,
    Mode.INPUT_PULLUP: 1,
}
"""Bits of each mode, as StandardFirmata reports them."""

SAMPLING_INTERVAL = 0.019
"""Seconds between two reports of an analog input, unless the client says otherwise."""


# -- both ways -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DigitalPort:
    """The levels of eight pins, pin 8 * ``port`` in the lowest bit."""

    port: int
    levels: int


@dataclass(frozen=True, slots=True)
class Analog:
    """A 14-bit value: to the board for a pin, from the board of an analog channel."""

    pin: int
    value: int


@dataclass(frozen=True, slots=True)
class ExtendedAnalog:
    """A value of up to 32 bits for any pin."""

    pin: int
    value: int


@dataclass(frozen=True, slots=True)
class Text:
    """Words for people."""

    text: str


@dataclass(frozen=True, slots=True)
class SamplingInterval:
    """Milliseconds between two reports of an analog input."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class OtherSysex:
    """A sysex message that we know nothing of, such as those of I2C (0x76, 0x78)."""

    command: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Trouble:
    """Bytes that are no message; made by the parser, never sent."""

    text: str


# -- to the board ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReportAnalog:
    """Report an analog channel from now on, or no longer."""

    channel: int
    on: bool


@dataclass(frozen=True, slots=True)
class ReportDigital:
    """Report a port from now on, or no longer."""

    port: int
    on: bool


@dataclass(frozen=True, slots=True)
class SetMode:
    """Set the mode of a pin, by Firmata's number for it."""

    pin: int
    mode: int


@dataclass(frozen=True, slots=True)
class SetPin:
    """Set one output."""

    pin: int
    level: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Forget everything, as after power-up."""


@dataclass(frozen=True, slots=True)
class VersionQuery:
    """Ask for ``Version``."""


@dataclass(frozen=True, slots=True)
class FirmwareQuery:
    """Ask for ``Firmware``."""


@dataclass(frozen=True, slots=True)
class CapabilityQuery:
    """Ask for ``Capabilities``."""


@dataclass(frozen=True, slots=True)
class MappingQuery:
    """Ask for ``Mapping``."""


@dataclass(frozen=True, slots=True)
class PinStateQuery:
    """Ask for ``PinState``."""

    pin: int


@dataclass(frozen=True, slots=True)
class SamplingIntervalQuery:
    """Ask for ``SamplingInterval``."""


@dataclass(frozen=True, slots=True)
class ServoConfig:
    """Say which pulses, in microseconds, are 0 and 180 degrees."""

    pin: int
    shortest: int
    longest: int


# -- from the board --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Version:
    """Version of the protocol."""

    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class Firmware:
    """Name and version of the firmware."""

    major: int
    minor: int
    name: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """By pin, the modes that it has, each with its resolution."""

    pins: tuple[tuple[tuple[int, int], ...], ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """By pin, its analog channel; ``None`` if it has none."""

    channels: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class PinState:
    """Mode of a pin, and what was last written to it."""

    pin: int
    mode: int
    state: int


ToBoard = (
    DigitalPort | Analog | ExtendedAnalog | Text | SamplingInterval | OtherSysex | ReportAnalog
    | ReportDigital | SetMode | SetPin | Reset | VersionQuery | FirmwareQuery | CapabilityQuery
    | MappingQuery | PinStateQuery | SamplingIntervalQuery | ServoConfig
)  # fmt: skip
FromBoard = (
    DigitalPort | Analog | ExtendedAnalog | Text | SamplingInterval | OtherSysex | Version | Firmware
    | Capabilities | Mapping | PinState
)  # fmt: skip
Message = ToBoard | FromBoard
