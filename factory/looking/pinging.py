"""How long nodes take to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from factory.looking.places import Place, asking
from mesh.errors import MeshError


@dataclass(frozen=True)
class Pong:
    """One answer, or that there was none.

    Attributes:
        node: Who was asked.
        number: Which time, from 1.
        seconds: How long it took.
        error: Why there was none.

    """

    node: str
    number: int
    seconds: float = 0.0
    error: MeshError | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what ``mesh ping --json`` prints of it."""
        if self.error is not None:
            return {"node": self.node, "number": self.number, "error": str(self.error)}
        return {"node": self.node, "number": self.number, "ms": round(self.seconds * 1000, 3)}


async def ping_all(
    places: Sequence[Place], count: int, interval: float, timeout: float, tell: Callable[[Pong], None]
) -> list[list[Pong]]:
    """Ping nodes side by side, and tell of each answer as it comes.

    Returns:
        The answers of each node, in the order of the nodes: two of them may have one name.

    """
    pongs: list[list[Pong]] = [[] for _ in places]

    async def ping(place: Place, mine: list[Pong]) -> None:
        async for pong in _pings(place, count, interval, timeout):
            mine.append(pong)
            tell(pong)

    async with asyncio.TaskGroup() as tasks:
        for place, mine in zip(places, pongs, strict=True):
            tasks.create_task(ping(place, mine), name=f"ping {place.name}")
    return pongs


async def _pings(place: Place, count: int, interval: float, timeout: float) -> Any:
    number = 0
    while number < count:
        try:
            async with asking(place, timeout, by_door=True, once=True) as node:
                # The first answer would take the time of the handshake as well.
                await node.request("$ping", timeout=timeout)
                while number < count:
                    begin = perf_counter()
                    await node.request("$ping", timeout=timeout)
                    number += 1
                    yield Pong(place.name, number, perf_counter() - begin)
                    if number < count:
                        await asyncio.sleep(interval)
        except MeshError as exc:
            number += 1
            yield Pong(place.name, number, error=exc)
            if number < count:
                await asyncio.sleep(interval)
