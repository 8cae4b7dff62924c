"""A client of a line door, in the test's own process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from tests.helpers.proc import DEADLINE, Proc


def line_port(proc: Proc) -> int:
    """Return the port at which a worker says that it serves lines."""
    return int(proc.wait_for(r"serving on tcp://.*:(\d+)$")[1])


def say(port: int, data: bytes, *, pieces: Sequence[int] = ()) -> bytes:
    """Send bytes, in pieces if told where to cut, end the input, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = 0
        for end in (*pieces, len(data)):
            connection.sendall(data[begin:end])
            begin = end
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


async def say_async(address: str, data: bytes) -> bytes:
    """Do the same, for a worker in the same event loop."""
    async with asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(address.rpartition(":")[2]))
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer
