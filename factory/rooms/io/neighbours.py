"""Other sketches as users of a hall: what they want comes as messages, what they get is published.

Rules:

- A peer is a user of its own name from its first command on. Nobody has to say ``connect``.
- What a command is answered is its acknowledgement, and a mistake a refusal.
- What else comes for it is published on ``to/NAME``, in order. It waits in the mailbox, with its bounds,
  until somebody has subscribed.
- A peer whose link is lost is away, and is back when its link is. Then it gets what it missed, from the
  last message on that was published for it.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from factory.rooms.hall import Guest
from factory.rooms.io.lobby import AT_ONCE, Lobby
from factory.rooms.vocabulary import Mistake

MAIL: Final = "to/"
"""What the channel begins with on which a peer gets its mail."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Publisher(Protocol):
    """What publishes: a sketch."""

    def publish(self, channel: str, msg: object) -> object:
        """Publish a message on a channel."""

    def subscribers(self, channel: str) -> int:
        """Return how many subscribed to a channel."""


class Neighbours:
    """All peers that are, or were, users of one hall.

    Args:
        lobby: Where they meet everybody else.
        publisher: Publishes their mail.

    """

    def __init__(self, lobby: Lobby, publisher: Publisher) -> None:
        self._lobby = lobby
        self._publisher = publisher
        self._there: dict[str, Neighbour] = {}
        # By name, how those that are away show that they are who they were.
        self._away: dict[str, dict[str, Any]] = {}

    def ask(self, name: str, wish: object) -> dict[str, Any]:
        """Do what a peer says, and return the answer.

        Args:
            name: The peer.
            wish: What it says, as a client would in JSON.

        Raises:
            Mistake: If it cannot be done.

        """
        there = self._there.get(name)
        is_new = there is None
        if there is None:
            there = self._enter(name)
        if is_new and isinstance(wish, dict) and wish.get("action") == "connect":
            return {"action": "connected", "username": name}
        if isinstance(wish, dict) and wish.get("ref") is None:
            wish = {**wish, "ref": ""}  # for a message over a link is always acknowledged
        text = wish if isinstance(wish, str | bytes) else _encode(wish)
        answer = self._lobby.hall.ask(there.guest, text, self._lobby.now())
        return {} if answer is None else dict(_decode(answer))

    def up(self, name: str) -> None:
        """Take note that the link to a peer is there: who was away is back."""
        if name in self._away and name not in self._there:
            self._enter(name)

    def down(self, name: str) -> None:
        """Take note that the link to a peer is lost: it is away now."""
        there = self._there.pop(name, None)
        if there is None:
            return
        user, hall = there.guest.user, self._lobby.hall
        hall.gone(there.guest, self._lobby.now())
        # Here and not with time: so there are never more of them than users.
        self._away = {other: mark for other, mark in self._away.items() if hall.knows(mark["session"])}
        if user is not None and user.rooms:
            self._away[name] = {"session": user.session, "seen": there.seen}

    def subscribed(self, channel: str) -> None:
        """Take note that somebody subscribed to a channel, which may be that of somebody's mail."""
        there = self._there.get(channel.removeprefix(MAIL)) if channel.startswith(MAIL) else None
        if there is not None:
            self._lobby.due(there)

    def _enter(self, name: str) -> Neighbour:
        hall, now = self._lobby.hall, self._lobby.now()
        mark = self._away.pop(name, {})
        there = Neighbour(name, self._publisher, dict(mark.get("seen", {})))
        there.guest = hall.open(lambda: self._lobby.due(there), f"link of {name}", now)
        try:
            answer = hall.ask(there.guest, _encode({"action": "connect", "username": name, **mark}), now)
        except Mistake:
            hall.gone(there.guest, now)
            raise
        if answer is not None:
            there.guest.mailbox.answer(answer)
        self._there[name] = there
        return there


class Neighbour:
    """One peer that is there.

    Args:
        name: Its name.
        publisher: Publishes its mail.
        seen: By room, the last message that it got.

    Attributes:
        guest: What it is for the hall.

    """

    __slots__ = ("_channel", "_publisher", "guest", "seen")

    guest: Guest

    def __init__(self, name: str, publisher: Publisher, seen: dict[str, int]) -> None:
        self._channel = MAIL + name
        self._publisher = publisher
        self.seen = seen

    def deliver(self) -> None:
        """Publish what waits, if somebody gets it."""
        mailbox, publisher = self.guest.mailbox, self._publisher
        while len(mailbox) and publisher.subscribers(self._channel):
            for message in mailbox.take(AT_ONCE):
                event = _decode(message)
                if event["action"] == "chat":
                    self.seen[event["room"]] = event["id"]
                publisher.publish(self._channel, event)
