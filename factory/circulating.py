"""What joins a sketch to the rings of its grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from mesh.errors import GridError
from mesh.gridfile import Grid
from mesh.links.inbox import Route
from mesh.protocol.books import Books
from mesh.rings.dialling import dial_ring
from mesh.rings.rings import Rings, rings_of

if TYPE_CHECKING:
    from factory.handling import Handling


class Circulating:
    """The rings of one sketch; it has none if the grid has none for it.

    Args:
        name: The node.
        grid: The grid, as the node sees it.
        handling: Calls the handlers.
        notice: Logs what happens to the rings.

    """

    def __init__(self, name: str, grid: Grid, handling: Handling, notice: Callable[[str], object]) -> None:
        self._name = name
        self._handling = handling
        self._rings: Rings | None = None
        if rings_of(name, grid):
            self._rings = Rings(name, grid, dial_ring, self._route, lambda text: _nothing(notice(text)))

    @property
    def rings(self) -> Rings:
        """The rings.

        Raises:
            GridError: If the grid has none for this node.

        """
        if self._rings is None:
            raise GridError(
                f"{self._name} is in no ring; in the grid, write it among the `members:` of a group with "
                f"`topology: ring`"
            )
        return self._rings

    @property
    def is_wanted(self) -> bool:
        """Whether there are rings."""
        return self._rings is not None

    def status(self) -> dict[str, object]:
        """Return what the rings look like from here."""
        return self._rings.status() if self._rings is not None else {"node": self._name, "rings": {}}

    def books(self) -> Books:
        """Return the ledger of the rings."""
        return self._rings.books() if self._rings is not None else {}

    def take_grid(self, grid: Grid) -> None:
        """Dial members where this grid has them from now on."""
        if self._rings is not None:
            self._rings.take_grid(grid)

    def _route(self, group: str) -> Route:
        return self._handling.values(group, None)

    def in_hand(self) -> dict[str, int]:
        """Return how many messages of each ring are not handled yet, where there are any."""
        return self._rings.in_hand() if self._rings is not None else {}

    async def leave(self) -> None:
        """Leave in good order."""
        if self._rings is not None:
            await self._rings.leave()

    async def close(self) -> None:
        """End everything now."""
        if self._rings is not None:
            await self._rings.close()


def _nothing(_: object) -> None:
    pass
