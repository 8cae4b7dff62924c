"""The ring that all subscribers share, against a model in which each has a queue of its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from mesh.protocol import fanout
from mesh.protocol.fanout import (
    BATCH,
    IN_FLIGHT,
    NOT_AWAITED,
    Batch,
    Cursor,
    Policy,
    Published,
    Reading,
    Subscribed,
    Topic,
)
from mesh.protocol.fanout import topic as topics
from mesh.protocol.link.packing import CHUNK
from mesh.protocol.link.records import array_head, encode

decode = msgspec.msgpack.Decoder(list[Any]).decode


def items(batch: Batch) -> list[Any]:
    """Return what a subscriber reads in a batch."""
    return decode(array_head(batch.count) + batch.body)


def numbers(cursor: Cursor) -> list[int]:
    """Take and settle all there is, and return the numbers."""
    found: list[int] = []
    while (batch := cursor.take()) is not None:
        if batch.last:
            break
        found += [item[0] for item in items(batch)]
        cursor.line.delivered += batch.count
        cursor.settle(batch.count)
    return found


def publish(topic: Topic, count: int = 1, *, waits: bool = False) -> None:
    """Publish values, each of which is its number; who does not wait gives up at once."""
    for _ in range(count):
        number = topic.publish(encode(topic.next))
        if not waits:
            topic.give_up(number)


def made(policy: str, limit: int = 3) -> tuple[Topic, Cursor]:
    topic = Topic()
    return topic, topic.subscribe(Policy(policy), limit, Published())


@pytest.mark.parametrize(
    ("policy", "expected", "dropped"),
    [
        ("drop_oldest", [3, 4, 5], {"drop_oldest": 2}),
        ("drop_newest", [1, 2, 3], {"drop_newest": 2}),
        ("latest", [5], {"latest": 4}),
        ("block", [1, 2, 3], {NOT_AWAITED: 2}),
        ("error", [1, 2, 3], {"error": 1}),
    ],
)
def test_what_a_policy_keeps(policy: str, expected: list[int], dropped: dict[str, int]) -> None:
    topic, cursor = made(policy, limit=1 if policy == "latest" else 3)
    publish(topic, 5)
    assert numbers(cursor) == expected
    line = cursor.line.snapshot()
    assert line["dropped"] == dropped
    assert line["balanced"]
    assert line["pending"] == 0


@pytest.mark.parametrize("policy", ["drop_newest", "block"])
def test_who_was_full_goes_on_behind_what_it_missed(policy: str) -> None:
    topic, cursor = made(policy)
    publish(topic, 5)
    assert numbers(cursor) == [1, 2, 3]
    publish(topic, 2)
    assert numbers(cursor) == [6, 7]


def test_an_error_ends_the_subscription_behind_what_was_held() -> None:
    topic, cursor = made("error", limit=2)
    publish(topic, 4)
    batch = cursor.take()
    assert batch is not None
    assert items(batch) == [[1, 1], [2, 2]]
    assert cursor.take() is None  # not before the others are settled
    cursor.line.delivered += 2
    cursor.settle(2)
    batch = cursor.take()
    assert batch is not None
    assert batch.last
    assert items(batch) == [
        [3, None, "QueueFullError", "the subscriber had no room for value 3: 2 were waiting"]
    ]
    assert cursor.take() is None
    assert not topic.is_wanted
    # Values that are published later are none of its business.
    assert cursor.line.snapshot()["published"] == 3


def test_a_publisher_that_waits_is_told_when_there_is_room() -> None:
    topic, cursor = made("block", limit=2)
    publish(topic, 4, waits=True)
    assert topic.is_parked(3)
    assert topic.is_parked(4)
    assert cursor.waiting == 2
    batch = cursor.take()
    assert batch is not None
    assert batch.count == 2
    assert topic.admitted == [3, 4]
    cursor.line.delivered += 2
    cursor.settle(2)
    assert numbers(cursor) == [3, 4]
    assert cursor.line.snapshot()["balanced"]


def test_only_who_asked_for_it_is_waited_for() -> None:
    topic = Topic()
    for policy in (Policy.DROP_OLDEST, Policy.DROP_NEWEST, Policy.LATEST, Policy.ERROR):
        topic.subscribe(policy, 1, Published())
    publish(topic, 10, waits=True)
    assert not any(topic.is_parked(number) for number in range(1, 11))


def test_a_hundred_readers_that_never_read_cost_one_ring() -> None:
    topic = Topic()
    for _ in range(100):
        topic.subscribe(Policy.DROP_OLDEST, 1000, Published())
    for _ in range(20_000):
        topic.publish(encode("x" * 1000))
    assert topic.size < 3000 * 1010
    for _ in range(100):
        topic.publish(encode("x" * 1_000_000))
    assert topic.size <= fanout.RING_BYTES


def test_touched_readers_share_the_bytes_that_are_set_aside() -> None:
    topic = Topic()
    cursors = [topic.subscribe(Policy.DROP_NEWEST, 10, Published()) for _ in range(100)]
    publish(topic, 1000)
    assert len({id(item) for cursor in cursors for run in cursor._kept for item in run.items}) == 10
    assert topic.size < 10_000


def test_a_batch_is_joined_once_for_all_at_the_same_place() -> None:
    topic = Topic()
    cursors = [topic.subscribe(Policy.DROP_OLDEST, 1000, Published()) for _ in range(10)]
    publish(topic, 50)
    bodies = [batch.body for cursor in cursors if (batch := cursor.take()) is not None]
    assert len(bodies) == 10
    assert len({id(body) for body in bodies}) == 1


def test_who_has_no_room_for_bytes_is_full_as_well() -> None:
    topic, cursor = made("drop_newest", limit=1000)
    for _ in range(100):
        topic.publish(encode(b"x" * 1_000_000))
    assert cursor.waiting <= fanout.PENDING_BYTES // 1_000_000 + 1


def test_what_is_set_aside_is_taken_in_batches_of_bounded_bytes() -> None:
    topic, cursor = made("drop_newest", limit=200)
    for _ in range(300):
        topic.publish(encode(b"x" * 1000))
    batch = cursor.take()
    assert batch is not None
    assert 1 < batch.count < 200
    assert len(batch.body) <= CHUNK < len(batch.body) + 1100
    cursor.settle(batch.count)
    assert numbers(cursor) == list(range(batch.count + 1, 201))


@pytest.mark.parametrize("size", [1000, 16_000, 100_000])
def test_a_thousand_readers_share_what_may_be_in_flight(size: int) -> None:
    topic = Topic()
    cursors = [topic.subscribe(Policy.DROP_OLDEST, 1000, Published()) for _ in range(1000)]
    for _ in range(300):
        topic.publish(encode(b"x" * size))
    flights = []
    for cursor in cursors:
        taken = 0
        while (batch := cursor.take()) is not None:
            taken += len(batch.body)
        flights.append(taken)
    assert max(flights) < 2 * max(fanout.IN_FLIGHT_TOTAL // 1000, size + 10)
    assert min(flights) > size  # nobody goes without
    for cursor in cursors[1:]:
        cursor.close("left")
    assert cursors[0].take() is not None  # there is more for who is left


def test_it_is_not_looked_at_all_cursors_for_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    topic = Topic(ring_bytes=100_000)
    for _ in range(1000):
        topic.subscribe(Policy.DROP_OLDEST, 1000, Published())
    looks = 0
    wanted = Topic._wanted

    def counted(topic: Topic) -> int:
        nonlocal looks
        looks += 1
        return wanted(topic)

    monkeypatch.setattr(Topic, "_wanted", counted)
    for _ in range(10_000):
        topic.publish(encode(b"x" * 98))  # a thousand of them just fill the ring
        assert topic.size <= 100_000
    assert 0 < looks <= 11


def test_large_values_travel_alone() -> None:
    topic, cursor = made("drop_oldest", limit=1000)
    topic.publish(encode("small"))
    topic.publish(encode("x" * 100_000))
    topic.publish(encode("small"))
    found = []
    while (batch := cursor.take()) is not None:
        found.append(batch.count)
        cursor.settle(batch.count)
    assert found == [1, 1, 1]


def test_the_last_value_is_kept_for_who_comes_late() -> None:
    topic = Topic()
    topic.publish(encode("first"), latch=True)
    topic.publish(encode("second"))
    late = topic.subscribe(Policy.LATEST, 1, Published(), latch=True)
    other = topic.subscribe(Policy.DROP_OLDEST, 5, Published())
    assert topic.next == 3
    batch = late.take()
    assert batch is not None
    assert items(batch) == [[1, "first"]]
    assert other.take() is None


def test_what_nobody_wants_is_only_numbered() -> None:
    topic = Topic()
    publish(topic, 5)
    assert (topic.next, topic.size) == (6, 0)
    cursor = topic.subscribe(Policy.DROP_OLDEST, 5, Published())
    publish(topic, 2)
    assert numbers(cursor) == [6, 7]
    cursor.close("gone")
    assert topic.size == 0


def test_numbers_that_begin_anew_are_a_restart_although_the_process_goes_on() -> None:
    reading = Reading(Subscribed())
    reading.begin("one", 5, latched=False)
    assert reading.read([[5, "a"], [6, "b"]]) == ["a", "b"]
    assert reading.begin("one", 9, latched=False) == 2
    assert reading.line.restarts == 0
    assert reading.begin("one", 3, latched=False) == 2
    assert reading.line.restarts == 1


def test_a_policy_is_checked() -> None:
    assert fanout.settled_policy("latest", 7) == (Policy.LATEST, 1)
    for policy, limit in (
        ("never", 1),
        (None, 1),
        ("block", 0),
        ("block", True),
        ("block", 70_000),
        ("block", "1"),
    ):
        with pytest.raises(ValueError, match="must be"):
            fanout.settled_policy(policy, limit)


class Queue:
    """What a subscriber has, as one would write it first: a queue of its own."""

    def __init__(self, policy: Policy, limit: int) -> None:
        self.policy = policy
        self.limit = limit
        self.waiting: list[int] = []
        self.parked: list[int] = []
        self.in_flight: list[int] = []
        self.published = self.delivered = 0
        self.dropped = 0
        self.ended_by = 0

    def put(self, number: int) -> None:
        if self.ended_by:
            return
        self.published += 1
        if self.parked or len(self.waiting) >= self.limit:
            if self.policy in (Policy.DROP_OLDEST, Policy.LATEST):
                self.waiting.pop(0)
                self.waiting.append(number)
                self.dropped += 1
            elif self.policy is Policy.BLOCK:
                self.parked.append(number)
            else:
                self.dropped += 1
                if self.policy is Policy.ERROR:
                    self.ended_by = number
        else:
            self.waiting.append(number)

    def give_up(self, number: int) -> None:
        if number in self.parked:
            self.parked.remove(number)
            self.dropped += 1

    def take(self, taken: list[int]) -> None:
        assert self.waiting[: len(taken)] == taken
        del self.waiting[: len(taken)]
        self.in_flight += taken
        while self.parked and len(self.waiting) < self.limit:
            self.waiting.append(self.parked.pop(0))


class Fanout(RuleBasedStateMachine):
    """Any order of publishing, subscribing, taking, settling and leaving."""

    subscribers = Bundle("subscribers")

    def __init__(self) -> None:
        super().__init__()
        self.topic = Topic()
        self.known: dict[Cursor, Queue] = {}
        self.given_up: set[int] = set()

    @rule(target=subscribers, policy=st.sampled_from(Policy), limit=st.sampled_from([1, 2, 3, 7, 130, 400]))
    def subscribe(self, policy: Policy, limit: int) -> Cursor:
        limit = 1 if policy is Policy.LATEST else limit
        cursor = self.topic.subscribe(policy, limit, Published())
        self.known[cursor] = Queue(policy, limit)
        return cursor

    @rule(count=st.sampled_from([1, 2, 5, 100, 300]), awaited=st.booleans())
    def publish(self, count: int, awaited: bool) -> None:
        for _ in range(count):
            number = self.topic.next
            for queue in self.known.values():
                queue.put(number)
            assert self.topic.publish(encode(number)) == number
            if not awaited:
                self.topic.give_up(number)
                for queue in self.known.values():
                    queue.give_up(number)

    @rule(cursor=subscribers)
    def take(self, cursor: Cursor) -> None:
        queue = self.known.get(cursor)
        if queue is None:
            return
        batch = cursor.take()
        if batch is None:
            # Nothing waits, or what is in flight is answered before more is sent.
            assert not queue.waiting or queue.in_flight
            return
        if batch.last:
            assert queue.ended_by == items(batch)[0][0]
            assert not queue.waiting
            assert not queue.in_flight
            return
        found = items(batch)
        assert [item[0] for item in found] == [item[1] for item in found]
        assert len(found) == batch.count <= BATCH
        queue.take([item[0] for item in found])
        assert len(queue.in_flight) <= min(queue.limit, IN_FLIGHT)

    @rule(cursor=subscribers, part=st.floats(0, 1), refused=st.booleans())
    def settle(self, cursor: Cursor, part: float, refused: bool) -> None:
        queue = self.known.get(cursor)
        if queue is None or not queue.in_flight:
            return
        count = max(1, int(len(queue.in_flight) * part))
        del queue.in_flight[:count]
        queue.delivered += count
        if refused:
            cursor.line.refused += count
        else:
            cursor.line.delivered += count
        cursor.settle(count)

    @rule(cursor=subscribers)
    def leave(self, cursor: Cursor) -> None:
        queue = self.known.pop(cursor, None)
        if queue is None:
            return
        cursor.close("gone")
        line = cursor.line.snapshot()
        assert line["balanced"]
        assert line["pending"] == len(queue.in_flight)
        cursor.line.drop(len(queue.in_flight), "gone")
        if queue.in_flight:
            cursor.settle(len(queue.in_flight))
        assert not cursor.line.cursors
        assert cursor.line.snapshot()["balanced"]

    @invariant()
    def each_is_as_if_it_had_a_queue_of_its_own(self) -> None:
        for cursor, queue in self.known.items():
            assert cursor.waiting == len(queue.waiting) <= queue.limit
            line = cursor.line.snapshot()
            assert line["published"] == queue.published
            assert line["delivered"] + line["refused"] == queue.delivered
            assert sum(line["dropped"].values()) == queue.dropped
            assert line["pending"] == len(queue.waiting) + len(queue.parked) + len(queue.in_flight)
            assert line["balanced"]

    @invariant()
    def who_waits_is_told(self) -> None:
        parked = {number for queue in self.known.values() for number in queue.parked}
        assert all(self.topic.is_parked(number) for number in parked)
        assert not parked & set(self.topic.admitted)

    @invariant()
    def the_ring_is_bounded(self) -> None:
        assert len(self.topic._items) <= 2 * 400 + 2 * topics._FEWEST_TRIMMED


TestFanout = Fanout.TestCase
TestFanout.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
