"""What a fleet shows, on screens that are slow, or gone."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from factory.fleet import screen as module
from factory.fleet.screen import Screen
from tests.helpers.proc import DEADLINE

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


class Terminal(io.StringIO):
    """Takes lines when it is let, and breaks when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.reached = threading.Event()
        self.broken = False

    def write(self, text: str) -> int:
        self.reached.set()
        self.open.wait()
        if self.broken:
            raise BrokenPipeError
        return super().write(text)


class Made(Protocol):
    """Makes a screen on the terminal of the test."""

    def __call__(
        self, *names: str, gone: Callable[[], object] = lambda: None, nodes: bool = True
    ) -> Screen: ...


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


@pytest.fixture
def made(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Made:
    def make(*names: str, gone: Callable[[], object] = lambda: None, nodes: bool = True) -> Screen:
        # Not before the test runs, for pytest has its own until then.
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        # The real one gives up the standard output of the tests.
        monkeypatch.setattr(module, "silence", lambda: None)
        monkeypatch.setattr(module, "_is_read", lambda: True)
        return Screen(names, gone, nodes=nodes)

    return make


def test_lines_have_time_name_and_text(terminal: Terminal, made: Made) -> None:
    terminal.open.set()
    screen = made("blink", "a-long-name")
    screen.line("blink", "one", NOON)
    screen.line("a-long-name", "bell \x07", NOON)
    screen.line("blink", "", NOON)
    screen.close()
    screen.line("blink", "too late", NOON)
    assert terminal.getvalue().splitlines() == [
        "12:00:00 blink       | one",
        "12:00:00 a-long-name | bell \\x07",
        "12:00:00 blink       |",
    ]


def test_a_screen_without_nodes_shows_only_what_the_fleet_says(terminal: Terminal, made: Made) -> None:
    terminal.open.set()
    screen = made("blink", nodes=False)
    screen.line("blink", "one", NOON)
    screen.say("two\nthree")
    screen.close()
    assert [line.partition(" | ")[2] for line in terminal.getvalue().splitlines()] == ["two", "three"]


def flooded(terminal: Terminal, made: Made, monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Return a screen on which ten lines waited while twenty more came."""
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    screen = made("blink")
    screen.line("blink", "first", NOON)
    assert terminal.reached.wait(5)
    for number in range(30):
        screen.line("blink", f"line {number}", NOON)
    terminal.open.set()
    until(lambda: screen._queue.empty())
    return screen


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


FLOOD = ["first", *(f"line {number}" for number in range(10))]
NOTE = "… 20 lines are not shown, see `mesh logs`"


def shown(terminal: Terminal) -> list[str]:
    return [line.partition("| ")[2] for line in terminal.getvalue().splitlines()]


def test_a_screen_that_takes_nothing_holds_up_nobody_and_what_it_misses_is_counted_for_a_second(
    terminal: Terminal, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", 3600.0)
    screen = flooded(terminal, made, monkeypatch)
    for seconds in (0.5, 0.9, 1.0, 1.1):
        screen.line("blink", f"after {seconds}", NOON + timedelta(seconds=seconds))
    screen.close()
    assert shown(terminal) == [*FLOOD, "after 0.5", "after 0.9", NOTE, "after 1.0", "after 1.1"]


def test_what_a_screen_misses_is_told_when_nothing_more_comes(
    terminal: Terminal, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    screen = flooded(terminal, made, monkeypatch)
    until(lambda: len(shown(terminal)) > len(FLOOD))
    screen.close()
    assert shown(terminal) == [*FLOOD, NOTE]


def test_what_a_screen_misses_is_told_at_its_end(
    terminal: Terminal, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK", 3600.0)
    flooded(terminal, made, monkeypatch).close()
    assert shown(terminal) == [*FLOOD, NOTE]


def test_when_nobody_reads_any_more_it_is_told_once(terminal: Terminal, made: Made) -> None:
    gone: list[int] = []
    told = threading.Event()

    def note() -> None:
        gone.append(1)
        told.set()

    terminal.broken = True
    terminal.open.set()
    screen = made("blink", gone=note)
    for _ in range(5):
        screen.line("blink", "one", NOON)
    assert told.wait(5)
    screen.close()
    assert gone == [1]
