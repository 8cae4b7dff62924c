"""The gate against a naive model, with cancellation wherever it can come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.gate import Gate
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch_bench import in_no_time


class Crowd:
    """Real tasks at a real gate; notes who is inside and whether that may be."""

    def __init__(self) -> None:
        self.gate = Gate(lambda text: self.wrong.append(text))
        self.inside: dict[int, bool] = {}
        self.entered: list[int] = []
        self.leave: dict[int, asyncio.Event] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self.wrong: list[str] = []

    def arrive(self, exclusive: bool) -> int:
        who = len(self.tasks)
        self.leave[who] = asyncio.Event()
        self.tasks[who] = asyncio.create_task(self._visit(who, exclusive), name=f"visitor {who}")
        return who

    async def _visit(self, who: int, exclusive: bool) -> None:
        async with self.gate.enter(f"visitor {who}", exclusive=exclusive):
            if any(self.inside.values()) or (exclusive and self.inside):
                self.wrong.append(f"{who} came in to {self.inside}")
            self.inside[who] = exclusive
            self.entered.append(who)
            try:
                await asyncio.sleep(0)
                await self.leave[who].wait()
            finally:
                del self.inside[who]

    async def settle(self) -> None:
        for _ in range(25):
            await asyncio.sleep(0)

    async def end(self) -> None:
        for event in self.leave.values():
            event.set()
        # Counted in turns of the loop and not in seconds, so that a gate that is stuck
        # fails at once, however often the scenario is played.
        for _ in range(50 * len(self.tasks)):
            await asyncio.sleep(0)
        stuck = [task.get_name() for task in self.tasks.values() if not task.done()]
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        assert not stuck


class Model:
    """A queue in the order of arrival; the first comes in as soon as it may."""

    def __init__(self) -> None:
        self.inside: dict[int, bool] = {}
        self.queue: list[tuple[int, bool]] = []

    def arrive(self, who: int, exclusive: bool) -> None:
        self.queue.append((who, exclusive))

    def go(self, who: int) -> None:
        self.inside.pop(who, None)
        self.queue = [entry for entry in self.queue if entry[0] != who]

    def settle(self) -> None:
        while self.queue:
            who, exclusive = self.queue[0]
            if any(self.inside.values()) or (exclusive and self.inside):
                return
            self.inside[who] = exclusive
            del self.queue[0]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.booleans()),
        st.tuples(st.sampled_from(["leave", "cancel"]), st.integers(0, 7)),
        # Without it, the steps before and after fall into one turn of the loop.
        st.tuples(st.just("settle"), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_the_gate_does_what_the_model_does(steps: Sequence[tuple[str, int]]) -> None:
    async def play() -> None:
        crowd, model = Crowd(), Model()
        for what, value in [*steps, ("settle", 0)]:
            if what == "arrive":
                model.arrive(crowd.arrive(bool(value)), bool(value))
                # Arrivals in one turn of the loop come in the order of their tasks.
                await asyncio.sleep(0)
                model.settle()
            elif what == "settle":
                await crowd.settle()
                model.settle()
                assert crowd.inside == model.inside
            elif value in crowd.tasks and (what == "cancel" or value in crowd.inside):
                if what == "cancel":
                    crowd.tasks[value].cancel()
                else:
                    crowd.leave[value].set()
                model.go(value)
        assert crowd.wrong == []
        await crowd.end()
        assert crowd.wrong == []
        assert not crowd.gate._waiting
        assert (crowd.gate._inside, crowd.gate._alone) == ([], False)

    asyncio.run(play())


@pytest.mark.parametrize("victim", range(6))
async def test_cancelled_at_any_await_nobody_else_is_held_up(victim: int) -> None:
    """The victim is cancelled after n turns of the loop, for every n until all is over anyway."""
    over = False
    turns = 0
    while not over:
        crowd = Crowd()
        for exclusive in (False, True, False, False, True, True):
            # Each leaves as soon as it is inside, so that the gate moves at every turn.
            crowd.leave[crowd.arrive(exclusive)].set()
        for _ in range(turns):
            await asyncio.sleep(0)
        over = crowd.tasks[victim].done()
        crowd.tasks[victim].cancel()
        await crowd.end()
        others = set(range(6)) - {victim}
        assert others <= set(crowd.entered), f"cancelled after {turns} turns"
        assert crowd.wrong == []
        assert (crowd.gate._inside, crowd.gate._alone) == ([], False)
        turns += 1
    assert turns > 2, "the scenario was over before anybody could be cancelled"


async def test_those_who_come_later_wait_behind_one_who_wants_to_be_alone() -> None:
    crowd = Crowd()
    first, alone, later = crowd.arrive(False), crowd.arrive(True), crowd.arrive(False)
    await crowd.settle()
    assert crowd.inside == {first: False}
    crowd.leave[first].set()
    await crowd.settle()
    assert crowd.inside == {alone: True}
    crowd.leave[alone].set()
    await crowd.settle()
    assert crowd.inside == {later: False}
    await crowd.end()


async def test_many_are_inside_together() -> None:
    crowd = Crowd()
    for _ in range(100):
        crowd.arrive(False)
    await crowd.settle()
    assert len(crowd.inside) == 100
    await crowd.end()


async def test_one_who_gives_up_waiting_to_be_alone_lets_the_others_in() -> None:
    crowd = Crowd()
    crowd.arrive(False)
    alone, later = crowd.arrive(True), crowd.arrive(False)
    await crowd.settle()
    crowd.tasks[alone].cancel()
    await crowd.settle()
    assert later in crowd.inside
    await crowd.end()


async def test_an_error_inside_leaves_the_gate_free() -> None:
    gate = Gate(print)
    with pytest.raises(ValueError, match="oops"):
        async with gate.enter("alone", exclusive=True):
            raise ValueError("oops")
    async with asyncio.timeout(DEADLINE), gate.enter("alone", exclusive=True):
        assert gate._alone


def test_long_waiting_is_told_once_with_who_holds_the_gate() -> None:
    said: list[str] = []

    async def main() -> None:
        gate = Gate(said.append, patience=5.0)
        async with gate.enter("b", exclusive=False), gate.enter("a", exclusive=False):
            late = [asyncio.create_task(_pass(gate, "alone")), asyncio.create_task(_pass(gate, "later"))]
            await asyncio.wait(late, timeout=30)
            assert [text[: text.index(" runs")] for text in said] == [
                "handler alone() has waited for 5 s, because a() and b()"
            ]
        await asyncio.gather(*late)

    in_no_time(main)
    assert len(said) == 1


def test_short_waiting_is_not_told() -> None:
    said: list[str] = []

    async def main() -> None:
        gate = Gate(said.append, patience=5.0)
        async with gate.enter("a", exclusive=True):
            waiting = asyncio.create_task(_pass(gate, "b"))
            await asyncio.sleep(4.9)
        await waiting
        await asyncio.sleep(30)

    in_no_time(main)
    assert said == []


async def _pass(gate: Gate, name: str) -> None:
    async with gate.enter(name, exclusive=name != "later"):
        pass
