"""Peers ``asyncio`` and ``asyncio-batched``: a bare ``asyncio.Protocol`` with length-prefixed frames.

Batched it is the ceiling of what Python can do: no names, no resume, no credit, no ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec

from benchmarks.api import HOST, At, Job, handle
from benchmarks.flow import Acks, Inbox, hold, send_batches, send_each

# Measured against struct plus join and slices: 29 against 87 ns per message, both ways together.
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[str]).decode


class Framed(asyncio.Protocol):
    """Frames with four bytes of length before them, and the flow control of the transport."""

    def __init__(self) -> None:
        self._rest = b""
        self._resumed: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]

    def pause_writing(self) -> None:
        """Let writers wait."""
        self._resumed = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let writers go on."""
        if self._resumed is not None and not self._resumed.done():
            self._resumed.set_result(None)
        self._resumed = None

    def write(self, frame: bytes) -> asyncio.Future[None] | None:
        """Write a frame; returns what to wait for before the next one, if anything."""
        self.transport.write(len(frame).to_bytes(4, "big") + frame)
        return self._resumed

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames."""
        if self._rest:
            data = self._rest + data
        frames: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= 4:
            stop = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if stop > end:
                break
            frames.append(data[at + 4 : stop])
            at = stop
        self._rest = data[at:]
        if frames:
            self.frames_received(frames)

    def frames_received(self, frames: list[bytes]) -> None:
        """Take whole frames."""
        raise NotImplementedError


class _Receiver(Framed):
    """The receiving end; one task for each connection handles what arrives."""

    def __init__(self, batched: bool) -> None:
        super().__init__()
        self._inbox: Inbox[bytes] = Inbox()
        self._task = asyncio.create_task(self._serve_batches() if batched else self._serve_each())

    def connection_lost(self, exc: Exception | None) -> None:
        """End the task of the connection."""
        self._task.cancel()

    def frames_received(self, frames: list[bytes]) -> None:
        """Hand the messages over to the task of the connection."""
        self._inbox.put_all(frames)

    async def _serve_each(self) -> None:
        while True:
            for message in await self._inbox.take():
                if (paused := self.write(await handle(message))) is not None:
                    await paused

    async def _serve_batches(self) -> None:
        while True:
            for frame in await self._inbox.take():
                acks = [await handle(message) for message in decode(frame)]
                if (paused := self.write(encode(acks))) is not None:
                    await paused


class _Each(Framed):
    """A sender of one message in each frame."""

    def __init__(self) -> None:
        super().__init__()
        self._acks = Acks()

    def frames_received(self, frames: list[bytes]) -> None:
        """Take the acks."""
        self._acks.put_all(frames)

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send each message by itself and return the acks in order."""
        return await send_each(self._acks, self.write, messages, window)


class _Batches(Framed):
    """A sender of what the window has room for in one frame."""

    def __init__(self) -> None:
        super().__init__()
        self._acks = Acks()

    def frames_received(self, frames: list[bytes]) -> None:
        """Take the acks out of their frames."""
        for frame in frames:
            self._acks.put_all(decode(frame))

    def _send(self, batch: Sequence[Any]) -> asyncio.Future[None] | None:
        return self.write(encode(batch))

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send messages in batches and return the acks in order."""
        return await send_batches(self._acks, self._send, messages, window)


async def receive(job: Job) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: _Receiver(job.batched), HOST, 0)
    job.ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


@asynccontextmanager
async def sender(at: At) -> AsyncIterator[_Each | _Batches]:
    """Connect to the receiver."""
    peer = _Batches() if at.batched else _Each()
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: peer, HOST, at.port)
    try:
        yield peer
    finally:
        transport.close()


def idle(at: At, count: int) -> AbstractAsyncContextManager[None]:
    """Hold idle connections."""
    return hold(lambda: sender(at), count)
