"""The hall: what each client is told, and that nothing is lost or left behind."""

from __future__ import annotations

import json
from collections import Counter
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from factory.rooms.hall import Guest, Hall
from factory.rooms.limits import Limits


class Crowd:
    """A hall, and clients by their names."""

    def __init__(self, **limits: Any) -> None:
        numbers = count(1)
        self.hall = Hall(
            Limits(**{"rate": 1e6, "burst": 1_000_000, **limits}), token=lambda: f"s{next(numbers)}"
        )
        self.now = 0.0
        self.guests: dict[str, Guest] = {}

    def dial(self, name: str) -> Guest:
        guest = self.guests[name] = self.hall.open(lambda: None)
        return guest

    def say(self, name: str, action: str = "", **fields: Any) -> list[dict[str, Any]]:
        self.hall.take(self.guests[name], json.dumps({"action": action, **fields}), self.now)
        return self.read(name)

    def read(self, name: str) -> list[dict[str, Any]]:
        box = self.guests[name].mailbox
        said: list[dict[str, Any]] = []
        while len(box):
            said += [json.loads(data) for data in box.take(1 << 20)]
        return said

    def come(self, name: str, *rooms: str, **fields: Any) -> list[dict[str, Any]]:
        self.dial(name)
        said = self.say(name, "connect", username=name, **fields)
        for room in rooms:
            said += self.say(name, "joinroom", room=room)
        return said

    def go(self, name: str) -> None:
        self.hall.gone(self.guests.pop(name), self.now)

    def error(self, name: str, action: str = "", **fields: Any) -> str:
        (said,) = self.say(name, action, **fields)
        assert said["action"] == "error"
        return str(said["reason"])


def chats(said: list[dict[str, Any]]) -> list[str]:
    return [f"{one['from']}: {one['message']}" for one in said if one["action"] == "chat"]


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


def test_what_is_said_reaches_all_others_with_the_name(crowd: Crowd) -> None:
    for name in ("ann", "bob", "cat"):
        crowd.come(name, "lobby")
    crowd.come("dan", "kitchen")
    for name in crowd.guests:
        crowd.read(name)
    assert crowd.say("ann", "chat", room="lobby", message="hi") == []
    expected = {"action": "chat", "room": "lobby", "message": "hi", "from": "ann", "id": 1}
    assert crowd.read("bob") == crowd.read("cat") == [expected]
    assert crowd.read("dan") == []


def test_both_vocabularies_are_understood(crowd: Crowd) -> None:
    crowd.come("ann", "lobby")
    crowd.dial("bob")
    crowd.say("bob", "connect", username="bob")
    crowd.say("bob", "join", room="lobby")
    crowd.read("ann")
    crowd.say("bob", "chat", room="lobby", msg="hi")
    assert chats(crowd.read("ann")) == ["bob: hi"]
    assert crowd.say("bob", "leave", room="lobby") == [{"action": "left", "room": "lobby", "username": "bob"}]
    assert crowd.read("ann") == [{"action": "left", "room": "lobby", "username": "bob"}]


def test_who_joined_with_echo_gets_its_own_messages(crowd: Crowd) -> None:
    crowd.come("ann")
    crowd.say("ann", "joinroom", room="lobby", echo=True)
    assert chats(crowd.say("ann", "chat", room="lobby", message="hi")) == ["ann: hi"]
    crowd.say("ann", "joinroom", room="lobby")
    assert chats(crowd.say("ann", "chat", room="lobby", message="hi")) == []


def test_who_marks_a_message_is_told_that_it_was_accepted(crowd: Crowd) -> None:
    crowd.come("ann", "lobby")
    crowd.come("bob", "lobby")
    crowd.read("ann")
    said = crowd.say("ann", "chat", room="lobby", message="hi", ref="7")
    assert said == [{"action": "accepted", "ref": "7", "room": "lobby", "id": 1, "members": 1}]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("{", "that is not JSON"),
        ("[]", "a JSON object is expected"),
        ("{}", "'action' is missing; it is one of connect, joinroom, leaveroom, chat, who"),
        ('{"action": 7}', "'action' is missing"),
        ('{"action": "jion"}', "unknown action 'jion'; did you mean 'join'?"),
        ('{"action": "joinroom"}', "'room' is missing"),
        ('{"action": "joinroom", "room": 7}', "room is a text"),
        ('{"action": "joinroom", "room": "x", "echo": 1}', "'echo' is true or false"),
        ('{"action": "leaveroom", "room": "x"}', "you are not in room 'x'; join it first"),
        ('{"action": "chat", "room": "x", "message": "m"}', "you are not in room 'x'; join it first"),
        ('{"action": "chat", "room": "x"}', "'message' is missing"),
        ('{"action": "chat", "room": "x", "message": 7}', "'message' is a text"),
        ('{"action": "chat", "room": "x", "message": "", "ref": 1}', "'ref' is a text"),
        ('{"action": "connect", "username": "x"}', "you are connected as ann already"),
        ("[" * 60_000, "that is not JSON"),
        ("x" * 70_000, "that has 70000 bytes; 65536 are the most"),
    ],
)
def test_mistakes_are_answered_and_change_nothing(crowd: Crowd, said: str, reason: str) -> None:
    crowd.come("ann")
    crowd.hall.take(crowd.guests["ann"], said, 0.0)
    (error,) = crowd.read("ann")
    assert error["action"] == "error"
    assert reason in error["reason"]
    assert not crowd.hall.rooms
    assert crowd.say("ann", "who") == [{"action": "who", "username": "ann", "rooms": []}]


def test_who_has_not_said_its_name_may_say_nothing_else(crowd: Crowd) -> None:
    crowd.dial("ann")
    assert crowd.error("ann", "joinroom", room="x").startswith("say who you are first")


def test_names_are_taken_only_once(crowd: Crowd) -> None:
    crowd.come("ann")
    crowd.dial("other")
    assert crowd.error("other", "connect", username="ann") == "the name 'ann' is taken"
    assert "by 'ann', which looks the same" in crowd.error("other", "connect", username="ANN")
    crowd.go("ann")
    assert crowd.say("other", "connect", username="ann")[0]["action"] == "connected"


def test_empty_rooms_vanish(crowd: Crowd) -> None:
    crowd.come("ann", "lobby", "attic")
    crowd.say("ann", "leaveroom", room="LOBBY")
    assert list(crowd.hall.rooms) == ["attic"]
    crowd.go("ann")
    crowd.hall.expire(1e9)
    assert not crowd.hall.rooms


# -- away --------------------------------------------------------------------------------------


def test_who_comes_back_has_its_rooms_and_what_it_missed(crowd: Crowd) -> None:
    (connected, *_) = crowd.come("ann", "lobby")
    crowd.come("bob", "lobby")
    crowd.go("ann")
    assert {"action": "away", "room": "lobby", "username": "ann"} in crowd.read("bob")
    crowd.say("bob", "chat", room="lobby", message="one")
    crowd.say("bob", "chat", room="lobby", message="two")
    back, *missed = crowd.come("ann", session=connected["session"])
    assert (back["action"], back["rooms"]) == ("connected", ["lobby"])
    assert chats(missed) == ["bob: one", "bob: two"]
    assert crowd.read("bob") == [{"action": "back", "room": "lobby", "username": "ann"}]


def test_what_was_on_its_way_is_given_again_if_it_was_not_seen(crowd: Crowd) -> None:
    (connected, *_) = crowd.come("ann", "lobby")
    crowd.come("bob", "lobby")
    for text in ("one", "two", "three"):
        crowd.say("bob", "chat", room="lobby", message=text)
    crowd.read("ann")  # handed to a connection that is dead
    crowd.go("ann")
    said = crowd.come("ann", session=connected["session"], seen={"lobby": 1})
    assert chats(said) == ["bob: two", "bob: three"]


def test_what_is_not_kept_any_more_is_counted() -> None:
    crowd = Crowd(kept=2)
    (connected, *_) = crowd.come("ann", "lobby")
    crowd.come("bob", "lobby")
    crowd.go("ann")
    for number in range(5):
        crowd.say("bob", "chat", room="lobby", message=str(number))
    said = crowd.come("ann", session=connected["session"])
    assert said[1] == {"action": "missed", "room": "lobby", "count": 3}
    assert chats(said) == ["bob: 3", "bob: 4"]


def test_a_connection_that_only_looks_alive_is_replaced(crowd: Crowd) -> None:
    (connected, *_) = crowd.come("ann", "lobby")
    old = crowd.guests["ann"]
    said = crowd.come("ann", session=connected["session"])
    assert said[0]["rooms"] == ["lobby"]
    assert old.is_over
    crowd.hall.gone(old, 0.0)
    crowd.come("bob", "lobby")
    crowd.say("bob", "chat", room="lobby", message="hi")
    assert chats(crowd.read("ann")) == ["bob: hi"]


def test_who_takes_the_name_of_one_who_is_away_gets_nothing_of_it(crowd: Crowd) -> None:
    crowd.come("ann", "lobby")
    crowd.come("bob", "lobby")
    crowd.go("ann")
    crowd.say("bob", "chat", room="lobby", message="secret")
    (connected,) = crowd.come("ann", session="guessed")
    assert connected["rooms"] == []
    assert {"action": "left", "room": "lobby", "username": "ann"} in crowd.read("bob")


def test_who_is_away_for_too_long_is_forgotten(crowd: Crowd) -> None:
    crowd.come("ann", "lobby")
    crowd.go("ann")
    assert crowd.hall.expire(299.0) == 300.0
    assert crowd.hall.expire(300.0) is None
    assert not crowd.hall.rooms


# -- bounds ------------------------------------------------------------------------------------


def test_a_member_that_does_not_read_is_told_how_many_it_missed() -> None:
    crowd = Crowd(waiting=3)
    crowd.come("ann", "lobby")
    crowd.come("bob", "lobby")
    crowd.read("ann")
    for number in range(10):
        crowd.say("bob", "chat", room="lobby", message=str(number))
    assert len(crowd.guests["ann"].mailbox) == 3
    missed, *rest = crowd.read("ann")
    assert missed == {"action": "missed", "room": "lobby", "count": 7}
    assert chats(rest) == ["bob: 7", "bob: 8", "bob: 9"]
    books = crowd.hall.books()
    assert (books["offered"], books["handed"], books["dropped"], books["balanced"]) == (10, 3, 7, True)


def test_bytes_are_bounded_too() -> None:
    crowd = Crowd(waiting_bytes=1000)
    crowd.come("ann", "lobby")
    crowd.come("bob", "lobby")
    crowd.read("ann")
    for _ in range(10):
        crowd.say("bob", "chat", room="lobby", message="x" * 300)
    assert len(crowd.guests["ann"].mailbox) == 2


def test_who_never_reads_answers_is_asked_for_no_more() -> None:
    crowd = Crowd(waiting=5)
    crowd.dial("ann")
    for _ in range(5):
        assert not crowd.guests["ann"].mailbox.is_full
        crowd.hall.take(crowd.guests["ann"], "{}", 0.0)
    assert crowd.guests["ann"].mailbox.is_full


def test_who_says_too_much_is_told_when_to_go_on() -> None:
    crowd = Crowd(rate=10.0, burst=3)
    crowd.come("ann", "lobby")
    assert crowd.say("ann", "who")[0]["action"] == "who"
    assert crowd.error("ann", "who") == "too fast: 10 a second; wait 0.1 s, then say it again"
    crowd.now = 0.1
    assert crowd.say("ann", "who")[0]["action"] == "who"


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"users": 1}, "there are 1 users already"),
        ({"rooms": 1}, "there are 1 rooms already; join one of them"),
        ({"members": 1}, "room 'lobby' is full: it has 1 members"),
        ({"rooms_each": 1}, "you are in 1 rooms, which is the most; leave one first"),
        ({"message": 3}, "the message has 4 characters; 3 are the most"),
    ],
)
def test_every_limit_is_told(limits: dict[str, int], reason: str) -> None:
    crowd = Crowd(**limits)
    said = crowd.come("ann", "lobby")
    said += crowd.say("ann", "chat", room="lobby", message="long")
    said += crowd.come("bob", "lobby", "attic", "cellar")
    assert [one for one in said if one["action"] == "error" and reason in one["reason"]]


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("rate", 0.0, "rate is 0; it is more than 0"),
        ("rate", float("nan"), "rate is nan; it is more than 0"),
        ("members", -1, "members is -1; it is more than 0"),
        ("kept", -1, "kept is -1; it is at least 0"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(limit: str, value: float, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        Limits(**{limit: value})  # type: ignore[arg-type]


def test_nothing_has_to_be_kept() -> None:
    crowd = Crowd(kept=0, away=0.0)
    (connected, *_) = crowd.come("ann", "lobby")
    crowd.come("bob", "lobby")
    crowd.go("ann")
    crowd.say("bob", "chat", room="lobby", message="hi")
    said = crowd.come("ann", session=connected["session"])
    assert said[1] == {"action": "missed", "room": "lobby", "count": 1}


def test_large_rooms_are_not_told_who_comes_and_goes() -> None:
    crowd = Crowd(announced=2)
    crowd.come("ann", "lobby")
    crowd.come("bob", "lobby")
    assert [one["username"] for one in crowd.read("ann")] == ["bob"]
    crowd.come("cat", "lobby")
    crowd.go("cat")
    assert crowd.read("ann") == []


def test_at_the_end_everybody_is_told(crowd: Crowd) -> None:
    crowd.come("ann", "lobby")
    crowd.come("bob", "lobby")
    crowd.say("bob", "chat", room="lobby", message="the last word")
    crowd.hall.stop("the server stops", 0.0)
    *_, chat, closing = crowd.read("ann")
    assert chat["message"] == "the last word"
    assert closing == {"action": "closing", "reason": "the server stops"}
    assert crowd.guests["ann"].is_over
    assert crowd.dial("late").is_over


# -- everything at once --------------------------------------------------------------------------

NAMES = ("ann", "bob", "cat", "dan")
ROOMS = ("lobby", "attic")


class Evening(RuleBasedStateMachine):
    """Clients that come, go, talk and read in any order, beside a model of who must have got what."""

    def __init__(self) -> None:
        super().__init__()
        self.crowd = Crowd(waiting=4, kept=3, away=10.0)
        self.sessions: dict[str, str] = {}
        self.told: dict[str, list[tuple[str, int]]] = {name: [] for name in NAMES}

    @rule(name=st.sampled_from(NAMES), again=st.booleans())
    def come(self, name: str, again: bool) -> None:
        if name in self.crowd.guests:
            return
        fields = {"session": self.sessions[name]} if again and name in self.sessions else {}
        said = self.crowd.come(name, **fields)
        assert said[0]["action"] == "connected"
        if said[0]["session"] != self.sessions.get(name):
            self.told[name] = []
        self.sessions[name] = said[0]["session"]
        self.note(name, said)

    @rule(name=st.sampled_from(NAMES))
    def go(self, name: str) -> None:
        if name in self.crowd.guests:
            self.crowd.go(name)

    @rule(name=st.sampled_from(NAMES), room=st.sampled_from(ROOMS), action=st.sampled_from(["join", "leave"]))
    def move(self, name: str, room: str, action: str) -> None:
        if name in self.crowd.guests:
            self.note(name, self.crowd.say(name, action, room=room))
            if action == "leave":
                self.told[name] = [(where, number) for where, number in self.told[name] if where != room]

    @rule(name=st.sampled_from(NAMES), room=st.sampled_from(ROOMS), times=st.integers(1, 6))
    def talk(self, name: str, room: str, times: int) -> None:
        if name in self.crowd.guests:
            for _ in range(times):
                wish = {"action": "chat", "room": room, "message": "x"}
                self.crowd.hall.take(self.crowd.guests[name], json.dumps(wish), self.crowd.now)

    @rule(name=st.sampled_from(NAMES))
    def read(self, name: str) -> None:
        if name in self.crowd.guests:
            self.note(name, self.crowd.read(name))

    @rule(seconds=st.sampled_from([1.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.crowd.now += seconds
        self.crowd.hall.expire(self.crowd.now)

    def note(self, name: str, said: list[dict[str, Any]]) -> None:
        for one in said:
            if one["action"] == "chat":
                assert one["from"] != name, "nobody gets its own messages"
                self.told[name].append((one["room"], one["id"]))

    @invariant()
    def nobody_is_told_twice_and_all_in_order(self) -> None:
        for told in self.told.values():
            assert not [key for key, times in Counter(told).items() if times > 1]
            for room in ROOMS:
                numbers = [number for where, number in told if where == room]
                assert numbers == sorted(numbers)

    @invariant()
    def the_books_balance(self) -> None:
        assert self.crowd.hall.books()["balanced"] is True

    @invariant()
    def rooms_and_members_agree(self) -> None:
        hall = self.crowd.hall
        for key, room in hall.rooms.items():
            assert room.members, "an empty room vanishes"
            assert all(member.rooms[key] is room for member in room.members)

    def teardown(self) -> None:
        for name in list(self.crowd.guests):
            self.crowd.go(name)
        self.crowd.hall.expire(1e9)
        hall = self.crowd.hall
        assert (hall.rooms, hall._looks, hall._sessions, hall._away, hall._guests) == ({}, {}, {}, {}, set())


TestEvening = Evening.TestCase
TestEvening.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
