"""The serial port of firmware, on TCP and on a terminal: opened, reset, flooded, left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from factory.boards.avr.engine import UartEvent
from factory.boards.avr.uart import MOST_WAITING
from factory.boards.io import serialport
from factory.boards.io.runner import SimulatedClock
from factory.boards.io.serialport import PtySerial, SerialPort, TcpSerial
from mesh.errors import ServeError
from tests.helpers.avr import MS, Rig
from tests.helpers.proc import DEADLINE
from tests.helpers.serial import Wire, pty_wire, tcp_wire

pytestmark = pytest.mark.integration

Connect = Callable[[], AbstractAsyncContextManager[Wire]]


class Desk:
    """A board with its port, whose simulated time a test moves."""

    def __init__(self, *events: UartEvent) -> None:
        self.rig = Rig(*events, echo=True)
        self.said: list[str] = []
        self.port = SerialPort(
            self.rig.board, SimulatedClock(self.rig.bench, self.rig.board.pacer, None), self.said.append
        )
        self.rig.board.sent = self.port.sent

    def step(self) -> None:
        """Let 10 ms go by on the board."""
        self.rig.to(self.rig.bench.time + 0.01)

    async def until(self, ready: Callable[[], object]) -> None:
        """Wait for something that other tasks bring about; the board goes on meanwhile."""
        async with asyncio.timeout(DEADLINE):
            while not ready():
                self.step()
                await asyncio.sleep(0.001)

    async def talk(self, wire: Wire, data: bytes) -> None:
        """Send bytes, and wait until they are echoed."""
        wire.write(data)
        await self.until(lambda: wire.heard.endswith(data))


@pytest.fixture(params=["tcp", "pty"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Desk, Connect]]:
    """A board behind a door, and what opens it."""
    desk = Desk()
    if request.param == "tcp":
        door = TcpSerial(desk.port)
        await door.open("127.0.0.1", 0)
        yield desk, lambda: tcp_wire(door.number)
        await door.close()
    else:
        pty = PtySerial(desk.port, tmp_path / "uno")
        yield desk, lambda: pty_wire(tmp_path / "uno")
        pty.close()


async def test_opening_it_resets_the_board_and_bytes_go_both_ways(served: tuple[Desk, Connect]) -> None:
    desk, connect = served
    for count in (1, 2):
        async with connect() as wire:
            await desk.until(lambda: desk.port.client)
            await desk.talk(wire, b"hello \0\r\n\xff")
            assert len(desk.rig.told("reset")) == count
        await desk.until(lambda: desk.port.client is None)
    assert [line.split()[-1] for line in desk.said] == ["reset", "port", "reset", "port"]


async def test_what_was_sent_before_is_for_nobody(served: tuple[Desk, Connect]) -> None:
    desk, connect = served
    desk.rig.engine.add(UartEvent(MS, b"before"))
    desk.step()
    desk.rig.board.receive(b"stale")
    async with connect() as wire:
        await desk.until(lambda: desk.port.client)
        await desk.talk(wire, b"fresh")
        assert wire.heard == b"fresh"


async def test_a_program_that_floods_has_to_wait(served: tuple[Desk, Connect]) -> None:
    desk, connect = served
    flood = bytes(range(256)) * 128
    async with connect() as wire:
        await desk.until(lambda: desk.port.client)
        sending = asyncio.create_task(wire.drain(flood))
        # Nothing goes on at the board, so it takes no more than fits.
        while desk.rig.board.inbox.room >= 1024:  # noqa: ASYNC110 - bytes are on their way
            await asyncio.sleep(0.001)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(desk.rig.board.inbox) <= MOST_WAITING
        await desk.until(lambda: len(wire.heard) == len(flood))
        await sending
        assert (wire.heard, desk.rig.board.inbox.lost) == (flood, 0)


async def test_a_program_that_does_not_read_loses_what_is_too_much(
    served: tuple[Desk, Connect], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serialport, "MOST_UNREAD", 1000)
    desk, connect = served
    async with connect() as wire:
        await desk.until(lambda: desk.port.client)
        wire.listen(False)
        for _ in range(2000):
            desk.port.sent(b"x" * 1000)
        await asyncio.sleep(0)
        while not desk.port.unread:
            desk.port.sent(b"x" * 100_000)
            await asyncio.sleep(0)
        wire.listen(True)
        await desk.until(lambda: len(wire.heard) >= 1000)
    await desk.until(lambda: desk.port.client is None)


async def test_an_unplugged_board_hangs_up(served: tuple[Desk, Connect]) -> None:
    desk, connect = served
    async with connect() as wire:
        await desk.until(lambda: desk.port.client)
        desk.rig.board.unplug()
        await desk.until(lambda: wire.is_over)
    assert desk.port.client is None
    desk.rig.board.plug()
    async with connect() as wire:
        await desk.until(lambda: desk.port.client)
        await desk.talk(wire, b"again")


async def test_one_program_at_a_time_on_tcp() -> None:
    desk = Desk()
    door = TcpSerial(desk.port)
    await door.open("127.0.0.1", 0)
    async with tcp_wire(door.number) as one:
        await desk.until(lambda: desk.port.client)
        async with tcp_wire(door.number) as two:
            await desk.until(lambda: two.is_over)
            assert b"the serial port of uno is open already, by 127.0.0.1:" in two.heard
        await desk.talk(one, b"still here")
        assert len(desk.rig.told("reset")) == 1
    await door.close()


async def test_a_terminal_waits_until_tcp_has_closed_the_port(tmp_path: Path) -> None:
    desk = Desk()
    door, pty = TcpSerial(desk.port), PtySerial(desk.port, tmp_path / "uno")
    await door.open("127.0.0.1", 0)
    async with pty_wire(tmp_path / "uno") as waiting:
        await desk.until(lambda: desk.port.client == str(tmp_path / "uno"))
        async with tcp_wire(door.number) as refused:
            await desk.until(lambda: refused.is_over)
        await desk.talk(waiting, b"one")
    await desk.until(lambda: desk.port.client is None)
    async with tcp_wire(door.number) as first:
        await desk.until(lambda: desk.port.client)
        async with pty_wire(tmp_path / "uno") as waiting:
            waiting.write(b"patience")
            await desk.talk(first, b"one")
            await first.close()
            await desk.until(lambda: waiting.heard == b"patience")
    pty.close()
    await door.close()
    assert not pty.device


async def test_a_port_that_is_taken() -> None:
    desk = Desk()
    door = TcpSerial(desk.port)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            ServeError, match=rf"uno cannot serve its serial port on 127.0.0.1:{port}.*--serial"
        ):
            await door.open("127.0.0.1", port)
    await door.close()
