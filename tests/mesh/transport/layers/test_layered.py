"""A stack of layers that fails, ends or is held back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.transport.base import EndOfInputError, Transport, TransportClosedError
from mesh.transport.endpoints import Options
from mesh.transport.layers import Layered, Len32le, Line, Zlib
from tests.helpers.transports import MESSAGES, Pair, endpoints


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with MESSAGES["memory"](tmp_path, ()) as both:
        yield both


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
