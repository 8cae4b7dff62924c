"""Protocols and transports, row by row of section D, as far as sketches show them."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import threading

import pytest
from websockets.sync.client import ClientConnection

import factory
import mesh
import sketches
from mesh.protocol.books import CLIENTS
from tests.helpers.clients import client
from tests.helpers.lines import line_port, say, say_async
from tests.helpers.proc import DEADLINE, ROOT, Proc, arduino
from tests.helpers.sketch import tell
from tests.helpers.sketch_bench import made

pytestmark = [pytest.mark.integration, pytest.mark.fleet]


def words(proc: Proc) -> list[str]:
    """Return what a sketch said, but for where it serves."""
    said = [line.partition("] ")[2] for line in proc.stdout]
    return [line for line in said if not line.startswith("serving on")]


def websocket_of(proc: Proc) -> ClientConnection:
    return client(int(proc.wait_for(r"serving on localhost:(\d+)$")[1]))


@pytest.mark.source("D1")
def test_d01_the_raw_echo_on_both_doors() -> None:
    told = ["Connection established", "Data received: hello", "Connection closed"]
    with arduino("rawecho", "--port", "0", "--tcp", "0") as echo:
        with websocket_of(echo) as websocket:
            websocket.send("hello")
            assert websocket.recv(DEADLINE) == "hello"
        echo.wait_for("Connection closed")
        mark = echo.mark
        assert say(line_port(echo), b"hello\r\n") == b"hello\r\n"
        echo.wait_for("Connection closed", since=mark)
        assert echo.stop() == 0
    assert words(echo) == [*told, *told, "Keyboard interruption, aborting."]


@pytest.mark.source("D3", "D6")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_d03_a_line_door_shuts_down_cleanly_and_says_so(number: signal.Signals) -> None:
    """Also D6: the greeting says so itself."""
    with arduino("greeting", "--tcp", "0") as greeting:
        port = line_port(greeting)
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as ann:
            ann.sendall(b"Ann\n")
            assert ann.recv(100) == b"Hello, Ann!\n"
            assert greeting.stop(number) == 0
            assert ann.recv(100) == b""
        assert "Server is shutting down" in words(greeting)
        with pytest.raises(ConnectionRefusedError):
            say(port, b"")


@pytest.mark.source("D5", "D20")
def test_d05_each_name_gets_its_greeting_however_they_come() -> None:
    """Also D20: the source takes what is read at once for one name."""
    with arduino("greeting", "--port", "0", "--tcp", "0") as greeting:
        port = line_port(greeting)
        assert say(port, b"Ann\nBob\r\nCy") == b"Hello, Ann!\nHello, Bob!\r\n"
        assert say(port, b"Dora\nEve\n", pieces=[2, 5, 6]) == b"Hello, Dora!\nHello, Eve!\n"
        with websocket_of(greeting) as websocket:
            websocket.send("Finn")
            assert websocket.recv(DEADLINE) == "Hello, Finn!"
        greeting.wait_for("The client closed the connection")
    said = words(greeting)
    assert said[:4] == [
        "Server connected to client",
        "Data received from client: Ann",
        "Data received from client: Bob",
        "The client closed the connection",
    ]


@pytest.mark.source("D7")
def test_d07_the_robust_greeting_tells_the_error_and_hangs_up_and_lives() -> None:
    with arduino("robustgreeting", "--port", "0", "--tcp", "0") as greeting:
        port = line_port(greeting)
        answer = say(port, b"Ann\n\xff\nBob\n")
        assert re.fullmatch(rb"Hello, Ann!\nError: 'utf-8' codec can't decode byte 0xff .*\n", answer)
        assert say(port, b" \n") == b"Error: a name has at least one letter\n"
        with websocket_of(greeting) as websocket:
            websocket.send(b"\xff")
            assert str(websocket.recv(DEADLINE)).startswith("Error: 'utf-8' codec")
            assert list(websocket) == [], "it is closed"
        assert say(port, b"Cy\n") == b"Hello, Cy!\n"
        assert greeting.stop() == 0
    assert "Error: a name has at least one letter" in words(greeting)


@pytest.mark.source("D7")
@pytest.mark.parametrize(
    ("policy", "answer"),
    [
        ("nack", b'a\n{"error":{"type":"ValueError","message":"no"}}\nb\n'),
        ("close", b'a\n{"error":{"type":"ValueError","message":"no"}}\n'),
        ("ignore", b"a\n\nb\n"),
    ],
)
def test_d07_the_policy_is_a_flag(policy: str, answer: bytes) -> None:
    source = ROOT / "tests" / "sources" / "fragile.py"
    with arduino(f"{source}:Fragile", "--tcp", "0", "--on-error", policy) as fragile:
        assert say(line_port(fragile), b"a\nbreak\nb\n") == answer
        assert fragile.stop() == 0, "and the books balance"


@pytest.mark.source("D13")
async def test_d13_a_streams_client_is_answered_once_and_closed() -> None:
    class Once(factory.FactoryLoop):
        @factory.reactive
        async def loop(self, channel: str, msg: str) -> None:
            raise factory.Close(msg, "answered")

    once = made(Once)
    once.line_door = "tcp://localhost:0"
    async with once.running():
        assert once.line_door is not None
        assert await say_async(once.line_door, b"hello\nagain\n") == b"hello\n"


@pytest.mark.source("D14")
async def test_d14_each_client_has_a_task_of_its_own_so_one_does_not_hold_up_another() -> None:
    class Waits(factory.FactoryLoop):
        def setup(self) -> None:
            self.gate = asyncio.Event()

        @factory.reactive
        async def loop(self, channel: str, msg: str) -> str:
            if msg == "wait":
                await self.gate.wait()
            else:
                self.gate.set()
            return msg

    waits = made(Waits)
    waits.line_door = "tcp://localhost:0"
    async with waits.running():
        waiting = asyncio.create_task(say_async(waits.line_door, b"wait\n"))
        assert await say_async(waits.line_door, b"go\n") == b"go\n"
        assert await waiting == b"wait\n"


@pytest.mark.source("D15")
@pytest.mark.slow
async def test_d15_a_thousand_clients_at_once() -> None:
    count = 1000
    echo = made(sketches.Echo)
    echo.line_door = "tcp://localhost:0"
    echo.out = lambda text: None  # type: ignore[method-assign]
    async with echo.running():
        assert echo.line_door is not None
        port = int(echo.line_door.rpartition(":")[2])
        gate = asyncio.Event()
        there = 0

        async def talk(number: int) -> bytes:
            nonlocal there
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"first\n")
            assert await reader.readline() == b"You sent: first\n"
            there += 1
            if there == count:
                gate.set()
            await gate.wait()  # so that all of them are there at once
            writer.write(f"{number}\n".encode())
            answer = await reader.readline()
            writer.close()
            await writer.wait_closed()
            return answer

        async with asyncio.timeout(DEADLINE):
            answers = await asyncio.gather(*(talk(number) for number in range(count)))
        assert answers == [f"You sent: {number}\n".encode() for number in range(count)]
        received = echo._worker._doors.books()[CLIENTS]["received"][""]
        assert received["handled"] == 2 * count
    assert echo._worker.balanced


@pytest.mark.source("D16")
async def test_d16_callbacks_threads_and_futures() -> None:
    """A plain function is a callback, and may block; other code has threads; a message is a future."""

    class Callbacks(factory.FactoryLoop):
        @factory.reactive
        def loop(self, channel: str, msg: str) -> str:
            return f"{msg} in {'a thread' if threading.current_thread() is not main else 'the loop'}"

    main = threading.main_thread()
    async with made(Callbacks).running(port=0) as sketch:
        coming = sketch.next_message("pin")
        assert isinstance(coming, asyncio.Future)
        other = sketch.next_message("other")
        assert await tell(sketch.serving, ["1"], "pin") == ["1 in a thread"]
        assert await coming == "1"
        assert not other.done()
        assert await sketch.to_thread(lambda: threading.current_thread() is main) is False
    assert other.cancelled()


@pytest.mark.source("D17")
def test_d17_no_code_of_ours_asks_for_a_loop_that_may_not_be_there() -> None:
    places = [path for folder in ("mesh", "factory", "sketches") for path in (ROOT / folder).rglob("*.py")]
    assert len(places) > 50
    assert [path for path in places if "get_event_loop(" in path.read_text(encoding="utf-8")] == []


@pytest.mark.source("D19")
async def test_d19_the_next_message_comes_to_whoever_waits_over_a_link_as_well() -> None:
    async with made(sketches.RawEcho).running(port=0) as sketch, mesh.connect(sketch.serving) as peer:
        first = sketch.next_message()
        assert await peer.request("one") == "one"
        assert await first == "one"
        assert await peer.request("two") == "two"
        second = sketch.next_message()
        assert await peer.stream(["three", "four"]) == ["three", "four"]
        assert await second == "three"
