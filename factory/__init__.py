"""Turns a class into a running worker: ``FactoryLoop`` and its decorators."""

from factory.errors import Close, FactoryError, HookError, Nack, Reject, SketchError, SketchNotFoundError
from factory.loop import FactoryLoop
from factory.reactive import every, on_start, on_stop, reactive
from mesh.conversation import Client
from mesh.streams import Stream

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
