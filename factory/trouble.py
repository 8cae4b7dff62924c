"""What can be said of an error that a sketch raised."""

from __future__ import annotations

import asyncio
import os
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path

import mesh

Report = Callable[[str, BaseException], object]
"""Tells people what failed, and of what."""

# Frames of these folders are not the sketch's own.
_MACHINERY = tuple(
    f"{folder}{os.sep}"
    for folder in (
        Path(__file__).parent,
        Path(mesh.__file__).parent,
        Path(sysconfig.get_path("stdlib"), "asyncio"),
        Path(sysconfig.get_path("stdlib"), "concurrent"),
    )
)


def is_cancellation(exc: BaseException) -> bool:
    """Tell the end of this very task from whatever else a sketch raises.

    A sketch may raise anything, SystemExit and types of its own included, and none of it
    must end its worker. CancelledError is among it, because awaiting somebody else's
    cancelled task raises it too.
    """
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    if isinstance(exc, GeneratorExit):
        # Without a task, nobody raised it: a coroutine that was left behind is closed.
        return task is None
    return isinstance(exc, asyncio.CancelledError) and (task is None or task.cancelling() > 0)


def words(exc: BaseException) -> str:
    """Return what an error says, even if it cannot say it."""
    try:
        return str(exc)
    except BaseException as why:
        return f"(its text cannot be had: {type(why).__name__})"


def named(exc: BaseException) -> str:
    """Return the type of an error and what it says."""
    text = words(exc)
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def place(exc: BaseException) -> str:
    """Return `` (at FILE:LINE)``, the line of the sketch in which an error arose, or nothing."""
    for frame in traceback.extract_tb(exc.__traceback__):
        # The first line outside of the machinery is where the sketch was at that moment.
        if not frame.filename.startswith(_MACHINERY):
            return f" (at {frame.filename}:{frame.lineno})"
    # "coroutine raised StopIteration" has no line of the sketch, but its cause has one.
    return place(exc.__cause__) if exc.__cause__ is not None else ""
