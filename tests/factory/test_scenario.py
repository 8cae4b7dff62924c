"""Scenarios: how they are read, and what they make of a board."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import mesh
from factory.scenario import Run, ScenarioFailedError, Step, read_scenario
from sketches import Board
from tests.helpers.proc import DEADLINE


def test_a_scenario_is_read() -> None:
    text = """
board: uno
steps:
  - mode: {2: INPUT_PULLUP}
  - press: key
  - release: desk.key
  - set: {desk.13: 1}
  - turn: {knob: 0.5}
  - expect-pulse: {13: 1, at-least: 90ms, at-most: 0.11, within: 2s}
"""
    assert read_scenario(text, "s.yaml") == [
        Step("mode", "uno", "2", "INPUT_PULLUP", {}, 4),
        Step("press", "uno", "key", "", {}, 5),
        Step("release", "desk", "key", "", {}, 6),
        Step("set", "desk", "13", "1", {}, 7),
        Step("turn", "uno", "knob", "0.5", {}, 8),
        Step("expect-pulse", "uno", "13", "1", {"at-least": 0.09, "at-most": 0.11, "within": 2.0}, 9),
    ]


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
        ("steps:\n  - set: 13", "s.yaml:2:10: set of what?"),
        ("steps:\n  - set: {uno.1: 1, uno.2: 1}", "s.yaml:2:5: set needs one pin or part, not 2"),
        ("steps:\n  - set: {uno.1: [1]}", "s.yaml:2:18: more than one value"),
        ("steps:\n  - set: {uno.1: 1, within: 1s}", "s.yaml:2:21: set takes no within; it takes no times"),
        ("steps:\n  - wait-pin: {uno.1: 1, within: soon}", "s.yaml:2:34: 'soon' is no duration"),
        ("steps:\n  - expect-count: {uno.1: 1}", "s.yaml:2:5: expect-count without a time"),
        ("steps: [", "s.yaml:1:"),
        ("steps: !!python/object/apply:os.system [true]", "s.yaml:1:8:"),
    ],
)
def test_mistakes_have_their_place(text: str, words: str) -> None:
    with pytest.raises(mesh.GridError) as caught:
        read_scenario(text, "s.yaml")
    assert words in str(caught.value)


@pytest.fixture
async def run() -> AsyncIterator[tuple[Board, Run]]:
    parts = {"key": {"button": "2", "bounce": 0.001}, "knob": {"potentiometer": "A0"}}
    uno = Board.as_node(mesh.Node("uno"), mesh.Grid([]), parts=parts, modes={"2": "INPUT_PULLUP"})
    async with uno.running(port=0), mesh.connect(uno.serving) as peer:

        async def request(board: str, value: object, channel: str) -> Any:
            assert board == "uno"
            return await peer.request(value, channel)

        yield uno, Run(request)


async def carry_out(run: Run, *lines: str) -> None:
    text = "board: uno\nsteps:\n" + "".join(f"  - {line}\n" for line in lines)
    async with asyncio.timeout(DEADLINE):
        for step in read_scenario(text, "s.yaml"):
            await run.step(step)


async def failure(run: Run, *lines: str) -> str:
    with pytest.raises(ScenarioFailedError) as caught:
        await carry_out(run, *lines)
    return f"{caught.value.step}: {caught.value}"


async def test_what_is_as_expected_passes(run: tuple[Board, Run]) -> None:
    await carry_out(
        run[1],
        "expect-pin: {2: 1}",
        "press: key",
        "wait-pin: {2: 0, within: 1s}",
        "release: key",
        "expect-pin: {2: 1, within: 1s}",
        "turn: {knob: 1}",
        "set: {13: 1}",
        "expect-pin: {13: 1}",
        "pwm: {9: 20}",
        "fault: {2: stuck-0}",
        "expect-pin: {2: 0}",
        "fault: {2: none}",
        "set: {13: 0}",
        "expect-count: {13: 1, during: 20ms}",
    )


async def test_what_is_not_is_told(run: tuple[Board, Run]) -> None:
    _, runner = run
    assert await failure(runner, "set: {13: 1}", "expect-pin: {13: 0, within: 20ms}") == (
        "line 4: expect-pin uno.13 0: it is 1, not 0, for 0.02 s"
    )
    assert await failure(runner, "set: {13: 0}", "expect-count: {13: 3, during: 20ms}") == (
        "line 4: expect-count uno.13 3: the level changed 1 times, not 3"
    )
    assert await failure(runner, "set: {13: 0}", "expect-pulse: {13: 1, within: 20ms}") == (
        "line 4: expect-pulse uno.13 1: no such pulse; seen: none, for 0.02 s"
    )


async def test_a_pulse_is_measured_by_the_clock_of_the_board(run: tuple[Board, Run]) -> None:
    uno, runner = run
    await carry_out(runner, "set: {13: 0}")
    uno.board.send("13", "pulse", 30, None)
    await carry_out(runner, "expect-pulse: {13: 1, at-least: 29.9ms, at-most: 30.1ms, within: 5s}")
    assert "seen: 30 ms" in await failure(runner, "expect-pulse: {13: 1, at-least: 31ms, within: 10ms}")
