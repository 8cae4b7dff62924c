"""A transport with layers on it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mesh.transport.base import Transport
from mesh.transport.layers.base import Layer, LayerError
from mesh.transport.tapping import Tap


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
        self.writable = inner.writable
        inner.start(self)

    @property
    def peer(self) -> str:
        """Address of the other end, for people."""
        return self._inner.peer

    def silence(self) -> float | None:
        """Return the seconds since bytes last arrived."""
        return self._inner.silence()

    # -- towards the wire ------------------------------------------------------------------

    def _transmit(self, message: bytes) -> None:
        try:
            self._outward(len(self._layers), [message])
        except LayerError as exc:
            self._fail(str(exc))

    def _outward(self, at: int, pieces: list[bytes]) -> None:
        for layer in reversed(self._layers[:at]):
            pieces = [out for piece in pieces for out in layer.outbound(piece)]
        inner = self._inner
        for piece in pieces:
            inner.write(piece)
        if not inner.writable and self.writable:
            self._may_write(False)

    async def _close(self, reason: str) -> None:
        if self._goodbye is not None:
            await asyncio.wait([self._goodbye])
        await self._inner.close(reason)

    def _abort(self) -> None:
        self._inner.abort()

    def _hold_back(self, on: bool) -> None:
        if on:
            self._inner.pause_reading()
        else:
            self._inner.resume_reading()

    # -- what the transport below calls ------------------------------------------------------

    def messages_came(self, messages: list[bytes]) -> None:
        """Take what came from the wire."""
        if self._fault is None and not self._is_closing:
            self._inward(0, messages)

    def writing_resumed(self) -> None:
        """Take note that the transport below has room again."""
        self._may_write(True)

    def input_ended(self, reason: str) -> None:
        """Take note that nothing more will come from below."""
        self._end_input(self._finished(reason))

    def connection_ended(self, reason: str) -> None:
        """Take note that the connection is gone."""
        words = self._finished(reason)
        if self._goodbye is None:
            self._end(words)
        else:
            self._goodbye.add_done_callback(lambda _: self._end(words))

    def _finished(self, reason: str) -> str:
        """Let each layer say what is unfinished; return why there is an end, with that."""
        if self._fault is not None:
            return self._fault
        if not self._is_finished and not self._is_closing:
            self._is_finished = True
            for at, layer in enumerate(self._layers):
                try:
                    rest = layer.finish()
                except LayerError as exc:
                    reason = f"{reason}; {exc}"
                    rest = exc.messages
                self._inward(at + 1, rest)
        return reason

    def _inward(self, at: int, pieces: list[bytes]) -> None:
        fault: tuple[int, LayerError] | None = None
        for number, layer in enumerate(self._layers[at:], at):
            messages: list[bytes] = []
            try:
                for piece in pieces:
                    messages += layer.inbound(piece)
            except LayerError as exc:
                messages += exc.messages
                fault = (number, exc)
            pieces = messages
        if pieces:
            self._came(pieces)
        if fault is not None:
            number, error = fault
            self._fail(str(error), number + 1, self._layers[number].farewell(error))

    def _fail(self, why: str, at: int = 0, farewell: Sequence[bytes] = ()) -> None:
        """Close, for a layer can do no more; the layers below ``at`` still take what is said at last."""
        if self._fault is not None:
            return
        self._fault = why
        if farewell and not self._is_closing:
            self._outward(at, list(farewell))
        self._is_closing = True
        self._goodbye = asyncio.get_running_loop().create_task(
            self._inner.close(why), name=f"goodbye to {self.peer}"
        )
