"""The engine simavr: Debian's ``libsimavr2``, in a process of its own.

simavr is under the GPL, so nothing of it is loaded into this process. The other one ends when this one does:
then its input ends.

What simavr 1.6 does not do as the chip does: a character on the serial line always has a bit of parity, so
ten percent less fit on it; the EEPROM is written at once; an unknown instruction is skipped, and erased flash
is run through to its end; each sleep is as deep as idle. An endless loop is seen at the end of a slice.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from array import array
from ctypes.util import find_library as find_in_system
from functools import cache
from pathlib import Path
from time import monotonic

import factory
from factory.boards.avr.errors import EngineError, EngineMissingError
from factory.boards.avr.image import Image
from factory.boards.avr.records import ANSWER, FAILED, REQUEST, SIZE, Piece, RecordingEngine

DEADLINE = 30.0  # seconds for an answer; a piece takes less than one
PROGRAM = "factory.boards.avr.simavr_process"


@cache
def find_library() -> str | None:
    """Return the name of simavr's library, if there is one; it is not loaded."""
    return find_in_system("simavr")


class SimavrEngine(RecordingEngine):
    """An ATmega328P in simavr.

    Args:
        image: The firmware.

    Raises:
        EngineMissingError: The library is not installed.
        EngineError: The library is there and cannot be used.

    """

    name = "simavr"

    def __init__(self, image: Image) -> None:
        super().__init__()
        library = find_library()
        if library is None:
            raise EngineMissingError("simavr's library is not installed; apt-get install libsimavr2")
        root = str(Path(factory.__file__).parents[1])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process: subprocess.Popen[bytes] | None = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", PROGRAM, library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path},
            # Ctrl-C is for us; it then sees the end of its input.
            start_new_session=True,
        )
        try:
            self._send(SIZE.pack(len(image.flash)) + image.flash)
            self._receive()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._running().pid

    def close(self) -> None:
        """End the process. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        # It holds nothing that would have to be written, and might be in the middle of a piece.
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _exchange(self, until: int, commands: array[int]) -> Piece:
        payload = commands.tobytes()
        self._send(REQUEST.pack(until, len(payload)) + payload)
        return self._receive()

    def _receive(self) -> Piece:
        deadline = monotonic() + DEADLINE
        cycle, origin, dropped, size = ANSWER.unpack(self._read(ANSWER.size, deadline))
        payload = self._read(size, deadline)
        if cycle == FAILED:
            raise self._failed(payload.decode("utf-8", "backslashreplace"))
        records = array("i")
        records.frombytes(payload)
        return Piece(cycle, origin, dropped, records)

    # -- pipes, with a deadline ------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        process = self._running()
        assert process.stdin is not None
        descriptor = process.stdin.fileno()
        os.set_blocking(descriptor, False)
        deadline = monotonic() + DEADLINE
        rest = memoryview(data)
        while rest:
            self._wait(descriptor, select.POLLOUT, deadline)
            try:
                rest = rest[os.write(descriptor, rest) :]
            except BlockingIOError:
                continue
            except OSError as exc:
                raise self._failed(f"it cannot be written to ({exc.strerror})") from exc

    def _read(self, size: int, deadline: float) -> bytes:
        process = self._running()
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        found = bytearray()
        while len(found) < size:
            self._wait(descriptor, select.POLLIN, deadline)
            part = os.read(descriptor, size - len(found))
            if not part:
                raise self._failed(f"it ended with code {process.wait()}")
            found += part
        return bytes(found)

    def _wait(self, descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(deadline - monotonic(), 0) * 1000):
            raise self._failed(f"no answer for {DEADLINE:.0f} s")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise EngineError("this engine is closed; make another one")
        return self._process

    def _failed(self, why: str) -> EngineError:
        self.close()
        return EngineError(f"the process of simavr failed: {why}; use the engine avr8js, or report this")
