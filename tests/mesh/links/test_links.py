"""Two hubs and everything between them: streams, order, windows, losses, restarts, ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

import mesh
from mesh.errors import (
    AckTimeoutError,
    DeliveryError,
    NackedError,
    NameTakenError,
    OutcomeUnknownError,
    PeerDownError,
)
from mesh.links import hub as hub_module
from mesh.links.inbox import Route
from mesh.protocol.link import LinkSettings
from mesh.transport.base import Transport, TransportClosedError
from tests.helpers.hubs import Fleet, Place, held, paced, simulated, turns
from tests.helpers.raw_peer import TERMS

SMALL = LinkSettings(window_messages=8)


# -- streams ------------------------------------------------------------------------------


def test_a_long_stream_is_acked_in_order_and_once() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        assert await a.stream("b", range(20_000)) == list(range(20_000)) == b.got
        assert a.line("b")["acked"] == 20_000
        assert b.line("a", "received")["handled"] == 20_000

    simulated(scenario)


def test_acks_keep_their_types() -> None:
    values: list[Any] = [None, {"a": [1, None]}, b"\x00\xff", 7, -1, 1.5, True, "text", [], ""]

    async def scenario(fleet: Fleet) -> None:
        a, _ = fleet.place("a"), fleet.place("b")
        acks = await a.stream("b", values)
        assert acks == values
        assert [type(ack) for ack in acks] == [type(value) for value in values]

    simulated(scenario)


async def picky(_: str, item: Any) -> Any:
    if item % 3 == 2:
        raise ValueError(f"no {item}")
    return item


def test_refusals_stand_in_their_place_or_end_the_stream() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        b.handler = picky
        answers = await a.stream("b", range(9), on_nack="yield")
        assert [getattr(answer, "reason", answer) for answer in answers] == [
            0, 1, "no 2", 3, 4, "no 5", 6, 7, "no 8",
        ]  # fmt: skip
        with pytest.raises(NackedError, match="no 5") as caught:
            await a.stream("b", [0, 1, 3, 5, 6])
        assert caught.value.acks == [0, 1, 3]
        await turns()
        line = a.line("b")
        assert line["refused"] >= 4
        assert line["balanced"]

    simulated(scenario)


def test_a_slow_handler_makes_its_sender_wait() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        gate = asyncio.Event()
        b.handler = held(gate)
        asked: list[int] = []

        def source() -> Iterator[int]:
            for n in range(100):
                asked.append(n)
                yield n

        async def run() -> list[Any]:
            return await a.stream("b", source())

        task = asyncio.create_task(run())
        await asyncio.sleep(30)
        assert len(asked) == a.line("b")["in_flight"] == 8
        assert b.hub.in_hand() == [("a", "c")]
        gate.set()
        assert await task == list(range(100))
        assert b.hub.in_hand() == []

    simulated(scenario, SMALL)


def test_one_slow_channel_does_not_hold_up_another() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        gate = asyncio.Event()

        async def handle(channel: str, item: Any) -> Any:
            if channel == "slow":
                await gate.wait()
            return item

        b.handler = handle

        async def run() -> list[Any]:
            return await a.stream("b", range(50), "slow")

        slow = asyncio.create_task(run())
        await turns()
        assert await a.stream("b", range(500), "fast") == list(range(500))
        assert not slow.done()
        gate.set()
        assert await slow == list(range(50))

    simulated(scenario, SMALL)


def test_a_small_stream_is_not_kept_by_the_flood_of_another() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, _ = fleet.place("a"), fleet.place("b")
        fleet.network.delay("a", "b", 0.01)

        async def flood() -> None:
            await a.stream("b", (b"x" * 60_000 for _ in range(1500)), "flood")

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(1)
        await a.stream("b", [1, 2, 3], "small")
        assert not flooding.done()
        await flooding

    simulated(scenario)


def test_answers_leave_when_a_handler_waits_in_the_midst_of_a_batch() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        gate = asyncio.Event()
        b.handler = held(gate, 3)
        got: list[Any] = []

        async def run() -> None:
            async for ack in a.stream("b", range(6)):
                got.append(ack)  # noqa: PERF401

        task = asyncio.create_task(run())
        await asyncio.sleep(1)
        assert got == [0, 1, 2]
        gate.set()
        await task
        assert got == list(range(6))

    simulated(scenario)


class Source:
    def __init__(self, count: int) -> None:
        self.count = count
        self.asked = 0
        self.closed = False

    async def __call__(self) -> AsyncIterator[int]:
        try:
            for n in range(self.count):
                self.asked = n + 1
                yield n
                await asyncio.sleep(0)
        finally:
            self.closed = True


@pytest.mark.parametrize("window", [None, 3])
def test_an_async_source_is_only_asked_when_there_is_room(window: int | None) -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        gate = asyncio.Event()
        b.handler = held(gate)
        source = Source(40)

        async def run() -> list[Any]:
            return await a.stream("b", source(), window=window)

        task = asyncio.create_task(run())
        await asyncio.sleep(5)
        assert source.asked == (window or 8)
        gate.set()
        assert await task == list(range(40))

    simulated(scenario, SMALL)


def test_who_does_not_read_its_answers_does_not_send_on() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, _ = fleet.place("a"), fleet.place("b")
        source = Source(1000)
        got: list[Any] = []
        async for ack in a.stream("b", source()):
            if not got:
                await asyncio.sleep(5)
                assert source.asked <= 3 * 8
            got.append(ack)
        assert got == list(range(1000))

    simulated(scenario, SMALL)


def test_what_a_source_raises_comes_after_the_answers_to_what_it_gave() -> None:
    def broken() -> Iterator[int]:
        yield from (1, 2, 3)
        raise KeyError("sensor")

    async def broken_later() -> AsyncIterator[int]:
        for n in broken():
            yield n

    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        for source in (broken(), broken_later()):
            got = []
            with pytest.raises(KeyError, match="sensor"):  # noqa: PT012 - the loop raises
                async for ack in a.stream("b", source):
                    got.append(ack)  # noqa: PERF401
            assert got == [1, 2, 3]
        assert b.got == [1, 2, 3] * 2
        for bad in ([1, 2, object(), 4], iter([1, 2, object(), 4])):
            got = []
            with pytest.raises(mesh.PayloadError):  # noqa: PT012 - the loop raises
                async for ack in a.stream("b", bad):
                    got.append(ack)
            assert got == [1, 2]
        assert a.line("b")["cancelled"] == 0

    simulated(scenario)


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 8, 13, 30])
def test_a_cancelled_stream_settles_and_the_link_goes_on(after: int) -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        gate = asyncio.Event()
        b.handler = held(gate, 20)
        source = Source(1000)

        async def run(data: Any) -> None:
            await a.stream("b", data)

        tasks = [asyncio.create_task(run(range(1000))), asyncio.create_task(run(source()))]
        await turns(after)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() for task in tasks)
        gate.set()
        assert await a.stream("b", ["on"]) == ["on"]
        link = a.dialler("b").link
        assert not link.waiting
        assert a.line("b")["in_flight"] == 0

    simulated(scenario, LinkSettings(window_messages=64))


def test_a_writer_that_is_cancelled_with_full_buffers_loses_no_frame() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        await a.stream("b", ["hello"])
        fleet.network.delay("a", "b", 0.05)

        async def run(n: int) -> None:
            await a.stream("b", [bytes([n]) * 50_000 for _ in range(20)], str(n))

        for n in range(6):
            task = asyncio.create_task(run(n))
            await turns(3 + n)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert await a.stream("b", range(10)) == list(range(10))
        assert [state for _, state, _ in a.changes] == ["up"], "the connection was never lost"
        assert b.ended == []

    simulated(scenario)


def test_idle_streams_leave_nothing_behind() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, _ = fleet.place("a"), fleet.place("b")
        for n in range(50):
            assert await a.stream("b", [n]) == [n]
        assert a.dialler("b").link.waiting == {}

    simulated(scenario)


def test_a_handler_or_receiver_gone_wrong_refuses_and_does_not_hang() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")

        async def cancels(_: str, item: Any) -> Any:
            if item == 1:
                raise asyncio.CancelledError
            return object() if item == 2 else item

        b.handler = cancels
        answers = await a.stream("b", range(4), on_nack="yield")
        assert [getattr(answer, "type", answer) for answer in answers] == [
            0, "CancelledError", "PayloadError", 3,
        ]  # fmt: skip
        assert len(b.unsent) == 1

        def opened(peer: str, channel: str) -> Any:
            raise RuntimeError("no way")

        async def recover(*_: object) -> Any:
            raise RuntimeError("worse")

        b.opened, b.recover = opened, recover  # type: ignore[method-assign, assignment]
        with pytest.raises(NackedError, match="worse"):
            await a.stream("b", [1], "other")

    simulated(scenario)


def test_large_answers_are_bounded() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        big = b"x" * 50_000

        async def handle(_: str, item: Any) -> Any:
            return big

        b.handler = handle
        most = 0
        async for _ in a.stream("b", range(3000)):
            for work in b.hub._links["a", ""].core._traffic._inbound.values():
                most = max(most, work.remembered)
        assert most <= 4 * 2**20 + 33 * 50_010

    simulated(scenario)


# -- meeting, losses, ends ----------------------------------------------------------------


@pytest.mark.parametrize("order", [None, "hold"])
def test_a_simultaneous_dial_ends_with_one_link(order: str | None) -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        if order == "hold":
            fleet.network.hold("a")
            fleet.network.hold("b")

        async def run(one: Place, other: str) -> list[Any]:
            return await one.stream(other, range(100), patience=3.0)

        both = [asyncio.create_task(run(a, "b")), asyncio.create_task(run(b, "a"))]
        await turns()
        if order == "hold":
            fleet.network.release("b")
            await turns()
            fleet.network.release("a")
        assert await asyncio.gather(*both) == [list(range(100))] * 2
        assert list(a.hub._links) == [("b", "")]
        assert list(b.hub._links) == [("a", "")]
        await asyncio.sleep(20)
        assert len(fleet.network._open) == 1
        ours, theirs = a.hub._links["b", ""].core, b.hub._links["a", ""].core
        assert ours.session == theirs.session
        assert not [notice for place in (a, b) for notice in place.notices]

    simulated(scenario)


def test_a_second_process_with_a_live_name_is_refused_and_says_so() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, _ = fleet.place("a"), fleet.place("b")
        await a.stream("b", [1])
        twin = fleet.place("a", "elsewhere")
        with pytest.raises(NameTakenError, match="b has a live link with another"):
            await twin.stream("b", [2], patience=2.0)
        assert await a.stream("b", [3]) == [3]
        # Once the first is gone the second may have the name.
        await a.die()
        assert await twin.stream("b", [4], patience=2.0) == [4]

    simulated(scenario)


def test_an_absent_peer_is_awaited_no_longer_than_the_patience() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        now = asyncio.get_running_loop().time
        begin = now()
        with pytest.raises(PeerDownError, match=r"within 3\.0 s"):
            await a.stream("b", [1], patience=3.0)
        assert now() - begin == pytest.approx(3.0, abs=0.1)
        fleet.place("b")
        assert await a.stream("b", [1], patience=3.0) == [1]
        # Known, and gone: now the link itself keeps the time.
        await fleet.places[1].die()
        await turns()
        begin = now()
        with pytest.raises(PeerDownError, match="nobody listens"):
            await a.stream("b", [2], patience=3.0)
        assert now() - begin == pytest.approx(3.0, abs=0.1)
        assert len([n for n in a.notices if n.startswith("waiting for b")]) == 2

    simulated(scenario)


@pytest.mark.parametrize("every", [1, 2, 3, 7, 20])
def test_a_stream_survives_any_number_of_cuts(every: int) -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        done = asyncio.Event()

        async def handle(_: str, item: Any) -> Any:
            if item % 5 == 0:
                await asyncio.sleep(0.01)
            return item

        b.handler = handle

        async def cutting() -> None:
            while not done.is_set():
                await turns(every)
                await asyncio.sleep(0.1)
                fleet.network.cut("a", "b")

        cuts = asyncio.create_task(cutting())
        assert await a.stream("b", range(400)) == list(range(400))
        done.set()
        await cuts
        assert b.got == list(range(400)), "nothing lost, nothing twice"
        await asyncio.sleep(5)
        assert a.line("b")["acked"] == 400

    simulated(scenario, LinkSettings(window_messages=16))


def test_each_cut_between_two_steps_is_survived() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")

        async def run(n: int) -> list[Any]:
            return await a.stream("b", [(n, k) for k in range(30)])

        await a.stream("b", ["first"])
        for n in range(60):
            task = asyncio.create_task(run(n))
            await turns(n)
            fleet.network.cut("a", "b")
            assert await task == [[n, k] for k in range(30)]
        assert b.got[1:] == [[n, k] for n in range(60) for k in range(30)]

    simulated(scenario, LinkSettings(window_messages=16))


def test_a_restarted_receiver_gets_what_was_not_acked() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        never = asyncio.Event()

        async def stuck(_: str, item: Any) -> Any:
            if item >= 5:
                await never.wait()
            return item

        b.handler = stuck

        async def run(**delivery: Any) -> list[Any]:
            return await a.stream("b", range(10), **delivery)

        task = asyncio.create_task(run())
        careful = asyncio.create_task(run(at_most_once=True))
        await asyncio.sleep(1)
        await b.die()
        again = fleet.place("b")
        assert await task == list(range(10))
        with pytest.raises(OutcomeUnknownError, match="peer restarted") as caught:
            await careful
        assert caught.value.acks == []
        assert again.got[:5] == [5, 6, 7, 8, 9]
        assert ("b", "up", "restarted") in a.changes

    simulated(scenario)


def test_an_ack_timeout_counts_from_transmission() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        gate = asyncio.Event()
        b.handler = held(gate)
        now = asyncio.get_running_loop().time
        begin = now()
        with pytest.raises(AckTimeoutError):
            await a.stream("b", range(3), ack_timeout=2.0)
        assert now() - begin == pytest.approx(2.0, abs=0.1)
        gate.set()
        await asyncio.sleep(1)
        line = a.line("b")
        assert line["late_acked"] == 3
        assert line["in_flight"] == 0

    simulated(scenario)


def test_silence_is_noticed_and_told_and_healed() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        await a.stream("b", [1])
        now = asyncio.get_running_loop().time
        begin = now()
        fleet.network.partition("a", "b")

        async def run() -> list[Any]:
            return await a.stream("b", range(2, 100), patience=30.0)

        task = asyncio.create_task(run())
        await asyncio.sleep(3 - (now() - begin))
        assert len(b.changes) == 2
        assert [change[1] for change in a.changes] == ["up", "down"]
        await asyncio.sleep(4)
        fleet.network.heal("a", "b")
        assert await task == list(range(2, 100))
        assert b.got == list(range(1, 100))
        assert a.changes[-1] == ("b", "up", "resumed")

    simulated(scenario)


def test_bytes_of_an_unfinished_frame_are_a_sign_of_life_and_their_end_is_noticed() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, _ = fleet.place("a"), fleet.place("b")
        await a.stream("b", [1])
        link = a.dialler("b").link
        assert link.transport is not None
        now = asyncio.get_running_loop().time
        trickle_until = now() + 20
        link.transport.silence = lambda: max(0.1, now() - trickle_until)  # type: ignore[method-assign]
        fleet.network.partition("a", "b")
        await asyncio.sleep(19)
        assert len(a.changes) == 1
        await asyncio.sleep(7)
        assert a.changes[-1][1] == "down"

    simulated(scenario)


# -- the end ----------------------------------------------------------------------------------


def test_draining_answers_what_is_in_hand_and_leaves_no_task() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        fleet.network.delay("a", "b", 0.02)

        b.handler = paced(0.1)

        async def run() -> list[Any]:
            return await a.stream("b", range(5), patience=2.0)

        task = asyncio.create_task(run())
        await asyncio.sleep(0.2)
        begin = asyncio.get_running_loop().time()
        await b.hub.drain("stopping")
        assert asyncio.get_running_loop().time() - begin < 1
        await b.hub.close()
        assert await task == list(range(5)), "the last answer was out before the connection was closed"

    simulated(scenario)


def test_draining_an_idle_link_does_not_wait_for_a_heartbeat() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, _ = fleet.place("a"), fleet.place("b")
        await a.stream("b", [1])
        await turns()
        begin = asyncio.get_running_loop().time()
        await a.hub.drain("stopping")
        assert asyncio.get_running_loop().time() - begin < 0.01

    simulated(scenario)


@pytest.mark.parametrize("kind", ["sync", "async", "waiting"])
def test_a_stream_ends_by_name_when_its_own_hub_leaves(kind: str) -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        b.handler = paced(0.1)

        async def run(data: Any) -> list[Any]:
            return await a.stream("b", data)

        tasks = [asyncio.create_task(run(Source(500)() if kind == "async" else range(500)))]
        await turns()
        if kind == "waiting":
            tasks.append(asyncio.create_task(run(range(10))))
        await asyncio.sleep(1)
        await a.hub.drain("stopping")
        for task in tasks:
            with pytest.raises(PeerDownError, match="the link was closed"):
                await task
        await a.hub._links["b", ""].leave("again")
        await a.die()
        with pytest.raises(PeerDownError, match="this worker has stopped"):
            await run([1])

    simulated(scenario, SMALL)


def test_last_words_after_the_drain_are_still_sent_but_none_after_the_close() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        await a.stream("b", [1])
        a.hub.give_up()
        await a.hub.drain("stopping")
        assert await a.stream("b", ["off"]) == ["off"]
        await a.hub.close()
        with pytest.raises(PeerDownError, match="this worker has stopped"):
            await a.stream("b", ["too late"])
        with pytest.raises(PeerDownError, match="this worker has stopped"):
            await a.stream("other", ["too late"])
        assert b.got == [1, "off"]

    simulated(scenario)


def test_who_gave_up_does_not_wait_for_an_absent_peer() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")

        async def run() -> None:
            await a.stream("b", [1], patience=None)

        task = asyncio.create_task(run())
        await asyncio.sleep(5)
        a.hub.give_up()
        with pytest.raises(PeerDownError, match="stopped waiting for b"):
            await task

    simulated(scenario)


@pytest.mark.parametrize("known", [True, False], ids=["it was there before", "it never was there"])
def test_who_gave_up_dials_an_absent_peer_once_more_and_tells_nobody(known: bool) -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        dials = 0
        dial = a.dial

        async def counted(place: str) -> Transport:
            nonlocal dials
            dials += 1
            return await dial(place)

        a.dial = counted  # type: ignore[method-assign]
        if known:
            b = fleet.place("b")
            await a.stream("b", [1])
            await b.die()
        before = dials
        a.hub.give_up()
        await a.hub.drain("stopping")
        for _ in range(100):
            with pytest.raises(PeerDownError, match="stopped waiting for b"):
                await a.stream("b", [2])
        assert dials == before + 1, "and not once for each message"
        assert a.notices == []

    simulated(scenario)


def test_peers_that_are_gone_for_good_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MAX_LINKS", 3)

    async def scenario(fleet: Fleet) -> None:
        b = fleet.place("b")
        scripts = [fleet.place(f"script-{n}") for n in range(4)]
        for script in scripts[:3]:
            await script.stream("b", [1])
        with pytest.raises(PeerDownError, match="too-many: b has 3 links"):
            await scripts[3].stream("b", [1], patience=2.0)
        for script in scripts[:3]:
            await script.die()
        await asyncio.sleep(70)
        assert await scripts[3].stream("b", [1], patience=5.0) == [1]
        assert list(b.hub._links) == [("script-3", "")]
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert not any("script-0" in name for name in names)

    simulated(scenario)


def test_what_a_dial_raises_is_told_and_another_try_is_possible() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")

        async def broken() -> Any:
            raise RuntimeError("a mistake")

        dialler = a.hub.dialler("b", "memory://b", broken)
        with pytest.raises(RuntimeError, match="a mistake"):
            await dialler.first_contact(5)
        fleet.place("b")
        assert await a.stream("b", [1]) == [1]

    simulated(scenario)


def test_nobody_is_served_who_says_nothing_or_nonsense() -> None:
    async def scenario(fleet: Fleet) -> None:
        b = fleet.place("b")
        silent = await fleet.network.dial("x", "b")
        rude = await fleet.network.dial("y", "b")
        await rude.send(b"\xc1nonsense")
        assert b"protocol" in await rude.recv()
        gone = await fleet.network.dial("z", "b")
        gone.abort()
        with contextlib.suppress(ConnectionError):
            await silent.recv()
        await turns()
        assert len(b.ended) == 3
        assert b.hub._links == {}

    simulated(scenario)


def test_a_peer_that_breaks_the_protocol_ends_the_session_and_the_stream_by_name() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        never = asyncio.Event()

        async def stuck(_: str, item: Any) -> Any:
            await never.wait()

        b.handler = stuck

        async def run() -> None:
            await a.stream("b", range(3))

        task = asyncio.create_task(run())
        await asyncio.sleep(1)
        theirs = b.hub._links["a", ""].transport
        assert theirs is not None
        await theirs.send(b"\xc1")
        with pytest.raises(OutcomeUnknownError, match="session over"):
            await task
        b.handler = lambda _, item: asyncio.sleep(0, item)
        assert await a.stream("b", [7], "d") == [7]

    simulated(scenario)


# -- the n-th operation fails -------------------------------------------------------------------


async def _dial_stream_close(fleet: Fleet) -> bool:
    """Dial, stream 30 items, close; return whether all went well."""
    a, b = fleet.place("a"), fleet.place("b")
    items = [n if n % 3 else bytes([n]) * 20_000 for n in range(30)]
    well = True
    try:
        assert await a.stream("b", items, patience=4.0, ack_timeout=20.0) == items
        assert b.got == items
    except DeliveryError:
        well = False
    line = a.hub.books().get("b", {}).get("sent", {}).get("c")
    if line is not None:
        assert line["balanced"]
        assert line["acked"] <= len(b.got)  # type: ignore[operator]
    assert all(b.got.count(item) == 1 for item in b.got), "handled twice within an incarnation"
    async with asyncio.timeout(30):
        await a.hub.drain("done")
    await a.hub.close()
    return well


@pytest.mark.parametrize("for_good", [False, True], ids=["once", "for good"])
def test_whichever_operation_fails_every_item_settles(for_good: bool) -> None:
    n = 0
    untouched = False
    while not untouched:
        n += 1
        assert n < 300

        async def scenario(fleet: Fleet, n: int = n) -> tuple[bool, bool]:
            fleet.network.break_at(n, for_good=for_good)
            well = await _dial_stream_close(fleet)
            return well, fleet.network.operations < n

        well, untouched = simulated(scenario, LinkSettings(window_messages=8))
        assert well or for_good, f"one failure, of operation {n}, is survived"
    assert n > 10


def test_a_link_that_was_left_does_not_keep_the_loop_busy() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        link = a.dialler("b").link

        async def run() -> None:
            await a.stream("b", [1], patience=10.0)

        task = asyncio.create_task(run())
        await asyncio.sleep(0.01)
        fleet.place("b")
        await task  # its alarm for the patience is still set
        await a.hub.drain("stopping")
        fired = 0
        fire = link._on_timer

        def count() -> None:
            nonlocal fired
            fired += 1
            fire()

        link._on_timer = count  # type: ignore[method-assign]
        await asyncio.sleep(60)
        assert fired < 5

    simulated(scenario)


def test_a_welcome_is_not_held_up_by_a_writer_of_the_connection_before() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        await a.stream("b", [1])
        fleet.network.delay("a", "b", 0.001)

        async def answer(_: str, item: Any) -> Any:
            return b"x" * 60_000

        b.handler = answer

        async def run() -> list[Any]:
            return await a.stream("b", range(40))

        task = asyncio.create_task(run())
        await asyncio.sleep(0.02)  # b's answers fill the buffer, and somebody waits in send()
        now = asyncio.get_running_loop().time
        near = a.hub._links["b", ""].transport
        assert near is not None
        fleet.network.partition("a", "b")
        near.abort()  # a knows, b does not: it will be told by the next HELLO
        fleet.network._partitions.clear()
        begin = now()
        while not [change for change in a.changes if change[2] == "resumed"]:
            await turns(1)
            await asyncio.sleep(0.001)
        assert now() - begin < 0.2, "no heartbeat was needed for the WELCOME"
        assert len(await task) == 40

    simulated(scenario)


def test_a_peer_that_broke_the_protocol_is_forgotten_as_well() -> None:
    async def scenario(fleet: Fleet) -> None:
        b = fleet.place("b")
        for n in range(3):
            rogue = await fleet.network.dial("rogue", "b")
            await rogue.send(msgspec.msgpack.encode([[0, {**TERMS, "name": f"rogue-{n}"}]]))
            await rogue.send(msgspec.msgpack.encode([[3, "c", 1, 1, [n]]]))
            await rogue.send(b"\xc1")
            with contextlib.suppress(TransportClosedError):
                while True:
                    await rogue.recv()
        await asyncio.sleep(50)
        assert len(b.hub.books()) == 3
        await asyncio.sleep(20)
        assert not b.hub._links
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert not any("rogue" in name or "channel" in name for name in names)

    simulated(scenario)


def test_what_is_idle_keeps_neither_messages_nor_connections() -> None:
    class Batch(list[Any]):
        pass

    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        batches: list[weakref.ref[Batch]] = []
        opened = b.opened

        def prepare(items: list[Any]) -> list[Any]:
            batch = Batch(items)
            batches.append(weakref.ref(batch))
            return batch

        b.opened = lambda peer, channel: Route(opened(peer, channel).handle, prepare)  # type: ignore[method-assign]
        assert await a.stream("b", [1, 2, 3]) == [1, 2, 3]
        await turns()
        assert batches
        assert all(batch() is None for batch in batches)
        raw = await fleet.network.dial("raw", "b")
        await raw.send(msgspec.msgpack.encode([[0, TERMS]]))
        await raw.recv()
        gone = weakref.ref(b.hub._links["raw", ""].transport)
        raw.abort()
        del raw
        await asyncio.sleep(1)
        gc.collect()
        assert ("raw", "") in b.hub._links
        assert gone() is None

    simulated(scenario)
