"""The two commands from their first moment on: Ctrl-C ends them without a word, whatever they are importing.

Imports next to nothing itself, so that this moment comes early.
"""

from __future__ import annotations

import os
import signal
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would take time to import
    from collections.abc import Callable

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""


def mesh() -> None:
    """Run ``mesh``; does not return."""
    _main_of("factory.cli.fleet")(prog_name="mesh")


def sketch() -> None:
    """Run ``arduino.py``; does not return."""
    _main_of("factory.cli.launch")()


def _main_of(module: str) -> Callable[..., object]:
    # Else it is ignored, as shells have it for what they start with `&`, and shall be.
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    main: Callable[..., object] = import_module(module).main
    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return main
