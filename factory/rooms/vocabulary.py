"""What clients say and what they are told: JSON objects with an ``action``.

Clients may use the words of the protocol's description (``joinroom``, ``leaveroom``, ``message``)
or those of its first server (``join``, ``leave``, ``msg``); what they are told is always written
in the former.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Final

import msgspec

_ACTIONS: Final = {
    "connect": "connect",
    "joinroom": "joinroom",
    "join": "joinroom",
    "leaveroom": "leaveroom",
    "leave": "leaveroom",
    "chat": "chat",
    "who": "who",
}
_MOST_REF: Final = 64


class Mistake(Exception):  # noqa: N818 - it is the client's mistake, and no error of ours
    """What a client said cannot be done; its text is the reason that the client is told."""


class Connect(msgspec.Struct, frozen=True):
    """Say who one is; the first thing that a client says.

    Attributes:
        username: The name.
        session: What ``connected`` said before, to be the same user again.
        seen: By room, the ``id`` of the last message that was seen.

    """

    username: object
    session: str | None
    seen: dict[str, int]


class Join(msgspec.Struct, frozen=True):
    """Become a member of a room.

    Attributes:
        room: Its name.
        echo: Whether the member gets its own messages, too.

    """

    room: object
    echo: bool


class Leave(msgspec.Struct, frozen=True):
    """Be a member no longer."""

    room: object


class Chat(msgspec.Struct, frozen=True):
    """Say something to all other members.

    Attributes:
        room: The room.
        message: What is said.
        ref: A mark of the client's own, with which it is told that the message was accepted.

    """

    room: object
    message: str
    ref: str | None


class Who(msgspec.Struct, frozen=True):
    """Ask who is in a room, or which rooms one is in."""

    room: object | None


Command = Connect | Join | Leave | Chat | Who

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def event(action: str, **fields: object) -> bytes:
    """Return what a client is told, as JSON."""
    return _encode({"action": action, **fields})


def command(text: str | bytes) -> Command:
    """Return what a client wants.

    Raises:
        Mistake: If that cannot be told from what it said.

    """
    try:
        said = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise Mistake(f"that is not JSON: {exc}") from None
    if not isinstance(said, dict):
        raise Mistake('a JSON object is expected, as in {"action": "joinroom", "room": "lobby"}')
    word = said.get("action")
    if not isinstance(word, str):
        raise Mistake(f"'action' is missing; it is one of {', '.join(dict.fromkeys(_ACTIONS.values()))}")
    action = _ACTIONS.get(word)
    if action == "connect":
        return Connect(_needed(said, "username"), _text(said, "session"), _seen(said))
    if action == "joinroom":
        return Join(_needed(said, "room"), _flag(said, "echo"))
    if action == "leaveroom":
        return Leave(_needed(said, "room"))
    if action == "chat":
        return _chat(said)
    if action == "who":
        return Who(said.get("room"))
    near = get_close_matches(word[:40], _ACTIONS, 1)
    raise Mistake(f"unknown action {word[:40]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def _chat(said: dict[str, Any]) -> Chat:
    room = _needed(said, "room")
    message = said.get("message", said.get("msg"))
    if not isinstance(message, str):
        raise Mistake("'message' is missing" if message is None else "'message' is a text")
    ref = _text(said, "ref")
    if ref is not None and len(ref) > _MOST_REF:
        raise Mistake(f"'ref' has {len(ref)} characters; {_MOST_REF} are the most")
    return Chat(room, message, ref)


def _needed(said: dict[str, Any], key: str) -> object:
    if said.get(key) is None:
        raise Mistake(f"{key!r} is missing")
    return said[key]


def _text(said: dict[str, Any], key: str) -> str | None:
    value = said.get(key)
    if value is not None and not isinstance(value, str):
        raise Mistake(f"{key!r} is a text")
    return value


def _flag(said: dict[str, Any], key: str) -> bool:
    value = said.get(key, False)
    if not isinstance(value, bool):
        raise Mistake(f"{key!r} is true or false")
    return value


def _seen(said: dict[str, Any]) -> dict[str, int]:
    seen = said.get("seen", {})
    if not isinstance(seen, dict) or not all(type(number) is int for number in seen.values()):
        raise Mistake("'seen' is an object with the number of the last message for each room")
    return seen
