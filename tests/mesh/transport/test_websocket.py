"""What only the real wire does: share the loop with others, and close in good order. In both event loops."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from mesh.door import Door
from mesh.links.hub import HELLO_TIMEOUT
from mesh.protocol.link import SUBPROTOCOL
from mesh.transport import websocket as websocket_module
from mesh.transport.base import Transport, TransportClosedError
from mesh.transport.websocket import CLOSE_LIMIT, CLOSE_TIMEOUT, LONG_READ
from tests.helpers.log import Log
from tests.helpers.proc import DEADLINE
from tests.helpers.raw import handshake
from tests.helpers.responder import RecordingResponder

pytestmark = pytest.mark.integration

OFFER = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}"
MOST_READ = 256 * 1024
"""Bytes that either loop reads at once."""

InLoop = Callable[[Callable[[], Awaitable[None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def in_loop(request: pytest.FixtureRequest) -> InLoop:
    """Return what runs a coroutine in one of the two event loops."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if request.param == "uvloop":
        if importlib.util.find_spec("uvloop") is None:
            if os.environ.get("CI"):
                pytest.fail("needs uvloop, which is not installed (CI is set, so this is no skip)")
            pytest.skip("needs uvloop; to run this test: pip install uvloop")
        import uvloop

        factory = uvloop.new_event_loop

    def run(main: Callable[[], Awaitable[None]]) -> None:
        async def whole() -> None:
            await main()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(whole())

    return run


def masked(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes([0x80 | size])
    else:
        head = struct.pack(">BH", 0xFE, size) if size < 65536 else struct.pack(">BQ", 0xFF, size)
    return bytes([0x80 * fin | opcode]) + head + bytes(4) + payload


class Links:
    """Keeps the connections that a door gives it until they end."""

    def __init__(self) -> None:
        self.transports: Log[Transport] = Log()
        self.heard: Log[bytes] = Log()
        self.reasons: Log[str] = Log()

    async def serve(self, transport: Transport) -> str:
        self.transports.add(transport)
        reason = ""
        try:
            while not reason:
                self.heard.add(await transport.recv())
        except TransportClosedError as exc:
            reason = exc.reason
        self.reasons.add(reason)
        return reason


class Turns:
    """Counts turns of the loop, and the bytes of messages that come in each. A user of a transport."""

    def __init__(self, pause: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._pause = pause
        self._turn = 0
        self.came: dict[int, int] = {}
        self.total: Log[int] = Log()
        self._count()

    def _count(self) -> None:
        self._turn += 1
        self._handle = self._loop.call_later(0, self._count)

    def stop(self) -> None:
        self._handle.cancel()

    def messages_came(self, messages: list[bytes]) -> None:
        size = sum(map(len, messages))
        self.came[self._turn] = self.came.get(self._turn, 0) + size
        self.total.add(size)
        time.sleep(self._pause)  # so that meanwhile more comes than can be read at once

    def writing_resumed(self) -> None:
        pass

    def connection_ended(self, reason: str) -> None:
        pass


@asynccontextmanager
async def opened(
    link: Callable[[Transport], Awaitable[str]] | None = None, *, responder: RecordingResponder | None = None
) -> AsyncIterator[Door]:
    door = Door(responder or RecordingResponder(), link=link)
    await door.open("127.0.0.1", 0)
    try:
        yield door
    finally:
        await door.close()


@asynccontextmanager
async def dialled(door: Door, *headers: str, receive_buffer: int = 0) -> AsyncIterator[socket.socket]:
    """Yield a bare socket that is through with the handshake."""
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        async with asyncio.timeout(DEADLINE):
            await loop.sock_connect(sock, ("127.0.0.1", door.port))
            await loop.sock_sendall(sock, handshake("/same", *headers))
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += await loop.sock_recv(sock, 1)
        yield sock


# -- sharing the loop ------------------------------------------------------------------------


def test_others_have_a_turn_between_two_long_reads(in_loop: InLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "TURN", 0.0)  # so that any long read is one too many
    frame = masked(2, bytes(60_000))
    wanted = 100 * 60_000

    async def main() -> None:
        turns = Turns(0.003)
        links = Links()
        gone = asyncio.Event()

        async def serve(transport: Transport) -> str:
            transport.start(turns)
            links.transports.add(transport)
            await gone.wait()
            return ""

        async with opened(serve) as door, dialled(door, OFFER) as sock:
            sock.setblocking(True)
            sock.settimeout(DEADLINE)
            flood = threading.Thread(target=sock.sendall, args=(frame * 100,))
            flood.start()
            await turns.total.until(lambda sizes: sum(sizes) >= wanted)
            flood.join()
            turns.stop()
            gone.set()
        assert max(turns.came.values()) >= LONG_READ, "else this shows nothing"
        assert max(turns.came.values()) <= MOST_READ + len(frame), sorted(turns.came.values())[-5:]

    in_loop(main)


@pytest.mark.parametrize("ping", [b"", b"x" * 125], ids=["empty", "full"])
@pytest.mark.parametrize("kind", ["plain", "fragments"])
def test_what_the_library_gets_comes_in_pieces_and_nothing_is_lost(
    in_loop: InLoop, kind: str, ping: bytes
) -> None:
    """A plain client, or a link that sends in fragments, with 600 KB in one breath and a goodbye."""
    count = 3000
    messages = [b"%d" % number + bytes(number % 300) for number in range(count)]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        links: Log[bytes] = Log()
        responder = RecordingResponder()

        async def serve(transport: Transport) -> str:
            with suppress(TransportClosedError):
                while True:
                    links.add(await transport.recv())
            return ""

        headers = [OFFER] if kind == "fragments" else []
        async with opened(serve, responder=responder) as door, dialled(door, *headers) as sock:
            wire = b""
            for message in messages:
                if kind == "plain":
                    wire += masked(2, message)
                else:
                    wire += masked(2, message[:1], fin=False) + masked(0, message[1:])
                wire += masked(9, ping)
            sending = asyncio.ensure_future(loop.sock_sendall(sock, wire + masked(8, b"\x03\xe8")))
            heard = b""
            async with asyncio.timeout(DEADLINE):
                while data := await loop.sock_recv(sock, 2**20):
                    heard += data
            await sending
            assert heard.endswith(b"\x88\x02\x03\xe8"), "its goodbye is answered"
            if kind == "plain":
                await responder.closed.until(1)
            got = links if kind == "fragments" else responder.messages
            if kind == "fragments":
                await links.until(count)
            # Who says goodbye takes no answers; what is handled is so in order, and none is left out.
            assert got == messages[: len(got)]
            assert heard.count(bytes([0x8A, len(ping)]) + ping) >= (1 if ping else 0)

    in_loop(main)


def test_a_plain_client_with_a_thousand_messages_in_one_breath_gets_each_answer(in_loop: InLoop) -> None:
    messages = [b"%d" % number + b"x" * (number % 300) for number in range(2000)]

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with opened() as door, dialled(door) as sock:
            sending = asyncio.ensure_future(
                loop.sock_sendall(sock, b"".join(masked(2, message) for message in messages))
            )
            wanted = b"".join(
                bytes([0x82]) + (bytes([len(m)]) if len(m) < 126 else struct.pack(">BH", 126, len(m))) + m
                for m in messages
            )
            heard = b""
            async with asyncio.timeout(DEADLINE):
                while len(heard) < len(wanted):
                    heard += await loop.sock_recv(sock, 2**20)
            await sending
            assert heard == wanted

    in_loop(main)


def test_a_reader_that_is_held_back_stays_so_after_the_others_turn(in_loop: InLoop) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        links: Log[Transport] = Log()
        gone = asyncio.Event()

        async def serve(transport: Transport) -> str:
            links.add(transport)
            await gone.wait()
            return ""

        frame = masked(2, bytes(100_000))
        async with opened(serve) as door, dialled(door, OFFER) as sock:
            sent = 0
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    while sent < 2**26:
                        await loop.sock_sendall(sock, frame)
                        sent += len(frame)
            assert sent < 2**26
            (transport,) = links
            assert transport._early_size < 2**20, "more is not taken before anybody wants it"
            rest = asyncio.ensure_future(loop.sock_sendall(sock, frame * 5))
            async with asyncio.timeout(DEADLINE):
                for _ in range(sent // len(frame)):
                    assert len(await transport.recv()) == 100_000
            rest.cancel()
            await asyncio.gather(rest, return_exceptions=True)
            gone.set()

    in_loop(main)


# -- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "begun",
    [b"", masked(2, bytes(100))[:50], masked(9, b"x"), masked(2, b"", fin=False)],
    ids=["nothing", "half a frame", "ping", "fragment"],
)
def test_links_that_never_said_who_they_are_hold_up_no_drain(in_loop: InLoop, begun: bytes) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        links = Links()
        async with opened(links.serve) as door, dialled(door, OFFER) as silent, dialled(door, OFFER) as known:
            await loop.sock_sendall(silent, begun)
            await loop.sock_sendall(known, masked(2, b"HELLO"))
            await links.transports.until(2)
            await links.heard.until(1)
            assert sum(wire.is_unheard for wire in links.transports) == 1
            begin = loop.time()
            draining = asyncio.ensure_future(door.drain())
            await links.reasons.until(1)
            assert loop.time() - begin < HELLO_TIMEOUT / 2
            assert not draining.done()
            assert len(links.reasons) == 1, "who is known is ended by who knows it"
            (open_one,) = [wire for wire in links.transports if not wire.is_unheard]
            open_one.abort()
            async with asyncio.timeout(DEADLINE):
                await draining

    in_loop(main)


async def closed_while_read(speed: float, size: int) -> tuple[int, bytes, float]:
    """Close behind so many bytes; return how many came, the last ones, and the seconds it took.

    Args:
        speed: Bytes in a second that the peer reads.
        size: Bytes.

    """
    loop = asyncio.get_running_loop()
    took: asyncio.Future[float] = loop.create_future()

    async def serve(transport: Transport) -> str:
        sock = transport._socket  # type: ignore[attr-defined]
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 * 1024)
        await transport.recv()
        transport.write(bytes(size))
        begin = loop.time()
        await transport.close("enough")
        took.set_result(loop.time() - begin)
        return ""

    async with opened(serve) as door, dialled(door, OFFER, receive_buffer=16 * 1024) as sock:
        await loop.sock_sendall(sock, masked(2, b"HELLO"))
        heard = 0
        last = b""
        step = 16 * 1024
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionError):
                while speed and (data := await loop.sock_recv(sock, step)):
                    heard += len(data)
                    last = (last + data)[-100:]
                    if b"enough" in last:
                        await loop.sock_sendall(sock, masked(8, b"\x03\xe8"))
                    await asyncio.sleep(len(data) / speed)
            return heard, last, await took


def test_a_slow_wire_gets_all_that_was_written_before_the_goodbye(
    in_loop: InLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reader is slow on purpose; how slow this machine is besides must not count.
    monkeypatch.setattr(websocket_module, "CLOSE_TIMEOUT", 1.0)
    monkeypatch.setattr(websocket_module, "CLOSE_LIMIT", DEADLINE)

    async def main() -> None:
        size = 512 * 1024
        heard, last, took = await closed_while_read(size / 2, size)
        assert heard > size
        assert last.endswith(b"enough")
        assert took > 1.0, "longer than a peer may take that takes nothing"

    in_loop(main)


# Whoever reads all of it at that speed takes ten seconds.
@pytest.mark.parametrize(
    ("speed", "least", "most"), [(0, CLOSE_TIMEOUT, CLOSE_LIMIT), (100_000, CLOSE_LIMIT, 10.0)]
)
def test_who_takes_nothing_or_hardly_anything_is_not_waited_for(
    in_loop: InLoop, speed: float, least: float, most: float
) -> None:
    async def main() -> None:
        _, _, took = await closed_while_read(speed, 2**20)
        assert least * 0.9 < took < most

    in_loop(main)
