"""The ledger of a worker: whatever way a message takes, it is in there, and the end tells what is odd."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

import factory
import mesh
from factory.running import UNBALANCED
from mesh.links import hub as hub_module
from mesh.protocol.books import ALL, CLIENTS, FORGOTTEN, bounded
from mesh.protocol.link import LinkSettings
from mesh.protocol.values import Refusal, Wire, refusal_to_wire
from tests.helpers.server import server
from tests.helpers.sketch import Recorder, Sender, as_node, tell
from tests.helpers.sketch_bench import logged, made


async def ledger(sketch: factory.FactoryLoop) -> dict[str, Any]:
    """Ask for the books as any websocket client would."""
    (reply,) = await tell(sketch.serving, ["please"], "$ledger")
    assert isinstance(reply, str)
    books: dict[str, Any] = json.loads(reply)
    assert list(books) == ["node", "peers", "omitted"]
    return books


def counts(lines: dict[str, Any], way: str, channel: str) -> dict[str, Any]:
    """Return what is not nothing in a line, which balances."""
    line = lines[way][channel]
    assert line["balanced"], line
    return {key: value for key, value in line.items() if value and key != "balanced"}


async def test_what_plain_clients_send_is_in_the_books() -> None:
    recorder = made(Recorder, fail="bad")
    async with recorder.running(port=0):
        await tell(recorder.serving, ["good", "bad", "good"], "a")
        await tell(recorder.serving, ["good"], "a")
        books = await ledger(recorder)
        assert list(books["peers"]) == [CLIENTS]
        lines = books["peers"][CLIENTS]
        assert counts(lines, "received", "a") == {"received": 4, "handled": 3, "refused": 1}
        # The question itself is in hand, whichever way it came.
        assert counts(lines, "received", "$ledger") == {"received": 1, "in_hand": 1}
        books = await ledger(recorder)
        assert counts(books["peers"][CLIENTS], "received", "$ledger") == {
            "received": 2,
            "handled": 1,
            "in_hand": 1,
        }


async def test_what_is_sent_to_a_plain_server_is_in_the_books() -> None:
    async def behave(connection: ServerConnection, message: Wire) -> None:
        no = refusal_to_wire(Refusal("ValueError", "no such tone"))
        await connection.send(no if message == "bad" else message)

    async with server(behave) as there:
        sender = as_node(Sender, {"lamp": there.node})
        async with sender.running(port=0):
            found = [one async for one in sender.stream("lamp", ["a", "bad", "b"], "tone", on_nack="yield")]
            assert [isinstance(one, mesh.NackedError) for one in found] == [False, True, False]
            books = await ledger(sender)
            assert counts(books["peers"]["lamp (plain)"], "sent", "tone") == {
                "sent": 3,
                "acked": 2,
                "refused": 1,
            }
            assert books["omitted"] == 0
        assert sender._worker.balanced


async def test_a_link_and_a_plain_peer_of_one_name_do_not_hide_each_other() -> None:
    async def behave(connection: ServerConnection, message: Wire) -> None:
        await connection.send(message)

    async with server(behave) as there:
        sender = as_node(Sender, {"twin": there.node})
        async with sender.running(port=0):
            await sender.stream("twin", "x", "c")
            twin = Recorder.as_node(mesh.Node("twin"), mesh.Grid([sender.serving]))
            async with twin.running(port=0):
                await twin.stream(sender.serving, ["y", "z"], "c")
                peers = (await ledger(sender))["peers"]
    linked = [lines for name, lines in peers.items() if name.startswith("twin") and lines["received"]]
    assert [lines["received"]["c"]["handled"] for lines in linked] == [2]
    assert counts(peers["twin (plain)"], "sent", "c") == {"sent": 1, "acked": 1}


async def test_a_peer_that_is_forgotten_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # Room for one: whoever comes is let in when the one before it is forgotten.
    monkeypatch.setattr(hub_module, "MAX_LINKS", 1)
    monkeypatch.setattr(hub_module, "MOST_RECENT", 0)
    recorder = made(Recorder)
    recorder._worker.hub._settings = LinkSettings(session_ttl=0.01)
    async with recorder.running(port=0):
        peers: dict[str, Any] = {}
        for _ in range(3):
            async with mesh.connect(recorder.serving) as script:
                await script.stream(["a", "b"], "c")
                peers = (await ledger(recorder))["peers"]
        script_name, *others = peers
        assert script_name.startswith("$script-")
        assert others == [FORGOTTEN, CLIENTS]
        assert counts(peers[script_name], "received", "c") == {"received": 2, "handled": 2}
        assert counts(peers[FORGOTTEN], "received", ALL) == {"received": 4, "handled": 4}


async def test_the_answer_has_a_limit_and_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.worker.bounded", lambda books: bounded(books, 4))
    recorder = made(Recorder)
    async with recorder.running(port=0):
        for number in range(6):
            await tell(recorder.serving, ["x"], f"c{number}")
        odd = recorder._worker._doors.web
        assert odd is not None
        odd.books.take("odd").in_hand -= 1
        books = await ledger(recorder)
        # The one that does not balance, the one with a message in hand, and the first of the rest.
        assert list(books["peers"][CLIENTS]["received"]) == ["c0", "c1", "odd", "$ledger"]
        assert books["omitted"] == 4
        assert not recorder._worker.balanced


@pytest.mark.parametrize("way", ["in", "out"])
def test_a_hole_in_the_plain_books_is_told_at_the_end(way: str) -> None:
    class Loses(factory.FactoryLoop):
        @factory.on_start
        async def lose(self) -> None:
            worker = self._worker
            if way == "in":
                assert worker._doors.web is not None
                worker._doors.web.books.take("lost").in_hand -= 1
            else:
                assert worker.outgoing is not None
                assert worker._peers is not None
                worker._peers._books.dispatch("lamp", "lost").close()
            self.stop()

        @factory.reactive
        async def loop(self, channel: str, msg: str) -> None:
            """Take anything."""

    with logged(logging.ERROR) as log, pytest.raises(SystemExit) as caught:
        made(Loses).run(port=0)
    assert caught.value.code == UNBALANCED
    (text,) = log.having("the books do not balance: ")
    books = json.loads(text.partition("balance: ")[2])
    (lines,) = books["peers"].values()
    (line,) = (lines["received"] if way == "in" else lines["sent"]).values()
    assert line["balanced"] is False
