"""Two ends of a connection of every kind of transport, for suites that run on all of them."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from mesh.certificates import serving, trusting
from mesh.transport.base import Transport
from mesh.transport.endpoints import Options, dial, listen
from mesh.transport.layers import LayerSpec, layered
from mesh.transport.serial import adopt, make_raw, open_serial
from tests.helpers.certificates import make
from tests.helpers.from_docs import example

Pair = tuple[Transport, Transport]
"""The end that dialled, and the one that listened."""

MakePair = Callable[[Path, Sequence[LayerSpec]], AbstractAsyncContextManager[Pair]]
"""Opens a pair; it has a folder for itself, and is told which layers to put on."""


def endpoints(
    url: str,
    subprotocol: str | None = None,
    options: Options | None = None,
    dialling: Options | None = None,
) -> MakePair:
    """Return what opens a pair at an address, in which ``{folder}`` is filled in."""

    @asynccontextmanager
    async def pair(folder: Path, layers: Sequence[LayerSpec]) -> AsyncIterator[Pair]:
        accepted: asyncio.Future[Transport] = asyncio.get_running_loop().create_future()
        done = asyncio.Event()

        async def accept(transport: Transport) -> None:
            accepted.set_result(transport)
            await done.wait()

        chosen = options or Options(subprotocol=subprotocol)
        address = url.format(folder=folder)
        async with await listen(address, accept, layers=layers, options=chosen) as listener:
            near = await dial(listener.address, layers=layers, options=dialling or chosen)
            far = await accepted
            try:
                yield near, far
            finally:
                near.abort()
                far.abort()
                done.set()

    return pair


@asynccontextmanager
async def ptys(folder: Path, layers: Sequence[LayerSpec]) -> AsyncIterator[Pair]:
    """Open a serial port, and the other end of its cable: a pty stands in for it."""
    master, slave = os.openpty()
    make_raw(slave)
    path = os.ttyname(slave)
    near = open_serial(path)
    # Only now: a terminal that nobody has open counts as hung up.
    os.close(slave)
    far = adopt(master, "the other end of the cable")
    pair = layered(near, layers), layered(far, layers)
    try:
        yield pair
    finally:
        for end in pair:
            end.abort()
            await end.close()


def with_tls(address: str) -> MakePair:
    """Return what opens a pair whose listening end has a certificate that the dialling end trusts."""

    @asynccontextmanager
    async def pair(folder: Path, layers: Sequence[LayerSpec]) -> AsyncIterator[Pair]:
        made = make(Path(tempfile.mkdtemp(dir=folder)))  # some open more than one
        ends = endpoints(
            address, options=Options(ssl=serving(made, "here")), dialling=Options(ssl=trusting(made))
        )
        async with ends(folder, layers) as both:
            yield both

    return pair


# Registers a scheme, as a package of somebody else would.
example("reference/transports.md", "QueueTransport")

MESSAGES: dict[str, MakePair] = {
    "ws": endpoints("ws://127.0.0.1:0"),
    "ws-deflate": endpoints("ws://127.0.0.1:0?compression=deflate"),
    "ws-link": endpoints("ws://127.0.0.1:0", "sketchmesh.v1"),
    "ws+unix": endpoints("ws+unix://{folder}/ws.sock"),
    "memory": endpoints("memory://{folder}"),
    "docs": endpoints("queue://{folder}"),
    "wss": with_tls("wss://localhost:0"),
}
"""Transports that carry whole messages by themselves."""

STREAMS: dict[str, MakePair] = {
    "tcp": endpoints("tcp://127.0.0.1:0"),
    "tcp-tls": with_tls("tcp://localhost:0"),
    "unix": endpoints("unix://{folder}/x.sock"),
    "serial": ptys,
}
"""Transports that carry bytes, and need a layer to have messages."""
