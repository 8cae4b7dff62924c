"""Edges as a Value Change Dump (IEEE 1364), which GTKWave and PulseView open.

Text only, so that a file can be written while the board runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

TICKS = 1_000_000
"""Ticks in a second: the stamps are good to the microsecond."""

_WIDTHS = {"level": 1, "pwm": 8, "servo": 8, "tone": 16, "analog": 10}
# As edges travel, and as channels are called.
_NAMES = {"level": "level", "duty": "pwm", "angle": "servo", "tone": "tone", "analog": "analog"}
# The months of a date in any country's language would be no ASCII in some.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date_text(year: int, month: int, day: int, time: str) -> str:
    """Return a date as VCD files have it, the same whatever the language of the machine."""
    return f"{_MONTHS[month - 1]} {day} {year} {time}"


class VcdWriter:
    """Turns the edges of one board into lines.

    Args:
        board: What the board is called; what has no letter in it is called ``board``.
        pins: By number, the name of each pin.
        date: When, as ``date_text`` writes it.

    """

    def __init__(self, board: str, pins: Sequence[str], date: str) -> None:
        self._board = _word(board) or "board"
        self._pins = pins
        self._date = date
        self._codes = {
            (pin, signal): _code(place)
            for place, (pin, signal) in enumerate(
                (pin, signal) for pin in range(len(pins)) for signal in _WIDTHS
            )
        }
        # The stamp that the tick `_base` stands for: None until there is an edge.
        self._begin: float | None = None
        self._base = 0
        self._tick = -1

    def header(self) -> str:
        """Return what stands before the first change; until then every signal is unknown."""
        lines = [
            f"$date {self._date} $end",
            "$version sketchmesh $end",
            "$timescale 1 us $end",
            f"$scope module {self._board} $end",
        ]
        for (pin, signal), code in self._codes.items():
            end = "" if signal == "level" else f"_{signal}"
            width = _WIDTHS[signal]
            lines.append(f"$var wire {width} {code} pin_{_word(self._pins[pin])}{end} $end")
        lines += ["$upscope $end", "$enddefinitions $end", "$dumpvars", *self._unknown(), "$end"]
        return "\n".join(lines) + "\n"

    def anew(self) -> str:
        """Return the lines that say that the board has started anew.

        Its clock may have, too, so what follows goes on a tick behind what was before, whatever its stamps
        say. Every signal is unknown again.
        """
        self._begin = None
        self._tick = self._base = self._tick + 1
        comment = "$comment the board has started anew: how long after what is before this is not known $end"
        return "".join(f"{line}\n" for line in (comment, f"#{self._tick}", *self._unknown()))

    def _unknown(self) -> list[str]:
        return [self._change(code, None, _WIDTHS[signal]) for (_, signal), code in self._codes.items()]

    def changes(self, edges: Iterable[Sequence[object]], missed: int = 0) -> str:
        """Return the lines of some edges, each ``[number, seconds, pin, signal, value]``.

        Args:
            edges: The edges, in order.
            missed: Edges before them that nobody has any more; a comment says so, and every signal is
                unknown again.

        """
        lines = [f"$comment {missed} edges before this are missing $end"] if missed else []
        if missed and self._tick >= 0:
            # What they changed is not known, so nothing is until its next change.
            self._tick += 1
            lines += [f"#{self._tick}", *self._unknown()]
        for _, time, pin, signal, value in edges:
            assert isinstance(time, float | int)
            assert isinstance(pin, int)
            assert isinstance(value, int)
            if self._begin is None:
                self._begin = time
            tick = max(self._base + round((time - self._begin) * TICKS), self._tick)
            if tick != self._tick:
                self._tick = tick
                lines.append(f"#{tick}")
            name = _NAMES[str(signal)]
            lines.append(self._change(self._codes[pin, name], value, _WIDTHS[name]))
        return "".join(f"{line}\n" for line in lines)

    @staticmethod
    def _change(code: str, value: int | None, width: int) -> str:
        if width == 1:
            return f"{'x' if value is None else value}{code}"
        return f"b{'x' if value is None else format(value, 'b')} {code}"


def _word(name: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name)


def _code(place: int) -> str:
    """Return the short name of a signal: printable ASCII, from ``!`` on."""
    code = ""
    while True:
        place, digit = divmod(place, 94)
        code += chr(33 + digit)
        if not place:
            return code
