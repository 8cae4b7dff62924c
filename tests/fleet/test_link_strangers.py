"""Peers that speak garbage, flood, or say nothing: the worker lives and others never notice."""

from __future__ import annotations

import os
import random
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from factory.worker import DRAIN
from mesh.links.hub import HELLO_TIMEOUT
from mesh.protocol.link.records import SUBPROTOCOL
from tests.helpers.clients import client, serving_port
from tests.helpers.link_fleet import RawLink, end_steady, ledger, rss, start_sink, steady
from tests.helpers.proc import DEADLINE, Proc
from tests.helpers.raw import handshake
from tests.helpers.raw_peer import TERMS

pytestmark = pytest.mark.fleet

MIB = 2**20
OFFER = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}"
HELLO = msgspec.msgpack.encode([[0, TERMS]])


def masked(opcode: int, payload: bytes, *, length: int | None = None) -> bytes:
    """Return a websocket frame of a client; its header may lie about the length."""
    length = len(payload) if length is None else length
    if length < 126:
        size = bytes([0x80 | length])
    else:
        size = struct.pack(">BH", 0xFE, length) if length <= 0xFFFF else struct.pack(">BQ", 0xFF, length)
    return bytes([0x80 | opcode]) + size + bytes(4) + payload


def dialled(port: int, *, link: bool = True, path: str = "/") -> socket.socket:
    """Return a bare socket that is through with the websocket handshake."""
    sock = socket.create_connection(("127.0.0.1", port), DEADLINE)
    sock.sendall(handshake(path, *([OFFER] if link else [])))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert b" 101 " in head.splitlines()[0]
    return sock


def read_all(sock: socket.socket) -> bytes:
    """Return what comes until the worker closes."""
    received = b""
    with suppress(ConnectionError):
        while data := sock.recv(65536):
            received += data
    return received


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Proc]:
    with start_sink(tmp_path) as proc:
        serving_port(proc)
        yield proc


def is_well(sink: Proc, port: int) -> None:
    with client(port, "same") as websocket:
        websocket.send("alive")
        assert websocket.recv(DEADLINE) == "alive"
    ledger(port)
    assert sink.process.poll() is None


def refused(link: RawLink) -> list[str]:
    """Return code and reason of the REFUSED that comes, after which the connection ends."""
    ((kind, *words),) = link.next_records()
    assert kind == 2
    with pytest.raises(ConnectionClosed):
        link.websocket.recv(DEADLINE)
    return [str(word) for word in words]


GARBAGE: dict[str, Callable[[], str | bytes]] = {
    "random bytes": lambda: random.Random(1).randbytes(300),
    "text": lambda: "HELLO",
    "nothing": lambda: b"",
    "heartbeat": lambda: b"\x90",
    "truncated": lambda: HELLO[:-1],
    "more behind it": lambda: HELLO + b"\x00",
    "deep": lambda: b"\x91" * 100_000,
    "huge count": lambda: b"\x91\x95\x03\xa1x\x01\x01\xdd\xff\xff\xff\xff",
    "data first": lambda: msgspec.msgpack.encode([[3, "numbers", 1, 1, ["1"]]]),
    "hello and more": lambda: msgspec.msgpack.encode([[0, TERMS], [7, "bye"]]),
    "long": lambda: bytes(MIB),
}


@pytest.mark.parametrize("what", [*GARBAGE])
def test_garbage_in_place_of_hello_is_refused(sink: Proc, what: str) -> None:
    port, mark = serving_port(sink), sink.mark
    with RawLink(port) as link:
        link.websocket.send(GARBAGE[what]())
        assert refused(link)[0] == "protocol"
    is_well(sink, port)
    said = [line.text for line in sink.lines[mark:] if "path=/same" not in line.text]
    assert len([line for line in said if "done processing" not in line]) == 0, sink


@pytest.mark.usefixtures("each_loop")
@pytest.mark.parametrize("what", [*GARBAGE])
def test_garbage_after_the_handshake_ends_the_session(sink: Proc, what: str, tmp_path: Path) -> None:
    port = serving_port(sink)
    with steady(tmp_path, port) as other:
        mark = sink.mark
        with RawLink(port) as link:
            assert link.hello()[0] == 1
            link.websocket.send(GARBAGE[what]())
            if what == "data first":
                assert link.until([4], 1) == [[4, "numbers", 1, [1]]]
            elif what == "heartbeat":
                link.send([3, "same", 1, 1, ["x"]])
                assert link.until([4], 1) == [[4, "same", 1, ["x"]]]
            else:
                code, words = refused(link)
                assert code == "protocol"
                assert words
        sink.wait_for("peer raw down$", since=mark)
        told = [line.text for line in sink.lines[mark:] if line.stream == "err"]
        assert len(told) <= 1, "one line for a peer, at the most"
        assert end_steady(other) > 100
    is_well(sink, port)


@pytest.mark.usefixtures("each_loop")
def test_a_frame_that_breaks_off_and_one_without_end(sink: Proc, tmp_path: Path) -> None:
    port = serving_port(sink)
    with steady(tmp_path, port) as other:
        for begun in (
            masked(2, HELLO[:40], length=len(HELLO)),
            masked(2, HELLO) + masked(2, b"\x91", length=5000),
            masked(2, HELLO) + masked(2, HELLO)[:3],
        ):
            with dialled(port) as sock:
                sock.sendall(begun)
                sock.shutdown(socket.SHUT_WR)
                read_all(sock)
        before = rss(sink.pid)
        for size in (16 * MIB + 2049, 2**40, 2**63 - 1):
            with dialled(port) as sock:
                sock.sendall(masked(2, HELLO) + masked(2, b"\x91", length=size))
                assert struct.pack(">H", 1009) in read_all(sock), "message too big"
        assert rss(sink.pid) - before < 8 * MIB
        assert end_steady(other) > 100
        assert not [line for line in sink.lines if "Traceback" in line.text]
    is_well(sink, port)


def test_another_version_is_told_both_lists(sink: Proc) -> None:
    port = serving_port(sink)
    with RawLink(port) as link:
        kind, code, words = link.hello(v=[7, 8])
        assert (kind, code) == (2, "version")
        assert "7" in words
        assert "8" in words
        assert "1" in words
    with RawLink(port) as link:
        assert link.hello(v=[7, 1])[0] == 1
        assert link.welcome["v"] == 1
    is_well(sink, port)


def test_the_workers_own_name_is_taken(sink: Proc) -> None:
    port = serving_port(sink)
    with RawLink(port) as link:
        assert link.hello(name="sink")[:2] == [2, "name-taken"]
    is_well(sink, port)
    assert "sink" not in ledger(port)["peers"]


def test_who_says_no_hello_is_hung_up_on(sink: Proc) -> None:
    port = serving_port(sink)
    with dialled(port) as silent, dialled(port) as slow:
        begun = time.monotonic()
        # Its HELLO never gets complete.
        slow.sendall(masked(2, HELLO[:10], length=len(HELLO)))
        is_well(sink, port)
        assert silent.recv(1), "a goodbye"
        assert slow.recv(1)
        assert time.monotonic() - begun < 4 * HELLO_TIMEOUT
    is_well(sink, port)
    assert sink.count("no HELLO") <= 1


@pytest.mark.usefixtures("each_loop")
def test_who_says_nothing_after_hello_is_dropped_soon(sink: Proc) -> None:
    port = serving_port(sink)
    with dialled(port) as sock:
        sock.sendall(masked(2, HELLO) + masked(2, b"\x90"))
        sink.wait_for("peer raw up$")
        begun = time.monotonic()
        sink.wait_for("peer raw down$")
        # After two and a half seconds, where the machine has nothing else to do.
        assert time.monotonic() - begun < 15.0
    is_well(sink, port)


@pytest.mark.usefixtures("each_loop")
@pytest.mark.parametrize("kind", ["plain", "link"])
def test_a_flood_of_pings_that_never_reads_is_bounded(sink: Proc, tmp_path: Path, kind: str) -> None:
    port = serving_port(sink)
    ping = masked(9, os.urandom(125)) * 500
    with steady(tmp_path, port) as other:
        before = peak = rss(sink.pid)
        flooding = threading.Event()
        sent = 0
        with socket.socket() as sock:
            # Small, so that the worker's own buffer is what fills.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(2)
            sock.connect(("127.0.0.1", port))
            sock.sendall(handshake("/same", *([OFFER] if kind == "link" else [])))
            if kind == "link":
                sock.sendall(masked(2, HELLO) + masked(2, b"\x90"))
            with suppress(OSError):
                while sent < 256 * MIB:
                    sock.sendall(ping)
                    sent += len(ping)
                    peak = max(peak, rss(sink.pid))
                    if sent > 4 * MIB and not flooding.is_set():
                        flooding.set()
                        is_well(sink, port)
        grown = (peak - before) / MIB
        print(f"\n{kind}: {sent / MIB:.0f} MiB of pings, grown by {grown:.1f} MiB")
        assert flooding.is_set()
        assert sent < 256 * MIB, "cut off, or held up"
        assert grown < 40
        assert end_steady(other) > 100
    is_well(sink, port)


FLOODS = {
    "heartbeats": (True, masked(2, b"\x90")),
    "pings": (True, masked(9, b"")),
    "pings of a plain client": (False, masked(9, b"")),
}


@pytest.mark.usefixtures("each_loop")
@pytest.mark.parametrize("what", [*FLOODS])
def test_a_flood_that_never_pauses_delays_nobody_for_long(sink: Proc, what: str) -> None:
    """Here the stranger reads what it is answered, so that nothing but the worker holds it up."""
    port = serving_port(sink)
    is_link, frame = FLOODS[what]
    flood = frame * 2**16
    with RawLink(port) as link, dialled(port, link=is_link, path="/same") as sock:
        # It says nothing while it waits, and must not be taken for dead where the machine is slow.
        assert link.hello(heartbeat=5.0, timeout=DEADLINE)[0] == 1
        if is_link:
            sock.sendall(masked(2, HELLO.replace(b"\xa3raw", b"\xa3mad")) + masked(2, b"\x90"))
        sent = 0

        def pour() -> None:
            nonlocal sent
            with suppress(OSError):
                while True:
                    sock.sendall(flood)
                    sent += len(flood)

        threads = [threading.Thread(target=pour), threading.Thread(target=read_all, args=(sock,))]
        for thread in threads:
            thread.start()
        times: list[float] = []
        begin = time.monotonic()
        while time.monotonic() - begin < 2.5:
            asked = time.monotonic()
            link.send([3, "same", len(times) + 1, len(times) + 1, ["x"]])
            assert link.until([4], 1)
            times.append(time.monotonic() - asked)
            time.sleep(0.01)
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(DEADLINE)
    print(f"\n{what}: {sent / MIB:.0f} MiB, {len(times)} questions, answered within {max(times):.3f} s")
    assert sent > 2 * len(flood)
    # A few hundredths of a second where nothing else runs; without turns, as long as the flood lasts.
    assert max(times) < 5.0
    is_well(sink, port)


@pytest.mark.usefixtures("each_loop")
def test_who_said_no_hello_holds_up_no_stop(sink: Proc) -> None:
    port = serving_port(sink)
    with dialled(port), dialled(port) as slow:
        slow.sendall(masked(2, HELLO[:10], length=len(HELLO)))
        is_well(sink, port)
        begun = time.monotonic()
        assert sink.stop(signal.SIGTERM) == 0, sink
        assert time.monotonic() - begun < min(HELLO_TIMEOUT, DRAIN), "they were not waited for"
