"""Who reads what is subscribed to, value by value: any number of readers share one subscription."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from mesh.links.taskless import Taskless

if TYPE_CHECKING:
    from mesh.links.inbox import Messages
    from mesh.links.shell import LinkShell
    from mesh.links.subscribing import Subscribing, Want
    from mesh.protocol.link.inbound import Inbound


class _Part:
    """Values that came together, and how many readers have not taken them all."""

    __slots__ = ("numbers", "readers", "values", "work")

    def __init__(self, work: Inbound, numbers: list[int], values: list[Any], readers: int) -> None:
        self.work = work
        self.numbers = numbers
        self.values = values
        self.readers = readers


class Readers:
    """All local readers of one channel of one peer: a ``User``."""

    def __init__(self, subscribing: Subscribing) -> None:
        self.all: list[Reader] = []
        self._subscribing = subscribing

    def messages(self, link: LinkShell, want: Want) -> Messages:
        """Return what takes the messages of a link."""
        return _Door(self, link, want)

    def began(self, want: Want, missed: int, *, again: bool) -> None:
        """Take note that values will come."""

    def ended(self, want: Want, error: Exception) -> None:
        """Take note that no more values will come."""
        for reader in self.all:
            reader.fail(error)

    def leave(self, reader: Reader, want: Want) -> None:
        """Forget a reader; the last one ends the subscription."""
        if reader in self.all:
            self.all.remove(reader)
            if not self.all:
                self._subscribing.drop(want)


class _Door(Taskless):
    """What takes the values of one link for its readers.

    It stays, for it answers what still comes when nobody reads any more. Nothing is in hand here: a script
    may leave it.
    """

    def __init__(self, readers: Readers, link: LinkShell, want: Want) -> None:
        self._readers = readers
        self._link = link
        self._want = want

    def put(self, work: Inbound, items: list[Any]) -> None:
        """Hand values to every reader."""
        want = self._want
        if want.is_over:
            # Subscribed to again meanwhile, perhaps by others, perhaps by another name.
            current = self._readers._subscribing.asked(self._link, want.channel)
            if current is not None and isinstance(current.user, Readers):
                want = self._want = current
                self._readers = current.user
        if want.is_over or not self._readers.all:
            self._link.core.ack(work, [None] * len(items), self._link.time())
            return
        values = want.read(self._link, work, items)
        if values:
            readers = self._readers.all
            numbers = [item[0] for item in items[-len(values) :]]
            part = _Part(work, numbers, values, len(readers))
            for reader in readers:
                reader.take(self._link, part)


class Reader:
    """One local reader: gives values in order."""

    def __init__(self) -> None:
        self._parts: deque[tuple[LinkShell, _Part]] = deque()  # those that are not wholly given
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

    def take(self, link: LinkShell, part: _Part) -> None:
        """Take values that came."""
        self._parts.append((link, part))
        self._wake()

    def fail(self, error: Exception) -> None:
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
                link, part = self._parts[0]
                if values:
                    self._done(link, part)
                else:
                    self._values, self._numbers = part.values, part.numbers
                continue
            if self._error is not None:
                raise self._error
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None

    def _done(self, link: LinkShell, part: _Part) -> None:
        self._seq = self.seq
        self._parts.popleft()
        self._values, self._numbers = [], []
        self._at = 0
        part.readers -= 1
        if not part.readers:
            link.core.ack(part.work, [None] * len(part.values), link.time())
            if not link.loop.is_closed():
                link.pump_soon()

    def close(self) -> None:
        """Take no more, and let what came be answered."""
        while self._parts:
            link, part = self._parts[0]
            self._done(link, part)
