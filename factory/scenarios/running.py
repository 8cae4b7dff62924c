"""Carry out a scenario: one step after the other, until one is not as expected."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from factory.boards.following import END, Follower
from factory.boards.io.reading import words_of
from factory.scenarios.boards import Boards
from factory.scenarios.expecting import Expectation, Heard, expectation
from factory.scenarios.steps import KINDS, Step
from mesh.errors import MeshError

POLL = 0.01
"""Seconds between two looks at a board."""

WAIT = 5.0
"""Seconds that an expectation waits, unless it says ``within``."""


class ScenarioFailedError(Exception):
    """A step could not be carried out, or is an expectation that was not met.

    Attributes:
        step: Which one.

    """

    def __init__(self, step: Step, words: str) -> None:
        super().__init__(words)
        self.step = step


async def carry_out(steps: Sequence[Step], boards: Boards) -> None:
    """Carry out a scenario.

    Args:
        steps: Its steps.
        boards: The boards.

    Raises:
        ScenarioFailedError: At the first step that fails.

    """
    run = _Run(steps, boards)
    for step in steps:
        try:
            await run.step(step)
        except MeshError as exc:
            raise ScenarioFailedError(step, words_of(exc)) from exc


class _Run:
    def __init__(self, steps: Sequence[Step], boards: Boards) -> None:
        self._boards = boards
        looks = [step for step in steps if KINDS[step.kind].is_expectation]
        self._watched = list(dict.fromkeys(step.board for step in looks if KINDS[step.kind].signal))
        self._heard = list(
            dict.fromkeys((step.board, step.target) for step in looks if not KINDS[step.kind].signal)
        )
        self._marks: dict[str, Follower] = {}
        self._marked = False
        self._unplugged: set[str] = set()

    async def step(self, step: Step) -> None:
        kind = KINDS[step.kind]
        if not (kind.is_expectation and self._marked):
            await self._mark()
        if kind.is_expectation:
            await (self._expect(step) if kind.signal else self._expect_text(step))
            return
        value = step.value.encode() if kind.target == "uart" else step.value or kind.message
        answer = await self._boards.do(step.board, value, kind.channel.format(step.target))
        if step.kind == "unplug":
            self._unplugged.add(step.board)
        elif step.kind == "plug":
            self._unplugged.discard(step.board)
        if kind.target == "uart" and answer == 0:
            words = f"nobody hears it: TX{step.target} is on no wire to an RX pin"
            raise ScenarioFailedError(step, words)

    async def _mark(self) -> None:
        """Note where all boards are, before an action: what comes of it may be there before its answer."""
        for board in self._watched:
            self._marks[board] = Follower(await self._boards.look(board, END, "edges"))
        for board, number in self._heard:
            await self._boards.listen(board, number)
        self._boards.forget()
        self._marked = True

    async def _expect(self, step: Step) -> None:
        state = await self._boards.look(step.board, "", f"pin/{step.target}/state")
        expected = expectation(step, KINDS[step.kind].signal)
        follower = self._marks[step.board].copy()
        loop = asyncio.get_running_loop()
        time = step.times.get("during", step.times.get("within", WAIT))
        end = loop.time() + time
        last: float | None = None
        while True:
            # One look begins after the end: what has come by then counts, however late the look is.
            now = loop.time()
            if now >= end and last is None:
                last = now
            await self._look(expected, follower, state["number"], now)
            if expected.gap and expected.needs_all:
                raise ScenarioFailedError(step, f"this cannot be told: {expected.gap}")
            if expected.is_met and (last is not None or not expected.is_patient):
                return
            # What has come by then may still have to stay as it is for a while.
            if last is not None and (expected.since is None or expected.since > last):
                gap = f"; {expected.gap}" if expected.gap else ""
                raise ScenarioFailedError(step, f"{expected.found} (after {time:g} s){gap}")
            await asyncio.sleep(POLL if last is not None else min(POLL, end - now))

    async def _look(self, expected: Expectation, follower: Follower, number: int, now: float) -> None:
        """Have an expectation see what its board has logged since it last did, and how the pin is now."""
        step = expected.step
        signal = KINDS[step.kind].signal
        state = await self._boards.look(step.board, "", f"pin/{step.target}/state")
        more = True
        while more:
            news = follower.take(await self._boards.look(step.board, follower.since, "edges"))
            more = news.more
            if news.anew:
                expected.miss(f"{step.board} has started anew since the last action")
            if news.missed:
                expected.miss(
                    f"{news.missed} edges since the last action are no longer in the log of {step.board}; "
                    f"look sooner, or have its pins change less often"
                )
            expected.feed(
                [(time, value) for _, time, pin, name, value in news.edges if (pin, name) == (number, signal)]
            )
        if step.board in self._unplugged:
            # It is meant to be so, and the scenario looks at what is left.
            state = {**state, "lost": None}
        expected.look(state, now)

    async def _expect_text(self, step: Step) -> None:
        heard: Heard = await self._boards.listen(step.board, step.target)
        loop = asyncio.get_running_loop()
        time = step.times.get("within", WAIT)
        end = loop.time() + time
        while not heard.has(step.value):
            if loop.time() >= end:
                gap = f"; {heard.gap}" if heard.gap else ""
                raise ScenarioFailedError(step, f"{heard.found} (after {time:g} s){gap}")
            await asyncio.sleep(min(POLL, max(end - loop.time(), 0)))
