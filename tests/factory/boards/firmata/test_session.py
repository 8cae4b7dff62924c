"""The board's end of Firmata, by what a client sends and gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.boards import Mode, PinInUseError, SimBoard
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
from factory.boards.firmata.session import MOST_WAITING, Session
from tests.helpers.boards import board

INPUT, OUTPUT, ANALOG, PWM, SERVO, PULLUP = 0, 1, 2, 3, 4, 11


class Client:
    """A client that says messages and gets messages."""

    def __init__(self, uno: SimBoard | None = None, name: str = "client 1") -> None:
        self.board = uno or board()
        self.wakes = 0
        self.session = Session(self.board, name, self._wake)
        self._parser = Parser(to_board=False)

    def _wake(self) -> None:
        self.wakes += 1

    def says(self, *messages: Message) -> list[Message | Trouble]:
        """Send messages, and return what comes back."""
        self.session.receive(b"".join(map(encode, messages)), self.board.bench.time)
        return self.gets()

    def gets(self) -> list[Message | Trouble]:
        return self._parser.feed(self.session.data_to_send())

    def waits(self, until: float) -> list[Message | Trouble]:
        """Let time pass, as a driver does, and return what comes."""
        while (due := self.session.next_deadline()) is not None and due <= until:
            self.board.bench.advance(due)
            self.session.handle_timer(due)
        self.board.bench.advance(until)
        return self.gets()


def test_it_says_who_it_is_unasked_and_when_asked() -> None:
    client = Client()
    client.session.start(0.0)
    who = [Version(2, 5), Firmware(2, 5, "StandardFirmata.ino")]
    assert client.gets() == who
    assert client.says(VersionQuery(), FirmwareQuery()) == who
    assert client.wakes == 4


def test_what_the_pins_can_do() -> None:
    client = Client()
    [capabilities, mapping] = client.says(CapabilityQuery(), MappingQuery())
    assert isinstance(capabilities, Capabilities)
    assert len(capabilities.pins) == 20
    assert capabilities.pins[:2] == ((), ())
    assert dict(capabilities.pins[9]) == {INPUT: 1, OUTPUT: 1, PWM: 8, SERVO: 14, PULLUP: 1}
    assert dict(capabilities.pins[14]) == {INPUT: 1, OUTPUT: 1, ANALOG: 10, PULLUP: 1}
    assert mapping == Mapping((*[None] * 14, 0, 1, 2, 3, 4, 5))


def test_outputs() -> None:
    client = Client()
    uno = client.board
    assert client.says(SetMode(13, OUTPUT), SetMode(8, OUTPUT), DigitalPort(1, 0b100001)) == []
    assert (uno.pin(13).digital_read(), uno.pin(8).digital_read(), uno.pin(9).mode) == (1, 1, Mode.UNSET)
    client.says(DigitalPort(1, 0b000001), SetPin(8, 0), SetPin(12, 1))
    assert [uno.pin(number).digital_read() for number in (13, 8, 12)] == [0, 0, 1]
    client.says(SetMode(9, PWM), Analog(9, 200), SetMode(10, SERVO), ExtendedAnalog(10, 45))
    assert client.says(*(PinStateQuery(number) for number in (9, 10, 12, 2))) == [
        PinState(9, PWM, 200),
        PinState(10, SERVO, 45),
        PinState(12, OUTPUT, 1),
        PinState(2, INPUT, 0),
    ]


@pytest.mark.parametrize(
    ("value", "degrees"), [(0, 0), (180, 180), (300, 180), (1000, 0), (1500, 90), (2000, 180)]
)
def test_a_servo_takes_degrees_or_microseconds(value: int, degrees: int) -> None:
    client = Client()
    client.says(ServoConfig(10, 1000, 2000), Analog(10, value))
    [state] = client.says(PinStateQuery(10))
    assert state == PinState(10, SERVO, degrees)


def test_digital_inputs_are_reported_on_request_and_on_change() -> None:
    client = Client()
    uno = client.board
    assert client.says(SetMode(2, PULLUP), SetMode(3, PULLUP), SetMode(4, OUTPUT)) == []
    assert client.says(ReportDigital(0, True)) == [DigitalPort(0, 0b1100)]
    wakes = client.wakes
    uno.pin(2).drive(0)
    assert client.wakes > wakes
    assert client.gets() == [DigitalPort(0, 0b1000)]
    uno.pin(2).drive(0)
    assert client.gets() == []
    # However often it changes while nobody reads, there is one report, of how it is.
    for turn in range(1001):
        uno.pin(3).drive(turn % 2)
    assert client.gets() == [DigitalPort(0, 0b0000)]
    assert client.says(SetMode(5, PULLUP)) == [DigitalPort(0, 0b100000)]
    assert client.says(ReportDigital(0, False)) == []
    uno.pin(2).drive(1)
    assert client.gets() == []


def test_a_1_for_an_input_is_the_old_way_to_a_pull_up() -> None:
    client = Client()
    client.says(SetMode(2, INPUT), DigitalPort(0, 0b0))
    assert client.board.pin(2).mode is Mode.INPUT
    client.says(DigitalPort(0, 0b100))
    assert client.board.pin(2).mode is Mode.INPUT_PULLUP


def test_analog_inputs_are_reported_at_the_sampling_interval() -> None:
    client = Client()
    pin = client.board.pin("A0")
    pin.set_mode(Mode.ANALOG)
    pin.drive(204)
    assert client.says(SetMode(14, ANALOG)) == [Analog(0, 204)]
    assert client.waits(0.018) == []
    assert client.waits(0.020) == [Analog(0, 204)]
    pin.drive(1021)
    assert client.waits(0.100) == [Analog(0, 1021)] * 4
    assert client.says(SamplingInterval(100), SamplingIntervalQuery()) == [SamplingInterval(100)]
    assert client.waits(1.150) == [Analog(0, 1021)] * 10
    assert client.says(ReportAnalog(0, False)) == []
    assert client.session.next_deadline() is None


def test_reporting_alone_makes_a_pin_analog() -> None:
    client = Client()
    [report] = client.says(ReportAnalog(1, True))
    assert isinstance(report, Analog)
    assert client.board.pin("A1").mode is Mode.ANALOG


def test_samples_that_were_missed_are_not_made_up_for() -> None:
    client = Client()
    client.says(ReportAnalog(0, True))
    client.board.bench.advance(60.0)
    client.session.handle_timer(60.0)
    assert len(client.gets()) == 1
    client.session.handle_timer(60.0)
    assert len(client.gets()) == 1
    client.session.handle_timer(60.001)
    assert client.gets() == []


def test_an_output_of_somebody_else_is_left_alone() -> None:
    client = Client()
    client.board.pin(13).set_mode(Mode.OUTPUT, by="blink")
    expected = "pin uno.13 belongs to blink"
    for message in (SetMode(13, OUTPUT), SetMode(13, INPUT), SetPin(13, 1), DigitalPort(1, 0b100000)):
        [answer] = client.says(message)
        assert isinstance(answer, Text)
        assert expected in answer.text
    # The rest of the port is written all the same, and what is as it was is not meant.
    client.says(SetMode(12, OUTPUT))
    assert client.says(DigitalPort(1, 0b110000)) == []
    assert client.board.pin(12).digital_read() == 1
    assert client.board.pin(13).digital_read() == 0


def test_of_a_port_all_is_written_but_what_belongs_to_others() -> None:
    client = Client()
    client.board.pin(12).set_mode(Mode.OUTPUT, by="blink")
    client.says(SetMode(13, OUTPUT))
    [answer] = client.says(DigitalPort(1, 0b110000))
    assert isinstance(answer, Text)
    assert "pin uno.12 belongs to blink" in answer.text
    assert [client.board.pin(number).digital_read() for number in (12, 13)] == [0, 1]


def test_when_it_goes_its_outputs_go_to_their_fail_safe_level() -> None:
    client = Client()
    other = Client(client.board, "client 2")
    client.says(SetMode(13, OUTPUT), SetPin(13, 1), SetMode(2, PULLUP), SetMode(14, ANALOG))
    other.says(SetMode(12, OUTPUT), SetPin(12, 1))
    with pytest.raises(PinInUseError, match=r"client 1"):
        client.board.pin(13).digital_write(0)
    client.session.close()
    pins = [client.board.pin(ref) for ref in (13, 2, "A0", 12)]
    assert [pin.owner for pin in pins] == [None, None, None, "client 2"]
    assert [pin.mode for pin in pins] == [Mode.OUTPUT, Mode.UNSET, Mode.UNSET, Mode.OUTPUT]
    assert (pins[0].digital_read(), pins[3].digital_read()) == (0, 1)


def test_reset_forgets_everything() -> None:
    client = Client()
    client.says(SetMode(13, OUTPUT), SetPin(13, 1), ReportDigital(0, True), ReportAnalog(0, True))
    assert client.says(Reset()) == []
    assert client.board.pin(13).digital_read() == 0
    assert client.session.next_deadline() is None
    client.board.pin(2).set_mode(Mode.INPUT_PULLUP)
    assert client.gets() == []


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (SetMode(13, PWM), "uno.13 cannot be PWM"),
        (SetMode(14, SERVO), "uno.A0 cannot be SERVO"),
        (SetMode(99, OUTPUT), "uno has no pin '99'"),
        (SetMode(4, 6), "Firmata's mode 6"),
        (PinStateQuery(99), "no pin '99'"),
        (ReportAnalog(9, True), "no analog channel 9"),
        (ServoConfig(14, 1, 2), "cannot be SERVO"),
    ],
)
def test_what_cannot_be_is_answered_with_a_text(message: Message, words: str) -> None:
    [answer] = Client().says(message)
    assert isinstance(answer, Text)
    assert words in answer.text


def test_a_duty_out_of_range() -> None:
    [answer] = Client().says(Analog(9, 1), SetMode(9, PWM), Analog(9, 256))
    assert isinstance(answer, Text)
    assert "'256' is out of range for pin uno.9: a PWM duty" in answer.text


def test_what_is_for_others_is_let_pass() -> None:
    assert Client().says(OtherSysex(0x76, b"\x10\x00"), OtherSysex(0x78, b""), Text("hi")) == []


def test_a_lost_board_says_so() -> None:
    client = Client()
    client.says(SetMode(13, OUTPUT))
    client.board.unplug()
    [answer] = client.says(SetPin(13, 1))
    assert answer == Text("uno is lost: it is unplugged; it can be written to again when it is back")
    client.session.close()


def test_a_client_that_does_not_read_is_not_saved_up_for() -> None:
    client = Client()
    client.says(*(ReportAnalog(channel, True) for channel in range(6)), SamplingInterval(1))
    for tick in range(1, 20_000):
        client.board.bench.advance(tick / 1000)
        client.session.handle_timer(tick / 1000)
    assert len(client.gets()) * 3 <= MOST_WAITING + 18
    client.board.bench.advance(30.0)
    client.session.handle_timer(30.0)
    assert len(client.gets()) == 6


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_a_board_lives_on_whatever_comes(chunks: list[bytes]) -> None:
    client = Client()
    for chunk in chunks:
        client.session.receive(chunk, 0.0)
        assert not any(isinstance(message, Trouble) for message in client.gets())
    client.session.receive(b"\xff", 0.0)
    client.gets()
    assert client.says(VersionQuery()) == [Version(2, 5)]
    client.session.close()
