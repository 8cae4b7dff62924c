"""What goes through a worker, for who looks on: messages that enter handlers, publications, acks.

It must not slow down what it shows. A batch costs one look at the clock; of it as many messages
are kept as the tap's budget allows, and the others are counted. Where nobody looks on, a batch
costs one comparison.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Final

import msgspec

from mesh.protocol.link.packing import pack_one
from mesh.protocol.values import Refusal

CAME: Final = "<"
PUBLISHED: Final = ">"
ACKED: Final = "="

MOST_TAPS: Final = 8
"""Taps that one worker may have at a time."""

RATE: Final = 500.0
"""Messages a second that a tap keeps; more are only counted."""

BURST: Final = 200.0
"""Messages that it keeps at once after a silence."""

MOST_WAITING: Final = 1000
"""Kept messages that may wait for who looks on."""

LARGEST: Final = 16 * 1024
"""Most encoded bytes of a message that is shown; of a larger one only the size is."""

MOST_CHANNELS: Final = 256
"""Channels that are counted apart; the others are counted together, as ``(others)``."""

PAUSE: Final = 0.05
"""Seconds between two parts, so that each holds many messages."""


class Wish(msgspec.Struct, frozen=True):
    """What somebody wants to see.

    Attributes:
        channel: Only this channel; ``None`` for all.
        acks: What the handlers have answered as well.
        rows: The messages, and not only how many.

    """

    channel: str | None = None
    acks: bool = False
    rows: bool = True


class Taps:
    """All taps of one worker.

    Args:
        changed: Called with whether there are any, when that changes.

    Attributes:
        anybody: Whether there are any; looked at for each batch.

    """

    def __init__(self, changed: Callable[[bool], object]) -> None:
        self.anybody = False
        self._changed = changed
        self._taps: list[Tap] = []

    def saw(self, way: str, peer: str | None, channel: str, items: Sequence[Any]) -> None:
        """Show messages to who looks on."""
        for tap in self._taps:
            tap.take(way, peer, channel, items)

    async def parts(self, msg: Any) -> AsyncGenerator[dict[str, Any], None]:
        """Give what goes through from now on, part by part; the answer to ``$tap``.

        Raises:
            ValueError: If the message is no ``Wish``, or there are too many taps.

        """
        wish = msgspec.convert(msg or {}, Wish)
        if len(self._taps) >= MOST_TAPS:
            raise ValueError(f"{MOST_TAPS} are looking on already; end one of them first")
        tap = Tap(wish)
        self._taps.append(tap)
        self._judge()
        try:
            yield tap.collect()
            while True:
                await tap.news.wait()
                await asyncio.sleep(PAUSE)
                yield tap.collect()
        finally:
            self._taps.remove(tap)
            self._judge()

    def _judge(self) -> None:
        before, self.anybody = self.anybody, bool(self._taps)
        if before != self.anybody:
            self._changed(self.anybody)


class Tap:
    """One who looks on.

    Attributes:
        news: Set when there is something to collect.

    """

    def __init__(self, wish: Wish, clock: Callable[[], float] = time.monotonic) -> None:
        self.news = asyncio.Event()
        self._wish = wish
        self._clock = clock
        self._rows: list[dict[str, Any]] = []
        self._skipped = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._budget = BURST
        self._looked = clock()

    def take(self, way: str, peer: str | None, channel: str, items: Sequence[Any]) -> None:
        """Take messages of one channel: keep some, count all."""
        wish = self._wish
        if (wish.channel is not None and channel != wish.channel) or (way == ACKED and not wish.acks):
            return
        key = (way, channel)
        if key not in self._counts and len(self._counts) >= MOST_CHANNELS:
            key = (way, "(others)")
        self._counts[key] = self._counts.get(key, 0) + len(items)
        self.news.set()
        if not wish.rows:
            return
        now = self._clock()
        self._budget = min(BURST, self._budget + (now - self._looked) * RATE)
        self._looked = now
        keep = min(len(items), int(self._budget), MOST_WAITING - len(self._rows))
        self._budget -= keep
        self._skipped += len(items) - keep
        if keep:
            at = time.time()
            self._rows += [_row(at, way, peer, channel, item) for item in items[:keep]]

    def collect(self) -> dict[str, Any]:
        """Return what was taken since the last time."""
        self.news.clear()
        part = {
            "rows": self._rows,
            "skipped": self._skipped,
            "counts": [[way, channel, count] for (way, channel), count in self._counts.items()],
        }
        self._rows, self._skipped, self._counts = [], 0, {}
        return part


def _row(at: float, way: str, peer: str | None, channel: str, item: Any) -> dict[str, Any]:
    row = {"at": at, "way": way, "peer": peer, "channel": channel}
    if isinstance(item, Refusal):
        return {**row, "refused": {"type": item.type, "message": item.message}}
    # Encoded now, for a handler may change what it was given.
    body = pack_one(item, LARGEST)
    return {**row, "large": True} if body is None else {**row, "body": body}
