"""Peers ``zenoh`` and ``zenoh-batched``: a put for each message, a put for each ack, process to process.

Its callbacks come in a thread of its own; the loop is woken once for all that has arrived meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from typing import Any

import msgspec
import zenoh

from benchmarks.api import HOST, At, Job, handle
from benchmarks.fanout import Audience, Handler
from benchmarks.flow import Acks, Inbox, hold, send_batches, send_each

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[bytes]).decode

MESSAGES, ACKS, FANOUT = "bench/messages", "bench/acks", "bench/fanout"


def _open(**endpoint: list[str]) -> zenoh.Session:
    config = zenoh.Config()
    config.insert_json5("mode", '"peer"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("scouting/gossip/enabled", "false")
    config.insert_json5("listen/endpoints", json.dumps(endpoint.get("listen", [])))
    config.insert_json5("connect/endpoints", json.dumps(endpoint.get("connect", [])))
    return zenoh.open(config)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _publisher(session: zenoh.Session, key: str) -> zenoh.Publisher:
    # The default drops what the wire cannot take, and then nothing could be counted.
    return session.declare_publisher(key, congestion_control=zenoh.CongestionControl.BLOCK)


class _Arrivals:
    """Bring samples from zenoh's thread to the loop."""

    def __init__(self, session: zenoh.Session, key: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._inbox: Inbox[bytes] = Inbox()
        self._woken = False
        # Kept, for a subscriber that is collected unsubscribes.
        self._subscriber = session.declare_subscriber(key, self._arrived)

    def _arrived(self, sample: zenoh.Sample) -> None:
        self._inbox.put_silently(sample.payload.to_bytes())
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._woken = False
        self._inbox.wake()

    async def take(self) -> list[bytes]:
        """Wait for messages and return all there are."""
        return await self._inbox.take()


async def receive(job: Job) -> None:
    """Subscribe until the process is ended."""
    port = _free_port()
    with _open(listen=[f"tcp/{HOST}:{port}"]) as session:
        publisher = _publisher(session, ACKS)
        arrivals = _Arrivals(session, MESSAGES)
        job.ready(port)
        if job.batched:
            while True:
                for frame in await arrivals.take():
                    publisher.put(encode([await handle(message) for message in decode(frame)]))
        while True:
            for message in await arrivals.take():
                publisher.put(await handle(message))


@asynccontextmanager
async def sender(at: At) -> AsyncIterator[_Sender]:
    """Connect to the receiver and wait until each knows the other's subscription."""
    with _open(connect=[f"tcp/{HOST}:{at.port}"]) as session:
        peer = _Sender(session, batched=at.batched)
        reader = asyncio.create_task(peer.read())
        try:
            await peer.wait_for_receiver()
            yield peer
        finally:
            reader.cancel()


@asynccontextmanager
async def _session(port: int) -> AsyncIterator[None]:
    """Hold one session."""
    with await asyncio.to_thread(_open, connect=[f"tcp/{HOST}:{port}"]):
        yield


def idle(at: At, count: int) -> AbstractAsyncContextManager[None]:
    """Hold idle sessions."""
    return hold(lambda: _session(at.port), count)


class _Sender:
    """A sender that puts messages, or batches of them, and gets the acks by a subscription."""

    def __init__(self, session: zenoh.Session, batched: bool) -> None:
        self._batched = batched
        self._acks = Acks()
        self._arrivals = _Arrivals(session, ACKS)
        self._publisher = _publisher(session, MESSAGES)

    async def wait_for_receiver(self) -> None:
        """Wait until what is put arrives, and what is answered comes back."""
        # Either end has to learn of the other's subscription; until then what is put goes nowhere.
        probe = b"probe"
        self._acks.clear()
        while not self._acks.got:
            self._publisher.put(encode([probe]) if self._batched else probe)
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2)

    async def read(self) -> None:
        """Take the acks as they arrive, until it is cancelled."""
        while True:
            for frame in await self._arrivals.take():
                if self._batched:
                    self._acks.put_all(decode(frame))
                else:
                    self._acks.put(frame)

    def _send(self, message: bytes) -> None:
        self._publisher.put(message)

    def _send_batch(self, batch: Sequence[bytes]) -> None:
        self._publisher.put(encode(batch))

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send messages, by themselves or in batches, and return the acks in order."""
        if self._batched:
            return await send_batches(self._acks, self._send_batch, messages, window)
        return await send_each(self._acks, self._send, messages, window)


@asynccontextmanager
async def publisher(_: At) -> AsyncIterator[_Publisher]:
    """Listen for sessions that subscribe."""
    port = _free_port()
    with _open(listen=[f"tcp/{HOST}:{port}"]) as session:
        yield _Publisher(port, _publisher(session, FANOUT))


@asynccontextmanager
async def subscribe(at: At, audience: Audience) -> AsyncIterator[None]:
    """Hold sessions, whose messages all go to one task."""
    loop = asyncio.get_running_loop()
    inbox: Inbox[tuple[Handler, bytes]] = Inbox()
    is_woken = False

    def wake() -> None:
        nonlocal is_woken
        is_woken = False
        inbox.wake()

    def callback(handler: Handler) -> Callable[[zenoh.Sample], None]:
        put = inbox.put_silently

        def arrived(sample: zenoh.Sample) -> None:
            nonlocal is_woken
            put((handler, sample.payload.to_bytes()))
            if not is_woken:
                is_woken = True
                loop.call_soon_threadsafe(wake)

        return arrived

    async def work() -> None:
        while True:
            for handler, message in await inbox.take():
                await handler(message)

    with ExitStack() as stack:
        subscribers = []
        for handler in audience.handlers():
            session = stack.enter_context(await asyncio.to_thread(_open, connect=[f"tcp/{HOST}:{at.port}"]))
            # Kept, for a subscriber that is collected unsubscribes.
            subscribers.append(session.declare_subscriber(FANOUT, callback(handler)))
        async with asyncio.TaskGroup() as group:
            group.create_task(work())
            yield


class _Publisher:
    """A publisher whose put waits for the wire."""

    def __init__(self, port: int, publisher: zenoh.Publisher) -> None:
        self.port = port
        self._put = publisher.put

    async def publish(self, messages: Iterator[Any]) -> None:
        """Publish messages from a thread, which the session may hold up."""
        await asyncio.to_thread(self._put_all, messages)

    def _put_all(self, messages: Iterator[Any]) -> None:
        put = self._put
        for message in messages:
            put(message)
