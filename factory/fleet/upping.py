"""Bring a fleet up: in this terminal, or detached from it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from factory.fitting import check_sketches
from factory.fleet.actions import Settings
from factory.fleet.errors import FleetRunsError, NothingToStartError
from factory.fleet.order import in_order, needs, with_needs
from factory.fleet.plan import is_ours
from factory.fleet.screen import Screen, silence
from factory.fleet.supervisor import Supervisor
from mesh.gridfile import Grid
from mesh.gridfile.load import parse_grid
from mesh.gridfile.locate import locate, read
from mesh.node import Node
from mesh.runtime import FleetRecord, fleet_folder, fleet_of, named, running_fleet, start_of, write

INTERRUPTED = 130
"""Exit code after the second Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be brought up.

    Attributes:
        grid: The grid, checked.
        content: Its text.
        path: Its absolute path.
        names: The nodes that were named; ``None`` for all.
        with_others: Whether those that they need come with them.

    """

    grid: Grid
    content: bytes
    path: Path
    names: list[str] | None
    with_others: bool

    def nodes(self) -> list[Node]:
        """Return the nodes that start, in the order of their starts."""
        ours = {node.name: node for node in self.grid if is_ours(node)}
        need = needs(self.grid)
        names = set(ours) if self.names is None else set(self.names)
        if self.with_others:
            names = with_needs(names, need)
        return [ours[name] for name in in_order(names, need) if name in ours]


def wanted(path: Path | None, names: Sequence[str], *, with_others: bool) -> Wanted:
    """Read the grid and find what is to be brought up.

    Args:
        path: The grid; ``None`` for the usual one.
        names: Nodes, by name or alias; none for all.
        with_others: Whether those that they need come with them.

    Raises:
        GridError: If the grid has mistakes.
        UnknownNodeError: If it has no such node.
        NothingToStartError: If there is none to start here.

    """
    file = locate(path)
    content = read(file)
    grid = parse_grid(content, str(file), path=named(file))
    check_sketches(grid)
    found = [grid.node(name) for name in names]
    for node in found:
        if node.sketch is None:
            raise NothingToStartError(f"{node.name} has no sketch in {file}: somebody else runs it")
        if not is_ours(node):
            raise NothingToStartError(f"{node.name} runs on {node.host}; start it there")
    if not any(is_ours(node) for node in grid):
        raise NothingToStartError(
            f"{file} has no node with a sketch and a local host, so there is none to start"
        )
    return Wanted(grid, content, named(file), [node.name for node in found] or None, with_others)


def bring_up(want: Wanted, settings: Settings, *, detach: bool) -> int:
    """Run the fleet until it is over, or, detached, until it is up; return the exit code.

    Raises:
        FleetRunsError: If it is up already.
        RuntimeDirectoryError: If the runtime directory cannot be used.

    """
    folder = fleet_folder(want.path)
    with _lock(folder, want):
        # The same file by another name.
        other = running_fleet(want.path)
        if other is not None:
            raise _runs_already(want, other[1])
        if not detach:
            return _run(want, settings, folder, None)
        return _detached(lambda done: _run(want, settings, folder, done))


@contextmanager
def _lock(folder: Path, want: Wanted) -> Iterator[None]:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _runs_already(want, fleet_of(folder)) from None
        yield
    finally:
        os.close(descriptor)


def _runs_already(want: Wanted, found: FleetRecord | None) -> FleetRunsError:
    grid, since = want.path, ""
    # Nodes are named by who finds them stopped.
    start = f"`mesh start {' '.join(want.names)}`, " if want.names else ""
    if found is not None:
        began = datetime.fromtimestamp(found.started_at).astimezone()
        since = f", pid {found.pid}, since {began:%H:%M:%S}"
        since += f", as {found.grid}" if found.grid != str(grid) else ""
    return FleetRunsError(
        f"the fleet of {grid} runs already{since}; edit the grid and it follows, "
        f"or see {start}`mesh restart NODE`, `mesh logs -f` and `mesh down`"
    )


def _run(want: Wanted, settings: Settings, folder: Path, done: Callable[[int], None] | None) -> int:
    for old in folder.glob("grid-*"):
        old.unlink(missing_ok=True)
    pid = os.getpid()
    record = FleetRecord(
        id=folder.name,
        pid=pid,
        start=start_of(pid) or "0",
        grid=str(want.path),
        started_at=time.time(),
        detached=done is not None,
    )
    write(folder / "fleet.json", record)
    try:
        return asyncio.run(_live(want, settings, folder, record, done))
    finally:
        for path in (folder / "fleet.json", folder / "control.sock", *folder.glob("grid-*")):
            with suppress(OSError):
                path.unlink()


async def _live(
    want: Wanted, settings: Settings, folder: Path, record: FleetRecord, done: Callable[[int], None] | None
) -> int:
    loop = asyncio.get_running_loop()
    screen = Screen(
        [node.name for node in want.nodes()],
        lambda: loop.call_soon_threadsafe(supervisor.down),
        nodes=done is None,
    )
    supervisor = Supervisor(
        want.grid,
        want.content,
        record,
        folder,
        screen,
        names=want.names,
        with_others=want.with_others,
        settings=settings,
    )
    if done is not None:
        tell = done

        def up(ok: bool) -> None:
            screen.close()
            try:
                tell(0 if ok else 1)
            except BrokenPipeError:  # whoever waited for it has pressed Ctrl-C
                supervisor.down("nobody waits for it any more")

        supervisor.when_up = up
    forced = _obey_signals(supervisor)
    try:
        code = await supervisor.run()
    finally:
        screen.close()
    return INTERRUPTED if forced else code


def _obey_signals(supervisor: Supervisor) -> list[int]:
    """Stop at the first signal, kill at the second; return a list that then holds it if it was Ctrl-C."""
    loop = asyncio.get_running_loop()
    asked: list[int] = []
    forced: list[int] = []

    def on_signal(number: signal.Signals) -> None:
        if asked:
            if number == signal.SIGINT:
                forced.append(number)
            supervisor.kill()
            return
        asked.append(number)
        hint = ", Ctrl-C once more kills" if number == signal.SIGINT else ""
        supervisor.down(f"{number.name}: stopping{hint}")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup has SIGHUP ignored, and means it.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, on_signal, number)
    return forced


def _detached(run: Callable[[Callable[[int], None]], int]) -> int:
    """Run something in a process of its own session; return what it says with its callback."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child:
        os.close(write_end)
        os.waitpid(child, 0)
        said = os.read(read_end, 1)
        os.close(read_end)
        return said[0] if said else 1
    code = 1
    try:
        os.close(read_end)
        os.setsid()
        if os.fork():
            os._exit(0)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.close(nowhere)
        told: list[int] = []

        def done(code: int) -> None:
            told.append(code)
            silence()
            try:
                os.write(write_end, bytes([code]))
            finally:
                os.close(write_end)

        code = run(done)
        if not told:
            os.write(write_end, bytes([code]))
    except Exception as exc:
        # Nobody is above this process who could tell it.
        sys.stderr.write(f"Error: {exc}\n")
    finally:
        os._exit(code)
