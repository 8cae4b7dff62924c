"""Firmata on a pseudo terminal: a serial port that is none, for programs that want a serial port.

A pty has neither a baud rate nor DTR, so what a real board does when its port is opened has to
be made: as long as nobody has it open, the master end reports a hang-up (POLLHUP). When that
is over, somebody has come; the board "resets", and says who it is when it has "booted".

The port goes by the name of a symlink. Beside it lies a lock file that says which link is ours,
so that the link of a process that was killed is replaced, and nothing else ever is.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import fcntl
import logging
import os
import select
import termios
import tty
from pathlib import Path

from factory.boards.board import Board
from factory.boards.errors import BoardError
from factory.boards.firmata.session import Session
from factory.boards.io.clock import BenchClock

logger = logging.getLogger("factory.boards")

BOOT = 0.05
"""Seconds from the opening of the port to the first byte; clients drop what was there before."""

_LOOK = 0.02
_CHUNK = 4096


class PtyLink:
    """The name of a pty: a symlink, and the lock that says whose it is.

    Args:
        path: Where the symlink shall be.

    Raises:
        BoardError: If something else is there, or another board has it.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        try:
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise BoardError(f"the pty cannot have its name {path}: {exc.strerror}") from exc
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise BoardError(
                f"{path} belongs to another board that is running; choose another name"
            ) from None
        known = os.read(self._lock, _CHUNK).decode(errors="replace")
        if os.path.lexists(path):
            if not path.is_symlink() or str(path.readlink()) != known:
                if not known:
                    self._lock_path.unlink()
                os.close(self._lock)
                raise BoardError(
                    f"{path} is there already, and no link of ours; choose another name, or remove it"
                )
            path.unlink()
        # A start that fails has nobody who closes it.
        atexit.register(self.close)

    def point(self, target: str) -> None:
        """Make the link."""
        # First the note, then the link: a link without a note would be a stranger's.
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, target.encode(), 0)
        self._path.symlink_to(target)

    def remove(self) -> None:
        """Take the link away, until it is made again."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Take the link away for good."""
        atexit.unregister(self.close)
        self.remove()
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)


class PtyDoor:
    """A pseudo terminal on which one Firmata client at a time finds the board.

    Args:
        board: The board.
        clock: Moves it.
        path: Where the symlink to the terminal shall be.

    Attributes:
        path: Where the symlink is.
        device: The terminal; empty while the board is unplugged.

    Raises:
        BoardError: If the path is taken.

    """

    def __init__(self, board: Board, clock: BenchClock, path: Path) -> None:
        self.path = path
        self.device = ""
        self._board = board
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._link = PtyLink(path)
        self._master = -1
        self._session: Session | None = None
        self._booting: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._pending = b""
        self._flushing = False
        self._unwatch = board.watch_state(self._state)
        if board.lost is None:
            self._plug()

    def close(self) -> None:
        """Take the terminal away."""
        self._unwatch()
        self._unplug()
        self._link.close()

    def _state(self, lost: str | None) -> None:
        if lost is None:
            self._plug()
        else:
            self._unplug()

    def _plug(self) -> None:
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        self.device = os.ttyname(slave)
        tty.setraw(slave)
        os.close(slave)
        self._link.point(self.device)
        self._look()

    def _unplug(self) -> None:
        if self._master < 0:
            return
        self._leave()
        if self._looking is not None:
            self._looking.cancel()
        os.close(self._master)
        self._master = -1
        self.device = ""
        self._link.remove()

    # -- coming and going ------------------------------------------------------------------

    def _look(self) -> None:
        """Wait for somebody to open the terminal; nothing but looking tells."""
        if self._is_closed():
            self._looking = self._loop.call_later(_LOOK, self._look)
            return
        self._looking = None
        name = f"Firmata client {self.device}"
        logger.info("%s has come", name, extra={"node": self._board.name})
        with self._clock:
            self._session = Session(self._board, name, self._wake)
            self._clock.add(self._session)
        self._booting = self._loop.call_later(BOOT, self._boot)
        self._loop.add_reader(self._master, self._read)

    def _is_closed(self) -> bool:
        """Whether nobody has the terminal open."""
        poll = select.poll()
        poll.register(self._master, select.POLLHUP)
        return any(event & select.POLLHUP for _, event in poll.poll(0))

    def _boot(self) -> None:
        if self._session is not None:
            with self._clock as now:
                self._session.start(now)

    def _leave(self) -> None:
        """Let the client go, if there is one."""
        session, self._session = self._session, None
        if session is None:
            return
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        if self._booting is not None:
            self._booting.cancel()
        self._pending = b""
        with self._clock:
            self._clock.remove(session)
            session.close()

    def _gone(self) -> None:
        self._leave()
        # What it did not read is not for the next one, nor are its settings.
        with contextlib.suppress(OSError):
            slave = os.open(self.device, os.O_RDWR | os.O_NOCTTY)
            termios.tcflush(slave, termios.TCIOFLUSH)
            tty.setraw(slave)
            os.close(slave)
        self._look()

    # -- bytes -----------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        except OSError as exc:
            if exc.errno != errno.EIO:
                logger.warning("%s: reading failed: %s", self.device, exc.strerror)
            self._gone()
            return
        if self._session is not None:
            with self._clock as now:
                self._session.receive(data, now)

    def _wake(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._session is None or self._pending:
            return
        self._pending = self._session.data_to_send()
        if self._pending:
            self._write()

    def _write(self) -> None:
        """Write what waits. While the client does not read, it is not listened to either."""
        try:
            sent = os.write(self._master, self._pending)
        except OSError as exc:
            if not isinstance(exc, BlockingIOError) or self._is_closed():
                self._gone()
                return
            sent = 0
        self._pending = self._pending[sent:]
        if self._pending:
            self._loop.remove_reader(self._master)
            self._loop.add_writer(self._master, self._write)
        else:
            self._loop.remove_writer(self._master)
            self._loop.add_reader(self._master, self._read)
            self._wake()
