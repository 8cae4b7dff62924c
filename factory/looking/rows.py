"""Messages as people and programs read them: one line, or one JSON object."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

import msgspec

from mesh.text import printable


def object_of(node: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a tap as the JSON object that ``mesh echo --json`` prints.

    Args:
        node: Where the tap is.
        row: What the tap gave; see ``factory.tap``.

    """
    found = {
        "at": datetime.fromtimestamp(row["at"]).astimezone().isoformat(timespec="milliseconds"),
        "node": node,
        "way": row["way"],
        "peer": row["peer"],
        "channel": row["channel"],
    }
    if "refused" in row:
        return {**found, "refused": row["refused"]}
    if "large" in row:
        return {**found, "large": True}
    return {**found, **data_fields(msgspec.msgpack.decode(row["body"], strict=False))}


def data_fields(value: Any) -> dict[str, Any]:
    """Return a value as a field of a JSON object: ``data``, or ``base64`` for bytes."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {"base64": base64.b64encode(value).decode()}
    return {"data": msgspec.to_builtins(value, str_keys=True)}


def data_of(found: dict[str, Any]) -> Any:
    """Return the value of such an object.

    Raises:
        ValueError: If it has none.

    """
    if "base64" in found:
        return base64.b64decode(found["base64"], validate=True)
    if "data" in found:
        return found["data"]
    raise ValueError("it has neither data nor base64")


def words(found: dict[str, Any]) -> str:
    """Return what such an object carries, for people."""
    if "refused" in found:
        refused = found["refused"]
        return printable(f"refused: {refused['type']}: {refused['message']}")
    if "large" in found:
        return "(too large to be shown)"
    if "base64" in found:
        return f"{found['base64']} (base64)"
    return value_words(found["data"])


def value_words(value: Any) -> str:
    """Return a value for people: text as it is, everything else as JSON."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode() + " (base64)"
    plain = msgspec.to_builtins(value, str_keys=True)
    return printable(json.dumps(plain, ensure_ascii=False, separators=(",", ":")))


def parsed(text: str) -> Any:
    """Return what was typed: JSON where it is some, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text
