"""Ask the supervisor of a fleet, from the shell."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from factory.fleet.errors import NoFleetError, SilentFleetError
from factory.supervised import grid_file
from mesh.control import questions
from mesh.errors import AckTimeoutError, PeerDownError
from mesh.gridfile import Grid
from mesh.gridfile.load import parse_grid, unannounced
from mesh.gridfile.locate import locate, read
from mesh.runtime import FleetRecord, fleet_of, is_frozen, running_fleet

LOOK = 0.05
"""Seconds between two looks at whether a fleet is gone, or there."""

AT_ONCE = frozenset({"status", "down"})
"""What a supervisor answers without waiting for anything."""

LAST_GOOD = 2.0
"""Seconds that a supervisor may take to tell which grid it has settled on."""


def find(grid: Path | None) -> tuple[Path, FleetRecord]:
    """Return folder and record of the fleet of a grid.

    Raises:
        NoFleetError: If none is up.
        RuntimeDirectoryError: If the runtime directory cannot be used.

    """
    path = locate(grid)
    found = running_fleet(path)
    if found is None:
        raise NoFleetError(path)
    return found


def last_good(grid: Path | None) -> Grid:
    """Return the grid that a fleet has settled on, whatever became of the file.

    Raises:
        NoFleetError: If none is up.
        MeshError: If its supervisor cannot be asked.

    """
    folder, record = find(grid)
    number = ask(folder, "status", timeout=LAST_GOOD)["settled"]
    with unannounced():
        return parse_grid(read(grid_file(folder, number)), str(locate(grid)), path=Path(record.grid))


def ask(
    folder: Path, do: str, nodes: tuple[str, ...] = (), *, timeout: float | None = 10.0
) -> dict[str, Any]:
    """Return what the supervisor answers.

    Args:
        folder: The folder of the fleet.
        do: What is asked for.
        nodes: Which nodes it is about.
        timeout: Seconds to wait; ``None`` for as long as it lives.

    Raises:
        NackedError: If it refuses.
        PeerDownError: If it ended meanwhile.
        AckTimeoutError: If what it is to wait for has not come in time.
        SilentFleetError: If it is stopped by a signal, or does not answer in time.

    """
    return asyncio.run(answer(folder, do, nodes, timeout=timeout))


async def answer(
    folder: Path, do: str, nodes: tuple[str, ...] = (), *, timeout: float | None = 10.0
) -> dict[str, Any]:
    """Return what the supervisor answers; see ``ask()``."""
    record = fleet_of(folder)
    if record is not None and is_frozen(record.pid):
        raise SilentFleetError(record.pid, stopped=True)
    try:
        async with questions("the fleet", folder / "control.sock") as fleet:
            told: dict[str, Any] = await fleet.request(
                "$fleet", {"do": do, "nodes": list(nodes)}, timeout=timeout
            )
            return told
    except (AckTimeoutError, PeerDownError) as exc:
        record = fleet_of(folder)
        if record is None:
            raise
        stopped = is_frozen(record.pid)
        # It may well answer, and what it was asked to wait for has not come.
        if isinstance(exc, AckTimeoutError) and do not in AT_ONCE and not stopped:
            raise
        raise SilentFleetError(record.pid, stopped=stopped, timeout=timeout) from exc


def wait_until_gone(folder: Path, timeout: float) -> bool:
    """Return whether the supervisor has ended within so many seconds."""
    end = time.monotonic() + timeout
    while fleet_of(folder) is not None:
        if time.monotonic() > end:
            return False
        time.sleep(LOOK)
    return True


def wait_until_there(grid: Path | None, timeout: float | None) -> Path:
    """Return the folder of a fleet, as soon as it is there.

    Raises:
        NoFleetError: If it is not within so many seconds.

    """
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        try:
            folder, _ = find(grid)
            if (folder / "control.sock").exists():
                return folder
        except NoFleetError:
            if end is not None and time.monotonic() > end:
                raise
        time.sleep(LOOK)
