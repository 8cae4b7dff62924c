"""What comes from one sender: in order, each once, and no more than there is room for."""

from __future__ import annotations

from msgspec import Raw
from msgspec.msgpack import decode, encode

from mesh.protocol.ring.lane import MOST_KEPT, Lane
from mesh.protocol.ring.records import MAX_WINDOW, Run


def run(first: int, count: int, base: int = 1, hops: tuple[str, ...] = ()) -> Run:
    items = [Raw(encode(number)) for number in range(first, first + count)]
    return Run("ann", "x", first, base, list(hops), items)


def delivered(lane: Lane) -> list[int]:
    return [decode(item) for item in lane.deliver()]


def test_new_messages_are_delivered_and_go_on() -> None:
    lane = Lane(10)
    assert lane.take(run(1, 3)) == (3, 0)
    assert lane.forward() is None, "nobody passes on what it has not delivered"
    assert delivered(lane) == [1, 2, 3]
    onward = lane.forward()
    assert onward is not None
    assert (onward.first, onward.last) == (1, 3)
    lane.in_hand -= 3
    assert lane.is_idle


def test_known_messages_go_on_and_are_not_delivered_again() -> None:
    lane = Lane(10)
    lane.take(run(1, 3))
    delivered(lane)
    lane.forward()
    lane.in_hand = 0
    assert lane.take(run(2, 4)) == (2, 2)
    assert delivered(lane) == []
    onward = lane.forward()
    assert onward is not None
    assert (onward.first, onward.last) == (2, 3)
    assert delivered(lane) == [4, 5]


def test_a_gap_is_not_taken_unless_the_sender_says_that_what_is_below_is_settled() -> None:
    lane = Lane(10)
    assert lane.take(run(5, 1)) is None
    assert lane.take(run(5, 1, base=5)) == (1, 0)
    assert lane.take(run(8, 1, base=6)) is None
    assert lane.take(run(8, 1, base=8)) == (1, 0)


def test_what_waits_here_is_not_taken_twice() -> None:
    lane = Lane(2)
    lane.take(run(1, 6))
    assert delivered(lane) == [1, 2]
    lane.forward()
    assert lane.take(run(1, 6)) == (0, 6)
    onward = lane.forward()
    assert onward is not None
    assert (onward.first, onward.last) == (1, 2), "of 3 to 6 the copy that waits goes on"
    assert lane.forward() is None


def test_a_copy_that_waited_goes_on_with_the_newest_base() -> None:
    lane = Lane(1)
    lane.take(run(1, 2))
    assert delivered(lane) == [1]
    lane.forward()
    # Sent again by a sender for whom the first is settled meanwhile.
    assert lane.take(run(2, 1, base=2)) == (0, 1)
    lane.in_hand = 0
    assert delivered(lane) == [2]
    onward = lane.forward()
    assert onward is not None
    assert onward.base == 2, "else who has missed the first would not take the second"


def test_what_was_settled_before_this_member_came_is_not_delivered_late() -> None:
    lane = Lane(1)
    lane.in_hand = 1
    assert lane.take(run(5, 1, base=5)) == (1, 0)
    assert lane.take(run(3, 2, base=3)) == (0, 2), "an old copy that was still under way"
    lane.in_hand = 0
    assert delivered(lane) == []
    lane.forward()
    assert delivered(lane) == [5]


def test_a_copy_that_waited_goes_on_as_one_of_the_last_trip() -> None:
    lane = Lane(1)
    lane.take(run(1, 4, hops=("bob",)))
    assert delivered(lane) == [1]
    lane.forward()
    lane.take(run(3, 1, base=1, hops=("cat",)))
    ways = []
    for _ in range(3):
        lane.in_hand = 0
        delivered(lane)
        onward = lane.forward()
        assert onward is not None
        ways.append((onward.first, *onward.hops))
    assert ways == [(2, "bob"), (3, "cat"), (4, "bob")]


def test_pieces_are_joined_again_if_they_came_the_same_way() -> None:
    lane = Lane(10)
    lane.take(run(1, 1, hops=("bob",)))
    lane.take(run(2, 1, hops=("bob",)))
    lane.take(run(3, 1, hops=("cat",)))
    for number in (1, 2, 3):
        lane.in_hand = 0
        lane._delivered = number
    onward = lane.forward()
    assert onward is not None
    assert (onward.first, onward.last) == (1, 2)
    onward = lane.forward()
    assert onward is not None
    assert (onward.first, onward.hops) == (3, ["cat"])


def test_what_slow_handlers_keep_is_bounded_even_if_the_sender_lies() -> None:
    lane = Lane(1)
    taken = 0
    for first in range(1, 100 * MAX_WINDOW, MAX_WINDOW):
        if lane.take(run(first, MAX_WINDOW, base=first)) is not None:
            taken += MAX_WINDOW
    assert taken <= MOST_KEPT
