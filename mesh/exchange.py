"""A plain client on any transport: a line of netcat, a chunk of a microcontroller, a message in a frame.

Rules:

- What comes in one read is handled in one go and answered with one write. But an answer never
  waits for the next message: when a handler suspends, what is done so far is sent.
- *Bounds.* While ``MOST_WAITING`` bytes wait to be handled, nothing more is read; while the client does
  not read its answers, nothing more is handled. So who sends too fast waits in its own socket.
- *The end.* What came whole before the client closed is handled, and answered if it can still read.
  What was read and is left when the conversation is ended here counts as abandoned. What layers
  hold and have not unfolded counts as not read, as in the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from time import monotonic
from typing import Any, Final

from mesh.conversation import STOPPING, Client, Ending, Responder, sendable
from mesh.errors import MeshError
from mesh.protocol.books import PlainTaken, TakenBooks
from mesh.protocol.lines import LF, MAX_LINE, LineSplitter
from mesh.protocol.values import Refusal, Wire, message_to_wire, refusal_to_wire, text_or_bytes
from mesh.suspending import CHECK_EVERY, SLICE, watched
from mesh.text import printable
from mesh.transport.base import Transport

MOST_WAITING: Final = 64 * 1024
"""Bytes that wait to be handled, beyond which nothing more is read."""

EACH: Final = 64
"""Bytes that each piece counts for besides its own, for an empty one takes memory as well."""

MOST_HELD: Final = 64 * 1024
"""Bytes of answers that are written in one go."""

_SHOWN = 40


class Framing(ABC):
    """How the messages of a client look on its transport."""

    @property
    def error(self) -> MeshError | None:
        """Why nothing more can be read; ``None`` while it can."""
        return None

    @property
    def rest(self) -> bytes:
        """The beginning of a message that is not whole."""
        return b""

    @abstractmethod
    def cut(self, data: bytes) -> list[tuple[bytes, list[bytes]]]:
        """Return the messages that this data completes, each lot after what its answers end with."""

    @abstractmethod
    def write(self, transport: Transport, ending: bytes, answers: list[bytes]) -> None:
        """Send answers."""

    @abstractmethod
    def written(self, answer: Wire | None) -> bytes:
        """Return one answer as it is sent; ``None`` stands for a handler that returned nothing."""


class Lines(Framing):
    r"""Each line is a message, and so is each answer; it ends as the line did that it is for.

    An end of line within an answer is written ``\n``, for it would be read as two answers.

    Args:
        max_line: Bytes that a line may have.

    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._splitter = LineSplitter(None, max_line)

    def cut(self, data: bytes) -> list[tuple[bytes, list[bytes]]]:
        """Return the lines that this data completes, each lot after its delimiter."""
        return self._splitter.runs(data)

    @property
    def error(self) -> MeshError | None:
        """The line that was too long, if one was."""
        return self._splitter.error

    @property
    def rest(self) -> bytes:
        """The line that has not ended."""
        return self._splitter.rest

    def write(self, transport: Transport, ending: bytes, answers: list[bytes]) -> None:
        """Send answers, in one piece."""
        transport.write(ending.join([*answers, b""]))

    def written(self, answer: Wire | None) -> bytes:
        """Return an answer as one line; nothing is an empty one."""
        if answer is None:
            return b""
        line = answer.encode() if isinstance(answer, str) else answer
        if b"\n" in line or b"\r" in line:
            line = line.replace(b"\r", b"\\r").replace(b"\n", b"\\n")
        return line


class Whole(Framing):
    """What the transport carries are messages already; it is that of layers, or of a websocket."""

    def cut(self, data: bytes) -> list[tuple[bytes, list[bytes]]]:
        """Return the message."""
        return [(b"", [data])]

    def write(self, transport: Transport, ending: bytes, answers: list[bytes]) -> None:
        """Send answers, one message each."""
        for answer in answers:
            transport.write(answer)

    def written(self, answer: Wire | None) -> bytes:
        """Return an answer as bytes; nothing is an empty message."""
        return b"" if answer is None else answer.encode() if isinstance(answer, str) else answer


class Exchange:
    """One plain client, from its first message to its end.

    Args:
        transport: The connection; it is the exchange's own from now on.
        framing: How messages look there.
        client: Who it is.
        responder: Who answers.
        books: Where its messages are counted.
        idle: Seconds after which it is closed if it sends nothing, once it has its answers; ``None`` for
            never. It is told nothing, for that would be taken for an answer.

    """

    def __init__(
        self,
        transport: Transport,
        framing: Framing,
        *,
        client: Client,
        responder: Responder,
        books: TakenBooks,
        idle: float | None = None,
    ) -> None:
        self._transport = transport
        self._framing = framing
        self._client = client
        self._responder = responder
        self._books = books
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._queue: deque[bytes] = deque()
        # What was cut from the last piece of it, and is not in hand yet.
        self._lots: deque[tuple[bytes, list[bytes]]] = deque()
        self._waiting = 0
        self._is_paused = False
        self._news: asyncio.Future[None] | None = None
        self._gone = ""
        self._input_gone = ""
        self._is_draining = False
        # Answers that are not written yet, and what they are answers to.
        self._ending = LF
        self._held: list[bytes] = []
        self._held_size = 0
        self._refused = 0
        # Messages that are counted as in hand.
        self._open = 0

    # -- the user of the transport ----------------------------------------------------------

    def messages_came(self, messages: list[bytes]) -> None:
        """Take what was read."""
        self._queue += messages
        self._waiting += sum(map(len, messages)) + EACH * len(messages)
        if self._waiting > MOST_WAITING and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def writing_resumed(self) -> None:
        """Go on: the client has read its answers."""
        self._wake()

    def input_ended(self, reason: str) -> None:
        """Take note that the client has said its last word, but still listens."""
        self._input_gone = reason
        self._wake()

    def connection_ended(self, reason: str) -> None:
        """Take note that the client is gone."""
        self._gone = reason
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _wait(self) -> None:
        self._news = self._loop.create_future()
        try:
            await self._news
        finally:
            self._news = None

    # -- life ---------------------------------------------------------------------------------

    def drain(self) -> None:
        """Answer what has come, and then say goodbye; ``run()`` returns when that is done."""
        self._is_draining = True
        self._transport.pause_reading()
        self._wake()

    async def run(self) -> str:
        """Answer what comes until the conversation is over, and say why. Cancelled, it ends at once."""
        self._responder.client_opened(self._client)
        reason = STOPPING
        try:
            try:
                reason = await self._serve()
            finally:
                # Before the client can see that it is over: then the books are right.
                self._abandon_rest()
            await self._transport.close(reason)
            return reason
        except Exception as exc:
            reason = f"this worker failed ({printable(f'{type(exc).__name__}: {exc}')})"
            raise
        finally:
            self._transport.abort()
            self._responder.client_closed(self._client, reason + self._unfinished())

    async def _serve(self) -> str:
        self._transport.start(self)
        while True:
            why = await self._something()
            if why is not None:
                return why
            data = self._take()
            self._lots += self._framing.cut(data)
            while self._lots:
                self._ending, messages = self._lots.popleft()
                over = await self._answer_all(messages)
                if over is not None:
                    return f"this worker closed the connection{f' ({printable(over)})' if over else ''}"
            if self._framing.error is not None:
                return self._give_up(self._framing.error)

    async def _something(self) -> str | None:
        """Wait until something has come; return why nothing will, if that is so."""
        idle = self._idle
        deadline = self._loop.time() + (idle or 0)
        while not self._queue:
            if self._gone or self._input_gone or self._is_draining:
                return self._gone or self._input_gone or STOPPING
            if idle is None:
                await self._wait()
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._wait()
            if self._loop.time() >= deadline and not self._queue:
                # Of a message that is not whole yet only the transport knows.
                heard = self._transport.silence()
                if heard is None or heard >= idle:
                    return f"this worker closed the connection (nothing came for {idle:g} seconds)"
                deadline = self._loop.time() + idle - heard
        return None

    def _take(self) -> bytes:
        data = self._queue.popleft()
        self._waiting -= len(data) + EACH
        if self._is_paused and self._waiting <= MOST_WAITING:
            self._is_paused = False
            if not self._is_draining:
                self._transport.resume_reading()
        return data

    def _give_up(self, error: MeshError) -> str:
        line = self._count(1)
        self._hold(Refusal(type(error).__name__, str(error)))
        self._flush(line)
        return f"this worker closed the connection ({error})"

    def _abandon_rest(self) -> None:
        """Count what was read and will not be handled."""
        could_read = self._framing.error is None
        for data in self._queue:
            self._lots += self._framing.cut(data)
        left = sum(len(messages) for _, messages in self._lots)
        left += could_read and self._framing.error is not None  # the line that was too long
        self._queue.clear()
        self._lots.clear()
        if left:
            self._abandon(self._count(left))

    def _unfinished(self) -> str:
        rest = self._framing.rest
        if not rest:
            return ""
        text = printable(rest[:_SHOWN].decode(errors="backslashreplace"))
        return f"; {len(rest)} bytes without an end were not handled: {text}{'...' * (len(rest) > _SHOWN)}"

    def tell(self, value: object) -> bool:
        """Send something that is no answer; return whether there was room for it.

        Raises:
            PayloadError: If it cannot be sent.

        """
        if self._gone or self._is_draining or not self._transport.writable:
            return False
        self._framing.write(self._transport, self._ending, [self._framing.written(message_to_wire(value))])
        return True

    # -- messages -------------------------------------------------------------------------------

    async def _answer_all(self, messages: list[bytes]) -> str | None:
        """Answer messages; return why that is the end of the conversation, if it is."""
        line = self._count(len(messages))
        try:
            each = self._answer_each(messages, line)
            # Before the answer of a single message there is none that could wait for it.
            over = await (each if len(messages) == 1 else watched(each, lambda: self._flush(line)))
            self._flush(line)
        finally:
            # Handled or not: whoever sent it cannot be told any more.
            self._abandon(line)
        return over

    def _count(self, messages: int) -> PlainTaken:
        line = self._books.take(self._client.channel)
        line.received += messages - 1
        line.in_hand += messages - 1
        self._open = messages
        return line

    def _abandon(self, line: PlainTaken) -> None:
        line.in_hand -= self._open
        line.abandoned += self._open
        self._open = 0

    async def _answer_each(self, messages: list[bytes], line: PlainTaken) -> str | None:
        answer_of, client, begin = self._responder.answer, self._client, monotonic()
        for number, message in enumerate(messages, 1):
            answer: Any = await answer_of(client, text_or_bytes(message))
            if answer.__class__ is Ending:
                if answer.answer is not None:
                    self._hold(answer.answer)
                    self._flush(line)
                else:
                    self._flush(line)
                    self._settle(line, handled=1)
                return str(answer.reason)
            self._hold(answer)
            if self._held_size > MOST_HELD:
                self._flush(line)
            while not (self._transport.writable or self._gone):
                await self._wait()
            if number % CHECK_EVERY == 0 and monotonic() - begin > SLICE:
                await asyncio.sleep(0)
                begin = monotonic()
        return None

    def _hold(self, answer: object | Refusal) -> None:
        try:
            data = self._framing.written(answer if answer.__class__ is str else self._as_wire(answer))
        except UnicodeEncodeError:  # what is sendable never has that trouble
            data = self._framing.written(self._as_wire(answer))
        self._held.append(data)
        self._held_size += len(data)

    def _as_wire(self, answer: object | Refusal) -> Wire | None:
        if answer is None:
            return None
        wire = sendable(answer)
        if isinstance(wire, Refusal):
            self._refused += 1
            return refusal_to_wire(wire)
        return wire

    def _flush(self, line: PlainTaken) -> None:
        """Write the answers that are held, and count what they are for."""
        if not self._held:
            return
        refused, handled = self._refused, len(self._held) - self._refused
        self._framing.write(self._transport, self._ending, self._held)
        self._held.clear()
        self._held_size = self._refused = 0
        self._settle(line, handled=handled, refused=refused)

    def _settle(self, line: PlainTaken, *, handled: int, refused: int = 0) -> None:
        settled = handled + refused
        self._open -= settled
        line.in_hand -= settled
        # The end may not be told yet, when there is something left that came before it.
        if self._gone or self._transport.is_closing():
            line.abandoned += settled
        else:
            line.handled += handled
            line.refused += refused
