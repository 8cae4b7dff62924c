"""What can be wrong with a fleet as a whole."""

from __future__ import annotations

from pathlib import Path

from mesh.errors import GridError, MeshError


class FleetRunsError(MeshError):
    """The fleet of that grid is up already."""


class NothingToStartError(GridError):
    """No node of that grid is started on this machine, or not the one that was named."""


class NoFleetError(MeshError):
    """No fleet of that grid is up."""

    def __init__(self, grid: Path) -> None:
        super().__init__(f"no fleet of {grid} is up; `mesh up` or `mesh up -d` starts it")
