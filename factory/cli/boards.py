"""What the commands about boards have in common: how they find one, and what they say if they cannot."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

import mesh

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run some work, and turn what the mesh says into a sentence and an exit code."""
    # Late, as all that --help has no use for.
    import asyncio

    try:
        return asyncio.run(work)
    except mesh.MeshError as exc:
        from factory.boards.io.reading import words_of

        raise click.ClickException(words_of(exc)) from exc
    except KeyboardInterrupt:
        sys.exit(130)


@asynccontextmanager
async def connected(name: str, path: Path | None) -> AsyncIterator[mesh.Peer]:
    """Connect to a board by its name in the grid, or by its URI."""
    grid = None if "://" in name else mesh.grid(path)
    async with mesh.connect(name, grid=grid, patience=3.0) as peer:
        yield peer


def boards_of(path: Path | None) -> list[str]:
    """Return the names of the boards of the grid, of which there is at least one."""
    names = [node.name for node in mesh.grid(path) if node.sketch == "board" and node.is_server]
    if not names:
        raise click.ClickException("the grid has no node with `sketch: board`; name one, or give its URI")
    return names


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one sentence that a file cannot be opened, written or closed."""
    try:
        yield
    except mesh.MeshError:
        raise  # some are OSErrors, and none is the file's
    except OSError as exc:
        raise click.ClickException(f"{path} cannot be written: {exc.strerror or exc}") from exc
