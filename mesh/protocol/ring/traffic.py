"""The messages of a ring: out, through and back.

Rules:

- A message belongs to its sender until it is settled there. What is on its way through a member
  is no more than a copy, and may be lost with it.
- Something is lost only where a connection ends or a successor changes. Whoever has a new
  successor sends a roll with ``repair``, and whoever sees one sends all its unsettled messages
  again, in order.
- Nothing waits for a neighbour's permission: the windows of the senders bound what is on its way.
  (Permissions could be waited for all the way round a ring.)
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from math import inf
from typing import Any, Final

from msgspec import Raw

from mesh.errors import RemoteProtocolError
from mesh.protocol.ring.events import Event, Failed, Reason, Receipted, Rolled, RoomOpened, Taken
from mesh.protocol.ring.lane import Lane
from mesh.protocol.ring.records import MAX_NUMBER, MAX_WINDOW, Roll, Run, encode
from mesh.protocol.ring.settings import RingSettings
from mesh.protocol.ring.window import Entry, Window

MOST_RESEND: Final = 30.0
"""Seconds between two times that everything is sent again without being asked, at the most."""

MOST_INCARNATIONS: Final = 8
"""Incarnations of one sender whose messages are told apart from new ones."""


class Traffic:
    """Everything about messages, and nothing about neighbours.

    Args:
        name: This member.
        incarnation: Which process of that name.
        settings: How it behaves.
        tell: Takes the events.

    Attributes:
        out: Takes a record for the successor; ``None`` while there is none.
        writable: Whether the successor's connection takes messages.
        is_lone: Whether this is a ring of one.
        counts: The books: what became of messages.

    """

    def __init__(
        self, name: str, incarnation: str, settings: RingSettings, tell: Callable[[Event], object]
    ) -> None:
        self._name = name
        self._incarnation = incarnation
        self._settings = settings
        self._tell = tell
        self._window = Window(settings.window, settings.window_bytes)
        # By sender, its incarnations, the one last heard of last.
        self._lanes: dict[str, OrderedDict[str, Lane]] = {}
        self._rolls = 0
        self._repair_at = inf
        self._repaired_at = -inf
        self._resend_at = inf
        self._resend = settings.resend
        self._resend_base = 0
        self._wants_room = False
        self._is_shut = False
        self.out: Callable[[bytes], object] | None = None
        self.writable = True
        self.is_lone = False
        self.counts: Counter[str] = Counter()

    # -- what this member sends ------------------------------------------------------------

    def circulate(self, owner: Any, item: bytes, now: float, patience: float | None) -> bool:
        """Send a message round; return ``False`` if there is no room, until ``RoomOpened``."""
        if not self._window.has_room:
            self._wants_room = True
            return False
        self.counts["circulated"] += 1
        due = inf if patience is None else now + patience
        if not len(self._window):
            self._watch(now)
        self._window.add(Entry(owner, Raw(item), len(item), now, due))
        return True

    def never_sent(self, reason: Reason) -> None:
        """Count a message that was given up before there was room for it."""
        self.counts["circulated"] += 1
        self.counts[reason.value] += 1

    def _watch(self, now: float) -> None:
        self._resend = self._settings.resend
        self._resend_at = now + self._resend
        self._resend_base = self._window.base

    def cancel(self, owner: Any, now: float) -> None:
        """Give a message up; nothing happens if it is settled."""
        entry = self._window.find(owner)
        if entry is not None:
            self._give_up(entry, Reason.CANCELLED, now)

    def _give_up(self, entry: Entry, reason: Reason, now: float) -> None:
        self.counts[reason.value] += 1
        self._tell(Failed(entry.owner, reason, now - entry.since))
        self._window.give_up(entry)
        self._open_room()

    def close(self, now: float) -> None:
        """Give everything up."""
        for entry in self._window.all():
            self._give_up(entry, Reason.CLOSED, now)

    def take_no_more(self) -> None:
        """Take nothing new, and let go of what the handlers have not got: no receipt names us for it."""
        self._is_shut = True
        for lanes in self._lanes.values():
            for lane in lanes.values():
                let_go = lane.clear()
                self.counts["taken"] -= let_go
                self.counts["left alone"] += let_go

    def roll(self, *, repair: bool) -> int:
        """Send a roll round; return its number, which ``Rolled`` will have if it comes back."""
        self._rolls += 1
        if self.out is not None:
            self.out(encode(Roll(self._name, self._incarnation, self._rolls, repair, [])))
        elif self.is_lone:
            self._tell(Rolled(self._rolls, ()))
        return self._rolls

    @property
    def in_flight(self) -> int:
        """Messages of ours that have no receipt yet."""
        return len(self._window.all())

    @property
    def passing(self) -> int:
        """Senders of whom something is on its way through this member, or in hand."""
        return sum(not lane.is_idle for lanes in self._lanes.values() for lane in lanes.values())

    @property
    def in_hand(self) -> int:
        """Messages that were given to the handlers, and are not handled."""
        return sum(lane.in_hand for lanes in self._lanes.values() for lane in lanes.values())

    @property
    def kept(self) -> int:
        """Messages that were taken, and that the handlers have no room for yet."""
        return sum(lane.kept for lanes in self._lanes.values() for lane in lanes.values())

    # -- what comes ------------------------------------------------------------------------

    def run_came(self, run: Run) -> None:
        """Take a run from a predecessor.

        Raises:
            RemoteProtocolError: If it cannot be.

        """
        if run.first < run.base or run.last - run.base >= MAX_WINDOW:
            raise RemoteProtocolError(
                f"messages {run.first} to {run.last} of {run.sender} do not fit in a window from {run.base}"
            )
        if run.last > MAX_NUMBER:
            # Split up here, the rest of it would be refused by the next one, as our mistake.
            raise RemoteProtocolError(f"messages up to {run.last} of {run.sender}, the limit is {MAX_NUMBER}")
        if run.sender == self._name:
            self._returned(run)
            return
        if self._name in run.hops:
            self.counts["stray"] += len(run.items)
            return
        if self._is_shut:
            self.counts["left alone"] += len(run.items)
            return
        lane = self._lane(run.sender, run.incarnation)
        taken = lane.take(run) if lane is not None else None
        if lane is None or taken is None:
            self.counts["out of order"] += len(run.items)
            return
        self.counts["taken"] += taken[0]
        self.counts["duplicates"] += taken[1]
        self._pump(run.sender, run.incarnation, lane)

    def _returned(self, run: Run) -> None:
        owners = None
        if run.incarnation == self._incarnation:
            owners = self._window.returned(run.first, run.last)
        if owners is None:
            self.counts["late"] += len(run.items)
        else:
            self._receipted(owners, tuple(run.hops))

    def _receipted(self, owners: list[Any], seen: tuple[str, ...]) -> None:
        if owners:
            self.counts["receipted"] += len(owners)
            self._tell(Receipted(owners, seen))
        self._open_room()

    def _open_room(self) -> None:
        if self._wants_room and self._window.has_room:
            self._wants_room = False
            self._tell(RoomOpened())

    def _lane(self, sender: str, incarnation: str) -> Lane | None:
        """Return the lane of an incarnation; ``None`` if too many others of that sender are busy."""
        lanes = self._lanes.setdefault(sender, OrderedDict())
        if incarnation not in lanes:
            if len(lanes) >= MOST_INCARNATIONS:
                oldest = next((key for key, one in lanes.items() if one.is_idle), None)
                if oldest is None:
                    return None
                del lanes[oldest]
            lanes[incarnation] = Lane(self._settings.room)
        lanes.move_to_end(incarnation)
        return lanes[incarnation]

    def handled(self, sender: str, incarnation: str, count: int, *, refused: bool = False) -> None:
        """Take note that messages were handled, or that their handler raised."""
        lanes = self._lanes.get(sender)
        lane = lanes.get(incarnation) if lanes is not None else None
        if lane is None or count > lane.in_hand:
            raise ValueError(f"{count} messages of {sender} cannot be handled: so many are not in hand")
        lane.in_hand -= count
        self.counts["refused" if refused else "handled"] += count
        self._pump(sender, incarnation, lane)

    def _pump(self, sender: str, incarnation: str, lane: Lane) -> None:
        while True:
            items = lane.deliver()
            if items:
                self._tell(Taken(sender, incarnation, items))
            if self.out is None and not self.is_lone:
                return
            if self.out is not None and not self.writable:
                return
            run = lane.forward()
            if run is None:
                return
            if self.out is not None:
                self.out(encode(self._with_me(run)))

    def _with_me(self, run: Run) -> Run:
        return Run(run.sender, run.incarnation, run.first, run.base, [*run.hops, self._name], run.items)

    def roll_came(self, roll: Roll, now: float) -> bool:
        """Take a roll from a predecessor; return whether it goes on."""
        if roll.sender == self._name:
            if roll.incarnation == self._incarnation:
                self._tell(Rolled(roll.number, tuple(roll.hops)))
            return False
        if self._name in roll.hops:
            return False
        if self.out is not None:
            hops = [*roll.hops, self._name]
            self.out(encode(Roll(roll.sender, roll.incarnation, roll.number, roll.repair, hops)))
        if roll.repair and len(self._window):
            self._repair_at = min(self._repair_at, max(now, self._repaired_at + self._settings.settle))
            self.handle_timer(now)
        return True

    # -- the successor -----------------------------------------------------------------------

    def successor_changed(self, now: float, out: Callable[[bytes], object] | None, *, lone: bool) -> None:
        """Send to somebody else from now on, or to nobody; see ``out``."""
        self.out = out
        self.writable = True
        self.is_lone = lone
        if out is not None:
            self.roll(repair=True)
            self._repair_at = now
            self.handle_timer(now)
        self.pump()

    def pump(self) -> None:
        """Send whatever may be sent."""
        for sender, lanes in self._lanes.items():
            for incarnation, lane in lanes.items():
                if not lane.is_idle:
                    self._pump(sender, incarnation, lane)
        self.send()

    def send(self) -> None:
        """Send what this member has circulated."""
        window = self._window
        if self.is_lone and len(window):
            owners = window.returned(window.base, window.next - 1)
            self._receipted(owners or [], ())
        while self.out is not None and self.writable and (found := window.unsent()) is not None:
            first, items = found
            self.out(encode(Run(self._name, self._incarnation, first, window.base, [], items)))

    # -- time ----------------------------------------------------------------------------------

    def next_deadline(self) -> float:
        """Return when ``handle_timer()`` is due."""
        return min(self._repair_at, self._resend_at, self._window.next_due())

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        for entry in self._window.overdue(now):
            self._give_up(entry, Reason.NO_RECEIPT, now)
        if now >= self._repair_at:
            self._repair_at = inf
            self._repaired_at = now
            self._window.rewind()
            self.send()
        if now >= self._resend_at:
            self._look_for_progress(now)

    def _look_for_progress(self, now: float) -> None:
        """Send again what nobody has asked for again, if nothing at all comes back."""
        if not len(self._window):
            self._resend_at = inf
        elif self._window.base > self._resend_base:
            self._watch(now)
        else:
            self._resend = min(2 * self._resend, MOST_RESEND)
            self._resend_at = now + self._resend
            self._window.rewind()
            self.send()
