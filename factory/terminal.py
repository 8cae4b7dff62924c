"""What somebody types, or pipes in, while everything else goes on."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING

from factory.output import discard_output
from mesh.protocol.lines import LineSplitter
from mesh.protocol.values import text_or_bytes

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

_CHUNK = 64 * 1024

_END = re.compile(r"\r\n|\r|\n")


Complete = Callable[[str], Iterable[str]]
"""Returns what the last word of a line may become, given the line as far as it is typed."""


async def typed_lines(
    prompt: str | Callable[[], str], complete: Complete | None = None, *, erase: bool = False
) -> AsyncIterator[str | bytes]:
    """Give each line that is typed; ends with Ctrl-D, or at the end of what is piped in.

    Neither waiting for the next line nor what others print meanwhile gets into the other's way: on a
    terminal, if ``prompt_toolkit`` is installed, what is printed appears above what is being typed.

    Args:
        prompt: What stands before the line that is being typed. Without ``prompt_toolkit`` it goes to
            standard error, so that it is never taken for what is shown. May be a function, if it changes.
        complete: What the Tab key offers, where it can.
        erase: Whether a line vanishes from the prompt when it is done, for it will be shown in its place.

    Raises:
        KeyboardInterrupt: If Ctrl-C is typed.
        LineTooLongError: If a line is longer than 64 KiB.

    """
    is_typed = sys.stdin is not None and sys.stdin.isatty()
    if is_typed and sys.stdout.isatty():
        with suppress(ImportError):
            from prompt_toolkit.patch_stdout import patch_stdout

            session = _session(prompt, complete, erase=erase)
            with patch_stdout(), suppress(EOFError):
                while True:
                    # What is pasted may be many lines, and bytes that are no text come as surrogates.
                    for line in _END.split(await session.prompt_async()):
                        yield text_or_bytes(line.encode(errors="surrogateescape"))
            return

    def ask() -> None:
        if is_typed:
            print(prompt() if callable(prompt) else prompt, end="", file=sys.stderr, flush=True)

    ask()
    async for line in _piped_lines():
        yield text_or_bytes(line)
        ask()


def _session(
    prompt: str | Callable[[], str], complete: Complete | None, *, erase: bool
) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent, Completer, Completion
    from prompt_toolkit.document import Document
    from prompt_toolkit.shortcuts import CompleteStyle

    class Words(Completer):
        """Completes the last word."""

        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
            text = document.text_before_cursor
            word = text.rpartition(" ")[2]
            for known in complete(text) if complete else ():
                yield Completion(known, start_position=-len(word))

    return PromptSession(
        prompt,
        completer=Words() if complete else None,
        complete_while_typing=False,
        # A menu would keep eight lines free below the prompt, all the time.
        complete_style=CompleteStyle.READLINE_LIKE,
        reserve_space_for_menu=0,
        erase_when_done=erase,
    )


def show_line(text: object) -> None:
    """Write a line to standard output as it is.

    Raises:
        OSError: If nobody reads it any more, or it cannot be written. What is written later goes nowhere.

    """
    try:
        print(text, flush=True)
    except OSError as exc:
        discard_output()
        raise OSError(f"nobody takes what is written to standard output ({exc.strerror})") from exc


async def _piped_lines() -> AsyncIterator[bytes]:
    """Read standard input in a thread, for it may be a file, a pipe or a terminal, and each may block."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue(1)

    def read() -> None:
        # Past sys.stdin, whose lock a thread that waits for ever would keep until the interpreter wants it.
        with suppress(RuntimeError, CancelledError):  # nobody listens any more
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
