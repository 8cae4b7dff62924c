"""Lesson 2: the pin."""

from __future__ import annotations

from typing import Any

import pytest

import mesh
from sketches import Buzzer, IOPin
from tests.helpers.sketch import Recorder, as_node, told


async def bits(recorder: Recorder, ticks: int = 4, **arguments: Any) -> list[object]:
    """Return what a pin sends to its buzzer in some ticks."""
    async with recorder.running(port=0):
        pin = as_node(IOPin, {"buzzer": recorder}, **arguments)
        assert await told(pin, list(range(ticks)), "datafeed") == ["acknowledged"] * ticks
    return [message for _, message in recorder.seen]


async def test_each_tick_sends_a_sequence_of_bits_as_text() -> None:
    sent = await bits(Recorder(), ticks=20)
    assert len(sent) == 60
    assert set(sent) == {"0", "1"}


@pytest.mark.parametrize(("chance", "bit"), [(1, "0"), (0, "1")])
async def test_chance_is_how_likely_a_bit_is_0(chance: float, bit: str) -> None:
    assert await bits(Recorder(), chance=chance, sequence=5) == [bit] * 20


async def test_chance_is_about_right() -> None:
    sent = await bits(Recorder(), ticks=10, chance=0.8, sequence=50, seed=3)
    assert 0.72 < sent.count("0") / len(sent) < 0.88


async def test_a_seed_makes_the_same_bits_every_time() -> None:
    first, second, other = [await bits(Recorder(), seed=seed) for seed in (7, 7, 8)]
    assert first == second
    assert first != other


async def test_it_says_the_lines_of_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    await bits(Recorder(answer="heard"), ticks=1, chance=0, sequence=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[ iopin ]")]
    assert lines[2:-1] == [
        "[ iopin ] new tick triggered on datafeed: 0",
        "[ iopin ] toggling pin state: [1, 1]",
        "[ iopin ] starting to stream message to buzzer",
        "[ iopin ] > sending payload: 1",
        "[ iopin ] < heard",
        "[ iopin ] > sending payload: 1",
        "[ iopin ] < heard",
    ]


async def test_with_a_real_buzzer(capsys: pytest.CaptureFixture[str]) -> None:
    buzzer = Buzzer(sound="buzz buzz buzz")
    async with buzzer.running(port=0):
        pin = as_node(IOPin, {"buzzer": buzzer}, chance=0)
        await told(pin, ["0"])
    assert capsys.readouterr().out.count("[ iopin ] < buzz buzz buzz") == 3


async def test_a_buzzer_that_refuses_makes_the_pin_refuse_and_live() -> None:
    recorder = Recorder(fail="1")
    async with recorder.running(port=0):
        pin = as_node(IOPin, {"buzzer": recorder}, chance=0)
        answers = await told(pin, ["0", "1"])
    for answer in answers:
        assert '"NackedError"' in str(answer)
        assert "buzzer refused the message: ValueError: no 1" in str(answer)


async def test_without_a_buzzer_in_the_grid_it_says_so() -> None:
    pin = as_node(IOPin, {})
    (answer,) = await told(pin, ["0"])
    assert "UnknownNodeError" in str(answer)


@pytest.mark.parametrize("arguments", [{"chance": -0.1}, {"chance": 1.1}, {"sequence": 0}])
def test_arguments_out_of_range(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        IOPin.as_node(mesh.Node("iopin"), mesh.Grid(), **arguments)
