"""A transport with layers on it.

- *Memory.* A few bytes from the wire may unfold to very many. So what comes is taken through all the
  layers piece by piece, and only ``TURN`` bytes of messages are made in one turn of the loop. While some
  is left, or the user wants no more, it stays as it came, and nothing is read from below.
- *The end* comes when nothing is left. Until then answers may be written, and go nowhere.
- *Faults.* Whatever a layer raises ends the connection, with a reason that names what was wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from mesh.text import printable
from mesh.transport.base import Transport
from mesh.transport.layers.base import Layer, LayerError
from mesh.transport.tapping import Tap

logger = logging.getLogger("mesh.transport")

TURN: Final = 256 * 1024
"""Bytes of messages that are made in one turn of the loop; one message may be more by itself."""


class _FaultError(Exception):
    """A layer can do no more.

    Attributes:
        at: Which one, counted from the wire.
        error: What was wrong.

    """

    def __init__(self, at: int, error: LayerError) -> None:
        super().__init__(at, error)
        self.at = at
        self.error = error


class Layered(Transport):
    """Messages that go through layers on their way to and from another transport.

    When a layer fails, what was whole before still arrives, the peer is told if the layer knows how,
    and the connection is closed with the layer's reason.

    Args:
        inner: The transport below; it is this one's from now on.
        layers: First that nearest the wire. They belong to this connection alone.
        tap: Sees what is above the layers. A tap of the process does not: it sees the wire itself.

    """

    def __init__(self, inner: Transport, layers: Sequence[Layer], *, tap: Tap | None = None) -> None:
        super().__init__()
        self._tap = tap
        self._inner = inner
        self._layers = list(layers)
        for layer in self._layers:
            layer.peer = inner.peer
        self._fault: str | None = None
        self._is_finished = False
        self._goodbye: asyncio.Task[None] | None = None
        # What came and has not passed the layers yet, and what is told when it has.
        self._work: deque[Iterator[list[bytes]]] = deque()
        self._endings: list[Callable[[], object]] = []
        self._is_behind = False
        self._unfinished = ""
        self._due: asyncio.Handle | None = None
        self.writable = inner.writable
        inner.start(self)

    @property
    def peer(self) -> str:
        """Address of the other end, for people."""
        return self._inner.peer

    def is_closing(self) -> bool:
        """Say whether it is closed, or either end has begun to close it: this one or that below."""
        return self._is_closing or self._inner.is_closing()

    def silence(self) -> float | None:
        """Return the seconds since bytes last arrived."""
        return self._inner.silence()

    def arrivals(self) -> int | None:
        """Return how many pieces of data have arrived."""
        return self._inner.arrivals()

    def hasten(self) -> None:
        """Have what is lost sent again sooner, where the system can."""
        self._inner.hasten()

    # -- towards the wire ------------------------------------------------------------------

    def write(self, message: bytes) -> None:
        """Send one message; nothing happens on a connection that is closing, here or below."""
        if not self._inner.is_closing():
            super().write(message)

    def _transmit(self, message: bytes) -> None:
        try:
            self._outward(len(self._layers), [message])
        except LayerError as exc:
            self._fail(str(exc))

    def _outward(self, at: int, pieces: list[bytes]) -> None:
        for layer in reversed(self._layers[:at]):
            try:
                pieces = [out for piece in pieces for out in layer.outbound(piece)]
            except Exception as exc:
                raise _as_layer_error(layer, exc) from exc
        inner = self._inner
        for piece in pieces:
            inner.write(piece)
        if not inner.writable and self.writable:
            self._may_write(False)

    async def _close(self, reason: str) -> None:
        self._drop()
        if self._goodbye is not None:
            await asyncio.wait([self._goodbye])
        await self._inner.close(reason)

    def _abort(self) -> None:
        self._drop()
        self._inner.abort()

    def _hold_back(self, on: bool) -> None:
        if on:
            self._inner.pause_reading()
        elif self._work:
            self._go_on_soon()
        else:
            self._inner.resume_reading()

    # -- what the transport below calls ------------------------------------------------------

    def messages_came(self, messages: list[bytes]) -> None:
        """Take what came from the wire."""
        if self._fault is None and not self._is_closing:
            self._take(self._through(0, messages))

    def writing_resumed(self) -> None:
        """Take note that the transport below has room again."""
        self._may_write(True)

    def input_ended(self, reason: str) -> None:
        """Take note that nothing more will come from below."""
        self._finish(lambda: self._end_input(self._words(reason)))

    def connection_ended(self, reason: str) -> None:
        """Take note that the connection is gone."""
        self._finish(lambda: self._tell_end(self._words(reason)))
        if self._endings and not self.writable:
            # Who waits for room would wait for ever, and take nothing of what is left.
            self._may_write(True)

    def _finish(self, ending: Callable[[], object]) -> None:
        """Let each layer say what is unfinished, after all that came; then there is an end."""
        self._endings.append(ending)
        if self._fault is None and not self._is_finished and not self._is_closing:
            self._is_finished = True
            self._take(self._rests())
        elif not self._work:
            self._tell_endings()

    def _words(self, reason: str) -> str:
        return self._fault or reason + self._unfinished

    def _tell_end(self, words: str) -> None:
        if self._goodbye is None:
            self._end(words)
        else:
            self._goodbye.add_done_callback(lambda _: self._end(words))

    def _tell_endings(self) -> None:
        endings, self._endings = self._endings, []
        for ending in endings:
            ending()

    # -- through the layers --------------------------------------------------------------------

    def _through(self, at: int, pieces: list[bytes]) -> Iterator[list[bytes]]:
        """Yield the messages that pieces become in the layers from one on, a few at a time.

        Raises:
            _FaultError: If a layer can do no more; what was whole before was yielded.

        """
        if at == len(self._layers):
            if pieces:
                yield pieces
            return
        layer = self._layers[at]
        is_last = at + 1 == len(self._layers)
        for piece in pieces:
            try:
                messages = layer.inbound(piece)
            except Exception as exc:
                error = _as_layer_error(layer, exc)
                yield from self._through(at + 1, error.messages)
                raise _FaultError(at, error) from exc
            if not is_last:
                yield from self._through(at + 1, messages)
            elif messages:
                yield messages

    def _rests(self) -> Iterator[list[bytes]]:
        """Yield what the layers have left when nothing more comes."""
        for at, layer in enumerate(self._layers):
            try:
                rest = layer.finish()
            except Exception as exc:
                error = _as_layer_error(layer, exc)
                self._unfinished += f"; {error}"
                rest = error.messages
            yield from self._through(at + 1, rest)

    def _take(self, work: Iterator[list[bytes]]) -> None:
        self._work.append(work)
        # Else the rest of what came before is handed over first.
        if len(self._work) == 1:
            self._hand_over()

    def _hand_over(self) -> None:
        """Make messages, as many as may be in one turn, and hand them over; tell the end after the last."""
        self._due = None
        messages: list[bytes] = []
        size, fault = 0, None
        while self._work and size < TURN and not self._held_back:
            try:
                made = next(self._work[0], None)
            except _FaultError as exc:
                fault = exc
                break
            if made is None:
                self._work.popleft()
            else:
                messages += made
                size += sum(map(len, made))
        if messages:
            self._came(messages)
        if fault is not None:
            error = fault.error
            self._fail(str(error), fault.at + 1, _farewell(self._layers[fault.at], error))
        if self._work:
            self._is_behind = True
            self._inner.pause_reading()
            self._go_on_soon()
            return
        if self._is_behind and not self._held_back:
            self._is_behind = False
            self._inner.resume_reading()
        if self._endings:
            self._tell_endings()

    def _go_on_soon(self) -> None:
        if self._due is None and not self._held_back:
            self._due = asyncio.get_running_loop().call_soon(self._hand_over)

    def _drop(self) -> None:
        """Forget what is left: nobody is to get it any more."""
        self._work.clear()
        self._tell_endings()

    def _fail(self, why: str, at: int = 0, farewell: Sequence[bytes] = ()) -> None:
        """Close, for a layer can do no more; the layers below ``at`` still take what is said at last."""
        if self._fault is not None:
            return
        self._fault = why
        if farewell and not self._is_closing:
            with contextlib.suppress(LayerError):  # then it is not said
                self._outward(at, list(farewell))
        self._is_closing = True
        self._goodbye = asyncio.get_running_loop().create_task(
            self._inner.close(why), name=f"goodbye to {self.peer}"
        )
        self._drop()


def _as_layer_error(layer: Layer, exc: Exception) -> LayerError:
    """Return what a layer raised as what it may raise."""
    if isinstance(exc, LayerError):
        return exc
    name = type(layer).__name__
    logger.debug("layer %s failed", name, exc_info=exc)
    return LayerError(printable(f"layer {name} failed ({type(exc).__name__}: {exc}); it has a mistake"))


def _farewell(layer: Layer, error: LayerError) -> list[bytes]:
    try:
        return layer.farewell(error)
    except Exception as exc:
        return _as_layer_error(layer, exc).messages
