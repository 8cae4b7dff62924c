"""Turns a class into a running worker: ``FactoryLoop`` and its decorators."""

from typing import TYPE_CHECKING

from factory.errors import Close, FactoryError, HookError, Nack, Reject, SketchError, SketchNotFoundError
from factory.reactive import every, on_start, on_stop, reactive
from mesh.late import late_names

if TYPE_CHECKING:
    from factory.loop import FactoryLoop
    from mesh.conversation import Client
    from mesh.streams import Stream
else:
    __getattr__, __dir__ = late_names(
        __name__,
        {
            "factory.loop": ("FactoryLoop",),
            "mesh.conversation": ("Client",),
            "mesh.streams": ("Stream",),
        },
    )

__all__ = [
    "Client",
    "Close",
    "FactoryError",
    "FactoryLoop",
    "HookError",
    "Nack",
    "Reject",
    "SketchError",
    "SketchNotFoundError",
    "Stream",
    "every",
    "on_start",
    "on_stop",
    "reactive",
]
