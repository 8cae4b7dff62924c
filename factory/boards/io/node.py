"""A board as a node of the mesh: channels to pins, and edges to channels.

No mesh in here: the sketch hands over what came and who sent it, and a function that
publishes. So a board behaves the same whoever carries its channels.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from factory.boards.bench import Bench
from factory.boards.board import Board, FailSafe, Pin
from factory.boards.edges import Edge
from factory.boards.errors import BoardError, PinModeError, PinValueError
from factory.boards.faults import Noise
from factory.boards.furniture import furnish, mode_named, simulated
from factory.boards.io.clock import BenchClock
from factory.boards.io.harness import Harness
from factory.boards.io.meshwire import Publish, Say, Send
from factory.boards.io.pty import PtyDoor
from factory.boards.io.remote import Remote
from factory.boards.io.tcp import TcpDoor
from factory.boards.modes import Mode, Signal
from factory.boards.parts import Part
from factory.boards.profiles import find_profile
from factory.boards.pulses import pulse
from factory.boards.simulated import SimBoard, SimPin
from mesh.text import did_you_mean, endpoint, listing

GRACE = 1.0
"""Seconds that an owner may be away before it counts as gone: a link that breaks is often back at once."""

MOST_EDGES = 4096
"""Edges in one answer or one published batch."""

LONGEST_PULSE = 60_000
"""Milliseconds."""

_ENDS = {Signal.LEVEL: "", Signal.DUTY: "/pwm", Signal.ANGLE: "/servo", Signal.TONE: "/tone"}
_WRITES: Mapping[str, Callable[..., None]] = {
    "level": Pin.digital_write,
    "pwm": Pin.analog_write,
    "servo": Pin.servo_write,
    "tone": Pin.tone,
}


async def open_board(
    name: str,
    url: str,
    *,
    publish: Publish,
    send: Send,
    say: Say,
    seed: int = 0,
    speed: float | str = 1.0,
) -> BoardNode:
    """Return a board as a node; to be called on the event loop.

    Args:
        name: What it is called.
        url: ``sim:uno`` and the like, ``avr:FILE``, ``serial:/dev/ttyACM0`` or ``tcp:HOST:PORT``.
        publish: Publishes a value on a channel.
        send: Sends to another node, for wires that end there.
        say: Prints a line.
        seed: Makes the noise of the simulation the same in every run.
        speed: Of firmware: how many seconds are simulated in one of ours, or ``max``.

    Raises:
        BoardError: If that is no board.
        BoardLostError: If the board is not there.

    """
    bench = Bench(monotonic(), seed)
    bench.trouble = say
    scheme, _, kind = url.partition(":")
    if scheme.partition("+")[0] == "avr":
        # Late: it is a kind of node itself.
        from factory.boards.io.firmware import open_firmware

        return await open_firmware(name, url, bench, speed, publish=publish, send=send, say=say)
    remote: Remote | None = None
    board: Board
    if scheme == "sim":
        board = SimBoard(name, find_profile(kind), bench)
    else:
        remote = Remote(name, url, say)
        board = await remote.connect()
    return BoardNode(board, bench, remote, publish=publish, send=send, say=say)


class BoardNode:
    """One board, its parts, its clock and its doors; ``open_board`` makes it.

    Args:
        board: The board.
        bench: The world that moves with it.
        remote: The line to it, if it has one.
        publish: Publishes a value on a channel.
        send: Sends to another node.
        say: Prints a line.
        clock: Moves the bench; one in real time unless it is given.

    Attributes:
        board: The board.
        clock: Moves it; what changes the board does so inside ``with clock:``.
        harness: Its wires to boards of other nodes.
        parts: By name, what hangs on it.
        run: Tells it from the same board of another process, where edges are numbered anew.

    """

    def __init__(
        self,
        board: Board,
        bench: Bench,
        remote: Remote | None,
        *,
        publish: Publish,
        send: Send,
        say: Say,
        clock: BenchClock | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.run = secrets.token_hex(4)
        self.bench = bench
        self.board = board
        self._remote = remote
        self.parts: dict[str, Part] = {}
        self.clock = clock or BenchClock(self.bench)
        self._publish = publish
        self._say = say
        self._tcp: TcpDoor | None = None
        self._pty: PtyDoor | None = None
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self.harness = Harness(board, self.clock, publish=publish, send=send, say=say)
        self._noise: dict[SimPin, Noise] = {}
        self._told = 0
        self._telling = False
        self._channels = self._name_channels()
        self.board.watch(self._edge)
        self.board.watch_state(self._state)

    def _name_channels(self) -> dict[tuple[int, Signal], str]:
        channels = {}
        for spec in self.board.profile.pins:
            for signal, end in _ENDS.items():
                channels[spec.number, signal] = f"pin/{spec.name}{end}"
            channels[spec.number, Signal.ANALOG] = f"analog/{spec.analog}"
        return channels

    # -- life ----------------------------------------------------------------------------

    def furnish(self, said: Mapping[str, Any]) -> None:
        """Set up what the grid says of the board; see ``factory.boards.furniture``.

        Raises:
            BoardError: If a part, a wire or a level makes no sense.
            PinError: If a pin is not there, or cannot do it.

        """
        with self.clock:
            self.parts = furnish(self.board, said)

    async def open(self, host: str, port: int | None, pty: Path | None) -> None:
        """Open the doors for Firmata clients.

        Raises:
            ServeError: If the port is taken.
            BoardError: If the name of the terminal is taken.

        """
        if port is not None:
            self._tcp = TcpDoor(self.board, self.clock)
            await self._tcp.open(host, port)
        if pty is not None:
            self._pty = PtyDoor(self.board, self.clock, pty)

    def tell_doors(self) -> None:
        """Say where Firmata clients find it."""
        if self._tcp is not None:
            self._say(f"Firmata on tcp:{endpoint(self._tcp.host, self._tcp.port)}")
        if self._pty is not None:
            self._say(f"Firmata on {self._pty.path}")

    async def open_serial(self, host: str, port: int | None, path: Path | None) -> None:
        """Open the doors to the serial port of firmware; a board without has none to open.

        Raises:
            ServeError: If the port is taken.
            BoardError: If the name of the terminal is taken.

        """

    def begin(self) -> None:
        """Let firmware run, if there is any: by now what hangs on its pins is there."""

    @property
    def firmata_port(self) -> int | None:
        """The port on which Firmata clients find it; ``None`` if there is none."""
        return self._tcp.port if self._tcp is not None else None

    async def close(self) -> None:
        """Close the doors and stop the clock."""
        await self.harness.close()
        if self._pty is not None:
            self._pty.close()
        if self._tcp is not None:
            await self._tcp.close()
        if self._remote is not None:
            await self._remote.close()
        for timer in self._leaving.values():
            timer.cancel()
        self.clock.close()

    # -- what comes ------------------------------------------------------------------------

    def send(
        self, ref: str, what: str, message: object, sender: str | None, *, force: bool = False
    ) -> int | str:
        """Do what a message to the channel of a pin says, and return what the pin is at then.

        Args:
            ref: The pin, as its channel has it.
            what: ``level``, ``pwm``, ``servo``, ``tone``, ``analog``, ``mode``, ``pulse`` or ``fault``.
            message: The value, or the word for a mode or a fault.
            sender: Who may own the pin by this; ``None`` for nobody.
            force: Take it from its owner.

        Raises:
            PinError: If it cannot be done.
            BoardError: If there is no such fault, or no fault can be had on a real board.
            BoardLostError: If the board is not there.

        """
        pin = self.board.pin(ref)
        if what not in _WORDS:
            near, known = did_you_mean(what, _WORDS), listing(_WORDS)
            raise PinModeError(f"pin {pin} has no {what[:20]!r}{near}; it has {known}", str(pin))
        with self.clock:
            if what == "fault":
                self._break(simulated(self.board).pin(ref), str(message))
                return str(message)
            if what == "mode":
                pin.set_mode(mode_named(message, str(pin)), by=sender, force=force)
                return pin.mode.value
            value = _number(message, pin)
            if what == "pulse":
                self._pulse(pin, value, sender, force=force)
            elif what == "analog":
                pin.sample(value)
            elif what == "level" and pin.mode in (Mode.INPUT, Mode.INPUT_PULLUP):
                pin.drive(value)
            else:
                _WRITES[what](pin, value, by=sender, force=force)
            # Of a shorted output not what was written, but what is.
            return pin.digital_read() if what in ("level", "pulse") and pin.spec.is_digital else value

    def _pulse(self, pin: Pin, milliseconds: int, sender: str | None, *, force: bool) -> None:
        """Turn a pin to its other level, and back after a time that the board's own clock counts."""
        if not 1 <= milliseconds <= LONGEST_PULSE:
            raise PinValueError(
                f"a pulse of pin {pin} lasts from 1 to {LONGEST_PULSE} milliseconds, not {milliseconds}",
                str(pin),
            )
        pulse(pin, milliseconds / 1000, self.bench.after, by=sender, force=force)

    def _break(self, pin: SimPin, fault: str) -> None:
        """Give a pin a fault instead of the one it has."""
        if fault not in _STUCK:
            known = listing(_STUCK, "or")
            raise BoardError(f"{fault[:20]!r} is no fault of pin {pin}; choose {known}")
        noise = self._noise.pop(pin, None)
        if noise is not None:
            noise.stop()
        pin.board.stick(pin.spec.number, _STUCK[fault])
        if fault == "noise":
            self._noise[pin] = Noise(pin)

    def transmit(self, number: int, data: bytes) -> int:
        """Send bytes on a UART, and return to how many RX pins they went.

        Raises:
            UnknownPinError: If the board has no such UART.

        """
        return self.harness.transmit(number, data)

    def write_line(self, number: int, text: str) -> int:
        """Send a line on a UART; see ``transmit``."""
        return self.transmit(number, f"{text}\n".encode())

    def reset(self) -> None:
        """Press the reset button of a board with firmware.

        Raises:
            BoardError: If it has none.

        """
        raise BoardError(f"{self.board.name} has no reset button: no firmware is simulated in it")

    def feed(self, channel: int, message: object) -> int:
        """Set what an analog input reads, and return it; an unset one becomes ANALOG.

        Raises:
            PinError: If it cannot be done.

        """
        pin = self.board.pin(f"A{channel}")
        with self.clock:
            pin.sample(_number(message, pin))
            return pin.analog_read()

    def handle(self, name: str, message: object) -> str:
        """Press, release, turn or set a part, and return what it looks like then.

        Raises:
            BoardError: If there is no such part, or it cannot be that.

        """
        part = self.parts.get(name)
        if part is None:
            near = did_you_mean(name, self.parts)
            raise BoardError(
                f"{self.board.name} has no part {name[:40]!r}{near}; it has {listing(self.parts) or 'none'}"
            )
        with self.clock:
            if message not in (None, ""):
                part.tell(str(message))
            return part.state

    def power(self, message: object) -> None:
        """Unplug a simulated board, or plug it in again.

        Raises:
            BoardError: If the message is neither 0 nor 1.

        """
        board = simulated(self.board)
        if str(message) not in ("0", "1"):
            raise BoardError(f"power of {board.name} is 0 or 1, not {str(message)[:20]!r}")
        with self.clock:
            (board.plug if str(message) == "1" else board.unplug)()

    def left(self, owner: str) -> None:
        """Take note that a peer is away; if it stays away, its outputs go to their fail-safe level."""
        if self.harness.has(owner) or any(pin.owner == owner for pin in self.board.pins):
            self._stay(owner)
            self._leaving[owner] = self._loop.call_later(GRACE, self._leave, owner)

    def back(self, owner: str, how: str) -> None:
        """Take note that a peer is there again; only one that has resumed its session keeps its outputs.

        Args:
            owner: The peer.
            how: ``resumed``, ``restarted`` or ``connected``, as ``on_peer`` is told.

        """
        if how == "restarted" or (how == "connected" and owner in self._leaving):
            # What was written by the one before is nothing that this one knows of.
            self._fail_safe(owner, "has begun anew")
        self._stay(owner)
        self.harness.back(owner)

    def _stay(self, owner: str) -> None:
        timer = self._leaving.pop(owner, None)
        if timer is not None:
            timer.cancel()

    def _leave(self, owner: str) -> None:
        del self._leaving[owner]
        self._fail_safe(owner, "is gone")
        with self.clock:
            self.harness.left(owner)

    def _fail_safe(self, owner: str, why: str) -> None:
        with self.clock:
            pins = self.board.leave(owner)
        if pins:
            self._say(f"{owner} {why}; fail-safe: {listing(map(str, pins))}")

    # -- what goes -------------------------------------------------------------------------

    def state(self) -> dict[str, object]:
        """Return the board as it is now: its pins with modes, owners and values, and its parts."""
        with self.clock:
            pins = [self._pin_state(pin) for pin in self.board.pins]
            parts = {name: part.state for name, part in self.parts.items()}
        profile = self.board.profile
        return {
            "board": profile.name,
            "title": profile.title,
            "lost": self.board.lost,
            "pins": pins,
            "parts": parts,
            "dropped": self.harness.dropped(),
            "shorts": list(self.bench.shorts.values()),
            "run": self.run,
            "made": self.board.log.made,
        }

    def pin_state(self, ref: str) -> dict[str, object]:
        """Return one pin as it is now, with the number of the board's latest edge.

        An unset pin has no value of its own; ``net`` is what others drive its net to, if they do. Of a
        board that is lost they are those it was left at, and ``lost`` says why it is.

        Raises:
            UnknownPinError: If there is none.

        """
        with self.clock:
            pin = self.board.pin(ref)
            state = {**self._pin_state(pin), "number": pin.spec.number}
            if pin.mode is Mode.UNSET and isinstance(pin, SimPin) and pin.net_level is not None:
                state["net"] = pin.net_level
            return {**state, "lost": self.board.lost, "run": self.run, "made": self.board.log.made}

    def _pin_state(self, pin: Pin) -> dict[str, object]:
        values = {signal.name.lower(): value for signal, value in pin.values.items()}
        if pin.mode is Mode.ANALOG:
            values["analog"] = pin.analog_read()
        return {
            "name": pin.spec.name,
            "mode": pin.mode.value,
            "owner": pin.owner,
            "functions": list(pin.spec.functions),
            **values,
        }

    def edges(self, since: int) -> dict[str, object]:
        """Return edges after a number, how many before them are gone, how many ever were, and the run."""
        edges, missed = self.board.log.rows(since, MOST_EDGES)
        return {"edges": edges, "missed": missed, "made": self.board.log.made, "run": self.run}

    def _edge(self, edge: Edge) -> None:
        self._publish(self._channels[edge.pin, edge.signal], edge.value)
        if not self._telling:
            self._telling = True
            self._loop.call_soon(self._tell)

    def _tell(self) -> None:
        """Publish what was logged since the last turn of the loop, a batch at a time."""
        edges, missed = self.board.log.rows(self._told, MOST_EDGES)
        self._told += missed + len(edges)
        self._publish("edges", {"edges": edges, "missed": missed})
        self._telling = self._told < self.board.log.made
        if self._telling:
            self._loop.call_soon(self._tell)

    def _state(self, lost: str | None) -> None:
        self._say(f"{self.board.name} is back" if lost is None else f"{self.board.name} is lost: {lost}")
        self._publish("state", lost or "")


_WORDS = (*_WRITES, "analog", "mode", "pulse", "fault")
_STUCK: Mapping[str, FailSafe] = {"none": None, "stuck-0": 0, "stuck-1": 1, "noise": None}


def _number(message: object, pin: Pin) -> int:
    """Return the whole number that a message is, whatever it came as."""
    if isinstance(message, int):
        return int(message)
    text = message if isinstance(message, str) else ""
    if text.strip().lstrip("-").isascii() and text.strip().lstrip("-").isdigit() and len(text) < 10:
        return int(text)
    raise PinValueError(f"{str(message)[:20]!r} is no whole number, which pin {pin} takes", str(pin))
