"""Hubs in one process, on a network in memory: what a worker's links do, without the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from mesh.dialling import AbsentError
from mesh.links.asking import Asking
from mesh.links.dialler import Dialler
from mesh.links.hub import Hub
from mesh.links.inbox import Route
from mesh.links.publishing import Publication, Publishing
from mesh.links.sending import sending
from mesh.links.subscribing import Subscribing
from mesh.node import Node
from mesh.outgoing import explained
from mesh.protocol.link import Delivery, LinkSettings
from mesh.protocol.values import Refusal
from mesh.streams import Ask, OnNack, Parts, Stream
from mesh.subscription import Subscription, subscription
from mesh.transport.base import Transport
from mesh.transport.memory import MemoryNetwork
from tests.helpers.sketch_bench import in_no_time

T = TypeVar("T")
Handler = Callable[[str, Any], Awaitable[Any]]
Generator = Callable[[str, Any], AsyncGenerator[Any, None]]


async def echo(channel: str, item: Any) -> Any:
    """Answer with the message."""
    return item


def held(gate: asyncio.Event, *items: object) -> Handler:
    """Return a handler that echoes once a gate is open; if items are named, only those wait for it."""

    async def handle(_: str, item: Any) -> Any:
        if not items or item in items:
            await gate.wait()
        return item

    return handle


def paced(seconds: float) -> Handler:
    """Return a handler that echoes after so many seconds."""

    async def handle(_: str, item: Any) -> Any:
        await asyncio.sleep(seconds)
        return item

    return handle


class Place:
    """One process: a hub, and what its handlers got."""

    def __init__(
        self,
        network: MemoryNetwork,
        name: str,
        place: str | None = None,
        settings: LinkSettings | None = None,
    ) -> None:
        self.network = network
        self.name = name
        self.place = place or name
        self.handler: Handler = echo
        self.generator: Generator | None = None
        self.got: list[Any] = []
        self.notices: list[str] = []
        self.changes: list[tuple[str, str, str]] = []
        self.ended: list[str] = []
        self.unsent: list[Exception] = []
        self.hub = Hub(
            name,
            self,
            notice=self.notices.append,
            changed=lambda *change: self.changes.append(change),
            settings=settings,
            random=Random(1),
        )
        self.publishing = Publishing(patience=10.0)
        self.publishing.begin()
        self.hub.followers.append(self.publishing)
        self.subscribing = Subscribing(self.hub, warn=self.notices.append)
        network.listen(self.place, self._accept)

    async def _accept(self, transport: Transport) -> None:
        self.ended.append(await self.hub.accept(transport))

    # -- what the hub asks

    def opened(self, peer: str, channel: str) -> Route:
        """Route everything to the handler."""

        async def handle(channel: str, item: Any) -> Any:
            self.got.append(item)
            return await self.handler(channel, item)

        return Route(handle, None)

    def asked(self, peer: str, channel: str, item: Any) -> AsyncGenerator[Any, None] | Refusal:
        """Let the generator answer, if there is one."""
        return self.generator(channel, item) if self.generator else Refusal("LookupError", "nobody is here")

    async def recover(self, peer: str, channel: str, item: Any, error: BaseException) -> Refusal:
        """Refuse what raised."""
        return Refusal(type(error).__name__, str(error))

    def unsendable(self, peer: str, channel: str, what: str, error: Exception) -> None:
        """Note it."""
        self.unsent.append(error)

    # -- what a test does

    def dialler(self, target: str, place: str | None = None) -> Dialler:
        """Return what keeps the link to a peer up."""
        return self.hub.dialler(target, f"memory://{place or target}", lambda: self.dial(place or target))

    async def dial(self, place: str) -> Transport:
        """Open a connection to a place."""
        try:
            async with asyncio.timeout(5):
                return await self.network.dial(self.place, place)
        except (OSError, TimeoutError) as exc:
            raise AbsentError(str(exc) or "no answer") from exc

    def keep(self, target: str, place: str | None = None) -> None:
        """Keep the link to a peer up, as for subscriptions."""
        self.subscribing.keep(Node(target, "memory", 1), lambda: self.dial(place or target))

    def subscribe(
        self,
        source: str,
        channel: str = "tick",
        *,
        policy: str = "drop_oldest",
        limit: int = 1000,
        place: str | None = None,
    ) -> Subscription:
        """Subscribe as a script does."""
        self.keep(source, place)
        node = Node(source, "memory", 1)
        return subscription(self.subscribing, node, channel, policy=policy, limit=limit, latch=True)

    def publish(self, value: Any, channel: str = "tick", *, latch: bool = False) -> Publication:
        """Publish as a sketch does."""
        return self.publishing.publish(channel, value, latch=latch)

    def stream(
        self,
        target: str,
        data: Any,
        channel: str = "c",
        *,
        on_nack: OnNack = "raise",
        window: int | None = None,
        place: str | None = None,
        **delivery: Any,
    ) -> Stream:
        """Stream as a sketch does."""
        wanted = Delivery(**delivery)

        async def start() -> Parts:
            dialler = self.dialler(target, place)
            link = await dialler.first_contact(wanted.patience)
            node = Node(target, "memory", 1)
            return sending(
                link,
                channel,
                data,
                wanted,
                peer=target,
                window=window,
                explain=lambda failure: explained(failure, node, dialler),
            )

        return Stream(target, start, on_nack=on_nack)

    def ask(self, target: str, msg: Any = None, channel: str = "c", *, patience: float | None = 10.0) -> Ask:
        """Ask as a sketch does."""

        async def start() -> Asking:
            dialler = self.dialler(target)
            link = await dialler.first_contact(patience)
            node = Node(target, "memory", 1)
            return link.asks.ask(
                channel,
                msg,
                peer=target,
                patience=patience,
                explain=lambda failure: explained(failure, node, dialler),
            )

        return Ask(target, start)

    def put(self, value: Any, channel: str = "tick", *, latch: bool = False) -> None:
        """Publish, and do not wait."""
        _ = self.publish(value, channel, latch=latch)

    def line(self, peer: str, way: str = "sent", channel: str = "c") -> dict[str, Any]:
        """Return a line of the ledger."""
        return dict(self.hub.books()[peer][way][channel])

    async def die(self) -> None:
        """End as a process that is killed: no goodbye."""
        self.network.close(self.place)
        await self.subscribing.close()
        await self.hub.close()


class Fleet:
    """A network, and the places in it; everything is closed at the end, and the books are checked."""

    def __init__(self, settings: LinkSettings | None = None) -> None:
        self.network = MemoryNetwork()
        self.settings = settings
        self.places: list[Place] = []

    def place(self, name: str, place: str | None = None, settings: LinkSettings | None = None) -> Place:
        """Start a process."""
        made = Place(self.network, name, place, settings or self.settings)
        self.places.append(made)
        return made

    async def close(self) -> None:
        """End everything; nothing may be left."""
        for place in self.places:
            await place.subscribing.close()
            await place.hub.close()
        await self.network.aclose()
        for _ in range(5):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks without owner: {sorted(task.get_name() for task in left)}"
        for place in self.places:
            assert place.hub.balanced(), place.hub.books()


def simulated(scenario: Callable[[Fleet], Coroutine[Any, Any, T]], settings: LinkSettings | None = None) -> T:
    """Run a scenario on a fresh fleet in time that leaps; it must end within an hour of that."""

    async def main() -> T:
        async with asyncio.timeout(3600):
            fleet = Fleet(settings)
            result = await scenario(fleet)
            await fleet.close()
            return result

    return in_no_time(main)


async def turns(count: int = 20) -> None:
    """Let everybody go on for a while, without letting time pass."""
    for _ in range(count):
        await asyncio.sleep(0)
