"""What a worker answers about itself, and who may ask: the channels that begin with ``$``.

The control socket gives these answers to whoever can reach it, which is this user alone. Over the
doors of the worker they are given to who may inspect it: see ``refusal()``, the one place that
decides that.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from factory.tap import Taps
from factory.wiretap import WireTaps
from mesh.node import is_loopback
from mesh.protocol.values import Refusal

if TYPE_CHECKING:
    from factory.loop import FactoryLoop
    from factory.worker import Worker
    from mesh.control import Answer
    from mesh.runtime import WorkerRecord

PLAIN: Final = frozenset({"$info", "$ledger", "$ping", "$ring"})
"""What plain websocket clients may ask as well: the answers that are no streams."""

_HERE = "a process of this machine"


def refusal(whence: Iterable[str]) -> Refusal | None:
    """Return why somebody may not inspect this process, or ``None``.

    Only who comes from this machine may.

    Args:
        whence: The addresses of all connections of who asks, as transports show them.

    """
    places = list(whence)
    if places and all(map(_is_this_machine, places)):
        return None
    return Refusal("PermissionError", "only who comes from the same machine may inspect this node")


def _is_this_machine(place: str) -> bool:
    scheme, separator, rest = place.partition("://")
    if separator:
        if scheme in ("unix", "memory"):
            return True
        place = rest.partition("/")[0]
    return place == _HERE or place.startswith("/") or is_loopback(place.rpartition(":")[0])


class Inspection:
    """The answers of one worker.

    Args:
        sketch: The sketch.
        worker: Its worker.

    Attributes:
        answers: What answers, by channel.
        record: What the runtime directory has of the worker, if it is there.
        taps: Who looks on.
        wire: Who sees the wire; only over the control socket, for over a link it would show itself.

    """

    def __init__(self, sketch: FactoryLoop, worker: Worker) -> None:
        self._sketch = sketch
        self._worker = worker
        self._begun = time.time()
        self.record: Callable[[], WorkerRecord | None] = lambda: None
        self.taps = Taps(worker.show_published, worker.publishing.numbers)
        self.wire = WireTaps(lambda tap: worker.hub.tap(tap))
        self.answers: dict[str, Answer] = {
            "$info": lambda _: self.facts(),
            "$ledger": lambda _: worker.books(),
            "$ping": lambda _: None,
            "$ring": lambda _: worker.circulating.status(),
            "$tap": self.taps.parts,
        }

    def facts(self) -> dict[str, Any]:
        """Return what the worker says of itself: the answer to ``$info``."""
        sketch, worker, record = self._sketch, self._worker, self.record()
        host, port = worker.where
        plan = sketch.plan
        return {
            "name": sketch.name,
            "sketch": reference(sketch),
            "pid": os.getpid(),
            "uptime": round(time.time() - self._begun, 3),
            "cpu": round(time.process_time(), 3),
            "memory": _memory(),
            "host": host,
            "port": port,
            "doors": [door.url for door in sketch.me.doors],
            "grid": str(sketch.grid.path) if sketch.grid.path else None,
            "fleet": record.fleet if record else None,
            "run": record.run if record else None,
            "target": getattr(sketch.target, "name", sketch.target),
            "channels": [pattern.text for pattern, _ in plan.handlers],
            "any_channel": plan.fallback is not None,
            "rhythms": [name for name, _ in plan.rhythms],
            "publishes": sorted({*plan.publishes, *self._published()}),
            "subscriptions": worker.subscriptions(),
            "links": worker.links(),
        }

    def _published(self) -> list[str]:
        """Return the channels on which there was something, whether its class names them or not."""
        return [channel for channel, number in self._worker.publishing.numbers().items() if number]


def reference(sketch: FactoryLoop) -> str:
    """Return what a sketch runs, as the grid has it; else its class."""
    return sketch.me.sketch or f"{type(sketch).__module__}:{type(sketch).__qualname__}"


def _memory() -> int | None:
    """Return the bytes of memory that this process has now; ``None`` where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
