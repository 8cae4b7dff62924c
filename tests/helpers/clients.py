"""Plain websocket clients, and the bare handshake of a browser."""

from __future__ import annotations

import http.client
from collections.abc import Sequence

from websockets.sync.client import ClientConnection, connect

from tests.helpers.proc import DEADLINE, Proc


def serving_port(proc: Proc) -> int:
    """Return the port that a worker says it serves on."""
    return int(proc.wait_for(r"serving on .*:(\d+)$")[1])


def client(port: int, channel: str = "") -> ClientConnection:
    """Connect to a worker as any websocket client would."""
    return connect(
        f"ws://localhost:{port}/{channel}",
        proxy=None,
        open_timeout=DEADLINE,
        close_timeout=DEADLINE,
        max_size=None,
    )


def ask(port: int, *messages: str | bytes, channel: str = "") -> list[str | bytes]:
    """Send messages on one connection, and return the reply to each."""
    replies = []
    with client(port, channel) as websocket:
        for message in messages:
            websocket.send(message)
            replies.append(websocket.recv(DEADLINE))
    return replies


def handshake(
    port: int, *, origin: str | Sequence[str] = (), host: str | None = None, path: str = "/x"
) -> tuple[int, str]:
    """Ask for a websocket with the given headers; return HTTP status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host or f"localhost:{port}")
        for one in [origin] if isinstance(origin, str) else origin:
            connection.putheader("Origin", one)
        for name, value in (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ):
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, "" if response.status == 101 else response.read().decode()
    finally:
        connection.close()
