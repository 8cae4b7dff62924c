"""The members of a ring as a circle, seen from one of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from zlib import crc32

from mesh.protocol.ring.records import MAX_MEMBERS


class Order:
    """Who comes after whom.

    Args:
        members: All members in the order of the grid.
        me: The one from whom it is counted.

    Raises:
        ValueError: If ``me`` is no member, a member is there twice, or there are too many.

    """

    def __init__(self, members: Sequence[str], me: str) -> None:
        if me not in members:
            raise ValueError(f"{me!r} is not among the members of the ring: {', '.join(members)}")
        if len(set(members)) < len(members):
            raise ValueError(f"a member is there twice: {', '.join(members)}")
        if len(members) > MAX_MEMBERS:
            raise ValueError(f"a ring of {len(members)} members, the limit is {MAX_MEMBERS}")
        at = members.index(me)
        self.others = (*members[at + 1 :], *members[:at])
        """Everybody else, the next one first."""
        self._ahead = {name: steps for steps, name in enumerate((me, *self.others))}
        self.digest = f"{len(members)}:{crc32(chr(10).join(members).encode()):08x}"
        """Tells one list of members from another."""

    def __contains__(self, name: str) -> bool:
        return name in self._ahead

    def ahead(self, name: str) -> int:
        """Return how many steps ahead of me a member stands."""
        return self._ahead[name]

    def nearest_behind(self, names: Iterable[str]) -> str | None:
        """Return who of these stands closest behind me; ``None`` of nobody."""
        return max(names, key=self.ahead, default=None)

    def gap(self, successor: str | None) -> tuple[str, ...]:
        """Return the members between me and my successor; all others if there is none."""
        return self.others if successor is None else self.others[: self.ahead(successor) - 1]
