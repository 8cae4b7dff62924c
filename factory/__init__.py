"""Turns a class into a running worker: ``FactoryLoop`` and its decorators."""

from mesh.late import late_names

TYPE_CHECKING = False  # typing takes time to import, in which Ctrl-C would be a traceback
if TYPE_CHECKING:
    from factory.errors import Close, FactoryError, HookError, Nack, Reject, SketchError, SketchNotFoundError
    from factory.loop import FactoryLoop
    from factory.marking import every, on_start, on_stop, reactive
    from mesh.conversation import Client
    from mesh.streams import Stream
else:
    __getattr__, __dir__ = late_names(
        __name__,
        {
            "factory.errors": (
                "Close",
                "FactoryError",
                "HookError",
                "Nack",
                "Reject",
                "SketchError",
                "SketchNotFoundError",
            ),
            "factory.loop": ("FactoryLoop",),
            # Not of the name of the decorator, which the module would hide.
            "factory.marking": ("every", "on_start", "on_stop", "reactive"),
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
