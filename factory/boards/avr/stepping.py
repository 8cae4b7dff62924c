"""Firmware in step with a clock that is handed in: for tests, and for whoever has all the time."""

from __future__ import annotations

from factory.boards.avr.board import AvrBoard
from factory.boards.avr.engine import Engine
from factory.boards.avr.uart import room_for


def advance(board: AvrBoard, engine: Engine, time: float) -> None:
    """Run firmware, and the bench that it is on, until a time of the bench.

    The same inputs at the same times give the same edges, however fast the machine is.

    Args:
        board: The board.
        engine: What runs the firmware; nobody else may use it meanwhile.
        time: Until when.

    Raises:
        EngineError: If the engine failed.

    """
    pacer, bench = board.pacer, board.bench
    last = pacer.cycle(time)
    while pacer.reached < last:
        until = min(pacer.until(board.next_input()), last)
        for what in board.inputs(room_for(until - pacer.reached, pacer.hertz)):
            what.apply(engine)
        done = engine.run(until)
        pacer.ran(done.cycle, len(done.events), bench.time)
        board.take(done)
        bench.advance(pacer.stamp(done.cycle))
    bench.advance(time)
