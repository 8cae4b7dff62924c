"""Ask workers about themselves, as ``mesh`` commands do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mesh import runtime
from mesh.control import questions


def ask(name: str, channel: str, grid: Path) -> Any:
    """Return what the worker of that name and grid answers."""
    (record,) = [one for one in runtime.workers() if one.name == name and one.grid == str(grid)]
    assert record.control is not None

    async def asking(control: str) -> Any:
        async with questions(name, control) as worker:
            return await worker.request(channel)

    return asyncio.run(asking(record.control))


def unbalanced(grid: Path) -> list[str]:
    """Return the lines of the ledgers of all workers of a grid that do not balance."""
    odd = []
    for record in runtime.workers():
        if record.grid == str(grid):
            for peer, ways in ask(record.name, "$ledger", grid)["peers"].items():
                for way, lines in ways.items():
                    odd += [
                        f"{record.name} {way} {peer} {channel}: {line}"
                        for channel, line in lines.items()
                        if not line["balanced"]
                    ]
    return odd
