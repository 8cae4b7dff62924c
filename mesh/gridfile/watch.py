"""Notice that a grid file has changed, by looking at it.

One ``stat()`` a look: it sees edits in place, files that are put in its place by a rename, links and
deletions alike, on every file system. What changed is read when it stayed the same from one
look to the next, for an editor may be in the midst of writing.
"""

from __future__ import annotations

from pathlib import Path

from mesh.errors import GridError
from mesh.gridfile.load import parse_grid, unannounced
from mesh.gridfile.locate import read
from mesh.gridfile.network import Grid

LOOK = 0.25
"""Seconds between two looks, so that an edit is noticed after half a second at the most."""

_Seen = tuple[int, ...] | str


class GridFile:
    """A grid file that may change.

    Args:
        path: The file.
        shown: How messages call it.
        known: Its content as far as it is known already; ``None`` if it is not, so that the first
            look reads it.

    Attributes:
        content: The content that was read last; ``None`` if it could not be read or has mistakes.

    """

    def __init__(self, path: Path, shown: str, known: bytes | None = None) -> None:
        self._path = path
        self._shown = shown
        self.content = known
        self._settled: _Seen | None = None
        self._last: _Seen | None = None

    def forget(self) -> None:
        """Let the content that was read be given again, when it is saved again."""
        self.content = None

    def has_changed(self) -> bool:
        """Look; return whether there is something to be read that was not read yet."""
        seen = self._look()
        rests, self._last = seen == self._last, seen
        return rests and seen != self._settled

    def read(self) -> Grid | None:
        """Return the grid; ``None`` if its text is what it was, or it changed meanwhile.

        Raises:
            GridError: If it cannot be read, or has mistakes.

        """
        seen = self._look()
        try:
            data = read(self._path)
        except GridError:
            self.content, self._settled = None, seen
            raise
        if self._look() != seen:
            return None
        self._settled = seen
        if data == self.content:
            return None
        # Only what is good is known: mistakes are told again when they are saved again.
        self.content = None
        with unannounced():
            grid = parse_grid(data, self._shown, path=self._path.absolute())
        self.content = data
        return grid

    def _look(self) -> _Seen:
        try:
            found = self._path.stat()
        except (OSError, ValueError) as exc:
            return type(exc).__name__
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
