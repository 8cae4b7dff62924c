"""Listening sockets: every address of a host, on one port, or a sentence that says why not."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

from mesh.errors import ServeError

QUEUE = 1024
"""Connections that may wait in the kernel until they are accepted."""

_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


async def listen(host: str, port: int, *, told: str = "with --port") -> list[socket.socket]:
    """Open a listening socket on every address of a host, all on one port.

    Args:
        host: Name or address; ``localhost`` means both loopback addresses.
        port: TCP port; 0 takes a free one.
        told: How another port is chosen, for people.

    Raises:
        ServeError: If the port is taken or not permitted, or the host is not of this machine.

    """
    if not 0 <= port <= 65535:
        raise ServeError(f"cannot serve on {host}:{port}: a port is from 0 to 65535")
    found = await _addresses(host, port)
    wanted = port
    listeners: list[socket.socket] = []
    failure: OSError | None = None
    # IPv4 first, so that the free port taken for port 0 is one that IPv4 has.
    for family, kind, protocol, _, address in sorted(found, key=lambda entry: entry[0] != socket.AF_INET):
        try:
            listener = socket.socket(family, kind, protocol)
        except OSError as exc:  # the kernel may lack IPv6
            failure = exc
            continue
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], port, *address[2:]))
            listener.listen(QUEUE)
            listener.setblocking(False)
        except OSError as exc:
            listener.close()
            failure = exc
            if exc.errno in (errno.EADDRINUSE, errno.EACCES):
                break
            continue
        port = listener.getsockname()[1]
        listeners.append(listener)
    else:
        if listeners:
            return listeners
    for listener in listeners:
        listener.close()
    if wanted == 0 and listeners:
        # The port that IPv4 found free is in use on IPv6: another one, then.
        return await listen(host, 0, told=told)
    raise _cannot_bind(host, port, failure, told)


async def _addresses(host: str, port: int) -> set[_Address]:
    loop = asyncio.get_running_loop()
    # The hosts file may know localhost as one of the two only; browsers try both.
    names = ("127.0.0.1", "::1") if host.lower() == "localhost" else (host.strip("[]") or None,)
    found: set[_Address] = set()
    try:
        for name in names:
            found.update(await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE))
    except (OSError, ValueError) as exc:  # ValueError: no host can have that name
        raise ServeError(
            f"cannot serve on {host!r}: no such host ({getattr(exc, 'strerror', None) or exc}); "
            f"use localhost, 0.0.0.0 for all addresses, or an address of this machine"
        ) from exc
    return found


def _cannot_bind(host: str, port: int, exc: OSError | None, told: str) -> ServeError:
    code = exc.errno if exc else None
    if code == errno.EADDRINUSE:
        words = (
            f"Cannot bind to this port! Is the server already running? "
            f"({host}:{port} is taken; stop what uses it, or choose another {told})"
        )
    elif code == errno.EACCES:
        words = f"cannot serve on {host}:{port}: permission denied; ports below 1024 belong to root"
    elif code == errno.EADDRNOTAVAIL:
        words = (
            f"cannot serve on {host}:{port}: {host} is no address of this machine; use localhost or 0.0.0.0"
        )
    else:
        words = f"cannot serve on {host}:{port}: {exc}"
    return ServeError(words)
