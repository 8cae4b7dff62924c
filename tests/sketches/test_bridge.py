"""The bridge: a cable that speaks lines, the real buzzer at the other end."""

from __future__ import annotations

import json
import os
import pty
import socket
import sys
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import factory
import mesh
import sketches
from tests.helpers.clients import ask
from tests.helpers.fleet import write_grid
from tests.helpers.lines import say
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, LAUNCHER, ROOT, Proc, arduino, read_two_lines_only
from tests.helpers.terminal import PROMPTS, on_a_terminal

pytestmark = [pytest.mark.integration, pytest.mark.fleet]


class Cable:
    """Stands in for a serial cable: what the device at its end writes and reads, plugged in at a path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._device = -1

    def plug(self) -> None:
        self._device, end = pty.openpty()
        tty.setraw(end)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(end))
        os.close(end)

    def unplug(self) -> None:
        self.path.unlink()
        os.close(self._device)
        self._device = -1

    def write(self, data: bytes) -> None:
        os.write(self._device, data)

    def read_line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self._device, 1)
        return line

    def close(self) -> None:
        if self._device >= 0:
            os.close(self._device)


@contextmanager
def plugged(path: Path) -> Iterator[Cable]:
    cable = Cable(path)
    cable.plug()
    try:
        yield cable
    finally:
        cable.close()


def grid_of(folder: Path, line: str, *, more: str = "") -> tuple[Path, int]:
    (port,) = free_ports(1)
    text = (
        f"nodes:\n"
        f"  buzzer: {{sketch: buzzer, port: {port}, args: {{sound: buzz buzz buzz}}}}\n"
        f"  cable: {{sketch: bridge, args: {{line: '{line}', to: buzzer/light}}{more}}}\n"
    )
    return write_grid(folder, text), port


@contextmanager
def bridged(grid: Path) -> Iterator[tuple[Proc, Proc]]:
    with arduino("buzzer", "--grid", grid) as buzzer:
        buzzer.wait_for("serving on")
        with arduino("bridge", "--name", "cable", "--grid", grid) as bridge:
            yield buzzer, bridge


def test_a_cable_talks_to_the_buzzer_and_comes_back_when_it_is_plugged_in_again(tmp_path: Path) -> None:
    path = tmp_path / "ttyUSB0"
    with plugged(path) as cable:
        grid, _ = grid_of(tmp_path, f"serial://{path}?baud=9600")
        with bridged(grid) as (buzzer, bridge):
            bridge.wait_for("line up")
            cable.write(b"1\r\n0\r\n")
            assert cable.read_line() == b"buzz buzz buzz\r\n"
            assert cable.read_line() == b"...\r\n"
            buzzer.wait_for("signal 0 received -> ...")
            cable.unplug()
            bridge.wait_for("line down")
            bridge.wait_for("will go on as soon as it is back")
            mark = bridge.mark
            cable.plug()
            bridge.wait_for("line up", since=mark)
            cable.write(b"1\n")
            assert cable.read_line() == b"buzz buzz buzz\n"
            assert bridge.count("line up") == 2
            assert bridge.stop() == 0


def test_what_is_subscribed_to_goes_out_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "ttyUSB0"
    with plugged(path) as cable:
        grid, _ = grid_of(tmp_path, f"serial://{path}", more=", subscribes: {sound: buzzer}")
        with bridged(grid) as (buzzer, bridge):
            bridge.wait_for("line up")
            bridge.wait_for("subscribed to 'sound' of buzzer$")
            cable.write(b"1\n")
            lines = {cable.read_line(), cable.read_line()}
            assert lines == {b"buzz buzz buzz\n"}, "the ack, and what the buzzer publishes"
            assert buzzer.stop() == 0
            assert bridge.stop() == 0


def test_a_refusal_comes_back_as_a_json_line(tmp_path: Path) -> None:
    port, line = free_ports(2)
    sketch = ROOT / "tests" / "sources" / "fragile.py"
    grid = write_grid(
        tmp_path,
        f"nodes:\n"
        f"  fragile: {{sketch: '{sketch}:Fragile', port: {port}}}\n"
        f"  cable: {{sketch: bridge, args: {{line: 'tcp://localhost:{line}', to: fragile}}}}\n",
    )
    with arduino(f"{sketch}:Fragile", "--name", "fragile", "--grid", grid) as fragile:
        fragile.wait_for("serving on")
        with arduino("bridge", "--name", "cable", "--grid", grid) as bridge:
            bridge.wait_for("serving on")
            fine, refusal, again = say(line, b"a\nbreak\nb\n").splitlines()
            assert (fine, again) == (b"a", b"b")
            assert json.loads(refusal) == {"error": {"type": "Reject", "message": "ValueError: no"}}
            assert bridge.stop() == 0


def test_tcp_lines_reach_a_node_through_the_bridge(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    grid, _ = grid_of(tmp_path, f"tcp://localhost:{port}")
    with bridged(grid) as (_, bridge):
        bridge.wait_for(rf"serving on tcp://localhost:{port}")
        with arduino("line", "--tcp", str(port), interactive=True) as line:
            line.type("1\n")
            line.wait_for("^buzz buzz buzz$", within=DEADLINE)
            assert bridge.stop() == 0
            line.wait_for("the server closed the connection after")
            assert line.wait() == 0


def test_standard_input_is_a_line_as_well(tmp_path: Path) -> None:
    grid, _ = grid_of(tmp_path, "stdin:")
    with arduino("buzzer", "--grid", grid) as buzzer:
        buzzer.wait_for("serving on")
        with arduino("bridge", "--name", "cable", "--grid", grid, interactive=True) as bridge:
            bridge.type("1\n0")
            bridge.end_input()
            assert bridge.wait() == 0, bridge
    assert bridge.stdout == ["buzz buzz buzz", "..."], "and it serves nowhere"


def test_a_byte_that_is_no_text_does_not_end_the_terminal(tmp_path: Path) -> None:
    grid, _ = grid_of(tmp_path, "stdin:")
    with arduino("buzzer", "--grid", grid) as buzzer:
        buzzer.wait_for("serving on")
        command = [sys.executable, str(LAUNCHER), "--grid", str(grid), "bridge"]
        # What is typed before the prompt is back may be lost, as on any terminal.
        steps = [
            (PROMPTS, b"caf\xe9\r"),
            (b"...", b""),
            (PROMPTS, b"1\r"),
            (b"buzz buzz buzz", b""),
            (PROMPTS, b"\x04"),
        ]
        code, shown = on_a_terminal(command, steps)
        assert code == 0, shown


def test_a_bridge_whose_answers_nobody_reads_ends(tmp_path: Path) -> None:
    grid, _ = grid_of(tmp_path, "stdin:")
    with arduino("buzzer", "--grid", grid) as buzzer:
        buzzer.wait_for("serving on")
        code, errors = read_two_lines_only("--grid", grid, "bridge", folder=tmp_path)
    assert code == 1, errors
    assert "nobody takes what is written to standard output (Broken pipe)" in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_a_typed_line_that_is_too_long_ends_the_bridge(tmp_path: Path) -> None:
    grid, _ = grid_of(tmp_path, "stdin:")
    with arduino("bridge", "--name", "cable", "--grid", grid, interactive=True) as bridge:
        bridge.type("x" * 100_000 + "\n1\n")
        assert bridge.wait() == 1, bridge
    assert bridge.stderr[-1].startswith("[ cable ] error: a line is longer than 65536 bytes")


def test_a_node_that_is_not_in_the_grid_is_told_at_once(tmp_path: Path) -> None:
    grid = write_grid(tmp_path, "nodes: {cable: {sketch: bridge, args: {line: 'tcp://:0', to: buzer}}}\n")
    with arduino("bridge", "--name", "cable", "--grid", grid) as bridge:
        assert bridge.wait() == 2
        assert "unknown node 'buzer'" in "\n".join(bridge.stderr)


def refused(port: int) -> int:
    """Return how many messages of links the worker behind ``port`` has refused."""
    (books,) = ask(port, "please", channel="$ledger")
    return sum(
        line["refused"] for peer in json.loads(books)["peers"].values() for line in peer["received"].values()
    )


def takes(_: object) -> bool:
    return True


def does_not(_: object) -> bool:
    return False


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((), "no line is up"),
        ((does_not,), "1 of 1 lines do not take it"),
        ((takes, does_not), "1 of 2 lines do not take it"),
    ],
)
async def test_what_a_line_does_not_take_is_refused(
    lines: tuple[Callable[[object], bool], ...], reason: str
) -> None:
    grid = mesh.Grid([mesh.Node("buzzer", port=1)])
    bridge = sketches.Bridge.as_node(mesh.Node("bridge"), grid, line="tcp://localhost:0", to="buzzer")
    bridge.ends = {n: factory.Client("", "", "cable", tell=tell) for n, tell in enumerate(lines)}
    with pytest.raises(factory.Reject, match=f"^{reason}$"):
        await bridge.loop("sound", "buzz")


def test_a_websocket_client_of_a_bridge_is_no_line(tmp_path: Path) -> None:
    port, line = free_ports(2)
    more = f", subscribes: {{sound: buzzer}}, port: {port}"
    grid, _ = grid_of(tmp_path, f"tcp://localhost:{line}", more=more)
    with bridged(grid) as (_, bridge):
        bridge.wait_for("serving on tcp://")
        with socket.create_connection(("127.0.0.1", line), timeout=DEADLINE) as connection:
            bridge.wait_for("line up")
            bridge.wait_for("subscribed to 'sound' of buzzer$")
            assert ask(port, "1") == ["buzz buzz buzz"]
            with connection.makefile("rb") as lines:
                assert lines.readline() == b"buzz buzz buzz\n", "published, and the line takes it"
        bridge.wait_for("line down")
        assert ask(port, "1") == ["buzz buzz buzz"]
        while refused(port) < 1:  # It is published, so it may come after the answer.
            pass
        assert bridge.stop() == 0
    assert bridge.count("line up") == 1
    assert bridge.count("new client connected") == 2
