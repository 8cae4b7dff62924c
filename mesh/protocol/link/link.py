"""A link: one session between two processes, which survives its connections. Sans-I/O.

Contract with a shell
---------------------
The link reads no clock, opens no socket and draws no random numbers: ``now`` is any
monotonic clock in seconds, ids are given. All calls come from one thread, none blocks. After any
call, in this order: take what ``happened``, from the left (or all at once, with ``events()``), send
``data_to_send(now)`` until it gives nothing, and if ``deadlines.moved`` set the one timer to
``next_deadline()``, which unsets ``moved``. When the timer is due, call ``handle_timer(now)``. A
deadline that gets later moves nothing, so the timer may be early; that does no harm.

- *Dialling*: open a connection, then ``dial(now)``. *Accepting*: read the first frame with
  ``read_hello()``, find or make the ``Link`` of that name, then ``accept()``; if it returns a frame,
  send that and close the new connection. If it returns ``None`` the link now lives on the new
  connection: whatever connection it had before is to be aborted, without a call here.
- *Receiving*: ``receive(frame, now)`` for each frame of the current connection only; ``heard(now)`` when
  bytes come before a frame is complete. On ``RemoteProtocolError`` send ``data_to_send()`` once more, close
  the connection, then ``connection_lost()``.
- *Sending*: ``data_to_send()`` gives a burst of frames of bounded size. Call it only while the transport
  takes them (that is what bounds the write buffer), and go on calling it when the buffer has drained.
- *Losing*: ``connection_lost()`` once per connection, whoever closed it, but not for one that was replaced.
  ``turn_away()`` when nobody will dial again, so that nothing waits in vain.
- *Handling*: for each ``Received``, hand the items in order to the one task of ``work.channel``; collect what
  the handler returns and call ``ack(work, values, now)`` with as many as there are, or ``nack()``. Before
  each message check ``work.may_handle``, and if false wait for ``HandlingResumed``; stop if ``work.closed``.
- *Writing*: ``send()`` takes as many items as there is room for and says how many; the rest goes after
  ``RoomOpened``. Nothing is copied per message and nothing is called back.

A usage sketch, of a shell on asyncio with one connection::

    def pump() -> None:
        while link.happened:
            match link.happened.popleft():
                case Received(work, items): tasks[work.channel].put(work, items)
                case ChannelQuiet(channel): tasks[channel].retire()
                case Acked(owner, values): owner.acked(values)
                case Refused(owner, count, type, message): owner.refused(count, type, message)
                case Failed() as failure: failure.owner.failed(failure)
                case RoomOpened(channel): writers[channel].wake()
                case HandlingResumed(work) | WorkAbandoned(work): tasks[work.channel].wake()
                case ConnectionSilent() | ConnectionRefused(): transport.abort()
                case Closed(): goodbye.set()     # closes when the last frames are written
                case Attached() | Detached() as change: tell(on_peer, change)
                case AnswerUnsendable() | PeerLeaving() | SessionEnded(): pass  # for the log
        while transport.writable and (frames := link.data_to_send(clock())):
            for frame in frames:
                transport.write(frame)
        if link.deadlines.moved:
            timer.set(link.next_deadline())      # when due: link.handle_timer(clock()); pump()

    async def serve(connection) -> None:         # link.dial(clock()) or link.accept(...) came before
        pump()
        try:
            async for frame in connection:
                link.receive(frame, clock())
                pump()
        except RemoteProtocolError as error:
            log.warning("%s: %s", link.peer, error)
            pump()                               # the refusal goes out
        finally:
            await connection.close()
            link.connection_lost(clock(), "connection lost")  # unless another one took its place
            pump()

    async def handle(work, items) -> None:       # one task per channel, until it is quiet
        done = []
        for item in items:
            done.append(await handler(item))
        link.ack(work, done, clock()); pump()
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from mesh.errors import LocalProtocolError, RemoteProtocolError
from mesh.protocol.link.events import (
    Attached,
    Closed,
    ConnectionRefused,
    ConnectionSilent,
    Detached,
    Event,
    PeerLeaving,
    Reason,
    SessionEnded,
)
from mesh.protocol.link.inbound import Inbound
from mesh.protocol.link.liveness import Liveness, agree
from mesh.protocol.link.meeting import (
    Answer,
    No,
    Standing,
    State,
    check_welcome,
    choose_version,
    judge,
    read_welcome,
)
from mesh.protocol.link.outbound import Grant
from mesh.protocol.link.records import (
    FRAME_OVERHEAD,
    HEARTBEAT_FRAME,
    VERSIONS,
    Ack,
    Bye,
    Data,
    Hello,
    HelloTerms,
    Nack,
    Record,
    Refused,
    Settled,
    Skip,
    Terms,
    Welcome,
    WelcomeTerms,
    clip,
    decode_frame,
    encode,
    refusal,
)
from mesh.protocol.link.run import Delivery
from mesh.protocol.link.traffic import Traffic

BURST: Final = 256 * 1024
"""About how many bytes ``data_to_send()`` gives at most in one call."""

FOR_GOOD: Final = frozenset(("name-taken", "version"))
"""Codes of a refusal that the same process will get again: what waits for the peer fails."""

_DEFAULT: Final = Delivery()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """How a link behaves.

    Attributes:
        window_messages: Most unanswered messages per channel. More keeps a far
            receiver busy, at the cost of memory when it is slow.
        window_bytes: The same in encoded bytes.
        max_message: Most encoded bytes of a message or an answer, at least 65536.
        heartbeat: Seconds without sending after which a sign of life is sent.
        timeout: Seconds of silence after which a connection is given up. Less
            notices a dead peer sooner, and accuses a busy one.
        session_ttl: Seconds that a session waits for its next connection.

    """

    window_messages: int = 4096
    window_bytes: int = 4 * 1024 * 1024
    max_message: int = 16 * 1024 * 1024
    heartbeat: float = 0.5
    timeout: float = 2.5
    session_ttl: float = 60.0

    def __post_init__(self) -> None:
        for field, low, high in (
            ("window_messages", 1, 2**20),
            ("window_bytes", 1024, 2**40),
            ("max_message", 65536, 2**31),
            ("heartbeat", 0.001, 86400),
            ("timeout", 0.001, 86400),
        ):
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"{field} must be from {low} to {high}, got {value}")


class Link:
    """One end of a link.

    Args:
        name: Our name in the grid.
        incarnation: Text that no earlier process of that name has used.
        now: The time.
        peer: The peer's name; ``None`` if only its address is known.
        settings: How the link behaves.

    Attributes:
        state: Where it stands.
        session: The session's id, empty if there is none.
        deadlines: Its ``moved`` says whether ``next_deadline()`` may be earlier than when it
            was last asked for; who asks for it after every step is spared much.
        happened: The events that nobody has taken yet; take them from the left.

    """

    __slots__ = (
        "_beat",
        "_connections",
        "_control",
        "_dialled",
        "_expected",
        "_expires_at",
        "_grant",
        "_leaving",
        "_limit",
        "_live",
        "_peer_leaving",
        "_proven",
        "_traffic",
        "deadlines",
        "happened",
        "incarnation",
        "name",
        "peer",
        "peer_incarnation",
        "session",
        "settings",
        "state",
    )

    def __init__(
        self,
        name: str,
        incarnation: str,
        now: float,
        *,
        peer: str | None = None,
        settings: LinkSettings | None = None,
    ) -> None:
        self.settings = settings = settings or LinkSettings()
        self.name = name
        self.incarnation = incarnation
        self.peer = peer
        self._expected = peer  # of a link to an address alone, any name may answer, and another one later
        self.peer_incarnation = ""
        self.session = ""
        self.state = State.DETACHED
        window = Grant(settings.window_messages, settings.window_bytes, settings.max_message)
        self._grant = Grant(settings.window_messages, settings.window_bytes, settings.max_message)
        self._limit = settings.max_message + FRAME_OVERHEAD
        self.happened: deque[Event] = deque()
        self._traffic = Traffic(window, self._grant, settings.heartbeat, self.happened, now)
        self.deadlines = self._traffic.deadlines
        self._live: Liveness | None = None
        self._control: list[bytes] = []
        self._beat = False  # whether an empty frame is to be sent if there is no other
        self._connections = 0
        self._dialled = False
        self._proven = False  # whether the peer is known to know the session
        self._leaving = False
        self._peer_leaving = False
        self._expires_at = inf

    # -- connections

    def dial(self, now: float) -> None:
        """Begin to use a connection that this side has opened.

        Raises:
            LocalProtocolError: If the link has a connection already, or is closing.

        """
        if self.state is not State.DETACHED or self._leaving:
            raise LocalProtocolError(
                f"cannot dial: the link is {'closing' if self._leaving else self.state.value}"
            )
        self.state = State.GREETING
        self.deadlines.moved = True
        self._dialled = True
        self._live = Liveness(self.settings.heartbeat, self.settings.timeout, now)
        hello = HelloTerms(v=list(VERSIONS), session=self.session, **self._terms(self._connections))
        self._control = [encode([Hello(hello)])]

    def accept(self, hello: HelloTerms, now: float, *, session: str) -> bytes | None:
        """Use a connection that the peer has opened, if the peer may.

        Args:
            hello: What ``read_hello()`` gave.
            now: The time.
            session: A fresh random id of 1 to 255 characters, in case a new session begins.

        Returns:
            ``None`` if the link is now on that connection; otherwise the frame to
            send on it before closing it, and the link has not changed.

        """
        live = self._live
        known = Standing(
            self.state,
            self.peer_incarnation,
            self.session,
            self._connections,
            self._dialled,
            self._leaving,
            going=self._peer_leaving or (live is not None and now - live.heard_at > 2 * live.heartbeat),
        )
        if self.peer is not None and hello.name != self.peer:
            raise LocalProtocolError(f"the HELLO of {hello.name} was given to the link with {self.peer}")
        answer = judge(hello, self.name, known)
        if isinstance(answer, No):
            # The dialler may know us by another name: it finds the link there is by our incarnation.
            return refusal(answer.code, self.incarnation if answer.code == "duplicate" else answer.reason)
        if self._traffic.lost_at is None:
            self._traffic.pause(now)
        self.peer = hello.name
        resumed = answer is Answer.RESUME
        connections = max(self._connections, hello.connections) + 1 if resumed else 1
        welcome = WelcomeTerms(
            v=choose_version(hello.v) or VERSIONS[0],
            session=self.session if resumed else session,
            resumed=resumed,
            **self._terms(connections),
        )
        self._control = [encode([Welcome(welcome)])]
        self._dialled = False
        self._proven = False
        self._attach(hello, now, welcome.session, connections, resumed=resumed)
        return None

    def connection_lost(self, now: float, reason: str = "connection lost") -> None:
        """The connection is gone; the session waits for another one."""
        self.deadlines.moved = True
        was = self.state
        if was in (State.DETACHED, State.CLOSED):
            return
        self.state = State.DETACHED
        self._live = None
        self._control.clear()
        self._beat = False
        gone = self._peer_leaving and self.idle
        if self._traffic.lost_at is None:
            self._traffic.pause(now)
            self.happened.append(Detached(reason))
        if gone and self.session and not self._leaving:
            # It said goodbye and nobody owes anything: nothing is left to resume.
            self._end_session("the peer has left")
        # Also after a protocol error, though there is nothing to resume: SessionEnded came while there was
        # a connection, so only what comes now tells the shell that nothing is left.
        elif self.peer_incarnation and self._expires_at == inf:
            self._expires_at = now + self.settings.session_ttl
        self._peer_leaving = False
        if self._leaving:
            self._finish()

    def turn_away(self, why: str = "") -> None:
        """Fail what waits for a connection, for the peer will not be dialled any more.

        Without effect if there is one. Whoever sends again later may be luckier.

        Args:
            why: If the session cannot be resumed either, why not.

        """
        if self.state is State.DETACHED:
            if why and self.session:
                self._end_session(why)
            self._traffic.fail_all(Reason.TURNED_AWAY)

    def heard(self, now: float) -> None:
        """Note that bytes came, though no frame is complete yet."""
        if self._live is not None:
            self._live.heard(now)

    # -- the five verbs

    def receive(self, data: bytes, now: float) -> None:
        """Take one frame of the current connection.

        Raises:
            RemoteProtocolError: If it breaks the protocol. The session is over and
                ``data_to_send()`` holds the frame that says so to the peer.

        """
        if self._live is None:
            return
        self._live.heard(now)
        try:
            if self.state is State.GREETING:
                self._greeted(read_welcome(data), now)
            elif self.state is State.ATTACHED:
                self._proven = True
                for record, size in decode_frame(data, self._limit):
                    self._take(record, size, now)
        except RemoteProtocolError as error:
            self._control = [refusal("protocol", str(error))]
            self._break_off(now, f"protocol error: {error}")
            raise
        if self._leaving:
            self._check_finished()

    def data_to_send(self, now: float, limit: int = BURST) -> list[bytes]:
        """Return the next frames to send, about ``limit`` bytes; empty when there are none."""
        if self._live is None:
            return []
        traffic = self._traffic
        if not (
            traffic.replies
            or traffic.senders
            or traffic.settling
            or self._control
            or self._beat
            or self._leaving
        ):
            return []  # as shells ask after every step, this is the most frequent answer
        frames, self._control = self._control, []
        if self.state is State.ATTACHED and self._proven:
            traffic.fill(frames, now, limit, not self._peer_leaving)
        if frames:
            self._live.sent(now)
        elif self._beat and self.state is State.ATTACHED:
            frames.append(HEARTBEAT_FRAME)
            self._live.sent(now)
        self._beat = False
        if self._leaving and self.state is State.ATTACHED:
            self._check_finished()
        return frames

    def events(self) -> list[Event]:
        """Return what happened since the last call, in order."""
        events = list(self.happened)
        self.happened.clear()
        return events

    def next_deadline(self) -> float:
        """Return when ``handle_timer()`` wants to be called; ``inf`` for never."""
        self.deadlines.moved = False
        deadline = self._traffic.next_deadline()
        if self._live is not None:
            return min(deadline, self._live.next_deadline())
        return min(deadline, self._expires_at)

    def handle_timer(self, now: float) -> None:
        """Do what is due; calling it too early or too often does no harm."""
        if self.state is State.CLOSED:
            return
        self.deadlines.moved = True
        if self._live is not None:
            self._beat = self._live.beat_due(now) or self._beat
            silence = self._live.silence(now)
            if silence is not None:
                self.happened.append(ConnectionSilent(silence))
        # Not while a dial asks for the session: the answer may be that it goes on.
        if self._expires_at <= now and self._live is None:
            self._end_session("it was not resumed in time" if self.session else "the peer did not come back")
        self._traffic.handle_timer(now)
        if self._leaving:
            self._check_finished()

    # -- messages

    def room(self, channel: str) -> int:
        """Return how many messages ``send()`` takes on a channel; after 0, ``RoomOpened`` will come."""
        return 0 if self._leaving else self._traffic.room(channel)

    def send(
        self,
        channel: str,
        items: Sequence[object],
        now: float,
        *,
        owner: object = None,
        delivery: Delivery = _DEFAULT,
    ) -> int:
        """Send as many items as there is room for, from the front.

        The items are encoded here and now; what happens to them later does not matter.

        Args:
            channel: Name of the channel at the peer.
            items: Messages: anything that msgspec can write as MessagePack.
            now: The time.
            owner: Comes back in the events of these messages.
            delivery: How they are to be delivered.

        Returns:
            How many were taken. If fewer than given, ``RoomOpened`` will come; or
            the first of the rest cannot be sent, and the next call says why.

        Raises:
            PayloadError: If the first item cannot be encoded.
            FrameTooLargeError: If the first item is larger than the peer takes.
            LocalProtocolError: If the link is closing, or the channel has no valid name.

        """
        if self._leaving:
            raise LocalProtocolError("cannot send: the link is closing")
        return self._traffic.send(channel, items, now, owner, delivery)

    def send_encoded(
        self,
        channel: str,
        count: int,
        body: bytes,
        now: float,
        *,
        owner: object = None,
        delivery: Delivery = _DEFAULT,
    ) -> bool:
        """Send items that are encoded already, all of them or none.

        The same bytes may go over many links. They should not be many more than 32 KiB,
        unless it is one item.

        Args:
            channel: Name of the channel at the peer.
            count: How many items they are.
            body: The encoded items, one behind the other, without array head.
            now: The time.
            owner: Comes back in the events of these messages.
            delivery: How they are to be delivered.

        Returns:
            Whether there was room; if not, ``RoomOpened`` will come.

        Raises:
            FrameTooLargeError: If it is one item that is larger than the peer takes.
            LocalProtocolError: If the link is closing, or the channel has no valid name.

        """
        if self._leaving:
            raise LocalProtocolError("cannot send: the link is closing")
        return self._traffic.send_encoded(channel, count, body, now, owner, delivery)

    def cancel(self, channel: str, owner: object, now: float) -> None:
        """Give up the messages of an owner on a channel.

        What was not transmitted is withdrawn; of the rest the outcome is unknown. Both come
        as ``Failed`` with reason ``CANCELLED``.
        """
        self._traffic.cancel(channel, owner, now)
        if self._leaving:
            self._check_finished()

    def retire(self, channel: str) -> None:
        """Forget a channel soon after all its messages are answered: nothing more will be sent there."""
        self._traffic.retire(channel)

    @property
    def open_senders(self) -> int:
        """How many channels have messages of ours that are not answered, or not known to be forgotten."""
        return self._traffic.open_senders

    def ack(self, work: Inbound, values: list[object], now: float) -> None:
        """Answer the first messages in hand, as many as there are values.

        A value that cannot be sent becomes a refusal, with ``AnswerUnsendable``. If the
        session is over nothing happens.

        Raises:
            LocalProtocolError: If fewer messages are in hand.

        """
        self._traffic.ack(work, values)

    def nack(self, work: Inbound, type: str, message: str, now: float, *, count: int = 1) -> None:
        """Refuse the first message in hand, or the first ``count``.

        Raises:
            LocalProtocolError: If fewer messages are in hand, or the type begins with
                ``!``, which is kept for the protocol's own.

        """
        if type.startswith("!"):
            raise LocalProtocolError(f"the type of a refusal cannot be {type!r}")
        self._traffic.nack(work, count, type, message)

    def close(self, now: float, reason: str = "") -> None:
        """Leave: take nothing new, finish what is in hand and in flight, then ``Closed``.

        A link without a connection closes at once. Who cannot wait closes the connection and
        calls ``connection_lost()``: what is not answered then fails as ``CLOSED``.
        """
        if self._leaving:
            return
        self._leaving = self._traffic.leaving = True
        if self.state is State.ATTACHED:
            self._control.append(encode([Bye(clip(reason))]))
        else:
            self._finish()

    # -- what is going on

    @property
    def idle(self) -> bool:
        """Whether nothing waits, in either direction, so that nobody would miss the link."""
        return self._traffic.settled and self._traffic.handled

    def books(self) -> dict[str, dict[str, dict[str, object]]]:
        """Return the ledger: ``sent`` and ``received``, by channel, as plain dicts."""
        return self._traffic.books()

    def balanced(self) -> bool:
        """Say whether every line of the ledger balances."""
        return all(line["balanced"] for lines in self.books().values() for line in lines.values())

    # -- within

    def _terms(self, connections: int) -> dict[str, Any]:
        settings = self.settings
        return {
            "name": self.name,
            "incarnation": self.incarnation,
            "connections": connections,
            "window_messages": settings.window_messages,
            "window_bytes": settings.window_bytes,
            "max_message": settings.max_message,
            "heartbeat": settings.heartbeat,
            "timeout": settings.timeout,
        }

    def _greeted(self, answer: WelcomeTerms | Refused | None, now: float) -> None:
        if isinstance(answer, Refused):
            self._refused(answer.code, answer.reason, now)
            if answer.code in FOR_GOOD:
                self._traffic.fail_all(Reason.TURNED_AWAY)
        elif answer is not None:
            check_welcome(answer, self._expected, self.session, self.peer_incarnation)
            self.peer = answer.name
            self._proven = True
            # It proves to the acceptor that we know the session, even if there is nothing to say.
            self._beat = True
            self._attach(answer, now, answer.session, answer.connections, resumed=answer.resumed)

    def _attach(self, terms: Terms, now: float, session: str, connections: int, *, resumed: bool) -> None:
        restarted = bool(self.peer_incarnation) and self.peer_incarnation != terms.incarnation
        if not resumed and self.session:
            self._end_session(
                "the peer restarted" if restarted else "the peer began a new one", again=restarted
            )
        settings, grant = self.settings, self._grant
        grant.messages = min(settings.window_messages, terms.window_messages)
        grant.bytes = min(settings.window_bytes, terms.window_bytes)
        grant.largest = min(settings.max_message, terms.max_message)
        heartbeat, timeout = agree((settings.heartbeat, settings.timeout), (terms.heartbeat, terms.timeout))
        self._live = Liveness(heartbeat, timeout, now)
        self.deadlines.moved = True
        self._expires_at = inf
        self.session = session
        self.peer_incarnation = terms.incarnation
        self._connections = connections
        self._peer_leaving = False
        self.state = State.ATTACHED
        self.happened.append(Attached(terms.name, terms.incarnation, session, resumed, restarted))
        self._traffic.resume(now)

    def _take(self, record: Record, size: int, now: float) -> None:
        traffic = self._traffic
        kind = type(record)
        if kind is Data:
            traffic.data(record, size)  # type: ignore[arg-type]
        elif kind is Ack:
            traffic.ack_came(record, size, now)  # type: ignore[arg-type]
        elif kind is Nack:
            traffic.nack_came(record, size, now)  # type: ignore[arg-type]
        elif isinstance(record, Settled):
            traffic.settled_came(record)
        elif isinstance(record, Skip):
            traffic.skip(record)
        elif isinstance(record, Bye):
            self._peer_leaving = True
            self.happened.append(PeerLeaving(record.reason))
        elif isinstance(record, Refused):
            self._refused(record.code, record.reason, now)
        else:
            raise RemoteProtocolError(f"{kind.__name__.upper()} in the midst of a connection")

    def _refused(self, code: str, reason: str, now: float) -> None:
        self.happened.append(ConnectionRefused(code, reason))
        if code == "protocol":
            self._break_off(now, f"the peer found a protocol error: {reason}")
        self.state = State.REFUSING

    def _break_off(self, now: float, why: str) -> None:
        """Stop using the connection, and the session with it."""
        if self._traffic.lost_at is None:
            self._traffic.pause(now)
            self.happened.append(Detached(why))
        if self.session:
            self._end_session(why)
        self.state = State.REFUSING

    def _end_session(self, why: str, *, again: bool = False) -> None:
        self.session = ""
        self._connections = 0
        self._expires_at = inf
        self.happened.append(SessionEnded(why))
        self._traffic.restart(Reason.PEER_RESTARTED if again else Reason.SESSION_OVER, again=again)

    def _check_finished(self) -> None:
        if self.state is not State.ATTACHED or self._control or not self._traffic.handled:
            return
        # To a peer that leaves as well nothing more is sent, so nothing more is waited for but answers.
        if self._traffic.settled or (self._peer_leaving and not self._traffic.awaiting):
            self._finish()

    def _finish(self) -> None:
        if self.state is State.CLOSED:
            return
        if self._traffic.lost_at is None:
            self._traffic.pause(0.0)
        self._traffic.fail_all(Reason.CLOSED)
        self._traffic.restart(Reason.CLOSED, again=False)
        self.session = ""
        self.state = State.CLOSED
        self._expires_at = inf
        self._live = None
        self.happened.append(Closed())
