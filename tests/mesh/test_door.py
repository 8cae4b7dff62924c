"""The listening side, over real loopback sockets."""

from __future__ import annotations

import asyncio
import errno
import gc
import json
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.server import ServerProtocol

from mesh.conversation import Client
from mesh.door import Door
from mesh.errors import ServeError
from mesh.node import MAX_MESSAGE
from mesh.protocol.values import Refusal, Wire
from tests.helpers.proc import DEADLINE
from tests.helpers.raw import RawClient, handshake
from tests.helpers.responder import GatedResponder, RecordingResponder, open_door

pytestmark = pytest.mark.integration


@asynccontextmanager
async def client(door: Door, path: str = "/", **options: Any) -> AsyncIterator[ClientConnection]:
    options.setdefault("max_size", None)
    async with connect(f"ws://127.0.0.1:{door.port}{path}", proxy=None, compression=None, **options) as one:
        yield one


async def soon(connection: ClientConnection) -> Wire:
    async with asyncio.timeout(DEADLINE):
        return await connection.recv()


async def goodbye(connection: ClientConnection) -> tuple[int, str]:
    """Return code and words of the close that the door sends."""
    async with asyncio.timeout(DEADLINE):
        await connection.wait_closed()
    assert connection.close_code is not None
    return connection.close_code, connection.close_reason or ""


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


# -- messages and answers --------------------------------------------------------------


async def test_each_message_gets_one_reply_in_order() -> None:
    async with open_door(RecordingResponder()) as door, client(door) as one:
        sent = [f"message {number}" for number in range(50)]
        for message in sent:
            await one.send(message)
        assert [await soon(one) for _ in sent] == sent


async def test_messages_of_one_client_are_handled_one_at_a_time() -> None:
    in_hand, most = 0, 0

    async def answer(_: Client, message: Wire) -> Wire:
        nonlocal in_hand, most
        in_hand += 1
        most = max(most, in_hand)
        for _turn in range(3):
            await asyncio.sleep(0)
        in_hand -= 1
        return message

    async with open_door(RecordingResponder(answer)) as door, client(door) as one:
        for number in range(10):
            await one.send(str(number))
        assert [await soon(one) for _ in range(10)] == [str(number) for number in range(10)]
    assert most == 1


async def test_a_client_that_waits_holds_up_nobody_else() -> None:
    gate = asyncio.Event()

    async def answer(who: Client, message: Wire) -> Wire:
        if who.channel == "slow":
            await gate.wait()
        return message

    async with (
        open_door(RecordingResponder(answer)) as door,
        client(door, "/slow") as slow,
        client(door, "/fast") as fast,
    ):
        await slow.send("first")
        await fast.send("second")
        assert await soon(fast) == "second"
        gate.set()
        assert await soon(slow) == "first"


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ("text", "text"),
        ("", ""),
        (None, "n/a"),
        (b"\x00\xff", b"\x00\xff"),
        (3, "3"),
        ({"a": [True]}, '{"a":[true]}'),
    ],
)
async def test_an_answer_reaches_a_plain_client(answer: object, reply: Wire) -> None:
    async with open_door(RecordingResponder(lambda *_: answer)) as door, client(door) as one:
        await one.send("1")
        assert await soon(one) == reply


async def test_text_stays_text_and_binary_stays_binary() -> None:
    responder = RecordingResponder()
    async with open_door(responder) as door, client(door) as one:
        for message in ("1", b"1", "", b""):
            await one.send(message)
            assert await soon(one) == message
    assert responder.messages == ["1", b"1", "", b""]


async def test_a_refusal_keeps_the_connection() -> None:
    def answer(_: Client, message: Wire) -> object:
        return Refusal("ValueError", "no such tone") if message == "bad" else message

    async with open_door(RecordingResponder(answer)) as door, client(door) as one:
        await one.send("bad")
        assert json.loads(await soon(one)) == {"error": {"type": "ValueError", "message": "no such tone"}}
        await one.send("good")
        assert await soon(one) == "good"


async def test_an_answer_that_cannot_be_sent_is_told_and_keeps_the_connection() -> None:
    answers: list[object] = [object(), "half \ud83d", "fine"]
    async with open_door(RecordingResponder(lambda *_: answers.pop(0))) as door, client(door) as one:
        for _ in range(2):
            await one.send("x")
            error = json.loads(await soon(one))["error"]
            assert error["type"] == "PayloadError"
            assert error["message"].startswith("the message was handled, but its acknowledgement: ")
        await one.send("x")
        assert await soon(one) == "fine"


async def test_the_largest_message_is_taken_and_a_larger_one_closes_with_1009() -> None:
    responder = RecordingResponder(lambda _, message: str(len(message)))
    async with open_door(responder) as door:
        async with client(door) as one:
            await one.send(bytes(MAX_MESSAGE))
            assert await soon(one) == str(MAX_MESSAGE)
        async with RawClient(door.port) as other:
            await other.send(handshake())
            await other.read()
            # The head of a frame is enough; not a byte more is waited for.
            await other.send(b"\x82\xff" + (MAX_MESSAGE + 1).to_bytes(8, "big") + b"mask")
            assert b"\x88" in (said := await other.read_all())
            assert (1009).to_bytes(2, "big") in said
        await responder.closed.until(2)
        assert "this worker closed the connection (1009" in responder.closed[1][1]
        assert len(responder.messages) == 1


# -- who is there, on which channel ------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "channel", "query"),
    [
        ("/", "", ""),
        ("/pin/13", "pin/13", ""),
        ("/pin/", "pin/", ""),
        ("//pin", "/pin", ""),
        ("/caf%C3%A9/a%20b", "caf\xe9/a b", ""),
        ("/a%2Fb", "a/b", ""),
        ("/a%3Fb?c=%41&d", "a?b", "c=%41&d"),
        ("/?x?y", "", "x?y"),
        ("/a+b", "a+b", ""),
        ("/100%", "100%", ""),  # as a browser sends it
        ("/a$b/$c", "a$b/$c", ""),
    ],
)
async def test_the_path_is_the_channel(path: str, channel: str, query: str) -> None:
    responder = RecordingResponder()
    async with open_door(responder) as door, RawClient(door.port) as one:
        await one.send(handshake(path))
        assert (await one.read()).startswith(b"HTTP/1.1 101 ")
        await responder.opened.until(1)
    assert (responder.opened[0].channel, responder.opened[0].query) == (channel, query)


async def test_clients_have_numbers_and_addresses_of_their_own() -> None:
    responder = RecordingResponder()
    async with open_door(responder) as door, client(door) as one, client(door) as other:
        ports = [connection.local_address[1] for connection in (one, other)]
        await responder.opened.until(2)
    assert len({client.id for client in responder.opened}) == 2
    assert [client.address for client in responder.opened] == [f"127.0.0.1:{port}" for port in ports]


async def test_each_client_that_was_opened_is_closed_once() -> None:
    responder = RecordingResponder()
    async with open_door(responder) as door:
        async with client(door), client(door):
            await responder.opened.until(2)
        await responder.closed.until(2)
    assert sorted(c.id for c, _ in responder.closed) == sorted(c.id for c in responder.opened)


async def test_a_goodbye_is_told_with_code_and_words() -> None:
    responder = RecordingResponder()
    async with open_door(responder) as door:
        async with client(door) as one:
            await one.close(4000, "so long\x1b[2J")
        await responder.closed.until(1)
    assert responder.closed[0][1] == "client closed the connection (4000 so long\\x1b[2J)"


async def test_a_client_that_vanishes_is_told() -> None:
    responder = RecordingResponder()
    async with open_door(responder) as door:
        async with RawClient(door.port) as one:
            await one.send(handshake())
            await one.read()
            await responder.opened.until(1)
        await responder.closed.until(1)
    assert responder.closed[0][1] == "connection lost, the client did not say goodbye"


async def test_a_client_that_breaks_the_protocol_is_closed_and_told() -> None:
    responder = RecordingResponder()
    async with open_door(responder) as door, RawClient(door.port) as one:
        await one.send(handshake())
        await one.read()
        await one.send(b"\x81\x01x")  # a frame that is not masked
        assert b"\x88" in await one.read_all()
        one.abort()
        await responder.closed.until(1)
    assert "this worker closed the connection (1002" in responder.closed[0][1]


async def test_a_client_that_leaves_in_the_midst_of_its_message_does_no_harm() -> None:
    responder = GatedResponder()
    async with open_door(responder) as door:
        async with client(door) as one:
            await one.send("x")
            await responder.messages.until(1)
            one.transport.abort()
        responder.gate.set()
        await responder.closed.until(1)
        async with client(door) as another:
            await another.send("y")
            assert await soon(another) == "done 'y'"


# -- who may come in --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (["Host: evil.example"], "Host 'evil.example' is not a name of this worker\n"),
        ([], "exactly one Host header and at most one Origin header are expected\n"),
        (["Host: localhost", "Host: localhost"], "exactly one Host header"),
        (["Host: localhost", "Origin: null"], "Origin 'null' may not use this worker; any page"),
        (["Host: localhost", "Origin: https://evil.example"], "Origin 'https://evil.example' may not"),
        (
            ["Host: localhost", "Origin: http://localhost", "Origin: https://evil.example"],
            "exactly one Host header",
        ),
        (["Host: evil.example", "Origin: https://lab.example"], "Host 'evil.example'"),
    ],
)
async def test_a_stranger_is_turned_away_with_403_and_the_reason(headers: list[str], words: str) -> None:
    responder = RecordingResponder()
    async with open_door(responder, allowed_origins=["https://lab.example"]) as door:
        async with RawClient(door.port) as one:
            status, body = await one.request(handshake("/", *headers, host=None))
        assert (status, body[: len(words)]) == (403, words)
        assert door.turned_away == {403: 1}
    assert responder.opened == []


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1", "https://lab.example", "http://pi.lan:3000"]
)
async def test_pages_that_may_come_in_do(origin: str) -> None:
    async with (
        open_door(
            RecordingResponder(), own_hosts=["pi.lan"], allowed_origins=["https://lab.example"]
        ) as door,
        client(door, origin=origin) as one,
    ):
        await one.send("x")
        assert await soon(one) == "x"


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "pi.lan", socket.gethostname()])
async def test_the_worker_is_reached_by_its_own_names(host: str) -> None:
    async with (
        open_door(RecordingResponder(), own_hosts=["pi.lan"]) as door,
        RawClient(door.port) as one,
    ):
        await one.send(handshake(host=host))
        assert (await one.read()).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize("path", ["/$status", "/%24status", "/$", "/$a?b"])
async def test_channels_of_the_mesh_itself_are_unknown(path: str) -> None:
    async with open_door(RecordingResponder()) as door, RawClient(door.port) as one:
        status, body = await one.request(handshake(path))
        assert status == 404
        assert "reserved" in body
        assert door.turned_away == {404: 1}


async def test_an_unknown_channel_cannot_paint_the_terminal() -> None:
    async with open_door(RecordingResponder()) as door, RawClient(door.port) as one:
        _, body = await one.request(handshake("/$%1b%5b2J%0a"))
        assert "\\x1b[2J\\x0a" in body.replace("\\\\", "\\")
        assert "\x1b" not in body


@pytest.mark.parametrize("path", ["/%ff", "/a%C3", "/%ED%A0%80"])
async def test_a_path_that_is_no_utf8_is_a_bad_request(path: str) -> None:
    async with open_door(RecordingResponder()) as door, RawClient(door.port) as one:
        assert await one.request(handshake(path)) == (400, "the path is not percent-encoded UTF-8\n")
        assert door.turned_away == {400: 1}


async def test_one_client_too_many_gets_503_and_a_place_is_free_again_later() -> None:
    responder = RecordingResponder()
    async with open_door(responder, max_clients=2) as door, client(door):
        async with client(door):
            with pytest.raises(InvalidStatus) as caught:
                async with client(door):
                    pass
            assert caught.value.response.status_code == 503
            assert b"there are 2 clients" in (caught.value.response.body or b"")
            assert door.turned_away == {503: 1}
        await responder.closed.until(1)
        async with client(door) as third:
            await third.send("x")
            assert await soon(third) == "x"


async def test_no_more_than_the_limit_get_in_at_once() -> None:
    responder = RecordingResponder()
    async with open_door(responder, max_clients=3) as door:
        raws = [RawClient(door.port) for _ in range(10)]
        for raw in raws:
            await raw.__aenter__()
        await asyncio.gather(*(raw.send(handshake()) for raw in raws))
        heads = await asyncio.gather(*(raw.read() for raw in raws))
        statuses = sorted(int(head.split(b" ")[1]) for head in heads)
        for raw in raws:
            raw.abort()
        assert statuses == [101] * 3 + [503] * 7


# -- abuse ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),  # TLS
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",  # a browser that opens the address
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        bytes(range(256)) * 100,
    ],
    ids=["empty", "tls", "not ascii", "http 1.0", "browser", "post", "many headers", "long path", "noise"],
)
async def test_garbage_is_answered_or_dropped_in_silence(
    garbage: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    responder = RecordingResponder()
    async with open_door(responder) as door:
        async with RawClient(door.port) as one:
            await one.send(garbage)
            one.end()
            assert not (await one.read_all()).startswith(b"HTTP/1.1 101")
        async with client(door) as good:
            await good.send("still there")
            assert await soon(good) == "still there"
        async with asyncio.timeout(DEADLINE):
            # Else each of them would cost memory for good.
            while door._knocking:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert len(responder.opened) == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("begun", [b"", b"GET / HT", handshake()[:-2]])
@pytest.mark.parametrize("end", ["drain", "close"])
async def test_half_a_handshake_holds_up_neither_drain_nor_close(
    begun: bytes, end: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    # Three times as long would be 30 s: the library gives a handshake 10 s.
    async with open_door(RecordingResponder()) as door, RawClient(door.port) as one, client(door) as other:
        await one.send(begun)
        await other.send("x")  # once this is answered the door knows of both
        await soon(other)
        async with asyncio.timeout(DEADLINE):
            await (door.drain() if end == "drain" else door.close())
        assert await one.read_all() == b""
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("turns", range(6))
async def test_a_client_that_comes_while_the_port_is_given_up_holds_nothing_up(turns: int) -> None:
    # After no turn of the loop the door has not yet accepted it, after some it has by half.
    async with open_door(RecordingResponder()) as door, RawClient(door.port) as one:
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(DEADLINE):
            await door.drain()
        assert await one.read_all() == b""


async def test_a_client_that_is_accepted_at_the_last_moment_is_let_go() -> None:
    async with open_door(RecordingResponder()) as door:
        knock = door._connection_class()
        (server,) = door._servers
        await door.drain()
        near, far = socket.socketpair()
        with far:
            loop = asyncio.get_running_loop()
            _, late = await loop.create_connection(
                lambda: knock(ServerProtocol(), server, close_timeout=1.0), sock=near
            )
            async with asyncio.timeout(DEADLINE):
                await late.wait_closed()
                await asyncio.wait(server.handler_tasks or [asyncio.create_task(asyncio.sleep(0))])
            assert far.recv(1) == b""


async def test_a_responder_that_fails_at_the_greeting_leaves_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    class Failing(RecordingResponder):
        def client_opened(self, client: Client) -> None:
            super().client_opened(client)
            if client.channel == "bad":
                raise BrokenPipeError

    responder = Failing()
    async with open_door(responder, max_clients=1) as door:
        async with client(door, "/bad") as one:
            assert (await goodbye(one))[0] == 1011
        async with client(door, "/good") as other:
            await other.send("x")
            assert await soon(other) == "x"
    # Neither the traceback nor, at DEBUG, what the request holds.
    assert [
        record for record in caplog.records if record.name in ("websockets.server", "mesh.door.wire")
    ] == []


# -- the end ------------------------------------------------------------------------------------


async def is_refused(door: Door) -> bool:
    try:
        async with RawClient(door.port):
            return False
    except ConnectionRefusedError:
        return True


async def test_draining_gives_up_the_port_answers_what_is_in_hand_and_says_1001() -> None:
    responder = GatedResponder()
    async with open_door(responder) as door, client(door) as busy, client(door) as idle:
        await responder.opened.until(2)
        await busy.send("in hand")
        await busy.send("not read any more")
        await responder.messages.until(1)

        draining = asyncio.create_task(door.drain())
        assert await goodbye(idle) == (1001, "worker is stopping")
        # The port is free while the message is still in hand.
        assert await is_refused(door)
        assert not draining.done()

        responder.gate.set()
        assert await soon(busy) == "done 'in hand'"
        assert await goodbye(busy) == (1001, "worker is stopping")
        async with asyncio.timeout(DEADLINE):
            await draining
    assert responder.messages == ["in hand"]
    assert len(responder.closed) == 2


async def test_a_new_door_may_open_on_the_port_while_the_old_one_drains() -> None:
    old = GatedResponder()
    async with open_door(old) as first, client(first) as busy, client(first) as idle:
        await busy.send("old")
        await old.messages.until(1)
        await old.opened.until(2)
        draining = asyncio.create_task(first.drain())
        await goodbye(idle)
        async with open_door(RecordingResponder(), port=first.port) as second, client(second) as one:
            await one.send("new")
            assert await soon(one) == "new"
        old.gate.set()
        assert await soon(busy) == "done 'old'"
        await draining


async def test_close_cancels_what_is_in_hand() -> None:
    responder = GatedResponder()
    async with open_door(responder) as door, client(door) as one:
        await one.send("in hand")
        await responder.messages.until(1)
        async with asyncio.timeout(DEADLINE):
            await door.close()
        assert responder.cancelled == ["in hand"]
        with pytest.raises(ConnectionClosed):
            await soon(one)
        assert responder.closed == [(responder.opened[0], "worker is stopping")]
        assert await is_refused(door)


async def test_a_message_that_comes_in_the_turn_of_draining_is_handled_and_answered_or_not_handled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slowly(_: Client, message: Wire) -> Wire:
        for _turn in range(10):
            await asyncio.sleep(0)
        return message

    draining: list[asyncio.Task[None]] = []
    armed = False
    make = Door._connection_class

    def watched(self: Door) -> Any:
        class Watched(make(self)):  # type: ignore[misc]
            def data_received(self, data: bytes) -> None:
                if armed and not draining:
                    draining.append(asyncio.create_task(door.drain()))
                super().data_received(data)

        return Watched

    monkeypatch.setattr(Door, "_connection_class", watched)
    responder = RecordingResponder(slowly)
    async with open_door(responder) as door, client(door) as one:
        await one.send("before")
        assert await soon(one) == "before"
        armed = True
        await one.send("in that turn")
        async with asyncio.timeout(DEADLINE):
            answers = [answer async for answer in one]
        await draining[0]
    assert responder.messages[1:] == answers
    assert (await goodbye(one))[0] == 1001


async def test_an_unexpected_error_is_told_as_what_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(_: Client, message: Wire) -> Wire:
        raise RuntimeError("the sky\x1b[2J fell")

    responder = RecordingResponder(breaks)
    async with open_door(responder) as door, client(door) as one:
        await one.send("x")
        assert await goodbye(one) == (1011, "internal error")
        await responder.closed.until(1)
    assert responder.closed[0][1] == "this worker failed (RuntimeError: the sky\\x1b[2J fell)"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "mesh.door"
    assert "RuntimeError: the sky" in record.getMessage()
    assert record.exc_info is None


@pytest.mark.parametrize("late", ["closed", "closed while cancelled"])
async def test_no_error_of_a_connection_is_left_to_asyncio(
    late: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    class Failing(GatedResponder):
        def client_closed(self, client: Client, reason: str) -> None:
            super().client_closed(client, reason)
            raise RuntimeError("cannot say goodbye")

    responder = Failing()
    async with open_door(responder) as door:
        knock = door._connection_class()

        def lost(self: Any) -> None:
            raise AttributeError("'NoneType' object has no attribute '_remove_writer'")

        async with client(door) as one:
            await one.send("x")
            await responder.messages.until(1)
            if late == "closed while cancelled":
                await door.close()
            else:
                one.transport.abort()
                responder.gate.set()
            await responder.closed.until(1)
        # And one whose transport cannot even be aborted, as asyncio's at times cannot.
        if late == "closed":
            near, far = socket.socketpair()
            loop = asyncio.get_running_loop()
            transport, late_one = await loop.create_connection(
                lambda: knock(ServerProtocol(), door._servers[0], close_timeout=1.0), sock=near
            )
            monkeypatch.setattr(type(transport), "abort", lost)
            far.close()
            async with asyncio.timeout(DEADLINE):
                while door._servers[0].handler_tasks:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            monkeypatch.undo()
            del transport, late_one
    gc.collect()
    await asyncio.sleep(0)
    assert told == []


async def test_a_drain_may_be_given_up_and_closed() -> None:
    responder = GatedResponder()
    async with open_door(responder) as door, client(door) as one, client(door) as idle:
        await one.send("in hand")
        await responder.messages.until(1)
        await responder.opened.until(2)
        draining = asyncio.create_task(door.drain())
        await goodbye(idle)
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        async with asyncio.timeout(DEADLINE):
            await door.close()
        assert responder.cancelled == ["in hand"]


async def test_the_end_may_come_twice_and_before_the_beginning() -> None:
    door = Door(RecordingResponder())
    await door.drain()
    await door.close()
    async with open_door(RecordingResponder()) as opened:
        await opened.drain()
        await opened.drain()
        await opened.close()
        await opened.close()


# -- where it listens -----------------------------------------------------------------------------


async def test_port_0_takes_a_free_port() -> None:
    async with open_door(RecordingResponder()) as one, open_door(RecordingResponder()) as other:
        assert one.port != other.port
        assert 0 not in (one.port, other.port)
        assert one.host == "127.0.0.1"


@needs_ipv6
async def test_localhost_is_both_loopback_addresses_on_one_port() -> None:
    async with open_door(RecordingResponder(), "localhost") as door:
        for host in ("127.0.0.1", "[::1]"):  # one after the other
            async with connect(f"ws://{host}:{door.port}/", proxy=None) as one:
                await one.send(host)
                assert await soon(one) == host


@needs_ipv6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_an_ipv6_address_may_be_written_either_way(host: str) -> None:
    responder = RecordingResponder()
    async with open_door(responder, host) as door, connect(f"ws://[::1]:{door.port}/", proxy=None):
        await responder.opened.until(1)
    assert responder.opened[0].address.startswith("[::1]:")


@needs_ipv6
async def test_a_port_that_only_ipv4_has_free_is_not_taken_for_port_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused: list[int] = []

    class Busy(socket.socket):
        def bind(self, address: Any) -> None:
            if self.family == socket.AF_INET6 and not refused:
                refused.append(address[1])
                raise OSError(errno.EADDRINUSE, "Address already in use")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Busy)
    async with open_door(RecordingResponder(), "localhost") as door:
        monkeypatch.undo()
        assert len(refused) == 1
        async with connect(f"ws://[::1]:{door.port}/", proxy=None) as one:
            await one.send("x")
            assert await soon(one) == "x"


async def test_a_machine_without_ipv6_serves_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def only_ipv4(family: int = -1, *args: Any, **kwargs: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *args, **kwargs)

    monkeypatch.setattr(socket, "socket", only_ipv4)
    async with open_door(RecordingResponder(), "localhost") as door:
        monkeypatch.undo()
        async with client(door) as one:
            await one.send("x")
            assert await soon(one) == "x"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_taken_port_is_one_clear_error(host: str) -> None:
    async with open_door(RecordingResponder()) as first:
        with pytest.raises(ServeError) as caught:
            await Door(RecordingResponder()).open(host, first.port)
    assert str(caught.value) == (
        f"Cannot bind to this port! Is the server already running? "
        f"({host}:{first.port} is taken; stop what uses it, or choose another with --port)"
    )
    assert isinstance(caught.value, OSError)


@needs_ipv6
async def test_a_port_taken_on_one_of_two_addresses_is_given_up_on_the_other() -> None:
    async with open_door(RecordingResponder(), "::1") as first:
        with pytest.raises(ServeError, match="is taken"):
            await Door(RecordingResponder()).open("localhost", first.port)
        async with open_door(RecordingResponder(), "127.0.0.1", first.port):
            pass


async def test_a_port_that_is_not_permitted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidden(socket.socket):
        def bind(self, address: Any) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(ServeError) as caught:
        await Door(RecordingResponder()).open("127.0.0.1", 80)
    assert str(caught.value) == (
        "cannot serve on 127.0.0.1:80: permission denied; ports below 1024 belong to root"
    )


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("nowhere.invalid", 0, "cannot serve on 'nowhere.invalid': no such host"),
        ("256.1.1.1", 0, "no such host"),
        ("a..b", 0, "no such host"),
        ("x" * 70, 0, "no such host"),
        ("half\ud83d", 0, "no such host"),
        ("a\0b", 0, "no such host"),
        ("192.0.2.1", 8765, "192.0.2.1 is no address of this machine; use localhost or 0.0.0.0"),
        ("127.0.0.1", 70_000, "a port is from 0 to 65535"),
        ("127.0.0.1", -1, "a port is from 0 to 65535"),
    ],
)
async def test_a_place_that_cannot_be_served_is_one_clear_error(host: str, port: int, words: str) -> None:
    with pytest.raises(ServeError) as caught:
        await Door(RecordingResponder()).open(host, port)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def _link_local() -> str | None:
    try:
        for entry in Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines():
            digits, _, _, scope, _, name = entry.split()
            if scope == "20":
                address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
                return f"{address}%{name}"
    except OSError:
        pass
    return None


LINK_LOCAL = _link_local()


@pytest.mark.skipif(LINK_LOCAL is None, reason="this machine has no link-local IPv6 address")
async def test_a_link_local_address_is_a_name_of_this_worker() -> None:
    assert LINK_LOCAL is not None
    address, _, zone = LINK_LOCAL.partition("%")
    responder = RecordingResponder()
    async with open_door(responder, LINK_LOCAL) as door:
        for written in (f"[{address}]", f"[{address}%25{zone}]"):
            async with RawClient(door.port, LINK_LOCAL) as one:
                await one.send(handshake(host=f"{written}:{door.port}"))
                assert (await one.read()).startswith(b"HTTP/1.1 101 ")


def test_the_wire_is_silent_at_every_level() -> None:
    # The library writes tokens of requests at DEBUG and tracebacks at ERROR.
    logger = logging.getLogger("mesh.door.wire")
    assert logger.getEffectiveLevel() == logging.CRITICAL
