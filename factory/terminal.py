"""What somebody types, or pipes in, while everything else goes on."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress

from mesh.protocol.lines import LineSplitter
from mesh.protocol.values import text_or_bytes

_CHUNK = 64 * 1024


async def typed_lines(prompt: str) -> AsyncIterator[str | bytes]:
    """Give each line that is typed; ends with Ctrl-D, or at the end of what is piped in.

    Neither waiting for the next line nor what others print meanwhile gets into the other's way: on a
    terminal, if ``prompt_toolkit`` is installed, what is printed appears above what is being typed.

    Args:
        prompt: What stands before the line that is being typed.

    Raises:
        KeyboardInterrupt: If Ctrl-C is typed.
        LineTooLongError: If a line is longer than 64 KiB.

    """
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        with suppress(ImportError):
            from prompt_toolkit import PromptSession
            from prompt_toolkit.input import create_input
            from prompt_toolkit.patch_stdout import patch_stdout

            keys = create_input()
            # Raw all the time, also while something is printed: what is typed then would be shown by the
            # terminal in the midst of it, and Ctrl-D would be lost.
            keys.cooked_mode = nullcontext  # type: ignore[method-assign]
            session: PromptSession[str] = PromptSession(prompt, input=keys)
            with keys.raw_mode(), patch_stdout(), suppress(EOFError):
                while True:
                    yield await session.prompt_async()
            return
    async for line in _piped_lines():
        yield text_or_bytes(line)


async def _piped_lines() -> AsyncIterator[bytes]:
    """Read standard input in a thread, for it may be a file, a pipe or a terminal, and each may block."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue(1)

    def read() -> None:
        # Past sys.stdin, whose lock a thread that waits for ever would keep until the interpreter wants it.
        with suppress(RuntimeError, asyncio.CancelledError):  # nobody listens any more
            while True:
                try:
                    chunk = os.read(0, _CHUNK)
                except OSError:
                    chunk = b""
                asyncio.run_coroutine_threadsafe(chunks.put(chunk), loop).result()
                if not chunk:
                    return

    # Nothing can end a thread that waits for somebody to type; so it does not keep the process.
    threading.Thread(target=read, name="standard input", daemon=True).start()
    splitter = LineSplitter()
    while chunk := await chunks.get():
        for line in splitter.feed(chunk):
            yield line
    if splitter.rest:
        yield splitter.rest
