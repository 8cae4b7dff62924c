"""Ends the nodes of a fleet when its supervisor is gone; a process of its own.

It reads lines from its input, ``+ID`` and ``-ID``: process groups that there are from now on, or are not
any more. At the end of the input, which comes with the end of the supervisor however that happened,
it asks the groups that are left to end, wakes those that are frozen, and after ``GRACE`` seconds kills.

Imports next to nothing, so that it is small and starts at once.
"""

import os
import signal
import sys
import time

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

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


def signal_all(groups: set[int], number: int) -> set[int]:
    """Signal groups; return those that are there."""
    left: set[int] = set()
    for group in groups:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            continue
        except PermissionError:  # it has become somebody else's
            pass
        left.add(group)
    return left


def main() -> None:
    """Watch, then end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    groups = watch()
    signal_all(groups, signal.SIGTERM)
    groups = signal_all(groups, signal.SIGCONT)
    end = time.monotonic() + GRACE
    while groups and time.monotonic() < end:
        time.sleep(LOOK)
        groups = signal_all(groups, 0)
    signal_all(groups, signal.SIGKILL)


if __name__ == "__main__":
    main()
