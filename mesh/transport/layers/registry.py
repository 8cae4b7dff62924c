"""Layers by name, as a grid has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Final

from mesh.text import did_you_mean, listing
from mesh.transport.base import Transport
from mesh.transport.layers.base import Layer
from mesh.transport.layers.layered import Layered
from mesh.transport.layers.len32le import Len32le
from mesh.transport.layers.line import Line
from mesh.transport.layers.logging import Logging
from mesh.transport.layers.zlib import Zlib

GROUP: Final = "sketchmesh.layers"
"""Entry points of this group are layers of other packages: each leads to what makes one."""

LayerSpec = str | Callable[[], Layer]
"""A layer by its name, or what makes one: it is called for each connection."""

_own: dict[str, Callable[[], Layer]] = {}


@cache
def _shipped() -> dict[str, Callable[[], Layer]]:
    found: dict[str, Callable[[], Layer]] = {
        "line": Line,
        "len32le": Len32le,
        "zlib": Zlib,
        "logging": Logging,
    }
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, entry.load())
    return found


def register_layer(name: str, make: Callable[[], Layer]) -> None:
    """Make a layer known to this process by name; one of the same name is replaced."""
    _own[name] = make


def layer_names() -> list[str]:
    """Return the names of all layers."""
    return [*_shipped(), *(name for name in _own if name not in _shipped())]


def layered(transport: Transport, layers: Sequence[LayerSpec]) -> Transport:
    """Return a transport with layers on it; the transport itself if there are none.

    Args:
        transport: The transport; the layers own it from now on.
        layers: First that nearest the wire.

    Raises:
        ValueError: If there is no layer of a name.

    """
    return Layered(transport, [make() for make in makers(layers)]) if layers else transport


def makers(layers: Sequence[LayerSpec]) -> list[Callable[[], Layer]]:
    """Return what makes each layer.

    Raises:
        ValueError: If there is no layer of a name.

    """
    return [_maker(spec) if isinstance(spec, str) else spec for spec in layers]


def cuts_bytes(name: str) -> bool:
    """Say whether a layer makes messages of bytes."""
    return bool(getattr(_maker(name), "cuts_bytes", False))


def is_binary(name: str) -> bool:
    """Say whether any bytes can be a message above a layer."""
    return bool(getattr(_maker(name), "is_binary", True))


def _maker(name: str) -> Callable[[], Layer]:
    make = _own.get(name) or _shipped().get(name)
    if make is None:
        names = layer_names()
        raise ValueError(
            f"layer {name!r} is not known{did_you_mean(name, names)}; there are {listing(names)}"
        )
    return make
