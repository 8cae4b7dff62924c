"""Finds the handler that blocks the event loop, and names it.

The loop beats every quarter of a second; a thread watches the beat. When it stays
away, the thread looks at the stack of the loop's own thread, in which the handler
that should have awaited can be read with file and line. Costs nothing per message.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Mapping
from types import CodeType, FrameType

BEAT = 0.25
"""Seconds between beats of the loop."""

PATIENCE = 1.0
"""Seconds without a beat after which the loop counts as blocked."""


class Watchdog:
    """Reports what blocks the event loop it is started on.

    Args:
        report: Called from the watching thread with a sentence for people.
        names: What to call the code that may be found, by code object.
        patience: Seconds without a beat after which the loop counts as blocked.

    """

    def __init__(
        self, report: Callable[[str], None], names: Mapping[CodeType, str], *, patience: float = PATIENCE
    ) -> None:
        self._report = report
        self._names = names
        self._patience = patience
        self._between = min(BEAT, patience / 4)
        self._beaten = threading.Event()
        self._ended = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_id = 0

    def start(self) -> None:
        """Begin to watch the running event loop, which is this thread's."""
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._beat()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching; to be called on the event loop."""
        self._ended.set()
        self._beaten.set()
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        assert self._loop is not None
        self._beaten.set()
        self._timer = self._loop.call_later(self._between, self._beat)

    def _watch(self) -> None:
        while not self._ended.is_set():
            self._beaten.clear()
            # Waited for twice: a process that was stopped (Ctrl-Z, a closed lid) finds its
            # time over when it goes on, before the loop had a chance to beat.
            if self._beaten.wait(self._patience) or self._beaten.wait(self._between):
                # Nothing to do until the next beat is due; do not spin between beats.
                self._ended.wait(self._between)
                continue
            # stop() may have come between the question above and clear().
            if self._ended.is_set():
                return
            frame = sys._current_frames().get(self._thread_id)
            if frame is not None:
                self._report(self._sentence(frame))
            # Once for each time that it blocks.
            while not self._ended.is_set() and not self._beaten.wait(self._patience):
                pass

    def _sentence(self, innermost: FrameType) -> str:
        frame: FrameType | None = innermost
        while frame is not None:
            name = self._names.get(frame.f_code)
            if name is not None:
                return (
                    f"{name} has blocked the event loop for {self._patience:g} s, "
                    f"at {frame.f_code.co_filename}:{frame.f_lineno}; nothing else of this worker runs "
                    f"meanwhile. Await instead (asyncio.sleep, not time.sleep), "
                    f"or give the slow part to a thread: await self.to_thread(function)"
                )
            frame = frame.f_back
        code = innermost.f_code
        return (
            f"the event loop has been blocked for {self._patience:g} s, "
            f"at {code.co_filename}:{innermost.f_lineno}"
        )
