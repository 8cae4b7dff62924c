"""Lines, row by row of section C: the protocol, the sketches that speak it, and the tutorial.

How bytes become lines is tested beside the code, in tests/mesh/protocol/test_lines.py.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest

import mesh
import sketches
from mesh import LineProtocol
from mesh.lines import connect_lines
from tests.helpers.clients import ask
from tests.helpers.lines import line_port, say, say_async
from tests.helpers.log import Log
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, LAUNCHER, ROOT, arduino, read_two_lines_only
from tests.helpers.sketch_bench import made
from tests.helpers.terminal import PROMPTS, on_a_terminal

pytestmark = pytest.mark.integration


class Echo(LineProtocol):
    """The source's echo server."""

    def line_received(self, line: bytes) -> None:
        if line == b".":
            self.transport.close()
        else:
            self.write_line(b"You sent: " + line)


class Recorder(LineProtocol):
    """Notes what comes."""

    lines: Log[bytes]
    rests: Log[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.lines = Log()
        self.rests = Log()

    def line_received(self, line: bytes) -> None:
        self.lines.add(line)

    def rest_received(self, rest: bytes) -> None:
        self.rests.add(rest)


@asynccontextmanager
async def served(factory: Callable[[], LineProtocol]) -> AsyncIterator[int]:
    """Serve a protocol and give the port."""
    loop = asyncio.get_running_loop()
    # Windows cannot do it, and asyncio refuses what cannot be done.
    reuse_port = hasattr(socket, "SO_REUSEPORT")
    server = await loop.create_server(factory, "127.0.0.1", 0, reuse_port=reuse_port)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def talk(port: int, data: bytes) -> bytes:
    """Send bytes, end the input, and return all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.source("C1", "C4", "C5", "C10", "C12")
async def test_c01_the_protocol_takes_a_delimiter_and_a_future() -> None:
    """Also C4, C5, C10 and C12: a client that a factory with arguments makes, with its transport kept."""
    loop = asyncio.get_running_loop()
    on_exit: asyncio.Future[bool] = loop.create_future()
    async with served(lambda: Echo(delimiter=b"\r\n")) as port:
        transport, client = await loop.create_connection(
            lambda: Recorder(delimiter=b"\r\n", on_exit=on_exit), "127.0.0.1", port
        )
        assert client.transport is transport
        client.write_line("grüße")
        client.write_line(b"bytes")
        await client.lines.until(2)
        assert list(client.lines) == ["You sent: grüße".encode(), b"You sent: bytes"]
        client.write_line(".")
        assert await on_exit is True


@pytest.mark.source("C6")
@pytest.mark.parametrize("before", ["done", "cancelled"])
async def test_c06_a_future_that_is_done_already_does_no_harm(before: str) -> None:
    loop = asyncio.get_running_loop()
    on_exit: asyncio.Future[object] = loop.create_future()
    if before == "done":
        on_exit.set_result("earlier")
    else:
        on_exit.cancel()
    troubles: list[object] = []
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    gone = loop.create_future()

    class Client(LineProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            gone.set_result(None)

    async with served(Echo) as port:
        _, client = await loop.create_connection(lambda: Client(on_exit=on_exit), "127.0.0.1", port)
        client.write_line(".")
        await gone
    assert troubles == []


@pytest.mark.source("C6")
async def test_c06_why_the_connection_was_lost_is_kept() -> None:
    loop = asyncio.get_running_loop()
    on_exit: asyncio.Future[bool] = loop.create_future()
    client = LineProtocol(on_exit=on_exit)
    await loop.create_connection(lambda: client, *await _hangs_up_hard())
    client.write_line("hello")
    await on_exit
    assert isinstance(client.exc, ConnectionError)
    with pytest.raises(ConnectionError, match="gone") as caught:
        await client.drain()
    assert caught.value.__cause__ is client.exc


async def _hangs_up_hard() -> tuple[str, int]:
    """Serve one connection that is reset as soon as something was said."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    async def serve() -> None:
        connection, _ = await loop.sock_accept(listener)
        await loop.sock_recv(connection, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
        listener.close()

    task = loop.create_task(serve())
    task.add_done_callback(lambda done: done.result())
    name: tuple[str, int] = listener.getsockname()
    return name


@pytest.mark.source("C7", "C8", "C9")
async def test_c07_the_echo_server_of_the_source() -> None:
    """Also C8 and C9: a server of asyncio's own, for as long as its block lasts."""
    async with served(Echo) as port:
        assert await talk(port, b"one\r\ntwo\r\n.\r\nnever\r\n") == b"You sent: one\r\nYou sent: two\r\n"


@pytest.mark.source("C16")
async def test_c16_it_works_as_it_is() -> None:
    loop = asyncio.get_running_loop()
    on_exit: asyncio.Future[bool] = loop.create_future()
    async with served(lambda: LineProtocol(on_exit=on_exit)) as port:
        assert await talk(port, b"taken, and nothing is made of it\r\n") == b""
        assert await on_exit is True


@pytest.mark.source("C16")
def test_c16_it_works_in_any_event_loop() -> None:
    """The transports of uvloop are none of asyncio's."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> bytes:
        async with served(Echo) as port:
            return await talk(port, b"one\r\n.\r\n")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(main()) == b"You sent: one\r\n"


@pytest.mark.source("C17")
async def test_c17_a_line_that_is_too_long_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    servers: list[LineProtocol] = []

    def serve() -> LineProtocol:
        servers.append(Echo(max_line=10))
        return servers[-1]

    async with served(serve) as port:
        assert await talk(port, b"short\r\n" + b"x" * 20) == b"You sent: short\r\n"
    assert isinstance(servers[0].exc, mesh.LineTooLongError)
    assert "longer than 10 bytes" in caplog.text


@pytest.mark.source("C19")
async def test_c19_who_writes_can_wait_until_it_is_flushed() -> None:
    loop = asyncio.get_running_loop()
    made: Log[LineProtocol] = Log()

    def serve() -> LineProtocol:
        protocol = LineProtocol(write_limit=1000)
        made.add(protocol)
        return protocol

    async with served(serve) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1000)
        await made.until(1)
        server = made[0]
        while server.transport.get_write_buffer_size() <= 1000:
            server.write_line(b"x" * 10_000)
        draining = loop.create_task(server.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        while not draining.done():
            await reader.read(100_000)
        await draining
        assert server.transport.get_write_buffer_size() <= 1000
        writer.close()
        await writer.wait_closed()


@pytest.mark.source("C20")
async def test_c20_auto_takes_both_and_answers_with_what_came() -> None:
    async with served(lambda: Echo("auto")) as port:
        assert await talk(port, b"one\ntwo\r\nthree\n") == (
            b"You sent: one\nYou sent: two\r\nYou sent: three\n"
        )


@pytest.mark.source("C22")
async def test_c22_an_unfinished_last_line_is_delivered_where_asked_and_reported_elsewhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made: Log[LineProtocol] = Log()

    def serve() -> LineProtocol:
        made.add(Recorder())
        return made[-1]

    async with served(serve) as port:
        await talk(port, b"whole\r\nhalf")
        recorder = made[0]
        assert isinstance(recorder, Recorder)
        await recorder.rests.until(1)
        assert (list(recorder.lines), list(recorder.rests)) == ([b"whole"], [b"half"])
    with caplog.at_level(logging.WARNING, "mesh.lines"):
        async with served(Echo) as port:
            assert await talk(port, b"whole\r\nhalf\x1b[2J") == b"You sent: whole\r\n"
    assert "ended within a line" in caplog.text
    assert r"half\\x1b[2J" in caplog.text


def test_a_line_cannot_hold_its_own_end() -> None:
    with pytest.raises(ValueError, match="its own delimiter"):
        LineProtocol().write_line("two\r\nlines")


# -- the sketches ------------------------------------------------------------------------------


@pytest.mark.fleet
@pytest.mark.source("C7", "C20")
def test_c07_the_echo_sketch_on_lines() -> None:
    with arduino("echo", "--tcp", "0") as echo:
        port = line_port(echo)
        said = say(port, b"one\r\ntwo\n\n.\nnever\n", pieces=[4, 5, 9])
        assert said == b"You sent: one\r\nYou sent: two\nYou sent: \n"
        echo.wait_for(r"done processing messages: this worker closed the connection, after \d+\.\d s$")
        assert echo.stop() == 0
        assert not any("serving on localhost" in line for line in echo.stdout), "nothing but lines"


@pytest.mark.fleet
@pytest.mark.source("C7")
def test_c07_the_same_echo_on_a_websocket_beside_its_lines() -> None:
    with arduino("echo", "--port", "0", "--tcp", "0") as echo:
        port = int(echo.wait_for(r"serving on localhost:(\d+)$")[1])
        assert ask(port, "one", "two") == [
            "You sent: one",
            "You sent: two",
        ]
        assert say(line_port(echo), b"three\n") == b"You sent: three\n"


@pytest.mark.fleet
@pytest.mark.source("C11", "C15", "C21")
def test_c11_the_client_types_and_reads_at_once_and_says_who_left() -> None:
    """Also C15, who closed and after how long, and C21, bytes that are no text."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with listener, arduino("line", "--tcp", str(port), interactive=True) as line:
        connection, _ = listener.accept()
        with connection:
            # Nothing is typed, and what comes is shown all the same.
            connection.sendall(b"hello \xff\x1b[2J\r\n")
            line.wait_for(r"^hello \\xff\\x1b\[2J$")
            line.type("typed\n")
            assert connection.recv(100) == b"typed\r\n"
        line.wait_for(r"^\[ line \] the server closed the connection after \d+\.\d s$")
        assert line.wait() == 0, line


@pytest.mark.fleet
@pytest.mark.source("C15")
def test_c15_a_connection_that_is_lost_is_no_good_end() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, arduino("line", "--tcp", str(listener.getsockname()[1]), interactive=True) as line:
        connection, _ = listener.accept()
        connection.sendall(b"hello\n")
        line.wait_for("^hello$")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()  # resets it
        line.wait_for(r"^\[ line \] error: connection lost after \d+\.\d s: .*reset by peer")
        assert line.wait() == 1, line


@pytest.mark.fleet
@pytest.mark.source("C11")
def test_c11_what_is_piped_in_is_sent_and_all_answers_are_shown() -> None:
    with arduino("echo", "--tcp", "0") as echo:
        with arduino("line", "--tcp", str(line_port(echo)), interactive=True) as line:
            line.type("a\nb without an end")
            line.end_input()
            assert line.wait() == 0, line
        assert line.stdout[:2] == ["You sent: a", "You sent: b without an end"]


@pytest.mark.fleet
@pytest.mark.source("C11")
def test_c11_it_prompts_without_prompt_toolkit_as_well(tmp_path: Path) -> None:
    (tmp_path / "prompt_toolkit.py").write_text("raise ImportError('not installed')\n")
    with arduino("echo", "--tcp", "0") as echo:
        command = [sys.executable, str(LAUNCHER), "line", "--tcp", str(line_port(echo))]
        steps = [(b"> ", b"hello\r"), (b"You sent: hello", b".\r")]
        code, shown = on_a_terminal(command, steps, {"PYTHONPATH": str(tmp_path)})
        assert code == 0, shown
        assert shown.count(b"> ") >= 2


@pytest.mark.source("C11")
async def test_c11_patience_ends_an_attempt_that_gets_no_answer() -> None:
    with socket.socket() as server, ExitStack() as stack:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):  # nobody accepts, and so there is no room for one more
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(mesh.MeshError, match=rf"^cannot reach {url}: no answer, tried for \d\.\d s"):
                await connect_lines(url, LineProtocol, patience=0.2)


@pytest.mark.source("C11")
async def test_c11_an_absent_server_is_told_with_the_last_reason() -> None:
    (port,) = free_ports(1)
    with pytest.raises(mesh.MeshError, match=r"nobody listens there, tried for \d\.\d s"):
        await connect_lines(f"tcp://127.0.0.1:{port}", LineProtocol, patience=1.0)


@pytest.mark.fleet
@pytest.mark.source("C11")
@pytest.mark.parametrize(
    ("typed", "sent"),
    [(b"\x1b[200~one\ntwo\x1b[201~\r", b"one\ntwo\n"), (b"caf\xe9\r", b"caf\xe9\n")],
    ids=["pasted", "no-text"],
)
def test_c11_whatever_is_typed_is_sent_and_typing_goes_on(typed: bytes, sent: bytes) -> None:
    got: list[bytes] = []

    def serve() -> None:
        with listener.accept()[0] as connection:
            connection.sendall(b"hello\n")
            with connection.makefile("rb") as lines:
                while got[-1:] != [b"after\n"]:
                    got.append(lines.readline())

    listener = socket.create_server(("127.0.0.1", 0))
    server = threading.Thread(target=serve, daemon=True)
    server.start()
    with listener:
        command = [sys.executable, str(LAUNCHER), "line", "--tcp", str(listener.getsockname()[1])]
        steps = [(b"hello", b""), (PROMPTS, typed), (PROMPTS, b"after\r")]
        code, shown = on_a_terminal(command, steps)
        server.join(DEADLINE)
    assert code == 0, shown
    assert b"".join(got) == sent + b"after\n"


@pytest.mark.fleet
@pytest.mark.source("C11")
def test_c11_a_line_that_is_too_long_ends_the_client_and_says_so() -> None:
    with arduino("echo", "--tcp", "0") as echo:
        with arduino("line", "--tcp", str(line_port(echo)), interactive=True) as line:
            line.type("x" * 100_000 + "\nafter\n")
            assert line.wait() == 1, line
        assert line.stdout == []
        assert line.stderr[-1].startswith("[ line ] error: a line is longer than 65536 bytes")


@pytest.mark.fleet
@pytest.mark.source("C11")
def test_c11_nobody_reads_what_it_shows(tmp_path: Path) -> None:
    with arduino("echo", "--tcp", "0") as echo:
        code, errors = read_two_lines_only("line", "--tcp", str(line_port(echo)), folder=tmp_path)
    assert code == 1, errors
    assert "nobody takes what is written to standard output (Broken pipe)" in errors.splitlines()[-1]
    assert "Traceback" not in errors


@pytest.mark.fleet
@pytest.mark.source("C11")
@pytest.mark.parametrize("goodbye", [b".\r", b"\x03", b"\x04"], ids=["dot", "ctrl-c", "ctrl-d"])
def test_c11_on_a_terminal_it_prompts(goodbye: bytes) -> None:
    with arduino("echo", "--tcp", "0") as echo:
        command = [sys.executable, str(LAUNCHER), "line", "--tcp", str(line_port(echo))]
        steps = [(PROMPTS, b"hello\r"), (b"You sent: hello", b""), (PROMPTS, goodbye)]
        code, shown = on_a_terminal(command, steps)
        assert code == 0, shown


@pytest.mark.source("C13")
async def test_c13_one_can_wait_until_a_worker_is_closed() -> None:
    echo = made(sketches.Echo)
    echo.line_door = "tcp://localhost:0"
    async with echo.running():
        closed = asyncio.create_task(echo.wait_closed())
        assert echo.line_door is not None
        assert await say_async(echo.line_door, b"one\n") == b"You sent: one\n"
        assert not closed.done()
        echo.stop()
        await closed
        with pytest.raises(ConnectionError):
            await say_async(echo.line_door, b"gone\n")


@pytest.mark.fleet
@pytest.mark.source("C14")
def test_c14_run_goes_on_for_as_long_as_a_client_is_there() -> None:
    with arduino("echo", "--tcp", "0") as echo:
        with socket.create_connection(("127.0.0.1", line_port(echo)), timeout=DEADLINE) as connection:
            for _ in range(3):
                connection.sendall(b"still there?\n")
                assert connection.recv(100) == b"You sent: still there?\n"
            assert echo.process.poll() is None
        assert echo.stop() == 0


@pytest.mark.fleet
@pytest.mark.source("C17")
def test_c17_the_line_door_refuses_what_never_ends() -> None:
    with arduino("echo", "--tcp", "0") as echo:
        port = line_port(echo)
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as connection:
            connection.sendall(b"fine\n" + b"x" * 70_000)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        fine, refusal = answer.splitlines()
        assert fine == b"You sent: fine"
        assert json.loads(refusal)["error"]["type"] == "LineTooLongError"
        echo.wait_for("longer than 65536 bytes")
        assert say(port, b"still here\n") == b"You sent: still here\n"
        assert echo.stop() == 0


@pytest.mark.fleet
@pytest.mark.source("C22")
def test_c22_the_line_door_reports_what_did_not_end() -> None:
    with arduino("echo", "--tcp", "0") as echo:
        assert say(line_port(echo), b"whole\nhalf") == b"You sent: whole\n"
        echo.wait_for("4 bytes without an end were not handled: half")


@pytest.mark.source("C18")
def test_c18_the_tutorial_has_both_ways_side_by_side() -> None:
    """What its blocks say is run by tests/test_docs.py."""
    page = (ROOT / "docs" / "tutorial" / "5-a-line.md").read_text(encoding="utf-8")
    code = "".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    assert "class Echo(factory.FactoryLoop)" in code
    assert "class EchoServer(mesh.LineProtocol)" in code
    assert "create_server" in code
    assert "create_connection" in code
