"""A board at the other end of a line: the same interface, on Firmata.

Bytes in, bytes out, as everywhere here; the driver connects, and connects again. First comes
``Greeting``, which finds out what the board has; then a ``FirmataBoard`` that has it.

What is written counts as done when it is sent: Firmata does not acknowledge. What is read is
what was last reported.
"""

from __future__ import annotations

from collections.abc import Callable

from factory.boards.board import Board, Pin
from factory.boards.errors import BoardLostError, PinUnsupportedError
from factory.boards.firmata.codec import Parser, encode
from factory.boards.firmata.messages import (
    MODE_NUMBERS,
    MODES,
    Analog,
    Capabilities,
    CapabilityQuery,
    DigitalPort,
    ExtendedAnalog,
    Firmware,
    FirmwareQuery,
    Mapping,
    MappingQuery,
    Message,
    ReportAnalog,
    ReportDigital,
    SetMode,
    SetPin,
    Text,
    Trouble,
)
from factory.boards.modes import Mode, Signal
from factory.boards.profiles import PROFILES, PinSpec, Profile

MOST_WAITING = 65_536
"""Bytes that may wait for a slow line; beyond, whoever writes is refused."""

_LEVELS = (Mode.INPUT, Mode.INPUT_PULLUP)


class Greeting:
    """Find out what a board is.

    Noise may spell anything, so answers count only if they come without noise and make sense.

    Attributes:
        profile: What it has; ``None`` until it has said so.
        nonsense: What was wrong with the latest answers; ``None`` if nothing was.
        parser: What has read them; it may be in the midst of a message.

    """

    def __init__(self) -> None:
        self.profile: Profile | None = None
        self.nonsense: str | None = None
        self.parser = Parser(to_board=False)
        self._firmware: Firmware | None = None
        self._capabilities: Capabilities | None = None
        self._mapping: Mapping | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the board has answered at all."""
        return self._firmware is not None

    @property
    def sets_pins(self) -> bool:
        """Whether the board knows the message for a single pin, which is younger than that for a port."""
        return self._firmware is not None and (self._firmware.major, self._firmware.minor) >= (2, 5)

    def questions(self) -> bytes:
        """Return what to send; again after a while if there is no answer, for a board takes time to boot."""
        if not self.has_begun:
            # A board that boots keeps 64 bytes of what it is asked, and answers all of it in the end. Were
            # that long answers, there would be no room for what it is told next.
            return encode(FirmwareQuery())
        asked: list[Message] = []
        if self._capabilities is None:
            asked.append(CapabilityQuery())
        if self._mapping is None:
            asked.append(MappingQuery())
        return b"".join(map(encode, asked))

    def receive(self, data: bytes) -> None:
        """Take what came."""
        messages = self.parser.feed(data)
        for message in messages:
            if isinstance(message, Firmware):
                self._firmware = message
            elif isinstance(message, Capabilities):
                self._capabilities = message
            elif isinstance(message, Mapping):
                self._mapping = message
        if messages and isinstance(messages[-1], Trouble):
            self._forget(messages[-1].text)
        elif self._firmware and self._capabilities and self._mapping:
            why = _nonsense(self._capabilities, self._mapping)
            if why is None:
                self.profile = profile_of(self._firmware, self._capabilities, self._mapping)
            else:
                self._forget(why)

    def _forget(self, why: str) -> None:
        """Drop all that was answered; it is asked for again."""
        self.nonsense = why
        self._firmware = self._capabilities = self._mapping = None


def _nonsense(capabilities: Capabilities, mapping: Mapping) -> str | None:
    """Return why these cannot be the pins of a board, or nothing."""
    if not any(capabilities.pins):
        return "it has no pin that can do anything"
    analog = MODE_NUMBERS[Mode.ANALOG]
    for number, modes in enumerate(capabilities.pins):
        if any(mode == analog for mode, _ in modes) and _channel(mapping, number) is None:
            return f"its pin {number} is an analog input without a channel"
    return None


def _channel(mapping: Mapping, pin: int) -> int | None:
    return mapping.channels[pin] if pin < len(mapping.channels) else None


def profile_of(firmware: Firmware, capabilities: Capabilities, mapping: Mapping) -> Profile:
    """Return what a board has, by its own words.

    A board does not say what it is. One with the analog pins of a kind that we know is taken for that
    kind, which gives its pins the names that are printed on it.
    """
    channels = mapping.channels[: len(capabilities.pins)]
    known = next(
        (profile for profile in PROFILES.values() if tuple(spec.analog for spec in profile.pins) == channels),
        None,
    )
    pins = []
    for number, modes in enumerate(capabilities.pins):
        channel = _channel(mapping, number)
        able = frozenset(MODES[mode] for mode, _ in modes if mode in MODES)
        name = str(number) if channel is None else f"A{channel}"
        spec = known.pins[number] if known else PinSpec(number, name, able, channel, ())
        pins.append(PinSpec(number, spec.name, able, channel, spec.functions))
    words = f"{firmware.name or 'Firmata'} {firmware.major}.{firmware.minor}"
    title = f"{known.title} with {words}" if known else f"board with {words}"
    return Profile(known.name if known else "firmata", title, tuple(pins))


class FirmataBoard(Board):
    """A board that is driven over a line.

    Args:
        name: What it is called.
        profile: What it has.
        clock: Returns the time in seconds.
        wake: Called when ``data_to_send`` has something new.
        say: Told what the board itself says, and what was no message.

    """

    has_tone = False

    def __init__(
        self,
        name: str,
        profile: Profile,
        clock: Callable[[], float],
        *,
        wake: Callable[[], object],
        say: Callable[[str], object],
    ) -> None:
        super().__init__(name, profile, clock)
        self._wake = wake
        self._say = say
        self._parser = Parser(to_board=False)
        self._out = bytearray()
        self._ports: set[int] = set()
        self._set_up: dict[Pin, None] = {}  # in order
        self._sets_pins = True
        self._by_channel = {
            spec.analog: self.pins[spec.number] for spec in profile.pins if spec.analog is not None
        }

    def follow(self, greeting: Greeting) -> None:
        """Go on where a greeting has ended: a board that was asked twice may be answering still."""
        self._parser = greeting.parser
        self._sets_pins = greeting.sets_pins

    def receive(self, data: bytes) -> None:
        """Take what came from the board."""
        for message in self._parser.feed(data):
            if isinstance(message, DigitalPort):
                self._levels_came(message)
            elif isinstance(message, Analog):
                pin = self._by_channel.get(message.pin)
                if pin is not None and pin.mode is Mode.ANALOG:
                    self._note(pin, Signal.ANALOG, min(message.value, Signal.ANALOG.highest))
            elif isinstance(message, Text | Trouble) and message.text.strip():
                self._say(f"{self.name} says: {message.text}")

    def data_to_send(self) -> bytes:
        """Return what shall go out now."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def lose(self, reason: str) -> None:
        """Take note that the line is down; what was not sent yet never will be."""
        self._out.clear()
        self._ports.clear()
        super().lose(reason)

    def restore(self) -> None:
        """Take note that the line is up again, and let go of what was let go of meanwhile."""
        was_lost = self.lost is not None
        super().restore()
        if was_lost:
            # A board that kept its power still drives them.
            for pin in self._set_up:
                if pin.mode is Mode.UNSET:
                    self._apply_mode(pin)

    def _levels_came(self, message: DigitalPort) -> None:
        first = message.port * 8
        for place, pin in enumerate(self.pins[first : first + 8]):
            if pin.mode in _LEVELS:
                self._note(pin, Signal.LEVEL, message.levels >> place & 1)

    def _send(self, message: Message) -> None:
        if self.lost is not None:
            return  # nobody is there; restore() makes up for it
        self._out += encode(message)
        self._wake()

    # -- backend -------------------------------------------------------------------------

    def _check_there(self) -> None:
        super()._check_there()
        if len(self._out) > MOST_WAITING:
            raise BoardLostError(f"the line to {self.name} is full; write less, or wait a moment")

    def _apply_mode(self, pin: Pin) -> None:
        self._set_up[pin] = None
        number = pin.spec.number
        mode = Mode.INPUT if pin.mode is Mode.UNSET else pin.mode
        if pin.spec.analog is not None:
            self._send(ReportAnalog(pin.spec.analog, mode is Mode.ANALOG))
        self._send(SetMode(number, MODE_NUMBERS[mode]))
        if pin.mode in _LEVELS and number >> 3 not in self._ports:
            self._ports.add(number >> 3)
            self._send(ReportDigital(number >> 3, True))

    def _write(self, pin: Pin, signal: Signal, value: int) -> None:
        number = pin.spec.number
        if signal is Signal.LEVEL:
            self._send(SetPin(number, value) if self._sets_pins else self._port_of(pin))
            self._note(pin, Signal.LEVEL, value)
        else:
            self._send(Analog(number, value) if number < 16 else ExtendedAnalog(number, value))

    def _port_of(self, pin: Pin) -> DigitalPort:
        port = pin.spec.number >> 3
        outputs = (each for each in self.pins[port * 8 : port * 8 + 8] if each.mode is Mode.OUTPUT)
        return DigitalPort(port, sum(each.written << (each.spec.number & 7) for each in outputs))

    def _convert(self, pin: Pin) -> int:
        return pin.values.get(Signal.ANALOG, 0)

    def _drive(self, pin: Pin, value: int | None) -> None:
        raise PinUnsupportedError(
            f"pin {pin} is one of a board that is not simulated here; what is wired to it there drives it",
            str(pin),
        )
