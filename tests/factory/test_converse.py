"""Sketches that hold whole conversations, at real doors: what goes over the wire, and how it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import factory
import mesh
from factory.rooms.limits import TOO_LARGE
from mesh.conversation import Conversation, Converse
from mesh.node import Wire
from mesh.transport.base import Transport
from sketches import Rooms
from tests.helpers.proc import DEADLINE
from tests.helpers.sketch_bench import logged, made

pytestmark = pytest.mark.integration


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    rooms = made(Rooms, rate=1000.0)
    rooms.line_door = "tcp://localhost:0"
    async with rooms.running(port=0):
        yield rooms


def websocket(rooms: Rooms, path: str = "") -> connect:
    return rooms.serving.connection(path, max_queue=None)


async def until(reached: Callable[[], object]) -> None:
    """Wait until something is so."""
    for _ in range(2000):
        if reached():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to pass")


async def say(connection: ClientConnection, action: str, **fields: Any) -> None:
    await connection.send(json.dumps({"action": action, **fields}))


async def hear(connection: ClientConnection, action: str = "") -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE):
        while True:
            message = await connection.recv()
            assert isinstance(message, str), "it is text that goes out"
            said: dict[str, Any] = json.loads(message)
            if action in ("", said["action"]):
                return said


async def last_words(connection: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """Return all that it is told until the end, and the code with which it is closed."""
    told: list[dict[str, Any]] = []
    while True:
        try:
            told.append(await hear(connection))
        except ConnectionClosed as exc:
            return told, 1006 if exc.rcvd is None else exc.rcvd.code


async def enter(connection: ClientConnection, name: str) -> None:
    await say(connection, "connect", username=name)
    await say(connection, "joinroom", room="lobby")
    await hear(connection, "joined")


class Tcp:
    """A client of the TCP door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def dial(cls, rooms: Rooms) -> Tcp:
        port = int(str(rooms.line_door).rpartition(":")[2])
        return cls(*await asyncio.open_connection("localhost", port))

    def say(self, action: str, **fields: Any) -> None:
        data = json.dumps({"action": action, **fields}).encode()
        self.writer.write(len(data).to_bytes(4, "little") + data)

    async def hear(self, action: str = "") -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE):
            while True:
                size = int.from_bytes(await self.reader.readexactly(4), "little")
                said: dict[str, Any] = json.loads(await self.reader.readexactly(size))
                if action in ("", said["action"]):
                    return said


async def test_both_doors_lead_to_the_same_rooms(rooms: Rooms) -> None:
    async with websocket(rooms) as ann:
        await enter(ann, "ann")
        bob = await Tcp.dial(rooms)
        bob.say("connect", username="bob")
        bob.say("join", room="lobby")
        assert (await bob.hear("joined"))["count"] == 2
        bob.say("chat", room="lobby", msg="grüß dich")
        assert (await hear(ann, "chat"))["message"] == "grüß dich"
        await say(ann, "chat", room="lobby", message="dich auch")
        assert (await bob.hear("chat"))["from"] == "ann"
        bob.writer.write(bytes(4))
        async with asyncio.timeout(DEADLINE):
            assert await bob.reader.read() == b"", "no bytes end the conversation"
        assert (await hear(ann, "away"))["username"] == "bob"
        bob.writer.close()


async def test_who_sends_all_and_closes_its_half_still_gets_the_answers(rooms: Rooms) -> None:
    ann = await Tcp.dial(rooms)
    ann.say("connect", username="ann")
    ann.say("joinroom", room="lobby")
    ann.say("chat", room="lobby", message="hi", ref="1")
    ann.writer.write_eof()
    assert [(await ann.hear())["action"] for _ in range(3)] == ["connected", "joined", "accepted"]
    assert await ann.reader.read() == b""
    ann.writer.close()


async def test_what_is_far_too_large_ends_the_connection_at_both_doors(rooms: Rooms) -> None:
    async with websocket(rooms) as ann:
        await ann.send("x" * (TOO_LARGE + 1))
        told, code = await last_words(ann)
        assert (told, code) == ([], 1009)
    bob = await Tcp.dial(rooms)
    bob.writer.write((TOO_LARGE + 1).to_bytes(4, "little"))
    async with asyncio.timeout(DEADLINE):
        assert await bob.reader.read() == b""
    bob.writer.close()


async def test_binary_messages_are_commands_as_well(rooms: Rooms) -> None:
    async with websocket(rooms) as ann:
        await ann.send(b'{"action": "connect", "username": "ann"}')
        assert (await hear(ann))["action"] == "connected"


async def test_other_channels_are_answered_as_ever(rooms: Rooms) -> None:
    async with websocket(rooms, "books") as books, websocket(rooms, "$ledger") as ledger:
        await books.send("")
        assert json.loads(await books.recv())["balanced"] is True
        await ledger.send("")
        assert json.loads(await ledger.recv())["node"] == "rooms"


async def test_the_ledger_shows_what_became_of_all_messages(rooms: Rooms) -> None:
    async with websocket(rooms) as ann, websocket(rooms) as bob, websocket(rooms, "$ledger") as ledger:
        await enter(ann, "ann")
        await enter(bob, "bob")
        await say(ann, "chat", room="lobby", message="hi")
        await hear(bob, "chat")
        await ledger.send("")
        line = json.loads(await ledger.recv())["peers"]["(rooms)"]["published"]["(all rooms)"]
        assert (line["published"], line["delivered"], line["balanced"]) == (1, 1, True)


async def test_books_that_do_not_balance_count_as_any_other() -> None:
    hollow = made(Hollow)
    assert hollow._worker.balanced, "nothing has begun"
    async with hollow.running(port=0):
        pass
    assert not hollow._worker.balanced


async def test_a_sketch_whose_books_raise_has_none() -> None:
    class Torn(Hollow):
        def ledger(self) -> dict[str, Any]:
            raise LookupError("lost")

    torn = made(Torn)
    with logged() as log:
        async with torn.running(port=0):
            assert torn._worker.balanced
    assert log.having("ledger() failed: LookupError: lost")


class Hollow(factory.FactoryLoop):
    """Its own books say that something is lost."""

    @factory.reactive
    async def loop(self, channel: str, msg: str) -> str:
        return msg

    def ledger(self) -> dict[str, Any]:
        return {
            "(own)": {"sent": {}, "received": {}, "published": {"x": {"published": 1, "balanced": False}}}
        }


# -- the end -----------------------------------------------------------------------------------------


async def test_at_the_end_everybody_has_what_was_accepted_and_a_goodbye() -> None:
    rooms = made(Rooms, rate=1000.0)
    rooms.line_door = "tcp://localhost:0"
    async with rooms.running(port=0):
        ann, bob = await websocket(rooms), await websocket(rooms)
        await enter(ann, "ann")
        await enter(bob, "bob")
        cat = await Tcp.dial(rooms)
        cat.say("connect", username="cat")
        cat.say("joinroom", room="lobby")
        await cat.hear("joined")
        for number in range(50):
            await say(ann, "chat", room="lobby", message=str(number), ref=str(number))
        # Not all were taken when the end begins; those that were are for everybody.
        await hear(ann, "accepted")
    told, code = await last_words(ann)
    assert (told[-1]["reason"], code) == ("the server stops", 1001)
    accepted = 1 + sum(said["action"] == "accepted" for said in told)
    told, code = await last_words(bob)
    assert (told[-1]["action"], code) == ("closing", 1001)
    assert sum(said["action"] == "chat" for said in told) == accepted
    got = 0
    while (said := await cat.hear())["action"] != "closing":
        got += said["action"] == "chat"
    assert got == accepted
    assert await cat.reader.read() == b""
    cat.writer.close()


async def test_the_end_waits_for_nobody_who_does_not_read() -> None:
    rooms = made(Rooms, rate=10_000.0)
    rooms.line_door = "tcp://localhost:0"
    async with asyncio.timeout(5 + DEADLINE), rooms.running(port=0):
        deaf = await Tcp.dial(rooms)
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        deaf.say("connect", username="deaf")
        deaf.say("joinroom", room="lobby")
        ann = await websocket(rooms)
        await say(ann, "connect", username="ann")
        while (await _joined(ann))["count"] < 2:
            pass
        guest = next(t.guest for t in rooms.lobby.talks if t.guest.user and t.guest.user.name == "deaf")
        while not len(guest.mailbox):
            await say(ann, "chat", room="lobby", message="x" * 4000, ref="r")
            await hear(ann, "accepted")
    # Here it has stopped, and nothing of it is left.
    assert not rooms.lobby.talks
    assert rooms.hall.books()["balanced"]
    deaf.writer.transport.abort()
    await ann.close()


async def _joined(client: ClientConnection) -> dict[str, Any]:
    await say(client, "joinroom", room="lobby")
    return await hear(client, "joined")


async def test_a_sketch_may_hold_the_conversations_of_any_channel_but_those_of_the_mesh() -> None:
    class Held(Conversation):
        def __init__(self, transport: Transport) -> None:
            self.transport = transport
            self.drained = asyncio.Event()

        async def run(self) -> str:
            await self.drained.wait()
            self.transport.write(b"bye")
            await self.transport.close("done")
            return "done"

        def drain(self) -> None:
            self.drained.set()

    class Holds(factory.FactoryLoop):
        def converse(self, client: factory.Client) -> Converse | None:
            return Held

        @factory.reactive("other")
        async def loop(self, channel: str, msg: str) -> str:
            return msg

    holds = made(Holds)
    async with holds.running(port=0):
        client = await holds.serving.connection("any/path")
        async with holds.serving.connection("$ledger") as reserved:
            await reserved.send("")
            assert "node" in json.loads(await reserved.recv()), "what is the mesh's own stays so"
    assert await client.recv() == "bye"
    assert await last_words(client) == ([], 1001)


# -- other sketches ----------------------------------------------------------------------------------


class Talker(factory.FactoryLoop):
    """Uses the rooms as any sketch would."""

    def setup(self) -> None:
        self.mail: list[dict[str, Any]] = []
        self.news = asyncio.Condition()

    @factory.reactive("to/{name}")
    async def got(self, channel: str, msg: dict[str, Any], name: str) -> None:
        async with self.news:
            self.mail.append(msg)
            self.news.notify_all()

    async def say(self, action: str, **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.request("rooms", {"action": action, **fields})
        return answer

    async def hear(self, action: str) -> dict[str, Any]:
        """Return the next mail of a kind, and forget what came before it."""

        def there() -> bool:
            return any(said["action"] == action for said in self.mail)

        async with asyncio.timeout(DEADLINE), self.news:
            await self.news.wait_for(there)
            while True:
                said = self.mail.pop(0)
                if said["action"] == action:
                    return said


def talker(rooms: Rooms, name: str = "talker", *, listens: bool = True) -> Talker:
    """Return a sketch that knows the rooms, and subscribes to its mail."""
    node = mesh.Node("rooms", rooms.serving.socket, rooms.serving.port)
    wires = (Wire(f"to/{name}", "rooms"),) if listens else ()
    return Talker.as_node(mesh.Node(name, subscribes=wires), mesh.Grid([node]))


async def test_other_sketches_are_users_of_their_own_names(rooms: Rooms) -> None:
    async with websocket(rooms) as ann, talker(rooms).running(port=0) as bob:
        await enter(ann, "ann")
        joined = await bob.say("joinroom", room="lobby")
        assert (joined["username"], joined["count"]) == ("talker", 2)
        accepted = await bob.say("chat", room="lobby", message="hi")
        assert (accepted["action"], accepted["id"], accepted["members"]) == ("accepted", 1, 1)
        assert (await hear(ann, "chat"))["from"] == "talker"
        await say(ann, "chat", room="lobby", message="hello")
        assert (await bob.hear("chat"))["message"] == "hello"
        assert (await bob.say("who", room="lobby"))["count"] == 2


async def test_a_mistake_is_a_refusal(rooms: Rooms) -> None:
    async with talker(rooms).running(port=0) as bob:
        with pytest.raises(mesh.NackedError, match="you are not in room 'lobby'; join it first"):
            await bob.say("chat", room="lobby", message="hi")
        assert (await bob.say("who"))["rooms"] == []


async def test_a_name_that_is_taken_is_a_refusal(rooms: Rooms) -> None:
    async with websocket(rooms) as ann, talker(rooms).running(port=0) as bob:
        await enter(ann, "talker")
        with pytest.raises(mesh.NackedError, match="the name 'talker' is taken"):
            await bob.say("joinroom", room="lobby")
        await say(ann, "leaveroom", room="lobby")
        await ann.close()
        await until(lambda: not rooms.lobby.talks)
        assert (await bob.say("joinroom", room="lobby"))["count"] == 1


async def test_mail_waits_until_somebody_takes_it(rooms: Rooms) -> None:
    async with websocket(rooms) as ann, talker(rooms, listens=False).running(port=0) as bob:
        await enter(ann, "ann")
        await bob.say("joinroom", room="lobby")
        for number in range(3):
            await say(ann, "chat", room="lobby", message=str(number), ref="r")
            await hear(ann, "accepted")
        async with mesh.connect(rooms.serving, name="reader") as reader:
            told = []
            async with asyncio.timeout(DEADLINE):
                async for event in reader.subscribe("to/talker"):
                    told.append(event)
                    if event.get("message") == "2":
                        break
    assert [event["message"] for event in told if event["action"] == "chat"] == ["0", "1", "2"]


async def test_a_sketch_that_goes_is_away_and_gets_what_it_missed_when_it_is_back(rooms: Rooms) -> None:
    async with websocket(rooms) as ann:
        await enter(ann, "ann")
        async with talker(rooms).running(port=0) as bob:
            await bob.say("joinroom", room="lobby")
            await say(ann, "chat", room="lobby", message="one")
            await bob.hear("chat")
        assert (await hear(ann, "away"))["username"] == "talker"
        await say(ann, "chat", room="lobby", message="two", ref="r")
        await hear(ann, "accepted")
        async with talker(rooms).running(port=0) as bob:
            assert (await bob.hear("connected"))["rooms"] == ["lobby"]
            assert (await bob.hear("chat"))["message"] == "two"
            assert (await hear(ann, "back"))["username"] == "talker"
