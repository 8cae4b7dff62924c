"""``tcp://HOST:PORT``."""

from __future__ import annotations

import asyncio
import socket

from mesh.listening import QUEUE
from mesh.listening import listen as open_sockets
from mesh.text import endpoint
from mesh.transport.address import Address, Options, Scheme
from mesh.transport.base import Transport
from mesh.transport.listener import Accept, Listener, SocketListener
from mesh.transport.stream import StreamTransport

BATCH = 8
"""Connections accepted in one turn of the loop, so that the limit is looked at in between."""


async def listen(address: Address, accept: Accept, options: Options) -> Listener:
    """Listen on every address of a host; without one, on this machine's own."""
    host = address.host or "localhost"
    sockets = await open_sockets(
        host, address.port or 0, told=f"with --tcp, or where the grid has {address.text}"
    )
    loop = asyncio.get_running_loop()
    listener = SocketListener(accept, options)

    def opened(transport: StreamTransport) -> None:
        _keep_alive(transport.wire.get_extra_info("socket"))
        listener.let_in(transport)

    # TLS knows no connection that is open one way.
    half_open = options.half_open and options.ssl is None
    servers = []
    for sock in sockets:
        servers.append(
            await loop.create_server(
                lambda: StreamTransport(half_open=half_open, opened=opened),
                sock=sock,
                backlog=BATCH,
                ssl=options.ssl,
            )
        )
        # asyncio has one number for two things; this sets the other one.
        sock.listen(QUEUE)
    listener.serves(f"tcp://{endpoint(host, sockets[0].getsockname()[1])}", servers)
    return listener


async def dial(address: Address, options: Options) -> Transport:
    """Connect to a host."""
    loop = asyncio.get_running_loop()
    wire, transport = await loop.create_connection(
        lambda: StreamTransport(address.text, half_open=options.half_open and options.ssl is None),
        address.host or "localhost",
        address.port or 0,
        ssl=options.ssl,
    )
    _keep_alive(wire.get_extra_info("socket"))
    return transport


def _keep_alive(sock: socket.socket) -> None:
    # Else a peer that lost its power would never be found out by who only listens.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


TCP = Scheme("tcp", listen, dial, "tcp://localhost:8007", is_stream=True, has_host=True)
