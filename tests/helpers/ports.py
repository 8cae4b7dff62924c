"""Ports for tests: free ones, and the two of the shipped grid, which only one test may use at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import IO

import pytest

SHIPPED = (8765, 8766)
"""The ports of the source, of the README and of the shipped grid."""

# Below what systems hand out for outgoing connections, so that none of those takes one.
_RANGE = range(20_000, 32_000)
_given: set[int] = set()


def free_ports(count: int, among: range = _RANGE) -> list[int]:
    """Return ports that nobody listens on, and that no other call has returned, of whichever test run."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(among)
        if port not in _given and _claim(port) and not _taken(port):
            _given.add(port)
            found.append(port)
    return found


@cache
def _claims() -> IO[bytes]:
    """Return a file of which each byte stands for a port; it is open for as long as this process lives."""
    return Path(tempfile.gettempdir(), f"sketchmesh-tests-{os.getuid()}.ports").open("wb")


def _claim(port: int) -> bool:
    # Between the choice of a port and the moment in which somebody listens on it, a process
    # starts: time enough for other tests on this machine to choose the same one.
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


@contextmanager
def shipped_ports() -> Iterator[None]:
    """Have ports 8765 and 8766 for oneself among all tests on this machine.

    Fails the test with a clear sentence when something else listens there.
    """
    path = Path(tempfile.gettempdir(), f"sketchmesh-tests-{os.getuid()}.lock")
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        taken = [port for port in SHIPPED if _taken(port)]
        if taken:
            ports = " and ".join(map(str, taken))
            pytest.fail(
                f"something listens on port {ports} already, perhaps a fleet of yours; stop it: "
                f"this test runs the commands of the README as they stand",
                pytrace=False,
            )
        yield


def _taken(port: int) -> bool:
    with ExitStack() as stack:
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            try:
                probe = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
            except OSError as exc:
                if exc.errno in (errno.EADDRINUSE, errno.EACCES):
                    return True
    return False
