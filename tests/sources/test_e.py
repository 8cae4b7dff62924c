"""The chat server, row by row of section E; the rows of its clients are in test_e_clients.py."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.sync.client import ClientConnection, connect

import factory
import mesh
from factory.rooms.hall import Hall
from mesh.certificates import trusting
from sketches import Rooms
from tests.helpers.certificates import make
from tests.helpers.lines import line_port
from tests.helpers.proc import DEADLINE, Proc, arduino
from tests.helpers.sketch_bench import made

pytestmark = [pytest.mark.integration, pytest.mark.fleet]

Said = dict[str, Any]


class Client:
    """The source's client: commands as JSON behind four bytes of length, little-endian."""

    def __init__(self, port: int, name: str = "", *rooms: str, trusted: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("localhost", port), timeout=DEADLINE)
        if trusted is not None:
            self.socket = trusted.wrap_socket(self.socket, server_hostname="localhost")
        self.stream = self.socket.makefile("rb")
        if name:
            self.say("connect", username=name)
            self.hear("connected")
        for room in rooms:
            self.say("joinroom", room=room)
            self.hear("joined")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(struct.pack("<L", len(data)) + data)

    def say(self, action: str, **fields: object) -> None:
        self.send(json.dumps({"action": action, **fields}).encode())

    def next(self) -> Said | None:
        """Return the next message; ``None`` at the end."""
        head = self.stream.read(4)
        if len(head) < 4:
            return None
        (size,) = struct.unpack("<L", head)
        said: Said = json.loads(self.stream.read(size))
        return said

    def hear(self, action: str = "") -> Said:
        """Return the next message, or the next of that kind."""
        while (said := self.next()) is not None:
            if action in ("", said["action"]):
                return said
        raise AssertionError("the connection was closed")

    def rest(self) -> list[Said]:
        """Return all that comes until the end."""
        return list(iter(self.next, None))


@contextmanager
def rooms(*arguments: str) -> Iterator[tuple[Proc, int]]:
    """Run the rooms, and give the process and its TCP port."""
    with arduino("rooms", "--port", "0", "--tcp", "0", *arguments) as proc:
        yield proc, line_port(proc)


def websocket(proc: Proc) -> ClientConnection:
    port = int(proc.wait_for(r"serving on localhost:(\d+)$")[1])
    return connect(f"ws://localhost:{port}/", proxy=None)


def ask(client: ClientConnection, action: str, **fields: object) -> Said:
    client.send(json.dumps({"action": action, **fields}))
    said: Said = json.loads(client.recv(DEADLINE))
    return said


@pytest.mark.source("E1", "E29")
def test_e01_all_other_users_in_the_room_see_a_message_and_its_sender_does_not() -> None:
    """Also E29, the source's own sends it back: here only with ``echo``."""
    with ExitStack() as stack:
        _, port = stack.enter_context(rooms())
        ann, bob = (stack.enter_context(Client(port, name, "lobby")) for name in ("ann", "bob"))
        with Client(port, "cat", "attic") as cat, Client(port, "dan") as dan:
            dan.say("joinroom", room="lobby", echo=True)
            dan.hear("joined")
            ann.say("chat", room="lobby", message="one", ref="1")
            dan.say("chat", room="lobby", message="two", ref="2")
            assert [bob.hear("chat")["message"] for _ in range(2)] == ["one", "two"]
            assert [dan.hear("chat")["message"] for _ in range(2)] == ["one", "two"]
            assert ann.hear("chat")["message"] == "two", "her own did not come before"
            cat.say("who")
            assert cat.hear()["action"] == "who", "and nothing for who is elsewhere"


@pytest.mark.source("E2")
def test_e02_clients_connect_disconnect_and_reconnect_many_times() -> None:
    with rooms() as (_, port), Client(port, "bob", "lobby") as bob:
        with Client(port) as ann:
            ann.say("connect", username="ann")
            session = ann.hear("connected")["session"]
            ann.say("joinroom", room="lobby")
            ann.hear("joined")
        for number in range(5):
            assert bob.hear("away")["username"] == "ann"
            bob.say("chat", room="lobby", message=f"missed {number}", ref="r")
            bob.hear("accepted")
            with Client(port) as ann:
                ann.say("connect", username="ann", session=session)
                assert ann.hear("connected")["rooms"] == ["lobby"]
                assert ann.hear("chat")["message"] == f"missed {number}"
                assert bob.hear("back")["username"] == "ann"


@pytest.mark.source("E3", "E30")
def test_e03_the_first_message_says_who_one_is() -> None:
    """Also E30: as it stands in the source's description, which its own server drops."""
    with rooms() as (_, port), Client(port) as ann, Client(port) as other:
        ann.say("joinroom", room="lobby")
        assert ann.hear()["reason"].startswith("say who you are first")
        ann.send(b'{"action":"connect","username":"something"}')
        assert ann.hear()["username"] == "something"
        other.send(b'{"action":"connect","username":"something"}')
        assert other.hear()["reason"] == "the name 'something' is taken"
        other.send(b'{"action":"connect","username":"else"}')
        assert other.hear()["action"] == "connected"


@pytest.mark.source("E4", "E5", "E6", "E7")
def test_e04_the_messages_are_as_they_are_described() -> None:
    """Also E5, E6 and E7: leave, chat, and ``from`` on the way to the clients."""
    with rooms() as (_, port), Client(port, "ann") as ann, Client(port, "bob", "room") as bob:
        ann.send(b'{"action":"joinroom","room":"room"}')
        assert ann.hear()["action"] == "joined"
        ann.send(b'{"action":"chat","room":"room","message":"hello"}')
        expected = {"action": "chat", "room": "room", "message": "hello", "from": "ann"}
        assert bob.hear("chat").items() >= expected.items()
        ann.send(b'{"action":"leaveroom","room":"room"}')
        assert ann.hear() == {"action": "left", "room": "room", "username": "ann"}
        assert bob.hear("left")["username"] == "ann"


@pytest.mark.source("E8")
def test_e08_the_words_of_the_code_are_understood_as_well() -> None:
    with rooms() as (_, port), Client(port, "ann") as ann, Client(port, "bob", "room") as bob:
        ann.send(b'{"action":"join","room":"room"}')
        ann.hear("joined")
        ann.send(b'{"action":"chat","room":"room","msg":"hello"}')
        said = bob.hear("chat")
        assert (said["message"], said["from"], "msg" in said) == ("hello", "ann", False)
        ann.send(b'{"action":"leave","room":"room"}')
        assert ann.hear()["action"] == "left"


@pytest.mark.source("E9")
async def test_e09_a_program_has_a_main_and_runs_it() -> None:
    async def main() -> str:
        sketch = made(Rooms)
        async with sketch.running(port=0), sketch.serving.connection() as client:
            await client.send('{"action":"connect","username":"ann"}')
            return str(json.loads(await client.recv())["username"])

    # As asyncio.run(main()) does, which a loop that runs cannot.
    assert await asyncio.to_thread(lambda: asyncio.run(main())) == "ann"


@pytest.mark.source("E10")
async def test_e10_a_handler_in_hand_may_finish_and_one_that_does_not_is_cancelled() -> None:
    ends: list[str] = []

    class Slow(factory.FactoryLoop):
        def setup(self) -> None:
            self.begun = asyncio.Event()

        @factory.reactive
        async def loop(self, channel: str, msg: str) -> str:
            self.begun.set()
            try:
                await asyncio.sleep(0 if msg == "short" else 3600)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise
            return "done"

        @factory.on_stop
        async def close(self) -> None:
            ends.append("on_stop")

    slow = made(Slow)
    async with asyncio.timeout(DEADLINE), slow.running(port=0):
        client = await slow.serving.connection()
        await client.send("long")
        await slow.begun.wait()
    assert sorted(ends) == ["cancelled", "on_stop"]
    await client.close()


@pytest.mark.source("E11", "E15", "E23")
def test_e11_it_says_where_it_listens_and_who_comes() -> None:
    """Also E15 and E23: the readiness line, and a line for each connection."""
    with rooms() as (proc, port):
        with Client(port, "ann"):
            proc.wait_for(r"\[ rooms \] \*\* new client connected")
        proc.wait_for(r"\[ rooms \] done processing messages: the client has said all it had to say")
        assert proc.stop() == 0


def test_a_limit_that_makes_no_sense_ends_it_with_a_sentence() -> None:
    with arduino("rooms", "--port", "0", "--rate", "0") as refused:
        assert refused.wait() == 2
    assert "rate is 0; it is more than 0" in refused.stderr[-1]


@pytest.mark.source("E12")
def test_e12_who_has_gone_is_nowhere_any_more() -> None:
    """In numbers: ten thousand visits in tests/factory/rooms/test_lobby.py."""
    hall = Hall()

    def visit(number: int) -> None:
        guest = hall.open(lambda: None, "here", 0.0)
        for wish in ({"action": "connect", "username": f"user {number}"}, {"action": "join", "room": "x"}):
            hall.take(guest, json.dumps(wish), 0.0)
        hall.gone(guest, 0.0)

    for number in range(1000):
        visit(number)
    hall.expire(1000.0)
    gc.collect()
    assert not hall.rooms
    assert not [thing for thing in gc.get_objects() if type(thing).__name__ in ("Guest", "User", "Room")]


@pytest.mark.source("E13")
def test_e13_a_dead_member_is_taken_out_and_the_others_notice_nothing() -> None:
    with rooms("--away", "0.1") as (_, port), Client(port, "ann", "one", "two") as ann:
        bob = Client(port, "bob", "one", "two")
        # So that its end is a reset.
        bob.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        bob.stream.close()
        bob.socket.close()
        assert {ann.hear("left")["room"] for _ in range(2)} == {"one", "two"}
        ann.say("who", room="one")
        assert ann.hear("who")["count"] == 1


@pytest.mark.source("E14")
def test_e14_one_message_goes_to_all_at_once_and_a_slow_member_holds_up_nobody() -> None:
    with (
        rooms("--rate", "100000") as (_, port),
        Client(port, "ann", "lobby") as ann,
        Client(port, "slow", "lobby"),
        Client(port, "bob", "lobby") as bob,
    ):
        for number in range(2000):  # 8 MB: more than sockets hold for one who does not read
            ann.say("chat", room="lobby", message="x" * 4000, ref=str(number))
            assert ann.hear("accepted")["members"] == 2
            assert bob.hear("chat")["id"] == number + 1


@pytest.mark.source("E16", "E31")
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b'{"action":"leaveroom","room":"attic"}', "you are not in room 'attic'; join it first"),
        (b'{"action":"chat","room":"attic","message":"hi"}', "you are not in room 'attic'; join it first"),
        (b'{"action":"joinroom"}', "'room' is missing"),
        (b"{nonsense", "that is not JSON"),
        (b'{"room":"attic"}', "'action' is missing"),
        (b"\xff\xfe", "that is not JSON"),
        (b'{"action":"fly"}', "unknown action 'fly'"),
    ],
)
def test_e16_a_mistake_is_answered_and_the_connection_stays(said: bytes, reason: str) -> None:
    """Also E31: who is not a member may not post, and naming a room makes none."""
    with rooms() as (proc, port), Client(port, "ann") as ann, websocket(proc) as bob:
        ann.send(said)
        error = ann.hear()
        assert error["action"] == "error"
        assert reason in error["reason"]
        ann.say("who")
        assert ann.hear()["rooms"] == []
        assert ask(bob, "connect", username="bob")["action"] == "connected"


@pytest.mark.source("E31")
def test_e31_empty_rooms_vanish_and_none_is_made_by_its_name() -> None:
    hall = Hall()
    guest = hall.open(lambda: None)
    hall.take(guest, '{"action":"connect","username":"ann"}', 0.0)
    for number in range(50):
        hall.take(guest, json.dumps({"action": "chat", "room": f"room {number}", "message": "hi"}), 0.0)
    assert not hall.rooms
    hall.take(guest, '{"action":"join","room":"x"}', 0.0)
    hall.take(guest, '{"action":"leave","room":"x"}', 0.0)
    assert not hall.rooms


@pytest.mark.source("E17")
def test_e17_both_doors_speak_tls(tmp_path: Path) -> None:
    tls = make(tmp_path)
    trusted = trusting(tls)
    files = ("--tls-cert", str(tls.cert), "--tls-key", str(tls.key))
    with arduino("rooms", "--port", "0", "--tcp", "0", *files) as proc:
        port = int(proc.wait_for(r"serving on localhost:(\d+) with TLS$")[1])
        with (
            connect(f"wss://localhost:{port}/", ssl=trusted, proxy=None) as ann,
            Client(line_port(proc), "bob", "lobby", trusted=trusted) as bob,
        ):
            ask(ann, "connect", username="ann")
            assert ask(ann, "joinroom", room="lobby")["count"] == 2
            ann.send('{"action":"chat","room":"lobby","message":"sealed"}')
            assert bob.hear("chat")["message"] == "sealed"
        assert proc.stop() == 0


@pytest.mark.source("E18")
def test_e18_a_length_that_is_too_much_ends_the_connection_before_anything_is_kept() -> None:
    with rooms() as (_, port), Client(port, "ann") as ann:
        with Client(port) as other:
            other.socket.sendall(struct.pack("<L", 0xFFFFFFFF))
            assert other.rest() == []
        with Client(port) as other:
            other.socket.sendall(struct.pack("<L", 100) + b"half")
        ann.send(b"x" * 70_000)
        assert ann.hear()["reason"] == "that has 70000 bytes; 65536 are the most"


@pytest.mark.source("E19")
def test_e19_a_message_of_no_bytes_ends_the_connection() -> None:
    with rooms() as (_, port), Client(port, "ann") as ann:
        ann.send(b"")
        assert ann.rest() == []


@pytest.mark.source("E20", "E21", "E22", "E24")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_e20_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """Also E21 and E22, which fail in the source; and E24: nothing accepted is lost, and the port is free."""
    with rooms() as (proc, port), Client(port, "ann", "lobby") as ann, Client(port, "bob", "lobby") as bob:
        ann.say("chat", room="lobby", message="the last word", ref="1")
        ann.hear("accepted")
        assert proc.stop(number) == 0
        assert [said["action"] for said in bob.rest()] == ["chat", "closing"]
        assert ann.rest()[-1] == {"action": "closing", "reason": "the server stops"}
        with socket.create_server(("localhost", port)):
            pass


@pytest.mark.source("E20")
def test_e20_a_second_interrupt_forces_the_end() -> None:
    with (
        rooms("--rate", "100000") as (proc, port),
        Client(port, "ann", "lobby") as ann,
        Client(port, "deaf", "lobby"),
    ):
        for _ in range(2000):
            ann.say("chat", room="lobby", message="x" * 4000, ref="r")
            ann.hear("accepted")
        proc.send_signal(signal.SIGINT)
        proc.wait_for("Keyboard interruption, aborting")
        proc.send_signal(signal.SIGINT)
        assert proc.wait() == 130


@pytest.mark.source("E28")
async def test_e28_one_sender_is_handled_in_order_and_others_in_between() -> None:
    came: list[str] = []
    begun, gate = asyncio.Event(), asyncio.Event()

    class Takes(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, msg: str) -> str:
            came.append(msg)
            if msg == "ann 1":
                begun.set()
                await gate.wait()
            else:
                gate.set()
            return msg

    takes = made(Takes)
    async with (
        asyncio.timeout(DEADLINE),
        takes.running(port=0),
        takes.serving.connection() as ann,
        takes.serving.connection() as bob,
    ):
        for number in (1, 2):
            await ann.send(f"ann {number}")
        await begun.wait()
        await bob.send("bob")
        assert await bob.recv() == "bob"
        assert [await ann.recv(), await ann.recv()] == ["ann 1", "ann 2"]
    assert came == ["ann 1", "bob", "ann 2"]


@pytest.mark.source("E1")
async def test_e01_over_links_as_well() -> None:
    class Talker(factory.FactoryLoop):
        @factory.on_start
        async def enter(self) -> None:
            await self.request("rooms", {"action": "joinroom", "room": "lobby"})
            await self.request("rooms", {"action": "chat", "room": "lobby", "message": "from a sketch"})

    sketch = made(Rooms)
    async with asyncio.timeout(DEADLINE), sketch.running(port=0), sketch.serving.connection() as ann:
        await ann.send('{"action":"connect","username":"ann"}')
        await ann.send('{"action":"joinroom","room":"lobby"}')
        grid = mesh.Grid([mesh.Node("rooms", port=sketch.serving.port)])
        async with Talker.as_node(mesh.Node("talker"), grid).running(port=0):
            while (said := json.loads(await ann.recv()))["action"] != "chat":
                pass
    assert (said["from"], said["message"]) == ("talker", "from a sketch")
