"""A board with firmware as a node of the mesh: it is made, runs, and has its serial port."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from factory.boards.avr.board import AvrBoard
from factory.boards.avr.engine import HERTZ, Engine
from factory.boards.avr.engines import start_engine
from factory.boards.avr.image import Image, read_image
from factory.boards.avr.pacing import Pacer, speed_of
from factory.boards.avr.uart import Lines
from factory.boards.bench import Bench
from factory.boards.errors import BoardError
from factory.boards.io.meshwire import Publish, Say, Send
from factory.boards.io.node import BoardNode
from factory.boards.io.runner import Runner, SimulatedClock
from factory.boards.io.serialport import PtySerial, SerialPort, TcpSerial
from factory.boards.io.throttle import Throttle
from factory.boards.profiles import UNO
from mesh.text import endpoint, printable


async def open_firmware(
    name: str, url: str, bench: Bench, speed: float | str, *, publish: Publish, send: Send, say: Say
) -> FirmwareNode:
    """Return a board with firmware in it, as a node; what the arguments mean, ``open_board`` says.

    Raises:
        BoardError: If the URL, the firmware or the speed is none, or nothing is there to run it.

    """
    scheme, _, path = url.partition(":")
    engine = scheme.partition("+")[2] or None
    if not path:
        raise BoardError(f"board {printable(url)!r}: write which firmware, as in avr:blink.hex")
    pace = speed_of(speed)
    image = read_image(Path(path))
    node = FirmwareNode(name, bench, image, engine, pace, publish=publish, send=send, say=say)
    try:
        await node.make()
    except BaseException:
        await node.close()
        raise
    return node


class FirmwareNode(BoardNode):
    """One board with firmware, its clock, its parts and its serial port; ``open_firmware`` makes it.

    Args:
        name: What it is called.
        bench: The world that moves with it.
        image: The firmware.
        engine: What shall simulate it; ``None`` for what is there.
        speed: Seconds simulated in one of ours; ``None`` for as many as can be.
        publish: Publishes a value on a channel.
        send: Sends to another node.
        say: Prints a line.

    """

    board: AvrBoard

    def __init__(
        self,
        name: str,
        bench: Bench,
        image: Image,
        engine: str | None,
        speed: float | None,
        *,
        publish: Publish,
        send: Send,
        say: Say,
    ) -> None:
        board = AvrBoard(name, bench, image.name, Pacer(HERTZ, bench.time))
        clock = SimulatedClock(bench, board.pacer, speed)
        super().__init__(board, bench, None, publish=publish, send=send, say=say, clock=clock)
        self.speed = speed
        self.serial = SerialPort(board, clock, say)
        self._engine = ""
        self._runner = Runner(board, clock, partial(self._make, image, engine), speed, say)
        self._pty_serial: PtySerial | None = None
        self._tcp_serial: TcpSerial | None = None
        self._lines = Lines()
        self._sent = bytearray()
        self._restarts = Throttle(say)
        board.sent = self._bytes_sent
        board.was_reset = self._lines.clear
        board.restarted = self._restarted

    # -- life ----------------------------------------------------------------------------

    def _make(self, image: Image, name: str | None) -> Engine:
        engine = start_engine(image, name)
        self._engine = engine.name
        return engine

    async def make(self) -> None:
        """Make the engine.

        Raises:
            BoardError: If there is none for the firmware here.

        """
        await self._runner.make()
        self._say(f"{self.board.firmware} runs in {self._engine}")

    def begin(self) -> None:
        """Let the firmware run; until then it stands at its first cycle."""
        self._runner.start()

    async def open_serial(self, host: str, port: int | None, path: Path | None) -> None:
        """Open the doors to the serial port; see ``BoardNode.open_serial``."""
        if port is not None:
            self._tcp_serial = TcpSerial(self.serial)
            await self._tcp_serial.open(host, port)
        if path is not None:
            self._pty_serial = PtySerial(self.serial, path)

    def tell_doors(self) -> None:
        """Say where programs find the serial port."""
        if self._tcp_serial is not None:
            self._say(f"serial port on tcp:{endpoint(self._tcp_serial.host, self._tcp_serial.number)}")
        if self._pty_serial is not None:
            self._say(f"serial port on {self._pty_serial.path}")

    @property
    def serial_port(self) -> int | None:
        """The TCP port of the serial port; ``None`` if there is none."""
        return self._tcp_serial.number if self._tcp_serial is not None else None

    async def close(self) -> None:
        """Close the doors, and stop the firmware and the clock."""
        if self._pty_serial is not None:
            self._pty_serial.close()
        if self._tcp_serial is not None:
            await self._tcp_serial.close()
        await self._runner.close()
        self._restarts.close()
        await super().close()

    # -- what comes ----------------------------------------------------------------------

    def transmit(self, number: int, data: bytes) -> int:
        """Send bytes to RX of the firmware, and return how many.

        Raises:
            BoardError: If the board has no such UART.
            BoardLostError: If the board is unplugged, or more waits for RX than it takes.

        """
        if number != 0:
            raise BoardError(f"{self.board.name} has no UART {number}; the {UNO.title} has 0")
        return self.board.receive(data)

    def reset(self) -> None:
        """Press the reset button.

        Raises:
            BoardLostError: If the board is unplugged.

        """
        with self.clock:
            self.board.reset()

    # -- what goes -----------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        """Return the board as it is now; ``firmware`` says how that fares."""
        board, pacer = self.board, self.board.pacer
        firmware = {
            "name": board.firmware,
            "engine": self._engine,
            "stopped": board.stopped,
            "restarts": board.restarts,
            "speed": self.speed,
            "cycle": pacer.reached,
            "behind": round(pacer.behind, 3),
            "given_up": round(pacer.given_up, 3),
            "missed": board.missed,
            "serial": self.serial.client,
            "lost_bytes": board.inbox.lost + self.serial.unread,
        }
        return {**super().state(), "firmware": firmware}

    def _bytes_sent(self, data: bytes) -> None:
        self.serial.sent(data)
        if not self._sent:
            self._loop.call_soon(self._pass_on)
        self._sent += data

    def _pass_on(self) -> None:
        """Publish what the firmware has sent since the last turn of the loop."""
        data = bytes(self._sent)
        self._sent.clear()
        self.harness.transmit(0, data)
        self._publish("uart/0", data)
        for line in self._lines.feed(data):
            self._publish("uart/0/lines", line)

    def _restarted(self, why: str) -> None:
        # Firmware that its watchdog bites in setup() is restarted sixty times a second.
        self._restarts(f"{self.board.firmware} began anew: {why}")

    def _state(self, reason: str | None) -> None:
        if reason is None or self.board.lost is not None:
            super()._state(reason)
            return
        self._say(f"{self.board.name}: {reason}")
        self._publish("state", reason)
