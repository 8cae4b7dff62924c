"""``mesh doctor`` and ``mesh top`` on nodes that run, are frozen or down."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from websockets.sync.server import serve

from tests.helpers.lab import Lab, lab
from tests.helpers.meshes import done, mesh, told, write_fleet
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, ROOT, Proc

pytestmark = pytest.mark.fleet


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Lab, Proc]]:
    with lab() as found:
        echo = found.run("echo", "Echo")
        found.run("ticker", "Ticker")
        found.wait_until_answered()
        yield found, echo


@pytest.fixture
def there(nodes: tuple[Lab, Proc]) -> Lab:
    return nodes[0]


def codes(found: Lab) -> list[tuple[str, str]]:
    document = found.told("doctor", "--json", code=1)
    assert not document["ok"]
    return [(one["code"], one["node"]) for one in document["findings"]]


def test_a_node_that_is_down_and_what_to_type(there: Lab) -> None:
    shown = there.done("doctor", code=1)
    assert shown.stdout == ["M2  spare is down", "    next: mesh up -d"]
    assert shown.stderr == ["`mesh doctor --explain M2` tells more"]


def test_a_frozen_node(nodes: tuple[Lab, Proc]) -> None:
    found, echo = nodes
    echo.send_signal(signal.SIGSTOP)
    try:
        shown = found.done("doctor", code=1)
    finally:
        echo.send_signal(signal.SIGCONT)
        found.wait_until_answered()
    assert shown.stdout[0].startswith("M3  echo is stopped by a signal")
    assert shown.stdout[1] == f"    next: kill -CONT {echo.pid}"


def test_a_node_on_another_port_and_two_of_one_name() -> None:
    with lab() as found:
        for name in ("echo", "ticker"):
            found.run(name, name.capitalize())
        found.wait_until_answered()
        found.run("spare", "Echo", "--port", str(free_ports(1)[0]))
        assert codes(found) == [("M7", "spare")]
        found.run("spare", "Echo")
        assert codes(found) == [("M7", "spare"), ("M6", "spare")]


def test_nothing_is_wrong() -> None:
    with lab() as found:
        for name, sketch in (("echo", "Echo"), ("ticker", "Ticker"), ("spare", "Echo")):
            found.run(name, sketch)
        found.wait_until_answered()
        shown = found.done("doctor")
        assert (shown.stdout, shown.stderr) == (["nothing is wrong with 3 nodes"], [])
        assert found.told("doctor", "--json") == {"ok": True, "nodes": 3, "findings": []}


def test_something_else_has_the_address_of_a_node() -> None:
    with lab() as found, serve(lambda _: None, "localhost", found.ports["spare"]) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            assert ("M8", "spare") in codes(found)
        finally:
            server.shutdown()
            thread.join()


def test_the_mistakes_of_a_grid(tmp_path: Path) -> None:
    grid = write_fleet(tmp_path, "  a: {sketch: buzzer, prot: 1}\n")
    shown = done("doctor", "--grid", grid, code=1)
    assert shown.stdout == [
        f"M1  {grid}:2:23: unknown field 'prot'; did you mean `port`?",
        "    next: correct it, then `mesh validate`",
    ]


def test_a_node_that_the_fleet_has_given_up(tmp_path: Path) -> None:
    ports = free_ports(2)
    grid = write_fleet(
        tmp_path,
        f"  quiet: {{sketch: 'crew.py:Quiet', port: {ports[0]}}}\n"
        f"  crash: {{sketch: 'crew.py:Crash', port: {ports[1]}, restart: never}}\n",
    )
    with mesh("up", "--grid", grid) as up:
        up.wait_for("given up")
        (one,) = told("doctor", "--json", "--grid", grid, code=1)["findings"]
        assert (one["code"], one["node"]) == ("M9", "crash")
        assert one["next"] == "mesh logs --node crash --tail 20"


def test_a_code_is_explained() -> None:
    shown = done("doctor", "--explain", "m5")
    assert shown.stdout[0] == "M5: a ledger does not balance"
    assert max(map(len, shown.stdout)) <= 80
    assert "no finding has the code 'M99'" in done("doctor", "--explain", "M99", code=2).stderr[-1]


# -- top -------------------------------------------------------------------------------------------


def test_top_once_and_as_a_document(there: Lab) -> None:
    shown = there.done("top", "--once", "--every", "1s")
    assert shown.stderr == []
    head = ["NODE", "STATE", "PID", "CPU%", "MEM", "RESTARTS", "IN/s", "OUT/s", "QUEUE", "UPTIME"]
    assert shown.stdout[0].split() == head
    rows = {row["node"]: row for row in there.told("top", "--json", "--every", "1s", "--sort", "rate")}
    assert rows["ticker"]["went"] > 0
    assert rows["echo"]["memory"] > 1_000_000
    assert rows["echo"]["cpu"] >= 0


def test_top_is_readable_at_80_by_24_and_heeds_its_keys(there: Lab) -> None:
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(terminal)
    command = [
        sys.executable,
        "-m",
        "factory.cli.fleet",
        "--grid",
        str(there.grid),
        "top",
        "--every",
        "100ms",
    ]
    env = os.environ | there.env | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=env, start_new_session=True
    )
    try:
        text = until(screen, "by name")
        os.write(screen, b"m")
        text += until(screen, "by memory")
        os.write(screen, b" ")
        text += until(screen, "PAUSED")
        os.write(screen, b"q")
        assert process.wait(DEADLINE) == 0
        assert termios.tcgetattr(terminal) == before
    finally:
        process.kill()
        process.wait()
        os.close(screen)
        os.close(terminal)
    lines = [
        re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in re.split(r"[\r\n]+|\x1b\[[0-9;]*H", text)
    ]
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("q quit") for line in lines)


def until(screen: int, words: str) -> str:
    """Return what is shown until some words are."""
    text = ""
    end = time.monotonic() + DEADLINE
    while words not in text:
        left = end - time.monotonic()
        assert left > 0, text
        if select.select([screen], [], [], left)[0]:
            text += os.read(screen, 65536).decode(errors="replace")
    return text


def test_what_is_printed_is_json_for_programs(there: Lab) -> None:
    for verb in (["list"], ["ledger"], ["top"], ["graph", "--format", "json"]):
        arguments = verb if "--format" in verb else [*verb, "--json"]
        assert json.loads("\n".join(there.done(*arguments).stdout))
