"""Fan-out: one ring of published values, shared by every subscriber of a channel. Sans-I/O.

Theory of operation. A published value is encoded once, as the item that travels, and numbered. The
*topic* keeps the items that somebody may still want; a subscriber is a *cursor*, which knows the
number of the next item that it gets, and how many it may have waiting.

- *Lazy* cursors (``drop_oldest``, ``latest``) are never touched by a publisher. How far they fell
  behind shows when they take something, or are asked; the ring keeps no more than they may have.
- *Touched* cursors (``block``, ``drop_newest``, ``error``) must not lose what they hold, however far
  the others go. The topic knows the number at which the first of them is full. There the items that
  it holds are *set aside*: shared bytes, so it costs a list of references. What comes then is
  dropped, or with ``block`` is *parked* for as long as its publisher waits. When room opens, the
  cursor goes on behind the last item.
- *In flight*: what was taken and is not settled. It is bounded, and so small that a policy
  decides about nearly everything that waits.

What it costs: publishing is O(1) for all lazy cursors together, and O(1) for the others until one
is full; the ring is trimmed no more often than that allows. A batch that is taken by several cursors
at the same place is joined once.

The balance of a cursor, at every moment, is that of its ``Line``::

    published = delivered + refused + dropped (by reason) + pending

``published`` is worked out from the numbers of the topic, ``pending`` from what is really there.
"""

from typing import TYPE_CHECKING

from mesh.late import late_names

if TYPE_CHECKING:
    from mesh.protocol.fanout.cursor import BATCH, IN_FLIGHT, PENDING_BYTES, Batch, Cursor
    from mesh.protocol.fanout.lines import Published, Subscribed, book
    from mesh.protocol.fanout.policy import DEFAULT_LIMIT, MAX_CHANNEL, MOST_LIMIT, Policy, settled_policy
    from mesh.protocol.fanout.reading import Reading
    from mesh.protocol.fanout.topic import IN_FLIGHT_TOTAL, NOT_AWAITED, RING_BYTES, Topic
else:
    # Every sketch begins with `import factory`, which needs the names of the policies and no more.
    __getattr__, __dir__ = late_names(
        __name__,
        {
            "mesh.protocol.fanout.cursor": (
                "BATCH",
                "IN_FLIGHT",
                "PENDING_BYTES",
                "Batch",
                "Cursor",
            ),
            "mesh.protocol.fanout.lines": (
                "Published",
                "Subscribed",
                "book",
            ),
            "mesh.protocol.fanout.policy": (
                "DEFAULT_LIMIT",
                "MAX_CHANNEL",
                "MOST_LIMIT",
                "Policy",
                "settled_policy",
            ),
            "mesh.protocol.fanout.reading": ("Reading",),
            "mesh.protocol.fanout.topic": (
                "IN_FLIGHT_TOTAL",
                "NOT_AWAITED",
                "RING_BYTES",
                "Topic",
            ),
        },
    )

__all__ = [
    "BATCH",
    "DEFAULT_LIMIT",
    "IN_FLIGHT",
    "IN_FLIGHT_TOTAL",
    "MAX_CHANNEL",
    "MOST_LIMIT",
    "NOT_AWAITED",
    "PENDING_BYTES",
    "RING_BYTES",
    "Batch",
    "Cursor",
    "Policy",
    "Published",
    "Reading",
    "Subscribed",
    "Topic",
    "book",
    "settled_policy",
]
