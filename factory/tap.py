"""What goes through a worker, for who looks on: messages that enter handlers, publications, acks.

It must not slow down what it shows:

- A batch of messages costs one look at the clock; of it as many are kept as the tap's budget
  allows, and the others are counted. Where nobody looks on, a batch costs one comparison.
- Publications are not batched, and quick. So they are looked at only while there is budget for
  one; how many there were is what their channel has numbered meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
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
        arm: Called with whether publications are to be shown, by ``published()``.
        numbers: Returns how many values were published on each channel.

    Attributes:
        anybody: Whether there are any; looked at for each batch.

    """

    def __init__(self, arm: Callable[[bool], object], numbers: Callable[[], Mapping[str, int]]) -> None:
        self.anybody = False
        self._arm = arm
        self._numbers = numbers
        self._taps: list[Tap] = []

    def saw(self, way: str, peer: str | None, channel: str, items: Sequence[Any]) -> None:
        """Show messages to who looks on."""
        for tap in self._taps:
            tap.take(way, peer, channel, items)

    def published(self, channel: str, value: object) -> None:
        """Show a publication to who looks on, and no more of them if nobody has the budget."""
        for tap in self._taps:
            tap.take_published(channel, value)
        if not any(tap.has_budget for tap in self._taps):
            self._arm(False)

    async def parts(self, msg: Any) -> AsyncGenerator[dict[str, Any], None]:
        """Give what goes through from now on, part by part; the answer to ``$tap``.

        Raises:
            ValueError: If the message is no ``Wish``, or there are too many taps.

        """
        wish = msgspec.convert(msg or {}, Wish)
        if len(self._taps) >= MOST_TAPS:
            raise ValueError(f"{MOST_TAPS} are looking on already; end one of them first")
        tap = Tap(wish, self._numbers())
        self._taps.append(tap)
        self._judge()
        try:
            yield tap.collect(self._numbers())
            while True:
                await asyncio.sleep(PAUSE)
                part = tap.collect(self._numbers())
                self._judge()
                if part["counts"]:
                    yield part
        finally:
            self._taps.remove(tap)
            self._judge()

    def _judge(self) -> None:
        self.anybody = bool(self._taps)
        self._arm(any(tap.has_budget for tap in self._taps))


class Tap:
    """One who looks on.

    Args:
        wish: What is wanted.
        numbers: How many values were published on each channel until now.
        clock: What time it is.

    """

    def __init__(
        self, wish: Wish, numbers: Mapping[str, int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._wish = wish
        self._numbers = dict(numbers)
        self._shown: dict[str, int] = {}
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
        self._count(way, channel, len(items))
        if not wish.rows:
            return
        keep = min(len(items), self._affordable())
        self._skipped += len(items) - keep
        self._keep(way, peer, channel, items[:keep])

    def take_published(self, channel: str, value: object) -> None:
        """Keep a publication, if there is budget for it; they are counted when they are collected."""
        wish = self._wish
        if wish.rows and wish.channel in (None, channel) and self._affordable():
            self._shown[channel] = self._shown.get(channel, 0) + 1
            self._keep(PUBLISHED, None, channel, (value,))

    @property
    def has_budget(self) -> bool:
        """Whether one more message may be kept."""
        return self._wish.rows and self._affordable() > 0

    def _affordable(self) -> int:
        now = self._clock()
        self._budget = min(BURST, self._budget + (now - self._looked) * RATE)
        self._looked = now
        return max(0, min(int(self._budget), MOST_WAITING - len(self._rows)))

    def _keep(self, way: str, peer: str | None, channel: str, items: Sequence[Any]) -> None:
        self._budget -= len(items)
        at = time.time()
        self._rows += [_row(at, way, peer, channel, item) for item in items]

    def _count(self, way: str, channel: str, count: int) -> None:
        key = (way, channel)
        if key not in self._counts and len(self._counts) >= MOST_CHANNELS:
            key = (way, "(others)")
        self._counts[key] = self._counts.get(key, 0) + count

    def _count_published(self, numbers: Mapping[str, int]) -> None:
        wish, before = self._wish, self._numbers
        for channel, number in numbers.items():
            # Numbers begin anew when a channel was forgotten.
            count = number - before.get(channel, 0) if number >= before.get(channel, 0) else number
            if count and wish.channel in (None, channel):
                self._count(PUBLISHED, channel, count)
                if wish.rows:
                    self._skipped += max(0, count - self._shown.get(channel, 0))
        self._numbers = dict(numbers)
        self._shown.clear()

    def collect(self, numbers: Mapping[str, int]) -> dict[str, Any]:
        """Return what was taken since the last time.

        Args:
            numbers: How many values were published on each channel until now.

        """
        self._count_published(numbers)
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
