"""Who waits for the next message of a channel, besides its handler."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mesh.protocol.values import Wire


class Awaiting:
    """Futures for messages that have not come.

    Attributes:
        anybody: Whether there is one; looked at for each message, so it costs next to nothing.

    """

    def __init__(self) -> None:
        self.anybody = False
        self._futures: list[tuple[str | None, asyncio.Future[Wire]]] = []
        self._is_over = False

    def next(self, channel: str | None) -> asyncio.Future[Wire]:
        """Return a future for the next message of a channel, or of any one."""
        future: asyncio.Future[Wire] = asyncio.get_running_loop().create_future()
        if self._is_over:
            future.cancel()
        else:
            self._futures = [entry for entry in self._futures if not entry[1].done()]
            self._futures.append((channel, future))
            self.anybody = True
        return future

    def came(self, channel: str, messages: Sequence[Wire]) -> None:
        """Give the first of these messages to whoever waits for one."""
        waiting: list[tuple[str | None, asyncio.Future[Wire]]] = []
        for wanted, future in self._futures:
            if wanted is not None and wanted != channel:
                waiting.append((wanted, future))
            elif not future.done():
                future.set_result(messages[0])
        self._futures = waiting
        self.anybody = bool(waiting)

    def end(self) -> None:
        """Cancel every future: nothing will come any more."""
        self._is_over = True
        for _, future in self._futures:
            future.cancel()
        self._futures.clear()
        self.anybody = False
