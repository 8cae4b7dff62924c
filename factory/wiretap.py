"""What goes over the links of a worker, as lines, for who looks on from outside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from mesh.transport.tapping import Tap, tap_of_process

MOST_LINES: Final = 1000
"""Lines that may wait for one who looks on; more are only counted."""

PAUSE: Final = 0.05
"""Seconds between two parts, so that each holds many lines."""


class WireTaps:
    """All who see the wire of one worker.

    Args:
        put: Puts a tap on all links, those to come as well; ``None`` takes it away.

    """

    def __init__(self, put: Callable[[Tap | None], object]) -> None:
        self._put = put
        self._tap: Tap | None = None
        self._users = 0

    async def parts(self, _msg: Any) -> AsyncGenerator[dict[str, Any], None]:
        """Give what goes over the wire from now on, part by part; the answer to ``$wire``."""
        lines: list[str] = []
        skipped = 0
        news = asyncio.Event()

        def sink(line: str) -> None:
            nonlocal skipped
            if len(lines) < MOST_LINES:
                lines.append(line)
            else:
                skipped += 1
            news.set()

        tap = self._begin()
        tap.add(sink)
        try:
            yield {"lines": [], "skipped": 0}
            while True:
                await news.wait()
                await asyncio.sleep(PAUSE)
                news.clear()
                part = {"lines": lines[:], "skipped": skipped}
                lines.clear()
                skipped = 0
                yield part
        finally:
            tap.remove(sink)
            self._end()

    def _begin(self) -> Tap:
        self._users += 1
        if self._tap is None:
            # Who was told before, by --wire, still is.
            process = tap_of_process()
            self._tap = Tap(*(process.sinks if process is not None else ()))
            self._put(self._tap)
        return self._tap

    def _end(self) -> None:
        self._users -= 1
        if not self._users:
            self._tap = None
            self._put(None)
