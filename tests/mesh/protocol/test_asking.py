"""The answering end of an ask: whatever happens in whatever order, one end, and no part too many."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import LocalProtocolError
from mesh.protocol.asking import END, ERROR, MOST_UNTAKEN, VALUE, Reply, State, Took, part_channel, read_item
from mesh.protocol.link.records import encode

GENERATOR = ("gave", "finished", "raised")
OTHERS = ("stop", "abort", "taken")


def test_parts_and_the_end() -> None:
    reply = Reply()
    assert [reply.gave("a"), reply.gave(None), reply.finished()] == [(VALUE, "a"), (VALUE, None), (END,)]
    assert reply.state is State.OVER


def test_an_error_comes_after_the_parts_before_it() -> None:
    reply = Reply()
    assert [reply.gave(1), reply.raised("ValueError", "hot")] == [(VALUE, 1), (ERROR, "ValueError", "hot")]


def test_there_is_room_for_so_many_parts_and_for_an_end() -> None:
    reply = Reply()
    for number in range(MOST_UNTAKEN):
        assert _has_room(reply)
        reply.gave(number)
    assert not _has_room(reply)
    with pytest.raises(LocalProtocolError, match="running"):
        reply.gave("one more")
    reply.taken(1)
    assert _has_room(reply)
    reply.gave("one more")
    assert reply.finished() == (END,)


def _has_room(reply: Reply) -> bool:
    # A type checker does not know that this changes.
    return reply.has_room


def test_who_has_cancelled_gets_nothing_more() -> None:
    reply = Reply()
    assert reply.stop()
    assert not reply.stop()
    assert reply.has_room, "a generator that waits for room is to be closed"
    assert reply.gave(1) is None
    assert reply.abort("A", "b") is None
    assert reply.finished() is None
    assert not reply.stop()


def test_an_abort_is_the_end() -> None:
    reply = Reply()
    assert reply.abort("A", "b") == (ERROR, "A", "b")
    assert reply.gave(1) is None
    assert reply.raised("CancelledError", "") is None


def test_an_ask_cannot_end_twice() -> None:
    reply = Reply()
    reply.finished()
    for again in (reply.finished, lambda: reply.raised("A", "b"), lambda: reply.gave(1)):
        with pytest.raises(LocalProtocolError):
            again()


@given(st.lists(st.sampled_from(GENERATOR + OTHERS), max_size=400), st.data())
def test_any_interleaving_has_one_end_and_no_part_too_many(steps: list[str], data: st.DataObject) -> None:
    """The generator does what a generator can do; the others do what they like, whenever they like."""
    reply = Reply()
    sent: list[Any] = []
    untaken = 0
    ended = cancelled = False
    for step in steps:
        before = reply.state
        item: Any = None
        if step in GENERATOR:
            if ended or (step == "gave" and not reply.has_room):
                continue  # it waits, or is no more
            if step == "gave":
                item = reply.gave(len(sent))
            else:
                item = reply.finished() if step == "finished" else reply.raised("E", "e")
                ended = True
        elif step == "stop":
            wanted = reply.stop()
            cancelled = cancelled or wanted
            assert wanted == (before is State.RUNNING)
        elif step == "abort":
            item = reply.abort("Aborted", "a")
            assert (item is not None) == (before is State.RUNNING)
        else:
            count = data.draw(st.integers(0, untaken))
            reply.taken(count)
            untaken -= count
        if item is not None:
            sent.append(item)
            untaken += item[0] == VALUE
        assert untaken == reply.untaken <= MOST_UNTAKEN
        assert ended == (reply.state is State.OVER)
        if before is not State.RUNNING:
            assert item is None, "nothing is sent after the end, or to who has cancelled"
    ends = [item for item in sent if item[0] != VALUE]
    assert len(ends) <= 1
    assert not ends or sent[-1] is ends[0]
    if ended:
        assert len(ends) == (0 if cancelled else 1)
    assert [item[1] for item in sent if item[0] == VALUE] == list(range(len(sent) - len(ends)))


@pytest.mark.parametrize(
    ("item", "what"),
    [
        ([0, None], Took.PART),
        ([0, [1, 2]], Took.PART),
        ([1], Took.END),
        ([2, "ValueError", "hot"], Took.ERROR),
        ([], Took.NONSENSE),
        ([0], Took.NONSENSE),
        ([1, 2], Took.NONSENSE),
        ([2, "ValueError"], Took.NONSENSE),
        ([2, 1, 2], Took.NONSENSE),
        ([3], Took.NONSENSE),
        ("text", Took.NONSENSE),
        (None, Took.NONSENSE),
        ({}, Took.NONSENSE),
    ],
)
def test_what_an_item_is(item: object, what: Took) -> None:
    assert read_item(item) is what


def test_how_items_travel() -> None:
    """As ``docs/explanation/patterns.md`` says, for clients in other languages."""
    assert encode((VALUE, "a")) == bytes.fromhex("92 00 a1 61")
    assert encode((END,)) == bytes.fromhex("91 01")
    assert part_channel("7") == "$part/7"
