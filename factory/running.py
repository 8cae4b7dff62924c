"""A sketch as a whole process: its event loop, its signals, its exit code."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import TYPE_CHECKING

from factory.errors import FactoryError, SetupError
from factory.eventloop import loop_factory
from factory.signals import StopSignals, leave_now
from mesh.errors import MeshError

if TYPE_CHECKING:
    from factory.loop import FactoryLoop
    from factory.worker import Worker

UNBALANCED = 3
"""Exit code when messages are unaccounted for."""


def run_until_stopped(sketch: FactoryLoop, worker: Worker, socket: str | None, port: int | None) -> None:
    """Run a sketch in an event loop of its own until a signal or ``stop()`` ends it.

    Raises:
        SystemExit: With 1, after one line that says why, if it cannot run; with 2 if that
            is because ``async def setup()`` raised ``ValueError``.
        RuntimeError: If it was started before.

    """
    log = logging.LoggerAdapter(logging.getLogger("factory.worker"), {"node": sketch.name})

    def overdue() -> None:
        log.error(f"did not stop in time ({worker.name_what_is_in_hand()}); ends by force")

    code = 0
    with StopSignals(worker.interrupt, overdue) as signals:
        worker.when_stopping = signals.arm
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(sketch.arun(socket, port))
        except (MeshError, FactoryError) as exc:
            log.error(str(exc))
            # What setup() says of its arguments is for whoever gave them.
            code = 2 if isinstance(exc, SetupError) else 1
        if not worker.balanced:
            log.error(f"the books do not balance: {json.dumps(worker.books())}")
            code = code or UNBALANCED
        if worker.is_stuck and threading.current_thread() is threading.main_thread():
            # The interpreter would wait for the thread for ever.
            log.error("a handler's thread still runs and cannot be ended; leaving without it")
            leave_now(1)
    if code:
        raise SystemExit(code)
