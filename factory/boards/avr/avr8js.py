"""The engine that needs nothing but pip: avr8js, in the JavaScript engine V8 that mini-racer brings.

The simulator is in ``js/``: avr8js itself, bundled by ``scripts/bundle_avr8js.py``, and ``chip.js``, which
makes an ATmega328P of its parts. It shares memory with us; a slice is one evaluation of ``chip.run()``.

What it leaves out: the analog comparator, timer 1's input capture, partners on SPI (it reads 0) and I2C
(nobody acknowledges), writing to its own flash, and the depths of sleep: each is as deep as idle.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import TypeVar, cast

from py_mini_racer import JSEvalException, LibNotFoundError, MiniRacer

from factory.boards.avr.errors import EngineError
from factory.boards.avr.image import Image
from factory.boards.avr.records import Piece, RecordingEngine

T = TypeVar("T")

SCRIPTS = ("avr8js.js", "chip.js")
# Places in the header, which is made of doubles.
CYCLE, UNTIL, ORIGIN, EVENTS, COMMANDS, DROPPED = range(6)


class Avr8jsEngine(RecordingEngine):
    """An ATmega328P in avr8js.

    Args:
        image: The firmware.

    Raises:
        EngineError: JavaScript cannot be run here.

    """

    name = "avr8js"

    def __init__(self, image: Image) -> None:
        super().__init__()
        # mini-racer talks to V8 in an event loop. With one of its own, which runs for the length of a call
        # on the thread of the call, a slice costs 0.15 ms instead of 0.9 ms on a busy machine.
        self._loop = asyncio.new_event_loop()
        self._loop.set_debug(False)  # or it would complain of each call that takes long, as they are meant to
        self._context: MiniRacer | None = None
        try:
            # On a thread that has no event loop yet, whoever makes the engine.
            with ThreadPoolExecutor(max_workers=1) as thread:
                thread.submit(self._load, image.flash).result()
        except (LibNotFoundError, OSError) as exc:
            self.close()
            why = (
                f"mini-racer cannot start V8 here: {exc}; install mini-racer again, or use the engine simavr"
            )
            raise EngineError(why) from exc
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Free V8's memory. May be called twice."""
        context, self._context = self._context, None
        if context is not None:
            # These look into that memory.
            del self._header, self._records, self._orders
            context.close()
        self._loop.close()

    def _load(self, flash: bytes) -> None:
        self._context = self._in_loop(MiniRacer)
        folder = resources.files("factory.boards.avr") / "js"
        for script in SCRIPTS:
            self._evaluate((folder / script).read_text("utf-8"))
        self._header = self._memory("header").cast("d")
        self._records = self._memory("events").cast("i")
        self._orders = self._memory("commands").cast("i")
        self._memory("flash")[: len(flash)] = flash
        self._evaluate("chip.start()")

    def _exchange(self, until: int, commands: array[int]) -> Piece:
        if self._context is None:
            raise EngineError("this engine is closed; make another one")
        header = self._header
        header[UNTIL], header[COMMANDS] = until, len(commands) // 2
        self._orders[: len(commands)] = memoryview(commands)
        self._evaluate("chip.run()")
        records = self._records[: 3 * int(header[EVENTS])].tolist()
        return Piece(int(header[CYCLE]), int(header[ORIGIN]), int(header[DROPPED]), records)

    def _memory(self, name: str) -> memoryview:
        return cast(memoryview, self._evaluate(f"chip.memory.{name}"))

    def _evaluate(self, script: str) -> object:
        context = self._context
        assert context is not None
        try:
            return self._in_loop(lambda: context.eval(script))
        except JSEvalException as exc:
            raise EngineError(f"avr8js failed: {exc}; please report this with the firmware") from exc

    def _in_loop(self, call: Callable[[], T]) -> T:
        async def inside() -> T:
            return call()

        return self._loop.run_until_complete(inside())
