"""Lesson 3: the clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from math import inf, nan

import pytest

import mesh
from sketches import Clock
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch import Recorder, as_node


async def test_it_ticks_so_often_and_ends() -> None:
    recorder = Recorder()
    async with recorder.running(port=0):
        clock = as_node(Clock, {"blink": recorder}, target="blink", tacks=3, delay=0.01)
        await clock.arun()
    assert recorder.seen == [("datafeed", "0"), ("datafeed", "1"), ("datafeed", "2")]


async def test_it_says_the_lines_of_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(answer="acknowledged")
    async with recorder.running(port=0):
        await as_node(Clock, {"blink": recorder}, target="blink", tacks=2, delay=0.01).arun()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[ clock ]")]
    assert lines == ["[ clock ] > 0", "[ clock ] < acknowledged", "[ clock ] > 1", "[ clock ] < acknowledged"]


async def test_it_waits_for_each_ack_before_it_ticks_again() -> None:
    recorder = Recorder()
    recorder.gate.clear()
    async with recorder.running(port=0):
        clock = as_node(Clock, {"blink": recorder}, target="blink", tacks=3, delay=0.001)
        running = asyncio.create_task(clock.arun())
        await recorder.arrived.wait()
        # Many periods pass while the first tick is held back.
        for _ in range(20):
            await asyncio.sleep(0)
        assert recorder.seen == [("datafeed", "0")]
        recorder.gate.set()
        await running
    assert len(recorder.seen) == 3


async def test_it_goes_on_without_tacks_until_it_is_stopped() -> None:
    recorder = Recorder(enough=10)
    async with recorder.running(port=0):
        clock = as_node(Clock, {"blink": recorder}, target="blink", delay=0.001)
        async with clock.running():
            await recorder.has_enough.wait()
    assert [message for _, message in recorder.seen[:10]] == [str(number) for number in range(10)]


async def test_it_keeps_its_rhythm_without_drift() -> None:
    recorder = Recorder()
    loop = asyncio.get_running_loop()
    async with recorder.running(port=0):
        begin = loop.time()
        await as_node(Clock, {"blink": recorder}, target="blink", tacks=6, delay=0.05).arun()
        assert loop.time() - begin >= 5 * 0.05 - 0.01


async def test_a_refused_tick_is_told_and_the_clock_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(fail="1")
    async with recorder.running(port=0):
        await as_node(Clock, {"blink": recorder}, target="blink", tacks=3, delay=0.01).arun()
    assert "[ clock ] < blink refused the message: ValueError: no 1\n" in capsys.readouterr().out
    assert [message for _, message in recorder.seen] == ["0", "1", "2"]


class Awaited(logging.Handler):
    """Sets an event when it hears that somebody is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = asyncio.Event()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if "waiting for" in self.lines[-1]:
            self.heard.set()


@pytest.fixture
def notices() -> Iterator[Awaited]:
    logger, handler = logging.getLogger("factory"), Awaited()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


async def test_a_target_that_comes_late_gets_the_first_tick(notices: Awaited) -> None:
    early = Recorder()
    async with early.running(port=0):
        node = early.serving
    late = Recorder()
    clock = as_node(Clock, {"blink": node}, target="blink", tacks=1, delay=0.01)
    running = asyncio.create_task(clock.arun())
    async with asyncio.timeout(DEADLINE):
        await notices.heard.wait()
        async with late.running(port=node.port):
            await running
    assert late.seen == [("datafeed", "0")]
    assert sum("waiting for blink" in line for line in notices.lines) == 1
    assert sum("blink is there" in line for line in notices.lines) == 1


async def test_it_dials_8765_when_it_has_no_target() -> None:
    clock = Clock.as_node(mesh.Node("clock"), mesh.Grid(), delay=60)
    async with clock.running():
        assert isinstance(clock.target, mesh.Node)
        assert clock.target.uri("datafeed") == "ws://localhost:8765/datafeed"


async def test_it_serves_nowhere() -> None:
    clock = Clock.as_node(mesh.Node("clock"), mesh.Grid(), delay=60)
    async with clock.running():
        with pytest.raises(mesh.NotAServerError):
            _ = clock.serving


@pytest.mark.parametrize(
    "arguments", [{"tacks": 0}, {"tacks": -1}, {"delay": 0}, {"delay": -1.0}, {"delay": nan}, {"delay": inf}]
)
def test_arguments_out_of_range(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Clock.as_node(mesh.Node("clock"), mesh.Grid(), **arguments)
