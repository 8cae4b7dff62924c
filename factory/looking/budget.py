"""How long a command that was just started may wait for all nodes together.

What counts is when the user sees the answer, so a command's own start comes out of the same half
second. But whoever is slow must not blame others for it: on a machine so busy that the start took
long, nodes get as much more time to answer.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from mesh.runtime import start_of

WITHIN: Final = 0.5
"""Seconds in which all nodes together are to have answered."""

SHOWING: Final = 0.08
"""Seconds that are kept for showing what was found, and for the end of the process."""

LEAST: Final = 0.15
"""Seconds that nodes get on a machine with nothing else to do, however long the start took."""


def slowness(age: float, busy: float) -> float:
    """Return how many times longer than on a machine with nothing else to do things take.

    Args:
        age: Seconds since this process was started.
        busy: Seconds for which its processor has worked in that time.

    """
    return max(1.0, age / busy) if busy > 0 else 1.0


def left(age: float, busy: float) -> float:
    """Return the seconds that nodes may still take to answer; see ``slowness()``."""
    return max(WITHIN - SHOWING - age, LEAST * slowness(age, busy))


def left_now() -> float:
    """Return ``left()`` of this process."""
    return left(*_so_far())


def patience(seconds: float) -> float:
    """Return how long that is on a machine as busy as this one was since this process was started."""
    return seconds * slowness(*_so_far())


def _so_far() -> tuple[float, float]:
    busy = time.process_time()
    begun = start_of(os.getpid()) if sys.platform.startswith("linux") else None
    if begun is None:
        return busy, busy
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(begun) / os.sysconf("SC_CLK_TCK")
    return max(age, busy), busy
