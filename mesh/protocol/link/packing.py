"""Packing: values become encoded chunks, many at a time.

Encoding one value costs a call, encoding a thousand costs one call too. So a whole
slice is encoded at once and only its size is looked at; when it is too big, a smaller
slice is tried. No value is inspected but the first, which merely gives a good guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from mesh.errors import FrameTooLargeError, PayloadError
from mesh.protocol.link.records import LARGE, MAX_CONTAINERS, encode, too_many_containers

CHUNK: Final = 32 * 1024
"""Most bytes of a chunk of several values."""

MOST_CONTAINERS: Final = MAX_CONTAINERS - 8
"""Most lists and dicts in one value: a frame adds a few arrays of its own."""

_TOO_MANY: Final = f"it holds more than {MOST_CONTAINERS} lists and dicts"
_UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


class Packed(NamedTuple):
    """What became of a list of values.

    Attributes:
        chunks: Count and encoded bytes (without array head) of each chunk.
        taken: How many values they hold together, from the front.
        size: How many bytes they hold together.
        error: Why the value after them cannot travel, if that is why it ended.

    """

    chunks: list[tuple[int, bytes]]
    taken: int
    size: int
    error: PayloadError | FrameTooLargeError | None


def pack(values: Sequence[object], *, largest: int, room: int | None = None, chunk: int = CHUNK) -> Packed:
    """Encode values from the front until all are, or ``room`` bytes are used up.

    Args:
        values: What is to travel.
        largest: Most bytes of a single value.
        room: Stop when this many bytes are used; the last chunk may go beyond it.
        chunk: Most bytes of a chunk of several values.

    """
    total = len(values)
    chunks: list[tuple[int, bytes]] = []
    at = size = 0
    chunk = min(chunk, largest)
    step = _guess(values[0], chunk) if total else 0
    while at < total and (room is None or size < room or not chunks):
        part = values if at == 0 and step >= total else values[at : at + step]
        count = len(part)
        try:
            body = encode(part[0]) if count == 1 else encode(part)
        except _UNENCODABLE as exc:
            if count > 1:
                step = count // 2
                continue
            return Packed(chunks, at, size, _explain(part[0], exc))
        if count > 1:
            length = len(body)
            if length > chunk:
                step = max(1, count * chunk * 9 // (length * 10))
                continue
            body = body[1 if count < 16 else 3 if count < 65536 else 5 :]
        length = len(body)
        if length > largest:
            return Packed(chunks, at, size, FrameTooLargeError(length, largest))
        if length > MOST_CONTAINERS and too_many_containers(body, MOST_CONTAINERS):
            return Packed(chunks, at, size, _explain(part[0], ValueError(_TOO_MANY)))
        chunks.append((count, body))
        at += count
        size += length
        if at == total:
            break
        # At most twice the last step: a single huge value among small ones would
        # otherwise be encoded again and again.
        step = 1 if length > LARGE * count else max(1, min(2 * count, count * chunk * 9 // (length * 10)))
    return Packed(chunks, at, size, None)


def pack_one(value: object, largest: int) -> bytes | None:
    """Return a value encoded; ``None`` if it cannot travel, and ``pack()`` says why."""
    try:
        body = encode(value)
    except _UNENCODABLE:
        return None
    size = len(body)
    if size > MOST_CONTAINERS and too_many_containers(body, MOST_CONTAINERS):
        return None
    return body if size <= largest else None


def error_of(value: object, error: Exception) -> Exception:
    """Return why a value cannot travel, rather than the error of the item that has it inside."""
    # Of any size: what is too large is so together with its item.
    return pack([value], largest=2**62).error or error


def _guess(first: object, chunk: int) -> int:
    if isinstance(first, str | bytes):
        return 1 if len(first) > LARGE else max(1, chunk // (len(first) + 5))
    return 256


def _explain(value: object, exc: Exception) -> PayloadError:
    if isinstance(exc, RecursionError):
        why = "it is nested too deeply"
    else:
        why = str(exc)
    return PayloadError(
        f"a value of type {type(value).__name__} cannot be sent ({why}); send text, bytes, a number, None, "
        f"or what MessagePack can hold: list, dict, dataclass, Struct"
    )
