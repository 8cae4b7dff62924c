"""Scenarios against boards of this process, and against one that says what no board should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

import factory
import mesh
from factory.scenarios import Boards, ScenarioFailedError, carry_out, read_scenario
from sketches import Board
from tests.helpers.proc import DEADLINE

pytestmark = pytest.mark.integration

PARTS = {"key": {"button": "2", "bounce": 0.001}, "knob": {"potentiometer": "A0", "position": 0.0}}
WIRES = [[1, 0], [7, 8]]
Play = Callable[..., Any]


@asynccontextmanager
async def playing(**sketches: factory.FactoryLoop) -> AsyncIterator[Play]:
    """Run sketches, and return what carries out steps with them; the first one is the scenario's board."""
    async with AsyncExitStack() as stack:
        for sketch in sketches.values():
            await stack.enter_async_context(sketch.running(port=0))

        async def play(*lines: str) -> None:
            text = f"board: {next(iter(sketches))}\nsteps:\n" + "".join(f"  - {line}\n" for line in lines)
            steps = read_scenario(text.encode(), "s.yaml")
            async with (
                asyncio.timeout(DEADLINE),
                Boards(lambda name: mesh.connect(sketches[name].serving)) as boards,
            ):
                await carry_out(steps, boards)

        yield play


def a_board(name: str, **arguments: Any) -> Board:
    return Board.as_node(mesh.Node(name), mesh.Grid([]), **arguments)


@pytest.fixture
async def uno() -> AsyncIterator[tuple[Board, Play]]:
    board = a_board("uno", parts=PARTS, wires=WIRES, modes={"2": "INPUT_PULLUP", "A0": "ANALOG"})
    async with playing(uno=board) as play:
        yield board, play


async def failure(play: Play, *lines: str) -> str:
    with pytest.raises(ScenarioFailedError) as caught:
        await play(*lines)
    return f"{caught.value.step}: {caught.value}"


async def test_what_is_as_expected_passes(uno: tuple[Board, Play]) -> None:
    await uno[1](
        "expect-pin: {2: 1}",
        "press: key",
        "wait-pin: {2: 0}",
        "release: key",
        "expect-pin: {2: 1}",
        "turn: {knob: 1}",
        "expect-analog: {A0: 1023}",
        "set: {13: 1}",
        "expect-pin: {13: 1}",
        "pwm: {9: 20}",
        "expect-pwm: {9: 20}",
        "servo: {10: 90}",
        "expect-servo: {10: 90}",
        "tone: {3: 440}",
        "expect-tone: {3: 440}",
        "fault: {2: stuck-0}",
        "expect-pin: {2: 0}",
        "fault: {2: none}",
        "set: {7: 1}",
        "expect-pin: {8: 1}",
        "set: {13: 0}",
        "expect-count: {13: 1, during: 20ms}",
        'uart: {0: "on\\n"}',
        'expect-uart: {0: "on\\n"}',
    )


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("set: {13: 1}", "expect-pin: {13: 0, within: 20ms}"), "it is 1, not 0 (after 0.02 s)"),
        (
            ("set: {13: 1}", "expect-count: {13: 3, during: 20ms}"),
            "line 4: expect-count uno.13 3: the level changed 1 times, not 3 (after 0.02 s)",
        ),
        (
            ("set: {13: 1}", "expect-pulse: {13: 1, within: 20ms}"),
            "line 4: expect-pulse uno.13 1: no such pulse; seen: none (after 0.02 s)",
        ),
        (("expect-pin: {A3: 0, within: 20ms}",), "it is unset, which is neither 0 nor 1"),
        (("pwm: {9: 1}", "expect-pin: {9: 1, within: 20ms}"), "it is PWM; for that there is expect-pwm"),
        (
            ("expect-uart: {0: x, within: 20ms}",),
            "line 3: expect-uart uno.0 x: nothing has come (after 0.02 s)",
        ),
        (("expect-pin: {99: 0}",), "line 3: expect-pin uno.99 0: uno has no pin '99'"),
        (("press: kye",), "line 3: press uno.kye: uno has no part 'kye', did you mean 'key'?"),
    ],
)
async def test_what_is_not_is_told(uno: tuple[Board, Play], lines: tuple[str, ...], words: str) -> None:
    assert words in await failure(uno[1], *lines)


async def test_a_pulse_between_two_looks_is_seen(uno: tuple[Board, Play]) -> None:
    # Whoever waits for its end is too late to find the pin at 1.
    pulse = ("set: {13: 0}", "pulse: {13: 2}", "expect-pulse: {13: 1}")
    await uno[1](*pulse, "wait-pin: {13: 1}")
    assert (await failure(uno[1], *pulse, "expect-pin: {13: 1, within: 20ms}")).endswith(
        "it is 0, not 1; it was 1 for a moment, and did not stay so for 0.05 s (after 0.02 s)"
    )


async def test_a_program_that_is_right_for_a_moment_is_not_right(uno: tuple[Board, Play]) -> None:
    # The key bounces, so its pin is at both levels, pressed and released.
    for action, level in (("press", 1), ("release", 0)):
        words = await failure(uno[1], f"{action}: key", f"expect-pin: {{2: {level}, within: 20ms}}")
        assert f"it is {1 - level}, not {level}; it was {level} for a moment" in words


async def test_what_is_there_in_time_may_stay_longer_than_that(uno: tuple[Board, Play]) -> None:
    await uno[1]("set: {13: 1}", "expect-pin: {13: 1, within: 1ms, for: 100ms}")


async def test_what_another_board_does_at_once_is_seen() -> None:
    # That board is in no action, only in an expectation behind it.
    shelf = a_board("shelf")
    async with playing(desk=a_board("desk"), shelf=shelf) as play:
        before = shelf.board.edges

        def edges(since: int) -> dict[str, object]:
            # As soon as the scenario has noted where the shelf is, its pin pulses.
            answer = before(since)
            if shelf.board.board.log.made == 0:
                shelf.board.send("13", "level", 1, None)
                shelf.board.send("13", "level", 0, None)
            return answer

        shelf.board.edges = edges  # type: ignore[method-assign]
        await play("set: {13: 1}", "wait-pin: {shelf.13: 1, within: 1s}")


async def test_a_board_is_unplugged_and_plugged_in(uno: tuple[Board, Play]) -> None:
    board, play = uno
    words = await failure(play, "set: {13: 1}", "unplug:", "expect-pin: {13: 0}", "set: {13: 1}")
    assert words.startswith("line 6: set uno.13 1: uno is lost: it is unplugged")
    await play("plug: uno", "set: {13: 1}", "expect-pin: {13: 1}")
    assert board.board.board.lost is None


async def test_a_board_that_is_lost_meets_no_expectation(uno: tuple[Board, Play]) -> None:
    board, play = uno
    await play("set: {13: 0}")
    board.board.power(0)
    words = await failure(play, "expect-pin: {13: 0, within: 60ms}")
    assert words == "line 3: expect-pin uno.13 0: the board is lost: it is unplugged (after 0.06 s)"
    words = await failure(play, "expect-count: {13: 0, during: 60ms}")
    assert words.endswith(": this cannot be told: the board is lost: it is unplugged")
    await play("unplug:", "expect-pin: {13: 0}", "expect-count: {13: 0, during: 10ms}")


async def test_a_node_that_is_no_board_is_called_so() -> None:
    class Idle(factory.FactoryLoop):
        """Takes nothing."""

        publishes = ("light",)

        @factory.on_start
        async def begin(self) -> None:
            """Do nothing."""

    async with playing(idle=Idle.as_node(mesh.Node("idle"), mesh.Grid([]))) as play:
        words = await failure(play, "set: {13: 1}")
    assert words == (
        "line 3: set idle.13 1: idle is no board: no handler takes channel 'pin/13/level'; idle takes none"
    )


async def test_bytes_that_nobody_hears_are_told() -> None:
    async with playing(uno=a_board("uno")) as play:
        assert await failure(play, "uart: {0: hi}") == (
            "line 3: uart uno.0 hi: nobody hears it: TX0 is on no wire to an RX pin"
        )


async def test_bytes_before_the_last_action_do_not_count(uno: tuple[Board, Play]) -> None:
    words = await failure(
        uno[1],
        "uart: {0: one}",
        "expect-uart: {0: one}",
        "uart: {0: two}",
        "expect-uart: {0: one, within: 50ms}",
    )
    assert words == "line 6: expect-uart uno.0 one: what came is 'two' (after 0.05 s)"


class Forgetful(factory.FactoryLoop):
    """A board that keeps few edges, or starts anew when it is told to."""

    lives = 1
    made = 0
    missed = 0

    @factory.reactive("pin/{pin}/state")
    async def state(self, channel: str, msg: Any, pin: str) -> dict[str, Any]:
        return {"mode": "OUTPUT", "level": 1, "number": 13}

    @factory.reactive("edges")
    async def edges(self, channel: str, since: int) -> dict[str, Any]:
        edges = [[number, number / 10, 13, "level", number % 2] for number in range(since + 1, self.made + 1)]
        edges = edges[self.missed :]
        missed = self.made - since - len(edges) if since < self.made else 0
        return {"edges": edges, "missed": missed, "made": self.made, "run": self.lives}

    @factory.reactive("pin/{pin}/level")
    async def write(self, channel: str, msg: Any, pin: str) -> None:
        self.made += 6

    @factory.reactive("power")
    async def power(self, channel: str, msg: Any) -> None:
        self.lives += 1
        self.made = 2


@pytest.fixture
async def forgetful() -> AsyncIterator[tuple[Forgetful, Play]]:
    sketch = Forgetful.as_node(mesh.Node("uno"), mesh.Grid([]))
    async with playing(uno=sketch) as play:
        yield sketch, play


@pytest.mark.parametrize("expected", ["expect-count: {13: 2, during: 10ms}", "expect-pulse: {13: 1}"])
async def test_missing_edges_fail_what_needs_them_all(
    forgetful: tuple[Forgetful, Play], expected: str
) -> None:
    sketch, play = forgetful
    sketch.missed = 4
    assert (
        "this cannot be told: 4 edges since the last action are no longer in the log of uno"
        in await failure(play, "set: {13: 1}", expected)
    )
    await play("set: {13: 1}", "expect-pin: {13: 1}")
    words = await failure(play, "set: {13: 1}", "expect-pwm: {13: 1, within: 10ms}")
    assert "; 4 edges since the last action are no longer in the log of uno" in words


@pytest.mark.parametrize("expected", ["expect-count: {13: 2, during: 10ms}", "expect-pulse: {13: 1}"])
async def test_a_board_that_starts_anew_fails_what_needs_all_edges(
    forgetful: tuple[Forgetful, Play], expected: str
) -> None:
    _, play = forgetful
    assert "this cannot be told: uno has started anew since the last action" in await failure(
        play, "set: {13: 1}", "unplug:", expected
    )
    await play("set: {13: 1}", "unplug:", "wait-pin: {13: 1}")
