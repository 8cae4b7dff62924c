"""What joins a sketch to the rings of its grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from factory.trouble import is_cancellation
from mesh.errors import GridError
from mesh.gridfile import Grid
from mesh.links.inbox import Route
from mesh.protocol.values import Refusal
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
        self._routes: dict[str, Route] = {}
        self._rings: Rings | None = None
        if rings_of(name, grid):
            self._rings = Rings(name, grid, dial_ring, self._came_round, lambda text: _nothing(notice(text)))

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

    async def _came_round(self, group: str, sender: str, item: Any) -> bool:
        """Handle a message; return whether it was taken well."""
        route = self._routes.get(group)
        if route is None:
            route = self._routes[group] = self._handling.values(group, None)
        message = item
        if route.prepare is not None:
            (message,) = route.prepare([item])
        try:
            await route.handle(group, message)
        except BaseException as exc:
            if is_cancellation(exc):
                raise
            assert route.recover is not None
            return not isinstance(await route.recover(message, exc), Refusal)
        return True

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
