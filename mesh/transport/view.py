r"""How a message looks to people: text or hex, in one line, without what is secret.

What follows a name such as ``password``, ``token``, ``secret``, ``key``, ``auth`` or ``credentials`` is
masked: in JSON (within JSON, too), in a query, in a header and in MessagePack. If that is a list or an
object, all the rest of the message is. That is a courtesy and no safe: a secret under another name is
shown, as is one that is cut off from its name on a byte stream.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Final

from mesh.text import printable

MOST_TEXT: Final = 256
"""Bytes of a text that are shown."""

MOST_HEX: Final = 64
"""Bytes of any other message that are shown."""

_MASK: Final = b"***"

_NAME: Final = (
    rb"(?:[\w.-]*(?:password|passwd|passphrase|pwd|token|secret|authorization|credential|cookie)[\w.-]*"
    rb"|(?:[\w-]*[_-])?(?:(?:api)?key|auth))"
)
_VALUE: Final = (
    rb"(?:[bu]?\"(?:\\.|[^\"\\])*\"?|[bu]?'(?:\\.|[^'\\])*'?"  # a string, which may be cut off
    rb"|(?P<quote>\\+[\"'])(?:.*?(?<!\\)(?P=quote)|.*)"  # one within a string
    rb"|[\[{(].*"  # where a list or an object ends is not looked for
)
_FLAGS: Final = re.IGNORECASE | re.MULTILINE | re.DOTALL
_IN_TEXT: Final = (
    # JSON, or what Python prints for a dictionary.
    re.compile(rb"[\"']" + _NAME + rb"\\*[\"']\s*:\s*(?P<value>" + _VALUE + rb"|[^\s,}\]]+))", _FLAGS),
    # A query, or a setting.
    re.compile(rb"(?<![\w.-])" + _NAME + rb"[ \t]*=[ \t]*(?P<value>" + _VALUE + rb"|[^&\s;,\"']+))", _FLAGS),
    # A header.
    re.compile(rb"^[ \t]*" + _NAME + rb"[ \t]*:[ \t]*(?P<value>[^\r\n]+)", _FLAGS),
)
# The head of a word of MessagePack, and what makes one a name.
_HEAD: Final = re.compile(rb"[\xa1-\xbf\xc4\xd9]")
_IS_NAME: Final = re.compile(_NAME, re.IGNORECASE)

# How many bytes after the first one say how long a value of MessagePack is.
_WIDE: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_NUMBERS: Final = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_ALONE: Final = (0xC0, 0xC2, 0xC3)  # nil, false, true

_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TRANSLATED: Final = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}


def view(message: bytes | str) -> str:
    r"""Return a message as one printable line.

    Text is shown as ``'text'``, everything else as ``01 02 ff |...|``. What is long is cut:
    ``'...'... (+N B)``.
    """
    data = message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message
    shown = data[:MOST_TEXT]
    spans = list(_spans(shown))
    text = _text(shown, spans)
    words = f"'{text}'"
    if text is None:
        shown = data[:MOST_HEX]
        words = _hex(shown, spans)
    more = len(data) - len(shown)
    return f"{words}... (+{more} B)" if more else words


def masked(text: str) -> str:
    """Return text in which secrets are masked, printable in one line."""
    data = text.encode("utf-8", "replace")
    return printable(_replaced(data, list(_spans(data))).decode("utf-8", "replace"))


def _spans(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where secrets begin and end; they may overlap."""
    for pattern in _IN_TEXT:
        for found in pattern.finditer(data):
            yield found.span("value")
    for found in _HEAD.finditer(data):
        begin, size = _place(data, found.start())
        if _IS_NAME.fullmatch(data, begin, begin + size) and begin + size < len(data):
            begin, size = _place(data, begin + size)
            yield begin, min(begin + size, len(data))


def _place(data: bytes, at: int) -> tuple[int, int]:
    """Return where the contents of a value of MessagePack begin, and how long they are."""
    kind = data[at]
    if 0xA0 <= kind <= 0xBF:
        return at + 1, kind - 0xA0
    if kind in _WIDE:
        begin = at + 1 + _WIDE[kind]
        return begin, int.from_bytes(data[at + 1 : begin], "big")
    if kind in _NUMBERS:
        return at + 1, _NUMBERS[kind]
    if kind < 0x80 or kind >= 0xE0 or kind in _ALONE:
        return at, 1
    return at, len(data)  # a list, a map or an extension: where that ends is not looked for


def _text(data: bytes, spans: list[tuple[int, int]]) -> str | None:
    """Return data as text, if that is what it is; the last character may be cut off."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None
    if len(_CONTROL.findall(text)) * 8 > len(text):
        return None
    if spans:
        text = _replaced(data, spans).decode("utf-8", "replace")
    return printable(text.translate(_TRANSLATED))


def _replaced(data: bytes, spans: list[tuple[int, int]]) -> bytes:
    parts, at = [], 0
    for begin, end in sorted(spans):
        if end > at:
            parts += [data[at : max(begin, at)], _MASK]
            at = end
    return b"".join([*parts, data[at:]])


def _hex(data: bytes, spans: list[tuple[int, int]]) -> str:
    hidden = {at for begin, end in spans for at in range(begin, end)}
    numbers = " ".join("**" if at in hidden else f"{byte:02x}" for at, byte in enumerate(data))
    letters = "".join(
        "*" if at in hidden else chr(byte) if 0x20 <= byte < 0x7F else "." for at, byte in enumerate(data)
    )
    return f"{numbers} |{letters}|"
