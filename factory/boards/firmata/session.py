"""One Firmata client of a board, seen from the board: bytes in, board calls, bytes out.

The driver moves bytes and time, nothing else::

    session.receive(data, now)        what came; answers are made at once
    session.data_to_send()            what shall go out, with the latest levels
    session.next_deadline()           when handle_timer() wants to be called
    session.handle_timer(now)         analog inputs are due
    session.close()                   the client is gone: its outputs go to their fail-safe level

Digital reports are states and not a queue: a client that reads slowly gets the latest levels of
each port, and nothing grows. It behaves as StandardFirmata does, but that an output which
belongs to somebody else is left alone, and that what cannot be is answered with a text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from factory.boards.board import Board, Pin
from factory.boards.edges import Edge
from factory.boards.errors import BoardLostError, PinError
from factory.boards.firmata.codec import Parser, encode
from factory.boards.firmata.messages import (
    MODE_NUMBERS,
    MODES,
    RESOLUTIONS,
    SAMPLING_INTERVAL,
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
from factory.boards.modes import Mode, Signal

VERSION = Version(2, 5)
FIRMWARE = Firmware(2, 5, "StandardFirmata.ino")
"""What clients expect; johnny-five says what it met, and pymata4 looks for the version."""

MOST_WAITING = 16_384
"""Bytes that may wait for a client; while there are more, its analog inputs are not sampled."""

_SHORTEST, _LONGEST = 544, 2400
_LEVELS = (Mode.INPUT, Mode.INPUT_PULLUP)
_SHORTEST_INTERVAL = 0.001


class Session:
    """One client.

    Args:
        board: The board.
        owner: What the client is called, for those whom it keeps from its outputs.
        wake: Called when ``data_to_send`` has something new.

    """

    def __init__(self, board: Board, owner: str, wake: Callable[[], object]) -> None:
        self._board = board
        self._owner = owner
        self._wake = wake
        self._parser = Parser(to_board=True)
        self._out = bytearray()
        self._ports: set[int] = set()
        self._changed: set[int] = set()
        self._sent: dict[int, int] = {}
        self._channels: dict[int, Pin] = {}
        self._interval = SAMPLING_INTERVAL
        self._due = 0.0
        self._now = 0.0
        self._pulses: dict[int, tuple[int, int]] = {}
        self._set_up: set[Pin] = set()
        self._unwatch = board.watch(self._edge)
        self._analog_pins = {spec.analog: board.pins[spec.number] for spec in board.profile.analog_pins}

    # -- the five verbs --------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Say who we are, unasked, as firmware does when it has booted."""
        self._now = now
        self._say(VERSION)
        self._say(FIRMWARE)

    def receive(self, data: bytes, now: float) -> None:
        """Do what a client says."""
        self._now = now
        for message in self._parser.feed(data):
            do = _DO.get(type(message))
            if do is None:
                continue  # I2C and the like, which StandardFirmata answers to nobody either
            try:
                do(self, message)
            except (PinError, BoardLostError) as exc:
                self._say(Text(str(exc)))

    def data_to_send(self) -> bytes:
        """Return what shall go out now; empty if nothing."""
        for port in sorted(self._changed):
            self._out += encode(DigitalPort(port, self._levels(port)))
        self._changed.clear()
        data = bytes(self._out)
        self._out.clear()
        return data

    def next_deadline(self) -> float | None:
        """Return when analog inputs are due; ``None`` if none is reported."""
        return self._due if self._channels else None

    def handle_timer(self, now: float) -> None:
        """Report the analog inputs, if it is time; what was missed meanwhile is not made up for."""
        self._now = now
        if not self._channels or now < self._due:
            return
        self._due = max(self._due + self._interval, now)
        if len(self._out) > MOST_WAITING:
            return
        for channel, pin in self._channels.items():
            if pin.mode is Mode.ANALOG:
                self._say(Analog(channel, pin.analog_read()))

    def close(self) -> None:
        """Take note that the client is gone."""
        self._unwatch()
        self._reset()

    # -- what the board does -----------------------------------------------------------------

    def _edge(self, edge: Edge) -> None:
        port = edge.pin >> 3
        if edge.signal is Signal.LEVEL and port in self._ports:
            self._changed.add(port)
            self._wake()

    def _levels(self, port: int) -> int:
        """Return the levels of a port's inputs; as in StandardFirmata, outputs count as 0."""
        pins = self._board.pins[port * 8 : port * 8 + 8]
        return sum(pin.digital_read() << place for place, pin in enumerate(pins) if pin.mode in _LEVELS)

    def _say(self, message: Message) -> None:
        self._out += encode(message)
        self._wake()

    # -- what the client says ----------------------------------------------------------------

    def _pin(self, number: int) -> Pin:
        return self._board.pin(number)

    def _set_mode(self, message: SetMode) -> None:
        pin = self._pin(message.pin)
        mode = MODES.get(message.mode)
        if mode is None:
            self._say(Text(f"pin {pin} cannot be set to Firmata's mode {message.mode}"))
            return
        pin.set_mode(mode, by=self._owner)
        self._set_up.add(pin)
        channel = pin.spec.analog
        if channel is not None:
            # Unwritten, and pymata4 rests on it: whoever sets ANALOG wants to be told.
            self._report_channel(channel, pin, on=mode is Mode.ANALOG)
        if mode in _LEVELS and pin.spec.number >> 3 in self._ports:
            self._changed.add(pin.spec.number >> 3)

    def _set_pin(self, message: SetPin) -> None:
        pin = self._pin(message.pin)
        if not pin.mode.is_input:
            pin.digital_write(message.level, by=self._owner)

    def _write_port(self, message: DigitalPort) -> None:
        before = self._sent.get(message.port, 0)
        self._sent[message.port] = message.levels
        for place, pin in enumerate(self._board.pins[message.port * 8 : message.port * 8 + 8]):
            level = message.levels >> place & 1
            try:
                self._write_of_port(pin, level, changed=level != before >> place & 1)
            except PinError as exc:
                # What is refused of one pin is nothing that the others have to do with.
                self._say(Text(str(exc)))

    def _write_of_port(self, pin: Pin, level: int, *, changed: bool) -> None:
        if level and pin.mode is Mode.INPUT:
            # How a pull-up was asked for before there was a mode for it; johnny-five still does.
            pin.set_mode(Mode.INPUT_PULLUP, by=self._owner)
            return
        # A port is written as a whole; of the pins of others only what was changed is meant.
        theirs = pin.owner == self._owner and pin.mode is Mode.OUTPUT
        if theirs or (changed and pin.mode in (Mode.OUTPUT, Mode.UNSET)):
            pin.digital_write(level, by=self._owner)

    def _write_analog(self, message: Analog | ExtendedAnalog) -> None:
        pin = self._pin(message.pin)
        if pin.mode is Mode.SERVO:
            pin.servo_write(self._degrees(message.pin, message.value), by=self._owner)
        elif pin.mode is Mode.PWM:
            pin.analog_write(message.value, by=self._owner)

    def _degrees(self, pin: int, value: int) -> int:
        # As the servo library: small numbers are degrees, large ones the pulse in microseconds.
        if value < _SHORTEST:
            return min(value, Signal.ANGLE.highest)
        shortest, longest = self._pulses.get(pin, (_SHORTEST, _LONGEST))
        way = (value - shortest) / max(longest - shortest, 1)
        return round(min(max(way, 0.0), 1.0) * Signal.ANGLE.highest)

    def _configure_servo(self, message: ServoConfig) -> None:
        # It attaches the servo, too: pymata4 and pyFirmata2 set no mode.
        self._set_mode(SetMode(message.pin, MODE_NUMBERS[Mode.SERVO]))
        self._pulses[message.pin] = (message.shortest, message.longest)

    def _report_analog(self, message: ReportAnalog) -> None:
        pin = self._analog_pins.get(message.channel)
        if pin is None:
            self._say(Text(f"{self._board.name} has no analog channel {message.channel}"))
            return
        if message.on and pin.mode is Mode.UNSET:
            # The firmware has its analog pins so from the start, and pyFirmata2 rests on it.
            pin.set_mode(Mode.ANALOG, by=self._owner)
            self._set_up.add(pin)
        self._report_channel(message.channel, pin, on=message.on)

    def _report_channel(self, channel: int, pin: Pin, *, on: bool) -> None:
        if not on:
            self._channels.pop(channel, None)
            return
        if not self._channels:
            self._due = self._now + self._interval
        self._channels[channel] = pin
        if pin.mode is Mode.ANALOG:
            self._say(Analog(channel, pin.analog_read()))

    def _report_digital(self, message: ReportDigital) -> None:
        if not message.on or message.port * 8 >= len(self._board.pins):
            self._ports.discard(message.port)
            return
        self._ports.add(message.port)
        self._changed.add(message.port)
        self._wake()

    def _set_interval(self, message: SamplingInterval) -> None:
        self._interval = max(message.milliseconds / 1000, _SHORTEST_INTERVAL)
        self._due = self._now + self._interval

    def _reset(self, _message: Reset | None = None) -> None:
        self._board.leave(self._owner)
        for pin in self._set_up:
            if pin.mode.is_input and self._board.lost is None:
                pin.set_mode(Mode.UNSET)
        self._set_up.clear()
        self._ports.clear()
        self._changed.clear()
        self._channels.clear()
        self._sent.clear()
        self._pulses.clear()
        self._interval = SAMPLING_INTERVAL

    # -- what the client asks ----------------------------------------------------------------

    def _capabilities(self, _message: CapabilityQuery) -> None:
        pins = tuple(
            # Pins 0 and 1 are the line that Firmata itself would come by.
            ()
            if {"RX0", "TX0"} & set(spec.functions)
            else tuple((MODE_NUMBERS[mode], RESOLUTIONS[mode]) for mode in MODE_NUMBERS if mode in spec.modes)
            for spec in self._board.profile.pins
        )
        self._say(Capabilities(pins))

    def _mapping(self, _message: MappingQuery) -> None:
        self._say(Mapping(tuple(spec.analog for spec in self._board.profile.pins)))

    def _pin_state(self, message: PinStateQuery) -> None:
        pin = self._pin(message.pin)
        state = {
            Mode.OUTPUT: pin.written,
            Mode.PWM: pin.values.get(Signal.DUTY, 0),
            Mode.SERVO: pin.values.get(Signal.ANGLE, 0),
            Mode.INPUT_PULLUP: 1,
        }.get(pin.mode, 0)
        self._say(PinState(message.pin, MODE_NUMBERS.get(pin.mode, MODE_NUMBERS[Mode.INPUT]), state))


_DO: dict[type[Message | Trouble], Callable[[Session, Any], None]] = {
    SetMode: Session._set_mode,
    SetPin: Session._set_pin,
    DigitalPort: Session._write_port,
    Analog: Session._write_analog,
    ExtendedAnalog: Session._write_analog,
    ServoConfig: Session._configure_servo,
    ReportAnalog: Session._report_analog,
    ReportDigital: Session._report_digital,
    SamplingInterval: Session._set_interval,
    Reset: Session._reset,
    VersionQuery: lambda session, _message: session._say(VERSION),
    FirmwareQuery: lambda session, _message: session._say(FIRMWARE),
    CapabilityQuery: Session._capabilities,
    MappingQuery: Session._mapping,
    PinStateQuery: Session._pin_state,
    SamplingIntervalQuery: lambda session, _message: session._say(
        SamplingInterval(round(session._interval * 1000))
    ),
    Trouble: lambda session, message: session._say(Text(message.text)),
}
