"""Runs the engine of a board: slices in a thread of their own, what happens on the event loop.

The engine belongs to that one thread; the board, the bench and the pacer to the loop. Between
two slices what is outside is told to the engine, in the same call, so each slice is one way to
the thread and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from factory.boards.avr.board import AvrBoard, Input
from factory.boards.avr.engine import Engine, Slice
from factory.boards.avr.errors import EngineError
from factory.boards.avr.pacing import Pacer
from factory.boards.avr.uart import room_for
from factory.boards.bench import Bench
from factory.boards.errors import BoardError
from factory.boards.io.clock import BenchClock


class SimulatedClock(BenchClock):
    """Moves a bench, at some speed, but never further than the engine of its board has come.

    Args:
        bench: The world; its time began as that of the monotonic clock.
        pacer: Knows how far that is.
        speed: Seconds of the bench in one of ours; ``None`` for as many as can be.

    """

    def __init__(self, bench: Bench, pacer: Pacer, speed: float | None) -> None:
        super().__init__(bench)
        self._pacer = pacer
        self._speed = speed
        self._begun = bench.time

    def target(self) -> float:
        """Return what time it should be on the bench."""
        if self._speed is None:
            return self._reached if self._pacer.runs else self._bench.time
        return self._begun + (monotonic() - self._begun) * self._speed - self._pacer.given_up

    def now(self) -> float:
        """Return what time it is there."""
        return min(self.target(), self._reached) if self._pacer.runs else self.target()

    @property
    def _reached(self) -> float:
        return self._pacer.stamp(self._pacer.reached)

    def _delay(self, due: float) -> float | None:
        # What the engine has not come to is looked at again after its next slice.
        if self._speed is None or (self._pacer.runs and due > self._reached):
            return None
        return max(due - self.target(), 0) / self._speed


class Runner:
    """Runs one engine.

    Args:
        board: The board.
        clock: Moves it.
        make: Makes an engine; blocks.
        speed: Seconds simulated in one of ours; ``None`` for as many as can be.
        say: Prints a line.

    """

    def __init__(
        self,
        board: AvrBoard,
        clock: SimulatedClock,
        make: Callable[[], Engine],
        speed: float | None,
        say: Callable[[str], object],
    ) -> None:
        self._board = board
        self._clock = clock
        self._make = make
        self._speed = speed
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"engine of {board.name}")
        self._engine: Engine | None = None
        self._task: asyncio.Task[None] | None = None
        self._powered = asyncio.Event()
        board.watch_state(lambda _reason: self._powered.set())

    async def make(self) -> None:
        """Make the engine.

        Raises:
            BoardError: If there is none that could be made.

        """
        self._engine = await self._loop.run_in_executor(self._thread, self._make)

    def start(self) -> None:
        """Run it from now on."""
        self._task = asyncio.create_task(self._run(), name=f"firmware of {self._board.name}")

    async def close(self) -> None:
        """Stop it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._close_engine()
        self._thread.shutdown(wait=False)

    async def _close_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await self._loop.run_in_executor(self._thread, engine.close)

    async def _run(self) -> None:
        board = self._board
        while True:
            try:
                if self._engine is None:
                    await self.make()
                    board.pacer.reached = 0
                board.pacer.resume(self._clock.target())
                while board.lost is None:
                    await self._slice()
            except (EngineError, BoardError) as exc:
                await self._close_engine()
                with self._clock:
                    board.lose(f"its simulator failed: {exc}; power 1 tries again")
            board.pacer.runs = False
            while board.lost is not None:
                self._powered.clear()
                await self._powered.wait()

    async def _slice(self) -> None:
        board, pacer, clock = self._board, self._board.pacer, self._clock
        if self._speed is not None and (wait := pacer.wait(clock.target())) > 0:
            await asyncio.sleep(wait / self._speed)
            return
        assert self._engine is not None
        until = pacer.until(board.next_input())
        inputs = board.inputs(room_for(until - pacer.reached, pacer.hertz))
        done = await self._loop.run_in_executor(self._thread, _run_slice, self._engine, inputs, until)
        said = pacer.ran(done.cycle, len(done.events), clock.target())
        board.take(done)
        with clock:
            pass  # what of it is due already, happens now
        if said is not None:
            self._say(said)


def _run_slice(engine: Engine, inputs: list[Input], until: int) -> Slice:
    for what in inputs:
        what.apply(engine)
    return engine.run(until)
