"""File descriptors: the limit is raised, clients leave some to others, and a shortage is one line."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import resource
import socket
import sys
from contextlib import ExitStack
from typing import Any

import pytest

from mesh import descriptors
from mesh.descriptors import Hush, raise_limit, reserve
from tests.helpers.proc import DEADLINE, Proc, finished
from tests.helpers.responder import RecordingResponder, open_door

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("limit", "kept"), [(20_000, 64), (1024, 64), (128, 64), (60, 30), (1, 0)])
def test_the_reserve_leaves_room_for_clients(limit: int, kept: int) -> None:
    assert reserve(limit) == kept


def test_the_soft_limit_becomes_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [256, 4096]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: now.__setitem__(slice(None), limits))
    assert raise_limit() == 4096
    assert now == [4096, 4096]
    assert raise_limit() == 4096


def test_an_infinite_limit_that_the_kernel_does_not_grant_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    infinite = resource.RLIM_INFINITY
    tried = []

    def setrlimit(_: int, limits: tuple[int, int]) -> None:
        tried.append(limits)
        if limits[0] > 10_240:
            raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, infinite))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    assert raise_limit() == 10_240
    assert tried[-1] == (10_240, infinite)


def test_no_limit_stays_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert raise_limit() is None


def shortage() -> dict[str, Any]:
    """Return what asyncio tells its handler when it cannot accept."""
    return {
        "message": "socket.accept() out of system resource",
        "exception": OSError(errno.EMFILE, "Too many open files"),
    }


async def test_a_shortage_is_one_line_for_each_episode(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    ahead, clock = 0.0, loop.time
    monkeypatch.setattr(loop, "time", lambda: clock() + ahead)
    async with open_door(RecordingResponder()):
        for _ in range(2):
            for _ in range(1000):
                loop.call_exception_handler(shortage())
            ahead += 3600
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].startswith("cannot take more connections just now (too many open files)")


async def test_other_errors_go_where_they_went_before_and_the_handler_is_given_back() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []

    def mine(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        told.append(context)

    loop.set_exception_handler(mine)
    async with open_door(RecordingResponder()):
        async with open_door(RecordingResponder()):
            loop.call_exception_handler(other := {"message": "else", "exception": OSError(errno.EIO, "x")})
        assert told == [other]
        loop.call_exception_handler(shortage())
        assert told == [other]
    # asyncio still has its next try to make, on a socket that is closed.
    assert loop.get_exception_handler() != mine
    Hush.of(loop)._restore(loop)
    assert loop.get_exception_handler() == mine


async def test_without_a_shortage_the_handler_is_given_back_at_once() -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    async with open_door(RecordingResponder()):
        assert loop.get_exception_handler() != before
    assert loop.get_exception_handler() == before


async def test_a_real_shortage_of_asyncio_is_understood(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also that the try after the end, on a closed socket, is not heard of.
    monkeypatch.setattr("asyncio.constants.ACCEPT_RETRY_DELAY", 0.05)
    monkeypatch.setattr(descriptors, "RETRY", 60.0)
    caplog.set_level(logging.WARNING)

    def no_more(self: socket.socket) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "accept", no_more)
    async with open_door(RecordingResponder()) as door:
        with socket.create_connection(("127.0.0.1", door.port)):
            await asyncio.sleep(0.2)
    await asyncio.sleep(0.2)
    assert [record.name for record in caplog.records] == ["mesh.descriptors"]


WITH_60 = """
import asyncio, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
from mesh.door import Door

class Echo:
    def client_opened(self, client): pass
    def client_closed(self, client, reason): pass
    async def answer(self, client, message): return message

async def main():
    door = Door(Echo())
    await door.open("localhost", 0)
    print("port", door.port, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print("turned away", sum(door.turned_away.values()), flush=True)
    await door.close()

asyncio.run(main())
"""


@pytest.mark.fleet
def test_150_clients_on_60_descriptors_make_no_noise() -> None:
    with ExitStack() as stack:
        worker = stack.enter_context(Proc(sys.executable, "-c", WITH_60, interactive=True))
        port = int(worker.wait_for(r"port (\d+)")[1])
        clients = []
        for _ in range(150):
            clients.append(one := stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            one.settimeout(DEADLINE)
            one.sendall(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
        heads = [first_bytes(one) for one in clients]
        let_in = heads.count(b"HTTP/1.1 101")
        assert let_in == 30
        assert set(heads) <= {b"HTTP/1.1 101", b"HTTP/1.1 503", b""}
        worker.type("\n")
        assert worker.wait_for(r"turned away (\d+)")[1] == str(150 - let_in)
        assert worker.wait() == 0
        assert len(worker.stderr) <= 1, worker  # where they all knock in one turn


def first_bytes(one: socket.socket) -> bytes:
    try:
        return one.recv(12)
    except ConnectionResetError:
        return b""


def test_the_limit_is_raised_in_a_process_of_its_own() -> None:
    code = (
        "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (100, 300)); "
        "from mesh.descriptors import raise_limit; print(raise_limit(), r.getrlimit(r.RLIMIT_NOFILE))"
    )
    proc = finished(Proc(sys.executable, "-c", code))
    assert re.fullmatch(r"300 \(300, 300\)", proc.stdout[0])
