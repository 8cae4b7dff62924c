"""What a person in the rooms sees and says: the state of a client, without connection, clock and screen.

Rules:

- Whatever is said waits here until there is a connection that may carry it, and is sent once. What was
  sent when a connection was lost, and not accepted by then, is told: nobody knows what became of it.
- Each command has one answer, and answers come in the order of the commands. So an error belongs to
  the oldest command that is not answered.
- Who comes back shows its session and what it has seen, and joins its rooms again if the server does
  not know them any more. No message is shown twice.
- Whatever is shown is one line for each message, with control characters escaped.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from factory.rooms.limits import Allowance
from mesh.text import did_you_mean, listing, printable

COMMANDS: Final = {
    "/join": "ROOM    join a room, or go back to it",
    "/leave": "[ROOM] leave a room",
    "/msg": "ROOM TEXT  say something in another room",
    "/who": "[ROOM]   show who is there",
    "/rooms": "       show the rooms that you are in",
    "/help": "        show this",
    "/quit": "        leave; Ctrl-D does the same",
}
"""What may be typed besides messages, and what it does."""

MOST_WAITING: Final = 1000
"""What may wait to be sent; who types more is told."""

RATE: Final = 15.0
"""Commands a second that are sent for long, somewhat less than a server takes by default."""

BURST: Final = 40
"""Commands that are sent at once after a rest."""


@dataclass(slots=True)
class Seat:
    """One room that the client is in, or wants to be in.

    Attributes:
        seen: Number of the last message of the room that was seen; ``None`` until it has joined.
        there: Other members.

    """

    seen: int | None = None
    there: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wish:
    """One command, until it is answered.

    Attributes:
        action: What to do.
        room: In which room.
        text: What to say there.

    """

    action: str
    room: str = ""
    text: str = ""


class Client:
    """One user of the rooms.

    Args:
        username: The name; empty if it is still to be asked for.
        rooms: The rooms to be in.

    Attributes:
        username: The name, as the server has it once it is connected.
        room: Where what is typed goes; empty if nowhere.
        seats: The rooms, by name.
        is_over: Whether the user has left.
        failed: Messages that were not accepted, or of which nobody knows.

    """

    def __init__(self, username: str, rooms: Iterable[str]) -> None:
        self.username = username
        self.seats = {room: Seat() for room in rooms}
        self.room = next(iter(self.seats), "")
        self.is_over = False
        self.failed = 0
        self._session = ""
        self._is_in = False
        self._allowance = Allowance(RATE, BURST)
        self._may_at = 0.0
        self._refs = 0
        self._waiting: deque[Wish] = deque()
        self._asked: deque[Wish] = deque()
        self._shown: list[str] = []

    @property
    def is_done(self) -> bool:
        """Whether everything that was said is answered."""
        return not self._waiting and not self._asked

    # -- what the shell asks ------------------------------------------------------------------------

    def to_show(self) -> list[str]:
        """Return the lines to be shown since the last call."""
        shown, self._shown = self._shown, []
        return shown

    def to_send(self, now: float) -> list[str]:
        """Return the commands to be sent now, which is only to be asked while there is a connection."""
        sent: list[str] = []
        while self._waiting and now >= self._may_at:
            wish = self._waiting[0]
            if not self._is_in and wish.action != "connect":
                break  # the server does not know yet who this is
            if wait := self._allowance.spend(now):
                self._may_at = now + wait
                break
            self._waiting.popleft()
            self._asked.append(wish)
            sent.append(json.dumps(self._command(wish), ensure_ascii=False))
        return sent

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds more may be sent; ``None`` if nothing waits for the time."""
        return max(self._may_at - now, 0.0) if self._waiting and self._is_in else None

    def complete(self, text: str) -> list[str]:
        """Return what the word that is being typed may become.

        Args:
            text: The line as far as it is typed.

        """
        before, _, word = text.rpartition(" ")
        if not before:
            known: Iterable[str] = COMMANDS if word.startswith("/") else self._names()
        else:
            known = self.seats if before in ("/join", "/leave", "/who", "/msg") else self._names()
        return sorted(name for name in known if name.casefold().startswith(word.casefold()) and name != word)

    def _names(self) -> Iterable[str]:
        seat = self.seats.get(self.room)
        return seat.there if seat else ()

    # -- the connection ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Take note of a new connection."""
        self._waiting.appendleft(Wish("connect"))

    def lost(self) -> None:
        """Take note that the connection is gone; tell of what nobody knows any more."""
        self._is_in = False
        for wish in self._asked:
            if wish.action == "chat":
                self._not_said(
                    wish, "the connection was lost before it was accepted; say it again if need be"
                )
            elif wish.action == "joinroom":
                self.seats.setdefault(wish.room, Seat())
        self._asked.clear()
        self._waiting = deque(wish for wish in self._waiting if wish.action != "connect")

    def take(self, text: str | bytes) -> None:
        """Take what the server says; what cannot be understood is shown as it came."""
        words = text if isinstance(text, str) else text.decode(errors="backslashreplace")
        try:
            said = json.loads(words)
            act = _EVENTS[said["action"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            self._show(f"the server said something unknown: {words[:200]}")
            return
        try:
            act(self, said)
        except (KeyError, TypeError, AttributeError):
            self._show(f"the server said something incomplete: {words[:200]}")

    def _command(self, wish: Wish) -> dict[str, Any]:
        if wish.action == "connect":
            seen = {name: seat.seen for name, seat in self.seats.items() if seat.seen is not None}
            back = {"session": self._session, "seen": seen} if self._session else {}
            return {"action": "connect", "username": self.username, **back}
        if wish.action == "chat":
            self._refs += 1
            return {"action": "chat", "room": wish.room, "message": wish.text, "ref": str(self._refs)}
        return {"action": wish.action, "room": wish.room}

    # -- what the server says ------------------------------------------------------------------------

    def _connected(self, said: dict[str, Any]) -> None:
        self._answered("connect")
        username, session, rooms = str(said["username"]), str(said["session"]), list(said["rooms"])
        is_same = session == self._session
        if not self._session:
            self._show(f"connected as {username}")
        elif is_same:
            self._show(f"connected again as {username}")
        else:
            self._show(f"connected again as {username}; what was said meanwhile is lost")
        self.username, self._session, self._is_in = username, session, True
        if not is_same:
            for seat in self.seats.values():
                seat.seen = None
                seat.there.clear()
        joins = [Wish("joinroom", name) for name in self.seats if name not in rooms]
        # Before what waits, for that may be meant for these rooms; and not twice.
        self._waiting.extendleft(wish for wish in reversed(joins) if wish not in self._waiting)

    def _joined(self, said: dict[str, Any]) -> None:
        room, username = str(said["room"]), str(said["username"])
        members = said.get("members")
        if members is None:
            self._seat(room).there[username] = None
            self._show(f"{username} joined", room)
            return
        wish = self._answered("joinroom")
        if wish is not None and wish.room != room:
            # The server writes it differently, as whoever was first did.
            self.seats.pop(wish.room, None)
            self.room = room if self.room == wish.room else self.room
        seat = self.seats[room] = Seat(int(said.get("last", 0)))
        seat.there = {name: None for name in _names(members) if name != self.username}
        self.room = self.room or room
        self._show(f"you are in, with {_present(members, said['count'], self.username)}", room)

    def _left(self, said: dict[str, Any]) -> None:
        room, username = str(said["room"]), str(said["username"])
        if username != self.username:
            self._seat(room).there.pop(username, None)
            self._show(f"{username} left", room)
            return
        self._answered("leaveroom")
        self.seats.pop(room, None)
        if self.room == room:
            self.room = next(iter(self.seats), "")
        if not self.is_over:
            self._show("you left", room)

    def _chat(self, said: dict[str, Any]) -> None:
        room, number = str(said["room"]), int(said["id"])
        seat = self._seat(room)
        if number <= (seat.seen or 0):
            return
        seat.seen = number
        self._show(f"{said['from']}: {said['message']}", room)

    def _accepted(self, said: dict[str, Any]) -> None:
        wish = self._answered("chat")
        room = str(said["room"])
        seat = self._seat(room)
        seat.seen = max(seat.seen or 0, int(said["id"]))
        if wish is not None:
            alone = "; nobody else is here" if said["members"] == 0 else ""
            self._show(f"{self.username}: {wish.text}  [accepted{alone}]", room)

    def _missed(self, said: dict[str, Any]) -> None:
        count = int(said["count"])
        self._show(
            f"{count} message{'s are' if count != 1 else ' is'} gone: more than the server keeps",
            said["room"],
        )

    def _who(self, said: dict[str, Any]) -> None:
        self._answered("who")
        if "members" in said:
            self._show(
                f"here are you and {_present(said['members'], said['count'], self.username)}", said["room"]
            )

    def _error(self, said: dict[str, Any]) -> None:
        reason = str(said["reason"])
        wish = self._asked.popleft() if self._asked else None
        if wish is None:
            self._show(f"the server says: {reason}")
        elif wish.action == "chat":
            self._not_said(wish, reason)
        elif wish.action == "connect":
            self.username = self._session = ""
            self._show(f"that name cannot be had: {reason}")
            self._show("type another one")
        else:
            self._show(f"{wish.action} {wish.room}: {reason}")
            if wish.action == "joinroom" and self._seat(wish.room).seen is None:
                self.seats.pop(wish.room, None)
                self.room = next(iter(self.seats), "") if self.room == wish.room else self.room

    def _closing(self, said: dict[str, Any]) -> None:
        self._show(f"the server closes the connection: {said['reason']}")

    def _presence(self, said: dict[str, Any]) -> None:
        is_back = said["action"] == "back"
        self._show(f"{said['username']} is {'back' if is_back else 'away'}", said["room"])

    def _answered(self, action: str) -> Wish | None:
        if self._asked and self._asked[0].action == action:
            return self._asked.popleft()
        return None

    def _seat(self, room: str) -> Seat:
        # A room that was just left may still have a word on its way; it has no seat any more.
        return self.seats.get(room) or Seat()

    # -- what the user types -----------------------------------------------------------------------

    def typed(self, line: str | bytes) -> None:
        """Take a line that the user typed: the name if there is none yet, a command, or a message."""
        text = line if isinstance(line, str) else line.decode(errors="backslashreplace")
        if not text.strip():
            return
        if not self.username:
            self.username = text.strip()
        elif text.startswith("//"):
            self._say(self.room, text[1:])
        elif text.startswith("/"):
            word, _, rest = text.strip().partition(" ")
            act = _TYPED.get(word)
            if act is None:
                self._show(f"there is no {word}{did_you_mean(word, COMMANDS)}; /help shows what there is")
            else:
                act(self, rest.strip())
        else:
            self._say(self.room, text)

    def quit(self, _rest: str = "") -> None:
        """Leave every room, so that nobody waits for this user to come back."""
        self.is_over = True
        if self._is_in:
            self._waiting.extend(Wish("leaveroom", name) for name in self.seats)

    def give_up(self) -> None:
        """Send nothing more of what waits, and tell so."""
        waiting, self._waiting = self._waiting, deque()
        for wish in waiting:
            if wish.action == "chat":
                self._not_said(wish, "it was never sent")

    def _say(self, room: str, text: str) -> None:
        if not room:
            self._show("you are in no room; /join ROOM takes you into one")
        else:
            self._want(Wish("chat", room, text))

    def _want(self, wish: Wish) -> None:
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(wish)
            if self._session and not self._is_in and wish.action == "chat":
                self._show(f"{self.username}: {wish.text}  [waits for the server]", wish.room)
        else:
            self._not_said(wish, f"{MOST_WAITING} things wait to be sent already")

    def _not_said(self, wish: Wish, why: str) -> None:
        self.failed += 1
        self._show(f"{self.username}: {wish.text}  [NOT accepted: {why}]", wish.room)

    def _join(self, room: str) -> None:
        if not room:
            self._show("which room? /join ROOM")
            return
        self.room = room
        if room not in self.seats:
            self.seats[room] = Seat()
            self._want(Wish("joinroom", room))

    def _leave(self, room: str) -> None:
        room = room or self.room
        if room not in self.seats:
            self._show(f"you are not in room {room!r}{did_you_mean(room, self.seats)}")
        else:
            self._want(Wish("leaveroom", room))

    def _message(self, rest: str) -> None:
        room, _, text = rest.partition(" ")
        if text:
            self._say(room, text)
        else:
            self._show("say where and what: /msg ROOM TEXT")

    def _ask_who(self, room: str) -> None:
        if room := room or self.room:
            self._want(Wish("who", room))
        else:
            self._show("you are in no room; /join ROOM takes you into one")

    def _show_rooms(self, _rest: str) -> None:
        names = [f"{name} (you type here)" if name == self.room else name for name in self.seats]
        self._show(f"you are in {listing(names)}" if names else "you are in no room")

    def _help(self, _rest: str) -> None:
        for word, what in COMMANDS.items():
            self._show(f"  {word} {what}")
        self._show("  anything else is said in the room; begin with // to say something that begins with /")

    def _show(self, text: str, room: object = "") -> None:
        self._shown.append(printable(f"{room} | {text}" if room else f"* {text}"))


def _names(members: list[dict[str, Any]]) -> list[str]:
    return [str(member["username"]) for member in members]


def _present(members: list[dict[str, Any]], count: int, own: str) -> str:
    names = [
        f"{member['username']}{' (away)' if member.get('away') else ''}"
        for member in members
        if member["username"] != own
    ]
    more = count - len(members)
    if more > 0:
        names.append(f"{more} more")
    return listing(names) if names else "nobody else"


_EVENTS: Final[dict[str, Callable[[Client, dict[str, Any]], None]]] = {
    "connected": Client._connected,
    "joined": Client._joined,
    "left": Client._left,
    "away": Client._presence,
    "back": Client._presence,
    "chat": Client._chat,
    "accepted": Client._accepted,
    "missed": Client._missed,
    "who": Client._who,
    "error": Client._error,
    "closing": Client._closing,
}

_TYPED: Final[dict[str, Callable[[Client, str], None]]] = {
    "/join": Client._join,
    "/leave": Client._leave,
    "/msg": Client._message,
    "/who": Client._ask_who,
    "/rooms": Client._show_rooms,
    "/help": Client._help,
    "/quit": Client.quit,
}
