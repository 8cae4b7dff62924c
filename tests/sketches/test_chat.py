"""The chat sketch as people use it: on a terminal, and with what is piped in."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.helpers.clients import serving_port
from tests.helpers.ports import free_ports
from tests.helpers.proc import DEADLINE, LAUNCHER, ROOT, Proc, arduino
from tests.helpers.terminal import Terminal

pytestmark = [pytest.mark.integration, pytest.mark.fleet, pytest.mark.timeout(90)]


@contextmanager
def rooms(*options: str) -> Iterator[int]:
    with arduino("rooms", "--port", "0", *options) as server:
        yield serving_port(server)


def chat(port: int, *options: str) -> Terminal:
    return Terminal(sys.executable, LAUNCHER, "chat", "--port", port, *options)


def piped(port: int, text: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(LAUNCHER), "chat", "--port", str(port), *options]
    return subprocess.run(
        command, input=text, capture_output=True, timeout=2 * DEADLINE, cwd=ROOT, check=False
    )


def listener(port: int, name: str = "bob") -> Proc:
    """Somebody in the lobby who says nothing."""
    return arduino("chat", "--port", str(port), "--username", name, interactive=True)


def test_what_is_piped_in_is_accepted_before_it_leaves() -> None:
    with rooms() as port, listener(port) as bob:
        bob.wait_for("you are in")
        ended = piped(port, b"hello\n\xff\xfe\x1b[2J\n\nbye", "--username", "ann")
        assert ended.returncode == 0, ended
        assert ended.stdout.decode().splitlines() == [
            "* connected as ann",
            "lobby | you are in, with bob",
            "lobby | ann: hello  [accepted]",
            "lobby | ann: \\xff\\xfe\\x1b[2J  [accepted]",
            "lobby | ann: bye  [accepted]",
        ]
        bob.wait_for(r"lobby \| ann left")
        assert bob.stdout[2:] == [
            "lobby | ann joined",
            "lobby | ann: hello",
            "lobby | ann: \\xff\\xfe\\x1b[2J",
            "lobby | ann: bye",
            "lobby | ann left",
        ]
        bob.end_input()
        assert bob.wait() == 0


def test_who_pipes_in_what_is_refused_is_told_by_the_exit_code() -> None:
    with rooms("--message", "3") as port:
        ended = piped(port, b"1234\n123\n", "--username", "ann")
    assert ended.returncode == 1
    assert b"NOT accepted: the message has 4 characters" in ended.stdout
    assert b"1 of the messages were not accepted" in ended.stderr


def test_without_a_terminal_a_name_is_needed() -> None:
    ended = piped(1, b"hello\n")
    assert ended.returncode == 2
    assert b"say --username NAME" in ended.stderr


def test_a_server_that_is_not_there_is_told_once_and_waited_for() -> None:
    (port,) = free_ports(1)
    with listener(port) as bob:
        bob.type("first\n")
        bob.wait_for(rf"no server at ws://localhost:{port}/? \(nobody listens there\); trying again")
        with arduino("rooms", "--port", str(port)):
            bob.wait_for(r"bob: first  \[accepted; nobody else is here\]")
            bob.end_input()
            assert bob.wait() == 0
    assert bob.count("no server") == 1


def test_ctrl_c_ends_it_while_there_is_no_server() -> None:
    (port,) = free_ports(1)
    with listener(port) as bob:
        bob.wait_for("no server")
        assert bob.stop(signal.SIGINT) == 0


def test_what_listens_there_but_is_no_room_is_told() -> None:
    with arduino("echo", "--port", "0") as echo:
        port = serving_port(echo)
        with listener(port) as bob:
            bob.wait_for(r"the server said something unknown: You sent")


@pytest.mark.parametrize("goodbye", ["\x04", "/quit\r", "\x03"], ids=["ctrl-d", "quit", "ctrl-c"])
def test_on_a_terminal_the_name_is_asked_for_and_nothing_tears_what_is_typed(goodbye: str) -> None:
    with rooms() as port, chat(port) as ann:
        ann.shows("your name:")
        ann.type("ann\r")
        ann.shows("you are in, with nobody else")
        ann.prompts()
        ann.type("half a sen")
        ann.shows("half a sen")
        assert piped(port, b"do I disturb?\n", "--username", "bob").returncode == 0
        ann.shows("lobby | bob: do I disturb?")
        ann.shows("lobby | bob left")
        ann.prompts()
        ann.shows("half a sen")  # the prompt and what was typed are shown anew, below
        ann.type("tence\r")
        ann.shows("ann: half a sentence  [accepted; nobody else is here]")
        ann.prompts()
        ann.type("\x1b[A")  # what was said before comes back with the arrow
        ann.shows("half a sentence")
        ann.type("\x15/jo")  # Ctrl-U forgets it again
        ann.shows("/jo")
        ann.type("\t")
        ann.shows("in")  # Tab completes
        ann.type(" garden\r")
        ann.shows("garden | you are in")
        ann.prompts()
        ann.type(goodbye)
        assert ann.ends() == 0


def test_who_leaves_before_the_server_is_there_is_told_what_was_not_said() -> None:
    (port,) = free_ports(1)
    with chat(port, "--username", "ann") as ann:
        ann.shows("no server at")
        ann.prompts()
        ann.type("hello?\r")
        ann.prompts()
        ann.type("\x04")
        ann.shows("ann: hello?  [NOT accepted: it was never sent]")
        assert ann.ends() == 0


def test_a_name_that_is_taken_is_asked_for_again() -> None:
    with rooms() as port, listener(port) as bob:
        bob.wait_for("you are in")
        with chat(port, "--username", "bob") as other:
            other.shows("type another one")
            other.prompts()
            other.type("carl\r")
            other.shows("you are in, with bob")
            other.prompts()
            other.type("\x04")
            assert other.ends() == 0
