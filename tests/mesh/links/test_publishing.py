"""Hubs that publish to each other: policies, late joiners, lost connections, restarts, ends."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from mesh.errors import FrameTooLargeError, NackedError, PayloadError
from mesh.links import publishing
from mesh.links.inbox import Messages, Route
from mesh.links.publishing import GRACE, LOOK_AFTER, MAX_VALUE, MOST_CHANNELS, MOST_OF_LINK, SLICE
from mesh.links.shell import LinkShell
from mesh.links.subscribing import Values, Want
from mesh.node import Node
from mesh.protocol.fanout import BATCH, Policy
from mesh.protocol.link import LinkSettings
from mesh.subscription import Subscription
from tests.helpers.hubs import Fleet, Place, simulated, turns


async def until_subscribed(place: Place, count: int = 1, channel: str = "tick") -> None:
    """Wait until so many subscribe to a channel of a place."""
    for _ in range(1000):
        if place.publish(None, channel).reached >= count:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("nobody subscribed")


async def take(subscription: Subscription, count: int) -> list[Any]:
    """Return the next values."""
    async with asyncio.timeout(100):
        return [await anext(subscription) for _ in range(count)]


async def joined(a: Place, b: Place, **options: Any) -> Subscription:
    """Subscribe ``b`` to ``a``, and return when that is known there."""
    subscription = b.subscribe(a.name, **options)
    await subscription.__aenter__()
    for _ in range(1000):
        if "subscribed" in b.hub.books().get(a.name, {}):
            break
        await asyncio.sleep(0.1)
    await turns()
    return subscription


def line(a: Place, b: Place, channel: str = "tick") -> dict[str, Any]:
    """Return what ``a`` counts of what it published for ``b``."""
    return dict(a.hub.books()[b.name]["published"][channel])


def test_values_come_in_order_with_their_types() -> None:
    values: list[Any] = [None, {"a": [1, None]}, b"\x00\xff", 7, 1.5, True, "text", []]

    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b)
        for value in values:
            assert await a.publish(value) == 1
        assert await take(subscription, len(values)) == values
        assert subscription.seq == len(values)
        await subscription.aclose()
        await turns()
        assert line(a, b) == {
            "published": 8, "delivered": 8, "refused": 0, "dropped": {}, "pending": 0, "balanced": True,
        }  # fmt: skip

    simulated(scenario)


def test_without_subscribers_a_value_goes_to_nobody() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        assert await a.publish(1) == 0

    simulated(scenario)


def test_who_publishes_in_a_loop_gives_way_even_if_nobody_listens() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        others = 0

        async def live() -> None:
            nonlocal others
            while True:
                others += 1
                await asyncio.sleep(0)

        living = asyncio.create_task(live())
        for stopped in (False, True):
            before = others
            for number in range(10_000):
                await a.publish(number)
            assert others > before + 10
            if not stopped:
                a.publishing.stop()
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)

    simulated(scenario)


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest"])
def test_a_long_run_is_all_there_for_who_reads(policy: str) -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b, policy=policy)
        reading = asyncio.create_task(take(subscription, 20_000))
        for number in range(20_000):
            await a.publish(number)
            if policy != "block" and number % 500 == 0:
                await asyncio.sleep(0.1)  # else they would drop some, as they are meant to
        assert await reading == list(range(20_000))
        assert subscription.missed == 0

    simulated(scenario)


def test_who_publishes_for_long_gives_way_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        published = given_way = 0
        # A clock by which the values between two looks at it take a little more than a turn.
        monkeypatch.setattr(publishing, "monotonic", lambda: 1 + 1.01 * published * SLICE / LOOK_AFTER)
        a.publishing.turn.begin()

        async def watch() -> None:
            nonlocal given_way
            while True:
                given_way += 1
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0)
        given_way = 0
        for _ in range(BATCH):
            await a.publish("x")
            published += 1
        # It looked at the clock twice in each turn.
        assert given_way == BATCH // (2 * LOOK_AFTER)
        watching.cancel()

    simulated(scenario)


def test_channels_that_nobody_wants_are_forgotten_and_numbered_anew() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        said: list[str] = []
        a.publishing._say = said.append
        kept = await joined(a, b)
        a.put("kept", "latched", latch=True)
        left = b.subscribe("a", "left")
        await left.__aenter__()
        await until_subscribed(a, channel="left")
        for _ in range(10):
            a.put("x", "left")
        await take(left, 5)
        await left.aclose()
        await turns()
        for number in range(3 * MOST_CHANNELS):
            await a.publish("x", f"name/{number}")
        assert len(a.publishing._channels) <= MOST_CHANNELS
        assert a.publishing.forgotten + len(a.publishing._channels) == 3 * MOST_CHANNELS + 3
        assert "published channels have no subscriber and were forgotten" in said[-1]
        # What somebody wants, or may want, is not.
        a.put("y")
        assert await take(kept, 1) == ["y"]
        late = b.subscribe("a", "latched")
        assert await take(late, 1) == ["kept"]
        again = b.subscribe("a", "left")
        await again.__aenter__()
        await until_subscribed(a, channel="left")
        assert await take(again, 1) == [None]
        assert again.seq < left.seq

    simulated(scenario)


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "latest", "error"])
def test_who_does_not_read_slows_nobody(policy: str) -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b, c = fleet.place("a"), fleet.place("b"), fleet.place("c")
        idle = await joined(a, b, policy=policy, limit=10)
        busy = await joined(a, c, policy="block")
        reading = asyncio.create_task(take(busy, 5000))
        for number in range(5000):
            await a.publish(number)
        assert await reading == list(range(5000))
        books = line(a, b)
        assert books["balanced"]
        assert books["pending"] <= 20
        if policy == "error":
            with pytest.raises(NackedError, match="QueueFullError"):
                await take(idle, 5000)
        else:
            first = await take(idle, 1)
            assert first == [0] or policy != "drop_newest"
            assert sum(books["dropped"].values()) >= 4900
        await idle.aclose()

    simulated(scenario)


def test_latest_gives_the_last_one_next() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b, policy="latest")
        for number in range(100):
            a.put(number)
            await asyncio.sleep(0.01)
        first, second = await take(subscription, 2)
        assert (first, second) == (0, 99)
        assert subscription.missed == 98

    simulated(scenario)


def test_a_publisher_waits_for_who_asked_for_it_and_warns_if_it_is_not_awaited() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b, policy="block", limit=2)
        sent = 0

        async def publish() -> None:
            nonlocal sent
            for number in range(20):
                await a.publish(number)
                sent += 1

        publishing = asyncio.create_task(publish())
        await asyncio.sleep(5)
        # Two in flight, two waiting; whoever publishes holds the fifth.
        assert sent == 4
        with pytest.warns(RuntimeWarning, match="was not awaited"):
            a.put("lost")
        assert await take(subscription, 20) == list(range(20))
        await publishing
        assert line(a, b)["dropped"] == {"not awaited": 1}
        await subscription.aclose()

    simulated(scenario)


def test_who_is_cancelled_while_it_waits_leaves_nothing_behind() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b, policy="block", limit=1)
        for number in range(2):
            await a.publish(number)
        waiting = asyncio.ensure_future(_awaited(a.publish("cancelled")))
        await turns()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert await take(subscription, 2) == [0, 1]
        assert line(a, b)["dropped"] == {"not awaited": 1}
        await subscription.aclose()

    simulated(scenario)


async def _awaited(publication: Any) -> int:
    return int(await publication)


def test_a_subscriber_that_blocks_and_falls_silent_is_waited_for_a_short_while() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b, policy="block", limit=1)
        for number in range(2):
            await a.publish(number)
        await turns()
        fleet.network.partition("a", "b")
        begin = asyncio.get_running_loop().time()
        for number in range(10):
            await a.publish(number)
        # Until the silence is noticed, and the grace.
        assert GRACE <= asyncio.get_running_loop().time() - begin <= 2.5 + GRACE + 1
        assert line(a, b)["dropped"]["peer down"] >= 9
        fleet.network.heal("a", "b")
        assert (await take(subscription, 2)) == [0, 1]
        await subscription.aclose()

    simulated(scenario)


def test_a_killed_subscriber_that_blocks_holds_its_publisher_for_the_grace_and_no_longer() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b, c = fleet.place("a"), fleet.place("b"), fleet.place("c")
        blocking = await joined(a, b, policy="block", limit=1)
        other = await joined(a, c)
        for number in range(2):
            await a.publish(number)
        await turns()
        await b.die()
        begin = asyncio.get_running_loop().time()
        for number in range(2, 100):
            await a.publish(number)
        assert GRACE / 2 <= asyncio.get_running_loop().time() - begin <= GRACE + 1
        assert await take(other, 100) == list(range(100))
        books = line(a, b)
        assert books["dropped"]["peer down"] >= 97
        assert books["balanced"]
        await blocking.aclose()

    simulated(scenario)


def test_without_an_end_of_patience_a_subscriber_that_blocks_is_waited_for() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        a.publishing.grace = None
        subscription = await joined(a, b, policy="block", limit=1)
        publishing = asyncio.create_task(_all(a, 5))
        await turns()
        fleet.network.partition("a", "b")
        await asyncio.sleep(10)
        assert not publishing.done()
        fleet.network.heal("a", "b")
        assert await take(subscription, 5) == list(range(5))
        await publishing

    simulated(scenario)


def test_the_kept_value_comes_first_for_who_is_late() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        a.put("old", latch=True)
        a.put("kept", latch=True)
        a.put("not kept")
        subscription = await joined(a, b)
        assert await take(subscription, 1) == ["kept"]
        a.put("new")
        assert await take(subscription, 1) == ["new"]
        assert (subscription.seq, subscription.missed) == (4, 0)

    simulated(scenario)


def test_a_connection_that_is_lost_loses_nothing() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b, policy="block")
        reading = asyncio.create_task(take(subscription, 1000))
        for number in range(1000):
            await a.publish(number)
            if number % 200 == 100:
                fleet.network.cut("a", "b")
                await asyncio.sleep(0.05)
        assert await reading == list(range(1000))
        assert (subscription.missed, subscription.restarts) == (0, 0)

    simulated(scenario)


def test_what_is_published_without_a_session_is_a_gap_that_is_counted() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b)
        await a.publish("before")
        assert await take(subscription, 1) == ["before"]
        fleet.network.partition("a", "b")
        await asyncio.sleep(100)  # longer than a session waits
        for number in range(5):
            a.put(number)
        fleet.network.heal("a", "b")
        await until_subscribed(a)
        await a.publish("after")
        values = []
        while "after" not in values:
            values += await take(subscription, 1)
        assert not {0, 1, 2, 3, 4} & set(values)
        assert subscription.missed >= 5
        assert subscription.restarts == 0
        assert line(a, b)["balanced"]

    simulated(scenario)


def test_a_restarted_publisher_is_subscribed_to_again() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b)
        for number in range(3):
            a.put(number)
        assert await take(subscription, 3) == [0, 1, 2]
        await a.die()
        again = fleet.place("a")
        again.put("nobody is there yet")
        await until_subscribed(again)
        again.put("there")
        values = []
        while "there" not in values:
            values += await take(subscription, 1)
        assert subscription.restarts == 1
        assert subscription.missed >= 1
        assert ("a", "up", "restarted") in b.changes

    simulated(scenario)


def test_a_subscriber_waits_for_a_publisher_that_is_not_there_yet() -> None:
    async def scenario(fleet: Fleet) -> None:
        b = fleet.place("b")
        subscription = b.subscribe("a")
        reading = asyncio.create_task(take(subscription, 1))
        await asyncio.sleep(30)
        a = fleet.place("a")
        await until_subscribed(a)
        assert await reading == [None]
        assert any("waiting for a" in notice for notice in b.notices)

    simulated(scenario)


def test_a_killed_subscriber_is_served_again_after_its_restart() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        lost = await joined(a, b, policy="block", limit=1)
        for number in range(2):
            await a.publish(number)
        await turns()
        await b.die()
        again = fleet.place("b")
        subscription = await joined(a, again)
        a.put("again")
        assert await take(subscription, 1) == ["again"]
        await turns()
        books = line(a, b)
        assert books["balanced"]
        assert books["dropped"] == {"session over": 2}
        assert books["published"] - books["pending"] == 2
        del lost

    simulated(scenario)


def test_each_reader_of_one_process_has_a_subscription_of_its_own() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        one = await joined(a, b)
        a.put("kept", latch=True)
        other = b.subscribe("a", policy="latest")
        async with other:
            assert await take(other, 1) == await take(one, 1) == ["kept"]
            a.put("x")
            assert await take(one, 1) == await take(other, 1) == ["x"]
        await turns()
        assert await a.publish("y") == 1
        assert await take(one, 1) == ["y"]
        await one.aclose()
        await turns()
        assert line(a, b)["delivered"] == 5
        assert a.line("b", "sent", "$pub/tick")["acked"] == 5
        assert b.hub.books()["a"]["subscribed"]["tick"]["values"] == 5

    simulated(scenario)


def test_who_does_not_read_holds_up_no_other_reader_of_its_process() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        idle = await joined(a, b, limit=10)
        busy = b.subscribe("a", policy="block", limit=10)
        await busy.__aenter__()
        await turns()
        reading = asyncio.create_task(take(busy, 2000))
        await _all(a, 2000)
        assert await reading == list(range(2000))
        await turns()
        assert (await take(idle, 20))[-1] == 1999
        assert idle.missed > 1900
        assert busy.missed == 0
        assert line(a, b)["balanced"]

    simulated(scenario)


def test_as_many_channels_as_one_likes_one_after_the_other() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        first = await joined(a, b)
        for number in range(MOST_OF_LINK + 10):
            async with b.subscribe("a", f"channel/{number}"):
                await turns(3)
        await turns()
        lines = a.hub.books()["b"]["published"]
        assert len(lines) == MOST_OF_LINK + 1
        a.put("x", "channel/last")
        async with b.subscribe("a", f"channel/{MOST_OF_LINK + 9}") as last:
            await turns()
            a.put("y", f"channel/{MOST_OF_LINK + 9}")
            assert await take(last, 1) == ["y"]
        await turns()
        assert a.hub.books()["b"]["published"]["(others)"]["delivered"] == 1
        await first.aclose()

    simulated(scenario)


def test_what_cannot_be_sent_is_refused_also_when_nobody_would_get_it() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        with pytest.raises(PayloadError, match="object"):
            await a.publish(object())
        with pytest.raises(FrameTooLargeError):
            await a.publish(bytes(MAX_VALUE + 1))
        with pytest.raises(RuntimeError, match="belongs on the event loop"):
            await asyncio.to_thread(a.put, "x")

    simulated(scenario)


def test_the_number_is_that_of_the_value_in_hand() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b)
        before = subscription.seq
        for batch in (3, 2):
            for value in range(batch):
                a.put(value)
            await turns()
        found = []
        for _ in range(5):
            await anext(subscription)
            found.append(subscription.seq - before)
        assert found == [1, 2, 3, 4, 5]
        waiting = asyncio.create_task(take(subscription, 1))
        await turns()
        assert subscription.seq - before == 5
        waiting.cancel()

    simulated(scenario)


def test_a_subscription_is_not_collected_while_somebody_waits_for_its_next_value() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        waiting = asyncio.ensure_future(anext(aiter(b.subscribe("a"))))
        await until_subscribed(a)
        gc.collect()
        assert await a.publish("x") == 1
        assert await waiting is None  # the first of those that `until_subscribed` published

    simulated(scenario)


def test_a_loop_that_is_left_ends_the_subscription() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        publishing = asyncio.create_task(until_subscribed(a))
        async for _ in b.subscribe("a"):
            break
        await publishing
        await asyncio.sleep(1)
        assert await a.publish("nobody") == 0

    simulated(scenario)


def test_a_loop_that_is_left_ends_a_subscription_that_has_a_name() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        publishing = asyncio.create_task(until_subscribed(a))
        subscription = b.subscribe("a", policy="block", limit=1)
        async for _ in subscription:
            break
        await publishing
        await asyncio.sleep(1)
        assert await a.publish("nobody") == 0
        with pytest.raises(RuntimeError, match="has ended"):
            aiter(subscription)

    simulated(scenario)


def test_within_async_with_one_loop_may_follow_another() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        async with await joined(a, b) as subscription:
            for value in ("x", "y"):
                a.put(value)
                async for came in subscription:
                    assert came == value
                    break
        await turns()
        assert await a.publish("nobody") == 0

    simulated(scenario)


def test_only_one_task_may_wait_for_the_next_value() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b)
        waiting = asyncio.create_task(take(subscription, 1))
        await turns()
        with pytest.raises(RuntimeError, match="two tasks"):
            await anext(subscription)
        a.put("x")
        assert await waiting == ["x"]

    simulated(scenario)


def test_a_publisher_that_leaves_gives_away_what_waits() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b)
        for number in range(900):
            a.put(number)
        leaving = asyncio.create_task(a.hub.drain("done"))
        assert await take(subscription, 900) == list(range(900))
        await subscription.aclose()
        await asyncio.wait_for(leaving, 10)
        assert line(a, b)["delivered"] == 900

    simulated(scenario)


def test_a_subscriber_that_leaves_is_not_waited_for() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b, policy="block", limit=1)
        waiting = asyncio.create_task(_all(a, 5))
        await turns()
        await subscription.aclose()
        await b.hub.drain("done")
        await asyncio.wait_for(waiting, 1)
        assert line(a, b)["balanced"]
        # What came when it had said goodbye is given up with the session.
        await asyncio.sleep(100)
        assert line(a, b)["pending"] == 0

    simulated(scenario)


async def _all(a: Place, count: int) -> None:
    for number in range(count):
        await a.publish(number)


def test_large_values_and_small_windows() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        subscription = await joined(a, b, policy="block")
        sizes = [1, 100_000, 10, 1_000_000, 20_000, 5, 3_000_000] * 3
        reading = asyncio.create_task(take(subscription, len(sizes)))
        for size in sizes:
            await a.publish(b"x" * size)
        assert [len(value) for value in await reading] == sizes

    simulated(scenario, LinkSettings(window_messages=7, window_bytes=10_000))


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"channel": "c", "policy": "never"}, "policy must be block"),
        ({"channel": "c", "limit": 0}, "limit must be"),
        ({"channel": "$ledger"}, "reserved"),
        ({"policy": "latest"}, "channel"),
        ("nonsense", "Expected"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(wish: Any, words: str) -> None:
    async def scenario(fleet: Fleet) -> None:
        _, b = fleet.place("a"), fleet.place("b")
        with pytest.raises(NackedError, match=words):
            await b.stream("a", [wish], "$subscribe")

    simulated(scenario)


def test_many_subscribers_are_all_served() -> None:
    async def scenario(fleet: Fleet) -> None:
        a = fleet.place("a")
        places = [fleet.place(f"b{number}") for number in range(50)]
        subscriptions = [await joined(a, place, policy="block") for place in places]
        reading = [asyncio.create_task(take(one, 2000)) for one in subscriptions]
        for number in range(2000):
            assert await a.publish(number) == 50
        for one in reading:
            assert await one == list(range(2000))

    simulated(scenario)


# -- names and links ------------------------------------------------------------------------------


async def count_of(place: Place, channel: str) -> int:
    """Return how many subscribe to a channel, after some time."""
    await asyncio.sleep(30)
    return place.publish("count", channel).reached


def test_two_names_of_one_process_share_a_link_and_each_gets_its_channel() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        one, two = a.subscribe("one", "x", place="b"), a.subscribe("two", "y", place="b")
        await one.__aenter__(), await two.__aenter__()
        for turn in range(3):
            assert await count_of(b, "x") == await count_of(b, "y") == 1
            assert len(a.hub._links) == len(b.hub._links) == 1
            b.put(f"x{turn}", "x")
            b.put(f"y{turn}", "y")
            assert await take(one, 2) == ["count", f"x{turn}"]
            assert await take(two, 2) == ["count", f"y{turn}"]
            fleet.network.cut("a", "b")

    simulated(scenario)


def test_two_names_of_one_process_are_subscribed_to_again_when_it_was_restarted() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        one, two = a.subscribe("one", "x", place="b"), a.subscribe("two", "y", place="b")
        await one.__aenter__(), await two.__aenter__()
        assert await count_of(b, "x") == await count_of(b, "y") == 1
        await turns()
        await b.die()
        await asyncio.sleep(1)
        again = fleet.place("b")
        await until_subscribed(again, channel="x")
        begin = asyncio.get_running_loop().time()
        await until_subscribed(again, channel="y")
        # The second name is dialled as soon as the first has found another process there.
        assert asyncio.get_running_loop().time() - begin < 1
        assert await take(one, 2) == await take(two, 2) == ["count", None]
        assert one.restarts == two.restarts == 1

    simulated(scenario)


def test_names_that_part_are_each_subscribed_to_where_they_lead() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        fleet.network.listen("second", b._accept)
        one, two = a.subscribe("one", "x", place="b"), a.subscribe("two", "y", place="second")
        await one.__aenter__(), await two.__aenter__()
        assert await count_of(b, "x") == await count_of(b, "y") == 1
        fleet.network.close("second")
        await b.die()
        await asyncio.sleep(1)
        again, other = fleet.place("b"), fleet.place("c", "second")
        assert [await count_of(again, "x"), await count_of(other, "y")] == [1, 1]
        assert [await count_of(again, "y"), await count_of(other, "x")] == [0, 0]

    simulated(scenario)


def test_one_channel_by_two_names_of_one_process_are_two_subscriptions() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        one, two = a.subscribe("one", place="b"), a.subscribe("two", place="b")
        await one.__aenter__()
        assert await count_of(b, "tick") == 1
        await two.__aenter__()
        assert await count_of(b, "tick") == 2
        assert await take(one, 2) == ["count", "count"]
        assert await take(two, 1) == ["count"]

    simulated(scenario)


def test_a_peer_that_came_by_itself_is_subscribed_to_by_another_name() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        assert await b.stream("a", [1]) == [1]
        values = a.subscribe("other name", place="b")
        await values.__aenter__()
        assert await count_of(b, "tick") == 1
        assert await take(values, 1) == ["count"]
        assert list(a.hub._links) == [("b", "")]

    simulated(scenario)


def test_who_only_calls_itself_like_a_publisher_is_not_subscribed_to() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        values = a.subscribe("one", place="b")
        await values.__aenter__()
        assert await count_of(b, "tick") == 1
        stranger = fleet.place("one", "elsewhere")
        assert await stranger.stream("a", [1]) == [1]
        assert await count_of(stranger, "tick") == 0
        assert await take(values, 1) == ["count"]

    simulated(scenario)


def test_a_quiet_channel_keeps_no_task_at_its_subscriber() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        got: list[Any] = []

        class Takes:
            def messages(self, link: LinkShell, want: Want) -> Messages:
                async def handle(channel: str, value: Any) -> None:
                    got.append((channel, value))

                return Values(link, want, lambda: Route(handle, None))

            def began(self, want: Want, missed: int, *, again: bool) -> None:
                pass

            def ended(self, want: Want, error: Exception) -> None:
                raise error

        b.keep("a")
        b.subscribing.add(Want("a", "tick", Policy.BLOCK, 10, Takes()))
        for turn in range(3):
            await asyncio.sleep(10)
            assert await a.publish(turn) == 1
            await turns()
            link = b.hub.link("a", Node("a", "memory", 1).uri())
            assert link is not None
            assert "$pub.1/tick" in link.inboxes
            await asyncio.sleep(10)
            assert "$pub.1/tick" not in link.inboxes
        assert got == [("tick", 0), ("tick", 1), ("tick", 2)]
        assert line(a, b)["delivered"] == 3

    simulated(scenario)


def test_a_handler_of_values_that_is_cancelled_refuses_its_value_alone() -> None:
    async def scenario(fleet: Fleet) -> None:
        a, b = fleet.place("a"), fleet.place("b")
        got: list[Any] = []

        class Takes:
            def messages(self, link: LinkShell, want: Want) -> Messages:
                async def handle(channel: str, value: Any) -> None:
                    if value == 1:
                        task = asyncio.current_task()
                        assert task is not None
                        task.cancel()
                        await asyncio.sleep(1)
                    got.append(value)

                return Values(link, want, lambda: Route(handle, None))

            def began(self, want: Want, missed: int, *, again: bool) -> None:
                pass

            def ended(self, want: Want, error: Exception) -> None:
                raise error

        b.keep("a")
        b.subscribing.add(Want("a", "tick", Policy.BLOCK, 10, Takes()))
        await asyncio.sleep(10)
        for value in range(3):
            assert await a.publish(value) == 1
        await asyncio.sleep(10)
        assert await a.publish(3) == 1
        await asyncio.sleep(10)
        assert got == [0, 2, 3]
        assert (line(a, b)["delivered"], line(a, b)["refused"]) == (3, 1)

    simulated(scenario)
