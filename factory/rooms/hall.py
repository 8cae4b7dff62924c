"""The hall: users, the rooms they are in, and what each connection gets.

Rules:

- A connection is nobody until it says ``connect``; one connection is one user.
- Names are taken as long as their user is there or away; two names that look alike are one.
- Only members may say something in a room, and a room is there as long as it has members.
- A message goes to all other members, to the sender only if it joined with ``echo``. Messages of a
  room are numbered from 1.
- Who loses the connection is *away*: name and rooms stay for a while, and who comes back with the
  ``session`` that it was given gets what it missed, as far as that was kept. Somebody else who takes
  the name of one who is away is a new user, and gets nothing of what the other one missed.
- A mistake is answered, and the connection stays.
- Nothing here waits: what a client gets lies in its mailbox, which is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from secrets import token_urlsafe

from factory.rooms.limits import Allowance, Limits
from factory.rooms.mailbox import Mailbox
from factory.rooms.names import NameRefusedError, looks, settled_name
from factory.rooms.room import Room
from factory.rooms.vocabulary import Chat, Connect, Join, Leave, Mistake, Who, command, event

_MOST_SHOWN = 200


class Guest:
    """One connection.

    Attributes:
        user: Who it is; ``None`` before it said so.
        mailbox: What it gets.
        allowance: What it may say for now.
        is_over: Whether it is to be closed once it has its mail.

    """

    __slots__ = ("allowance", "is_over", "mailbox", "user")

    def __init__(self, mailbox: Mailbox, allowance: Allowance) -> None:
        self.user: User | None = None
        self.mailbox = mailbox
        self.allowance = allowance
        self.is_over = False


class User:
    """Somebody with a name, there or away.

    Attributes:
        name: The name.
        session: What it has to show to be the same user again.
        guest: Its connection; ``None`` while it is away.
        rooms: The rooms that it is in, in the order in which it joined.
        away_until: When it is forgotten, while it is away.
        seen: By room, the last message that was handed to its connection when it went away.

    """

    __slots__ = ("away_until", "guest", "looks", "name", "rooms", "seen", "session")

    def __init__(self, name: str, session: str, guest: Guest) -> None:
        self.name = name
        self.looks = looks(name)
        self.session = session
        self.guest: Guest | None = guest
        self.rooms: dict[str, Room] = {}
        self.away_until = 0.0
        self.seen: dict[str, int] = {}


class Books:
    """What became of all messages: ``offered = handed + dropped + pending + kept for the absent``.

    Attributes:
        accepted: Messages that members said.
        offered: Copies of them for members.
        handed: Copies that were handed to a connection.
        dropped: Copies for which there was no room, or whose connection ended before.
        absent: Copies for members who were away, which they get of what is kept if they come back.
        refused: Commands that were answered with an error.

    """

    __slots__ = ("absent", "accepted", "dropped", "handed", "offered", "refused")

    def __init__(self) -> None:
        self.accepted = self.offered = self.handed = self.dropped = self.absent = self.refused = 0


class Hall:
    """All users and rooms of one server.

    Args:
        limits: How much of everything there may be.
        token: Makes the sessions.

    Attributes:
        rooms: By the folded name.

    """

    def __init__(self, limits: Limits | None = None, token: Callable[[], str] = token_urlsafe) -> None:
        self.limits = limits or Limits()
        self.rooms: dict[str, Room] = {}
        self._looks: dict[str, User] = {}
        self._sessions: dict[str, User] = {}
        # In the order in which they went.
        self._away: dict[User, None] = {}
        self._guests: set[Guest] = set()
        self._token = token
        self._closed = Books()
        self._stopping = ""

    # -- connections -----------------------------------------------------------------------

    def open(self, wake: Callable[[], object]) -> Guest:
        """Return a new connection.

        Args:
            wake: Called when something waits for it and nothing did before.

        """
        limits = self.limits
        guest = Guest(
            Mailbox(limits.waiting, limits.waiting_bytes, wake), Allowance(limits.rate, limits.burst)
        )
        self._guests.add(guest)
        if self._stopping:
            self.dismiss(guest, self._stopping)
        return guest

    def gone(self, guest: Guest, now: float) -> None:
        """Take note that a connection is closed."""
        if guest not in self._guests:
            return
        self._guests.discard(guest)
        closed, mailbox = self._closed, guest.mailbox
        closed.handed += mailbox.taken
        closed.dropped += mailbox.dropped + mailbox.close()
        user = guest.user
        if user is None or user.guest is not guest:
            return
        user.guest = None
        if not user.rooms:
            self._forget(user)
            return
        user.away_until = now + self.limits.away
        user.seen = {name: room.last for name, room in user.rooms.items()}
        self._away[user] = None
        for room in user.rooms.values():
            self._announce("away", room, user)

    def expire(self, now: float) -> float | None:
        """Forget who is away for too long; return when the next one will be, if there is one."""
        while self._away:
            user = next(iter(self._away))
            if user.away_until > now:
                return user.away_until
            self._forget(user)
        return None

    def stop(self, reason: str) -> None:
        """Tell everybody that it is over; each connection is to be closed once it has its mail."""
        self._stopping = reason
        for guest in self._guests:
            self.dismiss(guest, reason)

    def dismiss(self, guest: Guest, reason: str) -> None:
        """Tell a connection that it is over; it is to be closed once it has its mail."""
        if not guest.is_over:
            guest.is_over = True
            guest.mailbox.answer(event("closing", reason=reason))

    def take(self, guest: Guest, text: str | bytes, now: float) -> None:
        """Do what a client says; what it is told, and what others get, lies in the mailboxes then."""
        if guest.is_over:
            return
        try:
            if wait := guest.allowance.spend(now):
                raise Mistake(
                    f"too fast: {self.limits.rate:g} a second; wait {wait:.1f} s, then say it again"
                )
            self._do(guest, text)
        except (Mistake, NameRefusedError) as exc:
            self._closed.refused += 1
            guest.mailbox.answer(event("error", reason=str(exc)))

    def books(self) -> dict[str, int | bool]:
        """Return what became of all messages; see ``Books``."""
        closed = self._closed
        boxes = [guest.mailbox for guest in self._guests]
        handed = closed.handed + sum(box.taken for box in boxes)
        dropped = closed.dropped + sum(box.dropped for box in boxes)
        pending = sum(box.pending for box in boxes)
        return {
            "accepted": closed.accepted,
            "offered": closed.offered,
            "handed": handed,
            "dropped": dropped,
            "absent": closed.absent,
            "pending": pending,
            "refused": closed.refused,
            "balanced": closed.offered == handed + dropped + closed.absent + pending,
        }

    # -- what clients say --------------------------------------------------------------------

    def _do(self, guest: Guest, text: str | bytes) -> None:
        wish = command(text)
        user = guest.user
        if isinstance(wish, Connect):
            if user is not None:
                raise Mistake(f"you are connected as {user.name} already")
            self._connect(guest, wish)
        elif user is None:
            raise Mistake('say who you are first: {"action": "connect", "username": "ann"}')
        elif isinstance(wish, Chat):
            self._chat(user, wish)
        elif isinstance(wish, Join):
            self._join(user, wish)
        elif isinstance(wish, Leave):
            self._leave(user, self._room_of(user, wish.room))
        else:
            self._who(user, guest, wish)

    def _connect(self, guest: Guest, wish: Connect) -> None:
        name = settled_name(wish.username, "username", self.limits.name)
        holders = {self._looks[look] for look in looks(name) if look in self._looks}
        same = next((user for user in holders if _is_same(user, name, wish.session)), None)
        if same is not None:
            self._come_back(same, guest, wish)
            return
        for holder in holders:
            if holder.guest is not None:
                raise Mistake(
                    f"the name {name!r} is taken"
                    + ("" if holder.name == name else f", by {holder.name!r}, which looks the same")
                )
        for holder in holders:
            self._forget(holder)
        if len(self._sessions) >= self.limits.users:
            raise Mistake(f"there are {self.limits.users} users already, and no more are let in")
        user = User(name, self._token(), guest)
        guest.user = user
        self._sessions[user.session] = user
        self._looks.update(dict.fromkeys(user.looks, user))
        guest.mailbox.answer(event("connected", username=name, session=user.session, rooms=[]))

    def _come_back(self, user: User, guest: Guest, wish: Connect) -> None:
        old, user.guest = user.guest, guest
        guest.user = user
        seen = user.seen
        if old is not None:
            # A laptop that was closed and opened: its old connection may look alive for long.
            seen = {name: room.last for name, room in user.rooms.items()}
            self.dismiss(old, "you are connected from elsewhere")
        self._away.pop(user, None)
        rooms = [room.name for room in user.rooms.values()]
        guest.mailbox.answer(event("connected", username=user.name, session=user.session, rooms=rooms))
        for key, room in user.rooms.items():
            number = wish.seen.get(room.name, seen.get(key, room.last))
            forgotten, kept = room.since(number)
            if forgotten:
                guest.mailbox.answer(event("missed", room=room.name, count=forgotten))
            for message in kept:
                if message.sender is not user or room.members[user]:
                    self._closed.offered += 1
                    guest.mailbox.put(room.name, message.data)
            if old is None:
                self._announce("back", room, user)

    def _join(self, user: User, wish: Join) -> None:
        name = settled_name(wish.room, "room", self.limits.name)
        key = name.casefold()
        room = self.rooms.get(key)
        if room is None:
            if len(self.rooms) >= self.limits.rooms:
                raise Mistake(f"there are {self.limits.rooms} rooms already; join one of them")
            room = Room(name, self.limits.kept, self.limits.kept_bytes)
        is_new = user not in room.members
        if is_new and len(user.rooms) >= self.limits.rooms_each:
            raise Mistake(f"you are in {len(user.rooms)} rooms, which is the most; leave one first")
        if is_new and len(room.members) >= self.limits.members:
            raise Mistake(f"room {room.name!r} is full: it has {len(room.members)} members")
        self.rooms[key] = room
        room.members[user] = wish.echo
        user.rooms[key] = room
        assert user.guest is not None
        user.guest.mailbox.answer(event("joined", room=room.name, username=user.name, **_present(room)))
        if is_new:
            self._announce("joined", room, user)

    def _leave(self, user: User, room: Room) -> None:
        self._part(user, room)
        assert user.guest is not None
        user.guest.mailbox.answer(event("left", room=room.name, username=user.name))

    def _chat(self, user: User, wish: Chat) -> None:
        room = self._room_of(user, wish.room)
        if len(wish.message) > self.limits.message:
            raise Mistake(
                f"the message has {len(wish.message)} characters; {self.limits.message} are the most"
            )
        room.last += 1
        data = event("chat", room=room.name, message=wish.message, **{"from": user.name}, id=room.last)
        closed, name, count = self._closed, room.name, 0
        for member, wants_own in room.members.items():
            if member is user and not wants_own:
                continue
            count += 1
            guest = member.guest
            if guest is None:
                closed.absent += 1
            else:
                guest.mailbox.put(name, data)
        closed.accepted += 1
        closed.offered += count
        room.keep(user, data)
        if wish.ref is not None and user.guest is not None:
            user.guest.mailbox.answer(event("accepted", ref=wish.ref, room=name, id=room.last, members=count))

    def _who(self, user: User, guest: Guest, wish: Who) -> None:
        if wish.room is None:
            rooms = [room.name for room in user.rooms.values()]
            guest.mailbox.answer(event("who", username=user.name, rooms=rooms))
        else:
            room = self._room_of(user, wish.room)
            guest.mailbox.answer(event("who", room=room.name, **_present(room)))

    # -- parts ----------------------------------------------------------------------------------

    def _room_of(self, user: User, name: object) -> Room:
        key = settled_name(name, "room", self.limits.name).casefold()
        room = user.rooms.get(key)
        if room is None:
            raise Mistake(f"you are not in room {str(name)[: self.limits.name]!r}; join it first")
        return room

    def _part(self, user: User, room: Room) -> None:
        key = room.name.casefold()
        del room.members[user]
        del user.rooms[key]
        if not room.members:
            del self.rooms[key]
        else:
            self._announce("left", room, user)

    def _forget(self, user: User) -> None:
        self._away.pop(user, None)
        for room in list(user.rooms.values()):
            self._part(user, room)
        del self._sessions[user.session]
        for look in user.looks:
            if self._looks.get(look) is user:
                del self._looks[look]

    def _announce(self, action: str, room: Room, user: User) -> None:
        if len(room.members) > self.limits.announced:
            return
        data = event(action, room=room.name, username=user.name)
        for member in room.members:
            if member is not user and member.guest is not None:
                member.guest.mailbox.answer(data)


def _is_same(user: User, name: str, session: str | None) -> bool:
    return (
        user.name == name
        and session is not None
        and compare_digest(user.session.encode(), session.encode(errors="replace"))
    )


def _present(room: Room) -> dict[str, object]:
    members = [
        {"username": user.name, "away": user.guest is None} for user in list(room.members)[:_MOST_SHOWN]
    ]
    return {"count": len(room.members), "members": members}
