"""A wire from a pin of this board to a pin of a board in another process.

What travels is what one side does to the other: the voltage and the resistance that all the rest
of its net amounts to (Thevenin's theorem), or nothing. Each side adds that to its own net as one more
source, and leaves out what came from the other side when it works out its own. So two boards on
one bench and two on the mesh behave alike, shorts and pull-ups included; only that it takes a
moment, in which the latest state replaces the one before. What goes round in a circle of three
boards would hold itself up, so lay wires as a tree.

A wire is laid by one side; the other one learns of it by the first message and answers in kind. A
UART goes the same way: bytes in order, from a TX pin to what it is wired to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from factory.boards.bench import Source, mixed
from factory.boards.errors import BoardError
from factory.boards.simulated import SimPin
from mesh.errors import GridError, MeshError, NackedError

Send = Callable[[str, str, object], Awaitable[object]]
"""Sends to a channel of another node and waits for the acknowledgement: node, channel, message."""

Publish = Callable[[str, object], object]
"""Publishes a value on a channel."""

Say = Callable[[str], object]
"""Prints a line."""

MOST_BYTES = 65_536
"""Bytes of a UART that wait for the other side; more are dropped, and counted."""

_AGAIN = 0.5


class MeshWire:
    """One wire, seen from its end here: a terminal of the net of its pin.

    Args:
        pin: The pin here.
        name: What the other end calls it; a pin has several names.
        node: The node of the other board.
        ref: The pin there.
        send: What sends.
        say: Prints a line.

    Attributes:
        label: What people call the other end.
        lost: Bytes of the UART that were dropped.
        ends_nowhere: Whether the other side refused the wire, so that nothing goes over it until that side
            has come anew.

    """

    source: Source | None = None
    flutters = False

    def __init__(
        self, pin: SimPin, name: str, node: str, ref: str, send: Send, say: Callable[[str], object]
    ) -> None:
        self.label = f"{node}.{ref}"
        self.node = node
        self.lost = 0
        self.ends_nowhere = False
        self._complaint = ""
        self._pin = pin
        self._name = name
        self._ref = ref
        self._send = send
        self._say = say
        self._sent: object = ()
        self._bytes = bytearray()
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"wire from {pin} to {self.label}")
        pin.net.terminals.append(self)
        self.again()

    def see(self, volts: float | None, chance: float) -> None:
        """Take note that the net has changed."""
        if self._mine() != self._sent:
            self._news.set()

    def came(self, told: object) -> None:
        """Take what the other side does to this net: ``[volts, ohms]``, or nothing.

        Raises:
            BoardError: If it is neither.

        """
        self.source = _read(told, self.label)
        self._pin.board.bench.changed(self._pin.net)

    def again(self) -> None:
        """Tell the other side anew: it may have forgotten, or take now what it refused."""
        self.ends_nowhere = False
        self._sent = ()
        self._news.set()

    def cut(self) -> None:
        """Take note that the other side is gone."""
        if self.source is not None:
            self.source = None
            self._pin.board.bench.changed(self._pin.net)
        if self.ends_nowhere:
            # It may be another board when it is back, and only who asks for it gets to know.
            self.again()

    def transmit(self, data: bytes) -> bool:
        """Send bytes of a UART; say whether the other side may get them, all of them."""
        # A wire that ends nowhere takes nothing.
        room = 0 if self.ends_nowhere else MOST_BYTES - len(self._bytes)
        if len(data) > room and not self.lost:
            self._say(
                f"the wire from {self._pin} to {self.label} takes no more bytes; "
                f"what is dropped is counted, see `mesh pins`"
            )
        self.lost += max(len(data) - room, 0)
        self._bytes += data[:room]
        self._news.set()
        return len(data) <= room

    async def close(self) -> None:
        """Take the wire away."""
        self._task.cancel()
        await asyncio.wait([self._task])

    def _mine(self) -> list[float] | None:
        """Return what this side does to the other: the rest of the net as one source."""
        net = self._pin.net
        sources = [each.source for each in net.terminals if each is not self and each.source is not None]
        sources += net.sources.values()
        volts = mixed(sources)
        if volts is None:
            return None
        return [round(volts, 6), round(1 / sum(1 / source.ohms for source in sources), 6)]

    async def _run(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self.ends_nowhere:
                continue
            try:
                await self._tell()
                self._complaint = ""
            except NackedError as exc:
                self._end(exc.reason)
            except GridError as exc:
                self._end(str(exc))
            except MeshError:
                # The node is not there yet, or no longer; its coming wakes us, and so does time.
                await asyncio.sleep(_AGAIN)
                self._news.set()

    def _end(self, why: str) -> None:
        self.ends_nowhere = True
        if why != self._complaint:
            self._complaint = why
            self._say(f"the wire from {self._pin} to {self.label} ends nowhere: {why}")

    async def _tell(self) -> None:
        mine = self._mine()
        if mine != self._sent:
            await self._send(self.node, f"pin/{self._ref}/wire", {"from": self._name, "drive": mine})
            self._sent = mine
            if self._mine() != mine:
                self._news.set()
        while self._bytes:
            chunk = bytes(self._bytes[:4096])
            await self._send(self.node, f"pin/{self._ref}/uart", chunk)
            del self._bytes[: len(chunk)]


def _read(told: Any, label: str) -> Source | None:
    if told is None:
        return None
    try:
        volts, ohms = (float(number) for number in told)
    except (TypeError, ValueError):
        volts, ohms = 0.0, -1.0
    if not (-50 <= volts <= 50 and 0 < ohms < 1e12):
        raise BoardError(f"the wire to {label} is told {str(told)[:40]!r}, which is no [volts, ohms]")
    return Source(volts, ohms)
