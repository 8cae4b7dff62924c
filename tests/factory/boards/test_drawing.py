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
