"""Ctrl-C, SIGTERM and a closed terminal: one polite request, then force.

Python's own signal handlers are used rather than the event loop's: they run even
while a handler blocks the loop in Python code, so a second Ctrl-C always works.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

GRACE = 4.6
"""Seconds after which a process that was asked to stop ends by force; supervisors kill at 5."""

FORCED = 130
"""Exit code after the second Ctrl-C: 128 + SIGINT, as shells have it."""


class StopSignals:
    """While in the ``with`` block, turns signals into a request to stop.

    Args:
        request: Called once, from the main thread, with whether it was Ctrl-C. May run
            in the midst of any Python code, so it must only hand the word on.
        overdue: Called from another thread when the process still runs after ``GRACE``
            seconds, just before it ends by force with exit code 1.

    Outside of the main thread, where Python allows no signal handlers, it does nothing.
    """

    def __init__(self, request: Callable[[bool], None], overdue: Callable[[], None]) -> None:
        self._request = request
        self._overdue = overdue
        self._asked = False
        self._previous: dict[int, object] = {}
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                # nohup sets SIGHUP to be ignored; leave it so.
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)  # type: ignore[arg-type]
        if self._timer is not None:
            self._timer.cancel()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if not self._asked:
            self._asked = True
            self._timer = threading.Timer(GRACE, self._force)
            self._timer.daemon = True
            self._timer.start()
            self._request(number == signal.SIGINT)
        elif number == signal.SIGINT:
            leave_now(FORCED)

    def _force(self) -> None:
        self._overdue()
        leave_now(1)


def leave_now(code: int) -> None:
    """End the process without waiting for anything: threads, tasks, exit hooks."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, RuntimeError):
            # Closed, gone, or in the midst of a write: nothing is left to be done about it.
            continue
    os._exit(code)
