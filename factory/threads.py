"""The threads of one worker: where a plain ``def`` may block without blocking the loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

MAX_THREADS = 32
"""Plain ``def`` handlers that run at once; one more waits for its turn."""


class Threads:
    """Runs functions in threads and knows which of them never came back.

    No thread is started before it is needed.

    Args:
        name: What the names of the threads begin with.

    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool: ThreadPoolExecutor | None = None
        self._busy = 0
        self._counting = threading.Lock()

    @property
    def busy(self) -> int:
        """How many functions run right now; nothing in Python can end them."""
        with self._counting:
            return self._busy

    async def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a function in a thread and await its result.

        The function sees the context variables of its caller. Cancellation ends the wait,
        never the function.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix=self._name)
        context = contextvars.copy_context()
        call = partial(context.run, self._outcome, partial(function, *args, **kwargs))
        error, value = await asyncio.get_running_loop().run_in_executor(self._pool, call)
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """Start nothing any more; does not wait for what runs."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, call: Callable[[], Any]) -> tuple[BaseException | None, Any]:
        # Returned rather than raised: a future cannot hold StopIteration (its caller
        # would wait for ever), and one whose caller was cancelled would complain that
        # nobody asked for its exception.
        with self._counting:
            self._busy += 1
        try:
            return None, call()
        except BaseException as exc:
            return exc, None
        finally:
            with self._counting:
                self._busy -= 1
