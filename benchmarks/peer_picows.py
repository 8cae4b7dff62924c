"""Peers ``picows`` and ``picows-batched``: websockets in Cython, callbacks below a task of one's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect, ws_create_server

from benchmarks.api import HOST, At, Job, handle
from benchmarks.flow import Acks, Inbox, hold, send_batches, send_each

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(list[str]).decode


class _Flow(WSListener):  # type: ignore[misc, unused-ignore]  # picows may not be installed
    """The flow control of the transport: what to wait for before more is sent."""

    resumed: asyncio.Future[None] | None = None

    def pause_writing(self) -> None:
        """Make those wait who want to send more."""
        self.resumed = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let those go on who wait."""
        if self.resumed is not None and not self.resumed.done():
            self.resumed.set_result(None)
        self.resumed = None


class _Receiver(_Flow):
    """The receiving end; frames come by callback, and one task for each connection handles them."""

    def __init__(self, batched: bool) -> None:
        super().__init__()
        self._inbox: Inbox[Any] = Inbox()
        self._batched = batched

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Begin the task of the connection."""
        serve = self._serve_batches if self._batched else self._serve_each
        self._task = asyncio.create_task(serve(transport))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """End the task of the connection."""
        self._task.cancel()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Hand a message over to the task of the connection."""
        if frame.msg_type is WSMsgType.TEXT:
            self._inbox.put(frame.get_payload_as_utf8_text())
        elif frame.msg_type is WSMsgType.BINARY:
            self._inbox.put(frame.get_payload_as_bytes())
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.disconnect()

    async def _serve_each(self, transport: WSTransport) -> None:
        while True:
            for message in await self._inbox.take():
                ack = await handle(message)
                if isinstance(ack, str):
                    transport.send(WSMsgType.TEXT, ack.encode())
                else:
                    transport.send(WSMsgType.BINARY, ack)
                if self.resumed is not None:
                    await self.resumed

    async def _serve_batches(self, transport: WSTransport) -> None:
        while True:
            for frame in await self._inbox.take():
                acks = [await handle(message) for message in decode(frame)]
                transport.send(WSMsgType.BINARY, encode(acks))
                if self.resumed is not None:
                    await self.resumed


class _Each(_Flow):
    """A sender of one message in each frame."""

    def __init__(self) -> None:
        super().__init__()
        self._acks = Acks()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport to send with."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take an ack."""
        if frame.msg_type is WSMsgType.TEXT:
            self._acks.put(frame.get_payload_as_utf8_text())
        elif frame.msg_type is WSMsgType.BINARY:
            self._acks.put(frame.get_payload_as_bytes())

    def _send(self, message: str | bytes) -> asyncio.Future[None] | None:
        if isinstance(message, str):
            self._transport.send(WSMsgType.TEXT, message.encode())
        else:
            self._transport.send(WSMsgType.BINARY, message)
        return self.resumed

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send each message by itself and return the acks in order."""
        return await send_each(self._acks, self._send, messages, window)


class _Batches(_Flow):
    """A sender of what the window has room for in one frame."""

    def __init__(self) -> None:
        super().__init__()
        self._acks = Acks()

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport to send with."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take the acks out of a frame."""
        if frame.msg_type is WSMsgType.BINARY:
            self._acks.put_all(decode(frame.get_payload_as_memoryview()))

    def _send(self, batch: Sequence[Any]) -> asyncio.Future[None] | None:
        self._transport.send(WSMsgType.BINARY, encode(batch))
        return self.resumed

    async def exchange(self, messages: Sequence[Any], window: int) -> list[Any]:
        """Send messages in batches and return the acks in order."""
        return await send_batches(self._acks, self._send, messages, window)


async def receive(job: Job) -> None:
    """Serve until the process is ended."""
    server = await ws_create_server(lambda _: _Receiver(job.batched), HOST, 0, max_frame_size=2**24)
    job.ready(server.sockets[0].getsockname()[1])
    await server.serve_forever()


@asynccontextmanager
async def sender(at: At) -> AsyncIterator[_Each | _Batches]:
    """Connect to the receiver."""
    peer = _Batches() if at.batched else _Each()
    transport, _ = await ws_connect(lambda: peer, f"ws://{HOST}:{at.port}/bench", max_frame_size=2**24)
    try:
        yield peer
    finally:
        transport.disconnect()
        await transport.wait_disconnected()


def idle(at: At, count: int) -> AbstractAsyncContextManager[None]:
    """Hold idle connections."""
    return hold(lambda: sender(at), count)
