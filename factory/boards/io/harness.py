"""The wires of one board to boards of other nodes, and the UARTs that go over wires."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factory.boards.board import Board
from factory.boards.errors import BoardError
from factory.boards.furniture import ends_elsewhere, simulated
from factory.boards.io.clock import BenchClock
from factory.boards.io.meshwire import MeshWire, Publish, Say, Send
from factory.boards.simulated import SimPin
from mesh.text import listing

MOST_WIRES = 256
"""Wires of one board; each of them is a task."""


class Harness:
    """The wires of one board.

    Args:
        board: The board.
        clock: Moves it.
        publish: Publishes a value on a channel.
        send: Sends to another node.
        say: Prints a line.

    """

    def __init__(self, board: Board, clock: BenchClock, *, publish: Publish, send: Send, say: Say) -> None:
        self._board = board
        self._clock = clock
        self._publish = publish
        self._send = send
        self._say = say
        self._wires: dict[tuple[SimPin, str], MeshWire] = {}

    def __len__(self) -> int:
        return len(self._wires)

    # -- wires ---------------------------------------------------------------------------

    def lay(self, wires: list[list[int | str]]) -> None:
        """Lay the wires of a grid that end on boards of other nodes; the others are furniture.

        Raises:
            BoardError: If there are too many, or the board is no simulated one.
            UnknownPinError: If a pin here is not there.

        """
        for ref, node, pin in ends_elsewhere(wires):
            self._wire(ref, node, pin)

    def came(self, ref: str, message: Mapping[str, Any], sender: str | None) -> None:
        """Take what a board of another node does to a pin that it is wired to.

        Args:
            ref: The pin here, as the other end calls it.
            message: ``from``, the pin there, and ``drive``, volts and ohms or nothing.
            sender: The node.

        Raises:
            BoardError: If the message is none from a board, or there are too many wires.
            UnknownPinError: If there is no such pin.

        """
        pin = simulated(self._board).pin(ref)
        node, _, far = str(message.get("from", "")).rpartition(".")
        if not far or node != sender:
            raise BoardError(f"a wire to {pin} is laid in the grid of a board, not by hand")
        with self._clock:
            self._wire(ref, node, far).came(message.get("drive"))

    def _wire(self, own: str, node: str, ref: str) -> MeshWire:
        pin = simulated(self._board).pin(own)
        key = (pin, f"{node}.{ref}")
        if key not in self._wires:
            if len(self._wires) >= MOST_WIRES:
                raise BoardError(f"{pin} is one wire too many; {MOST_WIRES} is all that a board takes")
            name = f"{self._board.name}.{own}"
            self._wires[key] = MeshWire(pin, name, node, ref, self._send, self._say)
        return self._wires[key]

    def has(self, node: str) -> bool:
        """Say whether a wire leads to a node."""
        return any(wire.node == node for wire in self._wires.values())

    def back(self, node: str) -> None:
        """Take note that a node is there: it may have forgotten what it was told."""
        for wire in self._to(node):
            wire.again()

    def left(self, node: str) -> None:
        """Take note that a node is gone: the wires to it are as if cut."""
        for wire in self._to(node):
            wire.cut()

    def _to(self, node: str) -> list[MeshWire]:
        return [wire for wire in self._wires.values() if wire.node == node]

    async def close(self) -> None:
        """Take all wires away."""
        for wire in self._wires.values():
            await wire.close()

    # -- UARTs ---------------------------------------------------------------------------

    def transmit(self, number: int, data: bytes) -> int:
        """Send bytes on a UART, to every RX pin that its TX pin is wired to, and return to how many.

        A wire that has to drop some of the bytes counts as none, see ``dropped``.

        Raises:
            BoardError: If the board has no such UART.

        """
        board = simulated(self._board)
        words = [word for pin in board.pins for word in pin.spec.functions if word.startswith("TX")]
        if f"TX{number}" not in words:
            known = listing(sorted(word[2:] for word in words))
            raise BoardError(f"{board.name} has no UART {number}; the {board.profile.title} has {known}")
        net = board.pin(f"TX{number}").net
        reached = 0
        for terminal in list(net.terminals):
            if isinstance(terminal, MeshWire):
                reached += terminal.transmit(data)
            elif isinstance(terminal, SimPin):
                reached += self._heard(terminal, data)
        return reached

    def dropped(self) -> dict[str, int]:
        """Return, by wire, how many bytes of a UART it has dropped."""
        return {f"{pin} to {wire.label}": wire.lost for (pin, _), wire in self._wires.items() if wire.lost}

    def receive(self, ref: str, data: bytes) -> int:
        """Take bytes that come by a wire to a pin; only an RX pin listens.

        Raises:
            UnknownPinError: If there is no such pin.

        """
        return self._heard(simulated(self._board).pin(ref), data)

    def _heard(self, pin: SimPin, data: bytes) -> int:
        listening = [word[2:] for word in pin.spec.functions if word.startswith("RX")]
        for number in listening:
            if pin.board.hear(int(number), data):
                continue
            self._publish(f"uart/{number}", data)
        return len(listening)
