"""Taps: who wants to see what goes over the wire, and how it is told.

A tap is put on a transport, on a running one too, and taken away again. Where there is none it
costs a comparison. ``tap_process()`` puts one on every transport that is made from then on, so that
it is there before the first byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from mesh.transport.view import masked, view

Sink = Callable[[str], object]
"""Takes one line for people."""


class Tap:
    """Tells sinks of every message, in one line each.

    Args:
        sinks: Who is told. What a sink raises ends with it: it is taken away.
        clock: What time it is, for the lines.

    """

    def __init__(self, *sinks: Sink, clock: Callable[[], datetime] = datetime.now) -> None:
        self._sinks = list(sinks)
        self._clock = clock

    def add(self, sink: Sink) -> None:
        """Tell one more."""
        self._sinks.append(sink)

    def remove(self, sink: Sink) -> None:
        """Tell one less; nothing happens if it was not told."""
        if sink in self._sinks:
            self._sinks.remove(sink)

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """Who is told."""
        return tuple(self._sinks)

    @property
    def is_idle(self) -> bool:
        """Whether nobody is told."""
        return not self._sinks

    def opened(self, peer: str) -> None:
        """Take note of a connection."""
        self._tell(peer, "=", "Connection open")

    def sent(self, peer: str, message: bytes | str) -> None:
        """Take note of a message that goes out."""
        self._tell(peer, ">", f"Sending data: {_size(message)} B {view(message)}")

    def received(self, peer: str, messages: Iterable[bytes | str]) -> None:
        """Take note of messages that came."""
        for message in messages:
            self._tell(peer, "<", f"Received data: {_size(message)} B {view(message)}")

    def closing(self, peer: str, reason: str) -> None:
        """Take note that the connection is closed from here."""
        self._tell(peer, "=", "Closing transport" + (f": {masked(reason)}" if reason else ""))

    def ended(self, peer: str, reason: str) -> None:
        """Take note that the connection is gone."""
        self._tell(peer, "=", f"Connection over: {masked(reason)}")

    def _tell(self, peer: str, way: str, words: str) -> None:
        now = self._clock().isoformat(sep=" ", timespec="microseconds")[11:]
        line = f"[ wire ] {now} {way} {masked(peer)} {words}"
        for sink in list(self._sinks):
            try:
                sink(line)
            except Exception:
                # The wire goes on, whatever becomes of who looks at it.
                self.remove(sink)


def _size(message: bytes | str) -> int:
    return len(message.encode("utf-8", "surrogatepass")) if isinstance(message, str) else len(message)


_of_process: list[Tap] = []


def tap_process(tap: Tap | None) -> None:
    """Put a tap on every connection of this process that begins from now on; ``None`` for none."""
    _of_process[:] = [] if tap is None else [tap]


def tap_of_process() -> Tap | None:
    """Return the tap that every new connection gets."""
    return _of_process[0] if _of_process else None
