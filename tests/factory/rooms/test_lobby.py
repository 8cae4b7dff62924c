"""The lobby: whole conversations over any transport, their end, and that nobody is waited for."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from factory.rooms.hall import Hall
from factory.rooms.io.lobby import FAREWELL, Lobby, Talk
from factory.rooms.limits import Limits
from mesh.transport.base import Transport, TransportClosedError
from mesh.transport.memory import MemoryNetwork
from tests.helpers.proc import DEADLINE


class Client:
    """The far end of one conversation."""

    def __init__(self, wire: Transport) -> None:
        self.wire = wire

    async def say(self, action: str, **fields: Any) -> None:
        await self.wire.send(json.dumps({"action": action, **fields}).encode())

    async def hear(self, action: str = "") -> dict[str, Any]:
        """Return the next that it is told, or the next of that kind."""
        async with asyncio.timeout(DEADLINE):
            while True:
                said: dict[str, Any] = json.loads(await self.wire.recv())
                if action in ("", said["action"]):
                    return said

    async def rest(self) -> list[dict[str, Any]]:
        """Return all that it is told until the connection is closed."""
        said = []
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    said.append(json.loads(await self.wire.recv()))
                except TransportClosedError:
                    return said


class House:
    """A lobby behind a door in memory, whose time is moved by hand."""

    def __init__(self, **limits: Any) -> None:
        self.network = MemoryNetwork()
        self.time = 0.0
        self.hall = Hall(Limits(**{"rate": 1e6, "burst": 1_000_000, **limits}))
        self.lobby = Lobby(self.hall, lambda: self.time)
        self.reasons: list[str] = []
        self.network.listen("door", self._accept)

    async def _accept(self, transport: Transport) -> None:
        self.reasons.append(await self.lobby.converse(transport).run())

    async def dial(self, place: str = "far") -> Client:
        return Client(await self.network.dial(place, "door"))

    async def come(self, name: str, *rooms: str) -> Client:
        client = await self.dial(name)
        await client.say("connect", username=name)
        await client.hear("connected")
        for room in rooms:
            await client.say("joinroom", room=room)
            await client.hear("joined")
        return client

    def talk(self, name: str) -> Talk:
        (talk,) = (t for t in self.lobby.talks if t.guest.user and t.guest.user.name == name)
        return talk

    async def until_gone(self, count: int = 1) -> None:
        await self.until(lambda: len(self.reasons) >= count)

    async def until(self, reached: Callable[[], object]) -> None:
        for _ in range(100_000):
            if reached():
                return
            await asyncio.sleep(0)
        raise AssertionError("it did not come to pass")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    yield house
    await house.network.aclose()


async def fill(house: House, to: str, by: Client) -> None:
    """Have somebody say so much that the one who does not read is behind."""
    for number in range(400):
        await by.say("chat", room="lobby", message=f"{number:04}" + "x" * 996, ref="r")
        await by.hear("accepted")
    assert len(house.talk(to).guest.mailbox), "what its connection does not take waits in its mailbox"


async def test_what_is_said_reaches_the_others_in_order(house: House) -> None:
    ann, bob = await house.come("ann", "lobby"), await house.come("bob", "lobby")
    for number in range(20):
        await ann.say("chat", room="lobby", message=str(number))
    assert [(await bob.hear("chat"))["message"] for _ in range(20)] == [str(n) for n in range(20)]


async def test_a_connection_that_breaks_is_away_and_leaves_nothing(house: House) -> None:
    ann, bob = await house.come("ann", "lobby"), await house.come("bob", "lobby")
    bob.wire.abort()
    assert (await ann.hear("away"))["username"] == "bob"
    house.time = 1000.0
    house.lobby.look()
    assert (await ann.hear("left"))["username"] == "bob"
    ann.wire.abort()
    await house.until_gone(2)
    house.time = 2000.0
    house.lobby.look()
    assert (house.hall.rooms, house.lobby.talks) == ({}, set())


async def test_an_empty_message_is_a_goodbye_after_the_answers(house: House) -> None:
    ann = await house.come("ann")
    await ann.say("who")
    await ann.wire.send(b"")
    assert [said["action"] for said in await ann.rest()] == ["who"]
    await house.until_gone()
    assert house.reasons == ["the client said goodbye"]


async def test_who_does_not_read_holds_up_nobody_and_is_told_what_it_missed() -> None:
    house = House(waiting=50)
    ann, bob, cat = [await house.come(name, "lobby") for name in ("ann", "bob", "cat")]
    await fill(house, "bob", ann)
    assert [(await cat.hear("chat"))["id"] for _ in range(300)] == list(range(1, 301))
    told: list[dict[str, Any]] = []
    while not told or told[-1].get("id") != 400:
        told.append(await bob.hear())
    missed = sum(said["count"] for said in told if said["action"] == "missed")
    numbers = [said["id"] for said in told if said["action"] == "chat"]
    assert missed > 0
    assert missed + len(numbers) == 400
    assert numbers == sorted(numbers)
    await house.network.aclose()


async def test_who_asks_and_does_not_read_is_not_read_any_more() -> None:
    house = House(waiting=20)
    ann = await house.come("ann")
    asking = asyncio.create_task(_ask_for_ever(ann))
    await house.until(lambda: house.talk("ann").guest.mailbox.is_full and not ann.wire.writable)
    await ann.hear("who")
    asking.cancel()
    await asyncio.wait([asking])
    await house.network.aclose()


async def _ask_for_ever(client: Client) -> None:
    while True:
        await client.say("who", filler="x" * 2000, room=None)


# -- the end -----------------------------------------------------------------------------------------


async def test_at_the_end_everybody_gets_what_was_accepted_and_is_told(house: House) -> None:
    ann, bob = await house.come("ann", "lobby"), await house.come("bob", "lobby")
    await ann.say("chat", room="lobby", message="the last word", ref="1")
    await ann.hear("accepted")
    house.talk("bob").drain()
    assert [said["action"] for said in await bob.rest()] == ["chat", "closing"]
    assert [said["action"] for said in await ann.rest()] == ["closing"], "at whatever door it came in"
    await house.until_gone(2)
    assert house.reasons == ["the server stops"] * 2


async def test_what_is_said_after_the_end_began_is_accepted_by_nobody(house: House) -> None:
    ann, bob = await house.come("ann", "lobby"), await house.come("bob", "lobby")
    accepted = house.hall.books()["accepted"]
    house.talk("bob").drain()
    await ann.say("chat", room="lobby", message="too late", ref="1")
    assert [said["action"] for said in await ann.rest()] == ["joined", "closing"]
    assert [said["action"] for said in await bob.rest()] == ["closing"]
    assert house.hall.books()["accepted"] == accepted


async def test_who_reads_late_still_gets_all_that_was_accepted_before_the_end(house: House) -> None:
    ann, bob = await house.come("ann", "lobby"), await house.come("bob", "lobby")
    await fill(house, "bob", ann)
    house.talk("bob").drain()
    told = await bob.rest()
    assert [said["id"] for said in told if said["action"] == "chat"] == list(range(1, 401))
    assert told[-1]["action"] == "closing"


async def test_who_is_dismissed_and_never_reads_is_hung_up_on(house: House) -> None:
    ann, bob = await house.come("ann", "lobby"), await house.come("bob", "lobby")
    await fill(house, "bob", ann)
    house.hall.dismiss(house.talk("bob").guest, "enough", 0.0)
    house.lobby.look()
    house.time = FAREWELL
    house.lobby.look()
    await house.until_gone()
    assert house.reasons == ["enough; and it did not read that"]
    assert house.hall.books()["balanced"]
    bob.wire.abort()


# -- strangers ---------------------------------------------------------------------------------------


async def test_who_does_not_say_who_it_is_is_hung_up_on(house: House) -> None:
    ann, stranger = await house.come("ann"), await house.dial()
    await house.until(lambda: len(house.lobby.talks) == 2)
    house.time = 9.9
    house.lobby.look()
    assert len(house.lobby.talks) == 2
    house.time = 10.0
    house.lobby.look()
    (closing,) = await stranger.rest()
    assert closing["reason"] == "you did not say who you are within 10 s"
    await ann.say("who")
    assert await ann.hear("who"), "she did say so"


async def test_one_address_has_only_so_many_strangers() -> None:
    house = House(strangers=2)
    flood = [await house.dial("flood:1"), await house.dial("flood:2")]
    (closing,) = await (await house.dial("flood:3")).rest()
    assert closing["reason"] == "there are 2 connections from flood already that have not said who they are"
    other = await house.dial("other:1")
    await other.say("connect", username="bob")
    assert await other.hear("connected")
    await flood[0].say("connect", username="ann")
    await flood[0].hear("connected")
    await house.come("flood:4")  # for ann is no stranger any more
    await house.network.aclose()


# -- nothing is left behind ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_ten_thousand_visits_leave_nothing_behind(house: House) -> None:
    """Also E12: users and rooms are in no dictionary any more when they have gone."""
    ann = await house.come("ann", "lobby")
    tasks, objects = len(asyncio.all_tasks()), 0
    for number in range(10_000):
        if number == 1000:  # by now everything that is made only once was made
            objects = _objects()
        visitor = await house.dial(f"far:{number}")
        await visitor.say("connect", username=f"visitor {number}")
        await visitor.say("joinroom", room="lobby")
        await visitor.say("joinroom", room=f"room {number}")
        while (await visitor.hear("joined"))["room"] == "lobby":
            pass
        visitor.wire.abort()
        await ann.hear("away")
        house.time += 301.0
        house.lobby.look()
        await ann.hear("left")
    await house.until_gone(10_000)
    hall = house.hall
    assert list(hall.rooms) == ["lobby"]
    assert len(hall.rooms["lobby"].members) == len(hall._sessions) == len(hall._guests) == 1
    assert not hall._away
    assert not hall._strangers
    assert len(set(hall._looks.values())) == 1
    assert len(house.lobby.talks) == 1
    assert len(asyncio.all_tasks()) <= tasks + 1
    assert _objects() - objects < 1000, "nine thousand visits, and less than an object for each nine"


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())
