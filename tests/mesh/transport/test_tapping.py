"""Taps and the transport that logs: on it before the first byte, off it while it runs."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as connect_plain

import mesh
from mesh.door import Door
from mesh.transport.base import Transport, TransportClosedError
from mesh.transport.logged import LoggingTransport
from mesh.transport.tapping import Tap, tap_of_process, tap_process
from tests.helpers.responder import RecordingResponder
from tests.helpers.transports import MESSAGES, STREAMS, Pair


def fixed() -> datetime:
    return datetime(2026, 1, 2, 8, 0, 1, 234567)  # noqa: DTZ001 - what a clock on the wall shows


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with MESSAGES["memory"](tmp_path, ()) as both:
        yield both


@pytest.fixture
def everything() -> Iterator[list[str]]:
    """Collect what a tap on the whole process is told."""
    lines: list[str] = []
    tap_process(Tap(lines.append, clock=fixed))
    yield lines
    tap_process(None)


def words(lines: list[str]) -> list[str]:
    """Return the lines without time and address."""
    found = [re.search(r" ([=<>]) .*? ((?:Connection|Sending|Received|Closing) .*)", line) for line in lines]
    return [f"{match[1]} {match[2]}" for match in found if match is not None]


@pytest.mark.source("D9", "D11")
async def test_it_tells_of_both_directions_with_time_and_size(pair: Pair) -> None:
    lines: list[str] = []
    near, far = LoggingTransport(pair[0], lines.append), pair[1]
    near._tap._clock = fixed  # type: ignore[union-attr]
    await near.send(b"hello")
    assert await far.recv() == b"hello"
    await far.send(b"\x00\x01")
    assert await near.recv() == b"\x00\x01"
    await near.close("enough")
    peer = near.peer
    assert lines == [
        f"[ wire ] 08:00:01.234567 > {peer} Sending data: 5 B 'hello'",
        f"[ wire ] 08:00:01.234567 < {peer} Received data: 2 B 00 01 |..|",
        f"[ wire ] 08:00:01.234567 = {peer} Closing transport: enough",
        f"[ wire ] 08:00:01.234567 = {peer} Connection over: closed from here",
    ]


class Notes:
    """A user of a transport that takes notes."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def messages_came(self, messages: list[bytes]) -> None:
        self.heard += messages

    def writing_resumed(self) -> None:
        self.heard.append("writable")

    def connection_ended(self, reason: str) -> None:
        self.heard.append(f"ended: {reason}")


@pytest.mark.source("D10")
async def test_every_public_method_works_on_the_one_that_logs(pair: Pair) -> None:
    far = pair[1]
    await far.send(b"early")
    logged = LoggingTransport(pair[0], print)
    called: set[str] = set()

    def call(name: str) -> object:
        called.add(name)
        return getattr(logged, name)

    assert call("peer") == pair[0].peer
    assert call("is_closing")() is False  # type: ignore[operator]
    assert call("ended") is None
    assert call("silence")() is not None  # type: ignore[operator]
    assert call("arrivals")() is None, "memory has no kernel that counts"  # type: ignore[operator]
    call("hasten")()  # type: ignore[operator]
    assert await call("recv")() == b"early"  # type: ignore[operator]
    await call("send")(b"one")  # type: ignore[operator]
    call("write")(b"two")  # type: ignore[operator]
    call("write_all")([b"three", b"four"])  # type: ignore[operator]
    assert [await far.recv() for _ in range(4)] == [b"one", b"two", b"three", b"four"]
    notes = Notes()
    call("start")(notes)  # type: ignore[operator]
    call("pause_reading")()  # type: ignore[operator]
    far.write(b"held back")
    for _ in range(3):
        await asyncio.sleep(0)
    assert notes.heard == []
    call("resume_reading")()  # type: ignore[operator]
    for _ in range(3):
        await asyncio.sleep(0)
    assert notes.heard == [b"held back"]
    call("tap")(None)  # type: ignore[operator]
    await call("close")("done")  # type: ignore[operator]
    assert call("is_closing")() is True  # type: ignore[operator]
    call("abort")()  # type: ignore[operator]
    assert notes.heard[1:] == ["ended: closed from here"]
    public = {name for name, _ in inspect.getmembers(Transport) if not name.startswith("_")}
    assert called == public, "a public method of Transport is not tried here"
    assert (logged.stats.messages_in, logged.stats.messages_out) == (2, 4)
    assert (logged.stats.bytes_in, logged.stats.bytes_out) == (14, 15)


@pytest.mark.source("D21")
async def test_what_was_there_before_it_was_wrapped_is_told_as_well(pair: Pair) -> None:
    await pair[1].send(b"first")
    await asyncio.sleep(0)
    lines: list[str] = []
    logged = LoggingTransport(pair[0], lines.append)
    assert await logged.recv() == b"first"
    assert "Received data: 5 B 'first'" in lines[0]


@pytest.mark.source("D21")
@pytest.mark.parametrize("kind", [*MESSAGES, *STREAMS])
async def test_a_tap_on_the_process_is_there_before_the_connection(
    kind: str, everything: list[str], tmp_path: Path
) -> None:
    async with {**MESSAGES, **STREAMS}[kind](tmp_path, ()) as (near, far):
        assert [line for line in words(everything) if "Connection open" in line] == ["= Connection open"] * 2
        near.write(b"hello")
        assert await far.recv() == b"hello"
        await near.close()
        with pytest.raises(TransportClosedError):
            await far.recv()
    said = words(everything)
    assert "> Sending data: 5 B 'hello'" in said
    assert "< Received data: 5 B 'hello'" in said
    assert said.index("> Sending data: 5 B 'hello'") < said.index("= Closing transport")
    assert len([line for line in said if "Connection over" in line]) == 2


async def test_a_tap_is_put_on_a_running_link_and_taken_away(pair: Pair) -> None:
    near, far = pair
    lines: list[str] = []
    more: list[str] = []
    near.write(b"unseen")
    tap = Tap(lines.append)
    near.tap(tap)
    near.write(b"seen")
    tap.add(more.append)
    near.write(b"seen by both")
    tap.remove(lines.append)
    tap.remove(print)
    assert not tap.is_idle
    near.write(b"seen by one")
    near.tap(None)
    near.write(b"unseen again")
    assert [await far.recv() for _ in range(5)][-1] == b"unseen again"
    assert [line.rpartition(" B ")[2] for line in lines] == ["'seen'", "'seen by both'"]
    assert [line.rpartition(" B ")[2] for line in more] == ["'seen by both'", "'seen by one'"]


async def test_a_sink_that_raises_is_told_no_more_and_harms_nobody(pair: Pair) -> None:
    lines: list[str] = []

    def broken(line: str) -> None:
        raise OSError("the disk is full")

    tap = Tap(broken, lines.append)
    pair[0].tap(tap)
    pair[0].write(b"one")
    pair[0].write(b"two")
    assert [await pair[1].recv(), await pair[1].recv()] == [b"one", b"two"]
    assert len(lines) == 2
    tap.remove(lines.append)
    assert tap.is_idle


# -- plain websocket clients ------------------------------------------------------------------


@pytest.mark.integration
async def test_plain_clients_are_told_of_on_both_sides(everything: list[str]) -> None:
    door = Door(RecordingResponder())
    await door.open("127.0.0.1", 0)
    try:
        async with connect_plain(f"ws://127.0.0.1:{door.port}/tick?token=abc") as client:
            await client.send('{"password": "hunter2"}')
            answer = await client.recv()
    finally:
        await door.close()
    said = words(everything)
    assert "?token=*** " in everything[0]
    assert said[:2] == ["= Connection open", "< Received data: 23 B '{\"password\": ***}'"]
    # It answered with what came.
    assert answer == '{"password": "hunter2"}'
    assert said[2] == "> Sending data: 23 B '{\"password\": ***}'"
    assert "hunter2" not in str(everything)
    assert "Connection over: the peer closed it (1000)" in said[-1]


@pytest.mark.integration
async def test_dialled_plain_servers_are_told_of(everything: list[str]) -> None:
    door = Door(RecordingResponder())  # without links, so that it is a plain server
    await door.open("127.0.0.1", 0)
    try:
        node = mesh.Node("far", "127.0.0.1", door.port)
        async with mesh.connect(node) as peer:
            await peer.request("hi", "tick")
    finally:
        await door.close()
    said = words(everything)
    # Each end tells of the message, and of the answer, which is the same.
    assert said.count("> Sending data: 2 B 'hi'") == 2
    assert said.count("< Received data: 2 B 'hi'") == 2


def test_nothing_is_tapped_unless_asked_for() -> None:
    assert tap_of_process() is None
    assert logging.getLogger("mesh.wire").handlers == []
