"""Two real link cores, a fake wire between them, and a clock that is moved by hand.

Each ``Shell`` does what a real one does, but step by step: a test decides when frames move,
which connection breaks and who notices, and when messages are handled. All along the
shells check what must hold at every moment, so each test checks it too.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from mesh.errors import FrameTooLargeError
from mesh.protocol.link import (
    Acked,
    Attached,
    Closed,
    ConnectionRefused,
    ConnectionSilent,
    Delivery,
    Event,
    Failed,
    Inbound,
    Link,
    LinkSettings,
    Received,
    Refused,
    RoomOpened,
    SessionEnded,
    State,
    WorkAbandoned,
    read_hello,
)
from mesh.protocol.link.records import MAX_CHANNELS


class Owner:
    """Somebody who sent messages and notes how each of them ended."""

    def __init__(self, shell: Shell, channel: str) -> None:
        self.shell = shell
        self.channel = channel
        self.items: list[Any] = []
        self.outcomes: list[tuple[str, Any]] = []

    @property
    def settled(self) -> bool:
        """Whether each message has its outcome."""
        return len(self.outcomes) == len(self.items)

    def note(self, event: Acked | Refused | Failed) -> None:
        """Note the outcome of the next messages."""
        outcomes: list[tuple[str, Any]] = []
        match event:
            case Acked(_, values):
                outcomes = [("acked", value) for value in values]
            case Refused(_, n, type, message):
                outcomes = [("refused", (type, message))] * n
            case Failed(_, n, reason, transmitted):
                outcomes = [("failed", (reason, transmitted))] * n
        assert outcomes, f"an event about no message: {event}"
        self.outcomes += outcomes
        assert len(self.outcomes) <= len(self.items), "a message settled twice"


class Connection:
    """One connection: a pipe to each end, and who has closed it."""

    def __init__(self, dialler: str) -> None:
        self.dialler = dialler
        self.greeted = False
        self.pipes: dict[str, deque[bytes]] = {"a": deque(), "b": deque()}
        self.closed: set[str] = set()


class Shell:
    """One process: a link, and what a process does with it."""

    def __init__(self, name: str, pair: LinkPair, settings: LinkSettings | None) -> None:
        self.name = name
        self.pair = pair
        self.settings = settings
        self.boots = 0
        self.connection: Connection | None = None
        self.owners: list[Owner] = []
        self.log: list[Event] = []
        self.inbox: dict[Inbound, deque[Any]] = {}
        self.roomless: set[str] = set()  # channels that were promised RoomOpened
        # What the handlers did: every item in order, for each incarnation, session and channel.
        self.delivered: dict[tuple[str, str, str], list[Any]] = {}
        self.handled: Counter[Any] = Counter()
        self.refused: Counter[Any] = Counter()
        self.boot()

    @property
    def other(self) -> Shell:
        """The shell at the other end."""
        return self.pair.shells["b" if self.name == "a" else "a"]

    def boot(self) -> None:
        """Begin anew, as a new incarnation that remembers nothing."""
        if self.connection is not None:
            self.connection.closed.add(self.name)
            self.connection = None
        self.boots += 1
        self.link = Link(self.name, f"boot-{self.boots}", self.pair.now, settings=self.settings)
        self.inbox.clear()
        self.roomless.clear()
        self.owners.clear()

    @property
    def leaving(self) -> bool:
        """Whether the link takes no more messages."""
        return self.link._leaving

    # -- sending

    def send(
        self, channel: str, items: Sequence[Any], delivery: Delivery | None = None, owner: Owner | None = None
    ) -> Owner:
        """Send what there is room for; the owner knows what was taken."""
        if owner is None:
            owner = Owner(self, channel)
            self.owners.append(owner)
        room = self.link.room(channel)
        try:
            taken = self.link.send(
                channel, items, self.pair.now, owner=owner, delivery=delivery or Delivery()
            )
        except FrameTooLargeError:
            taken = 0
        else:
            (self.roomless.discard if taken == len(items) else self.roomless.add)(channel)
        assert taken <= room, "more was taken than there was room for"
        owner.items += items[:taken]
        self.drain()
        return owner

    def cancel(self, owner: Owner) -> None:
        """Cancel what an owner sent."""
        self.link.cancel(owner.channel, owner, self.pair.now)
        self.drain()

    def leave(self) -> None:
        """Leave on purpose; once it is done the process starts anew."""
        self.link.close(self.pair.now, "leaving")
        self.drain()

    # -- handling

    def handle(
        self, channel: str | None = None, n: int = 2**31, outcome: Callable[[Any], Any] | None = None
    ) -> int:
        """Handle up to ``n`` messages; ``outcome`` returns a value, or raises to refuse."""
        done = 0
        for work, items in list(self.inbox.items()):
            if channel is not None and work.channel != channel:
                continue
            values: list[Any] = []
            while items and n and work.may_handle and not work.closed:
                item = items.popleft()
                n -= 1
                done += 1
                try:
                    values.append(answer_of(item) if outcome is None else outcome(item))
                    self.handled[item] += 1
                except ValueError as refusal:
                    self.refused[item] += 1
                    if values:
                        self.link.ack(work, values, self.pair.now)
                        values = []
                    self.link.nack(work, "ValueError", str(refusal), self.pair.now)
            if values:
                self.link.ack(work, values, self.pair.now)
        self.drain()
        return done

    # -- the wire

    def dial(self) -> Connection:
        """Open a connection."""
        connection = Connection(self.name)
        self.pair.connections.append(connection)
        self.link.dial(self.pair.now)
        self.connection = connection
        return connection

    def transfer(self, limit: int = 256 * 1024) -> int:
        """Put one burst of frames on the wire."""
        frames = self.link.data_to_send(self.pair.now, limit)
        if self.connection is None:
            assert not frames
        elif self.other.name not in self.connection.closed:
            self.connection.pipes[self.other.name] += frames
        self.drain()
        return len(frames)

    def drop(self, reason: str = "dropped") -> None:
        """Close the connection, or notice that it is closed."""
        if self.connection is not None:
            self.connection.closed.add(self.name)
            self.connection = None
            self.link.connection_lost(self.pair.now, reason)
            self.drain()

    def receive(self, connection: Connection, frame: bytes) -> None:
        """Take a frame of a connection, whichever it is."""
        link, now = self.link, self.pair.now
        if self.connection is connection:
            link.receive(frame, now)
        elif connection.dialler != self.name and not connection.greeted:
            connection.greeted = True
            no = link.accept(read_hello(frame), now, session=f"session-{next(self.pair.ids)}")
            if no is not None:
                connection.pipes[self.other.name].append(no)
                connection.closed.add(self.name)
            else:
                if self.connection is not None:
                    self.connection.closed.add(self.name)
                self.connection = connection
        self.drain()

    def drain(self) -> None:
        """Act on all events."""
        hang_up = False
        for event in self.link.events():
            self.log.append(event)
            match event:
                case Acked(owner) | Refused(owner) | Failed(owner):
                    if owner is not None:
                        owner.note(event)
                case Received(work, items):
                    assert items
                    key = (self.link.incarnation, self.link.session, work.channel)
                    self.delivered.setdefault(key, []).extend(items)
                    self.inbox.setdefault(work, deque()).extend(items)
                case WorkAbandoned(work, n):
                    assert len(self.inbox.pop(work)) == n
                case ConnectionSilent() | ConnectionRefused():
                    hang_up = True  # in the end: what happened besides was before
                case RoomOpened(channel):
                    self.roomless.discard(channel)
                case SessionEnded():
                    self.pair.sessions_ended += 1
                case Closed():
                    assert all(owner.settled for owner in self.owners)
                    assert self.link.balanced()
                    self.boot()
                    break
                case Attached(_, _, session, resumed):
                    assert session == self.link.session
                    self.pair.resumes += resumed
        for work in [work for work, items in self.inbox.items() if not items]:
            del self.inbox[work]
        if hang_up:
            self.drop("silent or refused")

    # -- what must hold at every moment

    def check(self) -> None:
        """Check every invariant of this end."""
        link = self.link
        assert link.balanced(), link.books()
        traffic = link._traffic
        for out in traffic._outbound.values():
            limit = traffic.grant
            if link.state is State.ATTACHED:
                assert out.next - out.base <= limit.messages
                numbered = [run for run in (*out.flight, *out.queue) if run.first]
                assert sum(run.size for run in numbered) == out.flight_bytes
                dead = [run for run in numbered if run.body is None]
                assert sum(run.count for run in dead) == out.given_up
                assert sum(run.size for run in dead) == out.given_up_bytes
                assert out.flight_bytes <= limit.bytes or len(numbered) == 1
            fresh = [run for run in (*out.returned, *out.queue) if not run.first]
            assert sum(run.count for run in fresh) == out.queued
            assert sum(run.size for run in fresh) == out.queued_bytes
            expected = out.base
            for run in (*out.flight, *out.queue):
                if run.first:
                    assert run.first == expected
                    expected += run.count
            assert expected == out.next
        for work in traffic._inbound.values():
            assert work.live() == work.in_hand == len(self.inbox.get(work, ()))
            assert work._waiting >= 0
            assert work.expected - work.base <= traffic.window.messages
            assert work.remembered == sum(len(answer.body) for answer in work.answers)
        waiting = sum(len(owner.items) - len(owner.outcomes) for owner in self.owners)
        lines: list[Any] = list(link.books()["sent"].values())
        assert waiting == sum(line["in_flight"] for line in lines)
        doubtful = sum(
            what == "failed" and facts[1] for owner in self.owners for what, facts in owner.outcomes
        )
        later = ("unknown", "late_acked", "late_refused", "late_skipped")
        assert doubtful == sum(line[key] for line in lines for key in later)
        assert len(traffic._unsure) <= 2 * MAX_CHANNELS
        for owner in self.owners:
            self._check_outcomes(owner)
        for items in self.delivered.values():
            assert len(items) == len(set(items)), "delivered twice in one incarnation and session"
            if all(isinstance(item, str) and ":" in item for item in items):
                numbers = [int(item.split(":")[0]) for item in items]
                assert numbers == sorted(numbers), "delivered out of order"

    def _check_outcomes(self, owner: Owner) -> None:
        other = self.other
        for item, (what, facts) in zip(owner.items, owner.outcomes, strict=False):
            if what == "acked":
                assert facts == answer_of(item)
                assert other.handled[item], "acked but never handled"
            elif what == "refused":
                assert other.refused[item], "refused but never by the handler"
            elif not facts[1]:
                assert not other.handled[item], "handled though never transmitted"


class LinkPair:
    """Two shells, ``a`` and ``b``, and every connection between them."""

    def __init__(self, a: LinkSettings | None = None, b: LinkSettings | None = None) -> None:
        self.now = 1000.0
        self.ids = count(1)
        self.connections: list[Connection] = []
        self.sessions_ended = 0
        self.resumes = 0
        self.shells: dict[str, Shell] = {}
        for name, settings in (("a", a), ("b", b)):
            self.shells[name] = Shell(name, self, settings)
        self.a = self.shells["a"]
        self.b = self.shells["b"]

    def deliver(self, connection: Connection, name: str) -> bool:
        """Deliver the next frame of a connection to one end; or the news that it is closed."""
        shell = self.shells[name]
        pipe = connection.pipes[name]
        if name in connection.closed:
            pipe.clear()
            return False
        if pipe:
            shell.receive(connection, pipe.popleft())
            return True
        if connection.closed:
            connection.closed.add(name)
            if shell.connection is connection:
                shell.connection = None
                shell.link.connection_lost(self.now, "closed by the peer")
                shell.drain()
            return True
        return False

    def cut(self) -> None:
        """Break every connection; both ends notice at once and what was on the way is lost."""
        for connection in self.connections:
            for pipe in connection.pipes.values():
                pipe.clear()
        for shell in self.shells.values():
            shell.drop("cut")
        self.connections.clear()

    def exchange(self, *, handle: bool = False) -> None:
        """Move frames until there are none, without letting time pass."""
        moved = True
        while moved:
            moved = False
            for shell in self.shells.values():
                while shell.transfer():
                    moved = True
                if handle and shell.handle():
                    moved = True
            for connection in list(self.connections):
                for name in ("a", "b"):
                    while self.deliver(connection, name):
                        moved = True
            self.connections = [c for c in self.connections if len(c.closed) < 2]
        self.check()

    def advance(self, seconds: float) -> None:
        """Let time pass; timers fire when they are due."""
        end = self.now + seconds
        for _ in range(10_000):
            due = min(shell.link.next_deadline() for shell in self.shells.values())
            if due > end:
                break
            self.now = max(self.now, due)
            for shell in self.shells.values():
                if shell.link.next_deadline() <= self.now:
                    shell.link.handle_timer(self.now)
                    shell.drain()
        else:
            raise AssertionError("timers do not come to rest")
        self.now = end

    def attach(self, dialler: str = "a") -> None:
        """Connect the two."""
        self.shells[dialler].dial()
        self.exchange()
        assert self.a.link.state is self.b.link.state is State.ATTACHED

    def calm(self) -> None:
        """End all faults: connect, handle everything, and expect that everything settles."""
        for _ in range(200):
            attached = self.a.link.state is State.ATTACHED and self.b.link.state is State.ATTACHED
            same = self.a.connection is self.b.connection
            if not attached or not same:
                self.cut()
                (self.a if self.a.link.state is State.DETACHED else self.b).dial()
            self.exchange(handle=True)
            for _ in range(3):
                self.advance(0.25)
                self.exchange(handle=True)
            if all(shell.link.idle for shell in self.shells.values()):
                break
        else:
            raise AssertionError("not everything settled")
        self.advance(1.0)
        self.exchange()
        for shell in self.shells.values():
            assert not shell.link._traffic._outbound, "an idle channel stays open"
            assert not shell.link._traffic._inbound, "a settled channel stays open"
            assert not shell.roomless, "no RoomOpened came"
        for shell in self.shells.values():
            assert all(owner.settled for owner in shell.owners)
            assert not shell.inbox
        if not self.sessions_ended and self.a.boots == self.b.boots == 1:
            self._compare_books()

    def _compare_books(self) -> None:
        """With one session only, what one end knows the other one knows too."""
        for sender, receiver in ((self.a, self.b), (self.b, self.a)):
            taken: Any = receiver.link.books()["received"]
            sent: Any
            for channel, sent in sender.link.books()["sent"].items():
                line = taken.get(channel, {"handled": 0, "refused": 0})
                assert sent["acked"] + sent["late_acked"] == line["handled"], channel
                assert sent["refused"] + sent["late_refused"] == line["refused"], channel

    def check(self) -> None:
        """Check every invariant of both ends."""
        for shell in self.shells.values():
            shell.check()


def answer_of(item: Any) -> Any:
    """Return what the handlers of these tests return for a message."""
    if not isinstance(item, str):
        return None
    number = item.split(":")[0]
    # Now and then an answer that fills a good part of a small window.
    return ["ok", number, "y" * 700 if number.endswith("7") else ""]
