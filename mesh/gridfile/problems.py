"""Collect every mistake of a grid, and say them together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, NoReturn, Protocol

from mesh.errors import GridError, GridProblem
from mesh.text import closest, printable

MOST_KEPT = 100
MOST_SHOWN = 20
_LONGEST_SHOWN = 60
_LONGEST_NAME = 64
_LONGEST_TEXT = 400


class Place(Protocol):
    """Anything that stands at a line and a column, both counted from 1."""

    @property
    def line(self) -> int:
        """Line, counted from 1."""
        ...

    @property
    def column(self) -> int:
        """Column in characters, counted from 1."""
        ...


class Mark(NamedTuple):
    """A place and nothing more."""

    line: int
    column: int


class Problems:
    """The mistakes of one grid.

    Args:
        file: The grid as the user would write it.

    """

    def __init__(self, file: str) -> None:
        self.file = printable(file)
        self._kept: list[GridProblem] = []
        self._dropped = 0
        self._comparisons = 5_000

    def add(self, place: Place, what: str, fix: str) -> None:
        """Note a mistake; past ``MOST_KEPT`` they are only counted."""
        if len(self._kept) < MOST_KEPT:
            what, fix = (printable(text[:_LONGEST_TEXT]) for text in (what, fix))
            self._kept.append(GridProblem(self.file, place.line, place.column, what, fix))
        else:
            self._dropped += 1

    def stop(self, place: Place, what: str, fix: str) -> NoReturn:
        """Note a mistake after which reading on makes no sense.

        Raises:
            GridError: Always, with this mistake and those before it.

        """
        self.add(place, what, fix)
        raise self._error()

    def raise_if_any(self) -> None:
        """Do nothing when there is no mistake.

        Raises:
            GridError: With all mistakes, in the order of the file.

        """
        if self._kept:
            raise self._error()

    def near(self, word: str, known: Iterable[str]) -> str | None:
        """Return the closest known word, or ``None``.

        A search compares with every known word, so a hostile grid gets a fixed
        number of comparisons in all, and none for long words.
        """
        words = [other for other in known if len(other) <= _LONGEST_NAME]
        if len(word) > _LONGEST_NAME or len(words) > self._comparisons:
            return None
        self._comparisons -= len(words)
        return closest(word, words)

    def _error(self) -> GridError:
        problems = sorted(self._kept, key=lambda problem: (problem.line, problem.column))
        total = len(problems) + self._dropped
        if total == 1:
            return GridError(str(problems[0]), problems)
        lines = [f"{self.file} has {total} mistakes:", *map(str, problems[:MOST_SHOWN])]
        if total > MOST_SHOWN:
            lines.append(f"and {total - MOST_SHOWN} more")
        return GridError("\n  ".join(lines), problems)


def shown(text: str) -> str:
    """Return text in quotes, safe to print and not too long."""
    return repr(text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…")


def quoted(text: str) -> str:
    """Return text as YAML would want it in double quotes, not too long."""
    short = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
    return '"' + short.replace("\\", "\\\\").replace('"', '\\"') + '"'
