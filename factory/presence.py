"""What a worker is to the rest of the machine: its record, its control socket, its word that it is ready.

However it was started, a worker that is a process of its own can be found in the runtime
directory and asked about itself. That it cannot is a warning, and no reason to end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from factory.following import Following
from factory.inspection import reference
from factory.supervised import Supervision
from mesh.control import Control
from mesh.runtime import Registration, register
from mesh.text import endpoint

if TYPE_CHECKING:
    from factory.loop import FactoryLoop
    from factory.worker import Worker


@asynccontextmanager
async def present(
    sketch: FactoryLoop, worker: Worker, supervision: Supervision | None
) -> AsyncIterator[None]:
    """Let a worker that has started be found and asked, and let it follow its grid, while the block lasts.

    Args:
        sketch: The sketch.
        worker: Its worker.
        supervision: Its supervisor, if it has one.

    """
    log = logging.LoggerAdapter(logging.getLogger("factory.presence"), {"node": sketch.name})
    begun = time.time()
    registration: Registration | None = None
    control: Control | None = None
    following = Following(sketch, worker, supervision)
    worker.inspection.record = lambda: registration.record if registration else None
    try:
        try:
            registration = register(sketch.name, **_known(sketch, worker, supervision, begun))
            control = Control(
                sketch.name, {**worker.inspection.answers, "$wire": worker.inspection.wire.parts}
            )
            await control.open(registration.socket)
            registration.update(control=str(registration.socket))
        except Exception as exc:  # whatever it is, the sketch has nothing to do with it
            log.warning(f"`mesh` commands will not find this worker: {exc}")
        following.start()
        if supervision is not None:
            loop = asyncio.get_running_loop()
            supervision.when_grid = lambda number: loop.call_soon_threadsafe(following.settled, number)
            host, port = worker.where
            supervision.ready(None if port is None else endpoint(host or "", port))
        yield
    finally:
        await following.close()
        if control is not None:
            await control.close()
        if registration is not None:
            registration.remove()


def _known(
    sketch: FactoryLoop,
    worker: Worker,
    supervision: Supervision | None,
    begun: float,
) -> dict[str, Any]:
    host, port = worker.where
    terms = supervision.terms if supervision is not None else None
    return {
        "sketch": reference(sketch),
        "host": host,
        "port": port,
        "doors": tuple(door.url for door in sketch.me.doors),
        "grid": str(sketch.grid.path) if sketch.grid.path else None,
        "started_at": begun,
        "fleet": terms.fleet if terms else None,
        "run": terms.run if terms else None,
    }
