"""What each kind of board has: its pins, their names, and what each of them can do.

The numbers are those of the Arduino cores, so a sketch for the real board needs no other
ones. Where a chip gives one line two names (A6 of a Leonardo is its pin 4), it is one pin
here, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from factory.boards.errors import BoardError, UnknownPinError
from factory.boards.modes import Mode
from mesh.text import did_you_mean, listing


@dataclass(frozen=True, slots=True)
class PinSpec:
    """One line of a kind of board.

    Attributes:
        number: Its number, as in ``pinMode(13, OUTPUT)``.
        name: What is printed beside it: ``13`` or ``A0``.
        modes: What it can be set to, besides ``UNSET``.
        analog: Its channel of the analog converter; ``None`` if it has none.
        functions: What else it does: ``SDA``, ``MOSI``, ``TX0``, ``INT0``, ``LED``.

    """

    number: int
    name: str
    modes: frozenset[Mode]
    analog: int | None
    functions: tuple[str, ...]

    @property
    def is_digital(self) -> bool:
        """Whether it can be 0 or 1."""
        return Mode.OUTPUT in self.modes


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of board.

    Attributes:
        name: How it is asked for: ``uno``.
        title: Its full name.
        pins: By number, without gaps.
        volts: Supply, and reference of the converter.

    """

    name: str
    title: str
    pins: tuple[PinSpec, ...]
    volts: float = 5.0
    _by_name: dict[str, int] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for spec in self.pins:
            for name in (str(spec.number), f"D{spec.number}", spec.name, *spec.functions):
                self._by_name.setdefault(name, spec.number)
            if spec.analog is not None:
                self._by_name.setdefault(f"A{spec.analog}", spec.number)

    def number(self, ref: int | str, board: str = "") -> int:
        """Return the number of a pin that is named by number, as ``A0``, ``D13``, ``SDA`` or ``LED``.

        Args:
            ref: The pin.
            board: Name of the board, for the error.

        Raises:
            UnknownPinError: If there is none, with what was probably meant.

        """
        number = self._by_name.get(str(ref).upper())
        if number is None:
            word = str(ref)[:20]
            near = did_you_mean(word, self._by_name) if not word.isdigit() else ""
            last = self.pins[-1].number
            raise UnknownPinError(
                f"{board or self.name} has no pin {word!r}{near}; the {self.title} has pins 0 to {last}, "
                f"of which A0 to A{len(self.analog_pins) - 1} are analog",
                f"{board or self.name}.{word}",
            )
        return number

    @property
    def analog_pins(self) -> tuple[PinSpec, ...]:
        """The pins of the converter, by channel."""
        return tuple(
            sorted((spec for spec in self.pins if spec.analog is not None), key=lambda spec: spec.analog or 0)
        )


_DIGITAL = frozenset((Mode.INPUT, Mode.INPUT_PULLUP, Mode.OUTPUT))


def _profile(
    name: str,
    title: str,
    *,
    count: int,
    analog: Sequence[int],
    pwm: Collection[int],
    servo: Collection[int],
    functions: Mapping[str, int],
    analog_only: Collection[int] = (),
) -> Profile:
    """Return a profile.

    Args:
        name: How it is asked for.
        title: Its full name.
        count: How many pins it has.
        analog: The pin of each channel of the converter, A0 first.
        pwm: Pins with PWM.
        servo: Pins that the servo library can use.
        functions: Pins by what else they do.
        analog_only: Pins that have no digital side at all.

    """
    channels = {pin: channel for channel, pin in enumerate(analog)}
    specs = []
    for number in range(count):
        modes = set() if number in analog_only else set(_DIGITAL)
        if number in channels:
            modes.add(Mode.ANALOG)
        if number in pwm:
            modes.add(Mode.PWM)
        if number in servo:
            modes.add(Mode.SERVO)
        own = tuple(word for word, pin in functions.items() if pin == number)
        # A pin in the digital row keeps its number, even if it is analog as well.
        in_row = number not in channels or number < min(14, analog[0])
        label = str(number) if in_row else f"A{channels[number]}"
        specs.append(PinSpec(number, label, frozenset(modes), channels.get(number), own))
    return Profile(name, title, tuple(specs))


_UNO_FUNCTIONS = {
    "RX0": 0, "TX0": 1, "INT0": 2, "INT1": 3, "SS": 10, "MOSI": 11, "MISO": 12, "SCK": 13, "LED": 13,
    "SDA": 18, "SCL": 19,
}  # fmt: skip

UNO = _profile(
    "uno",
    "Arduino Uno",
    count=20,
    analog=range(14, 20),
    pwm=(3, 5, 6, 9, 10, 11),
    servo=range(2, 14),
    functions=_UNO_FUNCTIONS,
)

NANO = _profile(
    "nano",
    "Arduino Nano",
    count=22,
    analog=range(14, 22),
    pwm=(3, 5, 6, 9, 10, 11),
    servo=range(2, 14),
    functions=_UNO_FUNCTIONS,
    analog_only=(20, 21),
)

MEGA = _profile(
    "mega",
    "Arduino Mega 2560",
    count=70,
    analog=range(54, 70),
    pwm=(*range(2, 14), 44, 45, 46),
    servo=range(2, 50),
    functions={
        "RX0": 0, "TX0": 1, "INT4": 2, "INT5": 3, "INT3": 18, "INT2": 19, "INT1": 20, "INT0": 21, "LED": 13,
        "TX3": 14, "RX3": 15, "TX2": 16, "RX2": 17, "TX1": 18, "RX1": 19, "SDA": 20, "SCL": 21,
        "MISO": 50, "MOSI": 51, "SCK": 52, "SS": 53,
    },
)  # fmt: skip

LEONARDO = _profile(
    "leonardo",
    "Arduino Leonardo",
    count=24,
    analog=(*range(18, 24), 4, 6, 8, 9, 10, 12),
    pwm=(3, 5, 6, 9, 10, 11, 13),
    servo=range(2, 14),
    functions={
        "RX1": 0, "TX1": 1, "INT2": 0, "INT3": 1, "INT1": 2, "INT0": 3, "INT4": 7, "SDA": 2, "SCL": 3,
        "LED": 13, "MISO": 14, "SCK": 15, "MOSI": 16, "SS": 17,
    },
)  # fmt: skip

PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (UNO, MEGA, NANO, LEONARDO)}


def find_profile(name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        BoardError: If there is none.

    """
    found = PROFILES.get(name.lower())
    if found is None:
        near = did_you_mean(name, PROFILES)
        raise BoardError(f"there is no board {name[:40]!r}{near}; choose {listing(PROFILES, 'or')}")
    return found
