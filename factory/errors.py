"""Errors of sketches: what a class or its arguments got wrong.

The tree, with the builtin that each one also is::

    FactoryError
      SketchError (TypeError)
      SketchNotFoundError (LookupError)
      HookError (RuntimeError)
"""

from __future__ import annotations


class FactoryError(Exception):
    """Base of every error that ``factory`` raises on purpose."""


class SketchError(FactoryError, TypeError):
    """A sketch class or the arguments of its ``setup()`` cannot work.

    Raised when the class is made or the sketch constructed, with the signature that
    was expected.
    """


class SketchNotFoundError(FactoryError, LookupError):
    """No sketch goes by that name, file or module."""


class HookError(FactoryError, RuntimeError):
    """``setup()`` or a start or stop hook of a sketch raised."""
