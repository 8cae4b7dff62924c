"""A bench for sketches: made apart from any grid file, their log collected, their time moved by hand."""

from __future__ import annotations

import asyncio
import functools
import logging
import selectors
import textwrap
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import factory
import mesh
from tests.helpers.proc import DEADLINE

S = TypeVar("S", bound=factory.FactoryLoop)
T = TypeVar("T")


def made(sketch: type[S], *others: mesh.Node, **arguments: object) -> S:
    """Construct a sketch that knows only the nodes that are given."""
    return sketch.as_node(mesh.Node(sketch.__name__.lower()), mesh.Grid(others), **arguments)


def define(source: str) -> dict[str, Any]:
    """Execute the source of a sketch that pretends to stand in ``sketch.py``, and return its names."""
    names: dict[str, Any] = {"__name__": "sketch"}
    text = "import factory\n" + textwrap.dedent(source).lstrip()
    exec(compile(text, "sketch.py", "exec", dont_inherit=True), names)
    return names


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an async method, as a decorator of the user's own would."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


class Records(logging.Handler):
    """What the machinery has logged, as ``level: text``; any thread may wait for a line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.records: list[logging.LogRecord] = []
        self._news = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._news:
            self.records.append(record)
            self.lines.append(f"{record.levelname.lower()}: {record.getMessage()}")
            self._news.notify_all()

    def having(self, text: str) -> list[str]:
        """Return the lines that hold a text."""
        return [line for line in self.lines if text in line]

    def wait_for(self, text: str) -> str:
        """Block until there is a line with that text, and return it."""
        end = time.monotonic() + DEADLINE
        with self._news:
            while not self.having(text):
                if not self._news.wait(end - time.monotonic()):
                    raise AssertionError(f"no line has {text!r}: {self.lines}")
            return self.having(text)[0]


@contextmanager
def logged(level: int = logging.INFO) -> Iterator[Records]:
    """Collect what ``mesh`` and ``factory`` log, whatever other tests have set up."""
    records = Records()
    loggers = [logging.getLogger(name) for name in ("mesh", "factory")]
    before = [(logger.handlers[:], logger.level, logger.propagate, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.handlers[:] = [records]
        logger.setLevel(level)
        logger.propagate = False
        logger.disabled = False
    try:
        yield records
    finally:
        for logger, (handlers, old, propagate, disabled) in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
            logger.setLevel(old)
            logger.propagate = propagate
            logger.disabled = disabled


class _Leap(selectors.DefaultSelector):
    """A selector that never waits: when nothing is ready, the clock leaps to what comes next."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            # Only another thread can go on from here.
            return super().select(DEADLINE)
        if not ready and timeout:
            self.now += timeout
        return ready


class _LeapLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.now


def in_no_time(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine on an event loop whose clock leaps over every wait; not for sockets."""
    with asyncio.Runner(loop_factory=_LeapLoop) as runner:
        return runner.run(main())
