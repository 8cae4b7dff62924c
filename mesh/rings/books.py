"""The books of one member of a ring, in the words of every other ledger."""

from __future__ import annotations

from mesh.protocol.books import Books, Line
from mesh.protocol.link.ledger import Sent, Taken
from mesh.protocol.ring import Reason
from mesh.rings.shell import RingShell

RING = "ring"
"""What marks the name of a ring among those of peers."""


def books(shell: RingShell) -> Books:
    """Return one line for what the member has circulated, and one for what came round to it."""
    group = shell.core.group
    sent, received = _sent(shell), _received(shell)
    if not sent["sent"] and not received["received"]:
        return {}
    return {
        f"{group} ({RING})": {
            "sent": {group: sent} if sent["sent"] else {},
            "received": {group: received} if received["received"] else {},
        }
    }


def _sent(shell: RingShell) -> Line:
    traffic, waiting = shell.core.traffic, shell.waiting
    line = Sent()
    line.sent = traffic.counts["circulated"] + waiting
    line.acked = traffic.counts["receipted"]
    for reason in Reason:
        if count := traffic.counts[reason.value]:
            line.fail(count, reason)
    return line.snapshot(traffic.in_flight + waiting)


def _received(shell: RingShell) -> Line:
    traffic = shell.core.traffic
    line = Taken()
    line.received = traffic.counts["taken"] + traffic.counts["duplicates"]
    line.handled = traffic.counts["handled"]
    line.refused = traffic.counts["refused"]
    line.duplicates = traffic.counts["duplicates"]
    return line.snapshot(traffic.in_hand + traffic.kept)
