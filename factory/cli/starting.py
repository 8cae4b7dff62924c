"""The two commands from their first moment on: Ctrl-C ends them without a word, whatever they are importing.

Imports next to nothing itself, so that this moment comes early.
"""

from __future__ import annotations

import os
import signal
from importlib import import_module

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


def mesh() -> None:
    """Run ``mesh``; does not return."""
    _run("factory.cli.fleet")


def sketch() -> None:
    """Run ``arduino.py``; does not return."""
    _run("factory.cli.launch")


def _run(module: str) -> None:
    # Else it is ignored, as shells have it for what they start with `&`, and shall be.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    main = import_module(module).main
    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
