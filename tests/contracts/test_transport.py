"""What every transport promises, checked on each: real sockets, a pty, and memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from mesh.transport.base import Transport, TransportClosedError
from mesh.transport.layers import Layered
from mesh.transport.logged import LoggingTransport
from mesh.transport.memory import MemoryNetwork
from tests.helpers.proc import DEADLINE
from tests.helpers.transports import MESSAGES, STREAMS, Pair

# The one of the documents is a transport of somebody else's.
pytestmark = [pytest.mark.integration, pytest.mark.source("D8")]

KINDS = {
    **{kind: (make, ()) for kind, make in MESSAGES.items()},
    **{kind: (make, ("len32le",)) for kind, make in STREAMS.items()},
}


@pytest.fixture(params=KINDS)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pair]:
    make, layers = KINDS[request.param]
    async with make(tmp_path, layers) as both:
        yield both


NOISE = os.urandom(32 * 1024)
"""What no compression makes smaller."""


async def blocked(sender: Transport) -> tuple[asyncio.Task[None], int]:
    """Send until a send waits; return it and how many were sent, that one included."""
    for count in range(1, 10_000):
        task = asyncio.create_task(sender.send(count.to_bytes(4, "big") + NOISE))
        done, _ = await asyncio.wait([task], timeout=0.5)
        if not done:
            return task, count
    raise AssertionError("no backpressure")


@pytest.mark.source("D20")
async def test_messages_come_whole_and_in_order_both_ways(pair: Pair) -> None:
    sizes = [0, 1, 125, 126, 65535, 65536, 300_000]
    for here, there in (pair, pair[::-1]):
        messages = [bytes([n]) * size for n, size in enumerate(sizes)]
        receiving = asyncio.create_task(take(there, len(messages)))
        for message in messages:
            await here.send(message)
        assert await receiving == messages


async def take(transport: Transport, count: int) -> list[bytes]:
    return [await transport.recv() for _ in range(count)]


async def test_messages_that_are_written_together_come_as_if_one_by_one(pair: Pair) -> None:
    for here, there in (pair, pair[::-1]):
        messages = [bytes([n]) * size for n, size in enumerate([1, 0, 125, 126, 70_000, 3])]
        before = here.stats.messages_out, here.stats.bytes_out
        here.write_all(messages)
        here.write_all([])
        here.write_all([b"last"])
        assert await take(there, 7) == [*messages, b"last"]
        size = sum(map(len, messages)) + 4
        assert (here.stats.messages_out - before[0], here.stats.bytes_out - before[1]) == (7, size)
    here, there = pair
    await here.close()
    here.write_all([b"x", b"y"])  # as write(), it says nothing


async def test_messages_of_many_senders_are_not_mixed(pair: Pair) -> None:
    here, there = pair
    receiving = asyncio.create_task(take(there, 40))
    await asyncio.gather(*(here.send(bytes([n]) * 30_000) for n in range(40)))
    got = await receiving
    assert sorted(message[0] for message in got) == list(range(40))
    assert all(message == message[:1] * 30_000 for message in got)


async def test_what_was_sent_before_a_close_still_comes(pair: Pair) -> None:
    here, there = pair
    for n in range(10):
        await here.send(bytes([n]))
    closing = asyncio.create_task(here.close("enough"))
    assert await take(there, 10) == [bytes([n]) for n in range(10)]
    with pytest.raises(TransportClosedError, match=r"the peer closed it|is gone") as caught:
        await there.recv()
    # Bytes have no place for words.
    assert (
        "enough" in caught.value.reason
        or there.peer == "the other end of the cable"
        or isinstance(there, Layered)
    )
    await closing


async def test_the_state_and_the_counts_are_told(pair: Pair) -> None:
    here, there = pair
    assert here.peer
    assert (here.is_closing(), here.ended) == (False, None)
    await here.send(b"abc")
    await here.send(b"")
    assert await take(there, 2) == [b"abc", b""]
    assert (here.stats.messages_out, here.stats.bytes_out) == (2, 3)
    assert (there.stats.messages_in, there.stats.bytes_in) == (2, 3)
    assert (here.stats.messages_in, there.stats.messages_out) == (0, 0)
    await here.close("enough")
    assert here.is_closing()
    before = repr(here.stats)
    here.write(b"to nobody")
    assert repr(here.stats) == before


class Pushed:
    """A user that keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.reasons: list[str] = []
        self.news = asyncio.Event()

    def messages_came(self, messages: list[bytes]) -> None:
        self.messages += messages
        self.news.set()

    def writing_resumed(self) -> None:
        self.news.set()

    def connection_ended(self, reason: str) -> None:
        self.reasons.append(reason)
        self.news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self.news.clear()
                await self.news.wait()


async def test_a_user_is_pushed_what_came_before_and_what_comes_after(pair: Pair) -> None:
    here, there = pair
    await here.send(b"before")
    await here.send(b"too")
    assert await there.recv() == b"before"
    user = Pushed()
    there.start(user)
    await here.send(b"after")
    await user.until(lambda: len(user.messages) == 2)
    assert user.messages == [b"too", b"after"]
    await here.close("enough")
    await user.until(lambda: bool(user.reasons))
    await there.close()
    there.abort()
    assert len(user.reasons) == 1


async def test_who_pauses_reading_makes_the_other_end_wait(pair: Pair) -> None:
    here, there = pair
    user = Pushed()
    there.start(user)
    there.pause_reading()
    there.pause_reading()
    task, count = await blocked(here)
    there.resume_reading()
    await task
    await user.until(lambda: len(user.messages) == count)
    assert [int.from_bytes(message[:4], "big") for message in user.messages] == list(range(1, count + 1))


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_nothing_can_be_sent_or_received_after_the_end(pair: Pair, how: str) -> None:
    here, there = pair
    if how == "close":
        await here.close()
    else:
        here.abort()
    for end in (here, there):
        with pytest.raises(TransportClosedError):
            await end.recv()
        with pytest.raises(TransportClosedError):
            await end.send(b"x")
        await end.close("again")
        end.abort()
        end.abort()


@pytest.mark.source("D10")
@pytest.mark.parametrize("is_wrapped", [False, True])
async def test_while_the_other_end_says_goodbye_nothing_is_lost_in_silence(
    pair: Pair, is_wrapped: bool
) -> None:
    inner, there = pair
    lines: list[str] = []
    here = LoggingTransport(inner, lines.append) if is_wrapped else inner
    closing = asyncio.create_task(there.close("enough"))
    for _ in range(100_000):
        if inner.is_closing():
            break
        await asyncio.sleep(0)
    assert here.is_closing()
    with pytest.raises(TransportClosedError):
        await here.send(b"in vain")
    here.write(b"in vain")
    assert here.stats.messages_out == 0
    assert not [line for line in lines if "Sending" in line]
    await closing


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("end", [0, 1])
async def test_who_waits_to_receive_is_told_of_the_end(pair: Pair, how: str, end: int) -> None:
    waiting = asyncio.create_task(pair[end].recv())
    await asyncio.sleep(0)
    if how == "close":
        await pair[0].close()
    else:
        pair[0].abort()
    with pytest.raises(TransportClosedError):
        await waiting


@pytest.mark.parametrize("end", [0, 1])
async def test_who_waits_to_send_is_told_of_the_end(pair: Pair, end: int) -> None:
    task, _ = await blocked(pair[0])
    pair[end].abort()
    # Of an abort from here a send that had begun may know nothing; the next one does.
    with contextlib.suppress(TransportClosedError):
        await task
    with pytest.raises(TransportClosedError):
        await pair[0].send(b"x")


async def test_a_full_buffer_makes_the_sender_wait_until_the_other_end_reads(pair: Pair) -> None:
    here, there = pair
    task, count = await blocked(here)
    got = await take(there, count)
    await task
    assert [int.from_bytes(message[:4], "big") for message in got] == list(range(1, count + 1))


async def test_a_send_that_is_cancelled_while_it_waits_was_sent_nevertheless(pair: Pair) -> None:
    here, there = pair
    task, count = await blocked(here)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    after = asyncio.create_task(here.send(b"next"))
    got = await take(there, count + 1)
    await after
    assert [int.from_bytes(message[:4], "big") for message in got[:-1]] == list(range(1, count + 1))
    assert got[-1] == b"next"


async def test_a_cancelled_receive_loses_nothing(pair: Pair) -> None:
    here, there = pair
    for n in range(20):
        waiting = asyncio.create_task(there.recv())
        await asyncio.sleep(0)
        # The message and the cancellation arrive together, or nearly so.
        await here.send(bytes([n]))
        for _ in range(n % 5):
            await asyncio.sleep(0)
        waiting.cancel()
        try:
            got = await waiting
        except asyncio.CancelledError:
            got = await there.recv()
        assert got == bytes([n])


async def test_silence_grows_until_something_comes(pair: Pair) -> None:
    here, there = pair
    await here.send(b"x")
    await there.recv()
    first = there.silence()
    if first is None:
        # Not every transport can tell; then it never pretends to.
        assert await quiet_again(there) is None
        return
    assert 0 <= first < 5
    assert await quieter(there, first + 0.05) > first
    # However long the next turn takes: what came last came after this.
    begin = time.monotonic()
    await here.send(b"y")
    await there.recv()
    again = there.silence()
    assert again is not None
    assert again <= time.monotonic() - begin


async def quiet_again(transport: Transport) -> float | None:
    """Return how long it was silent, when the loop had a turn."""
    await asyncio.sleep(0)
    return transport.silence()


async def quieter(transport: Transport, until: float) -> float:
    """Wait until it was silent for so long."""
    while True:
        silence = transport.silence()
        assert silence is not None
        if silence >= until:
            return silence
        await asyncio.sleep(0.005)


# -- what only the network in memory can do ---------------------------------------------


async def linked(network: MemoryNetwork) -> Pair:
    accepted: asyncio.Future[Transport] = asyncio.get_running_loop().create_future()

    async def accept(transport: Transport) -> None:
        accepted.set_result(transport)
        await asyncio.Event().wait()

    network.listen("b", accept)
    near = await network.dial("a", "b")
    return near, await accepted


@pytest.fixture
async def network() -> AsyncIterator[MemoryNetwork]:
    network = MemoryNetwork()
    yield network
    for task in list(network._accepting):
        task.cancel()
    await network.aclose()


async def test_a_delay_keeps_order_and_the_goodbye_comes_last(network: MemoryNetwork) -> None:
    a, b = await linked(network)
    network.delay("a", "b", 0.03)
    for n in range(50):
        if n == 25:
            network.delay("a", "b", 0.001)
        await a.send(bytes([n]))
    await a.close("done")
    a.abort()
    assert await take(b, 50) == [bytes([n]) for n in range(50)]
    with pytest.raises(TransportClosedError, match="done"):
        await b.recv()


async def test_a_partition_swallows_everything_and_healing_breaks_what_lost_something(
    network: MemoryNetwork,
) -> None:
    a, b = await linked(network)
    network.partition("a", "b")
    await a.send(b"lost")
    dialling: asyncio.Task[object] = asyncio.create_task(network.dial("a", "b"))
    done, _ = await asyncio.wait([dialling], timeout=0.02)
    assert not done
    dialling.cancel()
    network.heal("a", "b")
    for end in (a, b):
        with pytest.raises(TransportClosedError):
            await end.recv()


async def test_a_partition_in_which_nothing_was_sent_leaves_the_connection_whole(
    network: MemoryNetwork,
) -> None:
    a, b = await linked(network)
    network.partition("a", "b")
    network.heal("a", "b")
    await a.send(b"x")
    assert await b.recv() == b"x"


async def test_an_end_that_was_given_up_in_a_partition_is_told_to_the_other_when_it_heals(
    network: MemoryNetwork,
) -> None:
    a, b = await linked(network)
    network.partition("a", "b")
    a.abort()
    waiting = asyncio.create_task(b.recv())
    done, _ = await asyncio.wait([waiting], timeout=0.02)
    assert not done
    network.heal("a", "b")
    with pytest.raises(TransportClosedError):
        await waiting


async def test_a_cut_a_closed_door_and_a_door_where_one_waits(network: MemoryNetwork) -> None:
    a, b = await linked(network)
    network.cut("b", "a")
    for end in (a, b):
        with pytest.raises(TransportClosedError):
            await end.recv()
    let_in: list[str] = []
    all_in = asyncio.Event()

    async def accept(transport: Transport) -> None:
        let_in.append((await transport.recv()).decode())
        if len(let_in) == 3:
            all_in.set()

    network.listen("b", accept)
    network.hold("b")
    for n in range(3):
        await (await network.dial("a", "b")).send(str(n).encode())
    network.release("b", [2, 0, 1])
    await all_in.wait()
    assert let_in == ["2", "0", "1"]
    network.close("b")
    with pytest.raises(ConnectionRefusedError):
        await network.dial("a", "b")


Broken = Callable[[], Awaitable[object]]


@pytest.mark.parametrize("for_good", [False, True])
async def test_the_nth_operation_fails(network: MemoryNetwork, for_good: bool) -> None:
    network.break_at(3, for_good=for_good)
    a, _ = await linked(network)
    await a.send(b"x")
    with pytest.raises(TransportClosedError, match="operation 3 was asked to fail"):
        await a.send(b"y")
    again: Broken = lambda: network.dial("a", "b")  # noqa: E731
    if for_good:
        with pytest.raises(ConnectionResetError, match="operation 4"):
            await again()
    else:
        network.close("b")
        with pytest.raises(ConnectionRefusedError):
            await again()
