"""Scenarios as files: what is read, and where which mistake is."""

from __future__ import annotations

import pytest

import mesh
from factory.boards.io import node
from factory.scenarios import KINDS, Step, read_scenario, steps


def test_a_scenario_is_read() -> None:
    text = rb"""
board: uno
steps:
  - mode: {2: input_pullup}
  - press: key
  - release: desk.key
  - set: {desk.13: 1}
  - turn: {knob: 0.5}
  - expect-pulse: {13: 1, at-least: 90ms, at-most: 0.11, within: 2s}
  - unplug:
  - plug: desk
  - uart: {0: "on\n"}
  - expect-uart: {desk.1: "ok: 1"}
"""
    assert read_scenario(text, "s.yaml") == [
        Step("mode", "uno", "2", "INPUT_PULLUP", {}, 4),
        Step("press", "uno", "key", "", {}, 5),
        Step("release", "desk", "key", "", {}, 6),
        Step("set", "desk", "13", "1", {}, 7),
        Step("turn", "uno", "knob", "0.5", {}, 8),
        Step("expect-pulse", "uno", "13", "1", {"at-least": 0.09, "at-most": 0.11, "within": 2.0}, 9),
        Step("unplug", "uno", "", "", {}, 10),
        Step("plug", "desk", "", "", {}, 11),
        Step("uart", "uno", "0", "on\n", {}, 12),
        Step("expect-uart", "desk", "1", "ok: 1", {}, 13),
    ]


def test_a_step_says_what_it_is() -> None:
    assert str(Step("expect-pin", "uno", "13", "1", {}, 4)) == "line 4: expect-pin uno.13 1"
    assert str(Step("unplug", "uno", "", "", {}, 5)) == "line 5: unplug uno"
    assert str(Step("uart", "uno", "0", "\x1b\n", {}, 6)) == r"line 6: uart uno.0 \x1b\x0a"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "s.yaml:1:1: no scenario"),
        ("[1]", "s.yaml:1:1: no scenario"),
        ("board: uno", "s.yaml:1:1: no steps"),
        ("steps: []", "s.yaml:1:8: no steps"),
        ("steps: [{set: {uno.13: 1}}]\nbord: x", "s.yaml:2:1: unknown field 'bord', did you mean 'board'?"),
        ("steps:\n  - pres: uno.key", "s.yaml:2:5: unknown step 'pres', did you mean 'press'?"),
        ("steps:\n  - press", "s.yaml:2:5: no step"),
        ("steps:\n  - press: key", "s.yaml:2:12: 'key' of which board?"),
        ("steps:\n  - press: .key", "s.yaml:2:12: 'key' of which board?"),
        ("steps:\n  - press: uno.", "s.yaml:2:12: press of what?"),
        ("steps:\n  - set: 13", "s.yaml:2:10: set of what?"),
        ("steps:\n  - set: {uno.1: 1, uno.2: 1}", "s.yaml:2:5: set needs one pin, not 2"),
        ("steps:\n  - set: {uno.1: [1]}", "s.yaml:2:18: more than one value"),
        ("steps:\n  - set: {uno.1: 1, within: 1s}", "s.yaml:2:21: set takes no within; it takes no times"),
        ("steps:\n  - wait-pin: {uno.1: 1, within: soon}", "s.yaml:2:34: 'soon' is no duration"),
        ("steps:\n  - expect-count: {uno.1: 1}", "s.yaml:2:5: expect-count without a time"),
        ("steps:\n  - unplug:", "s.yaml:2:12: unplug which board?"),
        ("steps:\n  - unplug: {uno: 1}", "s.yaml:2:13: more than one value"),
        ("steps:\n  - uart: {uno.TX0: hi}", "s.yaml:2:12: 'TX0' is no UART; write its number"),
        (
            "steps:\n  - expect-pulse: {uno.1: 1, at-least: 2s, at-most: 1s}",
            "s.yaml:2:5: a pulse of at-least more than at-most",
        ),
        ("steps: [", "s.yaml:1:"),
        ("steps: !!python/object/apply:os.system [true]", "s.yaml:1:8:"),
    ],
)
def test_mistakes_have_their_place(text: str, words: str) -> None:
    with pytest.raises(mesh.GridError) as caught:
        read_scenario(text.encode(), "s.yaml")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("step", "value", "words"),
    [
        ("set", "2", "a level is 0 or 1"),
        ("set", "", "a level is 0 or 1"),
        ("pwm", "256", "a PWM duty is from 0 to 255"),
        ("servo", "181", "a servo angle in degrees is from 0 to 180"),
        ("tone", "-1", "a tone in Hz is from 0 to 65535"),
        ("analog", "1024", "an analog value is from 0 to 1023"),
        ("pulse", "0", "a pulse in milliseconds is from 1 to 60000"),
        ("mode", "INPUT_PULUP", "did you mean 'INPUT_PULLUP'?"),
        ("fault", "", "a fault is none, stuck-0, stuck-1 or noise"),
        ("fault", "stuck-2", "did you mean 'stuck-1'?"),
        ("turn", "far", "a part is turned to a number"),
        ("turn", "nan", "a part is turned to a number"),
        ("uart", "", "a UART sends text"),
        ("expect-pin", "5", "a level is 0 or 1; for other values there are expect-pwm, expect-servo, "),
        ("expect-pin", "high", "a level is 0 or 1"),
        ("wait-pin", "\u0661", "a level is 0 or 1"),
        ("expect-pwm", "256", "a PWM duty is from 0 to 255"),
        ("expect-servo", "x", "a servo angle in degrees is from 0 to 180"),
        ("expect-tone", "1.5", "a tone in Hz is from 0 to 65535"),
        ("expect-analog", "9999999999999999", "an analog value is from 0 to 1023"),
        ("expect-pulse", "2", "a level is 0 or 1"),
        ("expect-count", "abc", "a count of changes is from 0 to 1000000"),
    ],
)
def test_a_value_that_can_never_be_is_told_at_once(step: str, value: str, words: str) -> None:
    during = ", during: 1s" if step == "expect-count" else ""
    with pytest.raises(mesh.GridError) as caught:
        read_scenario(f'steps:\n  - {step}: {{uno.1: "{value}"{during}}}'.encode(), "s.yaml")
    assert str(caught.value).startswith(f"s.yaml:2:{len(step) + 15}: {value!r} is no value for {step}; ")
    assert words in str(caught.value)


def test_every_mistake_is_told() -> None:
    text = b"board: uno\nsteps:\n  - pres: key\n  - set: {1: 7}\n  - press: key\n  - expect-pin: {1: x}"
    with pytest.raises(mesh.GridError) as caught:
        read_scenario(text, "s.yaml")
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(3, 5), (4, 14), (6, 21)]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"board: uno # \xe9t\xe9", "s.yaml:1:14: byte 0xe9 is not UTF-8 here; save the scenario as UTF-8"),
        ("board: uno".encode("utf-16"), "s.yaml:1:1: the scenario is saved as UTF-16"),
        (b"#" * 300_000, "s.yaml:1:1: the scenario is larger than 256 KiB"),
    ],
)
def test_a_file_that_is_no_text_has_its_place_too(data: bytes, words: str) -> None:
    with pytest.raises(mesh.GridError) as caught:
        read_scenario(data, "s.yaml")
    assert words in str(caught.value)


def test_what_is_checked_is_what_a_board_takes() -> None:
    assert tuple(node._STUCK) == steps.FAULTS
    assert steps.LONGEST_PULSE == node.LONGEST_PULSE


def test_every_kind_either_does_something_or_looks() -> None:
    for word, kind in KINDS.items():
        assert kind.is_expectation == word.startswith(("expect-", "wait-"))
        assert kind.is_expectation == (not kind.channel)
