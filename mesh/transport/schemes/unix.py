"""``unix:///path.sock``: sockets with a name in the file system, for the owner alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from mesh.errors import ServeError
from mesh.listening import QUEUE
from mesh.transport.address import Address, Options, Scheme
from mesh.transport.base import Transport
from mesh.transport.listener import Accept, Listener, SocketListener
from mesh.transport.schemes.tcp import BATCH
from mesh.transport.stream import StreamTransport


async def listen(address: Address, accept: Accept, options: Options) -> Listener:
    """Listen at a path."""
    sock, tidy_up = open_socket(address.path)
    listener = SocketListener(accept, options)
    server = await asyncio.get_running_loop().create_unix_server(
        lambda: StreamTransport(
            f"a process at {address.path}", half_open=options.half_open, opened=listener.let_in
        ),
        sock=sock,
        backlog=BATCH,
    )
    sock.listen(QUEUE)
    listener.serves(address.text, [server], tidy_up)
    return listener


async def dial(address: Address, options: Options) -> Transport:
    """Connect to a path."""
    _, transport = await asyncio.get_running_loop().create_unix_connection(
        lambda: StreamTransport(address.text, half_open=options.half_open), address.path
    )
    return transport


def open_socket(path: str) -> tuple[socket.socket, Callable[[], None]]:
    """Return a listening socket that only the owner may connect to, and what takes its name away.

    A socket that a dead process has left is replaced; one that is served, and anything else that
    stands there, is not.

    Raises:
        ServeError: If nobody can listen there.

    """
    place = Path(path)
    sock = socket.socket(socket.AF_UNIX)
    try:
        _make_way(place)
        sock.bind(path)
        # Before listen(): until then nobody can connect, whatever the mode is.
        place.chmod(0o600)
        sock.listen(QUEUE)
        sock.setblocking(False)
        own = place.lstat().st_ino
    except OSError as exc:
        sock.close()
        if isinstance(exc, ServeError):
            raise
        why = exc.strerror or str(exc)
        raise ServeError(f"cannot serve on {path}: {why.lower()}; choose another path") from exc

    def tidy_up() -> None:
        # By now another process may listen there.
        with contextlib.suppress(OSError):
            if place.lstat().st_ino == own:
                place.unlink()

    return sock, tidy_up


def _make_way(place: Path) -> None:
    try:
        mode = os.lstat(place).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ServeError(
            f"cannot serve on {place}: what is there is no socket; remove it, or choose another path"
        )
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(place))
        except ConnectionRefusedError:
            place.unlink()
            return
        except BlockingIOError:
            pass  # its queue is full: somebody listens
    raise ServeError(
        f"cannot serve on {place}: another process listens there; stop it, or choose another path"
    )


UNIX = Scheme("unix", listen, dial, "unix:///run/user/1000/x.sock", is_stream=True)
