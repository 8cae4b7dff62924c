"""Firmata on TCP and on a pseudo terminal: who comes, who goes, what is left."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from factory.boards import BoardError, Mode, SimBoard
from factory.boards.firmata.messages import (
    Analog,
    Capabilities,
    CapabilityQuery,
    DigitalPort,
    Firmware,
    ReportAnalog,
    ReportDigital,
    SetMode,
    SetPin,
    Text,
    Version,
    VersionQuery,
)
from factory.boards.io import tcp
from factory.boards.io.clock import BenchClock
from mesh.errors import ServeError
from tests.helpers.boards import board
from tests.helpers.firmata import Talk, pty_client, pty_door, tcp_client, tcp_door
from tests.helpers.proc import DEADLINE

pytestmark = pytest.mark.integration

Connect = Callable[[], AbstractAsyncContextManager[Talk]]


@pytest.fixture(params=["tcp", "pty"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[SimBoard, Connect]]:
    """A board behind a door, and what connects to it."""
    if request.param == "tcp":
        async with tcp_door() as (uno, door):
            yield uno, lambda: tcp_client(door.port)
    else:
        async with pty_door(tmp_path / "uno") as (uno, _):
            yield uno, lambda: pty_client(tmp_path / "uno")


async def until(ready: Callable[[], object]) -> None:
    """Wait for something that other tasks of this loop bring about."""
    async with asyncio.timeout(DEADLINE):
        while not ready():  # noqa: ASYNC110 - nobody tells when
            await asyncio.sleep(0.001)


async def test_the_board_says_who_it_is_unasked(served: tuple[SimBoard, Connect]) -> None:
    _, connect = served
    async with connect() as client:
        assert await client.hear(Version) == Version(2, 5)
        assert await client.hear(Firmware) == Firmware(2, 5, "StandardFirmata.ino")


async def test_a_client_blinks_and_is_told_of_a_button(served: tuple[SimBoard, Connect]) -> None:
    uno, connect = served
    async with connect() as client:
        client.say(SetMode(13, 1), SetPin(13, 1), SetMode(2, 11), ReportDigital(0, True))
        assert await client.hear(DigitalPort) == DigitalPort(0, 0b100)
        assert uno.pin(13).digital_read() == 1
        uno.pin(2).drive(0)
        assert await client.hear(DigitalPort) == DigitalPort(0, 0)


async def test_analog_values_come_by_themselves(served: tuple[SimBoard, Connect]) -> None:
    uno, connect = served
    uno.pin("A0").set_mode(Mode.ANALOG)
    uno.pin("A0").drive(511)
    async with connect() as client:
        client.say(ReportAnalog(0, True))
        for _ in range(3):
            assert await client.hear(Analog) == Analog(0, 511)


async def test_a_client_that_goes_leaves_nothing_behind(served: tuple[SimBoard, Connect]) -> None:
    uno, connect = served
    for _ in range(3):
        async with connect() as client:
            client.say(SetMode(13, 1), SetPin(13, 1), ReportAnalog(0, True), CapabilityQuery())
            await client.hear(Capabilities)
            assert uno.pin(13).owner is not None
        await until(lambda: uno.pin(13).owner is None)
        assert (uno.pin(13).digital_read(), uno.pin("A0").mode) == (0, Mode.UNSET)


async def test_a_client_that_leaves_answers_unread_keeps_nobody_out(served: tuple[SimBoard, Connect]) -> None:
    uno, connect = served
    async with connect() as client:
        client.say(SetMode(13, 1))
        await until(lambda: uno.pin(13).owner)
        # More answers than a terminal or a socket holds, and none is read.
        for _ in range(100):
            client.raw(b"\xf0\x6b\xf7" * 10)
            await asyncio.sleep(0)
    await until(lambda: uno.pin(13).owner is None)
    async with connect() as client:
        assert await client.hear(Version) == Version(2, 5)
        client.say(CapabilityQuery())
        await client.hear(Capabilities)


async def test_garbage_is_answered_with_a_text_and_the_board_lives_on(
    served: tuple[SimBoard, Connect],
) -> None:
    _, connect = served
    async with connect() as client:
        client.raw(bytes(range(0x80)) * 3 + b"\xf0\x71")
        text = await client.hear(Text)
        assert isinstance(text, Text)
        assert "belong to no message" in text.text
        client.say(VersionQuery())
        await client.hear(Version)


async def test_an_unplugged_board_is_gone_and_comes_back(served: tuple[SimBoard, Connect]) -> None:
    uno, connect = served
    async with connect() as client:
        client.say(SetMode(13, 1), SetPin(13, 1), CapabilityQuery())
        await client.hear(Capabilities)
        uno.unplug()
        assert await client.ended()
    uno.plug()
    async with connect() as client:
        client.say(SetMode(13, 1), SetPin(13, 1), CapabilityQuery())
        await client.hear(Capabilities)
    await until(lambda: uno.pin(13).owner is None)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


# -- TCP -------------------------------------------------------------------------------------


async def test_a_flood_of_one_client_keeps_no_other_waiting() -> None:
    async with tcp_door() as (uno, door), tcp_client(door.port) as one, tcp_client(door.port) as two:
        # Garbage, half messages and questions whose answers nobody reads.
        one.raw((bytes(range(0x80)) + b"\xf0\x71\x01" + b"\xf0\x6b\xf7" * 20) * 2000)
        two.say(SetMode(13, 1), SetPin(13, 1), VersionQuery())
        await two.hear(Version)
        await until(lambda: uno.pin(13).digital_read() == 1)


async def test_several_clients_share_a_board() -> None:
    async with tcp_door() as (uno, door), tcp_client(door.port) as one, tcp_client(door.port) as two:
        one.say(SetMode(13, 1), SetPin(13, 1), CapabilityQuery())
        await one.hear(Capabilities)
        two.say(SetPin(13, 0))
        text = await two.hear(Text)
        assert isinstance(text, Text)
        assert "pin uno.13 belongs to Firmata client 127.0.0.1:" in text.text
        assert uno.pin(13).digital_read() == 1


async def test_one_client_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "MOST_CLIENTS", 1)
    async with tcp_door() as (_, door), tcp_client(door.port) as one:
        await one.hear(Version)
        async with tcp_client(door.port) as two:
            assert await two.hear(Text) == Text(
                "uno takes no client: it has 1 Firmata clients already, which is all it takes"
            )
            assert await two.ended()


async def test_the_system_finds_out_that_a_client_has_vanished() -> None:
    async with tcp_door() as (_, door), tcp_client(door.port) as one:
        await one.hear(Version)
        [client] = door.clients
        sock = client._transport.get_extra_info("socket")

        def option(name: str) -> int:
            return int(sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)))

        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if sys.platform == "linux":
            silence = option("TCP_KEEPIDLE") + option("TCP_KEEPINTVL") * option("TCP_KEEPCNT")
            assert silence == option("TCP_USER_TIMEOUT") / 1000 == tcp.GONE


async def test_a_port_that_is_taken() -> None:
    uno = board()
    door = tcp.TcpDoor(uno, BenchClock(uno.bench))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServeError, match=rf"uno cannot serve Firmata on 127.0.0.1:{port}.*--firmata"):
            await door.open("127.0.0.1", port)
    await door.close()


# -- the name of a terminal --------------------------------------------------------------------


async def test_the_link_is_there_as_long_as_the_board_is(tmp_path: Path) -> None:
    path = tmp_path / "uno"
    async with pty_door(path) as (uno, door):
        assert str(path.readlink()) == door.device
        uno.unplug()
        assert names(tmp_path) == {"uno.lock"}
        uno.plug()
        assert str(path.readlink()) == door.device
    assert names(tmp_path) == set()


async def test_the_link_of_a_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "uno"
    (tmp_path / "uno.lock").write_text("/dev/pts/9999")
    path.symlink_to("/dev/pts/9999")
    async with pty_door(path) as (_, door):
        assert str(path.readlink()) == door.device
    assert names(tmp_path) == set()


@pytest.mark.parametrize("what", ["file", "link"])
async def test_what_is_not_ours_is_left_alone(tmp_path: Path, what: str) -> None:
    path = tmp_path / "uno"
    path.symlink_to("/dev/pts/9999") if what == "link" else path.write_text("precious")
    with pytest.raises(BoardError, match=r"uno is there already, and no link of ours"):
        async with pty_door(path):
            pass
    assert names(tmp_path) == {"uno"}


async def test_two_boards_cannot_have_one_name(tmp_path: Path) -> None:
    path = tmp_path / "uno"
    async with pty_door(path):
        with pytest.raises(BoardError, match=r"belongs to another board that is running"):
            async with pty_door(path):
                pass
        assert path.is_symlink()
    with pytest.raises(BoardError, match=r"cannot have its name .*No such file"):
        async with pty_door(tmp_path / "nowhere" / "uno"):
            pass
