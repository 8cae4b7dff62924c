"""Serial ports, with ptys in the place of cables: held, unplugged, and back again."""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.errors import ServeError
from mesh.transport.address import EndpointError
from mesh.transport.base import DialError, Transport, TransportClosedError
from mesh.transport.endpoints import Options, dial, listen
from mesh.transport.serial import make_raw, open_serial
from tests.helpers.log import Log
from tests.helpers.proc import DEADLINE

pytestmark = pytest.mark.integration


class Cable:
    """A pty: the device at its path is one end, the file descriptor the other one."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.end = -1
        self.plug_in()

    def plug_in(self) -> None:
        self.end, slave = os.openpty()
        make_raw(slave)
        self.slave = slave
        os.set_blocking(self.end, False)
        self.link.symlink_to(os.ttyname(slave))

    def unplug(self) -> None:
        self.link.unlink()
        os.close(self.slave)
        os.close(self.end)
        self.end = -1

    async def read(self, size: int) -> bytes:
        data = b""
        async with asyncio.timeout(DEADLINE):
            while len(data) < size:
                try:
                    data += os.read(self.end, size - len(data))
                except BlockingIOError:
                    await self._readable()
        return data

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = loop.create_future()
        loop.add_reader(self.end, readable.set_result, None)
        try:
            await readable
        finally:
            loop.remove_reader(self.end)


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    made = Cable(tmp_path / "ttyUSB0")
    yield made
    if made.end >= 0:
        made.unplug()


@pytest.mark.source("D2")
async def test_bytes_pass_as_they_are_both_ways(cable: Cable) -> None:
    every = bytes(range(256))
    port = await dial(f"serial://{cable.link}?baud=115200")
    assert port.peer == str(cable.link)
    os.write(cable.end, every)
    got = b""
    while len(got) < 256:
        got += await port.recv()
    assert got == every
    port.write(every)
    assert await cable.read(256) == every
    assert termios.tcgetattr(cable.slave)[4] == termios.B115200
    await port.close()
    assert port.ended == "closed from here"


async def test_a_second_program_is_kept_out_and_let_in_afterwards(cable: Cable) -> None:
    first = open_serial(str(cable.link))
    with pytest.raises(DialError, match="another program holds it") as caught:
        open_serial(str(cable.link))
    assert not caught.value.for_good
    await first.close()
    again = open_serial(str(cable.link))
    again.abort()
    await again.close()


async def test_an_unplugged_device_ends_the_connection_and_is_named(cable: Cable) -> None:
    port = open_serial(str(cable.link))
    waiting = asyncio.create_task(port.recv())
    await asyncio.sleep(0)
    cable.unplug()
    with pytest.raises(TransportClosedError, match=r"ttyUSB0 is gone .*was it unplugged"):
        await waiting
    assert port.is_lost
    port.write(b"to nobody")
    with pytest.raises(TransportClosedError):
        await port.send(b"to nobody")


@pytest.mark.parametrize(
    ("url", "why", "for_good"),
    [
        ("serial:///dev/no-such-device", "there is no such device; is it plugged in", False),
        ("serial:///dev/null", "no serial port", True),
    ],
)
async def test_a_device_that_cannot_be_opened(url: str, why: str, for_good: bool) -> None:
    with pytest.raises(DialError, match=why) as caught:
        await dial(url)
    assert caught.value.for_good is for_good
    if for_good:
        with pytest.raises(ServeError, match=why):
            await listen(url, lambda transport: transport.recv())


@pytest.mark.parametrize("baud", [12345, 0, 999_999_999])
async def test_a_rate_that_no_port_has_is_refused_before_a_device_is_opened(baud: int) -> None:
    why = f"no rate of {baud} baud.* the nearest is [1-9]"
    for use in (dial, lambda url: listen(url, lambda transport: transport.recv())):
        with pytest.raises(EndpointError, match=why):
            await use(f"serial:///dev/null?baud={baud}")
    with pytest.raises(DialError, match=why):
        open_serial("/dev/null", baud=baud)


async def test_a_full_line_makes_the_sender_wait_and_loses_nothing(cable: Cable) -> None:
    port = open_serial(str(cable.link))
    data = os.urandom(600_000)
    sending = asyncio.create_task(port.send(data))
    done, _ = await asyncio.wait([sending], timeout=0.1)
    assert not done
    assert await cable.read(len(data)) == data
    await sending
    await port.close()


async def test_a_close_sends_what_is_buffered(cable: Cable) -> None:
    port = open_serial(str(cable.link))
    data = os.urandom(100_000)
    port.write(data)
    closing = asyncio.create_task(port.close())
    assert await cable.read(len(data)) == data
    await closing


async def test_a_device_that_is_held_back_is_not_read(cable: Cable) -> None:
    port = open_serial(str(cable.link))
    port.pause_reading()
    os.write(cable.end, b"later")
    await asyncio.sleep(0.01)
    assert port.stats.bytes_in == 0
    port.resume_reading()
    assert await port.recv() == b"later"
    port.abort()
    await port.close()


async def test_a_device_that_was_unplugged_comes_back(cable: Cable) -> None:
    served: Log[Transport] = Log()
    notices: Log[str] = Log()

    async def accept(transport: Transport) -> None:
        served.add(transport)
        while True:
            await transport.send((await transport.recv()).upper())

    options = Options(notice=notices.add)
    async with await listen(f"serial://{cable.link}", accept, options=options) as listener:
        assert listener.address == f"serial://{cable.link}"
        os.write(cable.end, b"one")
        assert await cable.read(3) == b"ONE"
        cable.unplug()
        await notices.until(lambda lines: any("is gone" in line for line in lines))
        cable.plug_in()
        os.write(cable.end, b"two")
        assert await cable.read(3) == b"TWO"
        assert "is there" in str(notices)
        assert listener.connections == 1


async def test_a_device_that_is_not_there_at_first_is_waited_for(tmp_path: Path) -> None:
    notices: Log[str] = Log()
    served: Log[Transport] = Log()

    async def accept(transport: Transport) -> None:
        served.add(transport)
        await asyncio.Event().wait()

    path = tmp_path / "ttyUSB0"
    async with await listen(f"serial://{path}", accept, options=Options(notice=notices.add)):
        cable = Cable(path)
        await served.until(1)
        cable.unplug()
