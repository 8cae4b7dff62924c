"""Firmware for tests: an engine that plays what it is told, and boards that run it."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import Any

from factory.boards import Bench
from factory.boards.avr.board import AvrBoard
from factory.boards.avr.engine import HERTZ, Event, PinEvent, PinState, Slice, UartEvent
from factory.boards.avr.errors import EngineError
from factory.boards.avr.pacing import Pacer
from factory.boards.avr.stepping import advance

MS = HERTZ // 1000
"""Cycles of a millisecond."""


class ScriptedEngine:
    """Does what a script says, at its cycles, and keeps what it was told.

    Args:
        events: The script.
        echo: Whether it sends back what comes to RX, a millisecond later.

    Attributes:
        told: What it was told, each with the cycle.
        fails: An ``EngineError`` to raise at the next run.

    """

    name = "scripted"
    hertz = HERTZ

    def __init__(self, events: Iterable[Event] = (), *, echo: bool = False) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.fails: str | None = None
        self.is_closed = False
        self._cycle = 0
        self._echo = echo
        self._script = sorted(events, key=_cycle)

    def run(self, until: int) -> Slice:
        if self.fails is not None:
            raise EngineError(self.fails)
        ready = [event for event in self._script if event.cycle <= until]
        del self._script[: len(ready)]
        self._cycle = max(until, self._cycle)
        return Slice(self._cycle, ready)

    def add(self, event: Event) -> None:
        insort(self._script, event, key=_cycle)

    def level(self, pin: int, level: int | None) -> None:
        self.told.append((self._cycle, "level", pin, level))

    def volts(self, channel: int, volts: float) -> None:
        self.told.append((self._cycle, "volts", channel, volts))

    def feed(self, data: bytes) -> None:
        self.told.append((self._cycle, "feed", data))
        if self._echo:
            self.add(UartEvent(self._cycle + MS, data))

    def reset(self) -> None:
        self.told.append((self._cycle, "reset"))

    def close(self) -> None:
        self.is_closed = True


def _cycle(event: Event) -> int:
    return event.cycle


def square(pin: int, hertz: float, begin: float, end: float, *, high: float = 0.5) -> list[Event]:
    """Return the edges of a pin that goes to and fro from a time to another, in seconds."""
    events: list[Event] = []
    count = round((end - begin) * hertz)
    for period in range(count):
        risen = begin + period / hertz
        events.append(PinEvent(round(risen * HERTZ), pin, PinState.HIGH))
        events.append(PinEvent(round((risen + high / hertz) * HERTZ), pin, PinState.LOW))
    return events


class Rig:
    """A board with a scripted engine, in step with a clock that a test moves."""

    def __init__(
        self, *events: Event, bench: Bench | None = None, name: str = "uno", echo: bool = False
    ) -> None:
        self.bench = bench or Bench()
        self.engine = ScriptedEngine(events, echo=echo)
        self.board = AvrBoard(name, self.bench, "test.hex", Pacer(HERTZ, self.bench.time))

    def to(self, time: float) -> None:
        """Move the clock on to a time."""
        advance(self.board, self.engine, time)

    def told(self, what: str) -> list[tuple[Any, ...]]:
        """Return what the engine was told of one kind, without the cycles."""
        return [tuple(rest[1:]) for _, *rest in self.engine.told if rest[0] == what]
