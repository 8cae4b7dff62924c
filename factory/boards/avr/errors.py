"""What can go wrong with firmware and with what runs it.

The tree, below that of ``factory.boards.errors``::

    BoardError
      FirmwareError          the file is not firmware of an ATmega328P
      EngineMissingError     no simulator is installed
    BoardLostError
      EngineError            the simulator itself failed
"""

from __future__ import annotations

from factory.boards.errors import BoardError, BoardLostError


class FirmwareError(BoardError):
    """A file is no firmware for an ATmega328P, or is damaged.

    Attributes:
        file: Its name.
        where: The line or the offset at which this shows, such as ``line 3``; empty if it is the whole file.

    """

    def __init__(self, file: str, where: str, why: str) -> None:
        super().__init__(f"{file}{', ' if where else ''}{where}: {why}")
        self.file = file
        self.where = where


class EngineMissingError(BoardError):
    """Nothing that could run the firmware is installed."""


class EngineError(BoardLostError):
    """The simulator failed, through no fault of the firmware."""
