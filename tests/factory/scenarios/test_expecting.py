"""What expectations make of edges and states; no board is needed for that."""

from __future__ import annotations

from typing import Any

import pytest

from factory.scenarios.expecting import MOST_BYTES, Count, Heard, Moment, Pulse, Rest, expectation, present
from factory.scenarios.steps import KINDS, Step


def step(kind: str, value: str, **times: float) -> Step:
    return Step(kind, "uno", "13", value, {word.replace("_", "-"): time for word, time in times.items()}, 1)


def state(mode: str, **values: int) -> dict[str, Any]:
    return {"mode": mode, **values}


@pytest.mark.parametrize(
    ("kind", "signal", "pin", "value"),
    [
        ("expect-pin", "level", state("OUTPUT", level=1), 1),
        ("expect-pin", "level", state("INPUT_PULLUP"), 0),
        ("wait-pin", "level", state("INPUT", level=1), 1),
        ("expect-pwm", "duty", state("PWM", duty=128, level=1), 128),
        ("expect-servo", "angle", state("SERVO", angle=90), 90),
        ("expect-tone", "tone", state("OUTPUT", tone=440, level=0), 440),
        ("expect-analog", "analog", state("ANALOG", analog=256), 256),
    ],
)
def test_each_kind_knows_the_value_of_its_mode(
    kind: str, signal: str, pin: dict[str, Any], value: int
) -> None:
    assert KINDS[kind].signal == signal
    assert present(pin, signal, "13") == (value, f"it is {value}")
    for wanted, met in ((value, True), (value ^ 1, False)):
        expected = expectation(step(kind, str(wanted)), signal)
        expected.look(pin, 1.0)
        expected.look(pin, 1.06)
        assert expected.is_met is met


@pytest.mark.parametrize(
    ("signal", "pin", "words"),
    [
        ("level", state("PWM", duty=9, level=1), "it is PWM; for that there is expect-pwm"),
        ("level", state("ANALOG", analog=0), "it is ANALOG; for that there is expect-analog"),
        ("duty", state("OUTPUT", level=1), "it is OUTPUT; for that there is expect-pin"),
        ("tone", state("SERVO", angle=0), "it is SERVO; for that there is expect-servo"),
        ("level", state("UNSET"), "it is unset, which is neither 0 nor 1: nothing has written it"),
        ("analog", state("UNSET", net=0), "before it can be read it needs - mode: {13: ANALOG}"),
        ("duty", state("UNSET", net=0), "it is unset: nothing has written it"),
        ("tone", state("UNSET"), "it is unset: nothing has written it"),
    ],
)
def test_a_pin_of_another_mode_is_at_no_such_value(signal: str, pin: dict[str, Any], words: str) -> None:
    value, found = present(pin, signal, "13")
    assert value is None
    assert words in found


def test_an_unset_pin_is_neither_0_nor_1_unless_others_drive_its_net() -> None:
    for wanted in ("0", "1"):
        for expected in (
            Rest(step("expect-pin", wanted), "level"),
            Moment(step("wait-pin", wanted), "level"),
        ):
            expected.look(state("UNSET"), 1.0)
            expected.look(state("UNSET"), 2.0)
            assert not expected.is_met
    moment = Moment(step("wait-pin", "1"), "level")
    moment.look(state("UNSET", net=0), 1.0)
    assert (moment.is_met, moment.found) == (False, "it is unset, and its net is at 0, not 1")
    moment.look(state("UNSET", net=1), 1.1)
    assert moment.is_met


def test_a_value_that_was_there_for_a_moment_was_there() -> None:
    expected = Moment(step("wait-pin", "1"), "level")
    expected.feed([(1.000, 1), (1.002, 0)])
    expected.look(state("OUTPUT", level=0), 2.0)
    assert expected.is_met


def test_a_pin_rests_when_it_has_not_changed_for_a_while() -> None:
    expected = Rest(step("expect-pin", "1", **{"for": 0.1}), "level")
    high, low = state("OUTPUT", level=1), state("OUTPUT", level=0)
    seen = []
    for now, edges, pin in (
        (1.00, [], high),
        (1.09, [], high),
        (1.10, [(0.0, 0), (0.0, 1)], high),  # it was at 0 between the two looks
        (1.19, [], high),
        (1.20, [], low),
        (1.30, [], high),
        (1.45, [], high),
    ):
        expected.feed(edges)
        expected.look(pin, now)
        seen.append((expected.is_met, expected.since))
    assert seen == [
        (False, 1.00), (False, 1.00), (False, 1.10), (False, 1.10), (False, None), (False, 1.30), (True, 1.30)
    ]  # fmt: skip


def test_edges_that_are_missing_may_be_those_of_a_pin_that_seems_to_rest() -> None:
    expected = Rest(step("expect-pin", "1"), "level")
    expected.look(state("OUTPUT", level=1), 1.0)
    expected.miss("4 edges are missing")
    expected.look(state("OUTPUT", level=1), 2.0)
    assert (expected.is_met, expected.gap) == (False, "4 edges are missing")
    expected.look(state("OUTPUT", level=1), 3.0)
    assert expected.is_met


def test_a_pulse_is_as_long_as_its_stamps_say() -> None:
    expected = Pulse(step("expect-pulse", "1", at_least=0.029, at_most=0.031))
    expected.feed([(1.0, 1), (1.05, 0)])
    assert (expected.is_met, expected.found) == (False, "no such pulse; seen: 50 ms")
    # Its end comes with the next answer.
    expected.feed([(2.0, 1)])
    assert not expected.is_met
    expected.feed([(2.03, 0)])
    assert expected.is_met


def test_a_pulse_that_began_before_is_none() -> None:
    expected = Pulse(step("expect-pulse", "0"))
    expected.feed([(1.0, 1), (1.5, 0)])
    assert (expected.is_met, expected.found) == (False, "no such pulse; seen: none")


def test_of_many_pulses_the_first_ones_are_told() -> None:
    expected = Pulse(step("expect-pulse", "1", at_least=1.0))
    expected.feed([(number / 1000, 1 - number % 2) for number in range(30)])
    assert expected.found.endswith("1 ms, 1 ms and 5 more")


def test_a_count_is_met_only_by_just_so_many() -> None:
    expected = Count(step("expect-count", "2", during=1.0))
    seen = []
    for edges in ([], [(1.0, 1)], [(1.1, 0)], [(1.2, 1)]):
        expected.feed(edges)
        seen.append(expected.is_met)
    assert seen == [False, False, True, False]
    assert expected.is_patient
    assert expected.found == "the level changed 3 times, not 2"
    assert Count(step("expect-count", "0", during=1.0)).is_met


def test_what_is_heard_is_found_wherever_it_begins() -> None:
    heard = Heard()
    assert heard.found == "nothing has come"
    heard.add(b"\x00te")
    heard.add("mp: 21 \N{DEGREE SIGN}C\n".encode())
    assert heard.has("temp: 21 \N{DEGREE SIGN}C")
    assert not heard.has("temp: 22")
    assert heard.found == r"what came is '\x00temp: 21 °C\n'"
    heard.add(b"x" * 100)
    assert heard.found == f"what came ends in {'x' * 60!r}"
    heard.forget()
    assert not heard.has("temp")


def test_more_than_there_is_room_for_is_said() -> None:
    heard = Heard()
    heard.add(b"a" * MOST_BYTES)
    assert heard.gap == ""
    heard.add(b"b")
    assert (len(heard.data), heard.has("b")) == (MOST_BYTES, False)
    assert f"more than {MOST_BYTES} bytes" in heard.gap
    heard.forget()
    assert heard.gap == ""
