"""A stack of layers that fails, ends or is held back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.transport.base import EndOfInputError, Transport, TransportClosedError
from mesh.transport.endpoints import Options
from mesh.transport.layers import Layer, Layered, LayerError, Len32le, Line, Zlib
from mesh.transport.layers.layered import TURN
from tests.helpers.proc import DEADLINE
from tests.helpers.transports import MESSAGES, Pair, endpoints


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with MESSAGES["memory"](tmp_path, ()) as both:
        yield both


class Slow:
    """A user that wants no more after each message, until it is told to take the next."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.lots: list[list[bytes]] = []
        self.events: list[str] = []
        transport.start(self)

    def messages_came(self, messages: list[bytes]) -> None:
        self.lots.append(messages)
        self.transport.pause_reading()

    def writing_resumed(self) -> None:
        self.events.append("room")

    def connection_ended(self, reason: str) -> None:
        self.events.append(reason)


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def bombs(count: int, size: int = 4 * TURN) -> bytes:
    """Return as one read messages that unfold to a thousand times their size."""
    pieces = [Len32le().outbound(Zlib().outbound(bytes([n]) * size)[0])[0] for n in range(count)]
    return b"".join(pieces)


async def the_end(transport: Transport) -> str:
    """Return why a connection ended, when nothing more comes."""
    try:
        while True:
            await transport.recv()
    except TransportClosedError as exc:
        return exc.reason


async def test_what_was_whole_before_a_fault_still_comes_and_the_peer_is_told(pair: Pair) -> None:
    near, far = pair
    stack = Layered(near, [Line(max_line=20)])
    far.write(b"one\r\ntwo\r\n" + b"x" * 100)
    assert [await stack.recv(), await stack.recv()] == [b"one", b"two"]
    assert await the_end(stack) == stack.ended
    assert stack.ended is not None
    assert stack.ended.startswith("a line is longer than 20 bytes")
    told = await far.recv()
    assert told.startswith(b"error: a line is longer than 20 bytes")
    assert told.endswith(b"\r\n")
    assert "a line is longer than 20 bytes" in await the_end(far)


async def test_a_fault_above_is_told_through_the_layers_below_it(pair: Pair) -> None:
    near, far = Layered(pair[0], [Len32le(), Line(max_line=5)]), Layered(pair[1], [Len32le(), Line()])
    far.write(b"too long a line")
    assert "longer than 5 bytes" in await the_end(near)
    assert (await far.recv()).startswith(b"error: a line is longer than 5 bytes")


async def test_what_cannot_be_sent_ends_the_connection_with_the_reason(pair: Pair) -> None:
    near = Layered(pair[0], [Len32le(max_size=5)])
    near.write(b"x" * 6)
    assert near.is_closing()
    near.write(b"y")
    assert "6 bytes is longer than the 5" in await the_end(near)
    assert "6 bytes is longer than the 5" in await the_end(pair[1])
    with pytest.raises(TransportClosedError):
        await near.send(b"z")


async def test_nothing_is_read_after_a_fault(pair: Pair) -> None:
    near = Layered(pair[0], [Zlib()])
    pair[1].write(b"no zlib")
    pair[1].write(Zlib().outbound(b"fine")[0])
    assert "cannot be unfolded" in await the_end(near)
    assert near.stats.messages_in == 0


@pytest.mark.source("C22")
async def test_a_connection_that_ends_in_the_midst_of_a_message_says_so(pair: Pair) -> None:
    near = Layered(pair[0], [Line()])
    pair[1].write(b"whole\nhalf")
    await pair[1].close("gone")
    assert await near.recv() == b"whole"
    assert await the_end(near) == "the peer closed it (gone); its last line did not end, 4 bytes of it came"


async def test_who_is_slow_is_felt_through_the_layers(pair: Pair) -> None:
    near, far = Layered(pair[0], [Len32le()]), Layered(pair[1], [Len32le()])
    far.pause_reading()
    sent = 0
    while near.writable:
        near.write(bytes(10_000))
        sent += 1
        await asyncio.sleep(0)
    waiting = asyncio.create_task(near.send(b"last"))
    await asyncio.sleep(0)
    assert not waiting.done()
    far.resume_reading()
    got = [await far.recv() for _ in range(sent + 1)]
    await waiting
    assert got[-1] == b"last"


@pytest.mark.integration
async def test_a_half_open_stream_still_takes_answers_through_the_layers(tmp_path: Path) -> None:
    opened = endpoints("unix://{folder}/x.sock", options=Options(half_open=True))
    async with opened(tmp_path, ()) as (near, far):
        served = Layered(far, [Line(keep_rest=True)])
        near.write(b"one\ntwo")
        near.wire.write_eof()  # type: ignore[attr-defined]
        assert [await served.recv(), await served.recv()] == [b"one", b"two"]
        with pytest.raises(EndOfInputError):
            await served.recv()
        assert not served.is_closing()
        await served.send(b"answer")
        assert await near.recv() == b"answer\n"
        await served.close()
        assert await the_end(near) == "the peer has sent all it had to send"


@pytest.mark.source("D12")
async def test_what_unfolds_to_very_much_is_made_no_faster_than_it_is_taken(pair: Pair) -> None:
    near, far = Layered(pair[0], [Len32le(), Zlib()]), pair[1]
    user = Slow(near)
    far.write(bombs(5))
    far.write(bombs(1))
    await far.close("enough")
    for taken in range(1, 7):
        await turns()
        assert [len(lot) for lot in user.lots] == [1] * taken
        assert (near.ended, user.events) == (None, [])
        near.resume_reading()
    await turns()
    assert [lot[0][0] for lot in user.lots] == [0, 1, 2, 3, 4, 0]
    assert user.events == ["the peer closed it (enough)"]


@pytest.mark.source("D12")
async def test_others_have_their_turn_while_much_unfolds(pair: Pair) -> None:
    near, far = Layered(pair[0], [Len32le(), Zlib()]), pair[1]
    user = Slow(near)
    near.pause_reading = lambda: None  # type: ignore[method-assign]
    far.write(bombs(8, TURN // 2))
    seen = set()
    async with asyncio.timeout(DEADLINE):
        while len(user.lots) < 4:
            await asyncio.sleep(0)
            seen.add(len(user.lots))
    assert seen >= {1, 2, 3, 4}
    assert [len(lot) for lot in user.lots] == [2, 2, 2, 2]


async def test_a_stack_that_is_given_up_forgets_what_was_left_and_ends_once(pair: Pair) -> None:
    near, far = Layered(pair[0], [Len32le(), Zlib()]), pair[1]
    user = Slow(near)
    far.write(bombs(3))
    await far.close("enough")
    await turns()
    near.abort()
    near.resume_reading()
    await turns()
    assert len(user.lots) == 1
    assert len(user.events) == 1
    assert near.ended is not None


async def test_who_waits_for_room_goes_on_when_the_peer_is_gone(pair: Pair) -> None:
    near, far = Layered(pair[0], [Len32le(), Zlib()]), pair[1]
    user = Slow(near)
    far.write(bombs(3))
    await turns()
    while near.writable:
        near.write(os.urandom(10_000))
    far.abort()
    await turns()
    assert user.events == ["room"]
    assert near.is_closing()
    before = near.stats.messages_out
    near.write(b"to nobody")
    assert near.stats.messages_out == before
    for _ in range(3):
        assert len(user.events) == 1
        near.resume_reading()
        await turns()
    assert len(user.lots) == 3
    assert len(user.events) == 2


class Bad(Layer):
    """Raises what no layer should, wherever it is told to."""

    def __init__(self, at: str) -> None:
        self._at = at

    def _do(self, what: str, result: list[bytes]) -> list[bytes]:
        if what in self._at:
            raise ValueError(f"bo\x1bom in {what}")
        return result

    def outbound(self, message: bytes) -> list[bytes]:
        return self._do("outbound", [message])

    def inbound(self, data: bytes) -> list[bytes]:
        if data == b"wrong":
            raise LayerError("that was wrong", [b"before"])
        return self._do("inbound", [data])

    def finish(self) -> list[bytes]:
        return self._do("finish", [])

    def farewell(self, error: LayerError) -> list[bytes]:
        return self._do("farewell", [b"farewell"])


@pytest.mark.parametrize("where", ["inbound", "outbound", "finish"])
async def test_a_layer_that_raises_anything_ends_the_connection_by_its_name(pair: Pair, where: str) -> None:
    near, far = Layered(pair[0], [Bad(where)]), pair[1]
    if where == "outbound":
        near.write(b"x")
    else:
        far.write(b"x")
        await far.close("enough")
        if where == "finish":
            assert await near.recv() == b"x"
    assert f"layer Bad failed (ValueError: bo\\x1bom in {where}); it has a mistake" in await the_end(near)


@pytest.mark.parametrize("where", ["farewell", "farewell outbound", "outbound"])
async def test_a_layer_that_cannot_even_say_farewell_still_ends_for_its_first_reason(
    pair: Pair, where: str
) -> None:
    near, far = Layered(pair[0], [Bad("outbound"), Bad(where)]), pair[1]
    far.write(b"wrong")
    assert await the_end(near) == "that was wrong"
    assert "that was wrong" in await the_end(far)
