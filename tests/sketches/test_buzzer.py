"""Lesson 1: the buzzer."""

from __future__ import annotations

import sys

import pytest

from sketches import Buzzer
from tests.helpers.sketch import told


@pytest.mark.parametrize(
    ("signal", "answer"),
    [
        ("1", "buzz buzz buzz"),
        ("0", "..."),
        (1, "buzz buzz buzz"),
        (0, "..."),
        ("", "..."),
        ("on", "..."),
        (True, "..."),
    ],
)
async def test_it_buzzes_for_the_text_1_and_nothing_else(signal: object, answer: str) -> None:
    assert await told(Buzzer(sound="buzz buzz buzz"), [signal]) == [answer]


async def test_it_says_each_signal_once(capsys: pytest.CaptureFixture[str]) -> None:
    await told(Buzzer(sound="moo"), ["1", "0", "1"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "signal" in line]
    assert lines == [
        "[ buzzer ] signal 1 received -> moo",
        "[ buzzer ] signal 0 received -> ...",
        "[ buzzer ] signal 1 received -> moo",
    ]


@pytest.mark.parametrize(("bell", "terminal", "rings"), [(True, True, 1), (True, False, 0), (False, True, 0)])
async def test_the_bell_rings_for_a_1_on_a_terminal_only(
    bell: bool,
    terminal: bool,
    rings: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    await told(Buzzer(bell=bell), ["1", "0"])
    assert capsys.readouterr().out.count("\a") == rings
