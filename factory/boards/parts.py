"""Parts: what hangs on the pins of a simulated board.

Each part looks at its pins when it is made, and refuses one that cannot do what it needs:
a button on A6 of a Nano would never be seen, whatever the sketch did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

from factory.boards.bench import Source
from factory.boards.edges import Edge
from factory.boards.errors import BoardError
from factory.boards.faults import GROUND, bounce
from factory.boards.modes import Mode, Signal
from factory.boards.simulated import BRIDGE_OHMS, SimPin
from mesh.text import did_you_mean, listing


class Part:
    """Something on the pins of a board.

    Attributes:
        name: What it is called.
        takes: What can be done to it, in words.

    Raises:
        PinUnsupportedError: If a pin cannot do what the part needs.

    """

    takes = "nothing can be done to it; it only shows what its pins do"

    def __init__(self, name: str, needs: Mapping[SimPin, Mode]) -> None:
        self.name = name
        for pin, mode in needs.items():
            pin.require(mode)

    def tell(self, message: str) -> None:
        """Do something to it, such as ``press`` or ``0.5``.

        Raises:
            BoardError: If that cannot be done to it.

        """
        raise BoardError(f"part {self.name} cannot be told {message[:20]!r}: {self.takes}")

    @property
    def state(self) -> str:
        """What it looks like right now, in a word or two."""
        raise NotImplementedError


class Led(Part):
    """A light-emitting diode, lit by a pin that is high; its other end is at ground."""

    def __init__(self, name: str, pin: SimPin) -> None:
        super().__init__(name, {pin: Mode.OUTPUT})
        self._pin = pin

    @property
    def brightness(self) -> float:
        """From 0 to 1; below the voltage that it needs to conduct it is dark."""
        supply = self._pin.board.profile.volts
        volts = self._pin.net.volts or 0.0
        return volts / supply

    @property
    def is_lit(self) -> bool:
        """Whether one sees it."""
        return self.brightness > 0.01

    @property
    def state(self) -> str:
        """``off``, ``on``, or how bright."""
        return {0: "off", 100: "on"}.get(percent := round(self.brightness * 100), f"{percent} %")


class Button(Part):
    """A push button to ground: pressed, the pin reads 0. It needs a pull-up.

    Args:
        name: What it is called.
        pin: Its pin.
        bounce: Seconds that its contact bounces; a cheap one does so for some milliseconds.

    """

    takes = "it takes press and release"

    def __init__(self, name: str, pin: SimPin, *, bounce: float = 0.002) -> None:
        super().__init__(name, {pin: Mode.INPUT})
        if not 0 <= bounce < 1:
            raise BoardError(f"button {name}: bounce is seconds from 0 to 1, got {bounce!r}")
        self.is_pressed = False
        self._pin = pin
        self._bounce = bounce
        self._turns = 0
        self._key = f"button {name}"

    def tell(self, message: str) -> None:
        """Press it or let go of it."""
        if message not in ("press", "release"):
            super().tell(message)
        self._turn(message == "press")

    def press(self) -> None:
        """Press it and keep it pressed."""
        self._turn(True)

    def release(self) -> None:
        """Let go of it."""
        self._turn(False)

    def _turn(self, pressed: bool) -> None:
        if pressed is self.is_pressed:
            return
        self.is_pressed = pressed
        self._turns += 1
        turn = self._turns
        number = self._pin.net.number * 1_000_003 + turn

        def close(closed: bool) -> None:
            if turn == self._turns:  # and not the rest of a bounce that was cut short
                self._close(closed)

        bounce(self._pin.board.bench, pressed, self._bounce, number, close)

    def _close(self, closed: bool) -> None:
        sources = self._pin.net.sources
        if closed:
            sources[self._key] = GROUND
        else:
            sources.pop(self._key, None)
        self._pin.board.bench.changed(self._pin.net)

    @property
    def state(self) -> str:
        """``pressed`` or ``released``."""
        return "pressed" if self.is_pressed else "released"


class _Adjustable(Part):
    """A part with one number that can be set."""

    def tell(self, message: str) -> None:
        """Set it to a number."""
        try:
            value = float(message)
        except ValueError:
            super().tell(message)
        else:
            self.set(value)

    def set(self, value: float) -> None:
        """Set it."""
        raise NotImplementedError


class _Voltage(_Adjustable):
    """A part that puts a voltage on an analog input."""

    def __init__(self, kind: str, name: str, pin: SimPin) -> None:
        super().__init__(name, {pin: Mode.ANALOG})
        self._pin = pin
        self._key = f"{kind} {name}"

    def _put(self, volts: float, ohms: float) -> None:
        self._pin.net.sources[self._key] = Source(volts, ohms)
        self._pin.board.bench.changed(self._pin.net)


class Potentiometer(_Voltage):
    """A knob between ground and the supply, 10 kilohms.

    Args:
        name: What it is called.
        pin: An analog input.
        position: Where it stands, from 0 to 1.

    """

    takes = "it takes a position from 0 to 1"

    def __init__(self, name: str, pin: SimPin, *, position: float = 0.5) -> None:
        super().__init__("potentiometer", name, pin)
        self.position = 0.0
        self.set(position)

    def set(self, value: float) -> None:
        """Turn it.

        Raises:
            BoardError: If the position is not from 0 to 1.

        """
        if not 0 <= value <= 1:
            raise BoardError(f"potentiometer {self.name}: a position is from 0 to 1, got {value!r}")
        self.position = value
        # The two parts of the track, seen from the wiper, are in parallel.
        self._put(self._pin.board.profile.volts * value, 10_000 * value * (1 - value) + BRIDGE_OHMS)

    @property
    def state(self) -> str:
        """Where it stands."""
        return f"{self.position * 100:.0f} %"


class Temperature(_Voltage):
    """A TMP36: 10 mV for each degree, 500 mV at 0 degrees Celsius.

    Args:
        name: What it is called.
        pin: An analog input.
        celsius: How warm it is.

    """

    takes = "it takes degrees Celsius"

    def __init__(self, name: str, pin: SimPin, *, celsius: float = 20.0) -> None:
        super().__init__("temperature sensor", name, pin)
        self.celsius = celsius
        self.set(celsius)

    def set(self, value: float) -> None:
        """Warm or cool it.

        Raises:
            BoardError: If the sensor does not go that far.

        """
        if not -40 <= value <= 125:
            raise BoardError(
                f"temperature sensor {self.name}: it goes from -40 to 125 degrees, got {value!r}"
            )
        self.celsius = value
        self._put(0.5 + 0.01 * value, 100.0)

    @property
    def state(self) -> str:
        """How warm it is."""
        return f"{self.celsius:g} °C"


class Buzzer(Part):
    """A piezo that sounds while its pin gives out a tone."""

    def __init__(self, name: str, pin: SimPin) -> None:
        super().__init__(name, {pin: Mode.OUTPUT})
        self._pin = pin

    @property
    def hertz(self) -> int:
        """What one hears; 0 for nothing."""
        return self._pin.values.get(Signal.TONE, 0)

    @property
    def state(self) -> str:
        """What one hears."""
        return f"{self.hertz} Hz" if self.hertz else "silent"


class Servo(Part):
    """A servo that takes its time: 60 degrees in so many seconds.

    Args:
        name: What it is called.
        pin: Its pin.
        pace: Seconds for 60 degrees.

    """

    def __init__(self, name: str, pin: SimPin, *, pace: float = 0.12) -> None:
        super().__init__(name, {pin: Mode.SERVO})
        if not pace > 0:
            raise BoardError(f"servo {name}: pace is seconds for 60 degrees, above 0, got {pace!r}")
        self._pin = pin
        self._pace = pace
        self._from = 90.0
        self._target = 90.0
        self._since = 0.0
        pin.watch(self._told)

    def _told(self, edge: Edge) -> None:
        if edge.signal is Signal.ANGLE:
            self._from, self._target, self._since = self.degrees, edge.value, edge.time

    @property
    def degrees(self) -> float:
        """Where its arm is right now."""
        way = (self._pin.board.bench.time - self._since) / self._pace * 60
        left = self._target - self._from
        return self._target if abs(left) <= way else self._from + (way if left > 0 else -way)

    @property
    def state(self) -> str:
        """Where its arm is."""
        return f"{self.degrees:.0f}°"


class Ultrasonic(_Adjustable):
    """An HC-SR04: a pulse of 10 µs at its trigger, and the echo is high for 58 µs a centimetre.

    Args:
        name: What it is called.
        trigger: The pin that asks.
        echo: The pin that is answered.
        centimetres: How far away the thing in front of it is.

    """

    LONGEST = 400.0
    takes = "it takes centimetres"

    def __init__(self, name: str, trigger: SimPin, echo: SimPin, *, centimetres: float = 100.0) -> None:
        super().__init__(name, {trigger: Mode.OUTPUT, echo: Mode.INPUT})
        self._trigger = trigger
        self._echo = echo
        self._key = f"ultrasonic sensor {name}"
        self._risen: float | None = None
        self._busy = False
        self.centimetres = 0.0
        self.set(centimetres)
        trigger.watch(self._asked)
        self._answer(False)

    def set(self, value: float) -> None:
        """Put the thing in front of it somewhere else.

        Raises:
            BoardError: If the sensor does not see that.

        """
        if not 2 <= value <= self.LONGEST:
            raise BoardError(
                f"ultrasonic sensor {self.name}: it sees from 2 to {self.LONGEST:g} cm, got {value!r}"
            )
        self.centimetres = value

    def _asked(self, edge: Edge) -> None:
        if edge.signal is not Signal.LEVEL:
            return
        if edge.value:
            self._risen = edge.time
            return
        risen, self._risen = self._risen, None
        # A hair is left for the rounding of the clock.
        if self._busy or risen is None or edge.time - risen < 9.9e-6:
            return
        self._busy = True
        bench = self._trigger.board.bench
        # It sends eight cycles of 40 kHz first.
        begun = edge.time + 450e-6
        bench.at(begun, lambda: self._answer(True))
        bench.at(begun + self.centimetres * 58e-6, lambda: self._answer(False))

    def _answer(self, high: bool) -> None:
        self._busy = self._busy and high
        supply = self._echo.board.profile.volts
        self._echo.net.sources[self._key] = Source(supply if high else 0.0, 1_000.0)
        self._echo.board.bench.changed(self._echo.net)

    @property
    def state(self) -> str:
        """How far away the thing in front of it is."""
        return f"{self.centimetres:g} cm"


_SEGMENTS = {
    "abcdef": "0", "bc": "1", "abdeg": "2", "abcdg": "3", "bcfg": "4", "acdfg": "5", "acdefg": "6",
    "abc": "7", "abcdefg": "8", "abcdfg": "9", "abcefg": "A", "cdefg": "b", "adef": "C", "bcdeg": "d",
    "adefg": "E", "aefg": "F", "g": "-", "": " ",
}  # fmt: skip


class SevenSegment(Part):
    """A digit of seven segments, common cathode: a segment is lit by a pin that is high.

    Args:
        name: What it is called.
        pins: The pins of the segments a to g, in that order.

    """

    def __init__(self, name: str, *pins: SimPin) -> None:
        if len(pins) != 7:
            raise BoardError(
                f"seven-segment display {name}: it has the 7 segments a to g, got {len(pins)} pins"
            )
        super().__init__(name, dict.fromkeys(pins, Mode.OUTPUT))
        self._leds = [Led(segment, pin) for segment, pin in zip("abcdefg", pins, strict=True)]

    @property
    def lit(self) -> str:
        """The segments that are lit, as ``abg``."""
        return "".join(led.name for led in self._leds if led.is_lit)

    @property
    def state(self) -> str:
        """The character that one reads; ``?`` if it is none."""
        return _SEGMENTS.get(self.lit, "?")


KINDS: Mapping[str, Callable[..., Part]] = {
    "led": Led,
    "button": Button,
    "potentiometer": Potentiometer,
    "buzzer": Buzzer,
    "servo": Servo,
    "ultrasonic": Ultrasonic,
    "temperature": Temperature,
    "seven-segment": SevenSegment,
}


def make_part(kind: str, name: str, /, *pins: SimPin, **settings: Any) -> Part:
    """Return a part of a kind that is named.

    Raises:
        BoardError: If there is no such kind, or if pins or settings are not what it has.
        PinUnsupportedError: If a pin cannot do what the part needs.

    """
    made = KINDS.get(kind)
    if made is None:
        near = did_you_mean(kind, KINDS)
        raise BoardError(f"part {name}: there is no {kind[:40]!r}{near}; choose {listing(KINDS, 'or')}")
    words = f"part {name}: {'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    fields = list(signature(made).parameters.values())[1:]  # the first one is its name
    _check_pins(words, [field.name for field in fields if field.kind is _IN_PLACE], pins)
    _check_settings(words, [field.name for field in fields if field.kind is _BY_NAME], settings)
    return made(name, *pins, **settings)


def _check_pins(part: str, places: list[str], pins: Sequence[SimPin]) -> None:
    """Make sure that a part has as many pins as it has places for; without any it takes what it is given."""
    if places and len(places) != len(pins):
        wanted = f"{len(places)} pins, {listing(places)}" if len(places) > 1 else "one pin"
        raise BoardError(f"{part} has {wanted}; got {len(pins)}")
    twice = next((pin for place, pin in enumerate(pins) if pin in pins[:place]), None)
    if twice is not None:
        raise BoardError(f"{part} has a pin for each of its ends, and {twice} is there twice")


def _check_settings(part: str, known: list[str], settings: Mapping[str, Any]) -> None:
    for word, value in settings.items():
        if word not in known:
            has = f"what can be set is {listing(known)}" if known else "nothing can be set"
            raise BoardError(f"{part} has no {word[:40]!r}{did_you_mean(word, known)}; {has}")
        if type(value) not in (int, float):
            raise BoardError(f"{part} has a number for {word}, not {str(value)[:20]!r}")


_IN_PLACE, _BY_NAME = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
