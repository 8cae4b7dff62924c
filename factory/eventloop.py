"""Which event loop a worker runs in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

SWITCH = "SKETCHMESH_UVLOOP"
"""The environment variable that keeps uvloop out of it when it is ``0``."""


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the event loop: uvloop's if it is installed; ``None`` stands for asyncio's own."""
    if os.environ.get(SWITCH) == "0":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
