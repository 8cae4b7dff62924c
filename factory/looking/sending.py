"""Messages from the shell to a handler, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from factory.looking.errors import NotReachedError
from factory.looking.places import Place, asking, reaching
from mesh.client import Peer, connect
from mesh.errors import MeshError, NackedError
from mesh.text import did_you_mean


class Message(NamedTuple):
    """What to send, and where."""

    channel: str
    data: Any


class Outcome(NamedTuple):
    """What became of a message: its answer, or why it was refused."""

    message: Message
    ack: Any
    refusal: NackedError | None


@asynccontextmanager
async def talking(found: Place, timeout: float) -> AsyncIterator[Peer]:
    """Send to a node, at the door where it really is.

    Raises:
        NotReachedError: If it has none, or is not there.
        SilentNodeError: If it runs, and does not answer.

    """
    door = found.door
    if door is None:
        raise NotReachedError(
            f"{found.name} has no door: it only sends, and takes no messages; `mesh info {found.name}` "
            f"shows what it does"
        )
    with reaching(found, timeout):
        async with connect(door, patience=timeout) as peer:
            yield peer


async def publish(
    found: Place,
    messages: AsyncIterator[Message],
    timeout: float,
    rate: float | None,
    tell: Callable[[Outcome], object],
) -> int:
    """Send messages and tell of each answer; return how many were refused.

    Args:
        found: The node.
        messages: What to send.
        timeout: Seconds to wait for the node, and for each answer.
        rate: Messages a second; ``None`` for each as soon as the one before is answered.
        tell: Called with each outcome.

    """
    refused = 0
    loop = asyncio.get_running_loop()
    due = loop.time()
    async with talking(found, timeout) as peer:
        async for message in messages:
            if rate is not None:
                await asyncio.sleep(max(0.0, due - loop.time()))
                due = max(due + 1 / rate, loop.time())
            try:
                ack = await peer.request(message.data, message.channel, timeout=timeout)
            except NackedError as exc:
                refused += 1
                tell(Outcome(message, None, exc))
            else:
                tell(Outcome(message, ack, None))
    return refused


async def parts(found: Place, message: Message, timeout: float) -> AsyncGenerator[Any, None]:
    """Send a message and give its answer, or each part of it if the handler gives parts."""
    async with talking(found, timeout) as peer:
        try:
            yield await peer.request(message.data, message.channel, timeout=timeout)
            return
        except NackedError as exc:
            if exc.type != "AskNeededError":
                raise
        async with peer.ask(message.data, message.channel) as ask:
            while True:
                try:
                    async with asyncio.timeout(timeout):
                        part = await anext(ask)
                except StopAsyncIteration:
                    return
                yield part


async def hint(found: Place, channel: str) -> str:
    """Return which channel of a node was meant, if a channel that it has not got is near one."""
    with suppress(MeshError, TimeoutError):
        async with asyncio.timeout(0.5), asking(found, 0.5, once=True) as node:
            info = await node.request("$info", timeout=0.5)
            return did_you_mean(channel, info["channels"])
    return ""
