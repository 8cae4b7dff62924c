"""A command on a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Mapping

from tests.helpers.proc import DEADLINE

PROMPTS = b"\x1b[?2004h"
"""What the prompt begins with: it asks the terminal to mark what is pasted.

Ctrl-D is for typing behind it only: between two prompts the terminal takes it for itself.
"""


def on_a_terminal(
    command: list[str], steps: list[tuple[bytes, bytes]], env: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Run a command on a terminal of its own; each time that a text has appeared there, type another one.

    Returns:
        The exit code, and all that appeared.

    """
    pid, screen = pty.fork()
    if pid == 0:
        os.execve(command[0], command, {**os.environ, "TERM": "xterm", **(env or {})})
    shown, seen, end = b"", 0, time.monotonic() + DEADLINE
    try:
        while select.select([screen], [], [], max(end - time.monotonic(), 0))[0]:
            try:
                piece = os.read(screen, 4096)
            except OSError:  # the terminal is gone with the process
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown
            shown += piece
            if b"\x1b[6n" in piece:
                os.write(screen, b"\x1b[1;1R")  # where the cursor is, for it asks
            while steps and (at := shown.find(steps[0][0], seen)) >= 0:
                awaited, typed = steps.pop(0)
                seen = at + len(awaited)
                os.write(screen, typed)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError(f"it did not end: {shown!r}")
    finally:
        os.close(screen)
