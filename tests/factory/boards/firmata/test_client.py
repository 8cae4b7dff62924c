"""The client's end of Firmata: by itself, and joined to the board's end by a wire that is no wire."""

from __future__ import annotations

import pytest

from factory.boards import BoardLostError, Mode, Pin, Signal, SimBoard
from factory.boards.firmata.client import MOST_WAITING, FirmataBoard, Greeting
from factory.boards.firmata.codec import Parser, encode
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
    ReportAnalog,
    ReportDigital,
    SetMode,
    SetPin,
    Text,
    Version,
)
from factory.boards.firmata.session import Session
from factory.boards.profiles import Profile
from tests.helpers.boards import board, shown

FIRMWARE = Firmware(2, 5, "StandardFirmata.ino")
LEVELS = ((0, 1), (1, 1), (11, 1))


def greeted(*messages: Message) -> Greeting:
    greeting = Greeting()
    for message in messages:
        greeting.receive(encode(message))
    return greeting


def profile_of(kind: str) -> Profile:
    """Return what a client makes of a simulated board."""
    session = Session(board(kind), "client", lambda: None)
    greeting = Greeting()
    for _ in range(2):
        session.receive(greeting.questions(), 0.0)
        greeting.receive(session.data_to_send())
    session.close()
    assert greeting.profile is not None
    return greeting.profile


def test_questions_are_asked_until_they_are_answered() -> None:
    # A board that boots keeps 64 bytes of what it is asked, so the long answers are asked for later.
    assert Parser(to_board=True).feed(Greeting().questions()) == [FirmwareQuery()]
    assert Parser(to_board=True).feed(greeted(FIRMWARE).questions()) == [CapabilityQuery(), MappingQuery()]
    greeting = greeted(FIRMWARE, Mapping((None, 0)))
    assert Parser(to_board=True).feed(greeting.questions()) == [CapabilityQuery()]
    before = greeting.profile
    greeting.receive(encode(Capabilities((LEVELS, ((2, 10),)))))
    assert (before is None, greeting.profile is None) == (True, False)
    assert greeting.questions() == b""


UNO = encode(FIRMWARE) + encode(Capabilities((LEVELS, (*LEVELS, (2, 10))))) + encode(Mapping((None, 0)))


@pytest.mark.parametrize("noise", [b"\x01\x02", b"\xf0\x79\xf7\xf0\x6c\x01\xf7", b"\xe0\x01\xf9"])
def test_answers_that_come_with_noise_do_not_count(noise: bytes) -> None:
    greeting = Greeting()
    greeting.receive(UNO + noise)
    assert greeting.profile is None
    # It is asked from the beginning.
    assert Parser(to_board=True).feed(greeting.questions()) == [FirmwareQuery()]
    # Whatever was left half said by the noise ends with the next command.
    greeting.receive(encode(Version(2, 5)))
    greeting.receive(UNO)
    assert greeting.profile is not None


@pytest.mark.parametrize(
    ("capabilities", "mapping", "why"),
    [
        ((), (), "it has no pin that can do anything"),
        (((), ()), (None, None), "it has no pin that can do anything"),
        ((LEVELS, ((2, 10),)), (0, None), "its pin 1 is an analog input without a channel"),
        ((LEVELS, ((2, 10),)), (None,), "its pin 1 is an analog input without a channel"),
    ],
)
def test_pins_that_make_no_sense_are_asked_for_again(
    capabilities: tuple[tuple[tuple[int, int], ...], ...], mapping: tuple[int | None, ...], why: str
) -> None:
    greeting = greeted(FIRMWARE, Capabilities(capabilities), Mapping(mapping))
    assert (greeting.profile, greeting.nonsense) == (None, why)
    greeting.receive(UNO)
    assert greeting.profile is not None


@pytest.mark.parametrize("kind", ["uno", "mega", "nano", "leonardo"])
def test_a_known_board_is_recognised_by_its_analog_pins(kind: str) -> None:
    profile = profile_of(kind)
    own = board(kind).profile
    assert profile.name == kind
    assert profile.title == f"{own.title} with StandardFirmata.ino 2.5"
    assert [spec.name for spec in profile.pins] == [spec.name for spec in own.pins]
    # The line that Firmata itself comes by is not for others.
    reserved = {spec.number for spec in own.pins if {"RX0", "TX0"} & set(spec.functions)}
    for spec in profile.pins:
        assert spec.modes == (frozenset() if spec.number in reserved else own.pins[spec.number].modes)


def test_a_board_that_nobody_knows_is_taken_at_its_word() -> None:
    i2c, servo = (6, 1), (4, 14)
    greeting = greeted(
        FIRMWARE, Capabilities((LEVELS, (*LEVELS, i2c, servo), ((2, 12),))), Mapping((None, None, 0))
    )
    profile = greeting.profile
    assert profile is not None
    assert (profile.name, profile.title) == ("firmata", "board with StandardFirmata.ino 2.5")
    assert [spec.name for spec in profile.pins] == ["0", "1", "A0"]
    assert profile.pins[1].modes == {Mode.INPUT, Mode.OUTPUT, Mode.INPUT_PULLUP, Mode.SERVO}
    assert profile.number("A0") == 2


class Pair:
    """A ``FirmataBoard`` and the simulated board that it drives."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.near = FirmataBoard(
            "near", profile_of("mega"), lambda: 0.0, wake=lambda: None, say=self.said.append
        )
        self.far: SimBoard = board("mega")
        self.session = Session(self.far, "near", lambda: None)

    def exchange(self) -> None:
        """Carry bytes until nobody has any."""
        while True:
            there, back = self.near.data_to_send(), self.session.data_to_send()
            if not there and not back:
                return
            self.session.receive(there, 0.0)
            self.near.receive(back)


def sent(near: FirmataBoard) -> list[object]:
    return list(Parser(to_board=True).feed(near.data_to_send()))


def test_what_is_written_here_happens_there() -> None:
    pair = Pair()
    pair.near.pin(13).digital_write(1)
    pair.near.pin(9).analog_write(99)
    pair.near.pin(44).analog_write(255)
    pair.near.pin(30).servo_write(45)
    pair.exchange()
    far = pair.far
    assert far.pin(13).digital_read() == 1
    assert (far.pin(9).values[Signal.DUTY], far.pin(44).values[Signal.DUTY]) == (99, 255)
    assert far.pin(30).values[Signal.ANGLE] == 45
    assert pair.said == []


def test_what_happens_there_is_seen_here() -> None:
    pair = Pair()
    for ref in (2, 3, 40):
        pair.near.pin(ref).set_mode(Mode.INPUT_PULLUP)
    pair.near.pin("A15").set_mode(Mode.ANALOG)
    pair.exchange()
    pair.far.pin(3).drive(0)
    pair.far.pin("A15").drive(700)
    pair.session.handle_timer(1.0)
    pair.exchange()
    assert [pair.near.pin(ref).digital_read() for ref in (2, 3, 40)] == [1, 0, 1]
    assert pair.near.pin("A15").analog_read() == 700
    assert shown(pair.near.log.since(0)[0])[-2:] == [(69, "ANALOG", 700), (3, "LEVEL", 0)]


def test_the_messages_that_a_mode_takes() -> None:
    near = Pair().near
    near.pin(2).set_mode(Mode.INPUT)
    assert sent(near) == [SetMode(2, 0), ReportDigital(0, True)]
    near.pin(3).set_mode(Mode.INPUT_PULLUP)
    assert sent(near) == [SetMode(3, 11)]
    near.pin("A0").set_mode(Mode.ANALOG)
    assert sent(near) == [ReportAnalog(0, True), SetMode(54, 2)]
    near.pin("A0").set_mode(Mode.UNSET)
    assert sent(near) == [ReportAnalog(0, False), SetMode(54, 0)]
    near.pin(9).analog_write(1)
    near.pin(46).analog_write(2)
    near.pin(13).digital_write(1)
    assert sent(near) == [
        SetMode(9, 3),
        Analog(9, 1),
        SetMode(46, 3),
        ExtendedAnalog(46, 2),
        SetMode(13, 1),
        SetPin(13, 1),
    ]


def test_what_nobody_asked_for_is_no_edge() -> None:
    pair = Pair()
    pair.near.receive(encode(DigitalPort(0, 0xFF)) + encode(Analog(0, 5)) + encode(DigitalPort(15, 1)))
    assert pair.near.log.made == 0
    pair.near.pin("A0").set_mode(Mode.ANALOG)
    pair.near.receive(encode(Analog(0, 16_383)))
    assert pair.near.pin("A0").analog_read() == 1023


def test_what_the_board_says_is_passed_on() -> None:
    pair = Pair()
    pair.near.receive(encode(Text("")) + encode(Text("I2C device not found")) + b"\x01\x02")
    assert pair.said == [
        "near says: I2C device not found",
        "near says: 2 bytes that belong to no message were skipped",
    ]


def test_a_board_that_answers_twice_is_not_taken_for_noise() -> None:
    # It was asked again while it booted, and the greeting ends in the midst of the second answer.
    greeting = Greeting()
    greeting.receive(UNO + UNO[:9])
    assert greeting.profile is not None
    pair = Pair()
    pair.near.follow(greeting)
    pair.near.receive(UNO[9:])
    assert pair.said == []


def toggle(pin: Pin, times: int) -> None:
    for turn in range(times):
        pin.digital_write(turn % 2)


def test_a_line_that_is_full_refuses_more() -> None:
    near = Pair().near
    pin = near.pin(13)
    with pytest.raises(BoardLostError, match=r"the line to near is full"):
        toggle(pin, MOST_WAITING)
    level = pin.digital_read()
    assert len(near.data_to_send()) <= MOST_WAITING + 3
    pin.digital_write(1 - level)
    assert sent(near) == [SetPin(13, 1 - level)]


def test_a_line_that_was_down_begins_anew() -> None:
    near = Pair().near
    near.pin(13).digital_write(1, by="blink")
    near.pin(2).set_mode(Mode.INPUT)
    near.receive(b"\xf0\x71\x01")
    near.lose("unplugged")
    near.follow(greeted(FIRMWARE))
    near.leave("blink")
    assert near.data_to_send() == b""
    near.restore()
    assert sent(near) == [SetMode(2, 0), ReportDigital(0, True), SetMode(13, 1), SetPin(13, 0)]
    near.receive(encode(DigitalPort(0, 0b100)))
    assert near.pin(2).digital_read() == 1


def test_what_was_let_go_while_the_line_was_down_is_let_go_when_it_is_up() -> None:
    pair = Pair()
    relay = pair.near.pin(8)
    relay.failsafe = None
    relay.digital_write(1, by="blink")
    pair.exchange()
    pair.near.lose("the cable was pulled")
    pair.near.leave("blink")
    # Nobody told the board, which has kept its power.
    assert pair.far.pin(8).digital_read() == 1
    pair.near.restore()
    pair.exchange()
    assert (relay.mode, pair.far.pin(8).mode) == (Mode.UNSET, Mode.INPUT)


def test_a_board_that_is_older_than_2_5_is_written_a_port_at_a_time() -> None:
    pair = Pair()
    pair.near.follow(greeted(Firmware(2, 4, "StandardFirmata.ino")))
    pair.near.pin(13).digital_write(1)
    pair.near.pin(12).digital_write(1)
    pair.near.pin(13).digital_write(0)
    assert sent(pair.near) == [
        SetMode(13, 1),
        DigitalPort(1, 0b0010_0000),
        SetMode(12, 1),
        DigitalPort(1, 0b0011_0000),
        DigitalPort(1, 0b0001_0000),
    ]
