"""The client's state against a real hall, with no connection and no clock between them."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from factory.rooms.client import BURST, COMMANDS, MOST_WAITING, RATE, Client
from factory.rooms.hall import Guest, Hall
from factory.rooms.limits import Limits

_tokens = count(1)


def hall(**limits: Any) -> Hall:
    return Hall(Limits(**limits), token=lambda: f"session {next(_tokens)}")


class Person:
    """A client, and its connection to a hall while it has one."""

    def __init__(self, username: str, *rooms: str) -> None:
        self.client = Client(username, rooms or ("lobby",))
        self.guest: Guest | None = None
        self.hall = hall()
        self.now = 0.0
        self.read: list[str] = []

    def dial(self, to: Hall) -> Person:
        self.hall = to
        self.guest = to.open(lambda: None)
        self.client.begin()
        return self.go()

    def send(self) -> bool:
        assert self.guest is not None
        commands = self.client.to_send(self.now)
        for command in commands:
            self.hall.take(self.guest, command, self.now)
        return bool(commands)

    def hear(self) -> None:
        assert self.guest is not None
        while len(self.guest.mailbox):
            for data in self.guest.mailbox.take(1 << 20):
                self.client.take(data)

    def go(self) -> Person:
        """Let everything that is on its way arrive."""
        while self.guest is not None:
            is_sent = self.send()
            self.hear()
            if not is_sent:
                break
        return self

    def cut(self, *, noticed: bool = True) -> Person:
        """Lose the connection; the hall may notice, or not for long."""
        assert self.guest is not None
        if noticed:
            self.hall.gone(self.guest, self.now)
        self.guest = None
        self.client.lost()
        return self

    def type(self, *lines: str | bytes) -> list[str]:
        for line in lines:
            self.client.typed(line)
        self.go()
        return self.shown()

    def shown(self) -> list[str]:
        if self.guest is not None:
            self.go()
        return self.client.to_show()


def pair(**limits: Any) -> tuple[Person, Person]:
    """Return two people in one room, who have read everything."""
    place = hall(**limits)
    ann, bob = Person("ann").dial(place), Person("bob").dial(place)
    ann.shown(), bob.shown()
    return ann, bob


def test_one_comes_in_and_is_told_who_is_there() -> None:
    place = hall()
    ann = Person("ann").dial(place)
    assert ann.shown() == ["* connected as ann", "lobby | you are in, with nobody else"]
    bob = Person("bob").dial(place)
    assert bob.shown() == ["* connected as bob", "lobby | you are in, with ann"]
    assert ann.shown() == ["lobby | bob joined"]


def test_what_is_said_is_shown_here_once_it_is_accepted_and_there() -> None:
    ann, bob = pair()
    assert ann.type("hello") == ["lobby | ann: hello  [accepted]"]
    assert bob.shown() == ["lobby | ann: hello"]
    bob.type("/quit")
    assert ann.shown() == ["lobby | bob left"]
    assert ann.type("hello?") == ["lobby | ann: hello?  [accepted; nobody else is here]"]


def test_what_is_refused_is_told_with_the_reason() -> None:
    ann, bob = pair(message=5)
    assert ann.type("123456", "12345", "1234567") == [
        "lobby | ann: 123456  [NOT accepted: the message has 6 characters; 5 are the most]",
        "lobby | ann: 12345  [accepted]",
        "lobby | ann: 1234567  [NOT accepted: the message has 7 characters; 5 are the most]",
    ]
    assert ann.client.failed == 2
    assert bob.shown() == ["lobby | ann: 12345"]


def test_what_was_not_accepted_when_the_connection_went_is_told_and_not_said_twice() -> None:
    ann, bob = pair()
    ann.client.typed("lost")
    ann.send()
    (line,) = ann.cut().shown()
    assert line.startswith("lobby | ann: lost  [NOT accepted: the connection was lost before it was accepted")
    ann.dial(ann.hall)
    assert bob.shown().count("lobby | ann: lost") == 1


def test_what_is_typed_while_away_waits() -> None:
    ann, bob = pair()
    assert ann.cut().type("one", "two") == [
        "lobby | ann: one  [waits for the server]",
        "lobby | ann: two  [waits for the server]",
    ]
    assert ann.dial(ann.hall).shown() == [
        "* connected again as ann",
        "lobby | ann: one  [accepted]",
        "lobby | ann: two  [accepted]",
    ]
    assert bob.shown() == [
        "lobby | ann is away",
        "lobby | ann is back",
        "lobby | ann: one",
        "lobby | ann: two",
    ]


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize("before", [0, 3])
def test_who_comes_back_gets_what_was_said_meanwhile_in_order_and_nothing_twice(
    before: int, noticed: bool
) -> None:
    """Not noticed: messages went into a connection that was dead already."""
    ann, bob = pair()
    bob.type(*(f"before {n}" for n in range(before)))
    ann.shown()
    ann.cut(noticed=noticed)
    bob.type(*(f"meanwhile {n}" for n in range(5)))
    chats = [line for line in ann.dial(ann.hall).shown() if "bob:" in line]
    assert chats == [f"lobby | bob: meanwhile {n}" for n in range(5)]
    assert ann.cut().dial(ann.hall).shown() == ["* connected again as ann"]


def test_who_was_away_for_too_much_is_told_how_much() -> None:
    ann, bob = pair(kept=2)
    ann.cut()
    bob.type("1", "2", "3", "4", "5")
    assert ann.dial(ann.hall).shown() == [
        "* connected again as ann",
        "lobby | 3 messages are gone: more than the server keeps",
        "lobby | bob: 4",
        "lobby | bob: 5",
    ]


def test_after_a_restart_of_the_server_the_rooms_are_joined_again() -> None:
    ann, bob = pair()
    bob.type("/join garden", "hello")
    bob.cut(), ann.cut()
    bob.client.typed("first words")
    fresh = hall()
    assert ann.dial(fresh).shown() == [
        "* connected again as ann; what was said meanwhile is lost",
        "lobby | you are in, with nobody else",
    ]
    bob.shown()
    assert bob.dial(fresh).shown()[1:] == [
        "lobby | you are in, with ann",
        "garden | you are in, with nobody else",
        "garden | bob: first words  [accepted; nobody else is here]",
    ]
    # Numbers begin at 1 again, which must not be taken for what was seen already.
    bob.type("/join lobby", "and here")
    assert ann.shown()[-1] == "lobby | bob: and here"


def test_a_name_that_is_taken_is_asked_for_again() -> None:
    ann, _ = pair()
    other = Person("bob").dial(ann.hall)
    assert other.shown() == ["* that name cannot be had: the name 'bob' is taken", "* type another one"]
    assert other.client.username == ""
    other.cut()
    assert other.type("carl") == []
    assert other.dial(ann.hall).shown()[0] == "* connected as carl"


def test_who_leaves_while_something_waits_is_told() -> None:
    ann, _ = pair()
    ann.cut().type("hello?", "/who")
    ann.client.quit()
    ann.client.give_up()
    assert ann.shown() == ["lobby | ann: hello?  [NOT accepted: it was never sent]"]
    assert ann.client.is_done


def test_commands() -> None:
    ann, bob = pair()
    assert ann.type("/join garden") == ["garden | you are in, with nobody else"]
    assert ann.type("/rooms") == ["* you are in lobby and garden (you type here)"]
    assert ann.type("/msg lobby psst: //x") == ["lobby | ann: psst: //x  [accepted]"]
    assert ann.type("/who lobby") == ["lobby | here are you and bob"]
    assert ann.type("/leave") == ["garden | you left"]
    assert ann.type("//me waves") == ["lobby | ann: /me waves  [accepted]"]
    assert ann.type("/leave nowhere") == ["* you are not in room 'nowhere'"]
    assert ann.type("/laeve") == ["* there is no /laeve, did you mean '/leave'?; /help shows what there is"]
    assert len(ann.type("/help")) == len(COMMANDS) + 1
    assert ann.type("/leave") == ["lobby | you left"]
    assert ann.type("hello?") == ["* you are in no room; /join ROOM takes you into one"]
    assert bob.shown()[-1] == "lobby | ann left"
    ann.type("/quit")
    assert ann.client.is_over
    assert ann.client.is_done


def test_a_room_has_the_name_that_the_first_one_gave_it() -> None:
    place = hall()
    Person("ann", "Garden").dial(place)
    bob = Person("bob", "GARDEN").dial(place)
    assert list(bob.client.seats) == ["Garden"]
    assert bob.type("hello")[-1] == "Garden | bob: hello  [accepted]"


def test_a_room_that_refuses_is_not_waited_for() -> None:
    place = hall(members=1)
    Person("ann").dial(place)
    bob = Person("bob").dial(place)
    assert bob.shown()[1:] == ["* joinroom lobby: room 'lobby' is full: it has 1 members"]
    assert (bob.client.room, bob.client.seats) == ("", {})


def test_words_are_completed() -> None:
    ann, bob = pair()
    ann.type("/join lounge", "/join lobby")
    assert ann.client.complete("/j") == ["/join"]
    assert ann.client.complete("/leave lo") == ["lobby", "lounge"]
    assert ann.client.complete("bo") == ["bob"]
    assert ann.client.complete("hello B") == ["bob"]
    bob.type("/quit")
    ann.shown()
    assert ann.client.complete("bo") == []


def test_nothing_that_is_shown_controls_the_terminal() -> None:
    ann, bob = pair()
    assert ann.type("\x1b[2J\nx", b"\xff\xfe") == [
        "lobby | ann: \\x1b[2J\\x0ax  [accepted]",
        "lobby | ann: \\xff\\xfe  [accepted]",
    ]
    assert bob.shown()[0] == "lobby | ann: \\x1b[2J\\x0ax"


@pytest.mark.parametrize(
    "said",
    [
        "",
        "{",
        "[]",
        "3",
        '{"action": []}',
        '{"action": "dance\x1b"}',
        '{"action": "chat"}',
        '{"action": "joined", "room": 1, "username": "ann", "members": [1], "count": "x"}',
        b"\xff",
    ],
)
def test_a_server_that_talks_nonsense_is_shown_and_nothing_breaks(said: str | bytes) -> None:
    ann, _ = pair()
    ann.client.take(said)
    (line,) = ann.client.to_show()
    assert line.startswith("* the server said something")
    assert "\x1b" not in line
    assert ann.type("still there") == ["lobby | ann: still there  [accepted]"]


def test_more_than_a_server_takes_is_sent_in_its_time() -> None:
    """A file of any length can be piped in."""
    ann, bob = pair()
    for n in range(500):
        ann.client.typed(str(n))
    while not ann.client.is_done:
        ann.go()
        due = ann.client.due_in(ann.now)
        if due is not None:
            assert due <= 1 / RATE + 1e-6
            ann.now += max(due, 1e-6)
    assert ann.client.failed == 0
    assert ann.now >= (500 - BURST) / RATE - 1
    assert [line for line in bob.shown() if "ann:" in line] == [f"lobby | ann: {n}" for n in range(500)]


def test_what_waits_is_bounded() -> None:
    ann, _ = pair()
    ann.cut()
    ann.type(*map(str, range(MOST_WAITING)))
    assert ann.type("one more") == [
        f"lobby | ann: one more  [NOT accepted: {MOST_WAITING} things wait to be sent already]"
    ]


def test_every_command_says_whose_it_is() -> None:
    """The session and what was seen are shown to the server that knows them, and not before."""
    ann, bob = pair()
    bob.type("one", "two")
    ann.shown()
    ann.cut()
    ann.client.begin()
    (connect,) = map(json.loads, ann.client.to_send(0))
    assert connect.keys() == {"action", "username", "session", "seen"}
    assert connect["seen"] == {"lobby": 2}
