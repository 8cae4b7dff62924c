"""Peers ``pyzmq`` and ``pyzmq-batched``: a DEALER that sends, a ROUTER that answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import zmq
import zmq.asyncio

from benchmarks.api import HOST, At, Job, handle
from benchmarks.flow import Acks, hold, send_batches

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[bytes]).decode


async def receive(job: Job) -> None:
    """Answer until the process is ended."""
    with zmq.asyncio.Context() as context, context.socket(zmq.ROUTER) as router:
        # A ROUTER at its high-water mark drops in silence.
        router.set(zmq.SNDHWM, 0)
        job.ready(router.bind_to_random_port(f"tcp://{HOST}"))
        if job.batched:
            while True:
                sender, frame = await router.recv_multipart()
                acks = encode([await handle(message) for message in decode(frame)])
                await router.send_multipart([sender, acks])
        while True:
            sender, message = await router.recv_multipart()
            await router.send_multipart([sender, await handle(message)])


@asynccontextmanager
async def sender(at: At) -> AsyncIterator[_Each | _Batches]:
    """Connect to the receiver."""
    with zmq.asyncio.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        dealer.connect(f"tcp://{HOST}:{at.port}")
        if not at.batched:
            yield _Each(dealer)
            return
        batches = _Batches(dealer)
        reader = asyncio.create_task(batches.read())
        try:
            yield batches
        finally:
            reader.cancel()


@asynccontextmanager
async def _socket(context: zmq.asyncio.Context, port: int) -> AsyncIterator[None]:
    """Hold one socket that is connected, and not merely going to be."""
    with context.socket(zmq.DEALER) as dealer:
        dealer.set(zmq.LINGER, 0)
        dealer.connect(f"tcp://{HOST}:{port}")
        # To connect is to promise; only an answer shows that the connection is there.
        await dealer.send(b"00000000")
        await dealer.recv()
        yield


@asynccontextmanager
async def idle(at: At, count: int) -> AsyncIterator[None]:
    """Hold idle sockets."""
    with zmq.asyncio.Context() as context:
        held: AbstractAsyncContextManager[None] = hold(lambda: _socket(context, at.port), count)
        async with held:
            yield


class _Each:
    """A sender of one message in each frame, which keeps the window by reading an ack before it sends on."""

    def __init__(self, dealer: zmq.asyncio.Socket) -> None:
        self._dealer = dealer

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send each message by itself and return the acks in order."""
        send, recv = self._dealer.send, self._dealer.recv
        if window >= len(messages) > 1:
            sending = asyncio.create_task(self._send_all(messages))
            acks = [await recv() for _ in messages]
            await sending
            return acks
        for message in messages[:window]:
            await send(message)
        acks = []
        for message in messages[window:]:
            acks.append(await recv())
            await send(message)
        while len(acks) < len(messages):
            acks.append(await recv())
        return acks

    async def _send_all(self, messages: Sequence[Any]) -> None:
        send = self._dealer.send
        for message in messages:
            await send(message)


class _Batches:
    """A sender of what the window has room for in one frame."""

    def __init__(self, dealer: zmq.asyncio.Socket) -> None:
        self._dealer = dealer
        self._acks = Acks()

    async def read(self) -> None:
        """Take the acks out of their frames, until it is cancelled."""
        while True:
            self._acks.put_all(decode(await self._dealer.recv()))

    async def _send(self, batch: Sequence[Any]) -> None:
        await self._dealer.send(encode(batch))

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send messages in batches and return the acks in order."""
        return await send_batches(self._acks, self._send, messages, window)
