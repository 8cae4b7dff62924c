"""The books: every line balances, and none is lost when there are too many."""

from __future__ import annotations

from mesh.protocol.link.events import Reason
from mesh.protocol.link.ledger import OTHERS, PARTS, Ledger, Sent, Taken


def test_a_sender_line() -> None:
    line = Sent()
    line.sent, line.acked, line.refused = 10, 3, 1
    line.fail(2, Reason.PEER_DOWN)
    line.fail(1, Reason.ACK_TIMEOUT)
    line.fail(1, Reason.PEER_DOWN)
    line.fail(1, Reason.CANCELLED)
    assert line.snapshot(1) == {
        "sent": 10,
        "acked": 3,
        "refused": 1,
        "failed": {"peer down": 3, "ack timeout": 1},
        "cancelled": 1,
        "in_flight": 1,
        "late_acked": 0,
        "late_refused": 0,
        "late_skipped": 0,
        "unknown": 0,
        "balanced": True,
    }
    assert line.snapshot(2)["balanced"] is False


def test_late_answers_do_not_change_the_balance() -> None:
    line = Sent()
    line.sent = 1
    line.fail(1, Reason.ACK_TIMEOUT)
    line.late_acked = 1
    assert line.snapshot(0)["balanced"] is True


def test_a_receiver_line() -> None:
    line = Taken()
    line.received, line.handled, line.refused, line.duplicates, line.abandoned = 10, 4, 1, 2, 1
    line.turned_away = 7
    assert line.snapshot(2)["balanced"] is True
    assert line.snapshot(3)["balanced"] is False


def test_lines_are_folded_and_not_lost() -> None:
    ledger = Ledger(3)
    for n in range(10):
        line = ledger.sender(f"c{n}", {"c0"})
        line.sent += 1
        line.fail(1, Reason.CLOSED)
        taken = ledger.receiver(f"c{n}", {"c0"})
        taken.received += 1
        taken.handled += 1
    assert "c0" in ledger.sent
    assert "c0" in ledger.taken
    assert len(ledger.sent) <= 4
    assert sum(line.sent for line in ledger.sent.values()) == 10
    assert ledger.sent[OTHERS].failed == {"closed": ledger.sent[OTHERS].sent}
    assert sum(taken.handled for taken in ledger.taken.values()) == 10
    assert all(line.snapshot(0)["balanced"] for line in ledger.sent.values())


def test_a_line_that_is_in_use_stays() -> None:
    ledger = Ledger(1)
    first = ledger.sender("a", {"a"})
    ledger.sender("b", {"a"})
    assert ledger.sender("a", {"a"}) is first


def test_the_parts_of_all_asks_have_one_line_which_is_never_folded() -> None:
    ledger = Ledger(2)
    line, taken = ledger.sender("$part/1", ()), ledger.receiver("$part/1", ())
    for n in range(10):
        ledger.sender(f"c{n}", ())
        ledger.receiver(f"c{n}", ())
        assert ledger.sender(f"$part/{n}", ()) is line
        assert ledger.receiver(f"$part/{n}", ()) is taken
    assert ledger.sent[PARTS] is line
    assert ledger.taken[PARTS] is taken
    assert ledger.sender("$parts/1", ()) is not line


def test_the_search_for_a_line_to_fold_is_short() -> None:
    class Busy(set[str]):
        looks = 0

        def __contains__(self, name: object) -> bool:
            Busy.looks += 1
            return super().__contains__(name)

    ledger, busy = Ledger(10), Busy()
    for n in range(1000):
        busy.add(f"c{n}")
        ledger.receiver(f"c{n}", busy).received += 1
    assert len(ledger.taken) == 1000
    assert Busy.looks < 10_000
    busy.clear()
    ledger.receiver("late", busy)
    assert len(ledger.taken) == 1001
    assert sum(line.received for line in ledger.taken.values()) == 1000


def test_a_channel_may_be_named_like_the_line_of_the_others() -> None:
    ledger = Ledger(4)
    for n in range(4):
        ledger.sender(f"c{n}", ()).sent = 10
        ledger.receiver(f"c{n}", ()).received = 10
    ledger.sender(OTHERS, {OTHERS}).sent += 1
    ledger.receiver(OTHERS, {OTHERS}).received += 1
    assert sum(line.sent for line in ledger.sent.values()) == 41
    assert sum(line.received for line in ledger.taken.values()) == 41
