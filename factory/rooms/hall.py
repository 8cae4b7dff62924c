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
        address: From where it comes.
        since: When it came.
        why_over: Why it is to be closed once it has its mail; empty if it is not.

    """

    __slots__ = ("address", "allowance", "mailbox", "since", "user", "why_over")

    def __init__(self, mailbox: Mailbox, allowance: Allowance, address: str, since: float) -> None:
        self.user: User | None = None
        self.mailbox = mailbox
        self.allowance = allowance
        self.address = address
        self.since = since
        self.why_over = ""

    @property
    def is_over(self) -> bool:
        """Whether it is to be closed once it has its mail."""
        return bool(self.why_over)


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
        # By address, those that have not said who they are, in the order in which they came.
        self._strangers: dict[str, dict[Guest, None]] = {}
        self._token = token
        self._closed = Books()
        self._stopping = ""

    # -- connections -----------------------------------------------------------------------

    def open(self, wake: Callable[[], object], address: str = "", now: float = 0.0) -> Guest:
        """Return a new connection.

        Args:
            wake: Called when something waits for it and nothing did before.
            address: From where it comes, as far as one can tell.
            now: The time.

        """
        limits = self.limits
        mailbox = Mailbox(limits.waiting, limits.waiting_bytes, wake)
        guest = Guest(mailbox, Allowance(limits.rate, limits.burst), address, now)
        self._guests.add(guest)
        strangers = self._strangers.setdefault(address, {})
        strangers[guest] = None
        if self._stopping:
            self.dismiss(guest, self._stopping, now)
        elif len(strangers) > limits.strangers:
            self.dismiss(
                guest,
                f"there are {limits.strangers} connections from {address or 'here'} already "
                f"that have not said who they are",
                now,
            )
        return guest

    def gone(self, guest: Guest, now: float) -> None:
        """Take note that a connection is closed."""
        if guest not in self._guests:
            return
        self._guests.discard(guest)
        self._is_known(guest)
        closed, mailbox = self._closed, guest.mailbox
        closed.handed += mailbox.taken
        closed.dropped += mailbox.dropped + mailbox.close()
        self._lose(guest, now)

    def expire(self, now: float) -> float | None:
        """Forget who is away for too long; return when the next one will be, if there is one."""
        while self._away:
            user = next(iter(self._away))
            if user.away_until > now:
                return user.away_until
            self._forget(user)
        return None

    def hurry(self, now: float) -> None:
        """Dismiss those that take too long to say who they are."""
        silence = self.limits.silence
        for strangers in self._strangers.values():
            for guest in strangers:
                if guest.since + silence > now:
                    break
                self.dismiss(guest, f"you did not say who you are within {silence:g} s", now)

    def stop(self, reason: str, now: float) -> None:
        """Tell everybody that it is over; each connection is to be closed once it has its mail."""
        if self._stopping:
            return
        self._stopping = reason
        for guest in self._guests:
            self.dismiss(guest, reason, now)

    def dismiss(self, guest: Guest, reason: str, now: float, *, told: bool = True) -> None:
        """Take nothing more from a connection, which is to be closed once it has its mail.

        Its user is away from now on: what is said later is not for a connection that was told of its end.

        Args:
            guest: The connection.
            reason: Why.
            now: The time.
            told: Whether it is told so; not if it is the one who wants it.

        """
        if not guest.is_over:
            guest.why_over = reason
            self._lose(guest, now)
            if told:
                guest.mailbox.answer(event("closing", reason=reason))

    def take(self, guest: Guest, text: str | bytes, now: float) -> None:
        """Do what a client says; what it is told, and what others get, lies in the mailboxes then."""
        if guest.is_over:
            return
        try:
            answer = self.ask(guest, text, now)
        except Mistake as exc:
            answer = event("error", reason=str(exc))
        if answer is not None:
            guest.mailbox.answer(answer)

    def ask(self, guest: Guest, text: str | bytes, now: float) -> bytes | None:
        """Do what a client says, and return what it alone is told, if that is anything.

        Raises:
            Mistake: If it cannot be done.

        """
        try:
            if guest.is_over:
                raise Mistake(guest.why_over)
            if wait := guest.allowance.spend(now):
                raise Mistake(
                    f"too fast: {self.limits.rate:g} a second; wait {wait:.1f} s, then say it again"
                )
            if len(text) > self.limits.command:
                raise Mistake(f"that has {len(text)} bytes; {self.limits.command} are the most")
            return self._do(guest, text, now)
        except (Mistake, NameRefusedError) as exc:
            self._closed.refused += 1
            raise Mistake(str(exc)) from exc

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

    def ledger(self) -> dict[str, dict[str, dict[str, object]]]:
        """Return the same as a part of the ledger of a worker: copies that were published."""
        books = self.books()
        line = {
            "published": books["offered"],
            "delivered": books["handed"],
            "refused": 0,
            "dropped": {
                why: count
                for why, count in (("no room", books["dropped"]), ("away", books["absent"]))
                if count
            },
            "pending": books["pending"],
            "balanced": books["balanced"],
        }
        return {"sent": {}, "received": {}, "published": {"(all rooms)": line}}

    def knows(self, session: str) -> bool:
        """Say whether there is a user with a session."""
        return session in self._sessions

    # -- what clients say --------------------------------------------------------------------

    def _do(self, guest: Guest, text: str | bytes, now: float) -> bytes | None:
        wish = command(text)
        user = guest.user
        if isinstance(wish, Connect):
            if user is not None:
                raise Mistake(f"you are connected as {user.name} already")
            return self._connect(guest, wish, now)
        if user is None:
            raise Mistake('say who you are first: {"action": "connect", "username": "ann"}')
        if isinstance(wish, Chat):
            return self._chat(user, wish)
        if isinstance(wish, Join):
            return self._join(user, wish)
        if isinstance(wish, Leave):
            return self._leave(user, self._room_of(user, wish.room))
        return self._who(user, wish)

    def _connect(self, guest: Guest, wish: Connect, now: float) -> bytes | None:
        name = settled_name(wish.username, "username", self.limits.name)
        holders = {self._looks[look] for look in looks(name) if look in self._looks}
        same = next((user for user in holders if _is_same(user, name, wish.session)), None)
        if same is not None:
            self._come_back(same, guest, wish, now)
            return None
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
        self._is_known(guest)
        self._sessions[user.session] = user
        self._looks.update(dict.fromkeys(user.looks, user))
        return event("connected", username=name, session=user.session, rooms=[])

    def _come_back(self, user: User, guest: Guest, wish: Connect, now: float) -> None:
        old, user.guest = user.guest, guest
        guest.user = user
        self._is_known(guest)
        seen = user.seen
        if old is not None:
            # A laptop that was closed and opened: its old connection may look alive for long.
            seen = {name: room.last for name, room in user.rooms.items()}
            self.dismiss(old, "you are connected from elsewhere", now)
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

    def _join(self, user: User, wish: Join) -> bytes:
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
        if is_new:
            self._announce("joined", room, user)
        return event("joined", room=room.name, username=user.name, last=room.last, **_present(room))

    def _leave(self, user: User, room: Room) -> bytes:
        self._part(user, room)
        return event("left", room=room.name, username=user.name)

    def _chat(self, user: User, wish: Chat) -> bytes | None:
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
        if wish.ref is None:
            return None
        return event("accepted", ref=wish.ref, room=name, id=room.last, members=count)

    def _who(self, user: User, wish: Who) -> bytes:
        if wish.room is None:
            return event("who", username=user.name, rooms=[room.name for room in user.rooms.values()])
        room = self._room_of(user, wish.room)
        return event("who", room=room.name, **_present(room))

    # -- parts ----------------------------------------------------------------------------------

    def _room_of(self, user: User, name: object) -> Room:
        key = settled_name(name, "room", self.limits.name).casefold()
        room = user.rooms.get(key)
        if room is None:
            raise Mistake(f"you are not in room {str(name)[: self.limits.name]!r}; join it first")
        return room

    def _lose(self, guest: Guest, now: float) -> None:
        """Let the user of a connection be away, if it has no other one."""
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
        if not self._stopping:  # or everybody would be told of everybody else
            for room in user.rooms.values():
                self._announce("away", room, user)

    def _is_known(self, guest: Guest) -> None:
        """Take note that a connection is no stranger any more: it has said who it is, or is gone."""
        strangers = self._strangers.get(guest.address, {})
        strangers.pop(guest, None)
        if not strangers:
            self._strangers.pop(guest.address, None)

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
