"""The books of a process: plain conversations, peers that are gone, and a limit for who asks."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mesh.protocol.books import (
    ALL,
    CLIENTS,
    FORGOTTEN,
    MAX_NAME,
    Books,
    Dispatch,
    Forgotten,
    Given,
    Line,
    Lines,
    SentBooks,
    TakenBooks,
    added,
    bounded,
    is_balanced,
    joined,
)
from mesh.protocol.link.ledger import OTHERS, Sent, Taken


def lines_of(books: Books, way: str) -> list[Line]:
    return [line for lines in books.values() for line in lines[way].values()]


def total(books: Books, way: str, key: str) -> int:
    return sum(line[key] for line in lines_of(books, way))


def some(sent: int = 1, acked: int | None = None, channels: int = 1) -> Lines:
    """Return the books of a peer, which balance if all was acknowledged."""
    line = Sent()
    line.sent, line.acked = sent, sent if acked is None else acked
    return {"sent": {f"c{n}": dict(line.snapshot(0)) for n in range(channels)}, "received": {}}


# -- outgoing ----------------------------------------------------------------------------


def test_a_line_of_a_plain_conversation() -> None:
    books = SentBooks()
    for refused in (False, False, True):
        dispatch = books.dispatch("lamp", "/x")
        dispatch.transmit()
        dispatch.answered(refused=refused)
        dispatch.close()
    never_sent = books.dispatch("lamp", "x")
    never_sent.give_up(Given.PEER_DOWN)
    never_sent.close()
    lost = books.dispatch("lamp", "x")
    lost.transmit()
    lost.transmit()
    lost.transmit()
    lost.give_up(Given.PEER_DOWN)
    lost.close()
    for late in (None, False, True):
        cancelled = books.dispatch("lamp", "x")
        cancelled.transmit()
        cancelled.give_up(Given.CANCELLED)
        cancelled.close()
        if late is not None:
            cancelled.late(refused=late)
    books.dispatch("lamp", "x")
    assert books.books() == {
        "lamp (plain)": {
            "sent": {
                "x": {
                    "sent": 9,
                    "acked": 2,
                    "refused": 1,
                    "failed": {"peer down": 2},
                    "cancelled": 3,
                    "in_flight": 1,
                    "late_acked": 1,
                    "late_refused": 1,
                    "late_skipped": 0,
                    "resent": 2,
                    "unknown": 2,
                    "balanced": True,
                }
            },
            "received": {},
        }
    }


def test_what_is_lost_or_counted_twice_shows() -> None:
    books = SentBooks()
    books.dispatch("lamp", "lost").close()
    twice = books.dispatch("lamp", "twice")
    twice.answered(refused=False)
    twice.answered(refused=False)
    twice.close()
    assert [line["balanced"] for line in lines_of(books.books(), "sent")] == [False, False]
    taken = TakenBooks()
    taken.take("x").in_hand -= 1
    assert not is_balanced(taken.books())


Step = tuple[str, int, int]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["dispatch", "transmit", "ack", "refuse", "give up", "late"]),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 3), st.integers(1, 3))
def test_whatever_happens_the_lines_balance_and_no_total_shrinks(
    steps: list[Step], most_peers: int, most_channels: int
) -> None:
    books = SentBooks(most_peers, most_channels)
    live: list[tuple[Dispatch, int]] = []
    late: list[Dispatch] = []
    sent = resent = answered = unknown = 0
    for what, one, other in steps:
        if what == "dispatch":
            live.append((books.dispatch(f"peer {one}", f"channel {other}"), 0))
            sent += 1
        elif what == "late":
            if late:
                dispatch = late.pop(one % len(late))
                dispatch.late(refused=other % 2 == 0)
                dispatch.await_no_more()
                unknown -= 1
        elif live:
            dispatch, transmitted = live.pop(one % len(live))
            if what == "transmit":
                dispatch.transmit()
                resent += transmitted > 0
                live.append((dispatch, transmitted + 1))
            else:
                if what == "give up":
                    dispatch.give_up(list(Given)[other % len(Given)])
                    if transmitted:
                        dispatch.await_late()
                        late.append(dispatch)
                        unknown += 1
                else:
                    dispatch.answered(refused=what == "refuse")
                    answered += 1
                dispatch.close()
        now = books.books()
        assert is_balanced(now)
        assert total(now, "sent", "sent") == sent
        assert total(now, "sent", "in_flight") == len(live)
        assert total(now, "sent", "resent") == resent
        assert total(now, "sent", "unknown") == unknown
        assert total(now, "sent", "acked") + total(now, "sent", "refused") == answered
        assert all(len(lines["sent"]) <= most_channels + 1 for lines in now.values())


def test_there_is_a_bound_to_peers_and_channels() -> None:
    books = SentBooks(most_peers=3, most_channels=4)
    for n in range(100):
        dispatch = books.dispatch(f"peer {n // 10}", f"channel {n}")
        dispatch.answered(refused=False)
        dispatch.close()
    found = books.books()
    assert list(found) == [f"peer {n} (plain)" for n in (7, 8, 9)] + [f"{FORGOTTEN} (plain)"]
    assert all(len(lines["sent"]) <= 5 for lines in found.values())
    assert found[f"{FORGOTTEN} (plain)"]["sent"][ALL]["acked"] == 70
    assert total(found, "sent", "acked") == 100


def test_a_peer_or_a_channel_in_use_keeps_its_line() -> None:
    books = SentBooks(most_peers=1, most_channels=2)
    waits, awaited = books.dispatch("a", "flight"), books.dispatch("a", "late")
    awaited.transmit()
    awaited.give_up(Given.CANCELLED)
    awaited.await_late()
    awaited.close()
    for n in range(3):
        books.dispatch("a", f"more {n}")
        books.dispatch(f"b {n}", "x")
    waits.answered(refused=False)
    waits.close()
    awaited.late(refused=False)
    awaited.await_no_more()
    sent = books.books()["a (plain)"]["sent"]
    assert (sent["flight"]["acked"], sent["flight"]["in_flight"]) == (1, 0)
    assert (sent["late"]["late_acked"], sent["late"]["unknown"]) == (1, 0)
    # Where no line can make room, the message is counted with the others.
    assert list(sent) == ["flight", "late", OTHERS]
    assert sent[OTHERS]["in_flight"] == 3


# -- incoming ----------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["take", "handled", "refused", "abandoned"]), st.integers(0, 5))))
def test_what_plain_clients_send_balances_whatever_happens(steps: list[tuple[str, int]]) -> None:
    books = TakenBooks(most=2)
    hands = []
    received = 0
    for what, which in steps:
        if what == "take":
            hands.append(books.take(f"channel {which}"))
            received += 1
        elif hands:
            line = hands.pop(which % len(hands))
            setattr(line, what, getattr(line, what) + 1)
            line.in_hand -= 1
        now = books.books()
        assert is_balanced(now)
        assert total(now, "received", "received") == received
        assert total(now, "received", "in_hand") == len(hands)
        assert len(lines_of(now, "received")) <= 3


def test_clients_can_make_no_more_than_so_many_lines() -> None:
    books = TakenBooks(most=3)
    assert books.books() == {}
    for n in range(50):
        line = books.take(f"channel {n}")
        line.handled += 1
        line.in_hand -= 1
        books.turn_away(f"channel {n}")
    received = books.books()[CLIENTS]["received"]
    assert len(received) <= 4
    assert sum(line["handled"] for line in received.values()) == 50
    assert sum(line["turned_away"] for line in received.values()) == 50
    assert received[OTHERS]["received"] > 40


def test_a_channel_that_is_called_as_the_line_of_the_others() -> None:
    books = TakenBooks(most=2)
    for name in ("a", "b", OTHERS, "c", OTHERS):
        line = books.take(name)
        line.handled += 1
        line.in_hand -= 1
    assert total(books.books(), "received", "handled") == 5
    assert len(lines_of(books.books(), "received")) <= 3


def test_a_long_name_is_cut() -> None:
    books = TakenBooks()
    books.take("x" * 8000)
    books.take("x" * MAX_NAME)
    assert sorted(map(len, books.books()[CLIENTS]["received"])) == [MAX_NAME, MAX_NAME]


# -- forgotten peers -----------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.booleans(), st.integers(1, 3))))
def test_what_is_forgotten_still_counts(gone: list[tuple[str, int, bool, int]]) -> None:
    forgotten = Forgotten(most_odd=2)
    sent = 0
    for peer, count, odd, channels in gone:
        forgotten.add(peer, some(count, count - odd, channels))
        sent += count * channels
        books = forgotten.books()
        assert total(books, "sent", "sent") == sent
        assert forgotten.is_balanced() == is_balanced(books)
        assert len(books) <= 3
    assert forgotten.is_balanced() == (not any(odd for _, _, odd, _ in gone))


def test_one_that_is_odd_twice_is_seen_twice() -> None:
    forgotten = Forgotten()
    forgotten.add("twin", some(5, 4))
    forgotten.add("twin", some(7, 6))
    forgotten.add("good", some(3))
    books = forgotten.books()
    assert list(books) == ["twin", "twin (again)", FORGOTTEN]
    assert books[FORGOTTEN]["received"] == {}
    assert books[FORGOTTEN]["sent"][ALL]["sent"] == 3


def test_a_sum_has_all_reasons_and_balances_if_both_do() -> None:
    one: Line = {"failed": {"a": 1, "b": 1}, "sent": 2, "balanced": True}
    other: Line = {"failed": {"b": 2, "c": 3}, "sent": 5, "resent": 1, "balanced": True}
    assert added(one, other) == {
        "failed": {"a": 1, "b": 3, "c": 3},
        "sent": 7,
        "resent": 1,
        "balanced": True,
    }
    assert added(one, {**other, "balanced": False})["balanced"] is False
    assert added({**one, "balanced": False}, other)["balanced"] is False
    # Neither is changed by it.
    assert one["failed"] == {"a": 1, "b": 1}


def test_the_kinds_of_lines_that_there_are_can_be_summed() -> None:
    for line in (Sent().snapshot(0), Taken().snapshot(0)):
        assert added(dict(line), dict(line)) == line


# -- the whole -------------------------------------------------------------------------------


def test_nobody_takes_the_place_of_another() -> None:
    a, b, c = some(1), some(2), some(3)
    whole = joined({"x": a, "x (m)": b}, {"x": c, "y": a}, mark="m")
    assert whole == {"x": a, "x (m)": b, "x (m 2)": c, "y": a}


def test_few_lines_are_all_shown() -> None:
    books: Books = {"a": some(channels=3), "b": {"sent": {}, "received": {}}}
    assert bounded(books, 4) == (books, 0)
    assert bounded({}, 0) == ({}, 0)


def test_of_many_lines_those_that_do_not_balance_are_shown() -> None:
    waits: Any = some(4)
    waits["sent"]["c0"]["in_flight"] = 1
    books: Books = {"good": some(1, channels=9), "empty": {"sent": {}, "received": {}}, "waits": waits}
    books |= {"odd": some(2, 1, channels=2), "last": some(3)}
    shown, omitted = bounded(books, 4)
    assert omitted == 9 + 1 + 1 + 2 + 1 - 4
    # In the order of the books still.
    assert {peer: list(lines["sent"]) for peer, lines in shown.items()} == {
        "good": ["c0"],
        "waits": ["c0"],
        "odd": ["c0", "c1"],
    }
    assert [list(lines) for lines in shown.values()] == [["sent", "received"]] * 3
    shown, omitted = bounded(books, 1)
    assert (list(shown), omitted) == (["odd"], 13)


@given(st.integers(0, 8), st.integers(0, 5), st.integers(0, 4), st.integers(0, 12))
def test_the_bound_is_kept(peers: int, channels: int, odd: int, most: int) -> None:
    books = {f"p{n}": some(2, 1 if n < odd else 2, channels) for n in range(peers)}
    shown, omitted = bounded(books, most)
    entries = [max(1, len(lines["sent"])) for lines in shown.values()]
    assert sum(entries) + omitted == peers * max(1, channels)
    assert sum(entries) <= most
    odd_lines = min(odd, peers) * channels
    assert sum(not line["balanced"] for line in lines_of(shown, "sent")) == min(most, odd_lines)
