"""Asks between hubs on a network in memory: parts, errors, cancellation, faults, limits."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, Callable, Coroutine
from random import Random
from typing import Any

import pytest

from mesh.errors import DeliveryError, NackedError, OutcomeUnknownError, PayloadError, PeerDownError
from mesh.links import asks
from mesh.links.answering import RefusedError
from mesh.protocol.asking import MOST_UNTAKEN
from mesh.protocol.link import LinkSettings
from mesh.protocol.values import Refusal
from mesh.streams import Ask
from tests.helpers.hubs import Fleet, Place, simulated, turns


class Source:
    """A generator for a place, and what became of those it made."""

    def __init__(self, pace: float = 0.0, count: int | None = None, farewell: float = 0.0) -> None:
        self.pace = pace
        self.count = count
        self.farewell = farewell
        self.given = 0
        self.begun = 0
        self.closed = 0
        self.ends: list[str] = []

    async def __call__(self, channel: str, msg: Any) -> AsyncGenerator[Any, None]:
        self.begun += 1
        number = 0
        try:
            while self.count is None or number < self.count:
                if self.pace:
                    await asyncio.sleep(self.pace)
                yield number
                number += 1
                self.given += 1
            self.ends.append("end")
        except BaseException as exc:
            self.ends.append(type(exc).__name__)
            raise
        finally:
            if self.farewell:
                await asyncio.sleep(self.farewell)
            self.closed += 1


def pair(fleet: Fleet, source: Any) -> tuple[Place, Place]:
    """Return who asks and who answers."""
    asker, answerer = fleet.place("asker"), fleet.place("answerer")
    answerer.generator = source
    return asker, answerer


async def taken(ask: Ask, count: int) -> list[Any]:
    """Return the first parts."""
    parts: list[Any] = []
    async for part in ask:
        parts.append(part)
        if len(parts) == count:
            break
    return parts


async def whole(ask: Ask, most: int = 10**9) -> tuple[list[Any], Exception | None]:
    """Return all parts, and the error after them."""
    parts: list[Any] = []
    try:
        async for part in ask:
            parts += [part]
            if len(parts) == most:
                break
    except Exception as exc:
        return parts, exc
    return parts, None


async def until(condition: Any, seconds: float = 100.0) -> None:
    """Let time pass until it is so."""
    end = asyncio.get_running_loop().time() + seconds
    while not condition():
        await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() < end


# -- the plain way


def test_parts_come_in_order_and_keep_their_types() -> None:
    async def scenario(fleet: Fleet) -> None:
        async def source(channel: str, msg: Any) -> AsyncGenerator[Any, None]:
            for part in (channel, msg, 1, None, b"b", {"a": [1.5]}):
                yield part

        asker, answerer = pair(fleet, source)
        parts = [part async for part in asker.ask("answerer", {"deep": 1}, "any/channel")]
        assert parts == ["any/channel", {"deep": 1}, 1, None, b"b", {"a": [1.5]}]
        await turns()
        assert asker.line("answerer", "sent", "$ask")["acked"] == 1
        assert asker.line("answerer", "received", "$part")["handled"] == 7
        assert answerer.line("asker", "sent", "$part")["acked"] == 7

    simulated(scenario)


def test_no_parts_at_all() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, _ = pair(fleet, Source(count=0))
        ask = asker.ask("answerer")
        assert [part async for part in ask] == []
        assert [part async for part in ask] == [], "what is over stays over"

    simulated(scenario)


def test_an_ask_is_closed_under_who_waits_for_its_next_part() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source(pace=60.0)
        asker, _ = pair(fleet, source)
        ask = asker.ask("answerer")
        reader = asyncio.ensure_future(whole(ask))
        await asyncio.sleep(1)
        await ask.aclose()
        assert await reader == ([], None)
        assert source.closed == 1

    simulated(scenario)


def test_an_ask_is_closed_while_it_waits_for_the_peer() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker = fleet.place("asker")
        ask = asker.ask("answerer", patience=None)
        reader = asyncio.ensure_future(whole(ask))
        await asyncio.sleep(5)
        with pytest.raises(RuntimeError, match="being begun already"):
            await anext(ask)
        await ask.aclose()
        source = fleet.place("answerer").generator = Source()
        assert await reader == ([], None)
        assert source.begun == source.closed

    simulated(scenario)


def test_what_failed_to_begin_is_over() -> None:
    async def scenario(fleet: Fleet) -> None:
        ask = fleet.place("asker").ask("answerer", patience=0.1)
        _, error = await whole(ask)
        assert isinstance(error, PeerDownError)
        assert await whole(ask) == ([], None)

    simulated(scenario)


def test_one_at_a_time_iterates_an_ask() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, _ = pair(fleet, Source(pace=1.0, count=2))
        ask = asker.ask("answerer")
        assert await anext(ask) == 0
        first = asyncio.ensure_future(anext(ask))
        await turns()
        with pytest.raises(RuntimeError, match="somebody else waits"):
            await anext(ask)
        assert await first == 1
        assert [part async for part in ask] == []

    simulated(scenario)


def test_asks_run_side_by_side_and_in_both_directions() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, answerer = pair(fleet, Source(pace=1.0, count=3))
        asker.generator = Source(pace=1.0, count=2)
        asked = [asker.ask("answerer") for _ in range(50)] + [answerer.ask("asker") for _ in range(50)]
        begin = asyncio.get_running_loop().time()
        parts = await asyncio.gather(*(taken(ask, 10) for ask in asked))
        assert parts == [[0, 1, 2]] * 50 + [[0, 1]] * 50
        assert asyncio.get_running_loop().time() - begin < 4.0

    simulated(scenario)


def test_very_many_asks_leave_nothing_behind() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, answerer = pair(fleet, Source(count=1))
        for _ in range(300):
            assert await taken(asker.ask("answerer"), 10) == [0]
        await asyncio.sleep(2)
        for place in (asker, answerer):
            (link,) = place.hub._links.values()
            assert not [name for name in link.inboxes if name.startswith("$part/")]
            assert not link.asks._asking
            assert not link.asks._answering
            assert not link.asks._all
            books = link.core.books()
            assert {*books["sent"], *books["received"]} <= {"$ask", "$part"}
            assert not link.core._traffic._outbound
            assert not link.core._traffic._inbound
            assert len(link.core._traffic._idle) <= 1

    simulated(scenario)


def test_the_channels_of_asks_are_settled_before_there_are_very_many() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, answerer = pair(fleet, Source(count=1))
        most = 0
        for _ in range(1000):
            assert await taken(asker.ask("answerer"), 10) == [0]
            for place in (asker, answerer):
                (link,) = place.hub._links.values()
                most = max(most, len(link.core._traffic._outbound), len(link.core._traffic._inbound))
        assert most < 200
        # Not in a single heartbeat's time, in which nothing else would settle them.
        await asyncio.sleep(200)

    simulated(scenario, LinkSettings(heartbeat=60.0, timeout=120.0))


def test_an_ask_counts_until_its_last_part_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asks, "MOST_OF_LINK", 3)

    async def scenario(fleet: Fleet) -> None:
        asker, answerer = pair(fleet, Source(count=2))
        kept = [asker.ask("answerer") for _ in range(3)]
        for ask in kept:
            assert await anext(ask) == 0
        await asyncio.sleep(1)
        assert answerer.generator.closed == 3  # type: ignore[union-attr]
        assert answerer.hub.in_hand() == []
        with pytest.raises(NackedError, match="TooManyAsksError"):
            await taken(asker.ask("answerer"), 1)
        assert await whole(kept.pop()) == ([1], None)
        await turns()
        assert await whole(asker.ask("answerer")) == ([0, 1], None)
        # And whoever leaves with parts that nobody took does not hold up the end.
        await answerer.hub.end_asks(1.0)
        await answerer.hub.drain("stopping")
        assert [await whole(ask) for ask in kept] == [([1], None), ([1], None)]

    simulated(scenario)


def test_a_peer_that_takes_no_parts_gets_no_more_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asks, "MOST_OPEN", 2)

    async def scenario(fleet: Fleet) -> None:
        asker, _ = pair(fleet, Source(count=1))
        kept = [asker.ask("answerer") for _ in range(2)]
        for ask in kept:
            assert await anext(ask) == 0
        with pytest.raises(NackedError, match="very many former asks"):
            await taken(asker.ask("answerer"), 1)

    simulated(scenario)


def test_a_generator_never_runs_far_ahead_of_a_slow_consumer() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source()
        asker, answerer = pair(fleet, source)
        async with asker.ask("answerer") as ask:
            assert await anext(ask) == 0
            await asyncio.sleep(10)
            assert source.given == MOST_UNTAKEN
            assert answerer.line("asker", "sent", "$part")["in_flight"] == MOST_UNTAKEN
            for number in range(1, 40):
                assert await anext(ask) == number
            await asyncio.sleep(10)
            assert source.given == MOST_UNTAKEN + 39
        assert source.closed == 1

    simulated(scenario)


def test_large_parts_wait_for_the_window() -> None:
    async def scenario(fleet: Fleet) -> None:
        async def source(channel: str, msg: Any) -> AsyncGenerator[Any, None]:
            for number in range(20):
                yield bytes([number]) * 3000

        asker, answerer = pair(fleet, source)
        parts = [part async for part in asker.ask("answerer")]
        assert parts == [bytes([number]) * 3000 for number in range(20)]
        await turns()
        assert answerer.line("asker", "sent", "$part")["acked"] == 21

    simulated(scenario, LinkSettings(window_messages=8, window_bytes=10_000))


# -- errors


def test_an_error_comes_in_its_place() -> None:
    async def scenario(fleet: Fleet) -> None:
        async def source(channel: str, msg: Any) -> AsyncGenerator[Any, None]:
            yield 1
            yield 2
            raise ValueError("too hot")

        asker, _ = pair(fleet, source)
        parts, error = await whole(asker.ask("answerer"))
        assert parts == [1, 2]
        assert isinstance(error, NackedError)
        assert (error.peer, error.type, error.reason) == ("answerer", "ValueError", "too hot")

    simulated(scenario)


def test_a_refusal_keeps_the_type_it_is_given() -> None:
    async def scenario(fleet: Fleet) -> None:
        async def source(channel: str, msg: Any) -> AsyncGenerator[Any, None]:
            if msg is None:
                raise RefusedError(Refusal("Nack", "later"))
            yield

        asker, _ = pair(fleet, source)
        with pytest.raises(NackedError, match="Nack: later"):
            await taken(asker.ask("answerer"), 1)

    simulated(scenario)


def test_an_ask_is_refused() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, _ = pair(fleet, None)
        with pytest.raises(NackedError, match="nobody is here"):
            await taken(asker.ask("answerer"), 1)

    simulated(scenario)


def test_a_question_that_cannot_be_sent() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, _ = pair(fleet, Source())
        with pytest.raises(PayloadError):
            await taken(asker.ask("answerer", object()), 1)
        (link,) = asker.hub._links.values()
        assert not link.asks._asking

    simulated(scenario)


def test_a_part_that_cannot_be_sent_ends_the_ask_and_closes_the_generator() -> None:
    async def scenario(fleet: Fleet) -> None:
        closed = []

        async def source(channel: str, msg: Any) -> AsyncGenerator[Any, None]:
            try:
                yield 1
                yield object()
                yield 3
            finally:
                closed.append(1)

        asker, answerer = pair(fleet, source)
        ask = asker.ask("answerer")
        assert await anext(ask) == 1
        with pytest.raises(NackedError, match=r"PayloadError: a object|PayloadError: an? "):
            await anext(ask)
        await turns()
        assert closed == [1]
        assert len(answerer.unsent) == 1

    simulated(scenario)


@pytest.mark.parametrize(
    "question",
    [
        "text",
        {},
        {"id": 1, "channel": "c", "msg": 1},
        {"id": "", "channel": "c", "msg": 1},
        {"id": "x" * 129, "channel": "c", "msg": 1},
        {"id": "1"},
    ],
)
def test_a_question_that_is_none_is_refused(question: Any) -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, _ = pair(fleet, Source())
        with pytest.raises(NackedError, match="ValueError"):
            await asker.stream("answerer", [question], "$ask")

    simulated(scenario)


def test_an_id_is_good_for_one_ask_at_a_time() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, _ = pair(fleet, Source(pace=1.0))
        question = {"id": "mine", "channel": "c"}
        await asker.stream("answerer", [question], "$ask")
        with pytest.raises(NackedError, match="in use"):
            await asker.stream("answerer", [question], "$ask")
        assert await asker.stream("answerer", [{"id": "mine"}, {"id": "unknown"}, 3], "$cancel") == [None] * 3

    simulated(scenario)


def test_parts_of_an_unknown_ask_are_refused() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, _ = pair(fleet, Source())
        with pytest.raises(NackedError, match="nobody takes the parts"):
            await asker.stream("answerer", [[0, 1], [0, 2], [1]], "$part/unknown")

    simulated(scenario)


@pytest.mark.parametrize("nonsense", [5, [9], [0, 1, 2]])
def test_what_is_no_part_ends_the_ask(nonsense: Any) -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source(pace=5.0)
        asker, answerer = pair(fleet, source)
        ask = asker.ask("answerer")
        first = asyncio.ensure_future(anext(ask))
        await asyncio.sleep(1)
        await answerer.stream("asker", [nonsense], "$part/1")
        with pytest.raises(DeliveryError, match="no part"):
            await first
        await asyncio.sleep(1)
        assert source.closed == 1

    simulated(scenario)


# -- limits


def test_so_many_asks_of_one_peer_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asks, "MOST_OF_LINK", 5)

    async def scenario(fleet: Fleet) -> None:
        source = Source(pace=1.0, count=3)
        asker, _ = pair(fleet, source)
        running = [asyncio.ensure_future(taken(asker.ask("answerer"), 9)) for _ in range(5)]
        await asyncio.sleep(0.5)
        with pytest.raises(NackedError, match="TooManyAsksError"):
            await taken(asker.ask("answerer"), 1)
        assert await asyncio.gather(*running) == [[0, 1, 2]] * 5
        assert await taken(asker.ask("answerer"), 9) == [0, 1, 2]

    simulated(scenario)


def test_so_many_asks_of_all_peers_and_no_more() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source(pace=1.0, count=3)
        asker, answerer = pair(fleet, source)
        answerer.hub._asks.left = 3
        other = fleet.place("other")
        running = [asyncio.ensure_future(taken(place.ask("answerer"), 9)) for place in (asker, other, other)]
        await asyncio.sleep(0.5)
        with pytest.raises(NackedError, match="TooManyAsksError"):
            await taken(asker.ask("answerer"), 1)
        assert await asyncio.gather(*running) == [[0, 1, 2]] * 3
        assert answerer.hub._asks.left == 3

    simulated(scenario)


# -- cancellation


def test_break_closes_the_generator() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source()
        asker, _ = pair(fleet, source)
        async for part in asker.ask("answerer"):
            if part == 3:
                break
        await turns()
        assert (source.closed, source.ends) == (1, ["GeneratorExit"])
        assert asker.line("answerer", "sent", "$cancel")["acked"] == 1

    simulated(scenario)


def test_aclose_waits_until_finally_has_run() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source(farewell=2.0)
        asker, _ = pair(fleet, source)
        async with asker.ask("answerer") as ask:
            assert await anext(ask) == 0
            assert source.closed == 0
        assert source.closed == 1
        await ask.aclose()
        assert [part async for part in ask] == []

    simulated(scenario)


def test_aclose_does_not_wait_for_ever() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source(farewell=30.0)
        asker, _ = pair(fleet, source)
        begin = asyncio.get_running_loop().time()
        async with asker.ask("answerer") as ask:
            await anext(ask)
        assert 4.9 < asyncio.get_running_loop().time() - begin < 6
        # Others do not wait for it either, though cancellations are answered in their order.
        quick = Source()
        fleet.places[1].generator = quick
        async for _ in asker.ask("answerer"):
            break
        await turns()
        assert quick.closed == 1

    simulated(scenario)


def test_the_cancellation_of_an_asker_reaches_the_generator_in_its_wait() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source(pace=60.0)
        asker, _ = pair(fleet, source)
        task = asyncio.ensure_future(taken(asker.ask("answerer"), 1))
        await asyncio.sleep(1)
        assert source.begun == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await turns()
        assert (source.closed, source.ends) == (1, ["CancelledError"])

    simulated(scenario)


def test_an_asker_that_is_cancelled_before_it_was_accepted() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source()
        asker, _ = pair(fleet, source)
        await taken(asker.ask("answerer"), 1)
        await turns()
        task = asyncio.ensure_future(taken(asker.ask("answerer"), 10**9))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(1)
        assert source.begun == source.closed

    simulated(scenario)


def test_an_ask_that_is_forgotten_in_a_cycle_is_closed_when_it_is_collected() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source()
        asker, _ = pair(fleet, source)
        ask: Any = asker.ask("answerer")
        await anext(ask)
        ask.myself = ask
        del ask
        gc.collect()
        await turns()
        assert source.closed == 1

    simulated(scenario)


def test_an_ask_that_was_never_iterated_says_so() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, _ = pair(fleet, Source())
        with pytest.warns(RuntimeWarning, match="never iterated"):
            asker.ask("answerer")
        ask = asker.ask("answerer")
        await ask.aclose()
        assert [part async for part in ask] == []

    simulated(scenario)


def test_a_generator_that_ignores_its_cancellation_gives_nothing_more() -> None:
    async def scenario(fleet: Fleet) -> None:
        closed = []

        async def stubborn(channel: str, msg: Any) -> AsyncGenerator[Any, None]:
            try:
                for number in range(1000):
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(1)
                    yield number
            finally:
                closed.append(1)

        asker, answerer = pair(fleet, stubborn)
        async with asker.ask("answerer") as ask:
            assert await anext(ask) == 0
        assert closed == [1]
        assert answerer.line("asker", "sent", "$part")["sent"] == 1

    simulated(scenario)


# -- faults


def test_parts_survive_a_cut_of_the_connection() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source(pace=0.1, count=100)
        asker, _ = pair(fleet, source)
        parts = []
        async for part in asker.ask("answerer"):
            parts.append(part)
            if part % 20 == 10:
                fleet.network.cut("asker", "answerer")
        assert parts == list(range(100))

    simulated(scenario)


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("leave", [False, True])
def test_whichever_write_fails_nothing_is_lost_or_left(leave: bool, for_good: bool) -> None:
    def scenario(operation: int) -> Callable[[Fleet], Coroutine[Any, Any, bool]]:
        async def run(fleet: Fleet) -> bool:
            source = Source(pace=0.01, count=None if leave else 8)
            asker, _ = pair(fleet, source)
            fleet.network.break_at(operation, for_good=for_good)
            ask = asker.ask("answerer", patience=5.0)
            parts, error = await whole(ask, most=5 if leave else 10**9)
            if error is None:
                assert parts == list(range(5 if leave else 8))
            else:
                assert for_good
                assert isinstance(error, PeerDownError | OutcomeUnknownError)
            del ask
            await until(lambda: source.closed == source.begun)
            assert source.begun <= 1
            return fleet.network.operations < operation

        return run

    operation = 1
    while not simulated(scenario(operation)):
        operation += 1
    assert operation > 10


def test_a_break_while_the_connection_is_cut_reaches_the_generator() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source(pace=0.1)
        asker, _ = pair(fleet, source)
        async for part in asker.ask("answerer"):
            if part == 5:
                fleet.network.cut("asker", "answerer")
                break
        await until(lambda: source.closed == 1, 10)
        assert source.begun == 1

    simulated(scenario)


def test_a_killed_asker_ends_the_generator_when_its_session_is_over() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source(pace=0.1)
        asker, answerer = pair(fleet, source)
        ask = asker.ask("answerer")
        await anext(ask)
        fleet.network.partition("asker", "answerer")
        await until(lambda: source.closed == 1, 120)
        assert source.ends == ["CancelledError"] or source.ends == ["GeneratorExit"]
        assert answerer.hub._asks.left == asks.MOST_OF_PROCESS
        with pytest.raises(PeerDownError):
            await taken(ask, 1000)
        fleet.network.heal("asker", "answerer")

    simulated(scenario)


def test_a_restarted_asker_ends_the_generators_of_its_former_life() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source(pace=0.1)
        asker, _ = pair(fleet, source)
        ask = asker.ask("answerer")
        await anext(ask)
        await asker.die()
        again = fleet.place("asker")
        # Its first id is that of the former life as well.
        assert await taken(again.ask("answerer"), 3) == [0, 1, 2]
        await until(lambda: source.closed == 2, 10)
        with pytest.raises((OutcomeUnknownError, PeerDownError)):
            async for _ in ask:
                pass

    simulated(scenario)


def test_an_answerer_that_is_restarted_fails_the_ask_after_the_parts_that_came() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source()
        asker, answerer = pair(fleet, source)
        ask = asker.ask("answerer", patience=None)
        assert await anext(ask) == 0
        await turns()
        await answerer.die()
        again = fleet.place("answerer")
        again.generator = Source()
        await asyncio.sleep(5)
        got, error = await whole(ask)
        assert isinstance(error, OutcomeUnknownError)
        assert got == list(range(1, MOST_UNTAKEN + 1))
        assert source.closed == 1
        assert again.generator.begun == 0, "no ask is begun twice"

    simulated(scenario)


def test_an_absent_answerer_fails_the_ask_after_the_patience() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker, answerer = pair(fleet, Source(pace=1.0))
        ask = asker.ask("answerer", patience=7.0)
        assert await anext(ask) == 0
        await answerer.die()
        begin = asyncio.get_running_loop().time()
        with pytest.raises(PeerDownError):
            async for _ in ask:
                pass
        assert 6 < asyncio.get_running_loop().time() - begin < 12

    simulated(scenario)


def test_an_ask_waits_for_who_is_not_there_yet_and_not_for_ever() -> None:
    async def scenario(fleet: Fleet) -> None:
        asker = fleet.place("asker")
        with pytest.raises(PeerDownError):
            await taken(asker.ask("answerer", patience=3.0), 1)
        waiting = asyncio.ensure_future(taken(asker.ask("answerer", patience=None), 2))
        await asyncio.sleep(20)
        fleet.place("answerer").generator = Source()
        assert await waiting == [0, 1]

    simulated(scenario)


# -- leaving


def test_an_asker_that_leaves_ends_its_asks_at_both_ends() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source()
        asker, _ = pair(fleet, source)
        ask = asker.ask("answerer")
        assert await anext(ask) == 0
        await turns()
        begin = asyncio.get_running_loop().time()
        await asker.hub.drain("done")
        assert asyncio.get_running_loop().time() - begin < 1.0
        await until(lambda: source.closed == 1, 2)
        with pytest.raises(OutcomeUnknownError):
            async for _ in ask:
                pass

    simulated(scenario)


def test_an_answerer_that_stops_finishes_what_is_short_and_ends_the_rest() -> None:
    async def scenario(fleet: Fleet) -> None:
        short, long = Source(pace=0.1, count=5), Source(pace=0.1)
        asker, answerer = pair(fleet, lambda channel, msg: (short if msg else long)(channel, msg))
        parts: list[list[int]] = [[], []]
        errors: list[Exception] = []

        async def ask(msg: int) -> None:
            try:
                async for part in asker.ask("answerer", msg):
                    parts[msg].append(part)
            except NackedError as exc:
                errors.append(exc)

        tasks = [asyncio.ensure_future(ask(msg)) for msg in (0, 1)]
        await asyncio.sleep(0.25)
        finishing = asyncio.ensure_future(answerer.hub.end_asks(1.0))
        await asyncio.sleep(0)
        with pytest.raises(NackedError, match="WorkerStoppingError"):
            await taken(asker.ask("answerer"), 1)
        with pytest.raises(NackedError, match="WorkerStoppingError"):
            await taken(fleet.place("newcomer").ask("answerer"), 1)
        await finishing
        await answerer.hub.drain("stopping")
        await asyncio.gather(*tasks)
        assert parts[1] == [0, 1, 2, 3, 4]
        assert parts[0] == list(range(long.given + 1)) or parts[0] == list(range(long.given))
        assert [exc.type for exc in errors if isinstance(exc, NackedError)] == ["WorkerStoppingError"]
        assert (short.closed, long.closed) == (1, 1)

    simulated(scenario)


def test_a_slow_consumer_does_not_hold_up_an_answerer_that_stops() -> None:
    async def scenario(fleet: Fleet) -> None:
        source = Source()
        asker, answerer = pair(fleet, source)
        ask = asker.ask("answerer")
        assert await anext(ask) == 0
        await turns()
        begin = asyncio.get_running_loop().time()
        await answerer.hub.end_asks(0.5)
        await answerer.hub.drain("stopping")
        assert asyncio.get_running_loop().time() - begin < 1.0
        parts, error = await whole(ask)
        assert isinstance(error, NackedError)
        assert error.type == "WorkerStoppingError"
        assert parts == list(range(1, MOST_UNTAKEN + 1))

    simulated(scenario)


# -- anything, in any order


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_each_generator_is_closed_once_and_each_ask_ends_once(seed: int) -> None:
    random = Random(seed)

    async def scenario(fleet: Fleet) -> None:
        asker, answerer = pair(fleet, None)
        opened: list[int] = []
        closed: list[int] = []

        async def source(channel: str, msg: Any) -> AsyncGenerator[Any, None]:
            opened.append(msg)
            try:
                for number in range(random.choice([0, 1, 5, 70, 300])):
                    if random.random() < 0.1:
                        await asyncio.sleep(random.choice([0, 0.01, 1.0]))
                    yield number
                    (link,) = answerer.hub._links.values()
                    assert all(ask._reply.untaken <= MOST_UNTAKEN for ask in link.asks._all)
                    assert all(ask._unanswered <= MOST_UNTAKEN + 1 for ask in link.asks._all)
                if random.random() < 0.3:
                    raise ValueError("mine")
            finally:
                # At once: the cancellation of a generator that ends by itself may come in its last wait.
                closed.append(msg)
                if random.random() < 0.3:
                    await asyncio.sleep(random.choice([0, 0.1]))

        answerer.generator = source
        ends: list[str] = []

        async def consume(number: int) -> None:
            most = random.choice([0, 3, 100, 10**6])
            count = 0
            try:
                async for part in asker.ask("answerer", number, patience=None):
                    assert part == count
                    count += 1
                    if random.random() < 0.05:
                        await asyncio.sleep(random.choice([0, 0.05, 2.0]))
                    if count > most:
                        ends.append("break")
                        break
                else:
                    ends.append("end")
            except (NackedError, OutcomeUnknownError, PeerDownError) as exc:
                ends.append(type(exc).__name__)
            except asyncio.CancelledError:
                ends.append("cancelled")

        tasks = []
        for number in range(30):
            tasks.append(asyncio.ensure_future(consume(number)))
            for _ in range(random.randrange(3)):
                await asyncio.sleep(random.choice([0, 0.01, 0.5]))
            what = random.random()
            if what < 0.15:
                fleet.network.cut("asker", "answerer")
            elif what < 0.3:
                random.choice(tasks).cancel()
            elif what < 0.33:
                # The session ends for good: the answerer forgets it.
                for link in answerer.hub._links.values():
                    link.core._expires_at = 0.0
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(120)
        # One that is cancelled before it has begun has no end to speak of.
        assert len(ends) <= 30
        assert set(ends) <= {"end", "break", "cancelled", "NackedError", "OutcomeUnknownError"}
        assert sorted(opened) == sorted(closed)
        assert len(set(opened)) == len(opened), "an ask is begun at most once"
        assert answerer.hub._asks.left == asks.MOST_OF_PROCESS
        for place in (asker, answerer):
            for link in place.hub._links.values():
                assert not link.asks._asking
                assert not link.asks._all

    simulated(scenario)
