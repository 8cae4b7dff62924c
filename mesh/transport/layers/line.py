"""Messages as lines."""

from __future__ import annotations

from mesh.errors import LineTooLongError
from mesh.protocol.lines import MAX_LINE, LineSplitter
from mesh.transport.layers.base import Layer, LayerError


class Line(Layer):
    r"""Cuts a byte stream into lines; what is sent ends as the last line that came.

    Args:
        delimiter: What ends a line; ``None`` for ``\n`` and ``\r\n``, as they come.
        max_line: Bytes that a line may have.
        keep_rest: Whether a last line without an end is a message, when nothing more comes. Else it is
            only reported.

    """

    cuts_bytes = True
    is_binary = False

    def __init__(
        self, delimiter: bytes | None = None, max_line: int = MAX_LINE, *, keep_rest: bool = False
    ) -> None:
        self._splitter = LineSplitter(delimiter, max_line)
        self._keep_rest = keep_rest

    def outbound(self, message: bytes) -> list[bytes]:
        """Return a message as one line."""
        end = self._splitter.last_delimiter
        # Whoever takes \r\n takes \n as well.
        if b"\n" in message if end.endswith(b"\n") else end in message:
            raise LayerError("a message with a line break in it cannot be sent as one line")
        return [message + end]

    def inbound(self, data: bytes) -> list[bytes]:
        """Return the lines that are whole."""
        try:
            return self._splitter.feed(data)
        except LineTooLongError as exc:
            raise LayerError(str(exc), exc.lines) from exc

    def finish(self) -> list[bytes]:
        """Return the last line, if one without an end is wanted."""
        rest = self._splitter.rest
        if not rest or self._keep_rest:
            return [rest] if rest else []
        raise LayerError(f"its last line did not end, {len(rest)} bytes of it came")

    def farewell(self, error: LayerError) -> list[bytes]:
        """Return a line that says what was wrong."""
        return [f"error: {error}".encode()]
