"""A board drawn in a terminal."""

from __future__ import annotations

import pytest

from factory.boards.drawing import draw


@pytest.mark.parametrize("answer", ["buzz", None, 5, ["pins"], {"title": "\x1b[31m"}])
def test_what_is_no_board_is_not_drawn(answer: object) -> None:
    drawn = draw("buzzer", answer)
    assert drawn == f"buzzer: no board; asked for its pins, it answers {str(answer)!r}"


def test_what_could_control_a_terminal_is_escaped() -> None:
    pin = {"name": "13", "mode": "OUTPUT", "owner": "\x1b[31m", "level": 1, "functions": ["LED"]}
    state = {
        "title": "Uno",
        "lost": "was \x07 unplugged",
        "shorts": [],
        "dropped": {"uno.1 to z.RX0": 7},
        "pins": [pin],
        "parts": {"lamp": "on"},
    }
    assert draw("uno", state).splitlines() == [
        "uno: Uno, LOST: was \\x07 unplugged",
        "  ! 7 bytes dropped from uno.1 to z.RX0",
        "   13 ● OUTPUT            1  owner \\x1b[31m  LED",
        "  parts:",
        "    lamp: on",
    ]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, ["  blink.hex runs in simavr"]),
        ({"behind": 0.44}, ["  blink.hex runs in simavr, 0.4 s behind"]),
        (
            {"stopped": "erased flash", "restarts": 3},
            [
                "  blink.hex runs in simavr",
                "  ! it stands still: erased flash; a reset brings it back",
                "  ! restarted by its watchdog: 3 times",
            ],
        ),
    ],
)
def test_firmware_is_shown_with_how_it_fares(changes: dict[str, object], lines: list[str]) -> None:
    firmware = {"name": "blink.hex", "engine": "simavr", "behind": 0.0, "stopped": None, "restarts": 0}
    board: dict[str, object] = {"title": "Uno", "lost": None, "shorts": [], "pins": [], "parts": {}}
    assert draw("uno", {**board, "firmware": firmware | changes}).splitlines()[1:] == lines
