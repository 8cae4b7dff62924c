"""Lines that somebody types, or that come through a pipe."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator

MOST_WAITING = 64
"""Lines that are read before somebody wants them."""

_CHUNK = 4096
MOST_LINE = 64 * 1024
"""Bytes of a line after which it is taken as one, whether or not it ends there."""


async def typed_lines(descriptor: int = 0) -> AsyncIterator[str]:
    """Iterate over the lines of standard input, without their ends; ends with the input.

    A thread reads, for terminals, pipes and files do not have one way of waiting for them. It is
    a daemon that uses no buffer of the interpreter's, so that it holds up nobody's end.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue(MOST_WAITING)

    def put(line: str | None) -> None:
        asyncio.run_coroutine_threadsafe(queue.put(line), loop).result()

    def read() -> None:
        rest = b""
        try:
            while data := os.read(descriptor, _CHUNK):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > MOST_LINE:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    put(line.decode("utf-8", "backslashreplace").rstrip("\r"))
            if rest:
                put(rest.decode("utf-8", "backslashreplace"))
            put(None)
        except (OSError, RuntimeError, asyncio.CancelledError):
            return  # the input was closed, or the loop was

    threading.Thread(target=read, name="standard input", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line
