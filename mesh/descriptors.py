"""File descriptors: as many as the system lets us have, and one line when they run out."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

logger = logging.getLogger("mesh.descriptors")

RESERVE = 64
"""Descriptors that clients never get: for files, pipes, links to peers and for turning others away."""

EPISODE = 10.0
"""Seconds without an error after which the next one is told again."""

RETRY = 2.0
"""Seconds within which asyncio tries again to accept; it does so every second."""

# For a hard limit of "infinite": what Linux, and then what macOS grants.
_GENEROUS = (1_048_576, 65_536, 10_240)
_OUT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


def raise_limit() -> int | None:
    """Raise the soft limit of this process to the hard one.

    Returns:
        The limit from now on; ``None`` where there is none.

    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinite = resource.RLIM_INFINITY
    for wanted in _GENEROUS if hard == infinite else (hard, *_GENEROUS):
        if soft == infinite or soft >= wanted:
            break
        if hard != infinite and wanted > hard:
            continue
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            continue
        soft = wanted
        break
    return None if soft == infinite else soft


def reserve(limit: int) -> int:
    """Return how many descriptors of a limit clients never get."""
    return min(RESERVE, limit // 2)


class Hush:
    """Makes one line of the tracebacks that asyncio logs when it cannot accept.

    It wraps the loop's exception handler while somebody holds it; ``of()`` gives the
    one of a loop. All other errors pass through.
    """

    _all: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Hush]] = WeakKeyDictionary()

    def __init__(self) -> None:
        self._holders = 0
        self._previous: Handler | None = None
        self._last: float | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Hush:
        """Return the one of a loop."""
        return cls._all.setdefault(loop, cls())

    def hold(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be quiet until ``release()`` was called as often."""
        self._holders += 1
        if loop.get_exception_handler() != self._handle:
            self._previous = loop.get_exception_handler()
            loop.set_exception_handler(self._handle)

    def release(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the handler back that was there before, once nobody holds this one."""
        self._holders -= 1
        if self._last is not None and loop.time() - self._last < RETRY:
            # asyncio will try once more to accept, on a socket that is closed by then.
            loop.call_later(RETRY, self._restore, loop)
        else:
            self._restore(loop)

    def _restore(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._holders and loop.get_exception_handler() == self._handle:
            loop.set_exception_handler(self._previous)
            self._previous = None

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        exc = context.get("exception")
        if isinstance(exc, OSError) and exc.errno in _OUT and "accept" in context.get("message", ""):
            now = loop.time()
            if self._last is None or now - self._last > EPISODE:
                logger.warning(
                    "cannot take more connections just now (%s); those who knock wait. "
                    "If that happens often, raise `ulimit -n`",
                    (exc.strerror or str(exc)).lower(),
                )
            self._last = now
        elif self._last is not None and isinstance(exc, ValueError) and "_start_serving" in str(context):
            pass  # the try after the end of a door; see release()
        elif self._previous is not None:
            self._previous(loop, context)
        else:
            loop.default_exception_handler(context)
