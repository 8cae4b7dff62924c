"""Traffic: every channel of a link, in both directions, and who may send next.

Channels take turns frame by frame, and a channel without credit is not in the list of those that
want to send, so a slow one holds up nobody. What a channel needs while nothing happens on it is kept
to one number for a sender and nothing at all for a receiver.

What was told as settled is told again after a lost connection, until it is known to have arrived.
The proof costs nothing: SETTLED goes before DATA, so a channel that was opened after it, and is all
answered, proves it. Those without proof were all open at once, so there are never many.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from itertools import islice
from math import inf
from typing import Final

from mesh.errors import LocalProtocolError, RemoteProtocolError
from mesh.protocol.link.events import ChannelQuiet, Event, Reason, Received, RoomOpened, WorkAbandoned
from mesh.protocol.link.inbound import Inbound
from mesh.protocol.link.ledger import Ledger, line_of
from mesh.protocol.link.outbound import Grant, Outbound
from mesh.protocol.link.records import MAX_CHANNELS, Ack, Data, Frame, Nack, Settled, Skip, encode
from mesh.protocol.link.run import Delivery

ONCE: Final = "$part/"
"""What the channels begin with that are used for one ask and never again."""

RETIRED_AT_ONCE: Final = 128
"""Channels of no further use that are settled together, if the next heartbeat is not there before."""

MAX_LINES: Final = 1024
"""Lines of the ledger per direction, besides those of channels in use; what is older is folded."""


class Deadlines:
    """Tells whoever sets a timer whether to look.

    Attributes:
        moved: Whether the next deadline may be earlier than when it was last asked for.

    """

    __slots__ = ("moved",)

    def __init__(self) -> None:
        self.moved = True


class Traffic:
    """The channels of one link.

    Args:
        window: What the peer may send.
        grant: What may be sent to the peer.
        heartbeat: Seconds after which SETTLED is sent for a channel that went quiet.
        events: Where to put what happened.

    Attributes:
        deadlines: Whether ``next_deadline()`` is to be asked again.
        replies: Channels with answers to send.
        settling: What is to be told as settled: channel and base.
        senders: Channels with messages to send.

    """

    __slots__ = (
        "_alarms",
        "_crowd",
        "_events",
        "_floor",
        "_heartbeat",
        "_idle",
        "_inbound",
        "_ledger",
        "_order",
        "_outbound",
        "_owing",
        "_retired",
        "_settle_at",
        "_settled",
        "_unsure",
        "deadlines",
        "grant",
        "leaving",
        "lost_at",
        "replies",
        "senders",
        "settling",
        "window",
    )

    def __init__(
        self, window: Grant, grant: Grant, heartbeat: float, events: deque[Event], now: float
    ) -> None:
        self.window = window
        self.grant = grant
        self.lost_at: float | None = now
        self.leaving = False  # whether new messages are turned away
        self.deadlines = Deadlines()
        self._heartbeat = heartbeat
        self._events = events
        self._ledger = Ledger(MAX_LINES)
        self._outbound: dict[str, Outbound] = {}
        self._inbound: dict[str, Inbound] = {}
        # Idle outgoing channels: the next number of each; of those forgotten, a number not below any.
        self._idle: dict[str, int] = {}
        self._floor = 1
        # Lists, though taken from the left: they are short, and an empty deque has 600 bytes.
        self.senders: list[Outbound] = []
        self.replies: list[Inbound] = []
        # Channels that have not told their base, those that do so in the next frame, those that did.
        self._owing: set[Outbound] = set()
        self._retired: list[Outbound] = []
        self._settle_at = inf
        self.settling: list[tuple[str, int]] = []
        # Bases that were told and may not have arrived, oldest first; each with its number among all told.
        self._unsure: dict[str, tuple[int, int]] = {}
        self._settled = 0
        self._crowd: dict[str, None] = {}  # channels that wait, for too many are open
        self._alarms: list[tuple[float, int, Outbound]] = []
        self._order = 0

    # -- for the shell

    def room(self, channel: str) -> int:
        """Return how many messages ``send()`` takes on a channel now."""
        out = self._outbound.get(channel)
        if out is not None:
            return out.room()
        return self.grant.messages if self._has_place(channel) else 0

    def send(
        self, channel: str, items: Sequence[object], now: float, owner: object, delivery: Delivery
    ) -> int:
        """Queue items; see ``Link.send()``."""
        out = self._outbound.get(channel) or self._open(channel)
        if out is None:
            return 0
        try:
            taken = out.send(items, now, owner, delivery)
        finally:
            if out.base == out.next and not out.queue:
                self._tidy(out)  # nothing was taken
        if taken:
            self._queued(out, now, delivery)
        return taken

    def send_encoded(
        self, channel: str, count: int, body: bytes, now: float, owner: object, delivery: Delivery
    ) -> bool:
        """Queue items that are encoded already; see ``Link.send_encoded()``."""
        out = self._outbound.get(channel) or self._open(channel)
        if out is None:
            return False
        try:
            taken = out.send_encoded(count, body, now, owner, delivery)
        finally:
            if out.base == out.next and not out.queue:
                self._tidy(out)  # it was not taken
        if taken:
            self._queued(out, now, delivery)
        return taken

    def _queued(self, out: Outbound, now: float, delivery: Delivery) -> None:
        if not out.ready:
            out.ready = True
            self.senders.append(out)
        if self.lost_at is not None and delivery.patience is not None:
            self._arm(out, now + delivery.patience)
        timeout = delivery.ack_timeout
        if timeout is not None:
            out.shortest = min(out.shortest, timeout)
            if out.given_up or delivery.from_start:
                self._arm(out, now + timeout)

    def cancel(self, channel: str, owner: object, now: float) -> None:
        """Give up every message of an owner on a channel."""
        out = self._outbound.get(channel)
        if out is not None:
            out.cancel(owner, now)
            self._rearm(out)
            self._tidy(out)

    def retire(self, channel: str) -> None:
        """Forget a channel as soon as everything on it is answered, for nothing will be sent there again."""
        out = self._outbound.get(channel)
        if out is not None:
            out.retired = True
            self._see_off(out)

    @property
    def open_senders(self) -> int:
        """How many channels have messages that are not settled."""
        return len(self._outbound)

    def ack(self, work: Inbound, values: list[object]) -> None:
        """Answer messages of a channel."""
        if not work.closed:
            work.ack(values, self.grant.largest)
            self._answered(work)

    def nack(self, work: Inbound, count: int, type: str, message: str) -> None:
        """Refuse messages of a channel."""
        if not work.closed:
            work.nack(count, type, message)
            self._answered(work)

    @property
    def settled(self) -> bool:
        """Whether nothing waits for an answer, here or there."""
        return not any(not out.idle for out in self._outbound.values())

    @property
    def awaiting(self) -> bool:
        """Whether an answer to something sent on this connection may still come."""
        return any(out.flight for out in self._outbound.values())

    @property
    def handled(self) -> bool:
        """Whether nothing is in hand and no answer is to be sent."""
        return not self.replies and not any(work.in_hand for work in self._inbound.values())

    def books(self) -> dict[str, dict[str, dict[str, object]]]:
        """Return every line of the ledger."""
        in_flight, in_hand = _live(self._outbound), _live(self._inbound)
        sent = {name: line.snapshot(in_flight[name]) for name, line in self._ledger.sent.items()}
        taken = {name: line.snapshot(in_hand[name]) for name, line in self._ledger.taken.items()}
        return {"sent": sent, "received": taken}

    # -- from the wire

    def data(self, record: Data, size: int) -> None:
        """Take DATA."""
        work = self._inbound.get(record.channel)
        if work is None:
            work = self._meet(record.channel, record.first)
        if self.leaving:
            work.turn_away(record.first, record.base, len(record.items))
            self._answered(work)
            return
        # An upper bound of what is not items, so that we never count more than the sender did.
        size = max(0, size - 30 - 4 * len(record.channel))
        items = work.data(record.first, record.base, record.items, size)
        if items:
            self._events.append(Received(work, items))
        if work.unsent:
            self._answered(work)

    def skip(self, record: Skip) -> None:
        """Take SKIP."""
        work = self._inbound.get(record.channel) or self._meet(record.channel, record.first)
        work.skip(record.first, record.base, record.count)
        self._answered(work)

    def ack_came(self, record: Ack, size: int, now: float) -> None:
        """Take ACK."""
        out = self._sender(record.channel, record.first)
        out.acked(record.first, record.values, size)
        self._moved(out, now)

    def nack_came(self, record: Nack, size: int, now: float) -> None:
        """Take NACK."""
        out = self._sender(record.channel, record.first)
        out.nacked(record.first, record.count, record.type, record.message, size)
        self._moved(out, now)

    def settled_came(self, record: Settled) -> None:
        """Take SETTLED."""
        work = self._inbound.get(record.channel)
        if work is not None:
            work.settled(record.base)
            self._forget_idle(work)

    # -- towards the wire

    def fill(self, frames: list[bytes], now: float, limit: int, data: bool) -> None:
        """Add frames until nothing is left to send, or ``limit`` bytes are reached.

        Answers go first: they are what frees the peer's window.
        """
        if self._fill_short(frames, now, data):
            return
        frame = Frame()
        total = 0
        while total < limit:
            if self.replies:
                work = self.replies[0]
                done = work.fill(frame)
                if done:
                    del self.replies[0]
                    work.ready = False
                else:
                    self.replies.append(self.replies.pop(0))
            elif self.settling:
                done = self._fill_settled(frame)
            elif data and self.senders:
                out = self.senders[0]
                done = out.fill(frame, now)
                if done:
                    del self.senders[0]
                    out.ready = False
                    if out.base == out.next and not out.queue:
                        self._tidy(out)  # all it had was given up
                else:
                    self.senders.append(self.senders.pop(0))
                if out.earliest < out.armed:
                    self._arm(out, out.earliest)
            else:
                break
            if frame.closed or not done:
                frames.append(frame.finish())
                total += frame.size
                frame = Frame()
        if frame.count:
            frames.append(frame.finish())

    def _fill_short(self, frames: list[bytes], now: float, data: bool) -> bool:
        """Add the one frame that is to be sent, if it is one of a single plain record, as most are."""
        if len(self.replies) + len(self.senders) != 1 or self.settling:
            return False
        if self.replies:
            work = self.replies[0]
            frame = work.only_frame()
            if frame is None:
                return False
            del self.replies[0]
            work.ready = False
        else:
            out = self.senders[0]
            frame = out.only_frame(now) if data else None
            if frame is None:
                return False
            del self.senders[0]
            out.ready = False
            if out.earliest < out.armed:
                self._arm(out, out.earliest)
        frames.append(frame)
        return True

    def _fill_settled(self, frame: Frame) -> bool:
        done = 0
        for name, base in self.settling:
            if frame.closed:
                break
            frame.add(b"\x93\x06", encode(name), encode(base))
            done += 1
        del self.settling[:done]
        return not self.settling

    # -- time

    def next_deadline(self) -> float:
        """Return when ``handle_timer()`` has something to do."""
        return min(self._alarms[0][0], self._settle_at) if self._alarms else self._settle_at

    def handle_timer(self, now: float) -> None:
        """Give up what is too late, and settle what went quiet."""
        while self._alarms and self._alarms[0][0] <= now:
            at, _, out = heapq.heappop(self._alarms)
            if at != out.armed:
                continue  # an alarm that was moved forward meanwhile
            out.armed = inf
            out.expire(now, self.lost_at)
            self._rearm(out)
            self._tidy(out)
        if self._settle_at <= now:
            self._settle_owing()
        if self._crowd:
            self._make_way(MAX_CHANNELS - len(self._outbound))

    def _arm(self, out: Outbound, at: float) -> None:
        if at < out.armed:
            out.armed = at
            self.deadlines.moved = True
            self._order += 1
            heapq.heappush(self._alarms, (at, self._order, out))
            if len(self._alarms) > 2 * len(self._outbound) + 64:
                # Alarms of channels that are long forgotten.
                self._alarms = [alarm for alarm in self._alarms if alarm[0] == alarm[2].armed]
                heapq.heapify(self._alarms)

    def _rearm(self, out: Outbound) -> None:
        out.earliest = out.soonest(self.lost_at)
        self._arm(out, out.earliest)

    # -- connections and sessions

    def pause(self, now: float) -> None:
        """The connection was lost."""
        self.lost_at = now
        self.senders.clear()
        self.replies.clear()
        self.settling.clear()
        for work in self._inbound.values():
            work.ready = False
            work.lose_connection()
        for out in self._outbound.values():
            out.ready = False
            out.rewind(now)
            self._rearm(out)

    def resume(self, now: float) -> None:
        """There is a connection, in the same session or after ``restart()``."""
        self.lost_at = None
        # What told a base on the lost connection may not have arrived.
        self.settling.extend((name, base) for name, (base, _) in self._unsure.items())
        for out in list(self._outbound.values()):
            out.reclaim()
            out.fail_too_large()
            out.moved_at = now
            if out.given_up:
                self._arm(out, now + out.shortest)
            self._tidy(out)

    def restart(self, reason: Reason, *, again: bool) -> None:
        """The session is over; see ``Outbound.restart()``. To be called while paused."""
        for work in self._inbound.values():
            count = work.close()
            if count:
                self._events.append(WorkAbandoned(work, count))
        self._inbound.clear()
        self._idle.clear()
        self._unsure.clear()
        self._owing.clear()
        self._retired.clear()
        self._settle_at = inf
        self._floor = 1
        self.senders.clear()
        for name, out in list(self._outbound.items()):
            out.ready = False
            out.restart(reason, again=again)
            if out.idle:
                self._close(name)

    def fail_all(self, reason: Reason) -> None:
        """Give up everything that is not answered."""
        for out in list(self._outbound.values()):
            out.fail_all(reason)
            self._tidy(out)

    # -- within

    def _open(self, channel: str) -> Outbound | None:
        if len(channel) > 255:
            raise LocalProtocolError(f"a channel has a name of at most 255 characters, not {len(channel)}")
        if not self._has_place(channel):
            return None
        first = self._idle.pop(channel, self._floor)
        self._crowd.pop(channel, None)
        line = self._ledger.sender(channel, self._outbound)
        out = self._outbound[channel] = Outbound(channel, first, self.grant, line, self._events)
        out.opened_at = self._settled
        return out

    def _has_place(self, channel: str) -> bool:
        """Say whether one more channel may be opened; if not, ``RoomOpened`` will come for it."""
        if len(self._outbound) >= MAX_CHANNELS:
            self._settle_owing()
            if len(self._outbound) >= MAX_CHANNELS:
                self._crowd[channel] = None
                return False
        return True

    def _make_way(self, places: int) -> None:
        """Tell channels that wait for a place; one that is not taken is offered again at the next beat."""
        for name in list(islice(self._crowd, max(places, 0))):
            del self._crowd[name]
            self._events.append(RoomOpened(name))

    def _close(self, name: str) -> None:
        out = self._outbound.pop(name)
        out.armed = -inf  # so that an alarm that is still set finds it changed
        if self._crowd:
            self._make_way(1)
        if out.next == self._floor:
            return
        if name.startswith(ONCE):
            # Nobody will ask for its number again; all that begins later begins above it.
            self._floor = max(self._floor, out.next)
            return
        self._idle[name] = out.next
        if len(self._idle) > MAX_CHANNELS:
            oldest = next(iter(self._idle))
            self._floor = max(self._floor, self._idle.pop(oldest))

    def _meet(self, channel: str, first: int) -> Inbound:
        if len(self._inbound) >= MAX_CHANNELS:
            raise RemoteProtocolError(f"more than {MAX_CHANNELS} channels are open")
        line = self._ledger.receiver(channel, self._inbound)
        work = self._inbound[channel] = Inbound(channel, first, self.window, line, self._events)
        return work

    def _sender(self, channel: str, first: int) -> Outbound:
        out = self._outbound.get(channel)
        if out is None:
            raise RemoteProtocolError(
                f"channel {channel!r}: an answer to message {first}, but all are answered"
            )
        return out

    def _answered(self, work: Inbound) -> None:
        if work.unsent and not work.ready:
            work.ready = True
            self.replies.append(work)

    def _moved(self, out: Outbound, now: float) -> None:
        """The base of a channel may have moved, or its queue have become shorter."""
        if out.queue:
            out.moved_at = now
            if out.oversized:
                out.fail_too_large()
            if out.given_up:
                self._arm(out, now + out.shortest)
            if not out.ready and self.lost_at is None:
                out.ready = True
                self.senders.append(out)
        if out.told == out.base:
            return
        grant = self.grant
        much = (out.base - out.told) * 4 >= grant.messages or out.owed_bytes * 4 >= grant.bytes
        if (much and not out.queue) or (self._crowd and out.idle):  # what is queued will tell
            self._settle(out)
            self._owing.discard(out)
            return
        if not self._owing:
            self._settle_at = now + self._heartbeat
            self.deadlines.moved = True
        self._owing.add(out)
        if out.retired:
            self._see_off(out)

    def _tidy(self, out: Outbound) -> None:
        """Messages were given up: what waited behind them may go, an empty channel is forgotten."""
        if out.oversized:
            out.fail_too_large()
        if out.queue:
            if not out.ready and self.lost_at is None:
                out.ready = True
                self.senders.append(out)
        elif out.idle and not out.ready and self._outbound.get(out.name) is out:
            if out.told == out.base:
                self._close(out.name)
            elif out not in self._owing:
                self._settle(out)

    def _settle(self, out: Outbound) -> None:
        """Tell the base of a channel, and forget the channel if that is all there is to it."""
        name, unsure = out.name, self._unsure
        if self._outbound.get(name) is not out:
            return
        if out.told != out.base and self.lost_at is None:
            self.settling.append((name, out.base))
            out.told = out.base
            out.owed_bytes = 0
        elif not out.idle:
            return
        self._settled += 1
        unsure.pop(name, None)
        unsure[name] = (out.base, self._settled)
        if out.idle:
            self._close(name)
            while unsure:
                oldest = next(iter(unsure))
                if unsure[oldest][1] > out.opened_at:
                    break
                del unsure[oldest]

    def _settle_owing(self) -> None:
        self._settle_at = inf
        owing, self._owing = self._owing, set()
        retired, self._retired = self._retired, []
        for out in (*owing, *retired):
            self._settle(out)

    def _see_off(self, out: Outbound) -> None:
        """Settle a retired channel in time, so that there are never very many of them."""
        if not out.idle:
            return
        self._retired.append(out)
        if len(self._retired) >= RETIRED_AT_ONCE:
            for old in self._retired:
                self._settle(old)
                self._owing.discard(old)
            self._retired.clear()

    def _forget_idle(self, work: Inbound) -> None:
        # What is idle has sent its answers; what is not can neither be asked for again.
        if work.idle and not work.ready:
            self._inbound.pop(work.channel, None)
            self._events.append(ChannelQuiet(work.channel))


def _live(channels: Mapping[str, Outbound | Inbound]) -> Counter[str]:
    """Return how many messages of each line are not settled."""
    live: Counter[str] = Counter()
    for name, channel in channels.items():
        live[line_of(name)] += channel.live()
    return live
