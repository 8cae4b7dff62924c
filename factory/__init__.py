"""Turns a class into a running worker: ``FactoryLoop`` and its decorators."""

from factory.errors import FactoryError, HookError, SketchError, SketchNotFoundError
from factory.loop import FactoryLoop
from factory.reactive import every, on_start, on_stop, reactive
from factory.stream import Stream

__all__ = [
    "FactoryError",
    "FactoryLoop",
    "HookError",
    "SketchError",
    "SketchNotFoundError",
    "Stream",
    "every",
    "on_start",
    "on_stop",
    "reactive",
]
