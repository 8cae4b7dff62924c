"""What an expectation makes of the edges and the state of a pin, or of the bytes of a UART.

Sans-I/O: whoever asks the board hands over what it answers. An expectation is told of all edges
since the last action, so what happens between two looks counts as well; and of edges that nobody
can tell any more, which would make a count or a pulse worth nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factory.boards.modes import Mode
from factory.scenarios.steps import Step
from mesh.text import listing

MOST_BYTES = 65_536
"""Bytes of a UART that are kept since the last action."""

SETTLED = 0.05
"""Seconds for which a pin has to stay at what is expected of it, unless the step says ``for``."""

_MOST_SHOWN = 10

# In which modes a pin has each signal, and which step looks at a pin of each mode.
_MODES: Mapping[str, tuple[Mode, ...]] = {
    "level": (Mode.OUTPUT, Mode.INPUT, Mode.INPUT_PULLUP),
    "duty": (Mode.PWM,),
    "angle": (Mode.SERVO,),
    "tone": (Mode.OUTPUT,),
    "analog": (Mode.ANALOG,),
}
_STEPS: Mapping[Mode, str] = {
    Mode.OUTPUT: "expect-pin",
    Mode.INPUT: "expect-pin",
    Mode.INPUT_PULLUP: "expect-pin",
    Mode.PWM: "expect-pwm",
    Mode.SERVO: "expect-servo",
    Mode.ANALOG: "expect-analog",
}
_UNSET: Mapping[str, str] = {
    "level": "unset, which is neither 0 nor 1: nothing has written it, and nothing drives it; "
    "before it can be read it needs - mode: {%s: INPUT}",
    "analog": "unset, so nobody has it converted; before it can be read it needs - mode: {%s: ANALOG}",
}


class Expectation:
    """What one step expects of a pin.

    Args:
        step: The step.

    Attributes:
        step: The step.
        is_met: Whether it is as expected by now.
        is_patient: Whether more may come that spoils it, until its time is over.
        needs_all: Whether it is worth nothing if edges are missing.
        gap: Why edges are missing; empty if none are.
        since: Since when it is as expected, if it has to stay so for a time; ``None`` if it is not.

    """

    is_patient = False
    needs_all = True

    def __init__(self, step: Step) -> None:
        self.step = step
        self.is_met = False
        self.gap = ""
        self.since: float | None = None

    @property
    def found(self) -> str:
        """What there is instead of what is expected."""
        raise NotImplementedError

    def feed(self, edges: Sequence[tuple[float, int]]) -> None:
        """Take times and values of further edges of the pin, in order."""
        raise NotImplementedError

    def miss(self, why: str) -> None:
        """Take note that there were edges that nobody can tell any more."""
        self.gap = why
        self.since = None

    def look(self, state: Mapping[str, Any], now: float) -> None:
        """Take what the pin is at, after all edges that were fed.

        Args:
            state: Its state.
            now: The time of whoever looks, in seconds.

        """
        if state.get("lost") and (self.is_patient or not self.is_met):
            self.miss(_lost(state))


class Moment(Expectation):
    """That a pin is at a level, or was, for however short a moment."""

    needs_all = False

    def __init__(self, step: Step, signal: str) -> None:
        super().__init__(step)
        self._signal = signal
        self._wanted = int(step.value)
        self._found = "nobody has looked"

    @property
    def found(self) -> str:
        """What the pin is at, or why it has no such value."""
        return self._found

    def feed(self, edges: Sequence[tuple[float, int]]) -> None:
        """Take further edges."""
        self.is_met = self.is_met or any(value == self._wanted for _, value in edges)

    def look(self, state: Mapping[str, Any], now: float) -> None:
        """Take what the pin is at now."""
        value, self._found = present(state, self._signal, self.step.target)
        if value is not None:
            self.is_met = self.is_met or value == self._wanted
            self._found += f", not {self._wanted}"


class Rest(Expectation):
    """That a pin comes to rest at a value: it is there, and stays for a time without a change.

    A button that bounces has the pins of a wrong program be right for a moment, too.
    """

    needs_all = False

    def __init__(self, step: Step, signal: str) -> None:
        super().__init__(step)
        self._signal = signal
        self._wanted = int(step.value)
        self._long = step.times.get("for", SETTLED)
        self._was = False
        self._found = "nobody has looked"

    @property
    def found(self) -> str:
        """What the pin is at, or why it has no such value; and whether it was there."""
        if self.since is not None:
            return f"it is {self._wanted}, but did not stay so for {self._long:g} s"
        was = f"; it was {self._wanted} for a moment, and did not stay so for {self._long:g} s"
        return self._found + (was if self._was else "")

    def feed(self, edges: Sequence[tuple[float, int]]) -> None:
        """Take further edges."""
        if edges:
            self.since = None
            self._was = self._was or any(value == self._wanted for _, value in edges)

    def look(self, state: Mapping[str, Any], now: float) -> None:
        """Take what the pin is at now."""
        value, self._found = present(state, self._signal, self.step.target)
        if value is not None:
            self._found += f", not {self._wanted}"
        if value != self._wanted:
            self.since = None
        elif self.since is None:
            self.since = now
        else:
            self.is_met = now - self.since >= self._long


class Pulse(Expectation):
    """That a pin was at a level for a time."""

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self._level = int(step.value)
        self._shortest = step.times.get("at-least", 0.0)
        self._longest = step.times.get("at-most", float("inf"))
        self._begun: float | None = None
        self._widths: list[float] = []
        self._seen = 0

    @property
    def found(self) -> str:
        """How long the pulses were that there were."""
        words = [f"{width * 1000:g} ms" for width in self._widths]
        if self._seen > len(words):
            words.append(f"{self._seen - len(words)} more")
        return f"no such pulse; seen: {listing(words) or 'none'}"

    def feed(self, edges: Sequence[tuple[float, int]]) -> None:
        """Take further edges."""
        for time, level in edges:
            if self._begun is not None:
                # Stamps are good to the microsecond, and their difference is no better.
                width = round(time - self._begun, 6)
                self.is_met = self.is_met or self._shortest <= width <= self._longest
                self._seen += 1
                self._widths += [width] if len(self._widths) < _MOST_SHOWN else []
            self._begun = time if level == self._level else None


class Count(Expectation):
    """That the level of a pin changed so many times."""

    is_patient = True

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self._wanted = int(step.value)
        self._count = 0
        self.is_met = self._wanted == 0

    @property
    def found(self) -> str:
        """How often it changed."""
        return f"the level changed {self._count} times, not {self._wanted}"

    def feed(self, edges: Sequence[tuple[float, int]]) -> None:
        """Take further edges."""
        self._count += len(edges)
        self.is_met = self._count == self._wanted


class Heard:
    """What came to a UART since the last action.

    Attributes:
        data: The bytes.
        gap: Why bytes are missing; empty if none are.

    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.gap = ""

    def add(self, data: bytes) -> None:
        """Take bytes that have come; the first ones are kept, as far as there is room."""
        room = MOST_BYTES - len(self.data)
        self.data += data[:room]
        if len(data) > room:
            self.gap = f"more than {MOST_BYTES} bytes have come since the last action"

    def forget(self) -> None:
        """Begin anew, for there is an action."""
        self.data.clear()
        self.gap = ""

    def has(self, text: str) -> bool:
        """Say whether a text came, wherever it begins."""
        return text.encode() in self.data

    @property
    def found(self) -> str:
        """What came, for people."""
        if not self.data:
            return "nothing has come"
        shown = bytes(self.data[-60:]).decode(errors="backslashreplace")
        return f"what came {'ends in' if len(self.data) > 60 else 'is'} {shown!r}"


def _lost(state: Mapping[str, Any]) -> str:
    return f"the board is lost: {state['lost']}"


def present(state: Mapping[str, Any], signal: str, pin: str) -> tuple[int | None, str]:
    """Return what a pin is at now, and that in words.

    Args:
        state: The state of the pin, as its board tells it.
        signal: What of it is looked at.
        pin: How the scenario calls it.

    Returns:
        The value, ``None`` if the pin has no such thing now; and the words.

    """
    if state.get("lost"):
        # Its values are what is left of it, and nothing that it has done.
        return None, _lost(state)
    mode = Mode(state["mode"])
    if mode in _MODES[signal]:
        value = int(state.get(signal, 0))
        return value, f"it is {value}"
    if mode is not Mode.UNSET:
        return None, f"it is {mode.value}; for that there is {_STEPS[mode]}"
    if signal == "level" and "net" in state:
        # The pin itself looks at nothing, but who asks for the wire has an answer.
        return int(state["net"]), f"it is unset, and its net is at {state['net']}"
    return (
        None,
        f"it is {_UNSET[signal] % pin}" if signal in _UNSET else "it is unset: nothing has written it",
    )


def expectation(step: Step, signal: str) -> Expectation:
    """Return what a step expects of a pin."""
    if step.kind == "expect-pulse":
        return Pulse(step)
    if step.kind == "expect-count":
        return Count(step)
    if step.kind == "wait-pin":
        return Moment(step, signal)
    return Rest(step, signal)
