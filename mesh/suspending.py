"""Giving way: how long one may go on, and that who runs a coroutine is told when it suspends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, Final, TypeVar, cast

T = TypeVar("T")

SLICE: Final = 0.005
"""Seconds that the messages of one client or channel may keep the event loop before others get their turn."""

CHECK_EVERY: Final = 32
"""Messages between two looks at the clock."""


@coroutine
def watched(body: Coroutine[Any, Any, T], gave_way: Callable[[], None]) -> Generator[Any, Any, T]:
    """Await a coroutine, and call ``gave_way`` whenever it suspends, however deep within."""
    step: Callable[[], Any] = partial(body.send, None)
    while True:
        try:
            awaited = step()
        except StopIteration as end:
            return cast("T", end.value)
        gave_way()
        try:
            value = yield awaited
        except GeneratorExit:
            body.close()
            raise
        except BaseException as exc:
            step = partial(body.throw, exc)
        else:
            step = partial(body.send, value)
