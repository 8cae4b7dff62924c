"""Boards 1: a board as a node of the mesh; its pins are channels that everybody shares."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import factory
import mesh
from factory.boards import BoardError, BoardLostError, PinError, PinInUseError
from factory.boards.furniture import (
    check_end,
    check_fit,
    check_is_far,
    ends_elsewhere,
    far_ends,
    mistakes,
)


class Board(factory.FactoryLoop):
    """A board as a node: send to a pin to write it, subscribe to a pin to watch it."""

    async def setup(
        self,
        board: str = "sim:uno",
        firmata_tcp: int | None = None,
        firmata_pty: str | None = None,
        modes: dict[str, str] | None = None,
        failsafe: dict[str, Any] | None = None,
        parts: dict[str, dict[str, Any]] | None = None,
        wires: list[list[int | str]] | None = None,
        seed: int = 0,
        serial: str | None = None,
        serial_tcp: int | None = None,
        speed: float | Literal["max"] = 1.0,
    ) -> None:
        """Choose the board and its doors.

        Args:
            board: The board: sim:uno, sim:mega, sim:nano, sim:leonardo, avr:FIRMWARE.hex, serial:/dev/ttyACM0
                or tcp:HOST:PORT.
            firmata_tcp: Port on which Firmata clients find it.
            firmata_pty: Path of a serial port that is made for Firmata clients.
            modes: By pin, the mode that it has from the start.
            failsafe: By pin, its level when its owner has gone; 0 unless given, null lets go.
            parts: By name, what hangs on the pins.
            wires: Pins that are joined, a list for each wire.
            seed: Makes the noise of the simulation the same in every run.
            serial: Path of a serial port that is made for the UART of firmware.
            serial_tcp: Port on which programs find the UART of firmware.
            speed: Of firmware: 1 is real time, 10 is ten times as fast, max is as fast as it goes.

        """
        # Late: with it comes the network, which --help has no use for.
        from factory.boards.io.node import open_board

        if firmata_tcp is not None and not 0 <= firmata_tcp < 65_536:
            raise ValueError(
                f"the port for Firmata is from 0 (any that is free) to 65535, not {firmata_tcp}; "
                f"choose another firmata_tcp"
            )
        if serial_tcp is not None and not 0 <= serial_tcp < 65_536:
            raise ValueError(
                f"the port of the serial port is from 0 (any that is free) to 65535, not {serial_tcp}; "
                f"choose another serial_tcp"
            )
        said = {"modes": modes, "failsafe": failsafe, "parts": parts, "wires": wires}
        doors = {"firmata_tcp": firmata_tcp, "firmata_pty": firmata_pty}
        check_fit(board, {**said, **doors, "serial": serial, "serial_tcp": serial_tcp, "speed": speed})
        self.wires = wires or []
        try:
            self.board = await open_board(
                self.name, board, publish=self._tell, send=self._send_on, say=self.out, seed=seed, speed=speed
            )
        except BoardLostError as exc:
            raise SystemExit(str(exc)) from exc
        try:
            self.board.furnish(said)
            for _, node, pin in ends_elsewhere(self.wires):
                check_is_far(node, pin, self.name)
                self.node(node).uri()  # says so now if there is none, or none that can be reached
            # Before the mesh is served, so that nobody is told that it is if the rest cannot be.
            await self.board.open(self.me.host, firmata_tcp, Path(firmata_pty) if firmata_pty else None)
            await self.board.open_serial(self.me.host, serial_tcp, Path(serial) if serial else None)
        except (PinError, BoardError) as exc:
            await self.board.close()
            raise ValueError(str(exc)) from exc
        except mesh.MeshError as exc:
            await self.board.close()
            raise SystemExit(str(exc)) from exc

    @classmethod
    def check_arguments(
        cls, arguments: Mapping[str, Any], node: mesh.Node, grid: "mesh.Grid"
    ) -> list[tuple[tuple[str, ...], str]]:
        """Return what is wrong with the pins, parts and wires of a grid."""
        found = mistakes(arguments.get("board", "sim:uno"), arguments)
        known = grid.visible_to(node)
        for index, wire in enumerate(arguments.get("wires") or []):
            for name, pin in far_ends(wire):
                try:
                    check_is_far(name, pin, node.name)
                    far = known.node(name)
                    far.uri()
                    if far.sketch == "board":
                        check_end(str(far.args.get("board", "sim:uno")), name, pin)
                except (BoardError, PinError, mesh.GridError) as exc:
                    found.append((("wires", str(index)), str(exc)))
        return found

    def _tell(self, channel: str, value: object) -> object:
        # Edges and bytes happen; whoever comes later gets values and states only.
        return self.publish(channel, value, latch=not channel.startswith(("edges", "uart/")))

    @factory.on_start
    async def serve(self) -> None:
        """Say where programs find it, let firmware run, and lay the wires to other boards."""
        self.board.tell_doors()
        self.board.begin()
        self.board.harness.lay(self.wires)

    @factory.on_stop
    async def unplug(self) -> None:
        """Close them."""
        await self.board.close()

    def on_peer(self, name: str, state: str, reason: str) -> None:
        """Let go of the outputs of a peer that is gone, or is another process now."""
        if state == "down":
            self.board.left(name)
        else:
            self.board.back(name, reason)

    @factory.reactive("pin/{pin}")
    async def level(self, channel, msg, pin, sender=None):  # type: ignore[no-untyped-def]
        """Write a level, or play the outside world at an input."""
        return self._send(pin, "level", msg, sender)

    @factory.reactive("pin/{pin}/state")
    async def state(self, channel, msg, pin):  # type: ignore[no-untyped-def]
        """Answer what one pin looks like."""
        with _refusing():
            return self.board.pin_state(pin)

    @factory.reactive("pin/{pin}/wire")
    async def wire(self, channel, msg: dict[str, Any], pin, sender=None):  # type: ignore[no-untyped-def]
        """Take what another board does to a pin that it is wired to."""
        with _refusing():
            self.board.harness.came(pin, msg, sender)

    @factory.reactive("pin/{pin}/uart")
    async def bytes_came(self, channel, msg: bytes, pin):  # type: ignore[no-untyped-def]
        """Take bytes that another board sends to a pin."""
        with _refusing():
            return self.board.harness.receive(pin, msg)

    @factory.reactive("uart/{number:int}")
    async def uart(self, channel, msg: bytes, number):  # type: ignore[no-untyped-def]
        """Send bytes on a UART."""
        with _refusing():
            return self.board.transmit(number, msg)

    @factory.reactive("uart/{number:int}/lines")
    async def line(self, channel, msg: str, number):  # type: ignore[no-untyped-def]
        """Send a line of text on a UART."""
        with _refusing():
            return self.board.write_line(number, msg)

    @factory.reactive("reset")
    async def reset(self, channel, msg):  # type: ignore[no-untyped-def]
        """Press the reset button of a board with firmware."""
        with _refusing():
            self.board.reset()

    @factory.reactive("pin/{pin}/{what}")
    async def signal(self, channel, msg, pin, what, sender=None):  # type: ignore[no-untyped-def]
        """Write what else a pin has: pwm, servo, tone, mode or pulse."""
        return self._send(pin, what, msg, sender)

    @factory.reactive("pin/{pin}/{what}/force")
    async def by_force(self, channel, msg, pin, what, sender=None):  # type: ignore[no-untyped-def]
        """Do it even if somebody else owns the pin."""
        return self._send(pin, what, msg, sender, force=True)

    @factory.reactive("analog/{number:int}")
    async def analog(self, channel, msg, number):  # type: ignore[no-untyped-def]
        """Set what a simulated analog input reads."""
        with _refusing():
            return self.board.feed(number, msg)

    @factory.reactive("part/{name}")
    async def part(self, channel, msg, name):  # type: ignore[no-untyped-def]
        """Press, release or set a part; answers what it looks like then."""
        with _refusing():
            return self.board.handle(name, msg)

    @factory.reactive("pins")
    async def pins(self, channel, msg):  # type: ignore[no-untyped-def]
        """Answer what the board looks like."""
        return self.board.state()

    @factory.reactive("edges")
    async def edges(self, channel, since: int):  # type: ignore[no-untyped-def]
        """Answer the edges after a number."""
        return self.board.edges(since)

    @factory.reactive("power")
    async def power(self, channel, msg):  # type: ignore[no-untyped-def]
        """Unplug the simulated board (0), or plug it in again (1)."""
        with _refusing():
            self.board.power(msg)

    async def _send_on(self, node: str, channel: str, message: object) -> object:
        return await self.request(node, message, channel)

    def _send(
        self, pin: str, what: str, msg: object, sender: str | None, *, force: bool = False
    ) -> int | str:
        # A script has a name that begins with $, is gone in a moment, and so owns nothing.
        owner = None if sender is None or sender.startswith("$") else sender
        with _refusing():
            return self.board.send(pin, what, msg, owner, force=force)


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what is wrong with a message into its refusal: for now, or for good."""
    try:
        yield
    except (PinInUseError, BoardLostError) as exc:
        raise factory.Nack(str(exc)) from exc
    except (PinError, BoardError) as exc:
        raise factory.Reject(str(exc)) from exc
