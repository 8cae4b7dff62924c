"""How Python values look on a plain websocket, and back.

Two directions, each with a rule that a stranger can guess:

- *Messages*, from a sketch to a handler: ``str`` and ``bytes`` travel as they are,
  numbers as ``str(number)``, everything else as JSON text. A handler without a type
  annotation gets just that; one with an annotation gets the decoded, validated value.
- *Answers*, from a handler to its sender: ``str`` as it is, ``bytes`` as binary,
  ``None`` as ``n/a``, everything else as JSON text. A refusal is the JSON object
  ``{"error": {"type": ..., "message": ...}}``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from enum import Enum
from numbers import Number
from typing import Any, Final, TypeVar

import msgspec

from mesh.errors import PayloadError

NO_ANSWER = "n/a"
"""What a plain client gets for ``None``."""

T = TypeVar("T")

Wire = str | bytes
"""What one websocket message carries: text or binary."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """A message was refused.

    Attributes:
        type: Name of the error's type where the message was handled.
        message: Why, in the words of the handler.

    """

    type: str
    message: str


_ONE: Final = (str, bytes, bytearray, memoryview, Number, Mapping, Enum, msgspec.Struct)


def is_one_item(data: object) -> bool:
    """Say whether ``stream()`` sends this as one message rather than iterating it."""
    if isinstance(data, _ONE):
        return True
    if data is None or (dataclasses.is_dataclass(data) and not isinstance(data, type)):
        return True
    return not hasattr(data, "__aiter__") and not hasattr(data, "__iter__")


def message_to_wire(item: object) -> Wire:
    """Return one message as it travels.

    Raises:
        PayloadError: If the item cannot be written as text, bytes or JSON.

    """
    if isinstance(item, Enum):
        item = item.value
    if not isinstance(item, bool) and isinstance(item, Number):
        try:
            return str(item)
        except ValueError as exc:  # Python writes no int of more than 4300 digits
            raise PayloadError(f"a number of that many digits cannot be sent ({exc})") from exc
    return _to_wire(item)


def text_or_bytes(data: bytes) -> Wire:
    """Return what came over a wire that does not tell text from bytes: text, if it is UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def answer_to_wire(answer: object) -> Wire:
    """Return an acknowledgement as plain clients get it.

    Raises:
        PayloadError: If the answer cannot be written as text, bytes or JSON.

    """
    return NO_ANSWER if answer is None else _to_wire(answer)


def or_as_text(to_wire: Callable[[object], Wire], value: object) -> Wire:
    """Return a value of a link as it travels on a plain websocket; as text, if JSON has none such."""
    try:
        return to_wire(value)
    except PayloadError:
        return str(value)


def refusal_to_wire(refusal: Refusal) -> str:
    """Return a refusal as plain clients get it."""
    body = {"error": {"type": _encodable(refusal.type), "message": _encodable(refusal.message)}}
    return msgspec.json.encode(body).decode()


def answer_from_wire(data: Wire) -> Wire | Refusal:
    """Return what a plain peer answered: its words, or the refusal they spell."""
    if isinstance(data, str) and data.startswith('{"error"'):
        try:
            return msgspec.json.decode(data, type=_RefusalEnvelope).error.read()
        except (msgspec.MsgspecError, RecursionError):
            pass
    return data


class _RefusalBody(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    message: str

    def read(self) -> Refusal:
        return Refusal(self.type, self.message)


class _RefusalEnvelope(msgspec.Struct, forbid_unknown_fields=True):
    error: _RefusalBody


def _to_wire(value: object) -> Wire:
    if isinstance(value, str):
        if _encodable(value) != value:
            raise PayloadError("the text holds lone surrogates, which UTF-8 cannot carry; send bytes instead")
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise PayloadError(
            f"a value of type {type(value).__name__} cannot be sent ({exc}); "
            f"send text, bytes, a number, None, or what JSON can hold: dict, list, dataclass, Struct"
        ) from exc


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def message_decoder(annotation: object) -> Callable[[Wire], object]:
    """Return the function that turns a message into what a handler asked for.

    Args:
        annotation: The type of the handler's message parameter. ``None`` for a
            handler without annotation, which takes messages as they come.

    Raises:
        TypeError: If the annotation is no type that messages can be decoded to.

    The returned function raises ``PayloadError`` when a message does not fit; the
    error names the field.
    """
    if annotation in (None, Any, object, str | bytes, bytes | str):
        return as_it_comes
    if annotation is str:
        return _as_text
    if annotation is bytes:
        return _as_bytes
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(annotation)
    # A type that msgspec does not know it takes for one that a hook decodes; we have none.
    if isinstance(msgspec.inspect.type_info(annotation), msgspec.inspect.CustomType):
        raise TypeError(f"messages cannot be decoded to {annotation!r}")

    def decode(message: Wire) -> object:
        try:
            return decoder.decode(message)
        except Exception as exc:
            # Not msgspec's errors alone: a type may have code of its own, such as
            # ``__post_init__`` or ``_missing_``, and bytes may be no UTF-8.
            mismatch = exc
        if annotation is float and isinstance(message, str) and _NUMBER.fullmatch(message):
            return float(message)
        # Text that is no JSON, or not of this type as JSON, may still be the value
        # itself: `on` for Literal["on", "off"], `1` for a bool.
        try:
            return msgspec.convert(_as_text(message), annotation, strict=False)
        except PayloadError:
            raise
        except Exception as exc:
            is_json = isinstance(mismatch, msgspec.ValidationError)
            if isinstance(mismatch, msgspec.DecodeError) and not is_json:
                # What is wrong with the text itself tells more than why it is no JSON.
                raise PayloadError(f"{explain(exc)} (and the text is no JSON)") from exc
            raise PayloadError(explain(mismatch)) from mismatch

    return decode


def as_it_comes(message: T) -> T:
    """Return a message as it is: what a handler without annotation takes."""
    return message


def _as_text(message: Wire) -> str:
    if isinstance(message, str):
        return message
    try:
        return message.decode()
    except UnicodeDecodeError as exc:
        raise PayloadError(f"expected text, got {len(message)} bytes that are not UTF-8") from exc


def _as_bytes(message: Wire) -> bytes:
    return message.encode() if isinstance(message, str) else message


# JSON has no `.5` and no `5.`, and people have.
_NUMBER = re.compile(r"[-+]?([0-9]{1,18}\.?[0-9]{0,18}|\.[0-9]{1,18})")

_AT = re.compile(r" - at (?P<key>`key` in )?`(?P<path>[^`]*)`$")


def explain(exc: Exception) -> str:
    """Turn msgspec's words into a sentence that begins with the field."""
    if isinstance(exc, RecursionError):
        return "the message is nested too deeply"
    text = str(exc)
    if not isinstance(exc, msgspec.MsgspecError):
        return f"{type(exc).__name__}: {text}"
    at = _AT.search(text)
    what = (text[: at.start()] if at else text).replace("`", "")
    what = _in_a_sentence(what)
    field = at["path"].removeprefix("$").removeprefix(".") if at else ""
    if at and at["key"]:
        return f"a key of {f'field {field}' if field else 'the message'}: {what}"
    return f"field {field}: {what}" if field else what


def _in_a_sentence(text: str) -> str:
    # Not "jSON is malformed".
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
