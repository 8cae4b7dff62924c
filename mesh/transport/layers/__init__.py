"""Layers: framing and transforms that can be stacked on any transport, in any order that makes sense."""

from mesh.transport.layers.base import Layer, LayerError
from mesh.transport.layers.layered import Layered
from mesh.transport.layers.len32le import Len32le
from mesh.transport.layers.line import Line
from mesh.transport.layers.logging import Logging
from mesh.transport.layers.registry import (
    LayerSpec,
    cuts_bytes,
    is_binary,
    layer_names,
    layered,
    makers,
    register_layer,
)
from mesh.transport.layers.zlib import Zlib

__all__ = [
    "Layer",
    "LayerError",
    "LayerSpec",
    "Layered",
    "Len32le",
    "Line",
    "Logging",
    "Zlib",
    "cuts_bytes",
    "is_binary",
    "layer_names",
    "layered",
    "makers",
    "register_layer",
]
