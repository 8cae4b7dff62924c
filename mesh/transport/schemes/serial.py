"""``serial:///dev/ttyUSB0?baud=115200``: a device that may be unplugged, and comes back."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final

from mesh.backoff import Backoff
from mesh.errors import ServeError
from mesh.transport.address import Address, EndpointError, Options, Scheme
from mesh.transport.base import DialError, Transport
from mesh.transport.listener import Accept, Listener
from mesh.transport.serial import BAUD, nearest_rate, open_serial
from mesh.transport.stream import StreamTransport

STEADY: Final = 1.0
"""Seconds that a device must have been there to be opened again at once."""


class SerialListener(Listener):
    """Keeps one device open: there is one connection at most, and the next one when that is over."""

    def __init__(self, address: Address, accept: Accept, options: Options) -> None:
        super().__init__(accept, options)
        self._url = address
        self._notice = options.notice
        self._task: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """Its address."""
        return self._url.text

    def begin(self) -> None:
        """Open the device, now or whenever it is there.

        Raises:
            ServeError: If it never can be.

        """
        first: StreamTransport | None = None
        try:
            first = self._open()
        except DialError as exc:
            if exc.for_good:
                raise ServeError(str(exc)) from exc
            self._notice(f"{exc}; will go on as soon as that has changed")
        self._task = self._loop.create_task(self._keep_open(first), name=f"device {self._url.path}")

    def _open(self) -> StreamTransport:
        return open_serial(self._url.path, baud=self._url.number("baud", BAUD))

    async def _keep_open(self, transport: StreamTransport | None) -> None:
        backoff = Backoff(Random())
        told = transport is None
        while True:
            if transport is not None:
                begin = self._loop.time()
                task = self.let_in(transport)
                if task is not None:
                    await asyncio.wait([task])
                if self._loop.time() - begin > STEADY:
                    backoff.reset()
                if transport.is_lost:
                    self._notice(f"{transport.ended}; will go on as soon as it is back")
                    told = True
            await asyncio.sleep(backoff.delay())
            try:
                transport = self._open()
            except DialError as exc:
                transport = None
                if not told:
                    self._notice(f"{exc}; will go on as soon as that has changed")
                    told = True
            else:
                if told:
                    self._notice(f"{self._url.path} is there")
                    told = False

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _stopped(self) -> None:
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)


async def listen(address: Address, accept: Accept, options: Options) -> Listener:
    """Open a device and keep it open."""
    listener = SerialListener(address, accept, options)
    try:
        listener.begin()
    except BaseException:
        await listener.close()
        raise
    return listener


async def dial(address: Address, _options: Options) -> Transport:
    """Open a device, once."""
    return open_serial(address.path, baud=address.number("baud", BAUD))


def check(address: Address) -> None:
    """See that ports can have the rate of an address.

    Raises:
        EndpointError: If not.

    """
    baud = address.number("baud", BAUD)
    near = nearest_rate(baud)
    if baud != near:
        raise EndpointError(address.text, f"there is no rate of {baud} baud", f"the nearest is {near}")


SERIAL = Scheme(
    "serial",
    listen,
    dial,
    "serial:///dev/ttyUSB0?baud=115200",
    is_stream=True,
    parameters=("baud",),
    check=check,
)
