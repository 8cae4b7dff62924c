"""Find the grid, and read its bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mesh.errors import GridError
from mesh.gridfile.yaml_text import MAX_BYTES
from mesh.text import printable

VARIABLE = "MESH_GRID"
_NAME = "grid.yaml"
_PACKAGE = Path(__file__).parent


def locate(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the path of the grid, as the user would write it.

    The first of these that is there: ``path``; what ``$MESH_GRID`` names;
    ``grid.yaml`` in the current folder; the one that came with the package.
    A file that is named is used even when it does not exist, for to fall back
    to another one would hide the mistake.
    """
    if path is not None:
        return Path(path)
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    here = Path(_NAME)
    return here if os.path.lexists(here) else shipped()


def shipped() -> Path:
    """Return the grid that came with the package, or with the checkout."""
    # The wheel puts a copy beside this module; a checkout has only the one at its root.
    packaged = _PACKAGE / "default.yaml"
    return packaged if packaged.is_file() else _PACKAGE.parent.parent / _NAME


def read(path: Path) -> bytes:
    """Return the bytes of a grid; at most one byte more than a grid may have.

    Raises:
        GridError: If the file is missing, unreadable or not a regular file;
            it says so, and what to do.

    """
    shown = printable(str(path))
    named = f" (named by ${VARIABLE})" if os.environ.get(VARIABLE) == str(path) else ""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise GridError(
                f"the grid {shown}{named} is a directory; name the file in it: {shown.rstrip('/')}/{_NAME}"
            )
        if not stat.S_ISREG(mode):
            # To open a pipe that nobody writes to would wait for ever.
            raise GridError(f"the grid {shown}{named} is not a regular file; name a YAML file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except GridError:  # which is a ValueError too
        raise
    except FileNotFoundError as exc:
        fix = f"correct the path, or leave it out to use ./{_NAME} or the grid that came with sketchmesh"
        raise GridError(f"there is no grid {shown}{named}; {fix}") from exc
    except PermissionError as exc:
        raise GridError(f"the grid {shown}{named} may not be read; give yourself read access to it") from exc
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise GridError(f"the grid {shown}{named} cannot be read: {why}; name another file") from exc
