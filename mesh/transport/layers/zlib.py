"""Compressed messages, each for itself."""

from __future__ import annotations

import zlib
from typing import Final

from mesh.transport.layers.base import Layer, LayerError
from mesh.transport.layers.len32le import MAX_SIZE

LEVEL: Final = 6
"""How hard to try, from 1 to 9: zlib's own balance."""


class Zlib(Layer):
    """Compresses each message; a byte stream below it needs a layer that cuts messages first.

    A message of a few bytes may unfold to gigabytes. Nothing is unfolded beyond ``max_size``.

    Args:
        max_size: Bytes that a message may have, unfolded.
        level: How hard to try, from 1 to 9.

    """

    def __init__(self, max_size: int = MAX_SIZE, level: int = LEVEL) -> None:
        self._max_size = max_size
        self._level = level

    def outbound(self, message: bytes) -> list[bytes]:
        """Return a message compressed."""
        return [zlib.compress(message, self._level)]

    def inbound(self, data: bytes) -> list[bytes]:
        """Return a message unfolded."""
        unfolding = zlib.decompressobj()
        try:
            message = unfolding.decompress(data, self._max_size + 1)
        except zlib.error as exc:
            raise LayerError(
                f"a message cannot be unfolded ({exc}); perhaps the peer has no zlib layer"
            ) from exc
        if len(message) > self._max_size:
            raise LayerError(f"a message of {len(data)} bytes unfolds to more than {self._max_size}")
        if not unfolding.eof or unfolding.unused_data:
            raise LayerError("a message is no whole piece of zlib; perhaps the layers of the peer differ")
        return [message]
