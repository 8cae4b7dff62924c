"""Commands that go on until they are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import click

from factory.signals import StopSignals

T = TypeVar("T")


def run_until_stopped(main: Coroutine[Any, Any, T]) -> T | None:
    """Run a coroutine to its end, or until Ctrl-C or SIGTERM; a second Ctrl-C exits with 130 at once.

    Returns:
        What it returns; ``None`` if it was stopped.

    """

    async def whole() -> T | None:
        loop, task = asyncio.get_running_loop(), asyncio.create_task(main)

        def stop(_by_keyboard: bool) -> None:
            loop.call_soon_threadsafe(task.cancel)

        with StopSignals(
            stop,
            lambda: click.echo("Error: it did not stop in time; ends by force", err=True),
        ):
            try:
                return await task
            except asyncio.CancelledError:
                return None

    return asyncio.run(whole())
