"""A method that runs again and again while its sketch does."""

from __future__ import annotations

import asyncio
import inspect
import math
from typing import TYPE_CHECKING

from factory.marking import Rhythm
from factory.threads import Threads
from factory.trouble import Report, is_cancellation, named
from mesh.text import seconds

if TYPE_CHECKING:
    from factory.loop import FactoryLoop


async def beat(
    sketch: FactoryLoop,
    name: str,
    rhythm: Rhythm,
    *,
    stopping: asyncio.Event,
    threads: Threads,
    report: Report,
) -> None:
    """Call a method of a sketch again and again, until it stops.

    The beats are counted from the first one, so that they do not drift; those that a slow
    method misses are left out.

    Args:
        sketch: The sketch.
        name: Name of the method; a plain ``def`` runs in a thread.
        rhythm: Its period.
        stopping: Set when the sketch stops.
        threads: Where a plain ``def`` runs.
        report: Told of what the method raises, once for the same trouble; the rhythm goes on.

    """
    loop = asyncio.get_running_loop()
    method = getattr(sketch, name)
    due = loop.time()
    trouble = ""
    while not stopping.is_set():
        failed: BaseException | None = None
        try:
            if inspect.iscoroutinefunction(method):
                await method()
            elif inspect.isawaitable(result := await threads.run(method)):
                await result
        except BaseException as exc:
            if is_cancellation(exc):
                raise
            failed = exc
        try:
            period = seconds(
                getattr(sketch, rhythm.period) if isinstance(rhythm.period, str) else rhythm.period
            )
        except BaseException as exc:
            failed, period = failed or exc, 1.0
        # The same trouble at every beat is told once.
        known, trouble = trouble, named(failed) if failed else ""
        if failed and trouble != known:
            report(f"rhythm {name}() failed and goes on", failed)
        due += period
        late = loop.time() - due
        if late > 0:
            due += math.ceil(late / period) * period
        try:
            async with asyncio.timeout_at(due):
                await stopping.wait()
        except TimeoutError:
            continue
