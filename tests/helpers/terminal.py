"""A command on a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

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


class Terminal:
    """A command on a terminal of its own that somebody sits at; use it as a context manager.

    Attributes:
        shown: All that appeared so far.
        pid: The process.

    """

    def __init__(self, *command: object) -> None:
        words = [str(word) for word in command]
        with warnings.catch_warnings():
            # Later Pythons warn of threads here. The child does nothing but begin another program.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid, self._screen = pty.fork()
        if self.pid == 0:
            os.execve(words[0], words, {**os.environ, "TERM": "xterm"})
        self.shown = b""
        self._seen = 0
        self._code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._screen)

    def type(self, keys: str) -> None:
        """Type keys; Enter is a carriage return."""
        os.write(self._screen, keys.encode())

    def shows(self, text: str) -> None:
        """Wait until a text has appeared, after the one that was waited for last."""
        wanted, end = text.encode(), time.monotonic() + 2 * DEADLINE
        while (at := self.shown.find(wanted, self._seen)) < 0:
            assert self._read(end), f"{text!r} did not appear: {self.shown[self._seen :]!r}"
        self._seen = at + len(wanted)

    def prompts(self) -> None:
        """Wait until it prompts again after what was shown last.

        Before that the terminal itself makes something of Ctrl-C, Ctrl-D and Enter.
        """
        self.shows(PROMPTS.decode())

    def ends(self) -> int:
        """Wait for the end, and return the exit code."""
        end = time.monotonic() + 2 * DEADLINE
        while self._read(end):
            pass
        assert time.monotonic() < end, f"it did not end: {self.shown[self._seen :]!r}"
        self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def count(self, text: str) -> int:
        """Return how often a text has appeared."""
        return self.shown.count(text.encode())

    def _read(self, end: float) -> bool:
        """Take what appears next; say whether anything did."""
        if not select.select([self._screen], [], [], max(end - time.monotonic(), 0))[0]:
            return False
        try:
            piece = os.read(self._screen, 65536)
        except OSError:  # the terminal is gone with the process
            return False
        self.shown += piece
        if b"\x1b[6n" in piece:
            os.write(self._screen, b"\x1b[1;1R")  # where the cursor is, for it asks
        return bool(piece)
