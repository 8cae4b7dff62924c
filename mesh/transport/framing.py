"""Cutting binary messages out of the bytes of a websocket (RFC 6455, section 5.2). Sans-I/O.

Only what a link consists of is understood here: messages in one piece. The bytes of
control frames are set aside, and with whatever else comes, a fragment, text or nonsense, the
rest of the stream belongs to a library that knows all about it.

Of pings that come together only the last needs an answer (section 5.5.3), so only that one is
set aside; and pongs are nobody's, since a link sends no pings.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:

    def apply_mask(data: bytes | memoryview, mask: bytes) -> bytes:
        """Return data with a mask of four bytes laid over it."""
else:
    try:
        from websockets.speedups import apply_mask
    except ImportError:  # it was built without a compiler
        from websockets.utils import apply_mask

BINARY: Final = 0x82
"""First byte of a binary message that is whole."""

TEXT: Final = 0x81
"""First byte of a text message that is whole."""

# Those of the control frames.
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A
_CONTROL: Final = frozenset((_CLOSE, _PING, _PONG))

_KEYS: Final = 1024

_PIECES: Final = 256
"""Pieces of an unfinished frame that are kept as they came; each costs some 40 bytes besides its own."""


class Cutter:
    """The reading end of one connection.

    Args:
        masked: Whether the peer masks, which clients do and servers do not.
        largest: Most bytes of a message; a larger one is the library's to refuse.

    Attributes:
        is_done: Whether everything else is for the library.

    """

    __slots__ = ("_blocks", "_head", "_largest", "_mask", "_missing", "_pieces", "is_done")

    def __init__(self, *, masked: bool, largest: int) -> None:
        self.is_done = False
        self._largest = largest
        self._mask = 0x80 if masked else 0
        self._head = 6 if masked else 2  # bytes of the shortest head
        # An unfinished frame as it came in, and how many bytes it lacks at least: a large
        # message is joined once, not with each piece. The first so many of the pieces are
        # blocks, each joined of _PIECES that were: a byte is copied no more than twice.
        self._pieces: list[bytes] = []
        self._blocks = 0
        self._missing = 0

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take the next bytes from the wire.

        Returns:
            Whole binary messages, in order; and bytes for the library: control frames that
            matter, or everything from the first byte on that is not ours.

        """
        size = self._head
        if not self._pieces and 0 <= len(data) - size == data[1] ^ self._mask < 126 and data[0] == BINARY:
            # Just one short message, as nearly always when there is no hurry.
            return [apply_mask(data[6:], data[2:6]) if self._mask else data[2:]], b""
        if self._pieces:
            self._pieces.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                if len(self._pieces) - self._blocks >= _PIECES:
                    self._pieces[self._blocks :] = [b"".join(self._pieces[self._blocks :])]
                    self._blocks += 1
                return [], b""
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._blocks = 0
        return self._cut(data)

    def _cut(self, data: bytes) -> tuple[list[bytes], bytes]:
        messages: list[bytes] = []
        closes: list[bytes] = []
        ping = b""
        at, end = 0, len(data)
        while at < end:
            if end - at < 2:
                self._keep(data, at, 1)
                break
            kind, length, body = data[at], data[at + 1] ^ self._mask, at + self._head
            most = 127 if kind == BINARY else 125 if kind in _CONTROL else -1
            if length > most:  # above 127: not masked as it should be
                return self._give_up(messages, b"".join((ping, *closes, data[at:])))
            if length > 125:
                wide = 2 if length == 126 else 8
                body += wide
                if body > end:
                    self._keep(data, at, body - end)
                    break
                length = int.from_bytes(data[at + 2 : at + 2 + wide], "big")
                if length > self._largest:
                    return self._give_up(messages, b"".join((ping, *closes, data[at:])))
            stop = body + length
            if stop > end:
                self._keep(data, at, stop - end)
                break
            if kind == _PING:
                ping = data[at:stop]
            elif kind == _CLOSE:
                closes.append(data[at:stop])
            elif kind == _PONG:
                pass
            elif self._mask:
                messages.append(apply_mask(memoryview(data)[body:stop], data[body - 4 : body]))
            else:
                messages.append(data[body:stop])
            at = stop
        # A ping that came behind a close is answered before it, which does no harm.
        return messages, b"".join((ping, *closes))

    def _keep(self, data: bytes, at: int, missing: int) -> None:
        self._pieces.append(data[at:] if at else data)
        self._missing = missing

    def _give_up(self, messages: list[bytes], rest: bytes) -> tuple[list[bytes], bytes]:
        self.is_done = True
        return messages, rest


class Masker:
    """Where the masking keys of a client come from: unpredictable, as section 10.3 asks, and cheap."""

    __slots__ = ("_at", "_keys")

    def __init__(self) -> None:
        self._keys = b""
        self._at = 0

    def key(self) -> bytes:
        """Return four random bytes."""
        at = self._at
        if at >= len(self._keys):
            # The system is asked for many at once: a call for each costs more than the masking.
            self._keys = os.urandom(4 * _KEYS)
            at = 0
        self._at = at + 4
        return self._keys[at : at + 4]


def head(length: int, mask: int, kind: int = BINARY) -> bytes:
    """Return the head of a message in one piece, less the masking key.

    Args:
        length: Bytes of the message.
        mask: 0x80 if a masking key follows, else 0.
        kind: The first byte: 0x82 for a binary message, 0x81 for text.

    """
    if length < 126:
        return bytes((kind, mask | length))
    if length < 65536:
        return bytes((kind, mask | 126)) + length.to_bytes(2, "big")
    return bytes((kind, mask | 127)) + length.to_bytes(8, "big")


__all__ = ["Cutter", "Masker", "apply_mask", "head"]
