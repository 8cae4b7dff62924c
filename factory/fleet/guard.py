"""Ends the nodes of a fleet when its supervisor is gone; a process of its own.

Its argument is the *mark* of the fleet, with which the environment of its nodes, and so of all that they
start, has an entry that begins so. It reads lines from its input, ``+ID`` and ``-ID``: process groups that
there are from now on, or are not any more. At the end of the input, which comes with the end of the
supervisor however that happened, it asks the groups that are left, and whoever else has the mark, to end,
wakes those that are frozen, and after ``GRACE`` seconds kills.

Imports next to nothing, so that it is small and starts at once.
"""

import os
import signal
import sys
import time

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

LAST = 1.0
"""Seconds in which SIGKILL is sent; who is there then cannot be killed."""

LOOK = 0.05
"""Seconds between two looks at who is left."""


def watch() -> set[int]:
    """Return the groups that are left at the end of the input."""
    groups: set[int] = set()
    for line in sys.stdin:
        if line.startswith("+"):
            groups.add(int(line[1:]))
        else:
            groups.discard(int(line[1:]))
    return groups


def marked(mark: bytes) -> set[int]:
    """Return the processes with a mark in their environment, whatever group or session they are in.

    Where there is no ``/proc`` none is found.

    Args:
        mark: How the entry begins, ``NAME=...``; with a zero byte at its end, all of it.

    """
    try:
        names = os.listdir("/proc")  # noqa: PTH208 - pathlib is much to import
    except OSError:
        return set()
    return {int(name) for name in names if name.isdigit() and b"\0" + mark in b"\0" + _environ(name)}


def _environ(pid: str) -> bytes:
    try:
        descriptor = os.open(f"/proc/{pid}/environ", os.O_RDONLY)
    except OSError:  # gone, or not ours
        return b""
    try:
        read = b""
        while more := os.read(descriptor, 1 << 20):
            read += more
        return read
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def signal_all(groups: set[int], pids: set[int], number: int) -> bool:
    """Signal groups and processes; return whether one of them is there."""
    there = False
    for send, ids in ((os.killpg, groups), (os.kill, pids)):
        for each in ids:
            try:
                send(each, number)
            except (ProcessLookupError, PermissionError):  # gone, or it has become somebody else's
                continue
            there = True
    return there


def main() -> None:
    """Watch, then end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    mark = os.fsencode(sys.argv[1])
    groups = watch()
    for number in (signal.SIGTERM, signal.SIGCONT):
        signal_all(groups, marked(mark), number)
    begun = time.monotonic()
    while signal_all(groups, marked(mark), 0):
        passed = time.monotonic() - begun
        if passed > GRACE:
            # More than once, for somebody may be forking.
            signal_all(groups, marked(mark), signal.SIGKILL)
        if passed > GRACE + LAST:
            break
        time.sleep(LOOK)


if __name__ == "__main__":
    main()
