"""What plain clients send is accounted for, whatever becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from mesh.conversation import Client
from mesh.door import Door
from mesh.protocol.books import CLIENTS, is_balanced
from mesh.protocol.values import Refusal, Wire
from tests.helpers.proc import DEADLINE
from tests.helpers.responder import GatedResponder, RecordingResponder, open_door

pytestmark = pytest.mark.integration


@asynccontextmanager
async def client(door: Door, channel: str = "") -> AsyncIterator[ClientConnection]:
    async with (
        asyncio.timeout(DEADLINE),
        connect(f"ws://127.0.0.1:{door.port}/{channel}", proxy=None, compression=None) as one,
    ):
        yield one


def counts(door: Door, channel: str = "") -> dict[str, object]:
    """Return what is not nothing in a line of the books, which balances."""
    line = door.books.books()[CLIENTS]["received"][channel]
    assert line["balanced"], line
    return {key: value for key, value in line.items() if value and key != "balanced"}


async def ask(door: Door, message: Wire, channel: str = "") -> Wire:
    async with client(door, channel) as one:
        await one.send(message)
        return await one.recv()


async def test_clients_are_counted_together_by_channel() -> None:
    def answer(_: Client, message: Wire) -> Any:
        # What cannot be sent as an answer comes as a refusal.
        return {"no": Refusal("ValueError", "no"), "odd": object()}.get(str(message), message)

    async with open_door(RecordingResponder(answer)) as door:
        assert door.books.books() == {}
        for message in ("yes", "no", "yes", "odd"):
            await ask(door, message, "a")
        await ask(door, b"yes", "pin/%C3%A4")
        assert list(door.books.books()) == [CLIENTS]
        assert door.books.books()[CLIENTS]["sent"] == {}
        assert counts(door, "a") == {"received": 4, "handled": 2, "refused": 2}
        assert counts(door, "pin/ä") == {"received": 1, "handled": 1}


async def test_what_is_being_handled_is_in_hand() -> None:
    responder = GatedResponder()
    async with open_door(responder) as door, client(door) as one, client(door) as other:
        for number in range(3):
            await one.send(str(number))
        await other.send("x")
        await responder.messages.until(2)
        # The rest waits in its socket and has not been received.
        assert counts(door) == {"received": 2, "in_hand": 2}
        responder.gate.set()
        for _ in range(3):
            await one.recv()
        await other.recv()
        # What the client has, the door need not have counted yet.
        await asyncio.sleep(0)
        assert counts(door) == {"received": 4, "handled": 4}


async def test_a_message_whose_client_is_gone_is_abandoned() -> None:
    responder = GatedResponder()
    async with open_door(responder) as door:
        async with client(door) as one:
            await one.send("x")
            await responder.messages.until(1)
            (theirs,) = door._talks
            one.transport.abort()
            await theirs.wait_closed()  # the door knows of it
        responder.gate.set()
        await responder.closed.until(1)
        assert counts(door) == {"received": 1, "abandoned": 1}


async def test_a_message_in_hand_when_the_door_closes_is_abandoned() -> None:
    responder = GatedResponder()
    async with open_door(responder) as door, client(door) as one:
        await one.send("x")
        await responder.messages.until(1)
        await door.close()
        await responder.cancelled.until(1)
        assert counts(door) == {"received": 1, "abandoned": 1}


async def test_a_message_in_hand_when_the_door_drains_is_handled() -> None:
    responder = GatedResponder()
    async with open_door(responder) as door, client(door) as one:
        await one.send("x")
        await responder.messages.until(1)
        draining = asyncio.create_task(door.drain())
        await asyncio.sleep(0)
        responder.gate.set()
        assert await one.recv() == "done 'x'"
        await draining
        assert counts(door) == {"received": 1, "handled": 1}


async def test_a_message_that_comes_while_the_door_drains_is_turned_away() -> None:
    stops = asyncio.Event()

    class Late(Door):
        def _stops(self) -> bool:
            # Asked before a message is read, and once more when it was.
            return stops.is_set()

    responder = RecordingResponder()
    door = Late(responder)
    await door.open("127.0.0.1", 0)
    try:
        async with client(door) as one:
            await responder.opened.until(1)
            stops.set()
            await one.send("x")
            await one.wait_closed()
            await responder.closed.until(1)
    finally:
        await door.close()
    assert responder.messages == []
    assert counts(door) == {"turned_away": 1}


async def test_a_responder_that_fails_leaves_no_hole_in_the_books() -> None:
    def answer(_: Client, message: Wire) -> object:
        raise RuntimeError("a mistake")

    responder = RecordingResponder(answer)
    async with open_door(responder) as door, client(door) as one:
        await one.send("x")
        await responder.closed.until(1)
        assert counts(door) == {"received": 1, "abandoned": 1}


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13])
async def test_the_books_balance_whenever_a_client_goes(turns: int) -> None:
    async def slowly(_: Client, message: Wire) -> Wire:
        for _turn in range(3):
            await asyncio.sleep(0)
        return message

    responder = RecordingResponder(slowly)
    async with open_door(responder) as door:
        async with client(door) as one:
            for number in range(5):
                await one.send(str(number))
            for _ in range(turns):
                await asyncio.sleep(0)
                assert is_balanced(door.books.books())
            one.transport.abort()
        await responder.opened.until(1)
        await responder.closed.until(1)
        found = counts(door) if door.books.books() else {}
        assert found.get("received", 0) == len(responder.messages)
        assert "in_hand" not in found
