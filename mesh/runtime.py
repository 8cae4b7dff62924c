"""The runtime directory: where the processes of this machine and this user find each other.

Every worker keeps a record there while it runs, however it was started; every fleet has a
folder. See docs/explanation/fleet.md for the layout.

Rules:

- The directory is ours alone (0700, and checked): who can enter it may control the nodes.
- A record is written whole or not at all, and names its process by pid and start time, for
  a pid is used again. Whoever finds a record of a process that is gone removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

import msgspec

from mesh.errors import MeshError
from mesh.text import printable

VARIABLE = "SKETCHMESH_RUNTIME"

MAX_SOCKET_PATH = 100 if sys.platform.startswith("linux") else 96
"""Bytes that the path of a unix socket may have, with a few to spare: 108 on Linux, 104 elsewhere."""

_HAS_PROC = Path("/proc/self/stat").exists()
_MOST_BYTES = 64 * 1024
_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


class RuntimeDirectoryError(MeshError):
    """The runtime directory cannot be used; the text says why and what to do."""


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a worker that runs.

    Attributes:
        pid: Its process.
        start: When the process began, as the system tells it; tells apart two with one pid.
        name: The node that it is.
        sketch: What it runs, as it was asked for; ``None`` for a class of a program.
        host: Where it serves; ``None`` if it does not.
        port: Where it serves; ``None`` if it does not.
        doors: Addresses of further doors.
        grid: Path of the grid that it has read; ``None`` if it comes from no file.
        started_at: When it registered, in seconds since 1970.
        fleet: Id of the fleet whose supervisor has started it; ``None`` for by hand.
        run: How often the supervisor had started this node, this time included.
        control: Path of its control socket; ``None`` if it has none.

    """

    pid: int
    start: str
    name: str
    sketch: str | None = None
    host: str | None = None
    port: int | None = None
    doors: tuple[str, ...] = ()
    grid: str | None = None
    started_at: float = 0.0
    fleet: str | None = None
    run: int | None = None
    control: str | None = None


class FleetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a fleet that runs.

    Attributes:
        id: The name of its folder.
        pid: The process of its supervisor.
        start: When that process began, as the system tells it.
        grid: Absolute path of its grid, as it was named.
        started_at: When it was brought up, in seconds since 1970.
        detached: Whether it runs without a terminal.

    """

    id: str
    pid: int
    start: str
    grid: str
    started_at: float
    detached: bool = False


_Record = TypeVar("_Record", WorkerRecord, FleetRecord)


# -- the directory -----------------------------------------------------------------------


def directory() -> Path:
    """Return the runtime directory, made if it was not there.

    Raises:
        RuntimeDirectoryError: If it cannot be made, or is not ours alone.

    """
    path = place()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not stat(): in /tmp anybody may have put a link there before us.
        found = path.lstat()
    except OSError as exc:
        raise RuntimeDirectoryError(
            f"the runtime directory {_shown(path)} cannot be used: {exc.strerror}; "
            f"name another one in ${VARIABLE}"
        ) from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise RuntimeDirectoryError(
            f"the runtime directory {_shown(path)} is no directory of ours; "
            f"remove it, or name another one in ${VARIABLE}"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise RuntimeDirectoryError(
            f"the runtime directory {_shown(path)} is open to others; chmod 700 it, "
            f"or name another one in ${VARIABLE}"
        )
    return path


def place() -> Path:
    """Return where the runtime directory is, or would be."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).absolute()
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return Path(base) / "sketchmesh"
    return Path("/tmp") / f"sketchmesh-{os.geteuid()}"  # noqa: S108 - owner and mode are checked


def _folder(name: str) -> Path:
    path = directory() / name
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def checked_socket(path: Path) -> Path:
    """Return the path of a socket, if the system can take one that long.

    Raises:
        RuntimeDirectoryError: If it is too long.

    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise RuntimeDirectoryError(
            f"the path {_shown(path)} is too long for a socket; name a shorter directory in ${VARIABLE}"
        )
    return path


# -- processes ------------------------------------------------------------------------------


def start_of(pid: int) -> str | None:
    """Return when a process began, as the system tells it; ``None`` if it is gone."""
    if _HAS_PROC:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # The program's name comes in brackets and may hold anything, brackets included.
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in ("Z", "X") else fields[19]
    asked = subprocess.run(  # noqa: S603 - a number
        ["/bin/ps", "-o", "state=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, begun = asked.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else "-".join(begun.split())


def is_running(pid: int, start: str) -> bool:
    """Return whether that very process is there."""
    return start_of(pid) == start


def is_frozen(pid: int) -> bool:
    """Return whether a process is stopped (Ctrl-Z, SIGSTOP), so that it answers nothing."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] in ("T", "t")


# -- workers --------------------------------------------------------------------------------------


class Registration:
    """The record of a worker of this process, until ``remove()``.

    Args:
        record: What is known; ``pid``, ``start`` and ``control`` are filled in by ``register()``.
        path: Its file.

    """

    def __init__(self, record: WorkerRecord, path: Path) -> None:
        self.record = record
        self._path = path
        self.update()

    @property
    def socket(self) -> Path:
        """Where the control socket of the worker is to be."""
        return self._path.with_suffix(".sock")

    def update(self, **fields: Any) -> None:
        """Write the record again, with fields that have changed.

        Raises:
            RuntimeDirectoryError: If it cannot be written.

        """
        self.record = msgspec.structs.replace(self.record, **fields)
        write(self._path, self.record)

    def remove(self) -> None:
        """Take the record away; may be called again."""
        for path in (self._path, self.socket):
            with contextlib.suppress(OSError):
                path.unlink()


def register(name: str, **fields: Any) -> Registration:
    """Write the record of a worker of this process.

    Args:
        name: The node that it is.
        fields: Further fields of ``WorkerRecord``.

    Raises:
        RuntimeDirectoryError: If the directory cannot be used.

    """
    pid = os.getpid()
    start = start_of(pid) or "0"
    folder = _folder("workers")
    base = f"{pid}-{start}"
    # A program may run several workers.
    number = 0
    while (path := folder / f"{base}{f'-{number}' if number else ''}.json").exists():
        number += 1
    return Registration(WorkerRecord(pid=pid, start=start, name=name, **fields), path)


def workers() -> list[WorkerRecord]:
    """Return the workers of this user that run on this machine, by name and then by age.

    Raises:
        RuntimeDirectoryError: If the directory cannot be used.

    """
    found = []
    for path in _folder("workers").glob("*.json"):
        record = read(path, WorkerRecord)
        if record is not None and is_running(record.pid, record.start):
            found.append(record)
        elif not _names_a_living_one(path):
            for old in (path, path.with_suffix(".sock")):
                with contextlib.suppress(OSError):
                    old.unlink()
    return sorted(found, key=lambda record: (record.name, record.started_at))


def _names_a_living_one(path: Path) -> bool:
    # Of a file that cannot be read the name tells whose it is.
    pid, _, start = path.stem.partition("-")
    return pid.isdigit() and start_of(int(pid)) == start.partition("-")[0]


# -- fleets ------------------------------------------------------------------------------------------


def named(grid: Path) -> Path:
    """Return the absolute path of a grid as it is named.

    A link stays what it is: whoever turns it to another file edits the grid of that name.
    """
    path = grid.absolute()
    # Behind a link `..` is not where it seems to be.
    return path.parent.resolve() / path.name if ".." in path.parts else path


def fleet_folder(grid: Path) -> Path:
    """Return the folder of the fleet of a grid, made if it was not there.

    Args:
        grid: The file, as it is named.

    Raises:
        RuntimeDirectoryError: If the directory cannot be used.

    """
    path = named(grid)
    word = _NO_NAME.sub("-", path.parent.name)[:20] or "grid"
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    folder = _folder("fleets") / f"{word}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def running_fleet(grid: Path) -> tuple[Path, FleetRecord] | None:
    """Return folder and record of the fleet of a grid, if it runs.

    Args:
        grid: The file; if no fleet was brought up by that name, one of the same file counts.

    Raises:
        RuntimeDirectoryError: If the directory cannot be used.

    """
    folder = fleet_folder(grid)
    record = fleet_of(folder)
    if record is not None:
        return folder, record
    real = os.path.realpath(grid)
    return next((found for found in fleets() if os.path.realpath(found[1].grid) == real), None)


def fleet_of(folder: Path) -> FleetRecord | None:
    """Return the fleet of a folder, if its supervisor runs."""
    record = read(folder / "fleet.json", FleetRecord)
    return record if record is not None and is_running(record.pid, record.start) else None


def fleets() -> Iterator[tuple[Path, FleetRecord]]:
    """Yield folder and record of each fleet that runs.

    Raises:
        RuntimeDirectoryError: If the directory cannot be used.

    """
    for folder in sorted(_folder("fleets").iterdir()):
        record = fleet_of(folder)
        if record is not None:
            yield folder, record


# -- records -----------------------------------------------------------------------------------------


def write(path: Path, record: WorkerRecord | FleetRecord) -> None:
    """Write a record, whole or not at all.

    Raises:
        RuntimeDirectoryError: If it cannot be written.

    """
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            file.write(msgspec.json.encode(record))
        Path(file.name).replace(path)
    except OSError as exc:
        raise RuntimeDirectoryError(
            f"{_shown(path)} cannot be written: {exc.strerror}; make room, or name another directory "
            f"in ${VARIABLE}"
        ) from exc


def read(path: Path, kind: type[_Record]) -> _Record | None:
    """Return a record, or ``None`` if there is none that can be read."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def _shown(path: Path) -> str:
    return printable(str(path))
