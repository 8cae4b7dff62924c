"""The page of the rooms in real headless Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.conftest import RequireTool
from tests.helpers.browser import Browser, Tab
from tests.helpers.clients import client, serving_port
from tests.helpers.proc import DEADLINE, arduino

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(120)]


class Bob:
    """Somebody else in the room, with nothing but a websocket."""

    def __init__(self, port: int, *rooms: str) -> None:
        self._held = ExitStack()
        self._socket = self._held.enter_context(client(port))
        self.say("connect", username="bob")
        for room in rooms:
            self.say("joinroom", room=room)

    def say(self, action: str, **fields: object) -> None:
        self._socket.send(json.dumps({"action": action, **fields}))

    def chat(self, *messages: str, room: str = "lobby") -> None:
        for message in messages:
            self.say("chat", room=room, message=message)

    def hears(self, message: str) -> None:
        while json.loads(self._socket.recv(DEADLINE)).get("message") != message:
            pass

    def close(self) -> None:
        self._held.close()


@contextmanager
def page(program: str, folder: Path, *rooms: str, width: int = 390) -> Iterator[tuple[Tab, Bob]]:
    """Ann in the lobby, in a browser, and bob in some rooms."""
    with arduino("rooms", "--port", "0", "--rate", "1000") as server, Browser(program, folder) as browser:
        port = serving_port(server)
        bob = Bob(port, *rooms)
        tab = browser.open(f"http://localhost:{port}/", width, 844)
        tab.type("#username", "ann")
        tab.shows("You are in lobby.")
        yield tab, bob
        assert tab.problems == []
        bob.close()


@pytest.fixture
def chromium(require_tool: RequireTool) -> str:
    return require_tool("chromium", package="chromium")


def test_the_page_comes_with_a_strict_policy() -> None:
    with arduino("rooms", "--port", "0") as server:
        at = f"http://localhost:{serving_port(server)}/"
        for name in ("", "index.html", "page.js", "page.css", "rooms.js"):
            with urlopen(at + name) as answer:
                policy = answer.headers["Content-Security-Policy"]
                body = answer.read().decode()
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "innerHTML" not in body


def test_two_talk_and_what_is_written_is_never_html(chromium: str, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)><b>bold</b>"
    with page(chromium, tmp_path, "lobby") as (tab, bob):
        bob.chat(evil)
        tab.shows(evil)
        assert tab.get("document.querySelectorAll('#log img, #log b').length") == 0
        tab.type("#text", "hello <i>bob</i>")
        bob.hears("hello <i>bob</i>")
        tab.until("document.querySelector('.own.accepted')")
        tab.shows("✓")
        tab.type("#text", "x" * 5000)
        tab.shows("Not accepted: the message has 5000 characters; 4096 are the most")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen_and_everything_can_be_touched(
    chromium: str, tmp_path: Path, width: int
) -> None:
    with page(chromium, tmp_path, "lobby", width=width) as (tab, bob):
        bob.chat("w" * 3000)
        tab.shows("www")
        assert tab.get("document.documentElement.scrollWidth <= innerWidth")
        assert tab.get(
            "document.querySelector('#log').scrollWidth <= document.querySelector('#log').clientWidth"
        )
        small = "e.offsetHeight && e.offsetHeight < 44"
        assert tab.get(f"[...document.querySelectorAll('button, input')].filter(e => {small}).length") == 0
        unnamed = "e.offsetHeight && !e.ariaLabel && !e.textContent.trim() && !e.labels?.length"
        assert tab.get(f"[...document.querySelectorAll('button, input')].filter(e => {unnamed}).length") == 0


def test_rooms_are_tabs_that_count_what_was_not_read(chromium: str, tmp_path: Path) -> None:
    with page(chromium, tmp_path, "lobby", "garden") as (tab, bob):
        tab.click("#add")
        tab.type("#room", "garden")
        tab.shows("You are in garden.")
        bob.chat("one", "two")
        tab.until("document.title == '(2) garden'")
        tab.until("document.querySelector('[aria-label=\"lobby, 2 unread\"]')")
        tab.click('[aria-label="lobby, 2 unread"]')
        tab.shows("two")
        tab.until("document.title == 'lobby'")
        tab.click("#people")
        tab.shows("ann (you)")
        tab.shows("bob")
        tab.click("#leave")
        tab.until("document.title == 'garden'")


def test_the_keyboard_of_a_phone_hides_nothing(chromium: str, tmp_path: Path) -> None:
    with page(chromium, tmp_path, "lobby") as (tab, bob):
        bob.chat(*(f"line {n}" for n in range(60)))
        tab.shows("line 59")
        tab.call(
            "Emulation.setDeviceMetricsOverride", width=390, height=420, deviceScaleFactor=1, mobile=True
        )
        tab.until("document.querySelector('#say').getBoundingClientRect().bottom <= visualViewport.height")
        log = "document.querySelector('#log')"
        tab.until(f"{log}.scrollTop + {log}.clientHeight > {log}.scrollHeight - 5")
        tab.type("#text", "still to be seen")
        bob.hears("still to be seen")
        assert tab.get("document.activeElement.id") == "text"


def test_a_second_tab_with_the_same_session_does_not_fight_for_it(chromium: str, tmp_path: Path) -> None:
    """As a tab has it that was duplicated."""
    with arduino("rooms", "--port", "0") as server, Browser(chromium, tmp_path) as browser:
        url = f"http://localhost:{serving_port(server)}/"
        first = browser.open(url)
        first.type("#username", "ann")
        first.shows("You are in lobby.")
        saved = first.get("sessionStorage.getItem('rooms')")
        second = browser.open(url)
        second.get(f"sessionStorage.setItem('rooms', {json.dumps(saved)})")
        second.get("void (Storage.prototype.setItem = () => {})")  # or the page would save its own
        second.call("Page.reload")
        first.shows("Not connected: you are connected from elsewhere")
        second.until("document.querySelector('#where').textContent == '1 in lobby'")
        first.click("#state button")
        first.until("document.querySelector('#state').hidden")
        second.shows("Not connected: you are connected from elsewhere")


def test_who_reads_further_up_stays_there(chromium: str, tmp_path: Path) -> None:
    with page(chromium, tmp_path, "lobby") as (tab, bob):
        bob.chat(*(f"line {n}" for n in range(60)))
        tab.shows("line 59")
        log = "document.querySelector('#log')"
        tab.until(f"{log}.scrollTop + {log}.clientHeight > {log}.scrollHeight - 5")
        tab.get(f"new Promise(done => {{ {log}.addEventListener('scroll', done); {log}.scrollTop = 100 }})")
        bob.chat("news")
        tab.shows("1 new")
        assert tab.get(f"{log}.scrollTop") == 100
        tab.click("#newer")
        tab.until(f"{log}.scrollTop + {log}.clientHeight > {log}.scrollHeight - 5")
        tab.until("document.querySelector('#newer').hidden")


def test_after_a_reload_everything_is_there_and_what_was_missed_as_well(
    chromium: str, tmp_path: Path
) -> None:
    with page(chromium, tmp_path, "lobby") as (tab, bob):
        bob.chat("before")
        tab.shows("before")
        tab.call("Page.navigate", url="about:blank")
        tab.until("location.href == 'about:blank'")
        bob.chat("meanwhile")
        tab.get("history.back()")
        tab.shows("meanwhile")
        assert tab.text.index("before") < tab.text.index("meanwhile")
        assert tab.text.count("before") == tab.text.count("meanwhile") == 1


def test_a_name_that_is_taken_is_told_at_the_door(chromium: str, tmp_path: Path) -> None:
    with arduino("rooms", "--port", "0") as server, Browser(chromium, tmp_path) as browser:
        port = serving_port(server)
        bob = Bob(port, "lobby")
        tab = browser.open(f"http://localhost:{port}/?room=garden")
        tab.type("#username", "b\u043eb")
        tab.shows("mixes")
        tab.type("#username", "bob")
        tab.shows("the name 'bob' is taken")
        tab.type("#username", "carl")
        tab.shows("You are in garden.")
        bob.close()
