"""Firmata on the wire: bytes to messages and back, for the board and for its client.

After ``protocol.md`` of github.com/firmata/protocol (2.8). The rules that this rests on:

- A byte from 0x80 on is a command, one below is data. So a receiver that has lost its place
  finds it again at the next command; data without a command is garbage and skipped.
- A command has a fixed number of data bytes, but for sysex (0xF0 ... 0xF7). There is no
  running status, as MIDI has it: a command stands before each message.
- A command in the midst of another message ends that one, which is incomplete and dropped.
  The firmware of Arduino would wait for 0xF7; MIDI's rule recovers sooner.
- Numbers travel seven bits at a time, the lowest first; text as two such bytes a character.
- 0xF9 is a question to the board, without data, and an answer from it, with two bytes. That is
  all that the two directions differ in, so that one parser serves both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from factory.boards.firmata.messages import (
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
    OtherSysex,
    PinState,
    PinStateQuery,
    ReportAnalog,
    ReportDigital,
    Reset,
    SamplingInterval,
    SamplingIntervalQuery,
    ServoConfig,
    SetMode,
    SetPin,
    Text,
    Trouble,
    Version,
    VersionQuery,
)

MAX_SYSEX = 4096
"""Most bytes between 0xF0 and 0xF7. The capabilities of a Mega are under 2,000."""

MAX_TEXT = 500
"""Most characters of a text that is sent."""

START_SYSEX, END_SYSEX = 0xF0, 0xF7
DIGITAL, REPORT_ANALOG, REPORT_DIGITAL, ANALOG = 0x90, 0xC0, 0xD0, 0xE0
SET_MODE, SET_PIN, VERSION, RESET = 0xF4, 0xF5, 0xF9, 0xFF
MAPPING_QUERY, MAPPING, CAPABILITY_QUERY, CAPABILITIES = 0x69, 0x6A, 0x6B, 0x6C
PIN_STATE_QUERY, PIN_STATE, EXTENDED_ANALOG, SERVO_CONFIG, TEXT = 0x6D, 0x6E, 0x6F, 0x70, 0x71
FIRMWARE, SAMPLING_INTERVAL, SAMPLING_INTERVAL_QUERY = 0x79, 0x7A, 0x7C
_NO_CHANNEL = _END_OF_PIN = 0x7F


class _MalformedError(Exception):
    """A sysex message is not made as the protocol says."""


# -- to bytes --------------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """Return the bytes of a message.

    Raises:
        ValueError: If a field is larger than the protocol has room for.

    """
    return _ENCODERS[type(message)](message)


def _low(value: int, limit: int, what: str) -> int:
    if not 0 <= value < limit:
        raise ValueError(f"{what} is from 0 to {limit - 1} in Firmata, got {value}")
    return value


def septets(value: int, least: int = 2) -> bytes:
    """Return a number as bytes of seven bits, the lowest first."""
    found = bytearray()
    while value or len(found) < least:
        found.append(value & 0x7F)
        value >>= 7
    return bytes(found)


def _number(data: Sequence[int]) -> int:
    return sum(byte << 7 * place for place, byte in enumerate(data))


def _text(text: str) -> bytes:
    # Fourteen bits a character; what needs more is not for a microcontroller.
    codes = (code if (code := ord(letter)) < 1 << 14 else ord("?") for letter in text[:MAX_TEXT])
    return b"".join(septets(code) for code in codes)


def _letters(data: bytes) -> str:
    if len(data) % 2:
        raise _MalformedError("half a character")
    return "".join(map(chr, (low | high << 7 for low, high in zip(data[::2], data[1::2], strict=True))))


def _channel(command: int, number: int, what: str) -> int:
    return command | _low(number, 16, what)


def _sysex(command: int, data: Iterable[int] = b"") -> bytes:
    return bytes((START_SYSEX, command, *data, END_SYSEX))


def _capabilities(message: Capabilities) -> bytes:
    data = bytearray()
    for modes in message.pins:
        for mode, resolution in modes:
            data += bytes((_low(mode, 0x7F, "a mode"), _low(resolution, 0x80, "a resolution")))
        data.append(_END_OF_PIN)
    return _sysex(CAPABILITIES, data)


def _mapping(message: Mapping) -> bytes:
    return _sysex(
        MAPPING, (_NO_CHANNEL if c is None else _low(c, 0x7F, "a channel") for c in message.channels)
    )


def _pin(number: int) -> int:
    return _low(number, 0x80, "a pin")


def _fourteen(value: int) -> bytes:
    return septets(_low(value, 1 << 14, "a value"))


def _other(message: OtherSysex) -> bytes:
    if any(byte > 0x7F for byte in message.payload):
        raise ValueError("a sysex message holds bytes from 0 to 127 only")
    return _sysex(_low(message.command, 0x80, "a sysex command"), message.payload)


_ENCODERS: dict[type[Message], Callable[..., bytes]] = {
    DigitalPort: lambda m: (
        bytes((_channel(DIGITAL, m.port, "a port"),)) + septets(_low(m.levels, 256, "levels"))
    ),
    Analog: lambda m: bytes((_channel(ANALOG, m.pin, "a pin"),)) + _fourteen(m.value),
    ReportAnalog: lambda m: bytes((_channel(REPORT_ANALOG, m.channel, "a channel"), int(m.on))),
    ReportDigital: lambda m: bytes((_channel(REPORT_DIGITAL, m.port, "a port"), int(m.on))),
    SetMode: lambda m: bytes((SET_MODE, _pin(m.pin), _low(m.mode, 0x80, "a mode"))),
    SetPin: lambda m: bytes((SET_PIN, _pin(m.pin), _low(m.level, 2, "a level"))),
    Reset: lambda _m: bytes((RESET,)),
    VersionQuery: lambda _m: bytes((VERSION,)),
    Version: lambda m: bytes((VERSION, _low(m.major, 0x80, "a version"), _low(m.minor, 0x80, "a version"))),
    FirmwareQuery: lambda _m: _sysex(FIRMWARE),
    Firmware: lambda m: _sysex(
        FIRMWARE,
        bytes((_low(m.major, 0x80, "a version"), _low(m.minor, 0x80, "a version"))) + _text(m.name),
    ),
    CapabilityQuery: lambda _m: _sysex(CAPABILITY_QUERY),
    Capabilities: _capabilities,
    MappingQuery: lambda _m: _sysex(MAPPING_QUERY),
    Mapping: _mapping,
    PinStateQuery: lambda m: _sysex(PIN_STATE_QUERY, (_pin(m.pin),)),
    PinState: lambda m: _sysex(
        PIN_STATE,
        (_pin(m.pin), _low(m.mode, 0x80, "a mode"), *septets(_low(m.state, 1 << 32, "a state"), 1)),
    ),
    ExtendedAnalog: lambda m: _sysex(
        EXTENDED_ANALOG, (_pin(m.pin), *septets(_low(m.value, 1 << 32, "a value")))
    ),
    ServoConfig: lambda m: _sysex(
        SERVO_CONFIG, bytes((_pin(m.pin),)) + _fourteen(m.shortest) + _fourteen(m.longest)
    ),
    Text: lambda m: _sysex(TEXT, _text(m.text)),
    SamplingInterval: lambda m: _sysex(SAMPLING_INTERVAL, _fourteen(m.milliseconds)),
    SamplingIntervalQuery: lambda _m: _sysex(SAMPLING_INTERVAL_QUERY),
    OtherSysex: _other,
}


# -- from bytes ------------------------------------------------------------------------------


class Parser:
    """Bytes to messages, however they are cut.

    Holds at most one message of ``MAX_SYSEX`` bytes, whatever comes.

    Args:
        to_board: Whether it is the board that listens.

    Attributes:
        skipped: Bytes that belonged to no message.

    """

    def __init__(self, *, to_board: bool) -> None:
        self.skipped = 0
        self._to_board = to_board
        self._command: int | None = None
        self._wanted = 0
        self._data = bytearray()
        self._overlong = False

    def feed(self, data: bytes) -> list[Message | Trouble]:
        """Return the messages that are complete now, and at most one word on what was none."""
        found: list[Message | Trouble] = []
        trouble: list[str] = []
        skipped = self.skipped
        for byte in data:
            if byte >= 0x80:
                self._begin(byte, found, trouble)
            elif self._command is None:
                self.skipped += 1
            elif self._command == START_SYSEX:
                self._gather(byte, trouble)
            else:
                self._data.append(byte)
                if len(self._data) == self._wanted:
                    found.append(self._whole(self._command, bytes(self._data)))
                    self._forget()
        if self.skipped > skipped and not trouble:
            trouble.append(f"{self.skipped - skipped} bytes that belong to no message were skipped")
        if trouble:
            # However much garbage there is, the answer to it stays short.
            more = f" (and {len(trouble) - 1} more)" if len(trouble) > 1 else ""
            found.append(Trouble(trouble[0] + more))
        return found

    def _begin(self, byte: int, found: list[Message | Trouble], trouble: list[str]) -> None:
        if byte == END_SYSEX and self._command == START_SYSEX:
            if self._overlong:
                self.skipped += 1
            else:
                try:
                    found.append(_sysex_message(bytes(self._data)))
                except _MalformedError as exc:
                    self.skipped += len(self._data) + 2
                    trouble.append(f"a sysex message is malformed: {exc}")
            self._forget()
            return
        if self._command is not None:
            self.skipped += len(self._data) + 1
            trouble.append(f"a message (0x{self._command:02X}) was cut short by 0x{byte:02X}")
            self._forget()
        wanted = self._lengths().get(byte if byte >= 0xF0 else byte & 0xF0)
        if wanted is None:
            self.skipped += 1
        elif wanted == 0:
            found.append(Reset() if byte == RESET else VersionQuery())
        else:
            self._command, self._wanted = byte, wanted

    def _lengths(self) -> dict[int, int]:
        return _TO_BOARD if self._to_board else _FROM_BOARD

    def _gather(self, byte: int, trouble: list[str]) -> None:
        if self._overlong:
            self.skipped += 1
        elif len(self._data) < MAX_SYSEX:
            self._data.append(byte)
        else:
            self._overlong = True
            self.skipped += len(self._data) + 2
            self._data.clear()
            trouble.append(f"a sysex message is longer than {MAX_SYSEX} bytes")

    def _forget(self) -> None:
        self._command = None
        self._overlong = False
        self._data.clear()

    def _whole(self, command: int, data: bytes) -> Message:
        if command >= 0xF0:
            if command == SET_MODE:
                return SetMode(data[0], data[1])
            if command == SET_PIN:
                return SetPin(data[0], int(data[1] > 0))
            return Version(data[0], data[1])
        kind, number = command & 0xF0, command & 0x0F
        if kind == REPORT_ANALOG:
            return ReportAnalog(number, data[0] > 0)
        if kind == REPORT_DIGITAL:
            return ReportDigital(number, data[0] > 0)
        value = data[0] | data[1] << 7
        return DigitalPort(number, value & 0xFF) if kind == DIGITAL else Analog(number, value)


# How many bytes follow each command. To sysex belong as many as there are.
_BOTH_WAYS = {DIGITAL: 2, ANALOG: 2, START_SYSEX: -1}
_TO_BOARD = _BOTH_WAYS | {REPORT_ANALOG: 1, REPORT_DIGITAL: 1, SET_MODE: 2, SET_PIN: 2, VERSION: 0, RESET: 0}
_FROM_BOARD = _BOTH_WAYS | {VERSION: 2}


def _sysex_message(data: bytes) -> Message:
    if not data:
        raise _MalformedError("it is empty")
    command, payload = data[0], data[1:]
    if command == FIRMWARE:
        return _firmware(payload)
    query = _QUERIES.get(command)
    if query is not None and not payload:
        return query()
    decode = _DECODERS.get(command)
    if query is None and decode is None:
        return OtherSysex(command, payload)
    least, most = _LENGTHS.get(command, (0, MAX_SYSEX))
    if decode is None or not least <= len(payload) <= most:
        raise _MalformedError(f"0x{command:02X} with {len(payload)} bytes of data")
    return decode(payload)


def _firmware(data: bytes) -> Message:
    if not data:
        return FirmwareQuery()
    if len(data) < 2:
        raise _MalformedError("firmware without a version")
    return Firmware(data[0], data[1], _letters(data[2:]))


def _read_capabilities(data: bytes) -> Message:
    if data and data[-1] != _END_OF_PIN:
        raise _MalformedError("the last pin has no end")
    pins: list[tuple[tuple[int, int], ...]] = []
    modes: list[tuple[int, int]] = []
    rest = iter(data)
    for mode in rest:
        if mode == _END_OF_PIN:
            pins.append(tuple(modes))
            modes = []
            continue
        resolution = next(rest, None)
        if resolution is None:
            raise _MalformedError("a mode without a resolution")
        modes.append((mode, resolution))
    if modes:
        raise _MalformedError("the last pin has no end")
    return Capabilities(tuple(pins))


_QUERIES: dict[int, Callable[[], Message]] = {
    CAPABILITY_QUERY: CapabilityQuery,
    MAPPING_QUERY: MappingQuery,
    SAMPLING_INTERVAL_QUERY: SamplingIntervalQuery,
}
_LENGTHS = {
    PIN_STATE_QUERY: (1, 1),
    PIN_STATE: (3, 7),
    EXTENDED_ANALOG: (2, 6),
    SERVO_CONFIG: (5, 5),
    SAMPLING_INTERVAL: (2, 2),
}
_DECODERS: dict[int, Callable[[bytes], Message]] = {
    CAPABILITIES: _read_capabilities,
    MAPPING: lambda d: Mapping(tuple(None if channel == _NO_CHANNEL else channel for channel in d)),
    PIN_STATE_QUERY: lambda d: PinStateQuery(d[0]),
    PIN_STATE: lambda d: PinState(d[0], d[1], _number(d[2:])),
    EXTENDED_ANALOG: lambda d: ExtendedAnalog(d[0], _number(d[1:])),
    SERVO_CONFIG: lambda d: ServoConfig(d[0], _number(d[1:3]), _number(d[3:5])),
    TEXT: lambda d: Text(_letters(d)),
    SAMPLING_INTERVAL: lambda d: SamplingInterval(_number(d)),
}
