"""The clients of the chat server, row by row of section E; the other rows are in test_e.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import RequireTool
from tests.helpers.browser import Browser
from tests.helpers.certificates import make
from tests.helpers.clients import client, serving_port
from tests.helpers.doc_blocks import blocks
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, LAUNCHER, ROOT, arduino
from tests.helpers.terminal import Terminal

pytestmark = [pytest.mark.integration, pytest.mark.fleet, pytest.mark.timeout(90)]


@contextmanager
def rooms() -> Iterator[int]:
    with arduino("rooms", "--port", "0") as server:
        yield serving_port(server)


@pytest.mark.source("E24")
def test_e24_the_chapter_shows_the_client_first_then_protocol_server_and_shutdown() -> None:
    """That each of its blocks does what it says is proved with all other documents."""
    page = ROOT / "docs" / "tutorial" / "9-the-rooms.md"
    headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == ["The client", "The protocol", "The server", "The end"]
    assert any("stop" in block.notes for block in blocks(page))


@pytest.mark.source("E25")
def test_e25_a_terminal_and_a_window_talk_to_each_other(tmp_path: Path, require_tool: RequireTool) -> None:
    program = require_tool("chromium", package="chromium")
    with (
        rooms() as port,
        Terminal(sys.executable, LAUNCHER, "chat", "--port", port, "--username", "ann") as ann,
        Browser(program, tmp_path) as browser,
    ):
        ann.shows("you are in, with nobody else")
        window = browser.open(f"http://localhost:{port}/")
        window.type("#username", "bob")
        window.shows("You are in lobby.")
        ann.shows("bob joined")
        ann.prompts()
        ann.type("hello\r")
        ann.shows("ann: hello  [accepted]")
        window.shows("hello")
        window.type("#text", "hi ann")
        ann.shows("lobby | bob: hi ann")


@pytest.mark.source("E17", "E25")
def test_e17_both_clients_come_in_over_tls(tmp_path: Path, require_tool: RequireTool) -> None:
    """The terminal by the authority of the grid; the browser has no such file, and is told to trust it."""
    program = require_tool("chromium", package="chromium")
    tls = make(tmp_path)
    (port,) = free_ports(1)
    grid = tmp_path / "grid.yaml"
    grid.write_text(
        "nodes:\n"
        "  rooms:\n"
        f"    port: {port}\n"
        f"    tls: {{cert: {tls.cert}, key: {tls.key}, authority: {tls.authority}}}\n"
    )
    with (
        arduino("rooms", env={"MESH_GRID": str(grid)}) as server,
        Browser(program, tmp_path, "--ignore-certificate-errors") as browser,
    ):
        server.wait_for("serving on .* with TLS")
        window = browser.open(f"https://localhost:{port}/")
        window.type("#username", "bob")
        window.shows("You are in lobby.")
        with arduino("chat", "--username", "ann", env={"MESH_GRID": str(grid)}, interactive=True) as ann:
            ann.type("hello\n")
            ann.wait_for(r"lobby \| ann: hello  \[accepted\]")
            window.shows("hello")
            ann.end_input()
            assert ann.wait() == 0


@pytest.mark.source("E26")
def test_e26_the_recipe_in_javascript_does_what_the_one_in_python_does(
    tmp_path: Path, require_tool: RequireTool
) -> None:
    """The one in Python is run with all other documents."""
    program = require_tool("chromium", package="chromium")
    page = ROOT / "docs" / "howto" / "chat-clients.md"
    generator, loop = (block.text for block in blocks(page) if block.language == "js")
    with rooms() as port, Browser(program, tmp_path) as browser, client(port) as bob:
        loop = loop.replace("8710", str(port))
        assert str(port) in loop
        tab = browser.open(f"http://localhost:{port}/")
        tab.get(f"void (async () => {{ {generator} {loop} }})()")
        for command in (
            {"action": "connect", "username": "bob"},
            {"action": "joinroom", "room": "lobby"},
        ):
            bob.send(json.dumps(command))
        heard: dict[str, object] = {}
        while heard.get("username") != "cat" and '"cat"' not in json.dumps(heard):
            heard = json.loads(bob.recv(DEADLINE))
        bob.send(json.dumps({"action": "chat", "room": "lobby", "message": "hello"}))
        while heard.get("action") != "chat":
            heard = json.loads(bob.recv(DEADLINE))
        assert (heard["from"], heard["message"]) == ("cat", "bob, you said hello")


@pytest.mark.source("E27")
def test_e27_it_reads_and_prompts_at_once_with_nothing_but_python(tmp_path: Path) -> None:
    """Without prompt-toolkit, on a terminal; that nothing is torn with it, tests/sketches proves."""
    (tmp_path / "prompt_toolkit.py").write_text("raise ImportError('it is not installed')\n")
    command = [sys.executable, str(LAUNCHER), "chat", "--username", "ann", "--port"]
    with rooms() as port, Terminal("/usr/bin/env", f"PYTHONPATH={tmp_path}", *command, port) as ann:
        ann.shows("you are in, with nobody else")
        ann.type("hal")
        bob = [*command[:3], "--username", "bob", "--port", str(port)]
        said = subprocess.run(
            bob, input=b"hello\n", capture_output=True, timeout=DEADLINE, check=True, cwd=ROOT
        )
        assert b"[accepted]" in said.stdout
        ann.shows("lobby | bob: hello")
        ann.type("lo\n")
        ann.shows("lobby | ann: hallo  [accepted")
        ann.type("\x04")
        assert ann.ends() == 0
        assert ann.count("\x1b[") == 0
