"""A plain client on any transport: what comes in one read is answered with one write, within bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mesh.conversation import Client, Ending
from mesh.exchange import MOST_WAITING, Exchange, Framing, Lines, Whole
from mesh.protocol.books import TakenBooks
from mesh.protocol.values import Refusal, Wire
from mesh.transport.base import Transport
from mesh.transport.memory import MemoryNetwork
from tests.helpers.proc import DEADLINE
from tests.helpers.responder import GatedResponder, RecordingResponder


class Talk:
    """Both ends of one exchange: what the client has, and what the door has."""

    def __init__(self, near: Transport, books: TakenBooks) -> None:
        self.near = near
        self.books = books
        self.exchange: Exchange | None = None
        self.task: asyncio.Task[str] | None = None

    def line(self) -> dict[str, Any]:
        """Return what the books say of the default channel."""
        (peer,) = self.books.books().values()
        line: dict[str, Any] = peer["received"][""]
        assert line["balanced"], line
        return {word: count for word, count in line.items() if count and word != "balanced"}

    async def recv(self) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.near.recv()

    async def ended(self) -> None:
        assert self.task is not None
        async with asyncio.timeout(DEADLINE):
            await asyncio.wait([self.task])


@asynccontextmanager
async def talking(
    responder: RecordingResponder, framing: Callable[[], Framing] = Lines, idle: float | None = None
) -> AsyncIterator[Talk]:
    network = MemoryNetwork()
    books = TakenBooks()
    begun: asyncio.Future[tuple[Exchange, asyncio.Task[str]]] = asyncio.get_running_loop().create_future()

    async def accept(transport: Transport) -> None:
        client = Client("", "", transport.peer)
        exchange = Exchange(transport, framing(), client=client, responder=responder, books=books, idle=idle)
        task = asyncio.create_task(exchange.run())
        begun.set_result((exchange, task))
        await asyncio.wait([task])

    network.listen("door", accept)
    near = await network.dial("client", "door")
    talk = Talk(near, books)
    talk.exchange, talk.task = await begun
    try:
        yield talk
    finally:
        near.abort()
        talk.task.cancel()
        await asyncio.wait([talk.task])


async def test_lines_that_come_together_are_answered_in_order_with_one_write() -> None:
    async with talking(RecordingResponder()) as talk:
        await talk.near.send(b"one\ntwo\nthree\nfo")
        assert await talk.recv() == b"one\ntwo\nthree\n"
        await talk.near.send(b"ur\r\n")
        assert await talk.recv() == b"four\r\n"
        assert talk.line() == {"received": 4, "handled": 4}


async def test_each_answer_ends_as_its_line_did() -> None:
    async with talking(RecordingResponder()) as talk:
        await talk.near.send(b"a\nb\r\nc\n")
        assert [await talk.recv() for _ in range(3)] == [b"a\n", b"b\r\n", b"c\n"]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (None, b""),
        ("two\nlines\r", b"two\\nlines\\r"),
        (b"by\ntes\xff", b"by\\ntes\xff"),
        ({"a": "b\n"}, b'{"a":"b\\n"}'),
        (["x", 1], b'["x",1]'),
        (True, b"true"),
        (Refusal("NoError", "because\nof"), b'{"error":{"type":"NoError","message":"because\\nof"}}'),
    ],
)
async def test_an_answer_is_one_line_whatever_it_is(answer: object, line: bytes) -> None:
    async with talking(RecordingResponder(lambda *_: answer)) as talk:
        await talk.near.send(b"x\n")
        assert await talk.recv() == line + b"\n"
        outcome = "refused" if isinstance(answer, Refusal) else "handled"
        assert talk.line() == {"received": 1, outcome: 1}


@pytest.mark.parametrize("answer", [object(), "\ud800"])
async def test_an_answer_that_cannot_be_sent_is_a_refusal(answer: object) -> None:
    async with talking(RecordingResponder(lambda *_: answer)) as talk:
        await talk.near.send(b"x\n")
        assert json.loads(await talk.recv())["error"]["type"] == "PayloadError"
        assert talk.line() == {"received": 1, "refused": 1}


async def test_text_comes_as_text_and_what_is_none_as_bytes() -> None:
    responder = RecordingResponder()
    async with talking(responder) as talk:
        await talk.near.send("grüße\n".encode() + b"\xff\n")
        assert await talk.recv() == "grüße\n".encode() + b"\xff\n"
        assert list(responder.messages) == ["grüße", b"\xff"]


async def test_an_answer_does_not_wait_for_the_next_message() -> None:
    gate = asyncio.Event()

    async def slow() -> str:
        await gate.wait()
        return "at last"

    def answer(_: Client, message: Wire) -> object:
        return slow() if message == "slow" else message

    async with talking(RecordingResponder(answer)) as talk:
        await talk.near.send(b"one\ntwo\nslow\nthree\n")
        assert await talk.recv() == b"one\ntwo\n"
        gate.set()
        assert await talk.recv() == b"at last\nthree\n"


@pytest.mark.parametrize(
    ("ending", "answers", "outcome"),
    [
        (Ending(None, "bye"), b"one\n", {"handled": 2}),
        (Ending("so long", "bye"), b"one\nso long\n", {"handled": 2}),
        (
            Ending(Refusal("E", "m"), "bye"),
            b'one\n{"error":{"type":"E","message":"m"}}\n',
            {"handled": 1, "refused": 1},
        ),
    ],
)
async def test_an_ending_is_the_end(ending: Ending, answers: bytes, outcome: dict[str, int]) -> None:
    responder = RecordingResponder(lambda _, message: ending if message == "end" else message)
    async with talking(responder) as talk:
        await talk.near.send(b"one\nend\nnever\n")
        got = b""
        while len(got) < len(answers):
            got += await talk.recv()
        assert got == answers
        await talk.ended()
        assert list(responder.messages) == ["one", "end"]
        assert talk.line() == {"received": 3, "abandoned": 1, **outcome}
        assert responder.closed[0][1] == "this worker closed the connection (bye)"


@pytest.mark.source("C17")
async def test_c17_a_line_that_is_too_long_is_refused_and_closes_the_connection() -> None:
    responder = RecordingResponder()
    async with talking(responder, lambda: Lines(10)) as talk:
        await talk.near.send(b"fine\n" + b"x" * 20)
        assert await talk.recv() == b"fine\n"
        assert json.loads(await talk.recv())["error"]["type"] == "LineTooLongError"
        await talk.ended()
        assert talk.line() == {"received": 2, "handled": 1, "refused": 1}
        assert "longer than 10 bytes" in responder.closed[0][1]


@pytest.mark.source("C22")
async def test_c22_an_unfinished_line_is_reported() -> None:
    responder = RecordingResponder()
    async with talking(responder) as talk:
        await talk.near.send(b"one\nhal\x1bf")
        assert await talk.recv() == b"one\n"
        await talk.near.close()
        await talk.ended()
    assert responder.closed[0][1].endswith(r"; 5 bytes without an end were not handled: hal\x1bf")


async def test_who_sends_faster_than_is_handled_has_to_wait() -> None:
    responder = GatedResponder()
    async with talking(responder) as talk:
        sent = 0
        block = b"x" * 1023 + b"\n"

        async def flood() -> None:
            nonlocal sent
            while True:
                sent += 1  # who is cancelled while it waits has sent it nevertheless
                await talk.near.send(block)

        flooding = asyncio.create_task(flood())
        await responder.messages.until(1)
        before = -1
        while sent != before:  # until it stands still
            before = sent
            for _ in range(20):
                await asyncio.sleep(0)
        assert sent * len(block) < 4 * MOST_WAITING
        flooding.cancel()
        await asyncio.wait([flooding])
        responder.gate.set()
        got = b""
        while got.count(b"\n") < sent:
            got += await talk.recv()
        assert talk.line() == {"received": sent, "handled": sent}


async def test_who_does_not_read_its_answers_is_not_read_from_either() -> None:
    responder = RecordingResponder()
    async with talking(responder) as talk:
        block = (b"x" * 1023 + b"\n") * 32
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                sent += 1
                await talk.near.send(block)

        flooding = asyncio.create_task(flood())
        before = -1
        while sent != before or not sent:  # until it stands still
            before = sent
            for _ in range(50):
                await asyncio.sleep(0)
        assert sent * len(block) < 12 * MOST_WAITING
        assert len(responder.messages) < 32 * sent, "some wait to be handled"
        flooding.cancel()
        await asyncio.wait([flooding])
        size = 0
        while size < sent * len(block):
            size += len(await talk.recv())
        assert talk.line() == {"received": 32 * sent, "handled": 32 * sent}


async def test_messages_without_a_byte_fill_the_memory_as_little() -> None:
    responder = GatedResponder()
    async with talking(responder, Whole) as talk:
        await talk.near.send(b"first")
        await responder.messages.until(1)
        pauses: list[bool] = []
        exchange = talk.exchange
        assert exchange is not None
        exchange._transport.pause_reading = lambda: pauses.append(True)  # type: ignore[method-assign]
        exchange.messages_came([b""] * 100)
        assert not pauses
        exchange.messages_came([b""] * 2000)
        assert pauses == [True]


async def test_reading_goes_on_after_one_piece_that_was_too_much_by_itself() -> None:
    async with talking(RecordingResponder()) as talk:
        block = b"x\n" * MOST_WAITING
        await talk.near.send(block)
        await talk.near.send(b"last\n")
        got = b""
        while not got.endswith(b"last\n"):
            got += await talk.recv()
        assert got == block + b"last\n"


async def test_draining_answers_what_has_come() -> None:
    responder = GatedResponder()
    async with talking(responder) as talk:
        await talk.near.send(b"one\ntwo\n")
        await responder.messages.until(1)
        assert talk.exchange is not None
        talk.exchange.drain()
        await talk.near.send(b"late\n")
        responder.gate.set()
        assert await talk.recv() == b"done 'one'\ndone 'two'\n"
        await talk.ended()
        assert talk.line() == {"received": 2, "handled": 2}
        assert responder.closed[0][1] == "worker is stopping"


async def test_what_came_whole_is_handled_though_its_sender_is_gone() -> None:
    responder = GatedResponder()
    async with talking(responder) as talk:
        await talk.near.send(b"one\ntwo\n")
        await responder.messages.until(1)
        talk.near.abort()
        responder.gate.set()
        await talk.ended()
        assert list(responder.messages) == ["one", "two"]
        assert talk.line() == {"received": 2, "abandoned": 2}


async def test_cancelled_it_ends_at_once_and_counts_what_it_had_in_hand() -> None:
    responder = GatedResponder()
    async with talking(responder) as talk:
        await talk.near.send(b"one\ntwo\n")
        await responder.messages.until(1)
        assert talk.task is not None
        talk.task.cancel()
        await talk.ended()
        assert list(responder.cancelled) == ["one"]
        assert talk.line() == {"received": 2, "abandoned": 2}
        assert len(responder.closed) == 1


async def test_messages_of_a_transport_that_has_them_are_answered_one_by_one() -> None:
    async with talking(RecordingResponder(), Whole) as talk:
        await talk.near.send(b"one\n")
        await talk.near.send(b"")
        assert [await talk.recv(), await talk.recv()] == [b"one\n", b""]


@pytest.mark.parametrize(
    ("data", "left"),
    [
        (b"a\n.\nn1\r\nn2\r\nn3\n", 3),  # lots that end otherwise
        (b"a\n.\nn1\nn2\n", 2),  # the same lot
        (b"a\n.\n", 0),
    ],
)
async def test_what_was_read_is_counted_however_the_conversation_is_ended(data: bytes, left: int) -> None:
    over = Ending(None, "over")
    async with talking(RecordingResponder(lambda _, message: over if message == "." else message)) as talk:
        await talk.near.send(data)
        await talk.ended()
        expected = {"received": 2 + left, "handled": 2, "abandoned": left}
        assert talk.line() == {word: count for word, count in expected.items() if count}


async def test_what_waits_is_counted_when_draining_is_cut_short() -> None:
    responder = GatedResponder()
    async with talking(responder) as talk:
        await talk.near.send(b"one\n")
        await responder.messages.until(1)
        for piece in (b"two\nthr", b"ee\r\nfour\n", b"ha", b"lf"):
            await talk.near.send(piece)
        assert talk.exchange is not None
        assert talk.task is not None
        talk.exchange.drain()
        talk.task.cancel()
        await talk.ended()
        assert talk.line() == {"received": 4, "abandoned": 4}
        assert responder.closed[0][1].endswith("; 4 bytes without an end were not handled: half")


async def test_a_line_that_is_too_long_is_counted_though_nobody_handles_it() -> None:
    responder = GatedResponder()
    async with talking(responder, lambda: Lines(max_line=10)) as talk:
        await talk.near.send(b"one\n")
        await responder.messages.until(1)
        await talk.near.send(b"two\n" + b"x" * 100)
        assert talk.task is not None
        talk.task.cancel()
        await talk.ended()
        assert talk.line() == {"received": 3, "abandoned": 3}


@pytest.mark.source("C15")
async def test_who_sends_nothing_for_too_long_is_closed_once_it_has_its_answers() -> None:
    responder = RecordingResponder()
    async with talking(responder, idle=0.5) as talk:
        await talk.near.send(b"one\n")
        assert await talk.recv() == b"one\n"
        await talk.ended()
        assert responder.closed[0][1] == "this worker closed the connection (nothing came for 0.5 seconds)"
        assert talk.line() == {"received": 1, "handled": 1}


@pytest.mark.source("C15")
async def test_who_is_in_the_midst_of_a_message_is_not_idle() -> None:
    async with talking(RecordingResponder(), idle=0.02) as talk:
        assert talk.exchange is not None
        silences = [5.0, 0.0, 0.01, 0.0]
        heard = asyncio.Event()

        def silence() -> float:
            if len(silences) == 1:
                heard.set()
            return silences.pop() if silences else 5.0

        talk.exchange._transport.silence = silence  # type: ignore[method-assign]
        async with asyncio.timeout(DEADLINE):
            await heard.wait()
        await talk.ended()
        assert silences == []
