"""How a value that came over a link reaches a handler.

A link keeps the types of its values, and so does the way to a handler with an annotation: the
value is checked as it is, and never written and read again, which would lose what JSON has not.
Text and bytes alone may be the value as a plain client would write it: ``"5"`` for an ``int``. A
handler that asks for nothing, or for text or bytes, gets what a plain websocket would give it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mesh.errors import PayloadError
from mesh.protocol.values import Wire, as_it_comes, explain, message_decoder, message_to_wire, or_as_text

_TEXT = frozenset((str, bytes))

# What a link carries itself is not to be read out of text, as base64.
_CARRIED = (bytes, bytearray, memoryview)


def value_decoder(annotation: object) -> Callable[[Any], object]:
    """Return the function that turns a value of a link into what a handler asked for.

    Args:
        annotation: The type of the handler's message parameter. ``None`` for a handler without
            annotation.

    Raises:
        TypeError: If the annotation is no type that messages can be decoded to.

    The returned function raises ``PayloadError`` when a value does not fit; the error names the
    field.
    """
    if annotation in (Any, object):
        return as_it_comes
    read = message_decoder(annotation)
    if read is as_it_comes:
        return as_plain
    if annotation in (str, bytes):
        return lambda value: read(as_plain(value))

    def decode(value: Any) -> object:
        if type(value) is annotation:
            return value  # a bare type says nothing of what is inside, so there is no more to check
        try:
            # The keys of JSON and of JavaScript are always text.
            return msgspec.convert(value, annotation, builtin_types=_CARRIED, str_keys=True)
        except Exception as exc:
            # Not msgspec's errors alone, for a type may have code of its own.
            if type(value) not in _TEXT:
                raise PayloadError(explain(exc)) from exc
        return read(value)

    return decode


def as_plain(value: Any) -> Wire:
    """Return a value of a link as a plain websocket would give it."""
    if type(value) in _TEXT:
        text: Wire = value
        return text
    return or_as_text(message_to_wire, value)


def all_as_plain(values: list[Any]) -> list[Any]:
    """Return values of a link as a plain websocket would give them."""
    # One look at the types of all, in C: nearly always there is nothing to do.
    return values if _TEXT.issuperset(map(type, values)) else list(map(as_plain, values))
