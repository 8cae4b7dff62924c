"""Two people use the rooms for an evening: one at a terminal, one in a browser, and not all goes well."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import RequireTool
from tests.helpers.browser import Browser, Tab
from tests.helpers.cable import Cable
from tests.helpers.clients import serving_port
from tests.helpers.ports import free_ports
from tests.helpers.proc import LAUNCHER, Proc, arduino
from tests.helpers.terminal import Terminal

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(180)]


@dataclass
class Evening:
    """Ann at a terminal and bob in a browser, both in the lobby."""

    server: Proc
    ann: Terminal
    bob: Tab
    anns: Cable
    bobs: Cable

    def ann_says(self, *messages: str) -> None:
        for message in messages:
            self.ann.type(f"{message}\r")
            self.ann.shows(f"ann: {message}  [accepted")
            self.ann.prompts()

    def bob_says(self, *messages: str) -> None:
        for message in messages:
            self.bob.type("#text", message)
        self.bob.until(f"document.querySelectorAll('.own.accepted').length >= {len(messages)}")

    def both_talk(self, word: str) -> None:
        self.ann_says(f"{word} from ann")
        self.bob.shows(f"{word} from ann")
        self.bob_says(f"{word} from bob")
        self.ann.shows(f"bob: {word} from bob")
        self.ann.prompts()

    def part(self) -> None:
        self.ann.type("/quit\r")
        assert self.ann.ends() == 0
        self.bob.shows("ann left")
        assert self.bob.problems == []

    def ann_read(self) -> list[str]:
        """Return what bob said, as it appeared at ann's terminal."""
        return re.findall(r"lobby \| bob: ([^\r\n]*)", self.ann.shown.decode())

    def bob_read(self) -> list[str]:
        """Return what ann said, as it appears in bob's browser."""
        said = self.bob.get(
            "[...document.querySelectorAll('#log li:not(.own):not(.note)')].map(li => li.childNodes[2].data)"
        )
        return list(said)


@contextmanager
def evening(program: str, folder: Path) -> Iterator[Evening]:
    (port,) = free_ports(1)
    with (
        Cable(port) as anns,
        Cable(port) as bobs,
        serving(port) as server,
        Browser(program, folder) as browser,
        Terminal(sys.executable, LAUNCHER, "chat", "--port", anns.port, "--username", "ann") as ann,
    ):
        ann.shows("you are in, with nobody else")
        bob = browser.open(f"http://localhost:{bobs.port}/", 390, 844)
        bob.type("#username", "bob")
        bob.shows("You are in lobby.")
        ann.shows("bob joined")
        ann.prompts()
        yield Evening(server, ann, bob, anns, bobs)


@contextmanager
def serving(port: int) -> Iterator[Proc]:
    with arduino("rooms", "--port", str(port)) as server:
        assert serving_port(server) == port
        yield server


@pytest.fixture
def chromium(require_tool: RequireTool) -> str:
    return require_tool("chromium", package="chromium")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_is_restarted_under_them(chromium: str, tmp_path: Path, how: signal.Signals) -> None:
    with evening(chromium, tmp_path) as them:
        port = serving_port(them.server)
        them.both_talk("before")
        them.server.stop(how)
        them.ann.shows("the connection is lost; trying to get it back")
        them.ann.prompts()
        them.bob.shows("It comes back by itself")
        # Who does not know of it, or does not care, types on.
        them.ann.type("typed meanwhile\r")
        them.ann.shows("[waits for the server]")
        them.ann.prompts()
        with serving(port):
            them.ann.shows("connected again as ann")
            them.ann.shows("ann: typed meanwhile  [accepted")
            them.bob.until("document.querySelector('#state').hidden")
            them.bob.until("document.querySelector('#where').textContent == '2 in lobby'")
            them.both_talk("after")
            assert them.ann_read() == ["before from bob", "after from bob"]
            read = them.bob_read()
            assert [read[0], read[-1]] == ["before from ann", "after from ann"]
            them.part()


def test_the_lid_of_the_terminal_is_closed_and_opened(chromium: str, tmp_path: Path) -> None:
    with evening(chromium, tmp_path) as them:
        them.both_talk("before")
        os.kill(them.ann.pid, signal.SIGSTOP)
        them.anns.cut()
        them.bob.shows("ann is away")
        wanted = [f"meanwhile {n}" for n in range(20)]
        them.bob_says(*wanted)
        os.kill(them.ann.pid, signal.SIGCONT)
        them.ann.shows("connected again as ann")
        them.ann.shows("bob: meanwhile 19")
        them.ann.prompts()
        them.bob.shows("ann is back")
        them.both_talk("after")
        assert them.ann_read() == ["before from bob", *wanted, "after from bob"]
        them.part()


def test_the_terminal_sleeps_and_its_connection_survives(chromium: str, tmp_path: Path) -> None:
    with evening(chromium, tmp_path) as them:
        os.kill(them.ann.pid, signal.SIGSTOP)
        wanted = [f"meanwhile {n}" for n in range(20)]
        them.bob_says(*wanted)
        os.kill(them.ann.pid, signal.SIGCONT)
        them.ann.shows("bob: meanwhile 19")
        them.ann.prompts()
        assert them.ann_read() == wanted
        assert them.ann.count("connected again") == 0
        them.part()


@pytest.mark.parametrize("is_noticed", [True, False], ids=["cut", "dead"])
def test_the_lid_of_the_browser_is_closed_and_opened(chromium: str, tmp_path: Path, is_noticed: bool) -> None:
    """Dead: neither end knows, and what is said goes into a connection that carries nothing."""
    with evening(chromium, tmp_path) as them:
        them.both_talk("before")
        if is_noticed:
            them.bobs.cut()
        else:
            them.bobs.die()
        wanted = [f"meanwhile {n}" for n in range(10)]
        them.ann_says(*wanted)
        them.bob.get("dispatchEvent(new Event('online'))")
        them.bob.shows("meanwhile 9")
        them.both_talk("after")
        assert them.bob_read() == ["before from ann", *wanted, "after from ann"]
        them.part()
