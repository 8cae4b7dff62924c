"""Boards and pins: what a sketch, a Firmata client and a shell share.

The packages below this one are sans-I/O: no asyncio, no clock, no sockets. What opens
sockets and terminals is in ``factory.boards.io``. See docs/explanation/boards.md.
"""

from factory.boards.bench import Bench
from factory.boards.board import Board, Pin
from factory.boards.edges import Edge, EdgeLog
from factory.boards.errors import (
    BoardError,
    BoardLostError,
    PinError,
    PinInUseError,
    PinModeError,
    PinUnsupportedError,
    PinValueError,
    UnknownPinError,
)
from factory.boards.modes import Mode, Signal
from factory.boards.profiles import PROFILES, PinSpec, Profile
from factory.boards.simulated import SimBoard, SimPin, wire

__all__ = [
    "PROFILES",
    "Bench",
    "Board",
    "BoardError",
    "BoardLostError",
    "Edge",
    "EdgeLog",
    "Mode",
    "Pin",
    "PinError",
    "PinInUseError",
    "PinModeError",
    "PinSpec",
    "PinUnsupportedError",
    "PinValueError",
    "Profile",
    "Signal",
    "SimBoard",
    "SimPin",
    "UnknownPinError",
    "wire",
]
