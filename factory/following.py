"""A worker takes up changes of its grid without a restart.

One that was started by hand looks at the file; one of a fleet is told by its supervisor which grid is
settled on. A grid with mistakes changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from factory.fleet.plan import difference, restarting
from factory.supervised import Supervision
from mesh.errors import GridError
from mesh.gridfile import Grid
from mesh.gridfile.watch import LOOK, GridFile
from mesh.text import listing

if TYPE_CHECKING:
    from factory.loop import FactoryLoop
    from factory.worker import Worker


class Following:
    """Follows the grid of one worker, from ``start()`` to ``close()``.

    Args:
        sketch: The sketch.
        worker: Its worker.
        supervision: Its supervisor, if it has one.

    """

    def __init__(self, sketch: FactoryLoop, worker: Worker, supervision: Supervision | None) -> None:
        self._sketch = sketch
        self._worker = worker
        self._supervision = supervision
        self._log = logging.LoggerAdapter(logging.getLogger("factory.following"), {"node": sketch.name})
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look at the file, unless a supervisor does, or the grid comes from none."""
        if self._supervision is None and self._sketch.grid.path is not None:
            self._task = asyncio.create_task(self._look(), name="looks at the grid")

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def settled(self, number: int) -> None:
        """Take up a grid that the supervisor has settled on."""
        assert self._supervision is not None
        try:
            self._worker.take_grid(self._supervision.grid(number))
        except GridError as exc:
            self._log.warning(f"the new grid is not taken up: {exc}")

    async def _look(self) -> None:
        path = self._sketch.grid.path
        assert path is not None
        shown = next((node.file for node in self._sketch.grid if node.file), None) or str(path)
        file = GridFile(path, shown)
        while True:
            await asyncio.sleep(LOOK)
            if not file.has_changed():
                continue
            try:
                # Not on the event loop: a large grid takes a while.
                grid = await asyncio.to_thread(file.read)
                if grid is not None:
                    self._take(grid)
            except GridError as exc:
                self._log.warning(f"the grid has changed and is not taken up; the last good one stays: {exc}")
            except Exception:
                self._log.exception("a new grid could not be taken up, which is a mistake in sketchmesh")

    def _take(self, grid: Grid) -> None:
        sketch = self._sketch
        before = sketch.me
        changes = difference(sketch.grid, grid.visible_to(before))
        self._worker.take_grid(grid)
        if changes:
            self._log.info(f"the grid has changed: {', '.join(f'{one.sign} {one.name}' for one in changes)}")
        if before.file is not None and sketch.name not in grid.names():
            self._log.warning(f"{sketch.name} is not in the grid any more, and goes on as it was")
            return
        fields = restarting(before, sketch.me)
        if fields:
            self._log.warning(
                f"{listing(fields)} of {sketch.name} changed in the grid; "
                f"that takes effect when it is started again"
            )
