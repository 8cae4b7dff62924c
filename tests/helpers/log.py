"""A list that can be waited on, so that no test needs a sleep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from tests.helpers.proc import DEADLINE

T = TypeVar("T")


class Log(list[T]):
    """What has happened, in order; a coroutine may wait until enough has."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def add(self, item: T) -> None:
        """Note one more."""
        self.append(item)
        self._changed.set()

    async def until(self, enough: int | Callable[[list[T]], bool]) -> None:
        """Return when there are that many, or when the condition holds.

        Raises:
            AssertionError: If that does not come to pass.

        """
        try:
            async with asyncio.timeout(DEADLINE):
                while not (len(self) >= enough if isinstance(enough, int) else enough(self)):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain for more than {list(self)}") from None
