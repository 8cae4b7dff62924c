"""What can be wrong with a fleet as a whole."""

from __future__ import annotations

from pathlib import Path

from mesh.errors import GridError, MeshError


class FleetRunsError(MeshError):
    """The fleet of that grid is up already."""


class NothingToStartError(GridError):
    """No node of that grid is started on this machine, or not the one that was named."""


class SilentFleetError(MeshError):
    """The supervisor of a fleet runs, and does not answer.

    Attributes:
        pid: Its process.
        next: What to type.

    Args:
        pid: Its process.
        stopped: Whether it is stopped by a signal.
        timeout: Seconds that it was given.

    """

    def __init__(self, pid: int, *, stopped: bool, timeout: float | None = None) -> None:
        self.pid = pid
        self.next = f"kill -CONT {pid}" if stopped else "mesh logs --tail 20"
        if stopped:
            why = f"is stopped by a signal; `{self.next}` lets it go on"
        else:
            why = f"has not answered within {timeout or 0:g} s; `{self.next}` shows what it does"
        super().__init__(f"the supervisor of the fleet (pid {pid}) {why}")


class NoFleetError(MeshError):
    """No fleet of that grid is up."""

    def __init__(self, grid: Path) -> None:
        super().__init__(f"no fleet of {grid} is up; `mesh up` or `mesh up -d` starts it")
