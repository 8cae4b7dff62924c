"""Doors with layers, and the books of line doors, at the real command."""

from __future__ import annotations

import contextlib
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.helpers.lines import line_port, say
from tests.helpers.link_fleet import ledger, the_line
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, Proc, arduino

pytestmark = [pytest.mark.integration, pytest.mark.fleet]

MIB = 2**20

SIZES = """
import factory

class Sizes(factory.FactoryLoop):
    @factory.reactive
    async def loop(self, channel, msg):
        return str(len(msg))
"""


@contextlib.contextmanager
def sizes(folder: Path, door: str) -> Iterator[tuple[Proc, int]]:
    """Run a sketch that tells the sizes of messages, behind a door; give it and the door's port."""
    port, own = free_ports(2)
    (folder / "sizes.py").write_text(SIZES)
    door = door.format(port=port)
    (folder / "grid.yaml").write_text(
        f"nodes:\n  sizes:\n    sketch: sizes.py:Sizes\n    port: {own}\n    doors: [{door}]\n"
    )
    with arduino("sizes.py:Sizes", "--name", "sizes", "--grid", "grid.yaml", cwd=folder) as proc:
        proc.wait_for(rf"serving on .*:{port}\b")
        yield proc, port


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "little") + message


def unframed(data: bytes) -> list[bytes]:
    messages = []
    while data:
        size = int.from_bytes(data[:4], "little")
        messages.append(data[4 : 4 + size])
        data = data[4 + size :]
    return messages


def most_memory(proc: Proc) -> int:
    """Return the most bytes of memory that a process has had so far."""
    status = Path(f"/proc/{proc.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.source("D12")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_d12_many_bombs_in_one_read_are_unfolded_one_after_the_other(tmp_path: Path) -> None:
    with sizes(tmp_path, "{{url: 'tcp://localhost:{port}', layers: [len32le, zlib]}}") as (proc, port):
        before = most_memory(proc)
        answers = say(port, framed(zlib.compress(bytes(16 * MIB))) * 16)
        assert [zlib.decompress(answer) for answer in unframed(answers)] == [str(16 * MIB).encode()] * 16
        # Two or three of them at once, never the sixteen that came in one read.
        assert most_memory(proc) - before < 100 * MIB


@pytest.mark.source("C7")
def test_c07_what_was_read_and_is_not_handled_is_in_the_books() -> None:
    with arduino("echo", "--port", "0", "--tcp", "0") as echo:
        websocket = int(echo.wait_for(r"serving on localhost:(\d+)$")[1])
        assert say(line_port(echo), b"a\n.\nn1\r\nn2\r\nn3\n") == b"You sent: a\n"
        line = the_line(ledger(websocket)["peers"], "received", "")
        assert (line["received"], line["handled"], line["abandoned"]) == (5, 2, 3)
        assert echo.stop() == 0


@pytest.mark.source("C15")
def test_c15_a_silent_client_is_closed_after_the_time_that_the_grid_says(tmp_path: Path) -> None:
    with sizes(tmp_path, "{{url: 'tcp://localhost:{port}', idle: 0.9}}") as (proc, port):
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
            client.sendall(b"four\n")
            assert client.recv(100) == b"4\n"
            assert client.recv(100) == b""
        proc.wait_for(r"this worker closed the connection \(nothing came for 0\.9 seconds\)")


@pytest.mark.source("C17")
@pytest.mark.parametrize("layers", ["line", "logging, line", "line, logging"])
def test_c17_the_grid_says_how_long_a_line_may_be(tmp_path: Path, layers: str) -> None:
    door = f"{{{{url: 'tcp://localhost:{{port}}', layers: [{layers}], max_line: 10}}}}"
    with sizes(tmp_path, door) as (_, port):
        answers = say(port, b"x" * 10 + b"\n" + b"x" * 11 + b"\n")
        # What is above a layer gets the first one as well, but the layer hangs up at once.
        assert answers.startswith(b"10\n") or layers == "line, logging"
        assert b"a line is longer than 10 bytes (11 of it came)" in answers
        assert b"raise max_line of the door in the grid" in answers


@pytest.mark.source("D12")
def test_d12_a_websocket_door_takes_deflate_if_the_grid_says_so(tmp_path: Path) -> None:
    for query, extensions in (("?compression=deflate", ["permessage-deflate"]), ("", [])):
        with sizes(tmp_path, f"'ws://localhost:{{port}}{query}'") as (_, port):
            url = f"ws://localhost:{port}/"
            with connect(url, proxy=None, compression="deflate") as websocket:
                assert [extension.name for extension in websocket.protocol.extensions] == extensions
                for size in (1000, 0, 100_000):
                    websocket.send(b"x" * size)
                    assert websocket.recv(DEADLINE) == str(size).encode()
