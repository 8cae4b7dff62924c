"""Parts: what they do to their pins, and what their pins do to them."""

from __future__ import annotations

from typing import Any

import pytest

from factory.boards import BoardError, Edge, Mode, PinUnsupportedError
from factory.boards.parts import (
    Button,
    Buzzer,
    Led,
    Potentiometer,
    Servo,
    SevenSegment,
    Temperature,
    Ultrasonic,
    make_part,
)
from tests.helpers.boards import board


def test_an_led() -> None:
    uno = board()
    led = Led("red", uno.pin(9))
    assert (led.state, led.is_lit) == ("off", False)
    uno.pin(9).digital_write(1)
    assert (led.state, led.is_lit) == ("on", True)
    uno.pin(9).analog_write(64)
    assert led.state == "25 %"


def test_a_button_without_bounce() -> None:
    uno = board()
    uno.pin(2).set_mode(Mode.INPUT_PULLUP)
    button = Button("b", uno.pin(2), bounce=0)
    button.press()
    assert (uno.pin(2).digital_read(), button.state) == (0, "pressed")
    button.press()
    button.release()
    assert (uno.pin(2).digital_read(), button.state) == (1, "released")
    assert uno.log.made == 3


def presses(seconds: float) -> list[Edge]:
    uno = board()
    uno.pin(2).set_mode(Mode.INPUT_PULLUP)
    button = Button("b", uno.pin(2), bounce=seconds)
    for turn in range(20):
        (button.release if turn % 2 else button.press)()
        uno.bench.advance(turn + 0.9)
        assert uno.pin(2).digital_read() == turn % 2
        uno.bench.advance(turn + 1.0)
    return uno.log.since(1)[0]


def test_a_button_bounces_and_settles() -> None:
    edges = presses(0.005)
    assert edges == presses(0.005)
    by_turn = [[edge for edge in edges if int(edge.time) == turn] for turn in range(20)]
    for turn, group in enumerate(by_turn):
        assert 5 <= len(group) <= 11
        assert group[-1].value == turn % 2
        assert group[-1].time <= turn + 0.005
    assert len({len(group) for group in by_turn}) > 1


def test_a_press_that_is_cut_short_ends_released() -> None:
    uno = board()
    uno.pin(2).set_mode(Mode.INPUT_PULLUP)
    button = Button("b", uno.pin(2), bounce=0.01)
    button.press()
    uno.bench.advance(0.002)
    button.release()
    uno.bench.advance(1.0)
    assert uno.pin(2).digital_read() == 1


def test_a_potentiometer() -> None:
    uno = board()
    knob = Potentiometer("knob", uno.pin("A0"), position=0.25)
    assert (uno.pin("A0").analog_read(), knob.state) == (256, "25 %")
    for position, value in ((0, 0), (1, 1023), (0.5, 512)):
        knob.set(position)
        assert uno.pin("A0").analog_read() == pytest.approx(value, abs=1)
    with pytest.raises(BoardError, match=r"from 0 to 1, got 1.5"):
        knob.set(1.5)


def test_a_temperature_sensor() -> None:
    uno = board()
    sensor = Temperature("t", uno.pin("A1"))
    assert uno.pin("A1").analog_read() == round(0.7 / 5 * 1023)
    sensor.set(-10.5)
    assert (uno.pin("A1").analog_read(), sensor.state) == (round(0.395 / 5 * 1023), "-10.5 °C")
    with pytest.raises(BoardError, match=r"-40 to 125"):
        sensor.set(1000)


def test_a_buzzer() -> None:
    uno = board()
    buzzer = Buzzer("piezo", uno.pin(3))
    assert buzzer.state == "silent"
    uno.pin(3).tone(440)
    assert (buzzer.hertz, buzzer.state) == (440, "440 Hz")
    uno.pin(3).tone(0)
    assert buzzer.state == "silent"


def test_a_servo_takes_its_time() -> None:
    uno = board()
    servo = Servo("arm", uno.pin(10), pace=0.12)
    uno.bench.advance(1.0)
    uno.pin(10).servo_write(180)
    assert servo.degrees == 90
    uno.bench.advance(1.12)
    assert servo.degrees == pytest.approx(150)
    uno.pin(10).servo_write(90)
    uno.bench.advance(1.18)
    assert servo.degrees == pytest.approx(120)
    uno.bench.advance(9.0)
    assert servo.state == "90°"


def test_an_ultrasonic_sensor_answers_a_pulse() -> None:
    uno = board()
    trigger, echo = uno.pin(7), uno.pin(8)
    echo.set_mode(Mode.INPUT)
    sensor = Ultrasonic("eye", trigger, echo, centimetres=50)
    seen: list[Edge] = []
    echo.watch(seen.append)

    def pulse(at: float, seconds: float) -> None:
        uno.bench.advance(at)
        trigger.digital_write(1)
        uno.bench.advance(at + seconds)
        trigger.digital_write(0)
        uno.bench.advance(at + 0.5)

    pulse(1.0, 10e-6)
    rise, fall = seen
    assert fall.time - rise.time == pytest.approx(50 * 58e-6)
    assert rise.time == pytest.approx(1.0 + 460e-6)
    pulse(2.0, 2e-6)  # too short to be seen
    assert len(seen) == 2
    sensor.set(100)
    pulse(3.0, 20e-6)
    assert seen[3].time - seen[2].time == pytest.approx(100 * 58e-6)
    with pytest.raises(BoardError, match=r"2 to 400 cm"):
        sensor.set(1)


@pytest.mark.parametrize(
    ("segments", "sign"),
    [("abcdef", "0"), ("bc", "1"), ("abdeg", "2"), ("abcdefg", "8"), ("g", "-"), ("", " "), ("ag", "?")],
)
def test_a_seven_segment_display(segments: str, sign: str) -> None:
    uno = board()
    pins = [uno.pin(number) for number in range(2, 9)]
    display = SevenSegment("digit", *pins)
    for segment, pin in zip("abcdefg", pins, strict=True):
        pin.digital_write(int(segment in segments))
    assert (display.lit, display.state) == (segments, sign)


@pytest.mark.parametrize(
    ("kind", "pins", "settings", "match"),
    [
        ("led", ["A7"], {}, "nano.A7 cannot be OUTPUT"),
        ("button", ["A6"], {}, "nano.A6 cannot be INPUT"),
        ("potentiometer", [2], {}, "nano.2 cannot be ANALOG"),
        ("temperature", [2], {}, "nano.2 cannot be ANALOG"),
        ("servo", ["A0"], {}, "nano.A0 cannot be SERVO"),
        ("ultrasonic", [2, "A7"], {}, "nano.A7 cannot be INPUT"),
    ],
)
def test_a_part_on_a_pin_that_cannot_do_it(
    kind: str, pins: list[int | str], settings: dict[str, Any], match: str
) -> None:
    nano = board("nano")
    with pytest.raises(PinUnsupportedError, match=match):
        make_part(kind, "it", *(nano.pin(ref) for ref in pins), **settings)


@pytest.mark.parametrize(
    ("kind", "pins", "settings", "match"),
    [
        ("lde", [2], {}, "did you mean 'led'.*choose led, button"),
        ("led", [2, 3], {}, "part it: a led has one pin; got 2"),
        ("led", [], {}, "part it: a led has one pin; got 0"),
        ("led", [2], {"colour": 1}, "part it: a led has no 'colour'; nothing can be set"),
        ("ultrasonic", [7], {}, "part it: an ultrasonic has 2 pins, trigger and echo; got 1"),
        ("ultrasonic", [7, 7], {}, r"part it: an ultrasonic .* uno\.7 is there twice"),
        ("seven-segment", [2, 3, 4, 5, 6, 7, 2], {}, r"uno\.2 is there twice"),
        ("button", [2], {"bouncy": 1}, "'bouncy', did you mean 'bounce'.*what can be set is bounce"),
        ("button", [2], {"bounce": "much"}, "a button has a number for bounce, not 'much'"),
        ("servo", [2], {"name": "x"}, "a servo has no 'name'"),
        ("button", [2], {"bounce": 2}, "bounce is seconds from 0 to 1, got 2"),
        ("servo", [2], {"pace": 0}, "above 0, got 0"),
        ("potentiometer", ["A0"], {"position": -1}, "from 0 to 1"),
        ("seven-segment", [2, 3], {}, "the 7 segments a to g, got 2 pins"),
    ],
)
def test_a_part_that_cannot_be_made(
    kind: str, pins: list[int | str], settings: dict[str, Any], match: str
) -> None:
    uno = board()
    with pytest.raises(BoardError, match=match):
        make_part(kind, "it", *(uno.pin(ref) for ref in pins), **settings)


def test_parts_are_told_what_to_do_by_words() -> None:
    uno = board()
    uno.pin(2).set_mode(Mode.INPUT_PULLUP)
    button, knob, lamp = (
        Button("b", uno.pin(2), bounce=0),
        Potentiometer("k", uno.pin("A0")),
        Led("l", uno.pin(13)),
    )
    button.tell("press")
    knob.tell("0.75")
    assert (button.state, knob.state) == ("pressed", "75 %")
    button.tell("release")
    assert button.state == "released"
    with pytest.raises(BoardError, match=r"b cannot be told 'hit': it takes press and release"):
        button.tell("hit")
    with pytest.raises(BoardError, match=r"k cannot be told 'left': it takes a position"):
        knob.tell("left")
    with pytest.raises(BoardError, match=r"l cannot be told 'on': nothing can be done to it"):
        lamp.tell("on")
