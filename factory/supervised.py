"""The worker's end of ``mesh up``: says when it is ready, hears of new grids, ends with the supervisor.

What the supervisor tells its children is in one environment variable. Two pipes are inherited:

- *ready*: the worker writes one line on it when it serves or runs.
- *lifeline*: it closes when the supervisor is gone, however that ended; then the worker stops as on
  SIGTERM. A line on it names a new grid. A thread reads it, for the event loop may be blocked.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from factory.signals import leave_now

if TYPE_CHECKING:
    from mesh.gridfile import Grid

VARIABLE = "SKETCHMESH_SUPERVISED"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor tells a worker that it starts.

    Attributes:
        fleet: Id of the fleet.
        run: How often this node was started, this time included.
        ready: Descriptor on which to say that it is ready.
        lifeline: Descriptor that closes with the supervisor.
        folder: Where the settled grids are.
        number: Which of them to begin with.
        path: Absolute path of the file that people edit, for what is relative to it.
        shown: That path as the user would write it.

    """

    fleet: str
    run: int
    ready: int
    lifeline: int
    folder: str
    number: int
    path: str
    shown: str

    def encode(self) -> str:
        """Return the value of the environment variable."""
        return msgspec.json.encode(self).decode()


def grid_file(folder: Path, number: int) -> Path:
    """Return where a fleet keeps a grid that it has settled on."""
    return folder / f"grid-{number}.yaml"


class Supervision:
    """What a worker has of its supervisor.

    Attributes:
        terms: What it was told.
        when_gone: Called from a thread when the supervisor is gone; until it is set, the process
            just ends.
        when_grid: Called from a thread with the number of a new grid.

    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.when_gone: Callable[[], object] = lambda: leave_now(1)
        self.when_grid: Callable[[int], object] = lambda _: None
        for descriptor in (terms.ready, terms.lifeline):
            os.set_inheritable(descriptor, False)
        threading.Thread(target=self._listen, name="lifeline", daemon=True).start()

    def grid(self, number: int | None = None) -> Grid:
        """Return a grid that the supervisor has settled on.

        Args:
            number: Which; ``None`` for the one to begin with.

        Raises:
            GridError: If it cannot be read.

        """
        # Late, as all that reads grids: `--help` has no use for it.
        from mesh.gridfile.load import parse_grid, unannounced
        from mesh.gridfile.locate import read

        terms = self.terms
        file = grid_file(Path(terms.folder), terms.number if number is None else number)
        with unannounced():
            return parse_grid(read(file), terms.shown, path=Path(terms.path))

    def ready(self, where: str | None) -> None:
        """Say that the worker serves, or runs; once.

        Args:
            where: Its address; ``None`` if it does not serve.

        """
        with contextlib.suppress(OSError):  # nobody waits for it any more
            os.write(self.terms.ready, json.dumps({"ready": True, "where": where}).encode() + b"\n")
        os.close(self.terms.ready)

    def _listen(self) -> None:
        with os.fdopen(self.terms.lifeline, "rb") as lines:
            for line in lines:
                word, _, number = line.decode(errors="replace").strip().partition(" ")
                if word == "grid" and number.isdigit():
                    self.when_grid(int(number))
        self.when_gone()


@cache
def supervised() -> Supervision | None:
    """Return what this process has of a supervisor, if one has started it."""
    told = os.environ.pop(VARIABLE, "")
    return Supervision(msgspec.json.decode(told, type=Terms)) if told else None
