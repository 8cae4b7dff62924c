"""When a board that says nothing is asked, and when it is given up."""

from __future__ import annotations

from factory.boards.firmata.liveness import Liveness


def test_who_is_heard_is_never_asked() -> None:
    liveness = Liveness(100.0, 2.0)
    for now in (101.0, 102.5, 104.0):
        assert not liveness.handle_timer(now)
        liveness.heard(now)
    assert (liveness.next_deadline(), liveness.gone) == (106.0, None)


def test_who_answers_stays_however_often_it_is_asked() -> None:
    liveness = Liveness(0.0, 2.0)
    now = 0.0
    for _ in range(50):
        now = liveness.next_deadline()
        assert liveness.handle_timer(now)
        liveness.heard(now + 1.9)
    assert liveness.gone is None


def test_who_does_not_answer_is_gone() -> None:
    liveness = Liveness(0.0, 2.0)
    assert liveness.handle_timer(2.0)
    assert liveness.next_deadline() == 4.0
    assert not liveness.handle_timer(3.9)
    assert liveness.gone is None
    assert not liveness.handle_timer(4.1)
    assert liveness.gone == "it has not answered for 4 s; does it hang, or was a cable pulled?"


def test_who_slept_itself_asks_again_before_it_accuses() -> None:
    liveness = Liveness(0.0, 2.0)
    assert liveness.handle_timer(2.0)
    # The answer may well be there, and nobody has read it yet.
    assert liveness.handle_timer(60.0)
    assert (liveness.gone, liveness.next_deadline()) == (None, 62.0)
    assert not liveness.handle_timer(62.0)
    assert liveness.gone is not None
