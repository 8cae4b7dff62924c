"""Who reads what is subscribed to, value by value."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from mesh.links.taskless import Taskless

if TYPE_CHECKING:
    from mesh.links.inbox import Messages
    from mesh.links.shell import LinkShell
    from mesh.links.subscribing import Want
    from mesh.protocol.link.inbound import Inbound


class _Part(NamedTuple):
    """Values that came together."""

    link: LinkShell
    work: Inbound
    numbers: list[int]
    values: list[Any]


class _Door(Taskless):
    """What takes the values of one link for a reader.

    It stays, for it answers what still comes when nobody reads any more. Nothing is in hand here: a script
    may leave it.
    """

    def __init__(self, reader: Reader, link: LinkShell, want: Want) -> None:
        self._reader = reader
        self._link = link
        self._want = want

    def put(self, work: Inbound, items: list[Any]) -> None:
        """Hand values to the reader."""
        link, want = self._link, self._want
        if want.is_over:
            link.core.ack(work, [None] * len(items), link.time())
            return
        values = want.read(link, work, items)
        if values:
            numbers = [item[0] for item in items[-len(values) :]]
            self._reader.take(_Part(link, work, numbers, values))


class Reader:
    """Gives values in order, and answers them when they are given: a ``User``."""

    def __init__(self) -> None:
        self._parts: deque[_Part] = deque()  # those that are not wholly given
        # Of the first part, once one of its values was asked for; and which of them is next.
        self._values: list[Any] = []
        self._numbers: list[int] = []
        self._at = 0
        self._news: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._seq = 0

    @property
    def seq(self) -> int:
        """Number of the value that was given last."""
        return self._numbers[self._at - 1] if self._at else self._seq

    def messages(self, link: LinkShell, want: Want) -> Messages:
        """Return what takes the messages of a link."""
        return _Door(self, link, want)

    def began(self, want: Want, missed: int, *, again: bool) -> None:
        """Take note that values will come."""

    def take(self, part: _Part) -> None:
        """Take values that came."""
        self._parts.append(part)
        self._wake()

    def ended(self, want: Want, error: Exception) -> None:
        """End with an error, after what came before."""
        self._error = error
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def next(self, holder: object = None) -> Any:
        """Return the next value.

        Args:
            holder: Kept alive for as long as it is waited for.

        Raises:
            MeshError: If no more will come.
            RuntimeError: If somebody else waits for it.

        """
        if self._news is not None:
            raise RuntimeError(
                "two tasks wait for the next value of one subscription; "
                "let each call subscribe() for its own, or one of them hand the values on"
            )
        while True:
            values, at = self._values, self._at
            if at < len(values):
                self._at = at + 1
                return values[at]
            if self._parts:
                if values:
                    self._done()
                else:
                    self._values, self._numbers = self._parts[0].values, self._parts[0].numbers
                continue
            if self._error is not None:
                raise self._error
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None

    def _done(self) -> None:
        self._seq = self.seq
        self._values, self._numbers = [], []
        self._at = 0
        link, work, _, values = self._parts.popleft()
        link.core.ack(work, [None] * len(values), link.time())
        if not link.loop.is_closed():
            link.pump_soon()

    def close(self) -> None:
        """Take no more, and answer what came."""
        while self._parts:
            self._done()
