"""Scenarios: what is done to boards and what has to come of it, as a file.

.. code-block:: yaml

    board: uno
    steps:
      - mode: {2: INPUT_PULLUP}
      - press: key
      - expect-pin: {13: 1, within: 500ms}
      - release: key
      - expect-pulse: {13: 1, at-least: 90ms, at-most: 110ms, within: 2s}
      - expect-count: {13: 2, during: 1s}

Pins may be written as ``desk.13``, for another board than the scenario's own. Expectations look at
the edge log since the last action began, so what happens at once is not missed, and widths are those
of the board's own stamps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from mesh.gridfile.problems import Place, Problems, shown
from mesh.gridfile.yaml_tree import Mapping, Scalar, Sequence, Tree, parse
from mesh.text import did_you_mean, listing, seconds

POLL = 0.01
"""Seconds between two looks at a board."""

WAIT = 5.0
"""Seconds that ``wait-pin`` and the expectations wait, unless they say ``within``."""

Request = Callable[[str, object, str], Awaitable[Any]]
"""Sends a value to a channel of a board, and gives the answer: board, value, channel."""

_ACTIONS = {
    "set": "level",
    **{word: word for word in ("mode", "pwm", "servo", "tone", "analog", "pulse", "fault")},
}
_OPTIONS: dict[str, tuple[str, ...]] = {
    "wait-pin": ("within",),
    "expect-pin": ("within",),
    "expect-pulse": ("at-least", "at-most", "within"),
    "expect-count": ("during",),
}
_PARTS = ("press", "release")
_KINDS = (*_ACTIONS, *_PARTS, "turn", *_OPTIONS)


class ScenarioFailedError(Exception):
    """An expectation was not met.

    Attributes:
        step: Which one.

    """

    def __init__(self, step: Step, words: str) -> None:
        super().__init__(words)
        self.step = step


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        kind: ``set``, ``press``, ``expect-pin`` and the like.
        board: Name of the board.
        target: The pin, or the part.
        value: What it is set to or expected to be.
        times: ``within``, ``during``, ``at-least`` and ``at-most``, in seconds.
        line: Where it stands.

    """

    kind: str
    board: str
    target: str
    value: str
    times: dict[str, float] = field(default_factory=dict)
    line: int = 0

    def __str__(self) -> str:
        value = f" {self.value}" if self.value else ""
        return f"line {self.line}: {self.kind} {self.board}.{self.target}{value}"


# -- reading ---------------------------------------------------------------------------------


def read_scenario(text: str, file: str) -> list[Step]:
    """Return the steps of a scenario.

    Raises:
        GridError: If it is none: every mistake, with line and column.

    """
    problems = Problems(file)
    root = parse(text, problems)
    steps: list[Step] = []
    if not isinstance(root, Mapping):
        problems.stop(root or _Start(), "no scenario", "write board: NAME and steps: with a list")
    entries = {key.text: (key, value) for key, value in root.entries}
    for word, (key, _) in entries.items():
        if word not in ("board", "steps"):
            near = did_you_mean(word, ("board", "steps"))
            problems.add(key, f"unknown field {shown(word)}{near}", "a scenario has board and steps")
    board = _text(entries["board"][1], problems) if "board" in entries else ""
    listed = entries["steps"][1] if "steps" in entries else None
    if not isinstance(listed, Sequence) or not listed.items:
        problems.stop(listed or root, "no steps", "write steps: and a list, each item with a - before it")
    for item in listed.items:
        steps += _step(item, board, problems)
    problems.raise_if_any()
    return steps


class _Start:
    line = column = 1


def _step(item: Tree, board: str, problems: Problems) -> list[Step]:
    if not isinstance(item, Mapping) or len(item.entries) != 1:
        problems.add(item, "no step", "write one word and what it is for, as in - press: key")
        return []
    [(key, value)] = item.entries
    kind = key.text
    if kind not in _KINDS:
        near = did_you_mean(kind, _KINDS)
        problems.add(key, f"unknown step {shown(kind)}{near}", f"choose {listing(_KINDS, 'or')}")
        return []
    if kind in _PARTS:
        return _named(kind, value, _text(value, problems), "", {}, board, problems)
    if not isinstance(value, Mapping):
        problems.add(value, f"{kind} of what?", f"write {{13: 1}}, the pin and its value, behind {kind}:")
        return []
    times: dict[str, float] = {}
    targets: list[tuple[Scalar, Tree]] = []
    for word, given in value.entries:
        if word.text in _OPTIONS.get(kind, ()):
            times[word.text] = _time(given, problems)
        elif word.text in ("within", "during", "at-least", "at-most"):
            known = listing(_OPTIONS.get(kind, ())) or "no times"
            problems.add(word, f"{kind} takes no {word.text}", f"it takes {known}")
        else:
            targets.append((word, given))
    if kind == "expect-count" and "during" not in times:
        problems.add(key, "expect-count without a time", "add during: 1s, for which changes are counted")
    if len(targets) != 1:
        problems.add(key, f"{kind} needs one pin or part, not {len(targets)}", "write a step for each")
        return []
    [(name, given)] = targets
    return _named(kind, name, name.text, _text(given, problems), times, board, problems)


def _named(
    kind: str, place: Place, name: str, value: str, times: dict[str, float], board: str, problems: Problems
) -> list[Step]:
    own, dot, target = name.rpartition(".")
    if not dot and not board:
        problems.add(place, f"{shown(name)} of which board?", "name it: uno.13; or write board: uno above")
        return []
    return [Step(kind, own or board, target, value, times, place.line)]


def _text(tree: Tree, problems: Problems) -> str:
    if isinstance(tree, Scalar):
        return tree.text
    problems.add(tree, "more than one value", "write a single word or number here")
    return ""


def _time(tree: Tree, problems: Problems) -> float:
    try:
        return seconds(_text(tree, problems))
    except ValueError as exc:
        problems.add(tree, str(exc), "write it as 500ms or 2s")
        return 1.0


# -- running ---------------------------------------------------------------------------------


class Run:
    """Carries out one scenario.

    Args:
        request: What talks to the boards.

    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._since: dict[str, int] = {}

    async def step(self, step: Step) -> None:
        """Carry out one step.

        Raises:
            ScenarioFailedError: If it is an expectation, and not met.
            MeshError: If the board refuses it, or is not there.

        """
        if step.kind.startswith(("expect", "wait")):
            await self._expect(step)
            return
        # Before the action: what comes of it may be there before its answer.
        await self._mark(step.board)
        if step.kind in _PARTS or step.kind == "turn":
            value = step.kind if step.kind in _PARTS else step.value
            await self._request(step.board, value, f"part/{step.target}")
        else:
            await self._request(step.board, step.value, f"pin/{step.target}/{_ACTIONS[step.kind]}")

    async def _mark(self, board: str) -> None:
        for known in {*self._since, board}:
            state = await self._request(known, 2**53, "edges")
            self._since[known] = state["made"]

    async def _expect(self, step: Step) -> None:
        if step.board not in self._since:
            await self._mark(step.board)
        state = await self._request(step.board, "", f"pin/{step.target}/state")
        number = state["number"]
        loop = asyncio.get_running_loop()
        end = loop.time() + step.times.get("during", step.times.get("within", WAIT))
        while True:
            # The look before the clock: what has come by the end counts, however late the look is.
            late = loop.time() >= end
            edges = await self._edges(step.board, number)
            met, found = _judge(step, edges, await self._level(step))
            if step.kind == "expect-count":
                if late:
                    if not met:
                        raise ScenarioFailedError(step, found)
                    return
            elif met:
                return
            elif late:
                within = step.times.get("within", WAIT)
                raise ScenarioFailedError(step, f"{found}, for {within:g} s")
            await asyncio.sleep(min(POLL, max(end - loop.time(), 0)))

    async def _level(self, step: Step) -> str:
        state = await self._request(step.board, "", f"pin/{step.target}/state")
        return str(state["analog"] if state["mode"] == "ANALOG" else state.get("level", 0))

    async def _edges(self, board: str, number: int) -> list[tuple[float, int]]:
        """Return times and levels of one pin since the last action."""
        found: list[tuple[float, int]] = []
        since = self._since[board]
        while True:
            answer = await self._request(board, since, "edges")
            since += answer["missed"] + len(answer["edges"])
            levels = [edge for edge in answer["edges"] if edge[2] == number and edge[3] == "level"]
            found += [(time, value) for _, time, _, _, value in levels]
            if since >= answer["made"]:
                return found


def _judge(step: Step, edges: list[tuple[float, int]], level: str) -> tuple[bool, str]:
    """Return whether an expectation is met, and what there is instead."""
    if step.kind == "expect-count":
        return str(len(edges)) == step.value, f"the level changed {len(edges)} times, not {step.value}"
    if step.kind == "expect-pulse":
        widths = [
            after - before for (before, value), (after, _) in pairwise(edges) if str(value) == step.value
        ]
        shortest, longest = step.times.get("at-least", 0.0), step.times.get("at-most", float("inf"))
        seen = listing(f"{width * 1000:g} ms" for width in widths) or "none"
        return any(shortest <= width <= longest for width in widths), f"no such pulse; seen: {seen}"
    return level == step.value, f"it is {level}, not {step.value}"
