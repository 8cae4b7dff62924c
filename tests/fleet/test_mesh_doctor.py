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

from tests.helpers.lab import Lab, eventually, lab
from tests.helpers.meshes import done, mesh, told, write_fleet
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, ROOT, Proc, finished

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


def shown(proc: Proc) -> tuple[int, list[str], list[str]]:
    """Return how a command has ended, and what it has printed."""
    return proc.process.returncode, proc.stdout, proc.stderr


def codes(found: Lab) -> list[tuple[str, str]]:
    document = found.told("doctor", "--json", code=1)
    assert not document["ok"]
    return [(one["code"], one["node"]) for one in document["findings"]]


def test_a_node_that_is_down_and_what_to_type(there: Lab) -> None:
    lines = ["M2  spare is down", "    next: mesh up -d"]
    eventually(lambda: there.done("doctor", code=1).stdout, lines)
    assert there.done("doctor", code=1).stderr == ["`mesh doctor --explain M2` tells more"]


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
        eventually(lambda: codes(found), [("M7", "spare")])
        found.run("spare", "Echo")
        eventually(lambda: codes(found), [("M7", "spare"), ("M6", "spare")])


def test_nothing_is_wrong() -> None:
    with lab() as found:
        for name, sketch in (("echo", "Echo"), ("ticker", "Ticker"), ("spare", "Echo")):
            found.run(name, sketch)
        found.wait_until_answered()
        nothing: tuple[int, list[str], list[str]] = (0, ["nothing is wrong with 3 nodes"], [])
        eventually(lambda: shown(finished(found.mesh("doctor"))), nothing)
        eventually(
            lambda: shown(finished(found.mesh("doctor", "--json")))[1],
            [json.dumps({"ok": True, "nodes": 3, "findings": []})],
        )


def test_something_else_has_the_address_of_a_node() -> None:
    with lab() as found, serve(lambda _: None, "localhost", found.ports["spare"]) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            eventually(lambda: ("M8", "spare") in codes(found), True)
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
        eventually(
            lambda: [
                (one["code"], one["node"], one["next"])
                for one in told("doctor", "--json", "--grid", grid, code=1)["findings"]
            ],
            [("M9", "crash", "mesh logs --node crash --tail 20")],
        )


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

    def measured() -> bool:
        rows = {row["node"]: row for row in there.told("top", "--json", "--every", "1s", "--sort", "rate")}
        ticker, echo = rows["ticker"], rows["echo"]
        if None in (ticker["went"], echo["memory"], echo["cpu"]):
            return False
        return bool(ticker["went"] > 0 and echo["memory"] > 1_000_000 and echo["cpu"] >= 0)

    eventually(measured, True)


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
