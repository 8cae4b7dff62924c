"""The words of a scenario: each kind of step, what it is for, and which values it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite

from factory.boards.modes import Mode, Signal
from mesh.text import did_you_mean, listing, printable

LONGEST_PULSE = 60_000
MOST_COUNTED = 1_000_000
FAULTS = ("none", "stuck-0", "stuck-1", "noise")
TIMES = ("within", "for", "during", "at-least", "at-most")
"""Words for times, in the place of a pin."""

Check = Callable[[str], str]
"""Returns a value as it is sent and compared; raises ``ValueError`` with what it has to be."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        kind: ``set``, ``press``, ``expect-pin`` and the like.
        board: Name of the board.
        target: The pin, the part or the UART; empty if it is the board itself.
        value: What it is set to or expected to be.
        times: ``within``, ``for``, ``during``, ``at-least`` and ``at-most``, in seconds.
        line: Where it stands.

    """

    kind: str
    board: str
    target: str
    value: str
    times: dict[str, float] = field(default_factory=dict)
    line: int = 0

    def __str__(self) -> str:
        what = f"{self.board}.{self.target}" if self.target else self.board
        value = f" {printable(self.value)}" if self.value else ""
        return f"line {self.line}: {self.kind} {what}{value}"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of step has.

    Attributes:
        target: What it is for: a ``pin``, a ``part``, a ``uart`` or a ``board``.
        check: For its value; ``None`` if it has none.
        channel: For an action, the channel that it goes to, with ``{}`` for the target.
        message: For an action without a value, what is sent.
        signal: For an expectation of a pin, what of it is looked at, as edges name it.
        times: The times that it takes.

    """

    target: str
    check: Check | None = None
    channel: str = ""
    message: str = ""
    signal: str = ""
    times: tuple[str, ...] = ()

    @property
    def is_expectation(self) -> bool:
        """Whether it looks, and does nothing."""
        return not self.channel


def _whole(what: str, lowest: int, highest: int) -> Check:
    def check(text: str) -> str:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and lowest <= int(text) <= highest):
            known = f"{lowest} or {highest}" if highest - lowest == 1 else f"from {lowest} to {highest}"
            raise ValueError(f"{what} is {known}")
        return str(int(text))

    return check


def _of(signal: Signal) -> Check:
    return _whole(signal.word, 0, signal.highest)


def _word(what: str, known: Iterable[str], fold: Callable[[str], str]) -> Check:
    words = tuple(known)

    def check(text: str) -> str:
        word = fold(text)
        if word not in words:
            raise ValueError(f"{what} is {listing(words, 'or')}{did_you_mean(word[:20], words)}")
        return word

    return check


def _number(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise ValueError("a part is turned to a number, such as 0.5")
    return text


def _bytes(text: str) -> str:
    if not text:
        raise ValueError('a UART sends text, such as "on\\n" in double quotes')
    return text


_LEVEL = _of(Signal.LEVEL)
_WAIT = ("within",)


def _expected(signal: Signal) -> Kind:
    return Kind("pin", _of(signal), signal=signal.name.lower(), times=("within", "for"))


KINDS: Mapping[str, Kind] = {
    "mode": Kind("pin", _word("a mode", (mode.value for mode in Mode), str.upper), "pin/{}/mode"),
    "set": Kind("pin", _LEVEL, "pin/{}/level"),
    "pwm": Kind("pin", _of(Signal.DUTY), "pin/{}/pwm"),
    "servo": Kind("pin", _of(Signal.ANGLE), "pin/{}/servo"),
    "tone": Kind("pin", _of(Signal.TONE), "pin/{}/tone"),
    "analog": Kind("pin", _of(Signal.ANALOG), "pin/{}/analog"),
    "pulse": Kind("pin", _whole("a pulse in milliseconds", 1, LONGEST_PULSE), "pin/{}/pulse"),
    "fault": Kind("pin", _word("a fault", FAULTS, str.lower), "pin/{}/fault"),
    "press": Kind("part", None, "part/{}", "press"),
    "release": Kind("part", None, "part/{}", "release"),
    "turn": Kind("part", _number, "part/{}"),
    "uart": Kind("uart", _bytes, "uart/{}"),
    "unplug": Kind("board", None, "power", "0"),
    "plug": Kind("board", None, "power", "1"),
    "wait-pin": Kind("pin", _LEVEL, signal="level", times=_WAIT),
    "expect-pin": _expected(Signal.LEVEL),
    "expect-pwm": _expected(Signal.DUTY),
    "expect-servo": _expected(Signal.ANGLE),
    "expect-tone": _expected(Signal.TONE),
    "expect-analog": _expected(Signal.ANALOG),
    "expect-pulse": Kind("pin", _LEVEL, signal="level", times=("at-least", "at-most", "within")),
    "expect-count": Kind(
        "pin", _whole("a count of changes", 0, MOST_COUNTED), signal="level", times=("during",)
    ),
    "expect-uart": Kind("uart", _bytes, times=_WAIT),
}
"""Each kind of step."""
