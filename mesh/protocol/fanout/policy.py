"""What a subscriber may ask for: how many values may wait for it, and what happens when they are too many."""

from __future__ import annotations

import enum
from typing import Final

MAX_CHANNEL: Final = 240
"""Most characters of the name of a channel that is published; ``$pub.N/`` comes before it on a link."""

MOST_LIMIT: Final = 65536
"""Most values that a subscriber may have waiting."""

DEFAULT_LIMIT: Final = 1000
"""Values that a subscriber may have waiting when it does not say."""


class Policy(enum.StrEnum):
    """What happens when a subscriber has no room for another value."""

    BLOCK = "block"
    """Whoever publishes waits."""
    DROP_OLDEST = "drop_oldest"
    """The value that has waited longest is dropped."""
    DROP_NEWEST = "drop_newest"
    """The new value is dropped."""
    LATEST = "latest"
    """Only the last value waits."""
    ERROR = "error"
    """The subscription ends with ``QueueFullError``."""


LAZY: Final = frozenset((Policy.DROP_OLDEST, Policy.LATEST))
"""The policies of subscribers that a publisher never touches."""


def settled_policy(policy: object, limit: object) -> tuple[Policy, int]:
    """Return what a subscriber asked for.

    Raises:
        ValueError: If it is no policy, or no limit.

    """
    try:
        found = Policy(policy)  # type: ignore[arg-type]
    except ValueError:
        raise ValueError(f"policy must be {', '.join(Policy)}; got {policy!r}") from None
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_LIMIT:
        raise ValueError(f"limit must be a whole number from 1 to {MOST_LIMIT}, got {limit!r}")
    return found, 1 if found is Policy.LATEST else limit
