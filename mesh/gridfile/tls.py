"""The files of a node that speaks TLS: what is written becomes a ``Tls``, and what cannot work is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from mesh.gridfile.model import NodeEntry
from mesh.gridfile.problems import Problems
from mesh.node import Tls

if TYPE_CHECKING:
    from mesh.gridfile.cross import Places

_FILES = ("cert", "key", "authority")


def tls_of(entry: NodeEntry, folder: Path) -> bool | Tls:
    """Return how a node speaks TLS, if it does; paths count from a folder."""
    if isinstance(entry.tls, bool):
        return entry.tls
    return Tls(**{name: str(folder / Path(file).expanduser()) for name, file in _written(entry).items()})


def has_certificate(entry: NodeEntry) -> bool:
    """Say whether a node can serve with TLS."""
    return "cert" in _written(entry)


def check_tls(name: str, entry: NodeEntry, places: Places, problems: Problems) -> None:
    """Note files that are of no use without another one."""
    path = ("nodes", name, "tls")
    written = _written(entry)
    if isinstance(entry.tls, bool) or any(
        (*path, file) in places.values for file in _FILES if file not in written
    ):
        return  # what a mistake was is written, so it is not to be called missing
    place = places.keys[path]
    if not written:
        problems.add(place, "`tls` names no file", "write true, or {cert: FILE, key: FILE, authority: FILE}")
    elif "key" in written and "cert" not in written:
        problems.add(place, "`tls` has a key and no certificate", "add `cert: FILE`, or remove `key:`")


def _written(entry: NodeEntry) -> Mapping[str, str]:
    tls: Any = entry.tls
    if isinstance(tls, bool):
        return {}
    # The reader of grids, who tells all mistakes at once, leaves it a mapping.
    found = tls if isinstance(tls, Mapping) else {name: getattr(tls, name) for name in _FILES}
    return {name: file for name, file in found.items() if file is not UNSET}
