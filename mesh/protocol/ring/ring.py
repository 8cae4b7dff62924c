"""One member of a ring: who its neighbours are. Sans-I/O; docs/explanation/ring.md explains it.

Rules:

- The right successor is the next member in the order that is alive. Each member finds its own;
  nobody is told by others whom to take, only whom to try.
- A successor is one that has welcomed us. A nearer one replaces it; a farther one never does,
  unless it is lost or goes.
- Whoever dials is taken, whether or not somebody nearer is connected. The nearest behind us is
  the predecessor; the others are told of it.

Every method that depends on time takes ``now``. After each call, ``data_to_send()`` and
``next_event()`` are to be emptied, and ``next_deadline()`` says when ``handle_timer()`` is due.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final

from mesh.errors import FrameTooLargeError, LocalProtocolError, RemoteProtocolError
from mesh.protocol.ring.connection import MOST_PROBES, Connection, Stage
from mesh.protocol.ring.events import Changed, Dial, Event, HangUp, Left, Lost, Reason, Told
from mesh.protocol.ring.meeting import why_refused
from mesh.protocol.ring.order import Order
from mesh.protocol.ring.records import (
    HEARTBEAT_FRAME,
    MAX_ITEM,
    VERSION,
    Bye,
    Hello,
    Nearer,
    Record,
    Refused,
    Roll,
    Run,
    Successors,
    Terms,
    Welcome,
    decode_frame,
    encode,
    refusal,
)
from mesh.protocol.ring.seeker import Seeker
from mesh.protocol.ring.settings import RingSettings
from mesh.protocol.ring.traffic import Traffic

if TYPE_CHECKING:
    from random import Random


HANGING: Final = 0.1
"""Seconds after which a dial without an answer may be repeated."""


class Ring:
    """One member.

    Args:
        group: Name of the ring.
        name: This member.
        incarnation: Text that tells this process from an earlier one of the same name.
        members: All members, in the order of the grid.
        random: Where the jitter of the probes comes from.
        settings: How it behaves.

    Raises:
        ValueError: If ``name`` is no member, or the list cannot be a ring.

    """

    def __init__(
        self,
        group: str,
        name: str,
        incarnation: str,
        members: Sequence[str],
        *,
        random: Random,
        settings: RingSettings | None = None,
    ) -> None:
        self.group = group
        self.name = name
        self.incarnation = incarnation
        self.order = Order(members, name)
        self.settings = settings or RingSettings()
        self._events: deque[Event] = deque()
        self.traffic = Traffic(name, incarnation, self.settings, self._events.append)
        self._connections: dict[int, Connection] = {}
        self._ids = 0
        self._inward: dict[str, Connection] = {}
        self._successor: Connection | None = None
        # Who comes after the successor, as far as it has told.
        self._known: list[str] = []
        self._said: list[str] = []
        self._seeker = Seeker(self.order, self.settings, random, self._dial, self._is_wanted)
        self._farewell_at = inf
        self._told: set[tuple[str, str]] = set()
        # When we were first refused because of our name.
        self._namesake_at = inf
        self._neighbours = ("", "", False)
        self._beats: list[tuple[int, bytes]] = []
        # All connections are ended, and no other one is wanted.
        self._is_away = False
        self.is_started = False
        self.is_leaving = False
        self.has_left = False

    # -- life ------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin to look for the others; whoever serves may be dialled before."""
        self.is_started = True
        if self._successor is None:
            self._begin_search(now)

    def leave(self, now: float) -> None:
        """Send no more messages, wait for receipts, say goodbye, go when all that is in hand is handled."""
        if not self.is_leaving:
            self.is_leaving = True
            self._go_on_leaving(now)

    def close(self, now: float) -> None:
        """Be gone at once; what has no receipt fails."""
        if not self.has_left:
            self.is_leaving = self.has_left = True
            self.traffic.close(now)
            if not self._said_goodbye:
                self._say_goodbye(now)
            self._go_away()
            self._events.append(Left())

    @property
    def predecessor(self) -> str | None:
        """Who sends to this member."""
        staying = [name for name, connection in self._inward.items() if not connection.going]
        return self.order.nearest_behind(staying)

    @property
    def successor(self) -> str | None:
        """To whom this member sends."""
        return self._successor.name if self._successor is not None else None

    @property
    def successors(self) -> tuple[str, ...]:
        """Who comes after this member, the next one first, as far as it is told."""
        return tuple(([self._successor.name] if self._successor is not None else []) + self._known)

    @property
    def is_lone(self) -> bool:
        """Whether everybody was looked for, and nobody is there."""
        return self.traffic.is_lone

    @property
    def connections(self) -> tuple[int, ...]:
        """The connections there are, those that are being dialled included."""
        return tuple(self._connections)

    # -- messages ----------------------------------------------------------------------------

    def circulate(self, owner: Any, item: bytes, now: float, patience: float | None) -> bool:
        """Send a message round.

        Args:
            owner: Comes back in ``Receipted`` or ``Failed``, exactly once.
            item: The message, encoded as MessagePack.
            now: The time.
            patience: Seconds until it fails without a receipt; ``None`` for no limit.

        Returns:
            Whether there was room. If not, ``RoomOpened`` tells of it.

        Raises:
            LocalProtocolError: If this member leaves.
            FrameTooLargeError: If the message is larger than a ring takes.

        """
        self.check(item)
        return self.traffic.circulate(owner, item, now, patience)

    def check(self, item: bytes) -> None:
        """See that a message may be circulated, once there is room.

        Raises:
            LocalProtocolError: If this member leaves.
            FrameTooLargeError: If the message is larger than a ring takes.

        """
        if self.is_leaving:
            raise LocalProtocolError(f"{self.name} leaves the ring {self.group} and sends nothing more")
        if len(item) > MAX_ITEM:
            self.traffic.never_sent(Reason.TOO_LARGE)
            raise FrameTooLargeError(len(item), MAX_ITEM, peer="the ring")

    def cancel(self, owner: Any, now: float) -> None:
        """Give a message up; some may have taken it. Nothing happens if it is settled."""
        self.traffic.cancel(owner, now)

    def handled(
        self, sender: str, incarnation: str, count: int, now: float, *, refused: bool = False
    ) -> None:
        """Take note that messages of a ``Taken`` were handled, or that the handler raised."""
        self.traffic.handled(sender, incarnation, count, refused=refused)
        self._go_on_leaving(now)

    def roll(self) -> int | None:
        """Ask who is in the ring; return the number of the ``Rolled`` to come, ``None`` while searching.

        If the ring breaks meanwhile, it does not come.
        """
        if self._successor is None and not self.is_lone:
            return None
        return self.traffic.roll(repair=False)

    # -- connections ---------------------------------------------------------------------------

    def _new(self, name: str, due: float, *, outward: bool) -> Connection:
        self._ids += 1
        connection = Connection(self._ids, name, due, outward=outward)
        self._connections[self._ids] = connection
        return connection

    def _dial(self, name: str, now: float, *, again: bool = False) -> None:
        # One that hangs, because its packets were lost, must not stand in the way of another for long.
        hangs = now + self.settings.dial_timeout - HANGING
        there = [one for one in self._connections.values() if one.outward and one.name == name]
        if again or all(one.stage is not Stage.OPEN and one.due <= hangs for one in there):
            connection = self._new(name, now + self.settings.dial_timeout, outward=True)
            self._events.append(Dial(connection.id, name))

    def connected(self, id: int, now: float) -> None:
        """Take note that a connection that was to be dialled is open."""
        connection = self._connections.get(id)
        if connection is not None and connection.stage is Stage.DIALLING:
            connection.stage = Stage.GREETING
            terms = Terms(
                v=VERSION,
                group=self.group,
                name=self.name,
                incarnation=self.incarnation,
                members=self.order.digest,
                successor=self.successor or "",
            )
            connection.put(encode(Hello(terms)))
            # Only a process that runs opens a connection: a frozen one leaves that to nobody.
            self._heard_of(connection.name, now)

    def accepted(self, now: float) -> int:
        """Take note of a connection that somebody has dialled; return its id."""
        return self._new("", now + self.settings.hello_timeout, outward=False).id

    def _heard_of(self, name: str, now: float) -> None:
        for connection in self._connections.values():
            if connection.name == name:
                connection.heard(now)

    def slept(self, seconds: float, now: float) -> None:
        """Take note that this process was late itself: that time is nobody's silence."""
        for connection in self._connections.values():
            connection.slept(seconds, now)

    def heard(self, id: int, now: float) -> None:
        """Take note of a sign of life that is no frame, such as a part of one."""
        connection = self._connections.get(id)
        if connection is not None:
            connection.heard(now)

    def writable(self, id: int, now: float, *, on: bool) -> None:
        """Take note whether a connection takes messages."""
        connection = self._connections.get(id)
        if connection is not None:
            connection.writable = on
            if connection is self._successor:
                self.traffic.writable = on
                if on:
                    self.traffic.pump()

    def connection_lost(self, id: int, now: float, reason: str) -> None:
        """Take note that a connection is gone, or could not be dialled."""
        self._lose(id, now, reason, silent=False)

    def _lose(self, id: int, now: float, reason: str, *, silent: bool) -> None:
        connection = self._connections.pop(id, None)
        if connection is None:
            return
        if connection is self._successor:
            if not connection.going:
                self._events.append(Lost(connection.name, "successor", reason))
            self._successor = None
            # It may live, and only its connection be gone: if it is dead, that is said at once.
            self._begin_search(now, lost=connection.name, first="" if silent else connection.name)
        elif connection.outward:
            self._dialled(connection.name, now)
        elif self._inward.get(connection.name) is connection and not self._fall_back(connection):
            # Once we have said goodbye, our predecessor goes round us.
            was_predecessor = connection.name == self.predecessor and not self._said_goodbye
            del self._inward[connection.name]
            if was_predecessor:
                self._events.append(Lost(connection.name, "predecessor", reason))
                self.traffic.roll(repair=False)
        self._look(now)

    def _fall_back(self, lost: Connection) -> bool:
        """Use an older connection of a predecessor again, if there is one."""
        for connection in self._connections.values():
            if not connection.outward and connection.name == lost.name and not connection.going:
                self._inward[lost.name] = connection
                return True
        return False

    def _dialled(self, name: str, now: float) -> None:
        """Take note that nothing more is to be expected of a dial."""
        self._seeker.dialled(name, now)
        self._go_on_searching(now)

    def _hang_up(self, connection: Connection, reason: str) -> None:
        """Close a connection of which nobody wants to hear any more."""
        if self._connections.pop(connection.id, None) is not None:
            self._beats += [(connection.id, frame) for frame in connection.take_frames(0.0)]
            self._events.append(HangUp(connection.id, reason))
            if self._inward.get(connection.name) is connection:
                del self._inward[connection.name]

    # -- frames ----------------------------------------------------------------------------------

    def receive(self, id: int, data: bytes, now: float) -> None:
        """Take a frame.

        Raises:
            RemoteProtocolError: If the neighbour broke the protocol. The connection is lost.

        """
        connection = self._connections.get(id)
        if connection is None:
            return
        connection.heard(now)
        if data == HEARTBEAT_FRAME:
            self._beats += [(id, frame) for frame in connection.answer(now, self.settings.heartbeat)]
            return
        try:
            for record in decode_frame(data):
                if id not in self._connections:
                    return  # a record before has ended it
                self._record_came(connection, record, now)
        except RemoteProtocolError as exc:
            connection.put(refusal("protocol", str(exc)))
            self._refuse(connection, now, str(exc))
            raise
        self._go_on_leaving(now)

    def _refuse(self, connection: Connection, now: float, reason: str) -> None:
        """End a connection that was used, with what is to be said on it."""
        self._beats += [(connection.id, frame) for frame in connection.take_frames(now)]
        self._events.append(HangUp(connection.id, reason))
        self.connection_lost(connection.id, now, reason)

    def _record_came(self, connection: Connection, record: Record, now: float) -> None:
        match record:
            case Run(sender) | Roll(sender) if sender not in self.order:
                what = f"{type(record).__name__.upper()} of {sender}"
                raise RemoteProtocolError(f"{what}, which is no member of the ring {self.group}")
            case Run() if not connection.outward and connection.stage is Stage.OPEN:
                self.traffic.run_came(record)
            case Roll() if not connection.outward and connection.stage is Stage.OPEN:
                if self.traffic.roll_came(record, now):
                    self._seeker.saw_roll(record.sender, now)
                    if self._seeker.is_seeking:
                        self._consider(record.sender, now)
            case Hello(terms) if not connection.outward and connection.stage is Stage.GREETING:
                self._hello_came(connection, terms, now)
            case Welcome() if connection.outward and connection.stage is Stage.GREETING:
                self._welcome_came(connection, record, now)
            case Refused(code, reason) if connection.outward:
                self._refused(connection, code, reason, now)
            case Refused(code, reason):
                self._refuse(connection, now, f"refused by {connection.name} ({code}: {reason})")
            case Nearer(name) if connection.outward and connection.stage is Stage.OPEN:
                self._consider(name, now)
            case Successors(names) if connection.outward and connection.stage is Stage.OPEN:
                if connection is self._successor:
                    self._learn(names)
            case Bye(next) if connection.stage is Stage.OPEN:
                self._bye_came(connection, next, now)
            case _:
                who = connection.name or "a stranger"
                raise RemoteProtocolError(f"{type(record).__name__.upper()} from {who}, out of place")

    # -- meeting -----------------------------------------------------------------------------------

    def _why_refused(self, terms: Terms) -> tuple[str, str] | None:
        why = why_refused(terms, self.group, self.name, self.order)
        if why is None and not self.is_started:
            return "closing", f"{self.name} is not ready yet"
        if why is None and self._said_goodbye:
            # Not before it has said goodbye: cut off from the ring, it would wait for its receipts in vain.
            return "closing", f"{self.name} is going away"
        return why

    def _has_namesake(self, terms: Terms, now: float) -> bool:
        """Say whether a neighbour, before us or after us, is another process of that name, and lives."""
        recent = now - 2 * self.settings.heartbeat
        return any(
            one.name == terms.name
            and one.incarnation != terms.incarnation
            and one.life is not None
            and one.life.heard_at > recent
            and not one.going
            for one in self._connections.values()
        )

    def _hello_came(self, connection: Connection, terms: Terms, now: float) -> None:
        why = self._why_refused(terms)
        other = self._inward.get(terms.name)
        if why is None and self._has_namesake(terms, now):
            why = "name", f"another process of the name {terms.name} is in the ring {self.group}"
        if why is not None:
            connection.put(refusal(*why))
            self._refuse(connection, now, f"refused ({why[0]}: {why[1]})")
            return
        if other is not None and other.incarnation != terms.incarnation:
            self._hang_up(other, f"{terms.name} was started again")
        # An older connection of the same process stays: it may be the one that its dialler keeps.
        older = [one for one in self._connections.values() if not one.outward and one.name == terms.name]
        if len(older) > MOST_PROBES:
            self._hang_up(older[0], f"{terms.name} has dialled again")
        connection.name, connection.incarnation = terms.name, terms.incarnation
        before = self.order.nearest_behind(self._inward)
        nearer = before if before and self.order.ahead(before) > self.order.ahead(terms.name) else ""
        for name, farther in self._inward.items():
            if self.order.ahead(name) < self.order.ahead(terms.name):
                farther.put(encode(Nearer(terms.name)))
        self._inward[terms.name] = connection
        connection.open(self.settings.heartbeat, self.settings.timeout, now)
        connection.put(encode(Welcome(self.name, self.incarnation, nearer, self._to_tell())))
        self._consider(terms.name, now)
        self._consider(terms.successor, now)
        self._look(now)

    def _welcome_came(self, connection: Connection, welcome: Welcome, now: float) -> None:
        if welcome.name != connection.name:
            self._tell_once("address", f"{welcome.name} answers where {connection.name} should be")
            self._refuse(connection, now, f"dialled {connection.name}, but {welcome.name} answers there")
            return
        connection.incarnation = welcome.incarnation
        for other in self._connections.values():
            if other.name == connection.name and other.incarnation == connection.incarnation:
                other.heard(now)
        # Our successor was dialled again because nothing was heard of it: its old connection has trouble.
        again = connection.name == self.successor and not (self._successor and self._successor.going)
        if not again and not self._is_wanted(connection.name):
            self._hang_up(connection, "not needed")
            self._dialled(connection.name, now)
            return
        connection.open(self.settings.heartbeat, self.settings.timeout, now)
        self._adopt(connection, welcome.successors, now)
        self._consider(welcome.nearer, now)

    def _refused(self, connection: Connection, code: str, reason: str, now: float) -> None:
        if code == "name":
            self._namesake_at = min(self._namesake_at, now)
        # An earlier process of our name that has just died is given up by then, so this one lives.
        is_early = code == "name" and now < self._namesake_at + self.settings.timeout
        if code != "closing" and not is_early:
            self._tell_once(code, f"{connection.name} refuses this member ({code}: {reason})")
        self._refuse(connection, now, f"refused by {connection.name} ({code}: {reason})")

    def _tell_once(self, code: str, text: str) -> None:
        if (code, text) not in self._told and len(self._told) < 256:
            self._told.add((code, text))
            self._events.append(Told(f"ring {self.group}: {text}"))

    def _bye_came(self, connection: Connection, next: str, now: float) -> None:
        connection.going = True
        if connection is self._successor:
            self._known = [name for name in self._known if name != connection.name]
            if next in self.order and next != self.name:
                self._begin_search(now, lost=connection.name, first=next)
            else:
                self._begin_search(now, lost=connection.name)
        self._look(now)

    # -- the successor -------------------------------------------------------------------------------

    def _is_wanted(self, name: str) -> bool:
        """Say whether somebody would be a better successor than the one there is."""
        if name not in self.order or name == self.name:
            return False
        current = self._successor
        if current is None:
            return True
        if current.going:
            return name != current.name
        return self.order.ahead(name) < self.order.ahead(current.name)

    def _consider(self, name: str, now: float) -> None:
        """Dial somebody who is said to be there, if that would be a better successor."""
        if self.is_started and not self._is_away and self._is_wanted(name):
            self._dial(name, now)

    def _adopt(self, connection: Connection, successors: list[str], now: float) -> None:
        old, self._successor = self._successor, connection
        self._namesake_at = inf
        self._seeker.watch(now)
        if old is not None:
            old.put(encode(Bye(connection.name)))  # so that it does not take us for dead
            self._hang_up(old, f"{connection.name} is nearer")
        for other in list(self._connections.values()):
            if other.outward and other is not connection and not self._is_wanted(other.name):
                self._hang_up(other, "not needed")
        self._learn(successors)
        self.traffic.successor_changed(now, connection.put, lone=False)
        self.traffic.writable = connection.writable
        self._look(now)
        # A roll may have found one far ahead: whoever is nearer is looked for still.
        self._dialled(connection.name, now)

    def _learn(self, names: Sequence[str]) -> None:
        """Take note of who comes after the successor, and tell those before us."""
        known: list[str] = []
        for name in names:
            if name == self.name or name not in self.order:
                break
            known.append(name)
        known = known[: self.settings.successors - 1]
        if self._successor is None:
            return
        self._known = known
        told, self._said = self._said, self._to_tell()
        if told != self._said:  # else it would go round for ever
            record = encode(Successors(self._said))
            for connection in self._inward.values():
                connection.put(record)

    def _to_tell(self) -> list[str]:
        return list(self.successors[: self.settings.successors])

    def _begin_search(self, now: float, *, lost: str = "", first: str = "") -> None:
        going = self._successor is not None  # it has said goodbye, and is there until another is found
        if not going:
            self.traffic.successor_changed(now, None, lone=False)
        self._seeker.begin(now, self._known, first=first, lost=lost, may_live=not going)
        self._go_on_searching(now)

    def _go_on_searching(self, now: float) -> None:
        if not self.is_started:
            return
        self._seeker.go_on(now)
        dialling = any(one.outward and one.stage is not Stage.OPEN for one in self._connections.values())
        if not dialling and self._seeker.is_over() and (self._successor is None or self._successor.going):
            self._be_lone(now)

    def _be_lone(self, now: float) -> None:
        self._known = []
        self._seeker.watch(now)
        if self._successor is not None:
            old, self._successor = self._successor, None
            self._hang_up(old, "nobody else is there")
        self.traffic.successor_changed(now, None, lone=True)
        self._look(now)

    # -- leaving -------------------------------------------------------------------------------------

    def _go_on_leaving(self, now: float) -> None:
        if not self.is_leaving or self.has_left:
            return
        if not self._said_goodbye:
            if self.traffic.in_flight:
                return
            self._say_goodbye(now)
        if not self._is_away and (not self._inward or now >= self._farewell_at):
            self._go_away()
        if self._is_away and not self.traffic.in_hand:
            self.close(now)

    @property
    def _said_goodbye(self) -> bool:
        return self._farewell_at < inf

    def _say_goodbye(self, now: float) -> None:
        """Let the neighbours go round us; what they send until then, its senders send again."""
        self._farewell_at = now + self.settings.farewell
        self.traffic.take_no_more()
        bye = encode(Bye(self.successor or ""))
        for connection in self._connections.values():
            if connection.stage is Stage.OPEN:
                connection.put(bye)

    def _go_away(self) -> None:
        """End all connections; what is in hand may take longer."""
        self._is_away = True
        for connection in list(self._connections.values()):
            self._hang_up(connection, f"{self.name} is gone")

    # -- what comes out --------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Tell if a neighbour is another one than before."""
        neighbours = (self.predecessor or "", self.successor or "", self.is_lone)
        if neighbours != self._neighbours:
            self._neighbours = neighbours
            self._events.append(Changed(*neighbours))
        self._go_on_leaving(now)

    def data_to_send(self, now: float) -> list[tuple[int, bytes]]:
        """Return frames and the connections they are for, in order."""
        self.traffic.send()  # not sooner, so that what is circulated together travels together
        found, self._beats = self._beats, []
        for connection in self._connections.values():
            if connection.stage is not Stage.DIALLING:
                found += [(connection.id, frame) for frame in connection.take_frames(now)]
        return found

    def next_event(self) -> Event | None:
        """Return what happened next, or ``None``."""
        return self._events.popleft() if self._events else None

    def next_deadline(self) -> float:
        """Return when ``handle_timer()`` is due; infinity if never."""
        if self._is_away:
            return inf
        found = self.traffic.next_deadline()
        if self.is_started:
            found = min(found, self._seeker.next_deadline())
        for connection in self._connections.values():
            found = min(found, connection.next_deadline(), connection.probe_at(self.settings.suspect))
        return min(found, self._farewell_at)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self._is_away:
            return
        for connection in list(self._connections.values()):
            why = connection.why_dead(now)
            if why is not None and connection.id in self._connections:
                self._events.append(HangUp(connection.id, why))
                self._lose(connection.id, now, why, silent=True)
            elif now >= connection.probe_at(self.settings.suspect):
                connection.probes += 1
                self._dial(connection.name, now, again=True)
            else:
                self._beats += [(connection.id, frame) for frame in connection.beat(now)]
        self._go_on_searching(now)
        self._seeker.probe(now, self.order.gap(self.successor))
        self.traffic.handle_timer(now)
        self._go_on_leaving(now)
