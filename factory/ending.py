"""How the tasks of a worker end: by themselves, or in the time that is left, or abandoned."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from typing import Any

from factory.trouble import Report

CANCELLED = 0.1
"""Seconds in which what was cancelled has to end before it is abandoned."""


async def to_its_end(task: asyncio.Task[None]) -> None:
    """Await a task that nothing may cut short; a cancellation comes out when it is done."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # asked for, so that asyncio does not complain
        raise cancelled
    task.result()


async def wait_at_most(tasks: Collection[asyncio.Task[None]], limit: float) -> Collection[asyncio.Task[None]]:
    """Wait for tasks, but no longer than that, and return those that still run."""
    return (await asyncio.wait(tasks, timeout=limit))[1] if tasks else tasks


async def within(limit: float, work: Coroutine[Any, Any, None], name: str, report: Report) -> bool:
    """Run some work and return whether it ended in time; what goes wrong in it is reported."""
    task = asyncio.create_task(work, name=name)
    late = await wait_at_most([task], limit)
    await cancel([task], report)
    return not late


async def cancel(tasks: Collection[asyncio.Task[None]], report: Report) -> None:
    """Cancel tasks and report their errors; what takes no notice is abandoned."""
    for task in tasks:
        task.cancel()
    await wait_at_most(tasks, CANCELLED)
    for task in tasks:
        if task.done() and not task.cancelled() and (exc := task.exception()) is not None:
            report(f"{task.get_name()} failed", exc)
