"""Messages behind their length: four bytes, little-endian."""

from __future__ import annotations

from typing import Final

from mesh.transport.layers.base import Layer, LayerError

MAX_SIZE: Final = 16 * 1024 * 1024 + 2048
"""Bytes of a message, unless told otherwise: a frame of the link, and thus any message, fits."""

_LARGE: Final = 16 * 1024
"""Bytes of a message from which on it is not copied behind its head."""


class Len32le(Layer):
    """Cuts a byte stream into messages by a length in front of each.

    A length of four bytes could announce 4 GiB: one above ``max_size`` is an error, before a byte of it
    is waited for.

    Args:
        max_size: Bytes that a message may have.

    """

    cuts_bytes = True

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        self._max_size = max_size
        self._buffer = bytearray()
        self._missing = 0  # bytes until there is something to look at

    def outbound(self, message: bytes) -> list[bytes]:
        """Return a message behind its length."""
        size = len(message)
        if size > self._max_size:
            raise LayerError(
                f"a message of {size} bytes is longer than the {self._max_size} that len32le takes"
            )
        head = size.to_bytes(4, "little")
        return [head + message] if size < _LARGE else [head, message]

    def inbound(self, data: bytes) -> list[bytes]:
        """Return the messages that are whole."""
        if self._buffer:
            self._buffer += data
            self._missing -= len(data)
            if self._missing > 0:
                return []
            data = bytes(self._buffer)
            self._buffer.clear()
        messages: list[bytes] = []
        at, stop, end = 0, 4, len(data)
        while stop <= end:
            size = int.from_bytes(data[at : at + 4], "little")
            if size > self._max_size:
                raise LayerError(
                    f"the peer announced a message of {size} bytes, and len32le takes {self._max_size}; "
                    f"perhaps it speaks something else",
                    messages,
                )
            stop = at + 4 + size
            if stop > end:
                break
            messages.append(data[at + 4 : stop])
            at, stop = stop, stop + 4
        if at < end:
            self._buffer += memoryview(data)[at:]
            self._missing = stop - end
        return messages

    def finish(self) -> list[bytes]:
        """Return nothing."""
        if self._buffer:
            raise LayerError(f"its last message was unfinished, {len(self._buffer)} bytes of it came")
        return []
