"""The dialling side, against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from mesh import peers as peers_module
from mesh.errors import (
    AckTimeoutError,
    DeliveryError,
    GridError,
    NotAServerError,
    OutcomeUnknownError,
    PeerDownError,
)
from mesh.node import Node
from mesh.peers import Peers
from mesh.protocol.books import is_balanced
from mesh.protocol.link import Delivery
from mesh.protocol.values import Refusal, Wire, refusal_to_wire
from tests.helpers.log import Log
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE
from tests.helpers.raw import Script, hangs_up, http, is_silent, raw_server, says
from tests.helpers.server import Record, closes, drops, echoes, held, keeps_still, server

pytestmark = pytest.mark.integration

SHORT = 0.5
"""Patience of a test in which nothing is going to come."""


class Sluggish(Random):
    """Chance that makes every pause between two tries a long one."""

    def uniform(self, a: float, b: float) -> float:
        return 100_000.0


@asynccontextmanager
async def peers(
    patience: float | None = DEADLINE, *, random: Random | None = None
) -> AsyncIterator[tuple[Peers, Log[str]]]:
    notices: Log[str] = Log()
    async with Peers(notice=notices.add, patience=patience, random=random or Random(1)) as ours:
        yield ours, notices
        assert is_balanced(ours.books()), ours.books()
    for _ in range(5):
        await asyncio.sleep(0)  # whoever waited is told
    # Whatever a test does: at the end each message is accounted for.
    assert is_balanced(ours.books()), ours.books()
    assert [line["in_flight"] for line in all_lines(ours)] == [0] * len(all_lines(ours))


def all_lines(ours: Peers) -> list[dict[str, Any]]:
    return [line for lines in ours.books().values() for line in lines["sent"].values()]


def counts(ours: Peers, channel: str = "", peer: str = "buzzer") -> dict[str, object]:
    """Return what is not nothing in a line of the books, which balances."""
    line = ours.books()[f"{peer} (plain)"]["sent"][channel]
    assert line["balanced"], line
    return {key: value for key, value in line.items() if value and key != "balanced"}


@pytest.fixture
def free_port() -> int:
    return free_ports(1)[0]


async def exchange(ours: Peers, node: Node, message: Wire, channel: str = "") -> Wire:
    async with asyncio.timeout(DEADLINE):
        return await ours.exchange(node, channel, message)


async def failure(ours: Peers, node: Node, message: Wire = "x") -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await exchange(ours, node, message)
    return caught.value


async def absence(ours: Peers, node: Node) -> None:
    with pytest.raises(PeerDownError):
        await ours.exchange(node, "", "x", Delivery(patience=SHORT))


# -- one message, one answer -------------------------------------------------------------


@pytest.mark.parametrize("message", ["text", "", b"\x00\xff", b""])
async def test_a_message_brings_its_answer(message: Wire) -> None:
    async with server(echoes) as there, peers() as (ours, notices):
        assert await exchange(ours, there.node, message) == message
        assert notices == []


async def test_a_conversation_keeps_its_connection_and_each_channel_has_its_own() -> None:
    async with server(echoes) as there, peers() as (ours, _):
        for number in range(3):
            await exchange(ours, there.node, str(number), "pin/a b")
        await exchange(ours, there.node, "x", "other")
        assert there.paths == ["/pin/a%20b", "/other"]
        assert there.messages == [(0, "0"), (0, "1"), (0, "2"), (1, "x")]


async def test_messages_of_one_conversation_keep_their_order_and_take_turns() -> None:
    in_hand, most = 0, 0

    async def slowly(connection: ServerConnection, message: Wire) -> None:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        for _ in range(3):
            await asyncio.sleep(0)
        in_hand -= 1
        await connection.send(f"answer to {message!r}")

    async with server(slowly) as there, peers() as (ours, _):
        sent = [str(number) for number in range(20)]
        answers = await asyncio.gather(*(exchange(ours, there.node, message) for message in sent))
        assert answers == [f"answer to {message!r}" for message in sent]
        assert [message for _, message in there.messages] == sent
        assert len(there.paths) == 1
    assert most == 1


async def test_conversations_do_not_wait_for_each_other() -> None:
    gate = asyncio.Event()
    async with server(held(gate, "slow")) as there, peers() as (ours, _):
        slow = asyncio.create_task(exchange(ours, there.node, "slow", "a"))
        await there.messages.until(1)
        assert await exchange(ours, there.node, "fast", "b") == "fast"
        gate.set()
        assert await slow == "slow"


# -- lost and restored ---------------------------------------------------------------------


async def test_a_message_whose_connection_is_lost_is_sent_again() -> None:
    async with server(drops, echoes) as there, peers() as (ours, notices):
        assert await exchange(ours, there.node, "x") == "x"
        assert there.messages == [(0, "x"), (1, "x")]
        # Told, for the handler may see the message twice.
        (notice,) = notices
        assert notice == (
            f"buzzer at {there.node.uri()}: the connection was lost before the answer came; "
            f"trying again (transmission 2 of 3)"
        )


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4000])
async def test_a_peer_that_says_goodbye_gets_the_message_again(code: int) -> None:
    async with server(closes(code), echoes) as there, peers() as (ours, _):
        assert await exchange(ours, there.node, "x") == "x"
        assert there.messages == [(0, "x"), (1, "x")]


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009])
async def test_a_peer_that_refuses_for_good_does_not_get_the_message_again(code: int) -> None:
    async with server(closes(code, "no thanks"), echoes) as there, peers() as (ours, _):
        error = await failure(ours, there.node)
        assert not isinstance(error, PeerDownError)
        assert error.peer == "buzzer"
        assert str(error) == (
            f"buzzer closed the connection instead of answering ({code} no thanks); "
            f"the message is not sent again"
        )
        assert there.messages == [(0, "x")]
        # The next message finds a new connection.
        assert await exchange(ours, there.node, "y") == "y"


async def test_a_message_too_big_for_the_peer_fails_at_once() -> None:
    async with server(echoes, max_size=1000) as there, peers() as (ours, _):
        assert "(1009 " in str(await failure(ours, there.node, "x" * 2000))
        assert await exchange(ours, there.node, "small") == "small"


async def test_an_answer_too_big_to_take_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.node.MAX_MESSAGE", 1000)

    async def shouts(connection: ServerConnection, message: Wire) -> None:
        await connection.send("x" * 2000)

    async with server(shouts, echoes) as there, peers() as (ours, _):
        error = await failure(ours, there.node)
        assert str(error).startswith("the answer of buzzer cannot be taken (1009 ")
        assert len(there.messages) == 1


async def test_a_peer_that_was_restarted_is_found_again() -> None:
    async with peers() as (ours, notices):
        async with server(echoes) as before:
            assert await exchange(ours, before.node, "1") == "1"
        async with server(echoes, port=before.node.port or 0) as after:
            assert await exchange(ours, before.node, "2") == "2"
            assert after.messages == [(0, "2")]
        # It was away only while nobody asked for it.
        assert notices == []


async def test_a_peer_that_takes_and_loses_every_connection_is_as_good_as_absent() -> None:
    async with server(drops) as there, peers() as (ours, notices):
        error = await failure(ours, there.node)
        assert isinstance(error, PeerDownError)
        assert "the connection was lost before the answer came" in str(error)
        assert error.transmitted
        assert "is it running?" not in str(error)
        assert str(error).endswith("; the message was sent, so it may or may not have been handled")
        assert there.messages == [(number, "x") for number in range(3)]
        assert len([notice for notice in notices if "trying again" in notice]) == 2


@pytest.mark.parametrize("patience", [2 * SHORT, None])
async def test_a_handler_that_blocks_its_peer_does_not_see_a_message_for_ever(
    patience: float | None,
) -> None:
    async def blocks_and_is_dropped(connection: ServerConnection, message: Wire) -> None:
        # Longer than the patience: each loss looks like one of a steady peer.
        await asyncio.sleep(1.1 * patience if patience else 0)
        connection.transport.abort()

    async with server(blocks_and_is_dropped) as there, peers(patience) as (ours, notices):
        error = await failure(ours, there.node)
        assert isinstance(error, PeerDownError)
        assert error.transmitted
        assert "sent 3 times, and each time the connection was lost before the answer came" in str(error)
        assert [message for _, message in there.messages] == ["x"] * 3
        assert len(notices) == 2


async def test_each_message_has_transmissions_of_its_own() -> None:
    async with server(drops, drops, echoes) as there, peers() as (ours, _):
        for message in ("x", "y"):
            assert await exchange(ours, there.node, message) == message
        assert [message for _, message in there.messages] == ["x", "x", "x", "y"]


async def test_a_message_that_was_sent_to_a_peer_that_then_went_away_has_an_unknown_outcome() -> None:
    async def goes_away(connection: ServerConnection, message: Wire) -> None:
        there.server.close(close_connections=False)
        connection.transport.abort()

    async with server(goes_away) as there, peers(2 * SHORT) as (ours, _):
        error = await failure(ours, there.node)
        assert isinstance(error, PeerDownError)
        assert error.transmitted
        assert "nobody listens there" in str(error)
        assert "may or may not have been handled" in str(error)
        assert "is it running?" not in str(error)


async def test_a_message_that_was_never_sent_was_certainly_not_handled(free_port: int) -> None:
    async with peers(SHORT) as (ours, _):
        error = await failure(ours, Node("buzzer", "127.0.0.1", free_port))
        assert isinstance(error, PeerDownError)
        assert not error.transmitted
        assert "may or may not" not in str(error)
        assert "is it running?" in str(error)


async def test_a_peer_that_answers_with_an_http_error_is_not_asked_whether_it_runs() -> None:
    async with raw_server(http("503 Service Unavailable")) as (port, _), peers(2 * SHORT) as (ours, _):
        error = await failure(ours, Node("web", "127.0.0.1", port))
        assert isinstance(error, PeerDownError)
        assert "it answered HTTP 503" in str(error)
        assert "is it running?" not in str(error)


async def test_such_a_peer_is_given_up_when_the_worker_stops() -> None:
    async with server(closes(1011, "broken")) as there, peers(None) as (ours, notices):
        waiting = asyncio.create_task(failure(ours, there.node))
        await notices.until(1)
        assert "it closed the connection before it answered (1011 broken); trying again" in notices[0]
        ours.give_up()
        assert isinstance(await waiting, PeerDownError)


async def test_a_loss_after_long_work_starts_the_patience_anew(
    monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    # By hand: between the message and the loss an hour passes.
    clock = asyncio.get_running_loop().time
    ahead = 0.0
    lost = asyncio.Event()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock() + ahead)

    async def works_and_drops(connection: ServerConnection, message: Wire) -> None:
        nonlocal ahead
        ahead += 3600
        before.close(close_connections=False)
        connection.transport.abort()
        lost.set()

    async with peers(60) as (ours, notices):
        async with server(works_and_drops, port=free_port) as there:
            before = there.server
            waiting = asyncio.create_task(ours.exchange(there.node, "", "x"))
            await lost.wait()  # without a deadline, which would pass with the hour
        await notices.until(1)
        async with server(echoes, port=free_port):
            async with asyncio.timeout(DEADLINE):
                assert await waiting == "x"


# -- absent ------------------------------------------------------------------------------------


async def test_an_absent_peer_is_awaited_with_one_notice_and_one_more_when_it_is_there(
    free_port: int,
) -> None:
    node = Node("buzzer", "127.0.0.1", free_port)
    async with peers() as (ours, notices):
        channels = [f"channel/{number}" for number in range(5)]
        waiting = [asyncio.create_task(exchange(ours, node, channel, channel)) for channel in channels]
        await notices.until(1)
        async with server(echoes, port=free_port) as there:
            assert await asyncio.gather(*waiting) == channels
            assert len(there.messages) == 5
    uri = f"ws://127.0.0.1:{free_port}/"
    assert notices[0] == (
        f"waiting for buzzer at {uri} (nobody listens there); will go on as soon as it is there"
    )
    assert notices[1].startswith(f"buzzer is there at {uri}, after ")
    assert len(notices) == 2


async def test_each_absence_is_told_anew(free_port: int) -> None:
    node = Node("buzzer", "127.0.0.1", free_port)
    async with peers() as (ours, notices):
        for number in range(2):
            waiting = asyncio.create_task(exchange(ours, node, "x"))
            await notices.until(2 * number + 1)
            async with server(echoes, port=free_port):
                assert await waiting == "x"
    assert [notice.split(" ")[0] for notice in notices] == ["waiting", "buzzer", "waiting", "buzzer"]


async def test_patience_has_an_end(free_port: int) -> None:
    node = Node("buzzer", "127.0.0.1", free_port)
    async with peers(SHORT) as (ours, notices):
        error = await failure(ours, node)
        assert isinstance(error, PeerDownError)
        assert isinstance(error, ConnectionError)
        assert SHORT <= error.waited < DEADLINE
        assert "nobody listens there" in str(error)
        # The next one waits as well, but the notice stands.
        await failure(ours, node)
        assert len(notices) == 1


async def test_without_a_limit_it_is_awaited_until_given_up(free_port: int) -> None:
    node = Node("buzzer", "127.0.0.1", free_port)
    async with peers(None, random=Sluggish()) as (ours, notices):
        waiting = [asyncio.create_task(failure(ours, node)) for _ in range(3)]
        await notices.until(1)
        ours.give_up()
        async with asyncio.timeout(DEADLINE):
            errors = await asyncio.gather(*waiting)
        assert all(isinstance(error, PeerDownError) for error in errors)


async def test_after_giving_up_a_peer_that_is_there_is_still_served(free_port: int) -> None:
    async with server(echoes) as there, peers(None) as (ours, notices):
        ours.give_up()
        assert await exchange(ours, there.node, "x") == "x"
        assert isinstance(await failure(ours, Node("gone", "127.0.0.1", free_port)), PeerDownError)
        assert notices == []


async def test_a_peer_that_accepts_and_says_nothing_is_not_waited_for_longer_than_the_patience() -> None:
    async with raw_server(is_silent) as (port, _), peers(SHORT) as (ours, _):
        error = await failure(ours, Node("mute", "127.0.0.1", port))
        assert isinstance(error, PeerDownError)
        assert "(no answer)" in str(error)


async def test_one_attempt_has_a_limit_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.dialling.OPEN_TIMEOUT", 0.05)
    async with raw_server(is_silent) as (port, connections), peers(None) as (ours, _):
        waiting = asyncio.create_task(failure(ours, Node("mute", "127.0.0.1", port)))
        await connections.until(2)
        ours.give_up()
        assert "(no answer)" in str(await waiting)


# -- not what one hopes for --------------------------------------------------------------------


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "403 Forbidden", "404 Not Found", "426 Upgrade Required"]
)
async def test_a_refused_handshake_fails_at_once_with_the_peers_words(status: str) -> None:
    async with raw_server(http(status, "go away\n")) as (port, connections), peers() as (ours, notices):
        error = await failure(ours, Node("web", "127.0.0.1", port))
        assert not isinstance(error, PeerDownError)
        assert error.peer == "web"
        assert str(error) == (
            f"web at ws://127.0.0.1:{port}/ refused the connection with HTTP {status[:3]}: go away"
        )
        assert len(connections) == 1
        assert notices == []


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable"])
async def test_a_peer_in_trouble_is_asked_again(status: str) -> None:
    async with raw_server(http(status)) as (port, connections), peers(None) as (ours, notices):
        waiting = asyncio.create_task(failure(ours, Node("web", "127.0.0.1", port)))
        await connections.until(3)
        ours.give_up()
        error = await waiting
        assert isinstance(error, PeerDownError)
        assert f"it answered HTTP {status[:3]}" in str(error)
        assert len(notices) == 1


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (says(b"220 mail.example ESMTP\r\n"), "what listens there is no websocket server"),
        (says(b"\x00\xff\x00\xff"), "what listens there is no websocket server"),
        (http("200 OK", "hello"), "refused the connection with HTTP 200"),
        (hangs_up, ""),
    ],
    ids=["mail", "noise", "web", "hangs up"],
)
async def test_what_is_no_websocket_server_is_told_in_words(
    script: Script, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw_server(script) as (port, _), peers(2 * SHORT) as (ours, _):
        assert words in str(await failure(ours, Node("mail", "127.0.0.1", port)))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_an_unknown_host_is_told_in_words() -> None:
    async with peers(SHORT) as (ours, notices):
        error = await failure(ours, Node("far", "nowhere.invalid", 8765))
        assert isinstance(error, PeerDownError)
        assert "ws://nowhere.invalid:8765/" in str(error)
        assert len(notices) == 1


@pytest.mark.parametrize("host", ["x" * 70, "a..b", "a\0b"])
async def test_a_host_that_cannot_be_fails_at_once(host: str) -> None:
    async with peers(None) as (ours, notices):
        error = await failure(ours, Node("odd", host, 8765))
        assert not isinstance(error, PeerDownError)
        assert "odd has no usable address" in str(error)
        assert notices == []


async def test_a_proxy_that_cannot_be_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "gopher://proxy.invalid:70")
    monkeypatch.setenv("ws_proxy", "gopher://proxy.invalid:70")
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "https_proxy", "socks_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with peers(SHORT) as (ours, _):
        error = await failure(ours, Node("far", "nowhere.invalid", 8765))
        assert not isinstance(error, PeerDownError)
        assert "gopher" in str(error)


async def test_a_node_that_serves_nowhere_is_not_dialled() -> None:
    async with peers() as (ours, _):
        with pytest.raises(NotAServerError):
            await ours.exchange(Node("clock"), "", "x")


async def test_a_channel_that_is_no_text_is_not_dialled() -> None:
    async with peers() as (ours, _):
        with pytest.raises(GridError, match="surrogate"):
            await ours.exchange(Node("buzzer", "127.0.0.1", 1), "half \ud83d", "x")


# -- cancellation ----------------------------------------------------------------------------------


async def test_an_answer_that_is_late_is_never_taken_for_the_next_ones() -> None:
    gate = asyncio.Event()

    async def behave(connection: ServerConnection, message: Wire) -> None:
        if message == "slow":
            await gate.wait()
        await connection.send(f"answer to {message!r}")

    async with server(behave) as there, peers() as (ours, _):
        slow = asyncio.create_task(ours.exchange(there.node, "", "slow"))
        await there.messages.until(1)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        gate.set()
        assert await exchange(ours, there.node, "next") == "answer to 'next'"
        assert len(there.paths) == 2
        await there.closed.until(1)


async def cancelled_in_hand(ours: Peers, there: Record, message: Wire = "slow") -> None:
    """Send a message, and cancel its sender once the peer has it."""
    task = asyncio.create_task(ours.exchange(there.node, "", message))
    await there.messages.until(lambda messages: message in [one for _, one in messages])
    task.cancel()
    async with asyncio.timeout(DEADLINE):  # the sender leaves at once
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_next_message_does_not_overtake_a_cancelled_one() -> None:
    gate = asyncio.Event()
    order: Log[str] = Log()

    async def behave(connection: ServerConnection, message: Wire) -> None:
        order.add(f"{message!s} begins")
        if message == "slow":
            await gate.wait()
        order.add(f"{message!s} ends")
        await connection.send(f"answer to {message!r}")

    async with server(behave) as there, peers() as (ours, _):
        await cancelled_in_hand(ours, there)
        following = [asyncio.create_task(exchange(ours, there.node, message)) for message in ("2", "3")]
        # Another channel is not held up; once that is answered, this one would be as well.
        await exchange(ours, there.node, "other", "elsewhere")
        await exchange(ours, there.node, "other", "elsewhere")
        assert not any(message in ("2", "3") for _, message in there.messages)
        gate.set()
        assert await asyncio.gather(*following) == ["answer to '2'", "answer to '3'"]
        mine = [entry for entry in order if "other" not in entry]
        assert mine == ["slow begins", "slow ends", "2 begins", "2 ends", "3 begins", "3 ends"]


async def test_an_answer_that_never_comes_holds_up_a_conversation_for_so_long_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(peers_module, "DISCARD_TIMEOUT", 0.05)
    async with server(keeps_still, echoes) as there, peers() as (ours, _):
        await cancelled_in_hand(ours, there)
        assert await exchange(ours, there.node, "next") == "next"


async def test_a_connection_lost_while_nobody_waits_for_its_answer_frees_the_conversation() -> None:
    gate = asyncio.Event()

    async def dies(connection: ServerConnection, message: Wire) -> None:
        await gate.wait()
        connection.transport.abort()

    async with server(dies, echoes) as there, peers() as (ours, _):
        await cancelled_in_hand(ours, there)
        following = asyncio.create_task(exchange(ours, there.node, "next"))
        gate.set()
        assert await following == "next"
        # The cancelled message is nobody's any more, and is not sent again.
        assert [message for _, message in there.messages] == ["slow", "next"]


async def test_whoever_waits_behind_a_cancelled_message_may_be_cancelled_too() -> None:
    gate = asyncio.Event()
    async with server(held(gate)) as there, peers() as (ours, _):
        await cancelled_in_hand(ours, there)
        following = asyncio.create_task(ours.exchange(there.node, "", "2"))
        await asyncio.sleep(0)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        gate.set()
        assert await exchange(ours, there.node, "3") == "3"
        assert [message for _, message in there.messages] == ["slow", "3"]


async def test_close_does_not_wait_for_an_answer_that_nobody_wants() -> None:
    async with server(keeps_still) as there, peers() as (ours, _):
        await cancelled_in_hand(ours, there)
        waiting = asyncio.create_task(failure(ours, there.node))
        await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE):
            await ours.close()
        assert isinstance(await waiting, PeerDownError)
        await there.closed.until(1)


async def test_a_cancelled_conversation_leaves_nothing_behind() -> None:
    gate = asyncio.Event()
    async with server(held(gate)) as there, peers() as (ours, _):
        await cancelled_in_hand(ours, there)
        assert len(ours._conversations) == 1
        gate.set()
        await there.closed.until(1)
        assert len(ours._conversations) == 0


async def test_whoever_waits_for_its_turn_may_be_cancelled_without_harm() -> None:
    gate = asyncio.Event()
    async with server(held(gate)) as there, peers() as (ours, _):
        first, second, third = (
            asyncio.create_task(exchange(ours, there.node, message)) for message in ("1", "2", "3")
        )
        await there.messages.until(1)
        second.cancel()
        gate.set()
        assert [await first, await third] == ["1", "3"]
        assert there.messages == [(0, "1"), (0, "3")]


async def test_whoever_dials_may_be_cancelled(free_port: int) -> None:
    node = Node("buzzer", "127.0.0.1", free_port)
    async with peers(None) as (ours, notices):
        waiting = asyncio.create_task(ours.exchange(node, "", "x"))
        await notices.until(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with server(echoes, port=free_port):
            assert await exchange(ours, node, "y") == "y"


@pytest.mark.parametrize("turns", range(12))
async def test_cancellation_after_any_number_of_turns_mismatches_no_answer(turns: int) -> None:
    async def behave(connection: ServerConnection, message: Wire) -> None:
        await connection.send(f"answer to {message!r}")

    async with server(behave) as there, peers() as (ours, _):
        await exchange(ours, there.node, "warm")
        victim = asyncio.create_task(ours.exchange(there.node, "", "victim"))
        for _ in range(turns):
            await asyncio.sleep(0)
        victim.cancel()
        after = [await exchange(ours, there.node, str(number)) for number in range(3)]
        assert after == [f"answer to '{number}'" for number in range(3)]
        await asyncio.gather(victim, return_exceptions=True)


# -- the books -------------------------------------------------------------------------------------


async def test_acks_and_refusals_are_counted_by_peer_and_channel() -> None:
    no = refusal_to_wire(Refusal("ValueError", "no such tone"))

    async with server(echoes) as there, peers() as (ours, _):
        assert ours.books() == {}
        for message in ("yes", no, "yes"):
            await exchange(ours, there.node, message, "/tone")
        await exchange(ours, there.node, b"\x00", "")
        assert counts(ours, "tone") == {"sent": 3, "acked": 2, "refused": 1}
        assert counts(ours) == {"sent": 1, "acked": 1}


async def test_what_is_on_its_way_is_in_flight() -> None:
    gate = asyncio.Event()
    async with server(held(gate)) as there, peers() as (ours, _):
        waiting = [asyncio.create_task(exchange(ours, there.node, str(n))) for n in range(3)]
        await there.messages.until(1)
        # Those that wait for their turn as well.
        assert counts(ours) == {"sent": 3, "in_flight": 3}
        gate.set()
        await asyncio.gather(*waiting)
        assert counts(ours) == {"sent": 3, "acked": 3}


async def test_transmissions_are_no_messages() -> None:
    async with server(drops, drops, echoes) as there, peers() as (ours, _):
        await exchange(ours, there.node, "x")
        assert counts(ours) == {"sent": 1, "acked": 1, "resent": 2}


async def test_a_message_that_was_sent_and_never_answered_is_unknown(free_port: int) -> None:
    async with server(drops) as there, peers() as (ours, _):
        await failure(ours, there.node)
        assert counts(ours) == {"sent": 1, "failed": {"peer down": 1}, "resent": 2, "unknown": 1}
        await absence(ours, Node("gone", "127.0.0.1", free_port))
        assert counts(ours, peer="gone") == {"sent": 1, "failed": {"peer down": 1}}


async def test_what_is_refused_for_good_is_counted_as_that() -> None:
    async with raw_server(http("403 Forbidden")) as (port, _), peers() as (ours, _):
        await failure(ours, Node("buzzer", "127.0.0.1", port))
        assert counts(ours) == {"sent": 1, "failed": {"refused for good": 1}}
    async with server(closes(1009)) as there, peers() as (ours, _):
        await failure(ours, there.node)
        assert counts(ours) == {"sent": 1, "failed": {"refused for good": 1}, "unknown": 1}


async def test_a_message_that_is_no_message_is_a_mistake_and_counted() -> None:
    async with server(echoes) as there, peers() as (ours, _):
        nonsense: Any = 7
        with pytest.raises(TypeError):
            await exchange(ours, there.node, nonsense)
        assert counts(ours)["failed"] == {"mistake": 1}
        with pytest.raises(NotAServerError):
            await ours.exchange(Node("buzzer"), "", "x")
        assert counts(ours)["sent"] == 1  # that was never taken


async def test_what_was_under_way_when_the_worker_ended_is_closed() -> None:
    async with server(keeps_still) as there, peers(None) as (ours, _):
        waiting = [asyncio.create_task(failure(ours, there.node)) for _ in range(2)]
        await there.messages.until(1)
        await ours.close()
        await asyncio.gather(*waiting)
        await failure(ours, there.node)
        assert counts(ours) == {"sent": 3, "failed": {"closed": 3}, "unknown": 1}


async def test_whoever_is_cancelled_before_the_message_is_sent_leaves_nothing_unknown(free_port: int) -> None:
    async with peers(None) as (ours, notices):
        waiting = asyncio.create_task(ours.exchange(Node("buzzer", "127.0.0.1", free_port), "", "x"))
        await notices.until(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert counts(ours) == {"sent": 1, "cancelled": 1}


@pytest.mark.parametrize(
    ("answer", "late"),
    [("done", "late_acked"), (refusal_to_wire(Refusal("ValueError", "no")), "late_refused")],
    ids=["acked", "refused"],
)
async def test_a_cancelled_message_is_unknown_until_its_answer_comes(answer: str, late: str) -> None:
    gate = asyncio.Event()

    async def behave(connection: ServerConnection, message: Wire) -> None:
        await gate.wait()
        await connection.send(answer)

    async with server(behave) as there, peers() as (ours, _):
        await cancelled_in_hand(ours, there)
        assert counts(ours) == {"sent": 1, "cancelled": 1, "unknown": 1}
        gate.set()
        await exchange(ours, there.node, "next")
        next_one = "acked" if late == "late_acked" else "refused"
        assert counts(ours) == {"sent": 2, "cancelled": 1, late: 1, next_one: 1}


async def test_a_cancelled_message_whose_answer_does_not_come_stays_unknown() -> None:
    gate = asyncio.Event()

    async def dies(connection: ServerConnection, message: Wire) -> None:
        await gate.wait()
        connection.transport.abort()

    async with server(dies, echoes) as there, peers() as (ours, _):
        await cancelled_in_hand(ours, there)
        gate.set()
        await exchange(ours, there.node, "next")
        assert counts(ours) == {"sent": 2, "acked": 1, "cancelled": 1, "unknown": 1}


async def test_a_message_cancelled_by_the_end_stays_unknown() -> None:
    async with server(keeps_still) as there, peers() as (ours, _):
        await cancelled_in_hand(ours, there)
        await ours.close()
        assert counts(ours) == {"sent": 1, "cancelled": 1, "unknown": 1}


@pytest.mark.parametrize("is_connected", [False, True])
@pytest.mark.parametrize("turns", [1, 2, 3, 5, 8, 13, 21])
async def test_cancellation_after_any_number_of_turns_is_counted_once(turns: int, is_connected: bool) -> None:
    async with server(echoes) as there, peers() as (ours, _):
        if is_connected:
            await exchange(ours, there.node, "warm")
        victim = asyncio.create_task(ours.exchange(there.node, "", "victim"))
        for _ in range(turns):
            await asyncio.sleep(0)
        victim.cancel()
        (outcome,) = await asyncio.gather(victim, return_exceptions=True)
        await exchange(ours, there.node, "next")
        found = counts(ours)
        assert found["sent"] == 2 + is_connected
        assert found.get("cancelled", 0) == isinstance(outcome, asyncio.CancelledError)


# -- as its sender wants it delivered ----------------------------------------------------------------

ONCE = Delivery(at_most_once=True)


async def test_an_answer_that_is_overdue_is_an_error_and_holds_up_what_comes_after() -> None:
    gate = asyncio.Event()
    handled = []

    async def slow(connection: ServerConnection, message: Wire) -> None:
        await gate.wait()
        handled.append(message)
        await connection.send(f"{message!s} done")

    async with server(slow) as there, peers() as (ours, _):
        with pytest.raises(AckTimeoutError, match="buzzer did not answer within") as caught:
            await ours.exchange(there.node, "", "first", Delivery(ack_timeout=SHORT))
        assert SHORT <= caught.value.waited < DEADLINE
        assert counts(ours) == {"sent": 1, "failed": {"ack timeout": 1}, "unknown": 1}
        after = asyncio.create_task(exchange(ours, there.node, "second"))
        await asyncio.sleep(SHORT)
        assert len(there.messages) == 1, "it does not overtake the one in the handler"
        gate.set()
        assert await after == "second done"
        assert handled == ["first", "second"]
        assert counts(ours) == {"sent": 2, "acked": 1, "failed": {"ack timeout": 1}, "late_acked": 1}


async def test_an_ack_timeout_counts_from_the_first_transmission(free_port: int) -> None:
    # Of a peer that was never there, nothing is overdue.
    gone = Node("buzzer", "127.0.0.1", free_port)
    async with peers(SHORT) as (ours, _):
        with pytest.raises(PeerDownError):
            await ours.exchange(gone, "", "x", Delivery(patience=SHORT, ack_timeout=0.01))
    # And once it was sent, dialling again is no way out.
    async with server(drops) as there, peers(random=Sluggish(1)) as (ours, _):
        with pytest.raises(AckTimeoutError):
            await ours.exchange(there.node, "", "x", Delivery(ack_timeout=SHORT))
        assert counts(ours)["failed"] == {"ack timeout": 1}


async def test_an_answer_in_time_is_none_too_late() -> None:
    async with server(echoes) as there, peers() as (ours, _):
        for _ in range(3):
            assert await ours.exchange(there.node, "", "x", Delivery(ack_timeout=DEADLINE)) == "x"
        assert there.paths == ["/"]


@pytest.mark.parametrize("loss", [drops, closes(1001), closes(1012, "restarting")])
async def test_at_most_once_is_never_sent_again(loss: Any) -> None:
    async with server(loss, echoes) as there, peers() as (ours, notices):
        with pytest.raises(OutcomeUnknownError, match="sent to buzzer, but its answer will not come"):
            await ours.exchange(there.node, "", "x", ONCE)
        assert len(there.messages) == 1
        assert notices == []
        assert counts(ours) == {"sent": 1, "failed": {"connection lost": 1}, "unknown": 1}
        assert await ours.exchange(there.node, "", "y", ONCE) == "y"


async def test_at_most_once_too_is_sent_when_the_connection_was_lost_before() -> None:
    async with server(echoes) as there, peers() as (ours, _):
        assert await ours.exchange(there.node, "", "x", ONCE) == "x"
        for connection in list(there.server.connections):
            await connection.close(1001)
        await there.closed.until(1)
        assert await ours.exchange(there.node, "", "y", ONCE) == "y"
        assert [message for _, message in there.messages] == ["x", "y"]


async def test_each_message_has_its_own_patience(free_port: int) -> None:
    gone = Node("buzzer", "127.0.0.1", free_port)
    async with peers(None) as (ours, _), asyncio.timeout(DEADLINE):
        for patience in (0.05, SHORT):
            with pytest.raises(PeerDownError) as caught:
                await ours.exchange(gone, "", "x", Delivery(patience=patience))
            assert patience <= caught.value.waited < DEADLINE


async def test_whoever_wants_to_know_is_told_when_a_peer_was_lost(free_port: int) -> None:
    async with server(echoes, drops, echoes) as there, peers() as (ours, _):
        lost: list[str] = []
        ours.when_lost = lost.append
        where, uri = there.node.uri(), there.node.uri("c")
        assert not ours.is_open(uri)
        await exchange(ours, there.node, "x", "c")
        assert ours.is_open(uri)
        assert lost == []
        for connection in list(there.server.connections):
            await connection.close(1001)
        await there.closed.until(1)
        assert not ours.is_open(uri)
        await exchange(ours, there.node, "x", "c")
        assert lost == [where, where], "once closed while it was idle, once dropped"
        gone = Node("gone", "127.0.0.1", free_port)
        await absence(ours, gone)
        assert lost[2] == gone.uri()
    async with raw_server(http("403 Forbidden")) as (port, _), peers() as (ours, _):
        ours.when_lost = lost.append
        refuses = Node("refuses", "127.0.0.1", port)
        await failure(ours, refuses)
        assert lost[-1] == refuses.uri()


# -- how many, and the end ---------------------------------------------------------------------------


async def test_the_conversation_unused_for_longest_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "MAX_IDLE", 2)
    async with server(echoes) as there, peers() as (ours, _):
        for channel in ("a", "b", "a", "c"):
            await exchange(ours, there.node, "x", channel)
        await there.closed.until(1)
        assert there.closed == [1]  # b
        await exchange(ours, there.node, "x", "a")
        assert there.paths == ["/a", "/b", "/c"]


async def test_a_conversation_in_use_is_not_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "MAX_IDLE", 1)
    gate = asyncio.Event()
    async with server(held(gate, "slow")) as there, peers() as (ours, _):
        slow = asyncio.create_task(exchange(ours, there.node, "slow", "a"))
        await there.messages.until(1)
        for _ in range(2):
            await exchange(ours, there.node, "fast", "b")
        gate.set()
        assert await slow == "slow"
        assert [message for _, message in there.messages].count("slow") == 1


async def test_a_conversation_between_two_users_is_not_trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    # When one user has let go of the lock, the next has not run yet: closed then, the
    # connection would be dialled again by nobody's conversation, and never be closed.
    monkeypatch.setattr(peers_module, "MAX_IDLE", 1)
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    async def behave(connection: ServerConnection, message: Wire) -> None:
        await gates[str(message)].wait()
        await connection.send(message)

    async with server(behave) as there, peers() as (ours, _):
        users = [asyncio.create_task(exchange(ours, there.node, "a", "a")) for _ in range(2)]
        await there.messages.until(1)
        other = asyncio.create_task(exchange(ours, there.node, "b", "b"))
        await there.messages.until(2)
        gates["a"].set()
        assert await asyncio.gather(*users) == ["a", "a"]
        gates["b"].set()
        assert await other == "b"
        assert there.paths == ["/a", "/b"]
        assert len(there.messages) == 3


async def test_peers_that_are_absent_leave_nothing_behind(free_port: int) -> None:
    async with peers(0) as (ours, _):
        for number in range(5):
            with pytest.raises(PeerDownError):
                await ours.exchange(Node("buzzer", "127.0.0.1", free_port), f"channel/{number}", "x")
        assert len(ours._conversations) == 0


async def test_close_says_goodbye_to_all() -> None:
    async with server(echoes) as there, peers() as (ours, _):
        for channel in ("a", "b"):
            await exchange(ours, there.node, "x", channel)
        await ours.close()
        await there.closed.until(2)
        await ours.close()


async def test_close_lets_nobody_wait_for_an_answer_nor_leaves_a_connection() -> None:
    async with server(keeps_still) as there, peers(None) as (ours, _):
        waiting = [asyncio.create_task(failure(ours, there.node)) for _ in range(2)]
        await there.messages.until(1)
        await ours.close()
        errors = await asyncio.gather(*waiting)
        assert all("this worker has stopped" in str(error) for error in errors)
        # Of the two that waited, only one was on its way.
        assert sorted(isinstance(error, PeerDownError) and error.transmitted for error in errors) == [
            False,
            True,
        ]
        assert sum("may or may not have been handled" in str(error) for error in errors) == 1
        await there.closed.until(1)
        # And nobody begins anew.
        assert isinstance(await failure(ours, there.node), PeerDownError)
        assert len(there.messages) == 1


async def test_close_ends_the_wait_for_an_absent_peer(free_port: int) -> None:
    async with peers(None, random=Sluggish()) as (ours, notices):
        waiting = asyncio.create_task(failure(ours, Node("buzzer", "127.0.0.1", free_port)))
        await notices.until(1)
        await ours.close()
        assert isinstance(await waiting, PeerDownError)


def test_the_wire_is_silent_at_every_level() -> None:
    assert logging.getLogger("mesh.dialling.wire").getEffectiveLevel() == logging.CRITICAL
