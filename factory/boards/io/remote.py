"""The line to a board that speaks Firmata: serial or TCP, and back again after it broke."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from time import monotonic

from factory.boards.errors import BoardError, BoardLostError
from factory.boards.firmata.client import FirmataBoard, Greeting
from factory.boards.firmata.codec import encode
from factory.boards.firmata.liveness import Liveness
from factory.boards.firmata.messages import FirmwareQuery
from factory.boards.furniture import CHOICES
from factory.boards.io.throttle import Throttle
from factory.boards.profiles import Profile
from mesh.backoff import Backoff
from mesh.text import listing, printable
from mesh.transport.address import EndpointError
from mesh.transport.base import DialError, Transport, TransportClosedError
from mesh.transport.endpoints import dial

BAUD = 57_600
"""What StandardFirmata listens at."""

GREETING = 6.0
"""Seconds that a board may take to say what it is; after an auto-reset it boots for two."""

PATIENCE = 2.0
"""Seconds of silence before a board is asked whether it is there, and again before it is lost."""

_ASK_AGAIN = 0.5
_DEVICES = ("ttyACM*", "ttyUSB*", "cu.usbmodem*", "cu.usbserial*")


def address_of(url: str) -> str:
    """Return the address of a transport for the URL of a board.

    Args:
        url: ``serial:/dev/ttyACM0``, ``serial:`` for the only port there is, or ``tcp:HOST:PORT``.

    Raises:
        BoardError: If it is neither, or if there is not just one port.

    """
    scheme, _, rest = url.partition(":")
    rest = rest.removeprefix("//") if scheme == "tcp" else rest
    if scheme == "tcp" and ":" in rest:
        return f"tcp://{rest}"
    if scheme != "serial":
        raise BoardError(f"board {printable(url[:60])!r}: {CHOICES}")
    device = rest.removeprefix("//") or _only_port()
    # Relative paths too: the pty of a simulated board has such a name.
    path, _, query = device.partition("?")
    return f"serial://{Path(path).absolute()}?{query or f'baud={BAUD}'}"


def serial_ports(folder: Path = Path("/dev")) -> list[str]:
    """Return the serial ports that could be boards."""
    return sorted(str(path) for pattern in _DEVICES for path in folder.glob(pattern))


def _only_port() -> str:
    ports = serial_ports()
    if len(ports) == 1:
        return ports[0]
    if ports:
        raise BoardError(
            f"board 'serial:': there are several serial ports; choose one: {listing(ports, 'or')}"
        )
    raise BoardError(
        "board 'serial:': there is no serial port; plug a board in, check its cable, "
        "or take a simulated one: sim:uno"
    )


class Remote:
    """Keeps the line to one board.

    Args:
        name: What the board is called.
        url: Where it is.
        say: Prints a line.

    Raises:
        BoardError: If the URL is none.

    """

    def __init__(self, name: str, url: str, say: Callable[[str], object]) -> None:
        self._name = name
        self._url = url
        self._address = address_of(url)
        self._words = Throttle(say)
        self._loop = asyncio.get_running_loop()
        self._transport: Transport | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._flushing = False
        self._board: FirmataBoard

    async def connect(self) -> FirmataBoard:
        """Return the board, and keep the line to it from now on.

        Raises:
            BoardError: If the address makes no sense.
            BoardLostError: If it is not there.

        """
        transport, greeting, profile = await self._greet()
        self._board = FirmataBoard(self._name, profile, monotonic, wake=self._wake, say=self._words)
        self._board.follow(greeting)
        self._transport = transport
        self._keeping = asyncio.create_task(self._keep(), name=f"line to {self._name}")
        return self._board

    async def close(self) -> None:
        """Hang up."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        if self._transport is not None:
            await self._transport.close()
        self._words.close()

    # -- inside --------------------------------------------------------------------------

    async def _greet(self) -> tuple[Transport, Greeting, Profile]:
        try:
            transport = await dial(self._address)
        except EndpointError as exc:
            fix = "write serial:/dev/ttyACM0 or tcp:HOST:PORT, as in tcp:localhost:3030"
            raise BoardError(f"board {printable(self._url[:60])!r}: {exc.why}; {fix}") from exc
        except DialError as exc:
            hint = ""
            if self._url.startswith("serial"):
                others = serial_ports()
                hint = f"; serial ports here: {listing(others) or 'none'}"
            raise BoardLostError(f"{self._name} cannot be reached at {self._url}: {exc.why}{hint}") from exc
        greeting = Greeting()
        try:
            async with asyncio.timeout(GREETING):
                while greeting.profile is None:
                    transport.write(greeting.questions())
                    begun = greeting.has_begun
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_ASK_AGAIN):
                            while greeting.has_begun is begun and greeting.profile is None:
                                greeting.receive(await transport.recv())
            return transport, greeting, greeting.profile
        except (TimeoutError, TransportClosedError) as exc:
            transport.abort()
            why = exc.reason if isinstance(exc, TransportClosedError) else f"no answer within {GREETING:g} s"
            if greeting.nonsense is not None:
                why += f" that makes sense ({greeting.nonsense})"
            raise BoardLostError(
                f"what is at {self._url} does not speak Firmata: {why}; is StandardFirmata on the board?"
            ) from exc
        except BaseException:
            transport.abort()
            raise

    async def _keep(self) -> None:
        backoff = Backoff(Random(), first=0.1, limit=2.0)
        transport = self._transport
        while True:
            assert transport is not None
            reason = await self._listen(transport)
            transport.abort()
            self._transport = transport = None
            self._board.lose(reason)
            while transport is None:
                await asyncio.sleep(backoff.delay())
                transport = await self._connect_again()
            self._transport = transport
            backoff.reset()
            self._board.restore()

    async def _connect_again(self) -> Transport | None:
        try:
            transport, greeting, profile = await self._greet()
        except BoardLostError:
            return None
        before = self._board.profile
        if _abilities(profile) == _abilities(before):
            self._board.follow(greeting)
            return transport
        # Names and owners of pins would mean something else there.
        transport.abort()
        now = profile.title if profile.title != before.title else f"another {profile.title}, with other pins"
        self._board.lose(f"another board is there now: {now}; plug in the {before.title}, or start anew")
        return None

    async def _listen(self, transport: Transport) -> str:
        """Take what comes until the line ends, and return why it did."""
        time = self._loop.time
        liveness = Liveness(time(), PATIENCE)
        while liveness.gone is None:
            try:
                async with asyncio.timeout_at(liveness.next_deadline()):
                    data = await transport.recv()
            except TransportClosedError as exc:
                return exc.reason
            except TimeoutError:
                if liveness.handle_timer(time()):
                    transport.write(encode(FirmwareQuery()))
            else:
                liveness.heard(time())
                self._board.receive(data)
        return liveness.gone

    def _wake(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is None or self._transport.is_closing():
            return
        if not self._transport.writable:
            # What waits stays with the board, which refuses more when it is too much.
            self._flushing = True
            self._loop.call_later(0.01, self._flush)
            return
        data = self._board.data_to_send()
        if data:
            self._transport.write(data)


def _abilities(profile: Profile) -> list[object]:
    return [(spec.modes, spec.analog) for spec in profile.pins]
