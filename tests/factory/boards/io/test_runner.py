"""The clock of a board with firmware, and what runs its engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from factory.boards import Bench
from factory.boards.avr.board import AvrBoard
from factory.boards.avr.engine import HERTZ, PinEvent, PinState
from factory.boards.avr.pacing import Pacer
from factory.boards.io import runner
from factory.boards.io.runner import Runner, SimulatedClock
from tests.helpers.avr import MS, ScriptedEngine
from tests.helpers.proc import DEADLINE


class Wall:
    """A clock on the wall that a test moves."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    made = Wall()
    monkeypatch.setattr(runner, "monotonic", made)
    return made


async def test_the_bench_never_goes_further_than_the_engine(wall: Wall) -> None:
    bench, pacer = Bench(100.0), Pacer(HERTZ, 100.0)
    clock = SimulatedClock(bench, pacer, 1.0)
    wall.time = 101.0
    assert clock.now() == 101.0  # there is no engine yet that would have to be waited for
    pacer.resume(clock.target())
    wall.time = 101.5
    assert (clock.target(), clock.now()) == (101.5, 101.0)
    pacer.ran(HERTZ, 0, clock.target())
    assert clock.now() == 101.5
    clock.close()


async def test_what_is_given_up_the_bench_is_behind_for_good(wall: Wall) -> None:
    bench, pacer = Bench(100.0), Pacer(HERTZ, 100.0)
    clock = SimulatedClock(bench, pacer, 1.0)
    pacer.resume(clock.target())
    wall.time = 3700.0
    pacer.ran(HERTZ, 0, clock.target())
    assert pacer.given_up == pytest.approx(3598.75)
    assert clock.target() == pytest.approx(101.25)
    clock.close()


async def test_other_speeds(wall: Wall) -> None:
    bench, pacer = Bench(100.0), Pacer(HERTZ, 100.0)
    fast, fastest = SimulatedClock(bench, pacer, 10.0), SimulatedClock(bench, pacer, None)
    wall.time = 101.0
    assert (fast.now(), fastest.now()) == (110.0, 100.0)
    pacer.resume(100.0)
    pacer.ran(3600 * HERTZ, 0, 100.0)
    assert (fast.now(), fastest.now()) == (110.0, 3700.0)
    fast.close()
    fastest.close()


async def until(ready: Callable[[], object]) -> None:
    """Wait for what the thread of the engine brings about."""
    async with asyncio.timeout(DEADLINE):
        while not ready():  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.001)


async def test_it_runs_an_engine_in_one_thread_and_another_one_when_that_has_failed() -> None:
    bench = Bench(0.0)
    board = AvrBoard("uno", bench, "test.hex", Pacer(HERTZ, 0.0))
    clock = SimulatedClock(bench, board.pacer, None)
    engines: list[ScriptedEngine] = []
    said: list[str] = []

    def make() -> ScriptedEngine:
        engines.append(ScriptedEngine([PinEvent(MS, 13, PinState.HIGH)]))
        return engines[-1]

    driver = Runner(board, clock, make, None, said.append)
    await driver.make()
    assert board.pacer.reached == 0
    driver.start()
    await until(lambda: board.pin(13).digital_read())
    engines[0].fails = "it fell over"
    await until(lambda: board.lost)
    assert board.lost == "its simulator failed: it fell over; power 1 tries again"
    assert (board.pin(13).digital_read(), board.pin(13).net.volts) == (0, None)
    with clock:
        board.plug()
    await until(lambda: board.pin(13).digital_read())
    await driver.close()
    clock.close()
    assert [engine.is_closed for engine in engines] == [True, True]
    assert board.log.since(0)[0] == sorted(board.log.since(0)[0], key=lambda edge: edge.time)
