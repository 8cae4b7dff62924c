"""Ctrl-C, SIGTERM and a closed terminal: one polite request, then force.

Python's own signal handlers are used rather than the event loop's: they run even
while a handler blocks the loop in Python code, so a second Ctrl-C always works.
"""

from __future__ import annotations

import contextlib
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

LAST_WORDS = 0.2
"""Seconds that output may take at a forced end; a screen that nobody reads must not prevent it."""


class StopSignals:
    """While in the ``with`` block, turns signals into a request to stop.

    Args:
        request: Called once, from the main thread, with whether it was Ctrl-C. May run
            in the midst of any Python code, so it must only hand the word on.
        overdue: Called from another thread when the process still runs after ``GRACE``
            seconds, just before it ends by force with exit code 1.
        grace: Those seconds.

    Outside of the main thread, where Python allows no signal handlers, it does nothing.
    """

    def __init__(
        self, request: Callable[[bool], None], overdue: Callable[[], None], *, grace: float = GRACE
    ) -> None:
        self._request = request
        self._overdue = overdue
        self._grace = grace
        self._asked = False
        self._inside = False
        self._previous: dict[int, signal.Handlers | Callable[[int, FrameType | None], object] | int] = {}
        # Taken without blocking, for a signal may come in the midst of arm().
        self._armed = threading.Lock()
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._inside = True
            for name in ("SIGINT", "SIGTERM", "SIGHUP"):
                number = getattr(signal, name, None)
                # nohup sets SIGHUP to be ignored; leave it so. Shells set SIGINT to be ignored
                # for what they start with `&`; whoever sends one nevertheless means it.
                ignored = number is not None and signal.getsignal(number) is signal.SIG_IGN
                if number is not None and not (ignored and name == "SIGHUP"):
                    # None stands for a handler that was not set in Python and cannot be put back.
                    self._previous[number] = signal.signal(number, self._on_signal) or signal.SIG_DFL
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
        self._inside = False
        if self._timer is not None:
            self._timer.cancel()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if not self._asked:
            self._asked = True
            self.arm()
            self._request(number == signal.SIGINT)
        elif number == signal.SIGINT:
            leave_now(FORCED)

    def arm(self) -> None:
        """Let the grace begin: from now on the process has that long to end by itself.

        A signal does it; to be called when the end is asked for in another way.
        """
        if self._inside and self._armed.acquire(blocking=False):
            self._timer = threading.Timer(self._grace, self._force)
            self._timer.daemon = True
            self._timer.start()

    def _force(self) -> None:
        if self._inside:
            _briefly(self._overdue)
            leave_now(1)


def leave_now(code: int) -> None:
    """End the process without waiting for anything: threads, tasks, exit hooks."""
    _briefly(_flush)
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # Closed, gone, or in the midst of a write: nothing is left to be done about it.
        with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):
            stream.flush()


def _briefly(call: Callable[[], None]) -> None:
    """Call something that may hang or raise, and do not let it prevent the end."""
    thread = threading.Thread(target=call, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no more threads, or the interpreter is ending already
        return
    thread.join(LAST_WORDS)
